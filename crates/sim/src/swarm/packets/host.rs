//! A node's UDP socket and what stands behind it: its uTP endpoint, and connections that begin and end.

use super::stream::{Stage, Stream};
use super::wire::Place;
use super::{Due, Packets};
use crate::swarm::config::NodeId;
use crate::swarm::conn::{ConnId, End};
use crate::swarm::node::INFO_HASH;
use crate::swarm::world::{Happening, World};
use samara_swarm::DisconnectReason;
use samara_swarm::rng::Rng;
use samara_swarm::torrent::{Direction, NewPeer};
use samara_utp::{CloseReason, ConnectionKey, Endpoint, Event, Outbox, UtpConfig};
use samara_wire::peer::handshake::Handshake;
use samara_wire::time::Instant;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

/// A dial, or a handshake, is given up after this long, in microseconds, as the engine does.
const PATIENCE: u64 = 10_000_000;

/// A dial that takes longer is slow.
const SLOW: u64 = 3_000_000;

/// A connection that is not open yet, or kept in reserve.
#[derive(Clone, Copy, Debug)]
struct Pending {
    /// None if nothing is sent: the dial is one that fails.
    key: Option<ConnectionKey>,
    /// Whom the torrent wants an answer for.
    dialled: Option<SocketAddr>,
    punched: bool,
    until: u64,
}

/// One life of a node, as the network sees it.
pub(super) struct Host {
    pub(super) endpoint: Endpoint,
    pub(super) streams: BTreeMap<ConnectionKey, Stream>,
    /// By the place of the connection in the world's list.
    pub(super) by_conn: BTreeMap<u32, ConnectionKey>,
    /// By the name of the stream.
    pending: BTreeMap<u32, Pending>,
    /// By how much its clock is ahead, in microseconds.
    clock: u64,
    /// When the endpoint is called next.
    timer: Option<u64>,
    /// Whether it waits in the list of those that may have something to send.
    pub(super) marked: bool,
    pub(super) writable: Vec<ConnectionKey>,
    /// A connection has ended for which another one is in reserve.
    pub(super) offers: bool,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("streams", &self.streams).finish_non_exhaustive()
    }
}

impl Host {
    fn new(config: &UtpConfig, lot: u64) -> Self {
        let mut rng = Rng::new(lot);
        let mut seed = [0; 32];
        for part in seed.chunks_exact_mut(8) {
            part.copy_from_slice(&rng.next_u64().to_le_bytes());
        }
        Self {
            endpoint: Endpoint::new(UtpConfig { seed, ..config.clone() }),
            streams: BTreeMap::new(),
            by_conn: BTreeMap::new(),
            pending: BTreeMap::new(),
            // Up to some hours: uTP's timestamps have wrapped by then.
            clock: rng.next_u64() >> 30,
            timer: None,
            marked: false,
            writable: Vec::new(),
            offers: false,
        }
    }

    /// What its clock shows.
    pub(super) const fn local(&self, now: u64) -> Instant {
        Instant::from_micros(now + self.clock)
    }

    /// A connection may have something to write.
    pub(super) fn mark(&mut self, key: ConnectionKey) {
        if let Some(stream) = self.streams.get_mut(&key)
            && !std::mem::replace(&mut stream.marked, true)
        {
            self.writable.push(key);
        }
    }

    fn numbered(&self, number: u32) -> Option<ConnectionKey> {
        self.streams.iter().find(|(_, stream)| stream.number == number).map(|(key, _)| *key)
    }
}

impl Packets {
    fn new_stream(&mut self) -> u32 {
        self.streams += 1;
        self.streams
    }

    /// A connection of a host is of no use any more. Bytes of blocks that come to nothing with it.
    fn drop_stream(&mut self, now: u64, id: NodeId, key: ConnectionKey, polite: bool) -> u64 {
        let Some(Some(host)) = self.hosts.get_mut(id.at()) else { return 0 };
        let Some(mut stream) = host.streams.remove(&key) else { return 0 };
        if let Some(stats) = host.endpoint.stats(key) {
            self.counts.add(&stats);
        }
        host.by_conn.retain(|_, known| *known != key);
        host.pending.remove(&stream.number);
        host.offers |= host.streams.values().any(|other| matches!(other.stage, Stage::Spare(_)));
        if polite {
            // What was said just now still goes out, if there is room.
            stream.write_on(&mut host.endpoint, key);
            let now = host.local(now);
            host.endpoint.close(now, key);
        } else {
            host.endpoint.abort(key);
        }
        self.mark(id);
        stream.other.map_or(0, |other| self.blocks.deafened(other))
    }
}

