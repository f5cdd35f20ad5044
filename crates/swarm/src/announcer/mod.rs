//! When to announce to which tracker, and what to tell it.
//!
//! **Whom.** Trackers come in tiers (BEP 12). Every tier is shuffled once; then one working tracker *of each tier*
//! is announced to, because the tiers of public torrents are mostly unrelated trackers that know different
//! peers. In a tier the first is tried first; one that fails is followed by the next at once, one that has not
//! answered after five seconds is left waiting while the next is tried. The one that answers moves to the front of its
//! tier. A private torrent (BEP 27) has one tracker at a time: tiers are walked in order, the next tracker is
//! tried only after the one before has failed, and one that is left is told `stopped`.
//!
//! **What.** `started` until a tracker has accepted it; `completed` only if the torrent was finished in this run
//! after that tracker had accepted our `started` with something left; `stopped` once, to every tracker that
//! accepted `started`. Uploaded and downloaded count from that `started` (BEP 3). Key and tracker id are kept.
//!
//! **When.** At the tracker's interval, a little later by lot; earlier if few peers are known
//! ([`Announcer::set_hungry`]) but never inside its min interval. Failures: after 15 s, doubling to half an hour, plus up to
//! a quarter by lot; or as the tracker says (`retry in`, BEP 31). Events do not wait for the interval.
//!
//! Trackers can be changed at any time ([`Announcer::set_tiers`]).
//!
//! Bounds: [`MAX_TRACKERS`]; intervals from a tracker are held to 15 s and a day; texts to 500 bytes.

mod edit;
mod tracker;

use crate::outbox::{Announce, AnnounceId};
use crate::rng::Rng;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use samara_wire::id::{PeerId, WireHash};
use samara_wire::time::{Duration, Instant};
use samara_wire::tracker::http::Retry;
use samara_wire::tracker::{AnnounceEvent, AnnounceRequest, AnnounceResponse};
use tracker::{Pending, Tracker};

/// Trackers of one torrent at most; the rest is left out.
pub const MAX_TRACKERS: usize = 100;

/// Peers asked for in one announce at most.
const MAX_WANTED: u32 = 200;
/// How long an unanswered tracker holds up the next of its tier.
const PATIENCE: Duration = Duration::from_secs(5);
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(30);
/// `stopped` must not hold up the end of the program.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// What stays the same in all announces of a torrent.
#[derive(Clone, Debug)]
pub struct AnnouncerConfig {
    /// The torrent.
    pub info_hash: WireHash,
    /// Us.
    pub peer_id: PeerId,
    /// The port we listen on.
    pub port: u16,
    /// Announce key (BEP 7): stable for a session.
    pub key: u32,
    /// Private torrent (BEP 27): one tracker at a time.
    pub private: bool,
}

/// The torrent's counters since it was added in this run; must never decrease.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Payload bytes uploaded.
    pub uploaded: u64,
    /// Payload bytes downloaded.
    pub downloaded: u64,
    /// Bytes still to download until the whole torrent is here.
    pub left: u64,
    /// How many more peers are of use.
    pub peers_wanted: u32,
}

/// What a tracker is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrackerState {
    /// Has not been asked yet.
    Idle,
    /// Is being asked.
    Announcing,
    /// Answered when it was asked last.
    Working,
    /// Failed when it was asked last; is tried again.
    Failed,
    /// Told us never to ask again (BEP 31).
    Refused,
}

/// A tracker, for display.
#[derive(Clone, Copy, Debug)]
pub struct TrackerStatus<'a> {
    /// Its announce URL.
    pub url: &'a str,
    /// Its tier, from 0.
    pub tier: usize,
    /// What it is doing.
    pub state: TrackerState,
    /// Why it failed last, if it did.
    pub last_error: Option<&'a str>,
    /// The warning of its last answer.
    pub warning: Option<&'a str>,
    /// When it may be asked next; whether it is depends on the others of its tier.
    pub next_announce: Option<Instant>,
    /// Seeds it knows.
    pub seeds: Option<u32>,
    /// Leeches it knows.
    pub leeches: Option<u32>,
    /// Peers named in its last answer.
    pub peers: usize,
}

/// The announce schedule of one torrent.
///
/// After each call that takes `&mut self`, pull [`Announcer::poll`] until it gives `None`; do so again at
/// [`Announcer::next_timeout`]. Every announce pulled must be answered with [`Announcer::on_response`] or
/// [`Announcer::on_failure`]; answers to announces that are no longer awaited are ignored.
#[derive(Clone, Debug)]
pub struct Announcer {
    config: AnnouncerConfig,
    /// In order of preference; those of a tier stand together. Behind them, those that are used no more and are to be
    /// told so.
    trackers: Vec<Tracker>,
    phase: Phase,
    hungry: bool,
    completed: bool,
    next_id: u32,
    rng: Rng,
    /// The earliest announce as things stand, so that asking when it is due costs nothing.
    next: Option<Planned>,
}

