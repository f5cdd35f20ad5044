//! Who sent corrupt data.
//!
//! A piece that does not match its hash shows that some block of it is bad, not which. A sender is convicted
//! only on proof, of which there are two kinds:
//!
//! - it sent every block of a failed piece;
//! - it sent a block that differs from the block at the same place in the piece as it later verified.
//!
//! Until the piece verifies, a fingerprint of each block and its sender is remembered. A piece that keeps
//! failing is to be fetched from one peer alone ([`Blame::is_suspect`]): that attempt ends in proof either way,
//! so a corrupter is asked a bounded number of times.
//!
//! Invariants: an honest sender is never convicted; memory is bounded by [`MAX_PIECES`] and [`MAX_RECORDS`],
//! the piece that failed longest ago being forgotten first.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use samara_wire::id::PieceIndex;

/// Failed pieces remembered at most.
pub const MAX_PIECES: usize = 64;

/// Fingerprints remembered at most, over all pieces: some 4 MiB.
pub const MAX_RECORDS: usize = 65_536;

/// Attempts of one piece whose blocks are remembered; later ones add nothing but memory.
const MAX_ATTEMPTS: u32 = 4;

/// Failures after which a piece is to come from a single peer.
const SUSPECT_AFTER: u32 = 2;

/// Finds out who sends corrupt data.
///
/// `P` names a sender beyond its connection, such as its address. It must name *one* peer: two peers that
/// share a name are judged as one.
#[derive(Clone, Debug)]
pub struct Blame<P> {
    pieces: BTreeMap<PieceIndex, Failed<P>>,
    records: usize,
    clock: u64,
}

#[derive(Clone, Debug)]
struct Failed<P> {
    attempts: u32,
    /// When it failed last, by `Blame::clock`.
    last: u64,
    /// Block number, sender, fingerprint.
    records: BTreeSet<(u32, P, u64)>,
}

impl<P: Copy + Ord> Default for Blame<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: Copy + Ord> Blame<P> {
    /// Nobody is suspected.
    #[must_use]
    pub const fn new() -> Self {
        Self { pieces: BTreeMap::new(), records: 0, clock: 0 }
    }

    /// A piece did not match its hash. `senders` and `digests` name, block by block, who sent it (`None` where
    /// nobody knows, as after a restart) and the SHA-1 of what was sent. Returns who is convicted by that.
    ///
    /// The caller drops all blocks of the piece and fetches it again.
    pub fn on_failed(
        &mut self,
        piece: PieceIndex,
        senders: &[Option<P>],
        digests: &[[u8; 20]],
    ) -> Option<P> {
        self.clock += 1;
        if let Some(&first @ Some(culprit)) = senders.first()
            && senders.iter().all(|s| *s == first)
        {
            // What others sent for this piece before is still open, so what is remembered of it stays.
            return Some(culprit);
        }
        let failed = self.pieces.entry(piece).or_insert_with(|| Failed {
            attempts: 0,
            last: 0,
            records: BTreeSet::new(),
        });
        failed.attempts = failed.attempts.saturating_add(1);
        failed.last = self.clock;
        if failed.attempts <= MAX_ATTEMPTS {
            let before = failed.records.len();
            for (block, (sender, digest)) in (0u32..).zip(senders.iter().zip(digests)) {
                if let Some(sender) = sender {
                    failed.records.insert((block, *sender, fingerprint(digest)));
                }
            }
            self.records += failed.records.len() - before;
        }
        self.shrink();
        None
    }

    /// A piece matched its hash; `digests` are the SHA-1 of its blocks (they are needed only where
    /// [`Blame::wants_digests`]). Returns all who are convicted: whoever sent a different block before.
    pub fn on_verified(&mut self, piece: PieceIndex, digests: &[[u8; 20]]) -> Vec<P> {
        let Some(failed) = self.forget(piece) else { return Vec::new() };
        let culprits: BTreeSet<P> = failed
            .records
            .into_iter()
            .filter(|(block, _, print)| {
                digests.get(*block as usize).is_some_and(|good| fingerprint(good) != *print)
            })
            .map(|(_, sender, _)| sender)
            .collect();
        culprits.into_iter().collect()
    }

    /// Whether the blocks of this piece must be digested even if it is good, to find who sent bad ones before.
    #[must_use]
    pub fn wants_digests(&self, piece: PieceIndex) -> bool {
        self.pieces.get(&piece).is_some_and(|f| !f.records.is_empty())
    }

    /// Whether the piece failed so often that it is to be fetched from a single peer.
    #[must_use]
    pub fn is_suspect(&self, piece: PieceIndex) -> bool {
        self.pieces.get(&piece).is_some_and(|f| f.attempts >= SUSPECT_AFTER)
    }

    fn forget(&mut self, piece: PieceIndex) -> Option<Failed<P>> {
        let failed = self.pieces.remove(&piece)?;
        self.records -= failed.records.len();
        Some(failed)
    }

    /// Forgets the longest ago until the bounds hold. Cost: the number of pieces, at most [`MAX_PIECES`].
    fn shrink(&mut self) {
        while self.pieces.len() > MAX_PIECES || self.records > MAX_RECORDS {
            let oldest = self.pieces.iter().min_by_key(|(_, f)| f.last).map(|(&p, _)| p);
            let Some(oldest) = oldest else { return };
            self.forget(oldest);
        }
    }
}

