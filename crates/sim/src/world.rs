//! The virtual network, tracker, disk and clock.

use crate::node::{Behaviour, Content, Node, NodeConfig, NodeId};
use samara_swarm::rng::Rng;
use samara_swarm::torrent::{BlockVerdict, Direction, NewPeer, PeerKey};
use samara_swarm::{Announce, Effect, Event, Outbox};
use samara_wire::id::{BLOCK_LEN, BlockRef, PieceIndex};
use samara_wire::layout::PieceLayout;
use samara_wire::peer::handshake::Reserved;
use samara_wire::peer::message::Message;
use samara_wire::time::{Duration, Instant};
use samara_wire::tracker::{AnnounceEvent, AnnounceResponse};
use sha1::{Digest, Sha1};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;

/// A node pulls more blocks to send when less than this is queued on its uplink.
const UPLINK_QUEUE: Duration = Duration::from_millis(30);

/// Peers named in one answer of the tracker.
const TRACKER_ANSWER: usize = 50;

/// What a world is like. `Default` is a small clean one.
#[derive(Clone, Debug)]
pub struct WorldConfig {
    /// Seeds everything random.
    pub seed: u64,
    /// Pieces of the torrent.
    pub pieces: u32,
    /// Bytes of a piece.
    pub piece_len: u32,
    /// Shortest and longest one-way delay of a connection.
    pub delay: (Duration, Duration),
    /// One dial in so many fails; 0: none.
    pub dials_fail_one_in: usize,
    /// One delivery in so many breaks its connection; 0: none.
    pub breaks_one_in: usize,
    /// Time to verify and write a piece.
    pub disk: Duration,
    /// The run ends here at the latest.
    pub limit: Duration,
}

impl Default for WorldConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            pieces: 64,
            piece_len: 4 * BLOCK_LEN,
            delay: (Duration::from_millis(10), Duration::from_millis(50)),
            dials_fail_one_in: 0,
            breaks_one_in: 0,
            disk: Duration::from_millis(2),
            limit: Duration::from_secs(3600),
        }
    }
}

#[derive(Debug)]
enum Happening {
    Start(NodeId),
    Leave(NodeId),
    Timer(NodeId),
    Pump(NodeId),
    Dialled { from: NodeId, to: SocketAddr },
    Deliver { conn: usize, to: NodeId, item: Item },
    Closed { conn: usize, to: NodeId },
    Announced { node: NodeId, announce: Box<Announce> },
    DiskDone { node: NodeId, piece: PieceIndex, want_digests: bool },
}

#[derive(Debug)]
enum Item {
    Message(Message),
    Block { block: BlockRef, content: Content },
}

/// A connection between two nodes; `ends[0]` dialled.
#[derive(Debug)]
struct Conn {
    ends: [(NodeId, Option<PeerKey>); 2],
    delay: Duration,
    open: bool,
}

/// A virtual swarm. See the crate's head.
#[derive(Debug)]
pub struct World {
    config: WorldConfig,
    layout: PieceLayout,
    now: Instant,
    rng: Rng,
    nodes: Vec<Node>,
    by_addr: BTreeMap<SocketAddr, NodeId>,
    conns: Vec<Conn>,
    /// When, in which order of scheduling.
    queue: BinaryHeap<Reverse<(Instant, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    scheduled: u64,
    tracked: Vec<NodeId>,
    digest: Sha1,
    outbox: Outbox,
}

impl World {
    /// An empty world.
    #[must_use]
    pub fn new(config: WorldConfig) -> Self {
        let total = u64::from(config.pieces) * u64::from(config.piece_len);
        Self {
            layout: PieceLayout::contiguous(total, config.piece_len),
            now: Instant::from_secs(1),
            rng: Rng::new(config.seed),
            nodes: Vec::new(),
            by_addr: BTreeMap::new(),
            conns: Vec::new(),
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            scheduled: 0,
            tracked: Vec::new(),
            digest: Sha1::new(),
            outbox: Outbox::new(),
            config,
        }
    }

    /// Adds a node that starts at once.
    pub fn add(&mut self, config: NodeConfig) -> NodeId {
        self.add_later(config, Duration::ZERO)
    }

    /// Adds a node that starts `after` now.
    pub fn add_later(&mut self, config: NodeConfig, after: Duration) -> NodeId {
        let id = NodeId(self.nodes.len());
        let node = Node::new(self.now, id, config, &self.config, self.layout.clone());
        self.by_addr.insert(node.addr, id);
        self.nodes.push(node);
        self.schedule(self.now + after, Happening::Start(id));
        id
    }

