//! What is known of one tracker.

use super::{Counters, TrackerState, TrackerStatus};
use crate::outbox::AnnounceId;
use crate::rng::Rng;
use alloc::string::String;
use samara_wire::time::{Duration, Instant};
use samara_wire::tracker::http::Retry;
use samara_wire::tracker::{AnnounceEvent, AnnounceResponse};

/// Where a tracker names no interval.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(30 * 60);
/// Where a tracker names no min interval, it is this or its interval if that is less.
const DEFAULT_MIN_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// A tracker cannot make us announce more or less often than this.
const INTERVALS: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(24 * 3600));
/// A user cannot make us ask a tracker that names no min interval more often than this.
const LEAST_PAUSE: Duration = Duration::from_secs(60);
const FIRST_RETRY: Duration = Duration::from_secs(15);
const LAST_RETRY: Duration = Duration::from_secs(30 * 60);
/// A regular announce comes later than asked by up to this part of the interval, by lot, so that thousands of torrents
/// that were started together drift apart. Trackers forget those who are silent for one and a half intervals or more.
const SPREAD: u32 = 10;
const MAX_TEXT: usize = 500;

/// One tracker: what it was told, what it answered, when it may be asked again.
#[derive(Clone, Debug)]
pub(super) struct Tracker {
    pub(super) url: String,
    pub(super) tier: usize,
    pub(super) pending: Option<Pending>,
    pub(super) tracker_id: Option<String>,
    /// Whether `stopped` is still to be told.
    pub(super) stop_due: bool,
    /// Whether it is used no more and stays only until it has been told so.
    pub(super) leaving: bool,
    state: TrackerState,
    /// The `started` that it accepted, or that is under way.
    started: Option<Started>,
    completion: Completion,
    failures: u32,
    /// When it may be asked for the regular reason.
    regular_at: Instant,
    /// When it may be asked if peers are short.
    earliest_at: Instant,
    /// When it may be asked if the user wants it.
    floor_at: Instant,
    last_error: Option<String>,
    warning: Option<String>,
    seeds: Option<u32>,
    leeches: Option<u32>,
    peers: usize,
}

/// An announce that has not been answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) id: AnnounceId,
    pub(super) event: AnnounceEvent,
    pub(super) since: Instant,
    /// The port that it tells.
    pub(super) port: u16,
}

#[derive(Clone, Copy, Debug)]
struct Started {
    uploaded: u64,
    downloaded: u64,
    /// Whether it knew us as one that lacks something.
    as_leech: bool,
    accepted: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Completion {
    None,
    Due,
    Told,
}

impl Tracker {
    pub(super) fn new(url: String, tier: usize) -> Self {
        Self {
            url,
            tier,
            pending: None,
            tracker_id: None,
            stop_due: false,
            leaving: false,
            state: TrackerState::Idle,
            started: None,
            completion: Completion::None,
            failures: 0,
            regular_at: Instant::ZERO,
            earliest_at: Instant::ZERO,
            floor_at: Instant::ZERO,
            last_error: None,
            warning: None,
            seeds: None,
            leeches: None,
            peers: 0,
        }
    }

    /// A new run begins at `now`.
    pub(super) fn reset(&mut self, now: Instant) {
        (self.pending, self.started, self.stop_due) = (None, None, false);
        (self.completion, self.failures) = (Completion::None, 0);
        self.state = TrackerState::Idle;
        (self.regular_at, self.earliest_at, self.floor_at) = (now, now, now);
    }

    pub(super) fn works(&self) -> bool {
        self.state == TrackerState::Working
    }

    /// The torrent was finished.
    pub(super) fn on_completed(&mut self) {
        if self.completion == Completion::None
            && self.started.is_some_and(|s| s.accepted && s.as_leech)
        {
            self.completion = Completion::Due;
        }
    }

    /// The tracker is used no more. An answer that decides whether it counts us, or whether it counted our
    /// download, is awaited first; a regular announce under way is not.
    pub(super) fn on_stop(&mut self) {
        match self.pending.as_ref().map(|p| p.event) {
            Some(AnnounceEvent::Stopped) => return,
            Some(AnnounceEvent::Periodic) => self.pending = None,
            Some(AnnounceEvent::Started | AnnounceEvent::Completed) | None => {}
        }
        self.stop_due = self.started.is_some_and(|s| s.accepted);
    }

