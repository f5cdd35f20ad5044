//! What a torrent's shell knows beside the core: what it is doing, its troubles, its deadlines.

use super::Newcomer;
use super::spares::Spare;
use crate::error::TorrentError;
use crate::status::{State, TorrentStatus};
use samara_disk::CheckProgress;
use samara_wire::time::{Duration, Instant};
use std::net::SocketAddr;
use std::sync::Arc;

/// Time between snapshots of the status while anything moves.
pub(super) const PUBLISH_INTERVAL: Duration = Duration::from_millis(100);

/// Newcomers that may wait for the end of a check. Whoever waits too long goes away by himself.
const MAX_EARLY_NEWCOMERS: usize = 32;

/// How long a torrent's announces go before those of others. Less than the time after which a failed one is repeated,
/// so that a torrent of a tracker that is down is new once and not for ever.
const NEW: Duration = Duration::from_secs(10);

/// First and longest pause before storage is tried again after trouble.
const FIRST_RETRY: Duration = Duration::from_secs(2);
const LAST_RETRY: Duration = Duration::from_secs(15);

/// See the module's head.
pub(super) struct Life {
    /// Data is being looked at.
    pub(super) checking: bool,
    /// How far the look is or was.
    pub(super) progress: Arc<CheckProgress>,
    /// The owner paused it.
    pub(super) paused: bool,
    /// Why there is no network at present.
    pub(super) offline: Option<Arc<str>>,
    /// It was removed or the session stops: nothing is begun any more.
    pub(super) stopping: bool,
    /// It has stopped for good.
    pub(super) stopped: bool,
    /// Trouble with storage.
    pub(super) failure: Option<Box<TorrentError>>,
    /// When storage is tried again; `None` with a failure: it is being tried.
    pub(super) retry_at: Option<Instant>,
    retry_pause: Duration,
    /// When files that somebody else had changed were last checked.
    pub(super) rechecked_at: Option<Instant>,
    /// Until when its owner waits for the first peers: a while from when it was added or resumed.
    pub(super) new_until: Instant,
    /// Everything that the core calls complete is durable.
    pub(super) durable: bool,
    /// When the status was last published, and when it is to be.
    pub(super) published_at: Instant,
    pub(super) publish_at: Option<Instant>,
    /// When messages that are in no hurry are to be flushed.
    pub(super) flush_at: Option<Instant>,
    /// When finished pieces have waited long enough for company.
    pub(super) verify_at: Option<Instant>,
    /// When resume data is to be written.
    pub(super) save_at: Option<Instant>,
    /// Bytes verified since resume data was last written.
    pub(super) unsaved_bytes: u64,
    pub(super) saving: bool,
    /// The record is one of a download that goes on: at an orderly end another one takes its place.
    pub(super) record_open: bool,
    /// The trackers in tiers, if the owner changed them.
    pub(super) trackers: Option<Vec<Vec<String>>>,
    pub(super) tracker_error: Option<Box<str>>,
    pub(super) tracker_warning: Option<Box<str>>,
    pub(super) trackers_answered: u32,
    early: Option<Box<Early>>,
    /// Second connections with peers, oldest first.
    pub(super) spares: Vec<Spare>,
}

/// Whoever came before the core was there.
#[derive(Default)]
struct Early {
    /// Addresses that were told.
    peers: Vec<SocketAddr>,
    /// Peers that dialled us: they wait for the check to end.
    newcomers: Vec<Newcomer>,
}

