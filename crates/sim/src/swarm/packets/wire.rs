//! Datagrams on their way.
//!
//! A datagram waits for its sender's uplink, travels for a delay, waits for its receiver's downlink, and is there. It is dropped where a
//! queue is full, and lost by chance between the two links, where a partition lies, and at the door of a NAT. Who has no link of
//! packets (in the tier of flows, and nodes of the DHT that have no torrent) meets delay, loss and doors alone.

use super::Due;
use crate::door::Door;
use crate::swarm::config::NodeId;
use crate::swarm::world::{Happening, World, micros};
use samara_wire::time::Instant;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Bytes of headers below a datagram's content: IPv4 and UDP.
const HEADERS: u64 = 28;

/// Who sends or receives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in crate::swarm) enum Place {
    /// A node of the swarm.
    Node(NodeId),
    /// A node of the DHT alone.
    Bystander(u32),
}

#[derive(Debug)]
struct Datagram {
    from: (Place, SocketAddr),
    to: Place,
    bytes: Vec<u8>,
}

/// All that is on its way, and the doors that it must pass.
#[derive(Debug, Default)]
pub(in crate::swarm) struct Wire {
    datagrams: Vec<Option<Datagram>>,
    vacant: Vec<u32>,
    /// Of nodes that cannot be dialled.
    doors: BTreeMap<Place, Door>,
}

impl Wire {
    /// Puts a NAT in front of somebody.
    pub(in crate::swarm) fn shut(&mut self, place: Place) {
        self.doors.insert(place, Door::default());
    }

    fn put(&mut self, datagram: Datagram) -> u32 {
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.datagrams.push(None);
            u32::try_from(self.datagrams.len() - 1).expect("datagrams under way are far fewer")
        });
        self.datagrams[index as usize] = Some(datagram);
        index
    }

    fn take(&mut self, index: u32) -> Option<Datagram> {
        self.vacant.push(index);
        self.datagrams[index as usize].take()
    }
}

impl World {
    /// Sends a datagram.
    pub(in crate::swarm) fn cast(&mut self, from: Place, to: SocketAddr, bytes: Vec<u8>) {
        let now = Instant::from_micros(self.now);
        if let Some(door) = self.wire.doors.get_mut(&from) {
            door.goes_out(now, to);
        }
        let Some(gone) = self.send_up(from, &bytes) else { return };
        let Some(receiver) = self.place_of(to) else { return };
        if self.one_in(self.config.lost_one_in) {
            if let Some(packets) = &mut self.packets {
                packets.counts.lost += 1;
            }
            return;
        }
        if let (Place::Node(a), Place::Node(b)) = (from, receiver)
            && self.is_cut(a, b)
        {
            return;
        }
        let delay = self.delay_between(from, receiver);
        let jitter = self.packets.as_ref().map_or(0, |packets| micros(packets.config.jitter));
        let late = if jitter > 0 {
            self.rng.below(usize::try_from(jitter).unwrap_or(usize::MAX)) as u64
        } else {
            0
        };
        let index =
            self.wire.put(Datagram { from: (from, self.addr_of(from)), to: receiver, bytes });
        self.queue.push(gone + delay + late, Happening::Packet(Due::Arrive(index)));
    }

    /// When a datagram has left the sender's link, in microseconds. Nothing if it was dropped there.
    fn send_up(&mut self, from: Place, bytes: &[u8]) -> Option<u64> {
        let (Place::Node(id), Some(packets)) = (from, &mut self.packets) else {
            return Some(self.now);
        };
        let len = bytes.len() as u64 + HEADERS;
        packets.counts.sent += 1;
        packets.counts.bytes += len;
        let Some((waited, gone)) = packets.links[id.at()].up.take(self.now * 1_000, len) else {
            packets.counts.dropped_up += 1;
            return None;
        };
        if self.nodes[id.at()].is_honest() && self.record.ended.is_none() {
            packets.up_waits.add(waited);
        }
        Some(gone.div_ceil(1_000))
    }

    /// A datagram is at its receiver's link.
    pub(super) fn on_arrive(&mut self, index: u32) {
        let Some(Some(datagram)) = self.wire.datagrams.get(index as usize) else { return };
        let (to, from) = (datagram.to, datagram.from.1);
        let (Place::Node(id), Some(packets)) = (to, &mut self.packets) else {
            return self.on_receive(index);
        };
        let now = Instant::from_micros(self.now);
        if self.wire.doors.get_mut(&to).is_some_and(|door| !door.lets_in(now, from)) {
            packets.counts.shut_out += 1;
            self.wire.take(index);
            return;
        }
        let len = datagram.bytes.len() as u64 + HEADERS;
        let Some((waited, through)) = packets.links[id.at()].down.take(self.now * 1_000, len)
        else {
            packets.counts.dropped_down += 1;
            self.wire.take(index);
            return;
        };
        if self.nodes[id.at()].is_honest() && self.record.ended.is_none() {
            packets.down_waits.add(waited);
        }
        self.queue.push(through.div_ceil(1_000), Happening::Packet(Due::Receive(index)));
    }

    /// A datagram is there.
    pub(super) fn on_receive(&mut self, index: u32) {
        let Some(datagram) = self.wire.take(index) else { return };
        let Datagram { from: (_, from), to, bytes } = datagram;
        let place = match to {
            Place::Node(id) => u64::from(id.0),
            Place::Bystander(number) => 1 << 32 | u64::from(number),
        };
        self.digest.word(place << 16 | bytes.len() as u64);
        if self.packets.is_none() {
            let now = Instant::from_micros(self.now);
            if self.wire.doors.get_mut(&to).is_some_and(|door| !door.lets_in(now, from)) {
                return;
            }
        }
        // As a socket shared by both tells them apart: the DHT's are dictionaries.
        match to {
            Place::Node(id) if bytes.first() != Some(&b'd') => self.hear(id, from, &bytes),
            _ => self.hear_dht(to, from, &bytes),
        }
    }

    fn place_of(&self, addr: SocketAddr) -> Option<Place> {
        let node = self.by_ip.get(&addr.ip()).filter(|id| self.nodes[id.at()].addr == addr);
        node.map(|id| Place::Node(*id)).or_else(|| self.bystander_at(addr))
    }

    fn addr_of(&self, place: Place) -> SocketAddr {
        match place {
            Place::Node(id) => self.nodes[id.at()].addr,
            Place::Bystander(number) => super::super::lookup::bystander_addr(number),
        }
    }

    /// One way between two, in microseconds: the same both ways and at all times.
    fn delay_between(&self, a: Place, b: Place) -> u64 {
        let (from, to) = self.config.delay;
        let span = micros(to.saturating_sub(from)) + 1;
        let of = |place: Place| match place {
            Place::Node(id) => u64::from(id.0),
            Place::Bystander(number) => 1 << 32 | u64::from(number),
        };
        let (low, high) = (of(a).min(of(b)), of(a).max(of(b)));
        let mut lot = samara_swarm::rng::Rng::new(self.config.seed ^ low.rotate_left(40) ^ high);
        micros(from) + lot.next_u64() % span
    }
}