    /// It is in use, in this tier: as before, or again. One that was told `stopped` meanwhile begins anew, at once.
    pub(super) fn stay(&mut self, now: Instant, tier: usize) {
        if self.leaving {
            (self.leaving, self.stop_due) = (false, false);
            let stops = self.pending.is_some_and(|p| p.event == AnnounceEvent::Stopped);
            if stops || self.started.is_none() {
                self.earliest_at = now;
            }
            if self.started.is_none() && self.pending.is_none() {
                self.regular_at = now;
            }
        }
        self.tier = tier;
    }

    /// It is not used any more.
    pub(super) fn leave(&mut self) {
        if !self.leaving {
            self.leaving = true;
            self.on_stop();
        }
    }

    /// Whether nothing is to be told it nor to be heard of it any more, for one that leaves.
    pub(super) const fn is_through(&self) -> bool {
        self.pending.is_none() && !self.stop_due
    }

    /// The user wants it asked.
    pub(super) fn hurry(&mut self, now: Instant) {
        let at = now.max(self.floor_at);
        self.regular_at = self.regular_at.min(at);
        self.earliest_at = self.earliest_at.min(at);
    }

    /// We are at another address than before. Whoever never heard of us, or failed too often to be asked yet, is asked too: it may
    /// have been our network that failed.
    pub(super) fn on_moved(&mut self, now: Instant) {
        match self.pending.map(|pending| pending.event) {
            Some(AnnounceEvent::Stopped) => return,
            Some(AnnounceEvent::Started) => self.started = None,
            Some(AnnounceEvent::Completed | AnnounceEvent::Periodic) | None => {}
        }
        self.pending = None;
        self.failures = 0;
        (self.regular_at, self.earliest_at, self.floor_at) = (now, now, now);
    }

    /// `pending` is sent now.
    pub(super) fn on_announced(&mut self, pending: Pending, counters: &Counters) {
        match pending.event {
            AnnounceEvent::Started => {
                let Counters { uploaded, downloaded, left, .. } = *counters;
                self.started =
                    Some(Started { uploaded, downloaded, as_leech: left > 0, accepted: false });
            }
            AnnounceEvent::Stopped => self.stop_due = false,
            AnnounceEvent::Completed | AnnounceEvent::Periodic => {}
        }
        self.pending = Some(pending);
    }

    /// Bytes uploaded and downloaded since the `started` that the tracker knows.
    pub(super) fn since_started(&self, counters: &Counters) -> (u64, u64) {
        self.started.map_or((0, 0), |s| {
            (
                counters.uploaded.saturating_sub(s.uploaded),
                counters.downloaded.saturating_sub(s.downloaded),
            )
        })
    }

    /// The pending announce succeeded. `completed`: whether the torrent was finished in this run.
    /// Returns which event it was.
    pub(super) fn on_response(
        &mut self,
        now: Instant,
        response: &AnnounceResponse,
        completed: bool,
        rng: &mut Rng,
    ) -> AnnounceEvent {
        let event = self.pending.take().map_or(AnnounceEvent::Periodic, |p| p.event);
        match event {
            AnnounceEvent::Stopped => {
                self.on_stopped();
                return event;
            }
            AnnounceEvent::Completed => self.completion = Completion::Told,
            AnnounceEvent::Started => {
                if let Some(started) = &mut self.started {
                    started.accepted = true;
                }
                if completed {
                    self.on_completed();
                }
            }
            AnnounceEvent::Periodic => {}
        }
        self.state = TrackerState::Working;
        (self.failures, self.last_error) = (0, None);
        let interval =
            if response.interval.is_zero() { DEFAULT_INTERVAL } else { response.interval };
        let interval = interval.clamp(INTERVALS.0, INTERVALS.1);
        let least = response.min_interval.unwrap_or(DEFAULT_MIN_INTERVAL.min(interval));
        self.earliest_at = now + least.clamp(INTERVALS.0, INTERVALS.1);
        let floor = response.min_interval.unwrap_or(LEAST_PAUSE).clamp(INTERVALS.0, INTERVALS.1);
        self.floor_at = now + floor;
        self.regular_at = self.earliest_at.max(now + interval + by_lot(interval / SPREAD, rng));
        if let Some(id) = &response.tracker_id {
            self.tracker_id = Some(id.clone());
        }
        self.warning = response.warning.as_deref().map(shortened);
        (self.seeds, self.leeches) = (response.complete, response.incomplete);
        self.peers = response.peers.len();
        event
    }