impl Life {
    pub(super) fn new(paused: bool, early_peers: Vec<SocketAddr>) -> Self {
        let early = (!early_peers.is_empty())
            .then(|| Box::new(Early { peers: early_peers, newcomers: Vec::new() }));
        Self {
            checking: true,
            progress: Arc::default(),
            paused,
            offline: None,
            stopping: false,
            stopped: false,
            failure: None,
            retry_at: None,
            retry_pause: FIRST_RETRY,
            rechecked_at: None,
            new_until: Instant::ZERO,
            durable: false,
            published_at: Instant::ZERO,
            publish_at: None,
            flush_at: None,
            verify_at: None,
            save_at: None,
            unsaved_bytes: 0,
            saving: false,
            record_open: false,
            trackers: None,
            tracker_error: None,
            tracker_warning: None,
            trackers_answered: 0,
            early,
            spares: Vec::new(),
        }
    }

    /// Keeps addresses until the core is there.
    pub(super) fn keep_peers(&mut self, peers: &[SocketAddr]) {
        if !peers.is_empty() {
            self.early.get_or_insert_default().peers.extend_from_slice(peers);
        }
    }

    /// Keeps a newcomer until the check ends; gives it back if it cannot be.
    pub(super) fn keep(&mut self, newcomer: Newcomer) -> Option<Newcomer> {
        let waits = self.checking && !self.paused && !self.stopping;
        let waiting = self.early.as_ref().map_or(0, |early| early.newcomers.len());
        if !waits || waiting >= MAX_EARLY_NEWCOMERS {
            return Some(newcomer);
        }
        self.early.get_or_insert_default().newcomers.push(newcomer);
        None
    }

    /// The addresses and newcomers that waited.
    pub(super) fn take_early(&mut self) -> (Vec<SocketAddr>, Vec<Newcomer>) {
        self.early.take().map(|early| (early.peers, early.newcomers)).unwrap_or_default()
    }

    /// Whether peers are welcome.
    pub(super) const fn is_running(&self) -> bool {
        !self.checking && !self.paused && self.offline.is_none() && !self.stopping
    }

    /// It begins to look for peers, now that its owner has said so.
    pub(super) fn renew(&mut self, now: Instant) {
        self.new_until = now + NEW;
    }

    /// Notes trouble and when to try again.
    pub(super) fn fail(&mut self, now: Instant, error: TorrentError) {
        self.failure = Some(Box::new(error));
        // Jobs that were under way fail one after another; together they are one failure.
        if self.retry_at.is_none() {
            self.retry_at = Some(now + self.retry_pause);
            self.retry_pause = (self.retry_pause * 2).min(LAST_RETRY);
        }
    }

    /// Storage works again.
    pub(super) fn recover(&mut self) {
        if self.failure.take().is_some() {
            // It is told at once, lest somebody gives up who would not.
            self.published_at = Instant::ZERO;
        }
        self.retry_at = None;
        self.retry_pause = FIRST_RETRY;
    }

    /// What to tell the owner that the torrent is doing.
    pub(super) fn state(&self, complete: bool) -> State {
        match &self.failure {
            _ if self.stopped => State::Stopped,
            Some(failure) => State::Failed(TorrentError::clone(failure)),
            None if self.checking => State::Checking,
            None if self.paused => State::Paused,
            None if complete && self.durable => State::Seeding,
            None => State::Downloading,
        }
    }

    /// Fills the parts of a status that are ours.
    pub(super) fn describe(&self, status: &mut TorrentStatus, complete: bool) {
        status.state = self.state(complete);
        status.checked_bytes = self.progress.hashed_bytes();
        status.check_total_bytes = self.progress.total_bytes();
        status.offline = self.offline.as_deref().map(str::to_owned);
        status.tracker_error = self.tracker_error.as_deref().map(str::to_owned);
        status.tracker_warning = self.tracker_warning.as_deref().map(str::to_owned);
        status.trackers_answered = self.trackers_answered;
    }

    /// The next time something of ours is due.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        // While resume data is being written, or data is checked, the next time is not due before that is done.
        let save_at = self.save_at.filter(|_| !self.saving && !self.checking);
        let due = [self.retry_at, self.publish_at, self.flush_at, self.verify_at, save_at];
        due.into_iter().chain([self.spares_end()]).flatten().min()
    }
}
