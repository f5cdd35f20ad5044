//! Writing the torrent.

use super::files::{Found, Tree};
use super::hash::PieceHashes;
use super::{CreateConfig, Kind};
use samara_wire::bencode::{DictEncoder, Encoder};
use samara_wire::metainfo::merkle;
use std::collections::BTreeMap;

/// What the v2 half says of one file.
struct FileRoot<'a> {
    root: merkle::Hash,
    layer: &'a [PieceHashes],
}

/// The whole `.torrent` file.
pub(super) fn torrent(
    config: &CreateConfig,
    name: &str,
    tree: &Tree,
    piece_len: u32,
    hashes: &[PieceHashes],
) -> Vec<u8> {
    let roots: Vec<Option<FileRoot<'_>>> = match config.kind.has_v2() {
        true => tree.files.iter().map(|file| file_root(file, piece_len, hashes)).collect(),
        false => Vec::new(),
    };
    Encoder::dict_bytes(|d| {
        outer(d, config);
        d.dict(b"info", |d| {
            d.bytes(b"name", name.as_bytes());
            d.int(b"piece length", i64::from(piece_len));
            if config.private {
                d.int(b"private", 1);
            }
            if let Some(source) = &config.source {
                d.bytes(b"source", source.as_bytes());
            }
            if config.kind.has_v1() {
                let sums: Vec<[u8; 20]> = hashes.iter().map(|h| h.sha1).collect();
                d.bytes(b"pieces", sums.as_flattened());
                list_v1(d, tree, config.kind, piece_len);
            }
            if config.kind.has_v2() {
                d.int(b"meta version", 2);
                let entries: Vec<_> = tree.files.iter().zip(&roots).collect();
                // A single file stands in the tree under the torrent's name, which may have been chosen.
                d.dict(b"file tree", |d| match tree.single {
                    true => d.dict(name.as_bytes(), |d| file_v2(d, entries[0])),
                    false => tree_v2(d, &entries, 0),
                });
            }
        });
        if config.kind.has_v2() {
            layers(d, &roots);
        }
    })
}

fn outer(d: &mut DictEncoder<'_>, config: &CreateConfig) {
    if let Some(first) = config.trackers.first() {
        d.bytes(b"announce", first.as_bytes());
    }
    if config.trackers.len() > 1 {
        d.list(b"announce-list", |e| {
            for url in &config.trackers {
                e.list(|e| e.bytes(url.as_bytes()));
            }
        });
    }
    if let Some(comment) = &config.comment {
        d.bytes(b"comment", comment.as_bytes());
    }
    if let Some(by) = &config.created_by {
        d.bytes(b"created by", by.as_bytes());
    }
    if let Some(date) = config.creation_date {
        d.int(b"creation date", date);
    }
    if !config.web_seeds.is_empty() {
        d.list(b"url-list", |e| config.web_seeds.iter().for_each(|url| e.bytes(url.as_bytes())));
    }
}

/// `length`, or `files` with padding between them in a hybrid (BEP 3, 47).
fn list_v1(d: &mut DictEncoder<'_>, tree: &Tree, kind: Kind, piece_len: u32) {
    if tree.single {
        return d.int(b"length", int(tree.files[0].len));
    }
    let last = tree.files.iter().rposition(|f| f.len > 0).unwrap_or(0);
    d.list(b"files", |e| {
        for (i, file) in tree.files.iter().enumerate() {
            e.dict(|d| {
                d.int(b"length", int(file.len));
                d.list(b"path", |e| file.elements.iter().for_each(|p| e.bytes(p.as_bytes())));
            });
            let over = file.len % u64::from(piece_len);
            if kind == Kind::Hybrid && over > 0 && i < last {
                let pad = u64::from(piece_len) - over;
                e.dict(|d| {
                    d.bytes(b"attr", b"p");
                    d.int(b"length", int(pad));
                    d.list(b"path", |e| {
                        e.bytes(b".pad");
                        e.bytes(pad.to_string().as_bytes());
                    });
                });
            }
        }
    });
}

/// The files below one directory, which share their first `depth` elements and are in order (BEP 52).
///
/// The depth is that of the directories on disk, which the system bounds.
fn tree_v2(d: &mut DictEncoder<'_>, entries: &[(&Found, &Option<FileRoot<'_>>)], depth: usize) {
    for same in entries.chunk_by(|a, b| a.0.elements[depth] == b.0.elements[depth]) {
        let name = same[0].0.elements[depth].as_bytes();
        d.dict(name, |d| match same {
            [one] if one.0.elements.len() == depth + 1 => file_v2(d, *one),
            _ => tree_v2(d, same, depth + 1),
        });
    }
}

fn file_v2(d: &mut DictEncoder<'_>, (file, root): (&Found, &Option<FileRoot<'_>>)) {
    d.dict(b"", |d| {
        d.int(b"length", int(file.len));
        if let Some(root) = root {
            d.bytes(b"pieces root", &root.root);
        }
    });
}

fn file_root<'a>(file: &Found, piece_len: u32, hashes: &'a [PieceHashes]) -> Option<FileRoot<'a>> {
    if file.len == 0 {
        return None;
    }
    let wide = u64::from(piece_len);
    let index = |at: u64| usize::try_from(at / wide).unwrap_or(usize::MAX);
    let layer = &hashes[index(file.offset)..=index(file.offset + file.len - 1)];
    if let [only] = layer {
        return Some(FileRoot { root: only.root, layer: &[] });
    }
    let roots: Vec<merkle::Hash> = layer.iter().map(|h| h.root).collect();
    Some(FileRoot { root: merkle::root_of_layer(&roots, piece_len), layer })
}

/// `piece layers`: each once, however many files share it.
fn layers(d: &mut DictEncoder<'_>, roots: &[Option<FileRoot<'_>>]) {
    let layers: BTreeMap<merkle::Hash, &[PieceHashes]> =
        roots.iter().flatten().filter(|r| !r.layer.is_empty()).map(|r| (r.root, r.layer)).collect();
    d.dict(b"piece layers", |d| {
        for (root, layer) in layers {
            let flat: Vec<u8> = layer.iter().flat_map(|h| h.root).collect();
            d.bytes(&root, &flat);
        }
    });
}

/// File lengths are below 2^63 on every system.
fn int(len: u64) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}
