//! When which torrent is announced on the local network. No socket, no clock: time is an argument.
//!
//! - A torrent that is **new** is announced after a moment in which others that come with it may join its datagram, and
//!   once more after some seconds, because multicast over radio is lost easily.
//! - After that every five minutes (BEP 14). Those that are due within the next minute ride along in any datagram that
//!   has room, so that torrents which came one by one end up together. An old torrent never makes datagrams denser
//!   than the number of torrents asks for: a minute apart up to a hundred torrents, evenly spread beyond.
//! - **No torrent twice within a minute**, but for the repeat when it is new. That is remembered of torrents which left,
//!   too, so that one which stops and starts again and again is no louder than others.
//! - **No two datagrams within half a second**, whatever happens.

use samara_swarm::rng::Rng;
use samara_wire::id::WireHash;
use samara_wire::lsd::MAX_HASHES;
use samara_wire::time::{Duration, Instant};
use std::collections::{BTreeMap, BTreeSet};

/// How long a new torrent waits for others to come with it.
const GATHER: Duration = Duration::from_millis(300);

/// From the first announce of a torrent to its repeat.
const REPEAT: Duration = Duration::from_secs(5);

/// Between two announces of a torrent, give or take `JITTER`.
const INTERVAL: Duration = Duration::from_secs(300);
const JITTER: Duration = Duration::from_secs(15);

/// Between two announces of a torrent at least.
const MIN_INTERVAL: Duration = Duration::from_secs(60);

/// Between two datagrams at least.
const PACE: Duration = Duration::from_millis(500);

/// Between two datagrams for old torrents, at least and at most.
const OLD_PACE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How much earlier than planned an old torrent may ride along.
const SLACK: Duration = Duration::from_secs(60);

/// Announces by which a torrent becomes old.
const NEW_ROUNDS: u8 = 2;

/// Torrents that left, remembered at most.
const MAX_LEFT: usize = 1024;

/// The order of announces. See the module.
#[derive(Debug)]
pub(super) struct Schedule {
    torrents: BTreeMap<WireHash, Entry>,
    /// By when they are due.
    new: BTreeSet<(Instant, WireHash)>,
    old: BTreeSet<(Instant, WireHash)>,
    /// When torrents that are here no more were announced last.
    left: BTreeMap<WireHash, Instant>,
    /// No datagram before this, and none for old torrents before that.
    quiet_until: Instant,
    old_quiet_until: Instant,
    rng: Rng,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    due: Instant,
    last: Option<Instant>,
    /// Announces so far, up to [`NEW_ROUNDS`].
    rounds: u8,
}

