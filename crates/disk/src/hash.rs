//! Hashing of pieces.
//!
//! The one place where payload is hashed. [`PieceHasher`] takes the bytes of one piece in order, in slices of any
//! length, and says whether they are the piece: SHA-1 over the whole for v1 (BEP 3), the root of a SHA-256 tree over
//! 16 KiB blocks for v2 (BEP 52). Both use the processor's SHA instructions where it has them.

use samara_wire::id::BLOCK_LEN;
use samara_wire::metainfo::{PieceHash, merkle};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Computes the hash of one piece and compares it with what it must be.
#[derive(Debug)]
pub struct PieceHasher {
    expected: PieceHash,
    state: State,
}

#[derive(Debug)]
enum State {
    V1(Sha1),
    V2(BlockLeaves),
}

impl PieceHasher {
    /// A hasher for a piece that must have the hash `expected`.
    #[must_use]
    pub fn new(expected: PieceHash) -> Self {
        let state = match expected {
            PieceHash::V1(_) => State::V1(Sha1::new()),
            PieceHash::V2 { .. } => State::V2(BlockLeaves::new()),
        };
        Self { expected, state }
    }

    /// The next bytes of the piece.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::V1(sha) => sha.update(bytes),
            State::V2(leaves) => leaves.update(bytes),
        }
    }

    /// Whether the bytes given were those of the piece.
    #[must_use]
    pub fn matches(self) -> bool {
        match (self.state, self.expected) {
            (State::V1(sha), PieceHash::V1(want)) => <[u8; 20]>::from(sha.finalize()) == want,
            (State::V2(leaves), PieceHash::V2 { root, leaves: width }) => {
                let got = leaves.finish();
                got.len() <= width as usize && merkle::piece_root(&got, width) == root
            }
            _ => unreachable!("the state was made from the expected hash"),
        }
    }
}

/// SHA-256 of each 16 KiB block of a stream of bytes: the leaves of a v2 tree (BEP 52).
#[derive(Debug, Default)]
pub struct BlockLeaves {
    leaves: Vec<[u8; 32]>,
    current: Sha256,
    filled: usize,
}

impl BlockLeaves {
    /// No bytes yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = BLOCK_LEN as usize - self.filled;
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            self.current.update(now);
            self.filled += now.len();
            if self.filled == BLOCK_LEN as usize {
                self.close_block();
            }
            bytes = rest;
        }
    }

    /// The leaves, the last of which may stand for a short block.
    #[must_use]
    pub fn finish(mut self) -> Vec<[u8; 32]> {
        if self.filled > 0 {
            self.close_block();
        }
        self.leaves
    }

    fn close_block(&mut self) {
        self.leaves.push(self.current.finalize_reset().into());
        self.filled = 0;
    }
}

/// SHA-1 of one block: tells which of several copies of a block was the wrong one.
#[must_use]
pub fn block_digest(block: &[u8]) -> [u8; 20] {
    Sha1::digest(block).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The tree as BEP 52 has it: every leaf and every node spelled out.
    fn naive_root(data: &[u8], width: usize) -> [u8; 32] {
        let mut level: Vec<[u8; 32]> =
            data.chunks(16384).map(|b| Sha256::digest(b).into()).collect();
        level.resize(width, [0; 32]);
        while level.len() > 1 {
            level = level.chunks(2).map(|p| Sha256::digest(p.concat()).into()).collect();
        }
        level[0]
    }

    fn matches(expected: PieceHash, data: &[u8], cuts: &[usize]) -> bool {
        let mut hasher = PieceHasher::new(expected);
        let mut rest = data;
        for &cut in cuts {
            let (now, later) = rest.split_at(cut.min(rest.len()));
            hasher.update(now);
            rest = later;
        }
        hasher.update(rest);
        hasher.matches()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn any_cuts_give_the_same_hash_and_any_flip_another(
            len in 1usize..100_000,
            extra in 0u32..3,
            cuts in prop::collection::vec(1usize..40_000, 0..5),
            flip in any::<prop::sample::Index>(),
        ) {
            let mut data: Vec<u8> = (0..251).map(|i: u8| i.wrapping_mul(31)).cycle().take(len).collect();
            let width = len.div_ceil(16384).next_power_of_two() << extra;
            let v1 = PieceHash::V1(Sha1::digest(&data).into());
            let v2 = PieceHash::V2 { root: naive_root(&data, width), leaves: width.try_into().unwrap() };
            prop_assert!(matches(v1, &data, &cuts) && matches(v2, &data, &cuts));
            data[flip.index(len)] ^= 1;
            prop_assert!(!matches(v1, &data, &cuts) && !matches(v2, &data, &cuts));
        }
    }

    #[test]
    fn more_blocks_than_leaves_is_a_mismatch() {
        let data = [0; 16385];
        let root = naive_root(&data, 2);
        assert!(matches(PieceHash::V2 { root, leaves: 2 }, &data, &[]));
        assert!(!matches(PieceHash::V2 { root, leaves: 1 }, &data, &[]));
    }

    #[test]
    fn known_sha1() {
        assert_eq!(block_digest(b"abc")[..4], [0xa9, 0x99, 0x3e, 0x36]);
    }
}