impl World {
    pub(in crate::swarm) fn on_packet(&mut self, due: Due) {
        match due {
            Due::Arrive(index) => self.on_arrive(index),
            Due::Receive(index) => self.on_receive(index),
            Due::Endpoint(id) => self.on_endpoint(id),
            Due::Slow { stream, node } => self.on_slow(node, stream),
            Due::GiveUp { stream, node } => self.on_give_up(node, stream),
            Due::Drip { stream, node } => self.on_drip(node, stream),
        }
    }

    /// A node begins a life: it has a socket.
    pub(in crate::swarm) fn raise_host(&mut self, id: NodeId) {
        let node = &self.nodes[id.at()];
        let life = u64::from(id.0) << 16 | u64::from(node.epoch);
        if let Some(packets) = &mut self.packets {
            let lot = self.config.seed.rotate_left(32) ^ life ^ 0x5eed;
            packets.hosts[id.at()] = Some(Host::new(&packets.config.endpoint, lot));
        }
        if self.nodes[id.at()].config.unreachable {
            self.wire.shut(Place::Node(id));
        }
    }

    /// A node's socket is gone without a word.
    pub(in crate::swarm) fn fell_host(&mut self, id: NodeId) {
        let Some(packets) = &mut self.packets else { return };
        let Some(host) = packets.hosts[id.at()].take() else { return };
        for (key, stream) in &host.streams {
            if let Some(stats) = host.endpoint.stats(*key) {
                packets.counts.add(&stats);
            }
            self.record.dropped += stream.other.map_or(0, |other| packets.blocks.deafened(other));
        }
        let links = self.nodes[id.at()].links.iter().flatten();
        let conns: Vec<ConnId> = links.map(|link| link.conn).collect();
        for conn in conns {
            if let Some(conn) = self.conns.get_mut(conn) {
                conn.ends[0].key = None;
            }
            self.reap(conn);
        }
    }

    /// Asks somebody for a connection; `punched`: because he does the same now.
    pub(in crate::swarm) fn utp_dial(&mut self, from: NodeId, to: SocketAddr, punched: bool) {
        let fails = self.one_in(self.config.dials_fail_one_in);
        let now = self.now;
        let Some(packets) = &mut self.packets else { return };
        let number = packets.new_stream();
        let Some(host) = packets.host(from) else { return };
        if punched {
            let dials = |pending: &Pending| pending.dialled == Some(to) && !pending.punched;
            let dial = host.pending.iter().find(|(_, pending)| dials(pending));
            if let Some((&number, &Pending { key, .. })) = dial {
                host.pending.remove(&number);
                if let Some(key) = key {
                    packets.drop_stream(now, from, key, false);
                }
            }
        }
        let Some(host) = packets.host(from) else { return };
        let local = host.local(now);
        let key = if fails { None } else { host.endpoint.connect(local, to).ok() };
        if let Some(key) = key {
            host.streams.insert(key, Stream::new(number, to, true));
        }
        let until = now + PATIENCE;
        host.pending.insert(number, Pending { key, dialled: Some(to), punched, until });
        packets.mark(from);
        let give_up = Due::GiveUp { stream: number, node: from };
        self.queue.push(until, Happening::Packet(give_up));
        if !punched {
            let slow = Due::Slow { stream: number, node: from };
            self.queue.push(now + SLOW, Happening::Packet(slow));
        }
    }

    fn on_slow(&mut self, id: NodeId, number: u32) {
        let Some(host) = self.packets.as_mut().and_then(|packets| packets.host(id)) else { return };
        if let Some(Pending { dialled: Some(to), .. }) = host.pending.get(&number).copied() {
            self.with(id, |node, now, out| node.torrent.handle_dial_slow(now, to, out));
        }
    }

    fn on_give_up(&mut self, id: NodeId, number: u32) {
        let now = self.now;
        let Some(packets) = &mut self.packets else { return };
        let Some(host) = packets.host(id) else { return };
        let Some(pending) = host.pending.get(&number).copied() else { return };
        if pending.until <= now {
            host.pending.remove(&number);
            if let Some(key) = pending.key {
                self.record.dropped += packets.drop_stream(now, id, key, false);
            }
            self.dial_failed(id, pending);
        }
    }

    fn dial_failed(&mut self, id: NodeId, pending: Pending) {
        let Some(to) = pending.dialled else { return };
        self.with(id, |node, now, out| {
            if pending.punched {
                node.torrent.handle_punch_failed(now, to, out);
            } else {
                node.torrent.handle_dial_failed(now, to, out);
            }
        });
    }

