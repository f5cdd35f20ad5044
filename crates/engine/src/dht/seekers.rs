//! When peers of what is sought are looked for again.
//!
//! The node itself announces everything every quarter of an hour and tells the peers it meets on the way. That is too long
//! for a user who waits and for whom few peers were found, so the look-up is repeated, at first soon and then ever more
//! rarely. A seed waits for nobody.

use samara_wire::id::WireHash;
use samara_wire::time::{Duration, Instant};
use std::collections::BTreeMap;

/// Pauses before a look-up is repeated; the last one again and again as long as nothing at all was found.
const PAUSES: [u64; 7] = [5, 10, 20, 40, 60, 120, 300];

/// So many peers are enough to begin with; they know of others.
const ENOUGH: usize = 10;

/// After joining, for what has found nothing: the announce that waited for it comes first.
const AFTER_JOINING: Duration = Duration::from_secs(1);

/// What is sought.
#[derive(Default)]
pub(super) struct Seekers {
    by_hash: BTreeMap<WireHash, Seeker>,
}

struct Seeker {
    seed: bool,
    /// Most peers that one look-up found.
    best: usize,
    /// Look-ups repeated.
    repeated: usize,
    next: Option<Instant>,
}

impl Seekers {
    /// Takes it up, or notes what has changed.
    pub(super) fn seek(&mut self, now: Instant, hash: WireHash, seed: bool) {
        let seeker = self.by_hash.entry(hash).or_insert_with(|| Seeker {
            seed,
            best: 0,
            repeated: 0,
            next: Some(now + Duration::from_secs(PAUSES[0])),
        });
        seeker.seed = seed;
    }

    pub(super) fn withdraw(&mut self, hash: &WireHash) {
        self.by_hash.remove(hash);
    }

    /// All that is sought, and whether it is only seeded.
    pub(super) fn all(&self) -> Vec<(WireHash, bool)> {
        self.by_hash.iter().map(|(hash, seeker)| (*hash, seeker.seed)).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// A look-up for `hash` found so many peers.
    pub(super) fn found(&mut self, hash: &WireHash, peers: usize) {
        if let Some(seeker) = self.by_hash.get_mut(hash) {
            seeker.best = seeker.best.max(peers);
        }
    }

    /// More nodes are known than before: who has found nothing begins anew.
    pub(super) fn joined(&mut self, now: Instant) {
        for seeker in self.by_hash.values_mut().filter(|seeker| seeker.best == 0) {
            seeker.repeated = 0;
            let soon = now + AFTER_JOINING;
            seeker.next = Some(seeker.next.map_or(soon, |next| next.min(soon)));
        }
    }

    /// When [`Seekers::poll`] may have something.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let hungry = self.by_hash.values().filter(|seeker| seeker.is_hungry());
        hungry.filter_map(|seeker| seeker.next).min()
    }

    /// What is to be looked for now: the one that has waited longest.
    pub(super) fn poll(&mut self, now: Instant) -> Option<WireHash> {
        let due = |seeker: &Seeker| seeker.next.filter(|at| *at <= now && seeker.is_hungry());
        let (_, hash) =
            self.by_hash.iter().filter_map(|(hash, seeker)| Some((due(seeker)?, *hash))).min()?;
        let seeker = self.by_hash.get_mut(&hash)?;
        seeker.repeated += 1;
        let last = PAUSES.len() - 1;
        let pause = (seeker.repeated <= last || seeker.best == 0)
            .then(|| PAUSES[seeker.repeated.min(last)]);
        seeker.next = pause.map(|secs| now + Duration::from_secs(secs));
        Some(hash)
    }
}

impl Seeker {
    const fn is_hungry(&self) -> bool {
        !self.seed && self.best < ENOUGH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: WireHash = WireHash([1; 20]);

    /// Seconds at which `HASH` is looked for in `secs`.
    fn times(seekers: &mut Seekers, from: u64, secs: u64) -> Vec<u64> {
        (from..from + secs).filter(|&s| seekers.poll(Instant::from_secs(s)) == Some(HASH)).collect()
    }

    #[test]
    fn who_finds_nothing_looks_again_soon_and_then_ever_more_rarely() {
        let mut seekers = Seekers::default();
        seekers.seek(Instant::from_secs(1000), HASH, false);
        let expected = [1005, 1015, 1035, 1075, 1135, 1255, 1555, 1855];
        assert_eq!(seekers.next_timeout(), Some(Instant::from_secs(1005)));
        assert_eq!(times(&mut seekers, 1000, 900), expected);
        seekers.joined(Instant::from_secs(1900));
        assert_eq!(times(&mut seekers, 1900, 12), [1901, 1911]);
        seekers.found(&HASH, 3);
        assert_eq!(times(&mut seekers, 1912, 3600).len(), 5, "few were found: not for ever");
        assert_eq!(seekers.next_timeout(), None);
    }

    #[test]
    fn seeds_and_those_who_have_enough_wait_for_nothing() {
        let mut seekers = Seekers::default();
        seekers.seek(Instant::from_secs(1000), HASH, false);
        seekers.found(&HASH, ENOUGH);
        assert_eq!(seekers.next_timeout(), None);
        seekers.withdraw(&HASH);
        seekers.seek(Instant::from_secs(1000), HASH, true);
        assert!(times(&mut seekers, 1000, 3600).is_empty());
        seekers.seek(Instant::from_secs(5000), HASH, false);
        assert_eq!(times(&mut seekers, 5000, 1), [5000], "no seed any more");
        seekers.withdraw(&HASH);
        assert_eq!((seekers.len(), seekers.next_timeout()), (0, None));
    }
}