/// When, which tracker, what event.
type Planned = (Instant, usize, AnnounceEvent);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Idle,
    Running,
    Stopping,
}

impl Announcer {
    /// An announcer that is silent until [`Announcer::start`]. A URL that appears twice counts where it is first.
    #[must_use]
    pub fn new(config: AnnouncerConfig, tiers: &[Vec<String>], seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut seen = BTreeSet::new();
        let mut trackers = Vec::new();
        for (number, tier) in tiers.iter().enumerate() {
            let mut urls: Vec<&String> = tier.iter().filter(|url| seen.insert(*url)).collect();
            rng.shuffle(&mut urls);
            trackers.extend(urls.into_iter().map(|url| Tracker::new(url.clone(), number)));
        }
        trackers.truncate(MAX_TRACKERS);
        let phase = Phase::Idle;
        Self {
            config,
            trackers,
            phase,
            hungry: false,
            completed: false,
            next_id: 0,
            rng,
            next: None,
        }
    }

    /// Starts, or starts again after a stop: every tracker that is used is told `started`.
    pub fn start(&mut self, now: Instant) {
        if self.phase == Phase::Running {
            return;
        }
        self.phase = Phase::Running;
        self.completed = false;
        self.trackers.retain(|tracker| !tracker.leaving);
        for tracker in &mut self.trackers {
            tracker.reset(now);
        }
        self.next = self.plan();
    }

    /// The last piece was downloaded in this run. Not to be called after a mere recheck.
    pub fn completed(&mut self) {
        self.completed = true;
        for tracker in &mut self.trackers {
            tracker.on_completed();
        }
        self.next = self.plan();
    }

    /// Tells every tracker that accepted `started` that we stop. A `started` still under way is awaited for that;
    /// the caller bounds the time it spends on it.
    pub fn stop(&mut self) {
        if self.phase != Phase::Running {
            return;
        }
        self.phase = Phase::Stopping;
        for tracker in &mut self.trackers {
            tracker.on_stop();
        }
        self.next = self.plan();
    }

