//! One way of one connection: how much it may move, and when.

use super::{TorrentLimits, Way, lock};
use samara_swarm::limits::on_wire;
use samara_wire::time::Instant;
use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::time::sleep_until;

/// Both ways of a connection.
pub(crate) struct Meters {
    pub(crate) down: Meter,
    pub(crate) up: Meter,
}

/// Asks for turns of one connection, one at a time.
pub(crate) struct Meter {
    /// `None`: the peer is under no limit.
    limits: Option<Arc<TorrentLimits>>,
    way: Way,
    ipv6: bool,
    /// The count of changes when it was last looked whether any limit binds.
    seen: Cell<u64>,
    bound: Cell<bool>,
    turn: Cell<Option<Turn>>,
}

/// Bytes that were reserved and not moved yet.
#[derive(Clone, Copy, Debug)]
struct Turn {
    at: Instant,
    left: u64,
    begun: bool,
}

impl Meters {
    /// Sleeps until `until`, or until limits are changed: then it is time to ask again. One sleep for both ways, because every
    /// connection has room for it all the time.
    pub(crate) async fn sleep(&self, until: tokio::time::Instant) {
        let Some(limits) = &self.down.limits else { return sleep_until(until).await };
        let changed = limits.session.changed.notified();
        if !self.down.is_outdated() && !self.up.is_outdated() {
            tokio::select! {
                () = changed => {}
                () = sleep_until(until) => {}
            }
        }
    }
}

impl Meter {
    pub(super) fn new(limits: Option<Arc<TorrentLimits>>, way: Way, ip: IpAddr) -> Self {
        let ipv6 = ip.to_canonical().is_ipv6();
        // No count reaches this: the first question looks.
        let seen = Cell::new(u64::MAX);
        Self { limits, way, ipv6, seen, bound: Cell::default(), turn: Cell::default() }
    }

    /// Whether any limit binds.
    pub(crate) fn binds(&self) -> bool {
        let Some(limits) = &self.limits else { return false };
        if limits.session.changes.load(Ordering::Relaxed) != self.seen.get() {
            self.look_again(limits);
        }
        self.bound.get()
    }

    /// Whether limits were changed since it asked for its turn.
    fn is_outdated(&self) -> bool {
        let changes = |limits: &Arc<TorrentLimits>| limits.session.changes.load(Ordering::Acquire);
        self.next_turn().is_some() && self.limits.as_ref().map(changes) != Some(self.seen.get())
    }

    fn look_again(&self, limits: &TorrentLimits) {
        self.give_back();
        // First the count, then the limits: those it counts are seen.
        self.seen.set(limits.session.changes.load(Ordering::Acquire));
        self.bound.set(limits.of(self.way).iter().any(|limit| lock(limit).rate().is_some()));
    }

    /// How many bytes may be moved now. `None`: its turn is to come, and waiting begins with the first question; so ask only
    /// when there is something to be moved. A turn is for `least` bytes at least.
    pub(crate) fn ask(&self, now: Instant, least: usize) -> Option<usize> {
        let limits = match &self.limits {
            Some(limits) if self.binds() => limits,
            _ => return Some(usize::MAX),
        };
        let turn = self.turn.get().unwrap_or_else(|| self.reserve(limits, now, least));
        let begun = turn.begun || turn.at <= now;
        self.turn.set(Some(Turn { begun, ..turn }));
        begun.then(|| usize::try_from(turn.left).unwrap_or(usize::MAX))
    }

    fn reserve(&self, limits: &TorrentLimits, now: Instant, least: usize) -> Turn {
        let limits = limits.of(self.way);
        let portion = limits.iter().map(|limit| lock(limit).portion()).min();
        let left = portion.unwrap_or(u64::MAX).max(least as u64);
        let at = limits.iter().map(|limit| lock(limit).reserve(now, left)).max();
        Turn { at: at.unwrap_or(now), left, begun: false }
    }

    /// Notes that `bytes` were moved, which may be more than its turn allowed, or outside of one.
    pub(crate) fn moved(&self, bytes: usize) {
        let limits = match &self.limits {
            Some(limits) if bytes > 0 && self.binds() => limits,
            _ => return,
        };
        let bytes = bytes as u64;
        let bytes = if limits.session.overhead { on_wire(bytes, self.ipv6) } else { bytes };
        let turn = self.turn.get();
        let left = turn.filter(|turn| turn.begun).map_or(0, |turn| turn.left);
        if bytes < left {
            self.turn.set(turn.map(|turn| Turn { left: left - bytes, ..turn }));
            return;
        }
        self.turn.set(turn.filter(|turn| !turn.begun));
        for limit in limits.of(self.way) {
            lock(limit).settle(0, bytes - left);
        }
    }

    /// Gives back what is left of its turn: there is nothing more to be moved.
    pub(crate) fn give_back(&self) {
        if let (Some(turn), Some(limits)) = (self.turn.take(), &self.limits) {
            for limit in limits.of(self.way) {
                lock(limit).settle(turn.left, 0);
            }
        }
    }

    /// When its turn comes, if it has asked for one that has not begun.
    pub(crate) fn next_turn(&self) -> Option<Instant> {
        self.turn.get().filter(|turn| !turn.begun).map(|turn| turn.at)
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.give_back();
    }
}
