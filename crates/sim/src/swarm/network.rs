//! Messages and blocks on their way, and the connections they travel on.
//!
//! What is sent on a connection arrives in its order, a delay later. A block first waits for the sender's uplink and, where
//! that is busy, for the receiver's downlink ([`super::link`]). What is lost comes a round trip later and holds up what is
//! behind it. While a partition lasts nothing passes it; what was sent arrives after it, if the connection still stands.

use super::config::NodeId;
use super::conn::{ConnId, End, Item, RIGHT, Stage};
use super::node::Link;
use super::world::{Happening, World};
use crate::adversary::Serve;
use samara_swarm::torrent::{BlockVerdict, Direction, NewPeer, PeerKey};
use samara_swarm::{DisconnectReason, Effect};
use samara_wire::id::{BlockRef, PeerId};
use samara_wire::peer::handshake::Reserved;
use samara_wire::peer::message::Message;
use samara_wire::time::Instant;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A dial that nobody answers is given up after this long, in microseconds, as the engine does.
const DIAL_TIMEOUT: u64 = 10_000_000;

/// Between two bytes of a block that drips, in microseconds.
pub(super) const DRIP: u64 = 1_000_000;

/// Ports that a system gives to those who dial.
const EPHEMERAL: (u16, usize) = (32_768, 28_000);

/// What a block that is served so contains; nothing if it is not sent.
pub(super) fn content_of(from: NodeId, serve: Serve) -> Option<u64> {
    match serve {
        Serve::Withheld => None,
        Serve::Right | Serve::Dripped => Some(RIGHT),
        // Each liar lies in its own way.
        Serve::Wrong(way) => Some((u64::from(from.0) + 1) << 40 | way & 0xff_ffff_ffff),
    }
}

impl World {
    /// Sends a message of `from` to the peer it knows by `key`.
    pub(super) fn send(&mut self, from: NodeId, key: PeerKey, message: Message) {
        let Some(&link) = self.nodes[from.at()].link(key) else { return };
        let Some(conn) = self.conns.get_mut(link.conn) else { return };
        if matches!(message, Message::Request(_)) {
            let end = &mut conn.ends[link.end];
            if end.asked == 0 {
                end.asked_since = self.now;
            }
            end.asked += 1;
        }
        if self.packets.is_some() {
            return self.say(from, key, &message);
        }
        let at = self.now + conn.delay;
        self.put(link.conn, 1 - link.end, at, Item::Message(message));
    }

    /// Sends a block that was pulled, as `serve` has it.
    pub(super) fn send_block(&mut self, from: NodeId, key: PeerKey, block: BlockRef, serve: Serve) {
        let Some(content) = content_of(from, serve) else { return };
        let node = &mut self.nodes[from.at()];
        let Some(&link) = node.link(key) else { return };
        let Some(conn) = self.conns.get(link.conn) else { return };
        let (delay, bytes) = (conn.delay, u64::from(block.len));
        if serve == Serve::Dripped {
            let stage = Stage::Dripping { begun: false, told: 0 };
            let item = Item::Block { block, content, begin: 0, stage };
            return self.put(link.conn, 1 - link.end, self.now + delay, item);
        }
        let (begin, end) = node.up.send(self.now * 1_000, bytes);
        node.ledger.sent += bytes;
        let (honest, seed) = (node.is_honest(), node.config.seed);
        self.record.sent(bytes, honest, seed);
        let begin = begin + delay * 1_000;
        let item = Item::Block { block, content, begin, stage: Stage::Travelling };
        self.put(link.conn, 1 - link.end, end.div_ceil(1_000) + delay, item);
    }

    /// Puts something on its way to one end of a connection.
    fn put(&mut self, id: ConnId, to: usize, at: u64, item: Item) {
        let lost = self.one_in(self.config.lost_one_in);
        let Some(conn) = self.conns.get_mut(id) else { return };
        let late = if lost { 2 * conn.delay } else { 0 };
        let end = &mut conn.ends[to];
        let at = (at + late).max(end.last_arrival);
        end.last_arrival = at;
        end.inbox.push(at, item);
        if !std::mem::replace(&mut end.armed, true) {
            let end = u8::from(to == 1);
            self.queue.push(at, Happening::Deliver { conn: id, end });
        }
    }