    /// Whether nothing is announced and nothing awaited: before the start, and once a stop is through.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        match self.phase {
            Phase::Idle => true,
            Phase::Running => false,
            Phase::Stopping => self.trackers.iter().all(|t| t.pending.is_none() && !t.stop_due),
        }
    }

    /// Whether so few peers are known that trackers should be asked as early as they allow.
    pub fn set_hungry(&mut self, hungry: bool) {
        if core::mem::replace(&mut self.hungry, hungry) != hungry {
            self.next = self.plan();
        }
    }

    /// The port by which we are reached changed; the next announces tell it.
    pub fn set_port(&mut self, port: u16) {
        self.config.port = port;
    }

    /// The next announce that is due at `now`.
    pub fn poll(&mut self, now: Instant, counters: &Counters) -> Option<Announce> {
        let (at, index, event) = self.next?;
        if at > now {
            return None;
        }
        let id = AnnounceId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        let tracker = &mut self.trackers[index];
        let port = self.config.port;
        tracker.on_announced(Pending { id, event, since: now, port }, counters);
        let (uploaded, downloaded) = tracker.since_started(counters);
        let stops = self.phase == Phase::Stopping || event == AnnounceEvent::Stopped;
        let announce = Announce {
            id,
            url: tracker.url.clone(),
            request: AnnounceRequest {
                info_hash: self.config.info_hash,
                peer_id: self.config.peer_id,
                port,
                uploaded,
                downloaded,
                left: counters.left,
                event,
                key: self.config.key,
                num_want: if stops { 0 } else { counters.peers_wanted.min(MAX_WANTED) },
                tracker_id: tracker.tracker_id.clone(),
            },
            timeout: if stops { STOP_TIMEOUT } else { ANNOUNCE_TIMEOUT },
        };
        self.next = self.plan();
        Some(announce)
    }

    /// A tracker answered. Its URL, or `None` if the answer is not awaited any more.
    pub fn on_response(
        &mut self,
        now: Instant,
        id: AnnounceId,
        response: &AnnounceResponse,
    ) -> Option<&str> {
        let index = self.index_of(id)?;
        let tracker = &mut self.trackers[index];
        let told = tracker.pending.map(|pending| pending.port);
        let event = tracker.on_response(now, response, self.completed, &mut self.rng);
        let index = self.settle(index, event);
        if self.phase == Phase::Running && told != Some(self.config.port) {
            // It knows us by a port that was ours when it was asked.
            self.trackers[index].hurry(now);
        }
        self.next = self.plan();
        Some(&self.trackers[index].url)
    }

    /// Draws the consequences of an answer for the other trackers. Returns where the tracker stands now.
    fn settle(&mut self, index: usize, event: AnnounceEvent) -> usize {
        if self.phase == Phase::Stopping || self.trackers[index].leaving {
            // A `started` that has just got through must be taken back.
            self.trackers[index].on_stop();
        }
        let leaves = self.trackers[index].leaving;
        if self.phase != Phase::Running || event == AnnounceEvent::Stopped || leaves {
            return index;
        }
        let index = self.prefer(index);
        if self.config.private && event == AnnounceEvent::Started {
            let others = self.trackers.iter_mut().enumerate().filter(|(other, _)| *other != index);
            others.for_each(|(_, tracker)| tracker.on_stop());
        }
        index
    }

    /// A tracker failed, `error` being for the user; `retry` is what it said of another try (BEP 31).
    /// Its URL, or `None` if the answer is not awaited any more.
    pub fn on_failure(
        &mut self,
        now: Instant,
        id: AnnounceId,
        error: &str,
        retry: Option<Retry>,
    ) -> Option<&str> {
        let index = self.index_of(id)?;
        self.trackers[index].on_failure(now, error, retry, &mut self.rng);
        self.next = self.plan();
        Some(&self.trackers[index].url)
    }

    /// When [`Announcer::poll`] has something to give next, if nothing else happens. May lie in the past: at once.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.next.map(|(at, ..)| at)
    }

    /// All trackers in the order in which they are tried.
    pub fn trackers(&self) -> impl Iterator<Item = TrackerStatus<'_>> {
        self.used().iter().map(|t| t.status(self.hungry))
    }

    /// What the announce tells, if an answer to it is of interest.
    #[must_use]
    pub fn awaited_event(&self, id: AnnounceId) -> Option<AnnounceEvent> {
        let pending = self.trackers[self.index_of(id)?].pending;
        pending.map(|pending| pending.event)
    }

    fn index_of(&self, id: AnnounceId) -> Option<usize> {
        self.trackers.iter().position(|t| t.pending.is_some_and(|p| p.id == id))
    }

    /// Moves a tracker that answered to the front of its tier, unless one before it works already (then it was
    /// merely slow). Returns where it stands.
    fn prefer(&mut self, index: usize) -> usize {
        let tier = self.trackers[index].tier;
        let front = self.trackers.iter().position(|t| t.tier == tier).unwrap_or(index);
        if self.trackers[front..index].iter().any(Tracker::works) {
            return index;
        }
        self.trackers[front..=index].rotate_right(1);
        front
    }

    /// The earliest announce, at equal times the most preferred: when, which tracker, what event.
    fn plan(&self) -> Option<Planned> {
        if self.config.private
            && self.phase == Phase::Running
            && self.trackers.iter().any(|t| t.pending.is_some())
        {
            return None;
        }
        let urgent = self
            .trackers
            .iter()
            .enumerate()
            .filter_map(|(i, t)| t.urgent_event().map(|(at, event)| (at, i, event)));
        let regular = (self.phase == Phase::Running)
            .then(|| self.used().chunk_by(|a, b| self.config.private || a.tier == b.tier))
            .into_iter()
            .flatten()
            .scan(0, |start, tier| {
                let first = *start;
                *start += tier.len();
                Some(plan_tier(tier, self.hungry).map(|(at, i, event)| (at, first + i, event)))
            })
            .flatten();
        urgent.chain(regular).min_by_key(|(at, i, _)| (*at, *i))
    }
}

/// The earliest regular announce among `tier`, of which one tracker is to work.
fn plan_tier(tier: &[Tracker], hungry: bool) -> Option<Planned> {
    let mut best: Option<Planned> = None;
    // Before this, those further back are not to be asked.
    let mut gate = Instant::ZERO;
    for (i, tracker) in tier.iter().enumerate() {
        if let Some(pending) = &tracker.pending {
            gate = gate.max(pending.since + PATIENCE);
            continue;
        }
        let Some(at) = tracker.next_announce(hungry) else { continue };
        let at = at.max(gate);
        if best.is_none_or(|(earliest, ..)| at < earliest) {
            best = Some((at, i, tracker.regular_event()));
        }
        if tracker.works() {
            break;
        }
    }
    best
}

#[cfg(test)]
mod tests;