    /// Has a node leave without a word, `after` now.
    pub fn leave_later(&mut self, node: NodeId, after: Duration) {
        self.schedule(self.now + after, Happening::Leave(node));
    }

    /// A node.
    ///
    /// # Panics
    /// If `id` is of another world.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().enumerate().map(|(i, node)| (NodeId(i), node))
    }

    /// Virtual time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// A fingerprint of everything that happened so far.
    #[must_use]
    pub fn digest(&self) -> String {
        self.digest.clone().finalize().iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Runs until every living node has all pieces, or the limit of time is reached. True in the first case.
    pub fn run_until_complete(&mut self) -> bool {
        let limit = self.now + self.config.limit;
        loop {
            if self.nodes.iter().filter(|n| n.alive).all(Node::is_complete) {
                return true;
            }
            if !self.step(limit) {
                return false;
            }
        }
    }

    /// Runs for `time`, whatever happens.
    pub fn run_for(&mut self, time: Duration) {
        let limit = self.now + time;
        while self.step(limit) {}
        self.now = limit;
    }

    /// Lets the next thing happen, unless it lies beyond `limit`.
    fn step(&mut self, limit: Instant) -> bool {
        let Some(Reverse((at, number))) = self.queue.peek().copied() else { return false };
        if at > limit {
            return false;
        }
        self.queue.pop();
        self.now = at;
        let happening = self.happenings.remove(&number).expect("scheduled with its number");
        self.digest.update(format!("{at:?} {happening:?}\n"));
        self.happen(happening);
        true
    }

    fn schedule(&mut self, at: Instant, happening: Happening) {
        self.scheduled += 1;
        self.queue.push(Reverse((at, self.scheduled)));
        self.happenings.insert(self.scheduled, happening);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Start(id) => self.with(id, |node, now, out| {
                node.torrent.handle_start(now, out);
            }),
            Happening::Leave(id) => self.on_leave(id),
            Happening::Timer(id) => {
                self.nodes[id.0].timer = None;
                self.with(id, |node, now, out| node.torrent.handle_timeout(now, out));
            }
            Happening::Pump(id) => self.pump(id),
            Happening::Dialled { from, to } => self.on_dialled(from, to),
            Happening::Deliver { conn, to, item } => self.on_deliver(conn, to, item),
            Happening::Closed { conn, to } => {
                if let Some(key) = self.key_of(conn, to) {
                    self.detach(to, key);
                    self.with(to, |node, now, out| node.torrent.handle_disconnected(now, key, out));
                }
            }
            Happening::Announced { node, announce } => self.on_announced(node, &announce),
            Happening::DiskDone { node, piece, want_digests } => {
                self.on_disk_done(node, piece, want_digests);
            }
        }
    }

    /// Gives a living node an input, then carries out what it wants.
    fn with(&mut self, id: NodeId, input: impl FnOnce(&mut Node, Instant, &mut Outbox)) {
        let mut out = std::mem::take(&mut self.outbox);
        let node = &mut self.nodes[id.0];
        if node.alive {
            input(node, self.now, &mut out);
            let effects: Vec<Effect> = out.drain().collect();
            for effect in effects {
                self.carry_out(id, effect);
            }
            self.arm_timer(id);
        }
        self.outbox = out;
    }

    fn arm_timer(&mut self, id: NodeId) {
        let node = &mut self.nodes[id.0];
        let Some(at) = node.torrent.next_timeout() else { return };
        let at = at.max(self.now + Duration::from_micros(1));
        if node.timer.is_none_or(|armed| at < armed) {
            node.timer = Some(at);
            self.schedule(at, Happening::Timer(id));
        }
    }

