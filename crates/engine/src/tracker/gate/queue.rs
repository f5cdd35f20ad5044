//! Which announce begins next. Pure: no clock, no waiting, no locks.
//!
//! **Limits.** So many in all, so many at one host, fewer at a host that gave no answer when it was asked last: a
//! tracker that is down must not take the places of those that work, nor be hammered when it comes back.
//!
//! **Order.** First announces of torrents that were just added, the newest first, because a user waits for them; then
//! `stopped`, because the program may be about to end; then other events; then the regular ones. The latter three in
//! the order they came. An announce that has to wait for its host holds up nobody else's.
//!
//! **The pace.** Where the limits are reached by announces that all wait for a slow tracker, order does not help. So,
//! limits or not, every [`QueueLimits::pace`] one announce of the first kind may begin, the newest. With announces
//! that time out after 30 s and a pace of half a second that is at most 60 more than the limits say, and a torrent that
//! is added alone never waits longer than the pace, however long the queue.
//!
//! Memory is what waits: at most one announce for each tracker of each torrent.

use samara_wire::time::{Duration, Instant};
use std::collections::{BTreeMap, BTreeSet};

/// How soon an announce is wanted; those named first go first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Urgency {
    /// The first one of a torrent that was just added.
    Fresh,
    /// `stopped`.
    Stopped,
    /// Another event.
    Event,
    /// A regular one.
    Regular,
}

/// Bounds of a [`Queue`]. Plain data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueLimits {
    /// Announces under way at once.
    pub(crate) total: usize,
    /// Announces to one host under way at once.
    pub(crate) per_host: usize,
    /// The same where the host gave no answer when it was asked last.
    pub(crate) per_failing_host: usize,
    /// Time after which another fresh one may begin beyond the limits.
    pub(crate) pace: Duration,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { total: 96, per_host: 8, per_failing_host: 2, pace: Duration::from_millis(500) }
    }
}

/// Names an announce from its entry until it leaves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Ticket(u64);

/// What came of an announce, as far as the queue cares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// The host answered, be it with a refusal.
    Answered,
    /// It did not.
    Silent,
    /// Nobody waited for the end.
    Unknown,
}

/// The place in the order; the least is the first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Rank {
    urgency: Urgency,
    order: u64,
    ticket: Ticket,
}

#[derive(Debug)]
struct Place {
    host: String,
    rank: Rank,
    begun: bool,
}

#[derive(Debug, Default)]
struct Host {
    waiting: BTreeSet<Rank>,
    under_way: usize,
    failing: bool,
}

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Queue {
    limits: QueueLimits,
    next_ticket: u64,
    places: BTreeMap<Ticket, Place>,
    hosts: BTreeMap<String, Host>,
    /// The first of those that wait at each host that has room.
    ready: BTreeMap<Rank, String>,
    /// All fresh ones that wait.
    fresh: BTreeSet<Rank>,
    under_way: usize,
    /// When one may begin beyond the limits.
    extra_at: Instant,
}

impl Queue {
    pub(crate) const fn new(limits: QueueLimits) -> Self {
        Self {
            limits,
            next_ticket: 0,
            places: BTreeMap::new(),
            hosts: BTreeMap::new(),
            ready: BTreeMap::new(),
            fresh: BTreeSet::new(),
            under_way: 0,
            extra_at: Instant::ZERO,
        }
    }

    /// An announce to `host` is to be made. It begins when [`Queue::poll`] names it.
    pub(crate) fn enter(&mut self, host: &str, urgency: Urgency) -> Ticket {
        let n = self.next_ticket;
        self.next_ticket += 1;
        let order = if urgency == Urgency::Fresh { u64::MAX - n } else { n };
        let rank = Rank { urgency, order, ticket: Ticket(n) };
        if urgency == Urgency::Fresh {
            self.fresh.insert(rank);
        }
        self.places.insert(rank.ticket, Place { host: host.to_owned(), rank, begun: false });
        self.change(host, |host| {
            host.waiting.insert(rank);
        });
        rank.ticket
    }

    /// The announce that begins now, if one may.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Ticket> {
        if self.under_way < self.limits.total
            && let Some(rank) = self.ready.keys().next().copied()
        {
            return Some(self.begin(rank));
        }
        let newest = self.fresh.first().copied().filter(|_| now >= self.extra_at)?;
        self.extra_at = now + self.limits.pace;
        Some(self.begin(newest))
    }

    /// When [`Queue::poll`] may have another one, if nobody leaves before.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        (!self.fresh.is_empty()).then_some(self.extra_at)
    }

    /// An announce has ended, or is not wanted any more.
    pub(crate) fn leave(&mut self, ticket: Ticket, outcome: Outcome) {
        let Some(place) = self.places.remove(&ticket) else { return };
        self.fresh.remove(&place.rank);
        if place.begun {
            self.under_way -= 1;
        }
        self.change(&place.host, |host| {
            host.waiting.remove(&place.rank);
            if place.begun {
                host.under_way -= 1;
            }
            match outcome {
                Outcome::Answered => host.failing = false,
                Outcome::Silent => host.failing = true,
                Outcome::Unknown => {}
            }
        });
    }

    fn begin(&mut self, rank: Rank) -> Ticket {
        self.fresh.remove(&rank);
        self.under_way += 1;
        let place = self.places.get_mut(&rank.ticket).expect("whoever waits has a place");
        place.begun = true;
        let host = place.host.clone();
        self.change(&host, |host| {
            host.waiting.remove(&rank);
            host.under_way += 1;
        });
        rank.ticket
    }

    /// Changes what is known of a host and keeps `ready` true.
    fn change(&mut self, name: &str, f: impl FnOnce(&mut Host)) {
        let mut host = self.hosts.remove(name).unwrap_or_default();
        if let Some(first) = host.waiting.first() {
            self.ready.remove(first);
        }
        f(&mut host);
        let room = if host.failing { self.limits.per_failing_host } else { self.limits.per_host };
        if let Some(first) = host.waiting.first()
            && host.under_way < room
        {
            self.ready.insert(*first, name.to_owned());
        }
        if !host.waiting.is_empty() || host.under_way > 0 {
            self.hosts.insert(name.to_owned(), host);
        }
    }
}

#[cfg(test)]
mod tests;
