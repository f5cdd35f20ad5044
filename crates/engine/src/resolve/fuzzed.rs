//! Fuzz target: piece layers kept in the state directory.

use super::cache::layers_of;
use samara_wire::bencode::Encoder;
use samara_wire::metainfo::Info;
use samara_wire::metainfo::merkle::{Hash, root_of_layer};

const PIECE_LEN: u32 = 16 << 10;

/// Reads `input` as the layers of a torrent that they do belong to, and of one that they do not: only the former are taken, and as
/// they are.
pub fn kept_layers(input: &[u8]) {
    let layer = input.as_chunks::<32>().0;
    if layer.len() < 2 || layer.len() > 600 {
        return;
    }
    let root = root_of_layer(layer, PIECE_LEN);
    let kept = layer.as_flattened();
    let whole = layers_of(kept, &info(root, layer.len())).expect("they belong to it");
    let file = whole.layered_files()[&root].0;
    assert_eq!(whole.piece_layer(file), Some(layer));
    let mut other = root;
    other[0] ^= 1;
    assert!(layers_of(kept, &info(other, layer.len())).is_none());
    assert!(layers_of(&kept[..kept.len() - 1], &info(root, layer.len())).is_none());
    assert!(layers_of(kept, &info(root, layer.len() + 1)).is_none());
}

/// A torrent of one file with this root, of so many pieces.
fn info(root: Hash, pieces: usize) -> Info {
    let len = i64::try_from(pieces).unwrap_or(0) * i64::from(PIECE_LEN);
    let raw = Encoder::dict_bytes(|dict| {
        dict.dict(b"file tree", |tree| {
            tree.dict(b"f", |file| {
                file.dict(b"", |leaf| {
                    leaf.int(b"length", len);
                    leaf.bytes(b"pieces root", &root);
                });
            });
        });
        dict.int(b"meta version", 2);
        dict.bytes(b"name", b"f");
        dict.int(b"piece length", PIECE_LEN.into());
    });
    Info::parse(&raw).expect("a torrent")
}