    fn carry_out(&mut self, id: NodeId, effect: Effect) {
        match effect {
            Effect::Send(key, message) => {
                let mut bytes = Vec::new();
                message.encode(&mut bytes);
                self.transmit(id, key, bytes.len(), Item::Message(message));
            }
            Effect::ServeReady(key) => {
                let node = &mut self.nodes[id.0];
                if node.config.behaviour != Behaviour::Silent && !node.serving.contains(&key) {
                    node.serving.push_back(key);
                    self.schedule(self.now, Happening::Pump(id));
                }
            }
            Effect::Disconnect(key, _) => {
                if let Some(&conn) = self.nodes[id.0].conns.get(&key) {
                    self.close(conn, id);
                }
                self.detach(id, key);
            }
            Effect::Dial(to) => {
                let trip = self.random_delay() * 2;
                self.schedule(self.now + trip, Happening::Dialled { from: id, to });
            }
            Effect::Announce(announce) => {
                let trip = self.random_delay() * 2;
                self.schedule(self.now + trip, Happening::Announced { node: id, announce });
            }
            Effect::VerifyPiece { piece, want_digests } => {
                let done = Happening::DiskDone { node: id, piece, want_digests };
                self.schedule(self.now + self.config.disk, done);
            }
            Effect::Event(Event::Complete) => self.nodes[id.0].completed_at = Some(self.now),
            Effect::Event(Event::PeerBanned(addr)) => self.nodes[id.0].banned.push(addr),
            // There is no DHT, no local network and no NAT in this world; every node knows the tracker.
            Effect::Seek { .. }
            | Effect::Withdraw
            | Effect::DhtNode(_)
            | Effect::Punch(_)
            | Effect::Event(_) => {}
        }
    }

    /// Puts `bytes` on the uplink of `from`, behind what is there already.
    fn transmit(&mut self, from: NodeId, key: PeerKey, bytes: usize, item: Item) {
        let Some(&conn) = self.nodes[from.0].conns.get(&key) else { return };
        let to = self.other_end(conn, from);
        let node = &mut self.nodes[from.0];
        node.up_free_at = node.up_free_at.max(self.now) + time_for(bytes, node.config.up);
        let arrives = node.up_free_at + self.conns[conn].delay;
        let receiver = &mut self.nodes[to.0];
        receiver.down_free_at =
            receiver.down_free_at.max(arrives) + time_for(bytes, receiver.config.down);
        let at = receiver.down_free_at;
        self.schedule(at, Happening::Deliver { conn, to, item });
    }

    /// Sends queued blocks, peer after peer, until the uplink has enough to do.
    fn pump(&mut self, id: NodeId) {
        if !self.nodes[id.0].alive {
            return;
        }
        while self.nodes[id.0].up_free_at <= self.now + UPLINK_QUEUE {
            let node = &mut self.nodes[id.0];
            let Some(key) = node.serving.pop_front() else { return };
            let Some(block) = node.torrent.poll_serve(key) else { continue };
            node.serving.push_back(key);
            let content = node.content_to_send(id);
            node.torrent.handle_served(self.now, key, block);
            self.transmit(id, key, block.len as usize + 13, Item::Block { block, content });
        }
        if !self.nodes[id.0].serving.is_empty() {
            let at = self.nodes[id.0].up_free_at;
            self.schedule(at, Happening::Pump(id));
        }
    }

    fn on_deliver(&mut self, conn: usize, to: NodeId, item: Item) {
        let Some(key) = self.key_of(conn, to) else { return };
        if self.one_in(self.config.breaks_one_in) {
            self.close(conn, self.other_end(conn, to));
            self.happen(Happening::Closed { conn, to });
            return;
        }
        match item {
            Item::Message(message) => {
                self.with(to, |node, now, out| node.torrent.handle_message(now, key, message, out));
            }
            Item::Block { block, content } => {
                let index = self.layout.block_index(&block).map_or(0, |i| i as usize);
                self.with(to, |node, now, out| {
                    if node.torrent.handle_block_header(now, key, block, out)
                        != BlockVerdict::Wanted
                    {
                        return;
                    }
                    node.torrent.handle_progress(now, key, block.len);
                    if node.torrent.handle_block(now, key, block, out) {
                        node.store(block, index, content);
                    }
                });
            }
        }
    }

    fn on_disk_done(&mut self, id: NodeId, piece: PieceIndex, want_digests: bool) {
        let blocks = self.nodes[id.0].partial.remove(&piece).unwrap_or_default();
        assert_eq!(blocks.len(), self.layout.blocks_in(piece) as usize, "a piece with holes");
        let good = blocks.values().all(|c| *c == Content::Right);
        let digests: Box<[_]> = blocks.iter().map(|(i, c)| c.digest(piece, *i)).collect();
        self.with(id, |node, now, out| {
            if good {
                let digests = want_digests.then_some(digests);
                node.torrent.handle_piece_verified(now, piece, digests, out);
            } else {
                node.torrent.handle_piece_failed(now, piece, &digests, out);
            }
        });
    }

