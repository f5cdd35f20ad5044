//! Writing a `.torrent` file of an [`Info`] that is known already.

use super::Metainfo;
use crate::bencode::{DictEncoder, Encoder};
use crate::id::FileIndex;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

impl Metainfo {
    /// The `.torrent` file. The info dictionary goes in as it is, so the info-hashes stay the same.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        Encoder::dict_bytes(|d| {
            if let Some(first) = self.trackers.iter().flatten().next() {
                d.bytes(b"announce", first.as_bytes());
            }
            if self.trackers.iter().flatten().count() > 1 {
                d.list(b"announce-list", |e| {
                    for tier in &self.trackers {
                        e.list(|e| tier.iter().for_each(|url| e.bytes(url.as_bytes())));
                    }
                });
            }
            if let Some(comment) = &self.comment {
                d.bytes(b"comment", comment.as_bytes());
            }
            if let Some(created_by) = &self.created_by {
                d.bytes(b"created by", created_by.as_bytes());
            }
            if let Some(date) = self.creation_date {
                d.int(b"creation date", date);
            }
            urls(d, b"httpseeds", &self.http_seeds);
            d.raw(b"info", self.info.raw());
            if !self.nodes.is_empty() {
                d.list(b"nodes", |e| {
                    for (host, port) in &self.nodes {
                        e.list(|e| {
                            e.bytes(host.as_bytes());
                            e.int(i64::from(*port));
                        });
                    }
                });
            }
            self.piece_layers(d);
            urls(d, b"url-list", &self.web_seeds);
        })
    }

    /// `piece layers` (BEP 52), each once however many files share it. A v2 torrent has the key even when empty.
    fn piece_layers(&self, d: &mut DictEncoder<'_>) {
        if self.info.hashes().v2().is_none() {
            return;
        }
        let mut layers = BTreeMap::new();
        for (index, file) in (0..).zip(self.info.files()) {
            if let (Some(root), Some(layer)) =
                (file.pieces_root, self.info.piece_layer(FileIndex(index)))
            {
                layers.insert(root, layer.as_flattened());
            }
        }
        d.dict(b"piece layers", |d| {
            for (root, layer) in &layers {
                d.bytes(root, layer);
            }
        });
    }
}

fn urls(d: &mut DictEncoder<'_>, key: &[u8], urls: &[String]) {
    if !urls.is_empty() {
        d.list(key, |e| urls.iter().for_each(|url| e.bytes(url.as_bytes())));
    }
}
