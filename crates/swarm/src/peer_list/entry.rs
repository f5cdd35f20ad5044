//! What is known of one address.

use crate::rng::Rng;
use crate::torrent::PeerSource;
use core::cmp::Reverse;
use samara_wire::time::{Duration, Instant};

/// The pause after the first failure, which doubles with each, and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(30 * 60));
/// The same for peers that the user named: that one is expected to be there soon.
const USER_BACK_OFF: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));
/// Before a peer that was useful is dialled again.
const RECONNECT: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) source: PeerSource,
    /// What became of our own dial.
    pub(super) state: State,
    /// Connections that the peer dialled itself.
    pub(super) incoming: u32,
    /// Failures since it was last of use.
    pub(super) failures: u32,
    /// Not to be dialled before this.
    pub(super) ready_at: Instant,
    pub(super) priority: u32,
    /// It has nothing to gain from us (BEP 21).
    pub(super) upload_only: bool,
    /// Whether it was of use before.
    pub(super) proven: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Idle,
    Dialing,
    Connected,
}

/// Orders addresses for dialling, best first: by the user's word, failures, nearness, experience, priority.
pub(super) type Rank = (bool, u32, bool, bool, Reverse<u32>);

/// Orders addresses for being forgotten, worst first.
pub(super) type Worth = (Reverse<u32>, bool, u32);

impl Entry {
    pub(super) const fn new(now: Instant, source: PeerSource, priority: u32) -> Self {
        Self {
            source,
            state: State::Idle,
            incoming: 0,
            failures: 0,
            ready_at: now,
            priority,
            upload_only: false,
            proven: false,
        }
    }

    /// Whether there is neither a connection nor a dial.
    pub(super) fn is_idle(&self) -> bool {
        self.state == State::Idle && self.incoming == 0
    }

    pub(super) fn is_users(&self) -> bool {
        self.source == PeerSource::User
    }

    pub(super) fn rank(&self) -> Rank {
        let near = self.source == PeerSource::Local;
        (!self.is_users(), self.failures, !near, !self.proven, Reverse(self.priority))
    }

    pub(super) fn worth(&self) -> Worth {
        (Reverse(self.failures), self.proven, self.priority)
    }

    /// A dial failed, or the connection was of no use.
    pub(super) fn on_failed(&mut self, now: Instant, rng: &mut Rng) {
        let (first, most) = if self.is_users() { USER_BACK_OFF } else { BACK_OFF };
        let pause = (first * (1 << self.failures.min(10))).min(most);
        self.failures = self.failures.saturating_add(1);
        // Up to a quarter more by lot, so that those that failed together do not come back together.
        let millis = usize::try_from(pause.as_millis() / 4).unwrap_or(usize::MAX);
        self.ready_at = now + pause + Duration::from_millis(rng.below(millis + 1) as u64);
    }

    /// A connection that was of use ended.
    pub(super) fn on_useful_end(&mut self, now: Instant) {
        (self.failures, self.proven) = (0, true);
        self.ready_at = now + RECONNECT;
    }
}