    /// Hands over what has arrived at one end.
    pub(super) fn deliver(&mut self, id: ConnId, to: usize) {
        loop {
            if let Some(until) = self.cut_until(id) {
                let end = u8::from(to == 1);
                self.queue.push(until, Happening::Deliver { conn: id, end });
                return;
            }
            let Some(conn) = self.conns.get_mut(id) else { return };
            let end = &mut conn.ends[to];
            let node = end.node;
            let Some((at, item)) = end.inbox.front_mut() else {
                end.armed = false;
                return;
            };
            if *at <= self.now
                && let Item::Block { block, begin, stage: stage @ Stage::Travelling, .. } = item
            {
                *stage = Stage::Entering;
                let down = &mut self.nodes[node.at()].down;
                let through = down.take_in(*begin, *at * 1_000, u64::from(block.len));
                *at = through.div_ceil(1_000);
            }
            if *at > self.now {
                let at = *at;
                let end = u8::from(to == 1);
                self.queue.push(at, Happening::Deliver { conn: id, end });
                return;
            }
            if let Item::Block { block, stage: Stage::Dripping { begun, told }, .. } = item
                && *told < block.len
            {
                let (block, first) = (*block, !std::mem::replace(begun, true));
                *told += 1;
                *at = self.now + DRIP;
                self.drip(id, to, block, first);
                continue;
            }
            if let Some(item) = end.inbox.pop() {
                self.hand_over(id, to, item);
            }
        }
    }

    /// A byte of a block came.
    fn drip(&mut self, id: ConnId, to: usize, block: BlockRef, first: bool) {
        let Some((node, key)) = self.hearer(id, to) else { return };
        let bytes = u64::from(block.len);
        self.with(node, |node, now, out| {
            if first {
                match node.torrent.handle_block_header(now, key, block, out) {
                    BlockVerdict::Wanted => {}
                    // A torrent counts all of what it does not want as soon as it begins.
                    BlockVerdict::Unwanted => {
                        node.ledger.received += bytes;
                        node.ledger.wasted += bytes;
                    }
                    BlockVerdict::Fault => return,
                }
            }
            node.torrent.handle_progress(now, key, 1);
        });
    }

    /// Who hears at one end of a connection, if anybody does.
    fn hearer(&self, id: ConnId, to: usize) -> Option<(NodeId, PeerKey)> {
        let end = &self.conns.get(id)?.ends[to];
        let node = &self.nodes[end.node.at()];
        let key = end.key.filter(|_| node.alive && node.epoch == end.epoch)?;
        Some((end.node, key))
    }

    pub(super) fn hand_over(&mut self, id: ConnId, to: usize, item: Item) {
        self.digest.word(u64::from(id.index) << 1 | to as u64);
        self.digest.item(&item);
        let Some((node, key)) = self.hearer(id, to) else {
            self.record.drop_item(&item);
            return self.reset(id, to, &item);
        };
        if self.one_in(self.config.breaks_one_in) {
            self.record.drop_item(&item);
            self.close(node, key);
            self.with(node, |node, now, out| node.torrent.handle_disconnected(now, key, out));
            return;
        }
        if matches!(item, Item::Block { .. } | Item::Message(Message::Reject(_)))
            && let Some(conn) = self.conns.get_mut(id)
        {
            let end = &mut conn.ends[to];
            end.asked = end.asked.saturating_sub(1);
            end.asked_since = self.now;
        }
        let heard = self.nodes[node.at()].adversary.as_mut().is_none_or(|a| a.hears(&item));
        match item {
            Item::Closed => {
                self.detach(node, key);
                self.with(node, |node, now, out| node.torrent.handle_disconnected(now, key, out));
            }
            _ if !heard => self.record.drop_item(&item),
            Item::Message(message) => {
                self.with(node, |node, now, out| {
                    node.torrent.handle_message(now, key, message, out);
                });
            }
            Item::Block { block, content, .. } => self.take_block(node, key, block, content),
            // The shell cannot read on: it closes.
            Item::Garbage => {
                self.close(node, key);
                self.with(node, |node, now, out| node.torrent.handle_disconnected(now, key, out));
            }
        }
    }

