//! Hashing of pieces.
//!
//! The one place where payload is hashed. [`PieceHasher`] takes the bytes of one piece in order, in slices of any
//! length, and says whether they are the piece: SHA-1 over the whole for v1 (BEP 3), the root of a SHA-256 tree over
//! 16 KiB blocks for v2 (BEP 52). A v1 piece is one chain of steps, so several pieces are hashed at once where there are
//! several ([`PieceHasher::update_all`]); the blocks of a v2 piece are independent of each other. [`samara_hash`] does
//! both with what the processor has.

use samara_hash::{Algorithm, Part, Sha1, Sha256, Stream};
use samara_wire::id::BLOCK_LEN;
use samara_wire::metainfo::{PieceHash, merkle};

/// How many pieces are worth hashing at once on this machine.
#[must_use]
pub fn lanes() -> usize {
    Sha1::kernels().lanes()
}

/// Computes the hash of one piece and compares it with what it must be.
#[derive(Debug)]
pub struct PieceHasher {
    expected: PieceHash,
    state: State,
}

#[derive(Debug)]
enum State {
    V1(Stream<Sha1>),
    V2(BlockLeaves),
}

/// What each of `count` pieces gets of a buffer of `len` bytes: whole blocks.
pub(crate) fn share_of(len: usize, count: usize) -> usize {
    let block = BLOCK_LEN as usize;
    (len / count.max(1) / block * block).max(block)
}

/// A piece and its next bytes, in slices.
pub(crate) type PieceBytes<'a> = (&'a mut PieceHasher, &'a [&'a [u8]]);

impl PieceHasher {
    /// A hasher for a piece that must have the hash `expected`.
    #[must_use]
    pub fn new(expected: PieceHash) -> Self {
        let state = match expected {
            PieceHash::V1(_) => State::V1(Stream::new()),
            PieceHash::V2 { .. } => State::V2(BlockLeaves::new()),
        };
        Self { expected, state }
    }

    /// The next bytes of the piece.
    pub fn update(&mut self, bytes: &[u8]) {
        Self::update_all([(self, &[bytes][..])]);
    }