    fn on_dialled(&mut self, from: NodeId, to: SocketAddr) {
        let target = self.by_addr.get(&to).copied().filter(|id| {
            let node = &self.nodes[id.0];
            node.alive && !node.config.unreachable
        });
        let failed = self.one_in(self.config.dials_fail_one_in);
        let Some(target) = target.filter(|_| !failed && self.nodes[from.0].alive) else {
            self.with(from, |node, now, out| node.torrent.handle_dial_failed(now, to, out));
            return;
        };
        let conn = self.conns.len();
        let delay = self.random_delay();
        self.conns.push(Conn { ends: [(from, None), (target, None)], delay, open: true });
        // The accepting side sees a port that the dialling side's system chose.
        let seen = SocketAddr::new(
            self.nodes[from.0].addr.ip(),
            20_000 + u16::try_from(conn % 40_000).unwrap_or(0),
        );
        self.connect(conn, 1, target, seen, Direction::Incoming);
        self.connect(conn, 0, from, to, Direction::Outgoing);
    }

    fn connect(&mut self, conn: usize, end: usize, id: NodeId, addr: SocketAddr, how: Direction) {
        let other = self.other_end(conn, id);
        if !self.conns[conn].open {
            // The other side refused meanwhile: to this one the connection opened and closed.
            if how == Direction::Outgoing {
                self.with(id, |node, now, out| node.torrent.handle_dial_failed(now, addr, out));
            }
            return;
        }
        let peer_id = self.nodes[other.0].peer_id;
        let new = NewPeer { addr, direction: how, utp: false, peer_id, reserved: Reserved::OURS };
        let mut out = std::mem::take(&mut self.outbox);
        let key = self.nodes[id.0].torrent.handle_peer_connected(self.now, new, &mut out);
        // The key must be known before the greeting goes out.
        if let Ok(key) = key {
            self.conns[conn].ends[end].1 = Some(key);
            self.nodes[id.0].conns.insert(key, conn);
        }
        let effects: Vec<Effect> = out.drain().collect();
        self.outbox = out;
        for effect in effects {
            self.carry_out(id, effect);
        }
        if key.is_err() {
            self.close(conn, id);
        }
        self.arm_timer(id);
    }

    fn on_announced(&mut self, id: NodeId, announce: &Announce) {
        self.tracked.retain(|n| *n != id);
        let mut others: Vec<SocketAddr> =
            self.tracked.iter().map(|n| self.nodes[n.0].addr).collect();
        if announce.request.event != AnnounceEvent::Stopped {
            self.tracked.push(id);
        }
        self.rng.shuffle(&mut others);
        others.truncate(TRACKER_ANSWER);
        let response = AnnounceResponse {
            interval: Duration::from_secs(300),
            peers: others,
            ..AnnounceResponse::default()
        };
        let announce_id = announce.id;
        self.with(id, |node, now, out| {
            node.torrent.handle_announced(now, announce_id, response, out);
        });
    }

    fn on_leave(&mut self, id: NodeId) {
        self.nodes[id.0].alive = false;
        let conns: Vec<usize> = self.nodes[id.0].conns.values().copied().collect();
        for conn in conns {
            self.close(conn, id);
        }
        self.nodes[id.0].conns.clear();
    }

    /// `by` closes; the other end hears of it a delay later.
    fn close(&mut self, conn: usize, by: NodeId) {
        if std::mem::replace(&mut self.conns[conn].open, false) {
            let to = self.other_end(conn, by);
            let at = self.now + self.conns[conn].delay;
            self.schedule(at, Happening::Closed { conn, to });
        }
    }

    fn detach(&mut self, id: NodeId, key: PeerKey) {
        let node = &mut self.nodes[id.0];
        node.serving.retain(|k| *k != key);
        if let Some(conn) = node.conns.remove(&key) {
            for end in &mut self.conns[conn].ends {
                if end.0 == id {
                    end.1 = None;
                }
            }
        }
    }

    fn key_of(&self, conn: usize, id: NodeId) -> Option<PeerKey> {
        self.conns[conn].ends.iter().find(|end| end.0 == id)?.1
    }

    fn other_end(&self, conn: usize, id: NodeId) -> NodeId {
        let [a, b] = &self.conns[conn].ends;
        if a.0 == id { b.0 } else { a.0 }
    }

    fn one_in(&mut self, n: usize) -> bool {
        n > 0 && self.rng.below(n) == 0
    }

    fn random_delay(&mut self) -> Duration {
        let (from, to) = self.config.delay;
        let span = usize::try_from((to - from).as_micros()).unwrap_or(0);
        from + Duration::from_micros(self.rng.below(span + 1) as u64)
    }
}

/// How long `bytes` take at `rate` bytes per second.
fn time_for(bytes: usize, rate: u64) -> Duration {
    Duration::from_micros((bytes as u64 * 1_000_000) / rate.max(1))
}