    /// Nobody hears: a machine that runs says so, one that is gone says nothing.
    fn reset(&mut self, id: ConnId, to: usize, item: &Item) {
        let Some(conn) = self.conns.get(id) else { return };
        let end = &conn.ends[to];
        let (node, delay) = (&self.nodes[end.node.at()], conn.delay);
        let other = &conn.ends[1 - to];
        let runs = node.alive && node.epoch != end.epoch;
        if runs && other.key.is_some() && !matches!(item, Item::Closed) {
            self.put(id, 1 - to, self.now + delay, Item::Closed);
        }
    }

    fn take_block(&mut self, id: NodeId, key: PeerKey, block: BlockRef, content: u64) {
        let (index, of) = (self.layout.block_index(&block), self.layout.blocks_in(block.piece));
        let bytes = u64::from(block.len);
        self.record.delivered += bytes;
        self.with(id, |node, now, out| {
            match node.torrent.handle_block_header(now, key, block, out) {
                BlockVerdict::Wanted => {}
                BlockVerdict::Unwanted => {
                    node.ledger.received += bytes;
                    node.ledger.wasted += bytes;
                    return;
                }
                BlockVerdict::Fault => return,
            }
            node.torrent.handle_progress(now, key, block.len);
            node.ledger.received += bytes;
            let kept = node.torrent.handle_block(now, key, block, out);
            if let Some(index) = index.filter(|_| kept) {
                node.ledger.held += bytes;
                node.hold(block.piece, index, of, content);
            } else {
                node.ledger.wasted += bytes;
            }
        });
    }

    /// A torrent wants to connect.
    pub(super) fn dial(&mut self, from: NodeId, to: SocketAddr) {
        if self.packets.is_some() {
            return self.utp_dial(from, to, false);
        }
        let trip = 2 * self.random_delay();
        let (IpAddr::V4(ip), port) = (to.ip(), to.port()) else { return };
        let answers = self.by_ip.get(&to.ip()).is_some_and(|id| {
            let node = &self.nodes[id.at()];
            node.started_at.is_some() && !node.config.unreachable && !self.is_cut(from, *id)
        });
        let wait = if answers { trip } else { DIAL_TIMEOUT };
        let epoch = self.nodes[from.at()].epoch;
        let dialled = Happening::Dialled { from, ip: ip.to_bits(), port, epoch };
        self.queue.push(self.now + wait, dialled);
    }

