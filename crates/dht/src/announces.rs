//! When each of our torrents is announced, so that thousands of them are no wave.
//!
//! A new torrent is announced before all others, and again soon, at the nodes we have come to know meanwhile. Afterwards it is
//! announced every [`AnnounceSchedule::interval`], give or take a tenth, and announces of known torrents keep a distance that
//! spreads them evenly over the interval. If there are more than can be announced in time, the interval grows and nothing
//! else suffers.

use crate::rng::Rng;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use samara_wire::id::WireHash;
use samara_wire::krpc::AnnouncedPort;
use samara_wire::time::{Duration, Instant};

/// Longest distance between two announces of known torrents.
const MAX_SPACING: Duration = Duration::from_secs(1);

/// A new torrent is announced once more after this: by then we may know nodes that are nearer to it.
const SECOND: Duration = Duration::from_secs(100);

/// What is announced of a torrent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Announcement {
    /// Where we are reached.
    pub port: AnnouncedPort,
    /// Whether we have all of it.
    pub seed: bool,
}

/// Whose turn it is.
#[derive(Debug)]
pub struct AnnounceSchedule {
    interval: Duration,
    torrents: BTreeMap<WireHash, (Announcement, Turn)>,
    /// New torrents first, then by time.
    turns: BTreeSet<(Turn, WireHash)>,
    /// No known torrent before this.
    gate: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Turn {
    New(Instant),
    Again(Instant),
}

impl Turn {
    const fn at(self) -> Instant {
        match self {
            Self::New(at) | Self::Again(at) => at,
        }
    }
}

impl AnnounceSchedule {
    /// No torrent. Each is announced once in `interval`.
    #[must_use]
    pub const fn new(interval: Duration) -> Self {
        Self { interval, torrents: BTreeMap::new(), turns: BTreeSet::new(), gate: Instant::ZERO }
    }

    /// Time between two announces of one torrent.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// Announces `torrent` now and from now on. What changed is announced at once, the same again is not.
    pub fn insert(&mut self, now: Instant, torrent: WireHash, announcement: Announcement) {
        if self.torrents.get(&torrent).is_some_and(|(known, _)| *known == announcement) {
            return;
        }
        self.remove(&torrent);
        self.set(torrent, announcement, Turn::New(now));
    }

    /// Announces `torrent` no more.
    pub fn remove(&mut self, torrent: &WireHash) {
        if let Some((_, turn)) = self.torrents.remove(torrent) {
            self.turns.remove(&(turn, *torrent));
        }
    }

    /// What is announced of `torrent`.
    #[must_use]
    pub fn get(&self, torrent: &WireHash) -> Option<Announcement> {
        self.torrents.get(torrent).map(|(announcement, _)| *announcement)
    }

    /// The torrent to be announced now, if one is; its next turn is set.
    pub fn poll(&mut self, now: Instant, rng: &mut Rng) -> Option<WireHash> {
        let &(turn, torrent) = self.turns.first()?;
        if turn.at() > now || (matches!(turn, Turn::Again(_)) && now < self.gate) {
            return None;
        }
        let (announcement, _) = self.torrents.get(&torrent).copied()?;
        self.remove(&torrent);
        let interval = match turn {
            Turn::New(_) => SECOND.min(self.interval),
            _ => self.interval,
        };
        // From nine to eleven tenths.
        let tenth = interval / 10;
        let step = tenth / 50;
        let jitter = step * u32::try_from(rng.below(100)).unwrap_or(0);
        self.set(torrent, announcement, Turn::Again(now + tenth * 9 + jitter));
        let count = u32::try_from(self.torrents.len()).unwrap_or(u32::MAX).max(1);
        self.gate = now + (self.interval / count / 2).min(MAX_SPACING);
        Some(torrent)
    }

    /// Announces `torrent` again after `pause`, because no node took it.
    pub fn retry(&mut self, now: Instant, torrent: &WireHash, pause: Duration) {
        if let Some(announcement) = self.get(torrent) {
            self.remove(torrent);
            self.set(*torrent, announcement, Turn::Again(now + pause.min(self.interval)));
        }
    }

    /// Announces all again from `now` on, one after another.
    pub fn renew(&mut self, now: Instant) {
        let all: Vec<_> =
            self.torrents.iter().map(|(torrent, (what, _))| (*torrent, *what)).collect();
        for (torrent, announcement) in all {
            if self.torrents.get(&torrent).is_some_and(|(_, turn)| turn.at() > now) {
                self.remove(&torrent);
                self.set(torrent, announcement, Turn::Again(now));
            }
        }
        self.gate = self.gate.min(now);
    }