    /// The next bytes of each of several pieces, which costs less than one after the other.
    pub(crate) fn update_all<'a>(pieces: impl IntoIterator<Item = PieceBytes<'a>>) {
        let (mut v1, mut v2) = (Vec::new(), Vec::new());
        for (piece, bytes) in pieces {
            match &mut piece.state {
                State::V1(stream) => v1.push(Part { stream, bytes }),
                State::V2(leaves) => v2.push((leaves, bytes)),
            }
        }
        samara_hash::update_all(&mut v1);
        BlockLeaves::update_all(v2);
    }

    /// Whether the bytes given were those of the piece.
    #[must_use]
    pub fn matches(self) -> bool {
        match (self.state, self.expected) {
            (State::V1(sha), PieceHash::V1(want)) => sha.finish() == want,
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
    /// The block that was begun and is not whole.
    current: Stream<Sha256>,
    filled: usize,
}

impl BlockLeaves {
    /// No bytes yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The next bytes, in slices.
    pub fn update(&mut self, slices: &[&[u8]]) {
        Self::update_all([(self, slices)]);
    }

    /// The next bytes of each of several streams. Blocks that lie whole in one slice are hashed several at once, and so is
    /// what is left of each stream behind them.
    pub(crate) fn update_all<'a>(
        streams: impl IntoIterator<Item = (&'a mut Self, &'a [&'a [u8]])>,
    ) {
        let mut streams: Vec<_> = streams.into_iter().collect();
        let mut whole: Vec<&[u8]> = Vec::new();
        // Of each whole block: the number of its stream, and its place there.
        let mut places = Vec::new();
        // Of each stream what comes behind its last whole block.
        let mut tails: Vec<[&[u8]; 1]> = Vec::with_capacity(streams.len());
        for (number, (stream, slices)) in streams.iter_mut().enumerate() {
            let mut tail: &[u8] = &[];
            for mut bytes in slices.iter().copied() {
                stream.begin_or_continue(std::mem::take(&mut tail));
                if stream.filled > 0 {
                    let room = BLOCK_LEN as usize - stream.filled;
                    let (now, rest) = bytes.split_at(room.min(bytes.len()));
                    stream.begin_or_continue(now);
                    bytes = rest;
                }
                let blocks = bytes.chunks_exact(BLOCK_LEN as usize);
                tail = blocks.remainder();
                for block in blocks {
                    whole.push(block);
                    places.push((number, stream.leaves.len()));
                    stream.leaves.push([0; 32]);
                }
            }
            stream.filled += tail.len();
            tails.push([tail]);
        }
        let parts = streams.iter_mut().zip(&tails);
        let parts = parts.map(|((stream, _), bytes)| Part { stream: &mut stream.current, bytes });
        samara_hash::update_all(&mut parts.collect::<Vec<_>>());
        let messages: Vec<&[&[u8]]> = whole.chunks(1).collect();
        let digests = samara_hash::digest_all::<Sha256>(&messages);
        for ((number, place), digest) in places.into_iter().zip(digests) {
            streams[number].0.leaves[place] = digest;
        }
    }

    /// The leaves, the last of which may stand for a short block.
    #[must_use]
    pub fn finish(mut self) -> Vec<[u8; 32]> {
        if self.filled > 0 {
            self.close_current();
        }
        self.leaves
    }

    /// Bytes that are no whole block, but may complete one.
    fn begin_or_continue(&mut self, bytes: &[u8]) {
        self.current.update(bytes);
        self.filled += bytes.len();
        if self.filled == BLOCK_LEN as usize {
            self.close_current();
        }
    }

    fn close_current(&mut self) {
        self.leaves.push(std::mem::take(&mut self.current).finish());
        self.filled = 0;
    }
}

/// SHA-1 of one block: tells which of several copies of a block was the wrong one.
#[must_use]
pub fn block_digest(block: &[u8]) -> [u8; 20] {
    block_digests(&[block])[0]
}

/// The same of several blocks.
pub(crate) fn block_digests(blocks: &[&[u8]]) -> Vec<[u8; 20]> {
    let messages: Vec<&[&[u8]]> = blocks.chunks(1).collect();
    samara_hash::digest_all::<Sha1>(&messages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sha2::Digest;

    /// The tree as BEP 52 has it: every leaf and every node spelled out.
    fn naive_root(data: &[u8], width: usize) -> [u8; 32] {
        let mut level: Vec<[u8; 32]> =
            data.chunks(16384).map(|b| sha2::Sha256::digest(b).into()).collect();
        level.resize(width, [0; 32]);
        while level.len() > 1 {
            level = level.chunks(2).map(|p| sha2::Sha256::digest(p.concat()).into()).collect();
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
            let v1 = PieceHash::V1(sha1::Sha1::digest(&data).into());
            let v2 = PieceHash::V2 { root: naive_root(&data, width), leaves: width.try_into().unwrap() };
            prop_assert!(matches(v1, &data, &cuts) && matches(v2, &data, &cuts));
            data[flip.index(len)] ^= 1;
            prop_assert!(!matches(v1, &data, &cuts) && !matches(v2, &data, &cuts));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn pieces_hashed_together_are_judged_each_by_itself(
            lens in prop::collection::vec((1usize..70_000, any::<bool>(), any::<bool>()), 1..9),
            step in 1usize..40_000,
        ) {
            let data: Vec<Vec<u8>> = lens.iter().map(|(len, ..)| (0..253u8).cycle().take(*len).collect()).collect();
            let mut hashers: Vec<PieceHasher> = data
                .iter()
                .zip(&lens)
                .map(|(data, (len, v2, good))| {
                    let wrong = u8::from(!good);
                    let width = len.div_ceil(16384).next_power_of_two();
                    let mut root = naive_root(data, width);
                    root[0] ^= wrong;
                    let mut digest: [u8; 20] = sha1::Sha1::digest(data).into();
                    digest[19] ^= wrong;
                    PieceHasher::new(if *v2 {
                        PieceHash::V2 { root, leaves: width.try_into().unwrap() }
                    } else {
                        PieceHash::V1(digest)
                    })
                })
                .collect();
            for at in (0..70_000).step_by(step) {
                let cut = |data: &Vec<u8>| at.min(data.len())..(at + step).min(data.len());
                let slices: Vec<[&[u8]; 2]> = data
                    .iter()
                    .map(|data| {
                        let now = &data[cut(data)];
                        let (a, b) = now.split_at(now.len() / 3);
                        [a, b]
                    })
                    .collect();
                PieceHasher::update_all(hashers.iter_mut().zip(slices.iter().map(|s| &s[..])));
            }
            for (hasher, (_, _, good)) in hashers.into_iter().zip(lens) {
                prop_assert_eq!(hasher.matches(), good);
            }
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