    /// The tracker was told that we stopped: if it is used again, that is a new start.
    fn on_stopped(&mut self) {
        (self.started, self.completion) = (None, Completion::None);
        if self.works() {
            (self.state, self.regular_at) = (TrackerState::Idle, self.earliest_at);
        }
    }

    /// The pending announce failed.
    pub(super) fn on_failure(
        &mut self,
        now: Instant,
        error: &str,
        retry: Option<Retry>,
        rng: &mut Rng,
    ) {
        self.last_error = Some(shortened(error));
        match self.pending.take().map(|p| p.event) {
            // There is no second try: the tracker will notice by our silence.
            Some(AnnounceEvent::Stopped) => return self.on_stopped(),
            Some(AnnounceEvent::Started) => self.started = None,
            Some(AnnounceEvent::Completed | AnnounceEvent::Periodic) | None => {}
        }
        self.state = TrackerState::Failed;
        let backed_off = (FIRST_RETRY * (1 << self.failures.min(10))).min(LAST_RETRY);
        self.failures = self.failures.saturating_add(1);
        let wait = match retry {
            Some(Retry::After(wait)) => wait.clamp(INTERVALS.0, INTERVALS.1),
            Some(Retry::Never) => {
                self.state = TrackerState::Refused;
                Duration::ZERO
            }
            None => backed_off + by_lot(backed_off / 4, rng),
        };
        self.regular_at = now + wait;
        self.floor_at = now + if retry.is_some() { wait } else { FIRST_RETRY };
    }

    /// An event that does not wait for its turn. The time is in the past: at once.
    pub(super) fn urgent_event(&self) -> Option<(Instant, AnnounceEvent)> {
        if self.pending.is_some() {
            None
        } else if self.completion == Completion::Due && self.works() {
            Some((Instant::ZERO, AnnounceEvent::Completed))
        } else {
            self.stop_due.then_some((Instant::ZERO, AnnounceEvent::Stopped))
        }
    }

    /// What it is to be told when its turn comes.
    pub(super) fn regular_event(&self) -> AnnounceEvent {
        match (self.started.is_some_and(|s| s.accepted), self.completion) {
            (false, _) => AnnounceEvent::Started,
            (true, Completion::Due) => AnnounceEvent::Completed,
            (true, _) => AnnounceEvent::Periodic,
        }
    }

    /// When it may be asked; `None` if never again.
    pub(super) fn next_announce(&self, hungry: bool) -> Option<Instant> {
        match self.state {
            TrackerState::Refused => None,
            TrackerState::Working if hungry => Some(self.earliest_at),
            _ => Some(self.regular_at),
        }
    }

    pub(super) fn status(&self, hungry: bool) -> TrackerStatus<'_> {
        let state = if self.pending.is_some() { TrackerState::Announcing } else { self.state };
        TrackerStatus {
            url: &self.url,
            tier: self.tier,
            state,
            last_error: self.last_error.as_deref(),
            warning: self.warning.as_deref(),
            next_announce: self.next_announce(hungry).filter(|_| self.pending.is_none()),
            seeds: self.seeds,
            leeches: self.leeches,
            peers: self.peers,
        }
    }
}

/// Up to `most`, by lot: spreads what many clients would do at once.
fn by_lot(most: Duration, rng: &mut Rng) -> Duration {
    let millis = usize::try_from(most.as_millis()).unwrap_or(usize::MAX);
    Duration::from_millis(rng.below(millis.saturating_add(1)) as u64)
}

fn shortened(text: &str) -> String {
    String::from(&text[..text.floor_char_boundary(MAX_TEXT)])
}