    /// When [`AnnounceSchedule::poll`] may have something.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.turns.first().map(|(turn, _)| match turn {
            Turn::New(at) => *at,
            Turn::Again(at) => (*at).max(self.gate),
        })
    }

    fn set(&mut self, torrent: WireHash, announcement: Announcement, turn: Turn) {
        self.torrents.insert(torrent, (announcement, turn));
        self.turns.insert((turn, torrent));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEECH: Announcement = Announcement { port: AnnouncedPort::Implied, seed: false };
    const INTERVAL: Duration = Duration::from_secs(900);

    fn hash(n: u16) -> WireHash {
        let mut hash = [0; 20];
        hash[..2].copy_from_slice(&n.to_be_bytes());
        WireHash(hash)
    }

    #[test]
    fn many_torrents_are_spread_and_a_new_one_waits_for_none() {
        let (mut schedule, mut rng) = (AnnounceSchedule::new(INTERVAL), Rng::new([1; 32]));
        let mut now = Instant::from_secs(10);
        (0..1000).for_each(|n| schedule.insert(now, hash(n), LEECH));
        let first = core::iter::from_fn(|| schedule.poll(now, &mut rng)).count();
        assert_eq!(first, 1000);
        let mut busiest = 0;
        let mut total = 0;
        for _ in 0..20_000 {
            now += Duration::from_millis(100);
            let burst = core::iter::from_fn(|| {
                let due = schedule.next_timeout().is_some_and(|at| at <= now);
                due.then(|| schedule.poll(now, &mut rng)).flatten()
            });
            let burst = burst.count();
            busiest = busiest.max(burst);
            total += burst;
        }
        assert!(busiest == 1 && (2000..=2700).contains(&total), "{busiest} {total}");
        schedule.insert(now, hash(5000), LEECH);
        assert_eq!(schedule.poll(now, &mut rng), Some(hash(5000)));
    }

    #[test]
    fn what_changed_is_announced_at_once_and_what_left_never() {
        let (mut schedule, mut rng) = (AnnounceSchedule::new(INTERVAL), Rng::new([1; 32]));
        let now = Instant::from_secs(10);
        schedule.insert(now, hash(1), LEECH);
        assert_eq!(schedule.poll(now, &mut rng), Some(hash(1)));
        schedule.insert(now, hash(1), LEECH);
        assert_eq!(schedule.poll(now, &mut rng), None);
        let soon = schedule.next_timeout().unwrap();
        assert!(soon - now <= SECOND * 11 / 10, "once more, from a better table");
        assert_eq!(schedule.poll(soon, &mut rng), Some(hash(1)));
        let again = schedule.next_timeout().unwrap() - soon;
        assert!(again >= INTERVAL * 9 / 10 && again <= INTERVAL * 11 / 10, "{again:?}");
        schedule.insert(now, hash(1), Announcement { seed: true, ..LEECH });
        assert_eq!(schedule.poll(now, &mut rng), Some(hash(1)));
        schedule.retry(now, &hash(1), Duration::from_secs(30));
        assert_eq!(schedule.next_timeout(), Some(now + Duration::from_secs(30)));
        schedule.remove(&hash(1));
        schedule.retry(now, &hash(1), Duration::from_secs(30));
        assert_eq!((schedule.next_timeout(), schedule.get(&hash(1))), (None, None));
    }

    #[test]
    fn all_are_announced_again_one_after_another_when_we_have_moved() {
        let (mut schedule, mut rng) = (AnnounceSchedule::new(INTERVAL), Rng::new([1; 32]));
        let mut now = Instant::from_secs(10);
        (0..100).for_each(|n| schedule.insert(now, hash(n), LEECH));
        while schedule.poll(now, &mut rng).is_some() {}
        now += SECOND * 2;
        while schedule.poll(now, &mut rng).is_some() {
            now += MAX_SPACING;
        }
        assert!(schedule.next_timeout().unwrap() > now);
        schedule.renew(now);
        let mut told = BTreeSet::new();
        assert!(schedule.poll(now, &mut rng).is_some_and(|torrent| told.insert(torrent)));
        assert_eq!(schedule.poll(now, &mut rng), None, "not all at once");
        let end = now + MAX_SPACING * 100;
        while now < end {
            now += MAX_SPACING;
            told.extend(schedule.poll(now, &mut rng));
        }
        assert_eq!(told.len(), 100);
    }
}
