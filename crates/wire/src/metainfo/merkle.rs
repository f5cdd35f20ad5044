//! The hash trees of v2 torrents (BEP 52).
//!
//! Each file has a binary SHA-256 tree of its own. The leaves are the hashes of the file's 16 KiB blocks, the
//! last of which may be short; leaves beyond the file are 32 zero bytes, up to a power of two. The layer whose
//! hashes each cover one piece is what a `.torrent` carries as the file's *piece layer*.

mod proof;

pub(super) use proof::{LayerTree, UpperLayers};
pub use proof::{piece_layer_request, proven};

use crate::id::BLOCK_LEN;
use alloc::vec::Vec;
use sha2::{Digest, Sha256};

/// A node of a tree.
pub type Hash = [u8; 32];

/// What stands for a block beyond the end of the file.
pub const EMPTY_LEAF: Hash = [0; 32];

/// What a v2 torrent says about one file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileHashes {
    /// Root of the file's tree.
    pub root: Hash,
    /// One hash for each piece; empty if the file has no more than one.
    pub layer: Vec<Hash>,
}

impl FileHashes {
    /// From the hashes of all 16 KiB blocks of a file, in order. `None` for an empty file.
    ///
    /// # Panics
    /// If `piece_len` is not a power of two of at least 16 KiB.
    #[must_use]
    pub fn from_blocks(blocks: &[Hash], piece_len: u32) -> Option<Self> {
        let per_piece = leaves_per_piece(piece_len);
        if blocks.is_empty() {
            return None;
        }
        if blocks.len() <= per_piece as usize {
            return Some(Self { root: root(blocks, EMPTY_LEAF, 0), layer: Vec::new() });
        }
        let levels = per_piece.trailing_zeros();
        let layer: Vec<Hash> = blocks
            .chunks(per_piece as usize)
            .map(|piece| root(piece, EMPTY_LEAF, levels))
            .collect();
        Some(Self { root: root_of_layer(&layer, piece_len), layer })
    }
}

/// Root of the tree over the blocks of one piece, which has `leaves` leaves, a power of two.
///
/// Those beyond `blocks` are [`EMPTY_LEAF`]. This is what [`PieceHash::V2`](super::PieceHash::V2) is compared with.
#[must_use]
pub fn piece_root(blocks: &[Hash], leaves: u32) -> Hash {
    root(blocks, EMPTY_LEAF, leaves.trailing_zeros())
}

/// Root of a file's tree, from its piece layer.
///
/// # Panics
/// If `piece_len` is not a power of two of at least 16 KiB.
#[must_use]
pub fn root_of_layer(layer: &[Hash], piece_len: u32) -> Hash {
    root(layer, proof::empty_piece(piece_len), 0)
}

/// Leaves in the tree of a file that is no longer than a piece.
pub(super) const fn leaves_of_small_file(len: u32) -> u32 {
    len.div_ceil(BLOCK_LEN).next_power_of_two()
}

/// # Panics
/// If `piece_len` is not a power of two of at least 16 KiB.
pub(super) const fn leaves_per_piece(piece_len: u32) -> u32 {
    assert!(piece_len.is_power_of_two() && piece_len >= BLOCK_LEN, "no piece length of BEP 52");
    piece_len / BLOCK_LEN
}

/// Root of the tree over `nodes`, at least `levels` high, in which `filler` stands for what is beyond them.
fn root(nodes: &[Hash], mut filler: Hash, levels: u32) -> Hash {
    let mut row = nodes.to_vec();
    let mut level = 0;
    while row.len() > 1 || level < levels {
        if row.len() % 2 == 1 {
            row.push(filler);
        }
        row = row.chunks_exact(2).map(|pair| parent(&pair[0], &pair[1])).collect();
        filler = parent(&filler, &filler);
        level += 1;
    }
    row.first().copied().unwrap_or(filler)
}

fn parent(left: &Hash, right: &Hash) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(left);
    hasher.update(right);
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The naive model: all leaves written out, then halved.
    fn naive(leaves: &[Hash], width: usize) -> Hash {
        let mut row = leaves.to_vec();
        row.resize(width, EMPTY_LEAF);
        while row.len() > 1 {
            row = row.chunks(2).map(|p| parent(&p[0], &p[1])).collect();
        }
        row[0]
    }

    proptest! {
        #[test]
        fn trees_agree_with_the_naive_model(n in 1usize..200, exp in 0u32..6) {
            let blocks: Vec<Hash> = (0..n).map(|i| [u8::try_from(i).unwrap() + 1; 32]).collect();
            let piece_len = BLOCK_LEN << exp;
            let per_piece = 1usize << exp;
            let hashes = FileHashes::from_blocks(&blocks, piece_len).unwrap();
            prop_assert_eq!(hashes.root, naive(&blocks, n.next_power_of_two()));
            if n <= per_piece {
                prop_assert!(hashes.layer.is_empty());
                let leaves = u32::try_from(n.next_power_of_two()).unwrap();
                prop_assert_eq!(piece_root(&blocks, leaves), hashes.root);
            } else {
                prop_assert_eq!(hashes.layer.len(), n.div_ceil(per_piece));
                for (piece, got) in blocks.chunks(per_piece).zip(&hashes.layer) {
                    prop_assert_eq!(*got, naive(piece, per_piece));
                    prop_assert_eq!(*got, piece_root(piece, 1 << exp));
                }
                prop_assert_eq!(root_of_layer(&hashes.layer, piece_len), hashes.root);
            }
        }
    }

    #[test]
    fn an_empty_file_has_no_hashes() {
        assert_eq!(FileHashes::from_blocks(&[], BLOCK_LEN), None);
        assert_eq!(piece_root(&[], 2), naive(&[EMPTY_LEAF; 2], 2));
    }
}