    /// A datagram of uTP has come.
    pub(super) fn hear(&mut self, id: NodeId, from: SocketAddr, bytes: &[u8]) {
        let now = self.now;
        let Some(packets) = &mut self.packets else { return };
        let Some(host) = packets.host(id) else { return };
        let mut out = Outbox::new();
        let local = host.local(now);
        host.endpoint.handle_datagram(local, from, bytes, &mut out);
        packets.mark(id);
        self.tell(id, out);
    }

    fn on_endpoint(&mut self, id: NodeId) {
        let now = self.now;
        let Some(packets) = &mut self.packets else { return };
        let Some(host) = packets.host(id).filter(|host| host.timer == Some(now)) else { return };
        host.timer = None;
        let mut out = Outbox::new();
        let local = host.local(now);
        host.endpoint.handle_timeout(local, &mut out);
        packets.mark(id);
        self.tell(id, out);
    }

    pub(super) fn arm_endpoint(&mut self, id: NodeId) {
        let now = self.now;
        let Some(host) = self.packets.as_mut().and_then(|packets| packets.host(id)) else { return };
        let Some(at) = host.endpoint.next_timeout() else { return };
        // Never in this very moment again: an endpoint that spins would stop the world.
        let at = at.as_micros().saturating_sub(host.clock).max(now + 1);
        if host.timer.is_none_or(|armed| at < armed) {
            host.timer = Some(at);
            self.queue.push(at, Happening::Packet(Due::Endpoint(id)));
        }
    }

    fn tell(&mut self, id: NodeId, mut out: Outbox) {
        for event in out.drain() {
            match event {
                Event::Connected(key) => self.on_connected(id, key),
                Event::Accepted(key, addr) => self.on_accepted(id, key, addr),
                Event::Readable(key) => self.read_stream(id, key),
                Event::Writable(key) => {
                    if let Some(host) = self.packets.as_mut().and_then(|p| p.host(id)) {
                        host.mark(key);
                    }
                }
                Event::Closed(key, reason) => {
                    self.note_closed(id, key, reason);
                    self.read_stream(id, key);
                }
            }
        }
    }

    fn note_closed(&mut self, id: NodeId, key: ConnectionKey, reason: CloseReason) {
        let Some(packets) = &mut self.packets else { return };
        let stage = packets.host(id).and_then(|host| Some(host.streams.get(&key)?.stage));
        let was_open = matches!(stage, Some(Stage::Open(_) | Stage::Greeting | Stage::Spare(_)));
        packets.counts.timed_out += u64::from(was_open && reason == CloseReason::TimedOut);
    }

    fn on_connected(&mut self, id: NodeId, key: ConnectionKey) {
        let (hash, peer_id) = (INFO_HASH, self.nodes[id.at()].peer_id);
        let reserved = self.reserved();
        let Some(packets) = &mut self.packets else { return };
        packets.counts.opened += 1;
        let Some(host) = packets.host(id) else { return };
        if let Some(stream) = host.streams.get_mut(&key) {
            stream.stage = Stage::Greeting;
            stream.greet(hash, peer_id, reserved);
            host.mark(key);
        }
    }

    fn on_accepted(&mut self, id: NodeId, key: ConnectionKey, addr: SocketAddr) {
        let (now, alive) = (self.now, self.nodes[id.at()].alive);
        let Some(packets) = &mut self.packets else { return };
        let number = packets.new_stream();
        let Some(host) = packets.host(id) else { return };
        host.streams.insert(key, Stream::new(number, addr, false));
        let until = now + PATIENCE;
        let pending = Pending { key: Some(key), dialled: None, punched: false, until };
        host.pending.insert(number, pending);
        if !alive {
            packets.drop_stream(now, id, key, false);
            return;
        }
        let give_up = Due::GiveUp { stream: number, node: id };
        self.queue.push(until, Happening::Packet(give_up));
    }

