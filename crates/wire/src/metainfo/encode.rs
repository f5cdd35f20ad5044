//! Writing the outer dictionary of a `.torrent` file, around an info dictionary that is known already.

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
            hints(d, &self.trackers, &self.web_seeds);
            let date = self.creation_date;
            remarks(d, self.comment.as_deref(), self.created_by.as_deref(), date);
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

/// Trackers (BEP 12) and web seeds (BEP 19).
pub(super) fn hints(d: &mut DictEncoder<'_>, trackers: &[Vec<String>], web_seeds: &[String]) {
    let mut all = trackers.iter().flatten();
    if let Some(first) = all.next() {
        d.bytes(b"announce", first.as_bytes());
    }
    if all.next().is_some() {
        d.list(b"announce-list", |e| {
            for tier in trackers {
                e.list(|e| tier.iter().for_each(|url| e.bytes(url.as_bytes())));
            }
        });
    }
    urls(d, b"url-list", web_seeds);
}

/// What is said for people to read.
pub(super) fn remarks(
    d: &mut DictEncoder<'_>,
    comment: Option<&str>,
    created_by: Option<&str>,
    creation_date: Option<i64>,
) {
    if let Some(comment) = comment {
        d.bytes(b"comment", comment.as_bytes());
    }
    if let Some(created_by) = created_by {
        d.bytes(b"created by", created_by.as_bytes());
    }
    if let Some(date) = creation_date {
        d.int(b"creation date", date);
    }
}

fn urls(d: &mut DictEncoder<'_>, key: &[u8], urls: &[String]) {
    if !urls.is_empty() {
        d.list(key, |e| urls.iter().for_each(|url| e.bytes(url.as_bytes())));
    }
}