/// The first 64 bits of a digest. Two fingerprints that differ prove that the blocks differ, which is all a
/// conviction rests on; two that agree by accident would only let a liar go.
fn fingerprint(digest: &[u8; 20]) -> u64 {
    digest.iter().take(8).fold(0, |print, &byte| print << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use proptest::prelude::*;
    use std::vec;

    const P: PieceIndex = PieceIndex(7);

    fn d(byte: u8) -> [u8; 20] {
        [byte; 20]
    }

    #[test]
    fn a_lone_sender_is_convicted_at_once() {
        let mut blame = Blame::new();
        assert_eq!(blame.on_failed(P, &[Some('a'); 3], &[d(1), d(2), d(3)]), Some('a'));
        assert!(!blame.wants_digests(P) && !blame.is_suspect(P));
    }

    #[test]
    fn a_block_of_unknown_origin_protects_the_sender_of_the_rest() {
        let mut blame = Blame::new();
        assert_eq!(blame.on_failed(P, &[Some('a'), None], &[d(1), d(2)]), None);
        assert_eq!(blame.on_failed(P, &[None, None], &[d(1), d(2)]), None);
        assert_eq!(blame.on_verified(P, &[d(1), d(9)]), vec![]);
    }

    #[test]
    fn the_good_copy_convicts_who_sent_another_and_acquits_the_rest() {
        let mut blame = Blame::new();
        let senders = [Some('a'), Some('b'), Some('c')];
        assert_eq!(blame.on_failed(P, &senders, &[d(1), d(0), d(3)]), None);
        assert!(blame.wants_digests(P) && !blame.is_suspect(P));
        assert_eq!(blame.on_failed(P, &senders, &[d(1), d(2), d(0)]), None);
        assert!(blame.is_suspect(P));
        assert_eq!(blame.on_verified(P, &[d(1), d(2), d(3)]), vec!['b', 'c']);
        assert!(!blame.wants_digests(P) && !blame.is_suspect(P));
        assert_eq!(blame.on_verified(P, &[d(4), d(4), d(4)]), vec![]);
    }

    #[test]
    fn a_conviction_keeps_what_is_open_about_the_others() {
        let mut blame = Blame::new();
        blame.on_failed(P, &[Some('a'), Some('b')], &[d(1), d(0)]);
        assert_eq!(blame.on_failed(P, &[Some('c'); 2], &[d(9), d(9)]), Some('c'));
        assert_eq!(blame.on_verified(P, &[d(1), d(2)]), vec!['b']);
    }

    #[test]
    fn memory_is_bounded_in_pieces_and_in_records() {
        let mut blame = Blame::new();
        for i in 0..1_000 {
            blame.on_failed(PieceIndex(i), &[Some(1), Some(2)], &[d(0), d(1)]);
        }
        assert_eq!(blame.pieces.len(), MAX_PIECES);
        assert_eq!(blame.records, 2 * MAX_PIECES);
        assert!(blame.wants_digests(PieceIndex(999)) && !blame.wants_digests(PieceIndex(0)));
        let senders: Vec<Option<u32>> = (0..16_384).map(|i| Some(i % 2)).collect();
        for attempt in 0..20u8 {
            blame.on_failed(PieceIndex(2_000), &senders, &vec![d(attempt); 16_384]);
            blame.on_failed(PieceIndex(2_001), &senders, &vec![d(attempt); 16_384]);
            assert!(blame.records <= MAX_RECORDS);
            assert_eq!(
                blame.records,
                blame.pieces.values().map(|f| f.records.len()).sum::<usize>()
            );
        }
    }

    proptest! {
        /// Peers 0..honest tell the truth, the others lie now and then; whoever is convicted is not asked again.
        /// Honest peers are never convicted; a piece is good after a bounded number of attempts; and then
        /// everybody who ever lied about it is convicted, and nothing is remembered.
        #[test]
        fn only_liars_are_convicted_and_soon(
            seed: u64,
            honest in 1usize..4,
            liars in 0usize..5,
            blocks in 1usize..12,
            shyness in 1usize..6,
        ) {
            let mut rng = Rng::new(seed);
            let mut blame = Blame::new();
            let truth: Vec<[u8; 20]> = (0..blocks).map(|b| d(u8::try_from(b).unwrap())).collect();
            let mut peers: Vec<usize> = (0..honest + liars).collect();
            let (mut lied, mut convicted) = (BTreeSet::new(), BTreeSet::new());
            // Two mixed attempts, one for each liar alone, and the good one.
            for attempt in 0.. {
                prop_assert!(attempt < 2 + liars + 1, "attempt {}", attempt);
                let mut digests = truth.clone();
                let mut senders = Vec::new();
                let single = blame.is_suspect(P).then(|| peers[rng.below(peers.len())]);
                for (b, digest) in digests.iter_mut().enumerate() {
                    let sender = single.unwrap_or_else(|| peers[rng.below(peers.len())]);
                    senders.push(Some(sender));
                    if sender >= honest && rng.below(shyness) == 0 {
                        *digest = d(u8::try_from(100 + b).unwrap());
                        lied.insert(sender);
                    }
                }
                let good = digests == truth;
                if good {
                    convicted.extend(blame.on_verified(P, &digests));
                } else {
                    convicted.extend(blame.on_failed(P, &senders, &digests));
                }
                prop_assert!(convicted.is_subset(&lied));
                peers.retain(|peer| !convicted.contains(peer));
                if good {
                    prop_assert_eq!(&convicted, &lied);
                    prop_assert!(blame.records == 0 && !blame.is_suspect(P));
                    break;
                }
            }
        }
    }
}