    /// The other end has said who it is.
    pub(super) fn greeted(&mut self, id: NodeId, key: ConnectionKey, handshake: &Handshake) {
        let (hash, peer_id) = (INFO_HASH, self.nodes[id.at()].peer_id);
        let (reserved, alive) = (self.reserved(), self.nodes[id.at()].alive);
        if handshake.info_hash != hash || !alive {
            return self.stream_ended(id, key);
        }
        let Some(packets) = &mut self.packets else { return };
        let Some(Some(host)) = packets.hosts.get_mut(id.at()) else { return };
        let Some(stream) = host.streams.get_mut(&key) else { return };
        let (other, theirs) = Stream::read_reserved(handshake.reserved);
        stream.other = Some(other);
        if !stream.dialled {
            stream.greet(hash, peer_id, reserved);
        }
        let direction = if stream.dialled { Direction::Outgoing } else { Direction::Incoming };
        let addr = stream.addr;
        host.mark(key);
        let theirs =
            NewPeer { addr, direction, utp: true, peer_id: handshake.peer_id, reserved: theirs };
        self.offer(id, key, theirs);
    }

    /// Offers a connection to the torrent.
    pub(super) fn offer(&mut self, id: NodeId, key: ConnectionKey, new: NewPeer) {
        let other = self.by_ip.get(&new.addr.ip()).copied().unwrap_or(id);
        let ends = [id, other].map(|id| End::new(id, self.nodes[id.at()].epoch));
        let conn = self.conns.open(ends, 0);
        if let Some(host) = self.packets.as_mut().and_then(|packets| packets.host(id)) {
            // The torrent greets at once.
            host.by_conn.insert(conn.index, key);
        }
        let taken = self.attach_peer(conn, 0, id, new);
        let now = self.now;
        let Some(packets) = &mut self.packets else { return };
        let Some(host) = packets.host(id) else { return };
        let Some(stream) = host.streams.get_mut(&key) else { return };
        let number = stream.number;
        match taken {
            Ok(peer) => {
                stream.stage = Stage::Open(peer);
                host.pending.remove(&number);
                return;
            }
            Err(DisconnectReason::Spare) => {
                stream.stage = Stage::Spare(new);
                host.by_conn.remove(&conn.index);
                if let Some(pending) = host.pending.get_mut(&number)
                    && pending.dialled.take().is_some()
                {
                    pending.until = now + PATIENCE;
                    let give_up = Due::GiveUp { stream: number, node: id };
                    self.queue.push(now + PATIENCE, Happening::Packet(give_up));
                }
            }
            Err(_) => {
                host.by_conn.remove(&conn.index);
                self.record.dropped += packets.drop_stream(now, id, key, true);
            }
        }
        self.reap(conn);
    }

    /// Nothing more comes out of a stream.
    pub(super) fn stream_ended(&mut self, id: NodeId, key: ConnectionKey) {
        let now = self.now;
        let Some(packets) = &mut self.packets else { return };
        let Some(host) = packets.host(id) else { return };
        let Some(stream) = host.streams.get(&key) else { return };
        if let Some(peer) = stream.peer() {
            self.detach(id, peer);
            return self
                .with(id, |node, now, out| node.torrent.handle_disconnected(now, peer, out));
        }
        let pending = host.pending.remove(&stream.number);
        self.record.dropped += packets.drop_stream(now, id, key, true);
        if let Some(pending) = pending {
            self.dial_failed(id, pending);
        }
    }

    /// A node has nothing to do with a connection any more: what it has written still goes out.
    pub(in crate::swarm) fn let_go(&mut self, id: NodeId, conn: ConnId) {
        let now = self.now;
        let Some(packets) = &mut self.packets else { return };
        let Some(host) = packets.host(id) else { return };
        if let Some(key) = host.by_conn.get(&conn.index).copied() {
            self.record.dropped += packets.drop_stream(now, id, key, true);
        }
    }

    /// Connections in reserve are offered again.
    pub(super) fn offer_spares(&mut self, id: NodeId) {
        let Some(host) = self.packets.as_mut().and_then(|packets| packets.host(id)) else { return };
        let spares: Vec<(ConnectionKey, NewPeer)> = host
            .streams
            .iter()
            .filter_map(|(key, stream)| match stream.stage {
                Stage::Spare(new) => Some((*key, new)),
                _ => None,
            })
            .collect();
        for (key, new) in spares {
            self.offer(id, key, new);
            // What came meanwhile waits to be read.
            self.read_stream(id, key);
        }
    }

    fn on_drip(&mut self, id: NodeId, number: u32) {
        let now = self.now;
        let Some(packets) = &mut self.packets else { return };
        let Some(host) = packets.host(id) else { return };
        let Some(key) = host.numbered(number) else { return };
        if host.streams.get_mut(&key).is_some_and(Stream::drip) {
            host.mark(key);
            packets.mark(id);
            let drip = Due::Drip { stream: number, node: id };
            self.queue.push(now + crate::swarm::network::DRIP, Happening::Packet(drip));
        }
    }
}