impl Schedule {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            torrents: BTreeMap::new(),
            new: BTreeSet::new(),
            old: BTreeSet::new(),
            left: BTreeMap::new(),
            quiet_until: Instant::ZERO,
            old_quiet_until: Instant::ZERO,
            rng: Rng::new(seed),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.torrents.is_empty()
    }

    pub(super) fn contains(&self, hash: &WireHash) -> bool {
        self.torrents.contains_key(hash)
    }

    /// A torrent is to be announced from now on. Whether that is new.
    pub(super) fn seek(&mut self, now: Instant, hash: WireHash) -> bool {
        if self.torrents.contains_key(&hash) {
            return false;
        }
        let last = self.left.remove(&hash).filter(|&last| now < last + MIN_INTERVAL);
        let entry = match last {
            None => Entry { due: now + GATHER, last, rounds: 0 },
            Some(at) => Entry { due: at + MIN_INTERVAL, last, rounds: NEW_ROUNDS - 1 },
        };
        self.torrents.insert(hash, entry);
        self.new.insert((entry.due, hash));
        true
    }

    /// A torrent is not to be announced any more.
    pub(super) fn withdraw(&mut self, now: Instant, hash: &WireHash) {
        let Some(entry) = self.torrents.remove(hash) else { return };
        self.queue(entry.rounds).remove(&(entry.due, *hash));
        let Some(last) = entry.last else { return };
        if self.left.len() >= MAX_LEFT {
            self.left.retain(|_, last| now < *last + MIN_INTERVAL);
        }
        if self.left.len() < MAX_LEFT {
            self.left.insert(*hash, last);
        }
    }

    /// There is a network that has heard nothing of us: all torrents are as good as new.
    pub(super) fn renew(&mut self, now: Instant) {
        self.old.clear();
        self.new.clear();
        for (hash, entry) in &mut self.torrents {
            let soon = now + GATHER;
            if let Some(last) = entry.last {
                entry.due = soon.max(last + MIN_INTERVAL);
                entry.rounds = NEW_ROUNDS - 1;
            } else {
                entry.due = soon;
            }
            self.new.insert((entry.due, *hash));
        }
    }

    /// When [`Schedule::poll`] may have something, if nothing else happens.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let new = self.new.first().map(|&(due, _)| due);
        let old = self.old.first().map(|&(due, _)| due.max(self.old_quiet_until));
        new.into_iter().chain(old).min().map(|at| at.max(self.quiet_until))
    }

    /// The torrents of the datagram that is to be sent now: at most [`MAX_HASHES`], and not none.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Vec<WireHash>> {
        if self.next_timeout().is_none_or(|at| now < at) {
            return None;
        }
        let due_by = |queue: &BTreeSet<(Instant, WireHash)>, by: Instant, room: usize| {
            let due = queue.iter().take_while(move |(due, _)| *due <= by).take(room);
            due.map(|&(_, hash)| hash).collect::<Vec<_>>()
        };
        let mut hashes = due_by(&self.new, now, MAX_HASHES);
        if hashes.is_empty() {
            self.old_quiet_until = now + self.old_pace();
        }
        let mut riders = due_by(&self.old, now + SLACK, MAX_HASHES - hashes.len());
        // Some programs read only the first of a datagram: each is to be it now and then, a new one more likely.
        self.rng.shuffle(&mut hashes);
        self.rng.shuffle(&mut riders);
        hashes.append(&mut riders);
        // One lot for all of a datagram, or they would drift apart.
        let interval = INTERVAL - JITTER + self.lot(2 * JITTER);
        for hash in &hashes {
            self.on_announced(now, hash, interval);
        }
        self.quiet_until = now + PACE;
        Some(hashes)
    }

    fn on_announced(&mut self, now: Instant, hash: &WireHash, interval: Duration) {
        let Some(mut entry) = self.torrents.get(hash).copied() else { return };
        self.queue(entry.rounds).remove(&(entry.due, *hash));
        entry.last = Some(now);
        entry.rounds = NEW_ROUNDS.min(entry.rounds + 1);
        entry.due = now + if entry.rounds < NEW_ROUNDS { REPEAT } else { interval };
        self.queue(entry.rounds).insert((entry.due, *hash));
        self.torrents.insert(*hash, entry);
    }

    /// Where torrents stand that were announced so often.
    fn queue(&mut self, rounds: u8) -> &mut BTreeSet<(Instant, WireHash)> {
        if rounds < NEW_ROUNDS { &mut self.new } else { &mut self.old }
    }

    /// So far apart, datagrams for all torrents are spread evenly over the interval.
    fn old_pace(&self) -> Duration {
        let datagrams = self.torrents.len().div_ceil(MAX_HASHES).max(1);
        let even = INTERVAL / u32::try_from(datagrams).unwrap_or(u32::MAX);
        even.clamp(OLD_PACE.0, OLD_PACE.1)
    }

    fn lot(&mut self, below: Duration) -> Duration {
        let millis = usize::try_from(below.as_millis()).unwrap_or(usize::MAX);
        Duration::from_millis(self.rng.below(millis) as u64)
    }
}

#[cfg(test)]
mod tests;
