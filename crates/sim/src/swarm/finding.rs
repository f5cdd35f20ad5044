//! How nodes find each other: a tracker, and where asked a table that, like the DHT, believes what it is told.

use super::config::NodeId;
use super::node::Node;
use super::world::{Happening, World};
use samara_swarm::Announce;
use samara_swarm::torrent::PeerSource;
use samara_wire::time::Duration;
use samara_wire::tracker::{AnnounceEvent, AnnounceResponse};
use std::net::SocketAddr;

/// Peers named in one answer of the tracker, and in one of the DHT.
const ANSWER: usize = 50;

/// What the tracker asks for.
const INTERVAL: Duration = Duration::from_secs(1_800);
const MIN_INTERVAL: Duration = Duration::from_secs(60);

/// Until the first lookup in the DHT has ended, and between two, in microseconds.
const LOOKUP: u64 = 3_000_000;
const LOOKUP_EVERY: u64 = 300_000_000;

/// An announce under way.
#[derive(Debug)]
pub(super) struct Asked {
    node: NodeId,
    epoch: u16,
    announce: Box<Announce>,
}

impl World {
    pub(super) fn announce(&mut self, node: NodeId, announce: Box<Announce>) {
        self.check_announce(node, &announce);
        let asked = Asked { node, epoch: self.nodes[node.at()].epoch, announce };
        let index = self.free_announces.pop().unwrap_or_else(|| {
            self.announces.push(None);
            u32::try_from(self.announces.len() - 1).expect("one or two a node")
        });
        self.announces[index as usize] = Some(asked);
        let trip = 2 * self.random_delay();
        self.queue.push(self.now + trip, Happening::Announced(index));
    }

    pub(super) fn on_announced(&mut self, index: u32) {
        let Some(asked) = self.announces[index as usize].take() else { return };
        self.free_announces.push(index);
        let (id, announce) = (asked.node, asked.announce);
        // The tracker is on the near side of a partition.
        let cut = self.partition_until.is_some_and(|until| until > self.now);
        let node = &self.nodes[id.at()];
        if cut && node.far {
            if node.epoch == asked.epoch {
                self.with(id, |node, now, out| {
                    let error = "no answer".to_owned();
                    node.torrent.handle_announce_failed(now, announce.id, error, None, out);
                });
            }
            return;
        }
        let stopped = announce.request.event == AnnounceEvent::Stopped;
        self.track(id, !stopped);
        if self.nodes[id.at()].epoch != asked.epoch {
            return;
        }
        let wanted = ANSWER.min(announce.request.num_want as usize);
        let peers = self.some_of(id, wanted);
        let response = AnnounceResponse {
            interval: INTERVAL,
            min_interval: Some(MIN_INTERVAL),
            peers,
            external_ip: Some(self.nodes[id.at()].addr.ip()),
            ..AnnounceResponse::default()
        };
        self.with(id, |node, now, out| {
            node.torrent.handle_announced(now, announce.id, response, out);
        });
    }

    /// Puts a node on the tracker's list, or takes it off.
    pub(super) fn track(&mut self, id: NodeId, on: bool) {
        match (self.nodes[id.at()].tracked, on) {
            (None, true) => {
                self.nodes[id.at()].tracked = Some(self.tracked.len());
                self.tracked.push(id);
            }
            (Some(place), false) => {
                self.nodes[id.at()].tracked = None;
                self.tracked.swap_remove(place);
                if let Some(moved) = self.tracked.get(place) {
                    self.nodes[moved.at()].tracked = Some(place);
                }
            }
            _ => {}
        }
    }

    /// Up to `n` of those the tracker knows, drawn by lot, without `id` itself.
    pub(super) fn some_of(&mut self, id: NodeId, n: usize) -> Vec<SocketAddr> {
        let mut pool: Vec<NodeId> =
            self.tracked.iter().copied().filter(|other| *other != id).collect();
        let n = n.min(pool.len());
        for place in 0..n {
            let other = place + self.rng.below(pool.len() - place);
            pool.swap(place, other);
        }
        pool.truncate(n);
        pool.into_iter().map(|id| self.nodes[id.at()].addr).collect()
    }

    /// A torrent wants to be found without trackers.
    pub(super) fn store(&mut self, id: NodeId) {
        if self.config.dht && !self.stored.contains(&id) {
            self.stored.push(id);
            self.queue.push(self.now + LOOKUP, Happening::Lookup(id));
        }
    }

    /// A lookup has ended.
    pub(super) fn on_lookup(&mut self, id: NodeId) {
        if !self.nodes[id.at()].alive {
            return;
        }
        let mut found = Vec::new();
        for _ in 0..ANSWER.min(self.stored.len()) {
            let other = self.stored[self.rng.below(self.stored.len())];
            if other != id {
                found.push(self.nodes[other.at()].addr);
            }
        }
        for place in 0..self.nodes.len() {
            let node: &mut Node = &mut self.nodes[place];
            if let Some(adversary) = node.adversary.as_mut().filter(|_| node.alive) {
                found.extend(adversary.poison(&mut self.rng));
            }
        }
        self.with(id, |node, now, out| {
            node.torrent.handle_peers(now, PeerSource::Dht, &found, out);
        });
        self.queue.push(self.now + LOOKUP_EVERY, Happening::Lookup(id));
    }
}
