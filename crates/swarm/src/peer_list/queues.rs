//! The idle addresses, sorted for each question that is asked of them.
//!
//! An idle address is in exactly one of four places: *waiting* for its time, *ready* to be dialled, *parked*
//! because its subnet has all the connections it may have, or *asleep* because neither side could gain. Beside
//! that it stands in the order of forgetting of its source, unless the user named it.

use super::address::Subnet;
use super::entry::{Entry, Rank, Worth};
use crate::torrent::PeerSource;
use alloc::collections::{BTreeMap, BTreeSet};
use core::net::SocketAddr;
use samara_wire::time::Instant;

#[derive(Clone, Debug, Default)]
pub(super) struct Queues {
    waiting: BTreeSet<(Instant, SocketAddr)>,
    /// When the first of them is ready: asked for after every input.
    first_waiting: Option<Instant>,
    ready: BTreeSet<(Rank, SocketAddr)>,
    parked: BTreeMap<Subnet, BTreeSet<(Rank, SocketAddr)>>,
    worst: BTreeMap<PeerSource, BTreeSet<(Worth, SocketAddr)>>,
}

impl Queues {
    /// Adds an idle address. `asleep`: it is not to be dialled for now.
    pub(super) fn add(&mut self, now: Instant, addr: SocketAddr, entry: &Entry, asleep: bool) {
        if !entry.is_users() {
            self.worst.entry(entry.source).or_default().insert((entry.worth(), addr));
        }
        if asleep {
            return;
        }
        if entry.ready_at > now {
            self.waiting.insert((entry.ready_at, addr));
            let first = self.first_waiting.map_or(entry.ready_at, |at| at.min(entry.ready_at));
            self.first_waiting = Some(first);
        } else {
            self.ready.insert((entry.rank(), addr));
        }
    }

    /// Takes an idle address out, wherever it is. `entry` is as it was when it was added.
    pub(super) fn remove(&mut self, addr: SocketAddr, entry: &Entry) {
        if let Some(worst) = self.worst.get_mut(&entry.source) {
            worst.remove(&(entry.worth(), addr));
        }
        let ranked = (entry.rank(), addr);
        if self.waiting.remove(&(entry.ready_at, addr)) {
            self.find_first_waiting();
            return;
        }
        if self.ready.remove(&ranked) {
            return;
        }
        let subnet = Subnet::of(addr.ip());
        if let Some(parked) = self.parked.get_mut(&subnet) {
            parked.remove(&ranked);
            if parked.is_empty() {
                self.parked.remove(&subnet);
            }
        }
    }

    /// Those whose time has come, to be added again.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<SocketAddr> {
        let &(at, addr) = self.waiting.first()?;
        (at <= now).then(|| {
            self.waiting.pop_first();
            self.find_first_waiting();
            addr
        })
    }

    fn find_first_waiting(&mut self) {
        self.first_waiting = self.waiting.first().map(|(at, _)| *at);
    }

    /// The best address that is ready.
    pub(super) fn pop_ready(&mut self) -> Option<SocketAddr> {
        self.ready.pop_first().map(|(_, addr)| addr)
    }

    /// Sets an address, just popped, aside until its subnet has room.
    pub(super) fn park(&mut self, addr: SocketAddr, entry: &Entry) {
        self.parked.entry(Subnet::of(addr.ip())).or_default().insert((entry.rank(), addr));
    }

    /// A place in the subnet became free: its best address is ready again.
    pub(super) fn unpark_one(&mut self, subnet: Subnet) {
        let Some(parked) = self.parked.get_mut(&subnet) else { return };
        self.ready.extend(parked.pop_first());
        if parked.is_empty() {
            self.parked.remove(&subnet);
        }
    }

    /// The address that can best be spared among those of `source`, or of all sources.
    pub(super) fn worst(&self, source: Option<PeerSource>) -> Option<(Worth, SocketAddr)> {
        let of = |s: &PeerSource| source.is_none_or(|only| only == *s);
        let firsts = self.worst.iter().filter(|(s, _)| of(s)).filter_map(|(_, set)| set.first());
        firsts.min().copied()
    }

    /// When the next address is ready.
    pub(super) fn next_ready(&self, now: Instant) -> Option<Instant> {
        if self.ready.is_empty() { self.first_waiting } else { Some(now) }
    }
}

#[cfg(test)]
impl Queues {
    /// In how many of the dial queues an address stands, and whether in the order of forgetting.
    pub(super) fn places(&self, addr: SocketAddr, entry: &Entry) -> (usize, bool) {
        let waiting = self.waiting.iter().filter(|(_, a)| *a == addr).count();
        let ready = self.ready.iter().filter(|(_, a)| *a == addr).count();
        let parked = self.parked.values().flatten().filter(|(_, a)| *a == addr).count();
        let worst =
            self.worst.get(&entry.source).is_some_and(|w| w.contains(&(entry.worth(), addr)));
        assert_eq!(self.first_waiting, self.waiting.first().map(|(at, _)| *at));
        (waiting + ready + parked, worst)
    }

    /// Entries of all queues together.
    pub(super) fn total(&self) -> usize {
        let parked = self.parked.values().map(BTreeSet::len).sum::<usize>();
        let worst = self.worst.values().map(BTreeSet::len).sum::<usize>();
        self.waiting.len() + self.ready.len() + parked + worst
    }
}