    pub(super) fn on_dialled(&mut self, from: NodeId, epoch: u16, ip: u32, port: u16) {
        let node = &self.nodes[from.at()];
        if !node.alive || node.epoch != epoch {
            return;
        }
        let to = SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(ip)), port);
        let failed = self.one_in(self.config.dials_fail_one_in);
        let target = self.by_ip.get(&to.ip()).copied().filter(|id| {
            let node = &self.nodes[id.at()];
            !failed
                && node.alive
                && !node.config.unreachable
                && node.addr == to
                && !self.is_cut(from, *id)
        });
        let accepted = target.and_then(|target| {
            let delay = self.random_delay();
            let end = |id: NodeId| End::new(id, self.nodes[id.at()].epoch);
            let conn = self.conns.open([end(from), end(target)], delay);
            // The accepting side sees a port that the dialling side's system chose.
            let offset = u16::try_from(self.rng.below(EPHEMERAL.1)).unwrap_or(0);
            let seen = SocketAddr::new(self.nodes[from.at()].addr.ip(), EPHEMERAL.0 + offset);
            if self.attach(conn, 1, seen, Direction::Incoming) {
                return Some(conn);
            }
            self.reap(conn);
            None
        });
        let Some(conn) = accepted else {
            return self.with(from, |node, now, out| node.torrent.handle_dial_failed(now, to, out));
        };
        if !self.attach(conn, 0, to, Direction::Outgoing) {
            let delay = self.conns.get(conn).map_or(0, |conn| conn.delay);
            self.put(conn, 1, self.now + delay, Item::Closed);
        }
    }

    /// One end of a connection has shaken hands. Whether it takes the peer.
    fn attach(&mut self, conn: ConnId, end: usize, seen: SocketAddr, direction: Direction) -> bool {
        let Some(ends) = self.conns.get(conn).map(|c| [c.ends[0].node, c.ends[1].node]) else {
            return false;
        };
        let (id, other) = (ends[end], ends[1 - end]);
        let peer_id: PeerId = self.nodes[other.at()].peer_id;
        let reserved = self.reserved();
        let new = NewPeer { addr: seen, direction, utp: false, peer_id, reserved };
        self.attach_peer(conn, end, id, new).is_ok()
    }

    /// What every node can do.
    pub(super) fn reserved(&self) -> Reserved {
        if self.dht_nodes.is_some() { Reserved::OURS.with_dht() } else { Reserved::OURS }
    }

    /// Gives a node's torrent a peer that has shaken hands.
    pub(super) fn attach_peer(
        &mut self,
        conn: ConnId,
        end: usize,
        id: NodeId,
        new: NewPeer,
    ) -> Result<PeerKey, DisconnectReason> {
        let mut out = std::mem::take(&mut self.outbox);
        let now = Instant::from_micros(self.now);
        let taken = self.nodes[id.at()].torrent.handle_peer_connected(now, new, &mut out);
        if let Ok(key) = taken {
            // It may have the place of one that was closed for it just now, which is still to be carried out.
            let before = self.nodes[id.at()].links.get(key.slot as usize).copied().flatten();
            if let Some(before) = before {
                self.close(id, before.key);
            }
            // The key must be known before the greeting goes out.
            if let Some(conn) = self.conns.get_mut(conn) {
                conn.ends[end].key = Some(key);
            }
            let links = &mut self.nodes[id.at()].links;
            let slot = key.slot as usize;
            if links.len() <= slot {
                links.resize(slot + 1, None);
            }
            links[slot] = Some(Link { key, conn, end, waits: false });
        }
        let effects: Vec<Effect> = out.drain().collect();
        self.outbox = out;
        for effect in effects {
            self.carry_out(id, effect);
        }
        self.arm_timer(id);
        taken
    }

    /// A node closes the connection to `key`; the other end hears of it behind all that is under way.
    pub(super) fn close(&mut self, id: NodeId, key: PeerKey) {
        let Some(&link) = self.nodes[id.at()].link(key) else { return };
        let Some(conn) = self.conns.get(link.conn) else { return };
        let at = self.now + conn.delay;
        if conn.ends[1 - link.end].key.is_some() {
            self.put(link.conn, 1 - link.end, at, Item::Closed);
        }
        self.detach(id, key);
    }

    /// A node has nothing to do with the connection to `key` any more.
    pub(super) fn detach(&mut self, id: NodeId, key: PeerKey) {
        let node = &mut self.nodes[id.at()];
        let Some(&link) = node.link(key) else { return };
        node.links[key.slot as usize] = None;
        if link.waits {
            node.ring.retain(|k| *k != key);
        }
        if let Some(conn) = self.conns.get_mut(link.conn) {
            conn.ends[link.end].key = None;
        }
        self.let_go(id, link.conn);
        self.reap(link.conn);
    }

    /// Frees a connection that has no end any more, with what is under way on it.
    pub(super) fn reap(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(id) else { return };
        if conn.ends.iter().all(|end| end.key.is_none()) {
            for item in conn.ends.iter().flat_map(|end| end.inbox.iter()) {
                self.record.drop_item(item);
            }
            self.conns.reap(id);
        }
    }

    /// An adversary sends bytes that are no message.
    pub(super) fn send_garbage(&mut self, from: NodeId, key: PeerKey) {
        if self.packets.is_some() {
            return self.say_garbage(from, key);
        }
        let Some(&link) = self.nodes[from.at()].link(key) else { return };
        let delay = self.conns.get(link.conn).map_or(0, |conn| conn.delay);
        self.put(link.conn, 1 - link.end, self.now + delay, Item::Garbage);
    }

    /// Whether a partition lies between two nodes.
    pub(super) fn is_cut(&self, a: NodeId, b: NodeId) -> bool {
        self.partition_until.is_some_and(|until| until > self.now)
            && self.nodes[a.at()].far != self.nodes[b.at()].far
    }

    /// Until when a partition lies across a connection.
    fn cut_until(&self, id: ConnId) -> Option<u64> {
        let until = self.partition_until.filter(|until| *until > self.now)?;
        let [a, b] = &self.conns.get(id)?.ends;
        self.is_cut(a.node, b.node).then_some(until)
    }
}
