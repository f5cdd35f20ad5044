//! The clock of a virtual swarm: what happens next, until all is done, time is up, or something that must hold does not.

use super::config::{NodeConfig, NodeId, WorldConfig};
use super::conn::{ConnId, Conns};
use super::digest::Fingerprint;
use super::finding::Asked;
use super::invariants::Broken;
use super::life::Turn;
use super::lookup::{self, DhtNodes};
use super::node::Node;
use super::packets::{self, Packets, Wire};
use super::queue::Queue;
use super::record::Record;
use samara_swarm::Outbox;
use samara_swarm::rng::Rng;
use samara_wire::id::PieceIndex;
use samara_wire::layout::PieceLayout;
use samara_wire::time::{Duration, Instant};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// After all have finished the world goes on for this long: what is still open must come to its end.
const SETTLE: Duration = Duration::from_secs(30);

/// What can happen.
#[derive(Clone, Copy, Debug)]
pub(super) enum Happening {
    Start(NodeId),
    Timer(NodeId),
    Pump(NodeId),
    Deliver { conn: ConnId, end: u8 },
    Dialled { from: NodeId, ip: u32, port: u16, epoch: u16 },
    Announced(u32),
    Written { node: NodeId, piece: PieceIndex, epoch: u16, want_digests: bool },
    Turn(u32),
    Act(NodeId),
    Lookup(NodeId),
    Packet(packets::Due),
    Dht(lookup::Due),
    Sample,
}

/// A virtual swarm. See the crate's head.
#[derive(Debug)]
pub struct World {
    pub(super) config: WorldConfig,
    pub(super) layout: PieceLayout,
    /// In microseconds.
    pub(super) now: u64,
    pub(super) rng: Rng,
    pub(super) nodes: Vec<Node>,
    pub(super) by_ip: BTreeMap<IpAddr, NodeId>,
    pub(super) conns: Conns,
    pub(super) queue: Queue<Happening>,
    pub(super) wire: Wire,
    pub(super) packets: Option<Box<Packets>>,
    pub(super) dht_nodes: Option<Box<DhtNodes>>,
    pub(super) announces: Vec<Option<Asked>>,
    pub(super) free_announces: Vec<u32>,
    /// Who the tracker knows.
    pub(super) tracked: Vec<NodeId>,
    /// Who the DHT knows.
    pub(super) stored: Vec<NodeId>,
    pub(super) turns: Vec<Turn>,
    pub(super) partition_until: Option<u64>,
    pub(super) record: Record,
    /// Honest nodes that still lack something and are to get it.
    pub(super) waiting: usize,
    pub(super) broken: Option<Broken>,
    pub(super) events: u64,
    pub(super) next_checked: usize,
    pub(super) digest: Fingerprint,
    pub(super) outbox: Outbox,
    /// Reused by `look_ahead`.
    touched: Vec<(ConnId, usize)>,
}

impl World {
    /// An empty world.
    #[must_use]
    pub fn new(config: WorldConfig) -> Self {
        let layout = config.layout();
        let queue = Queue::new();
        let begin = Instant::from_secs(1).as_micros();
        let packets = config.packets.clone().map(Packets::new);
        let dht_nodes = config.dht_nodes.map(DhtNodes::new);
        let mut world = Self {
            now: begin,
            rng: Rng::new(config.seed),
            nodes: Vec::new(),
            by_ip: BTreeMap::new(),
            conns: Conns::default(),
            queue,
            wire: Wire::default(),
            packets: packets.map(Box::new),
            dht_nodes: dht_nodes.map(Box::new),
            announces: Vec::new(),
            free_announces: Vec::new(),
            tracked: Vec::new(),
            stored: Vec::new(),
            turns: Vec::new(),
            partition_until: None,
            record: Record::new(begin, layout.count()),
            waiting: 0,
            broken: None,
            events: 0,
            next_checked: 0,
            digest: Fingerprint::new(),
            outbox: Outbox::new(),
            touched: Vec::new(),
            layout,
            config,
        };
        world.form_dht();
        // The run begins here.
        world.record = Record::new(world.now, world.layout.count());
        world.queue.push(world.now, Happening::Sample);
        world
    }

    /// Adds a node that starts at once.
    pub fn add(&mut self, config: NodeConfig) -> NodeId {
        self.add_later(config, Duration::ZERO)
    }

    /// Adds a node that starts `after` now.
    ///
    /// # Panics
    /// If there are more nodes than addresses: some millions.
    pub fn add_later(&mut self, config: NodeConfig, after: Duration) -> NodeId {
        let id = NodeId(u32::try_from(self.nodes.len()).expect("nodes are far fewer"));
        let at = Instant::from_micros(self.now) + after;
        let node = Node::new(id, at, config, &self.config);
        assert!(self.by_ip.insert(node.addr.ip(), id).is_none(), "two nodes with one address");
        self.waiting += usize::from(node.is_honest() && !node.config.seed);
        if let Some(packets) = &mut self.packets {
            packets.add(&node.config);
        }
        self.nodes.push(node);
        self.queue.push(at.as_micros(), Happening::Start(id));
        id
    }

    /// A node.
    ///
    /// # Panics
    /// If `id` is of another world.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.at()]
    }

    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        (0u32..).map(NodeId).zip(&self.nodes)
    }

    /// How the world was made.
    #[must_use]
    pub const fn config(&self) -> &WorldConfig {
        &self.config
    }

    /// Virtual time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        Instant::from_micros(self.now)
    }

    /// Events so far.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// What did not hold, if anything.
    #[must_use]
    pub const fn broken(&self) -> Option<&Broken> {
        self.broken.as_ref()
    }

    /// A fingerprint of everything that happened so far.
    #[must_use]
    pub fn digest(&self) -> String {
        self.digest.hex()
    }

    /// Runs until every honest node that stays has all pieces and what is still open has ended. False if the limit of time came
    /// first, or if something that must hold did not: then [`World::broken`] says what.
    pub fn run_until_complete(&mut self) -> bool {
        let limit = self.now().as_micros() + micros(self.config.limit);
        while self.waiting > 0 && self.step(limit) {}
        if self.waiting == 0 {
            self.record.end(self.now);
            self.run_for(SETTLE);
            self.check_streams();
            self.check_end();
        } else if self.broken.is_none() {
            self.check_finished();
        }
        self.broken.is_none()
    }

    /// Runs for `time`, whatever happens.
    pub fn run_for(&mut self, time: Duration) {
        let limit = self.now + micros(time);
        while self.step(limit) {}
        if self.broken.is_none() {
            self.now = limit;
        }
    }

    /// Lets the next thing happen, unless it lies beyond `limit`.
    fn step(&mut self, limit: u64) -> bool {
        if self.broken.is_some() {
            return false;
        }
        let Some((at, happening)) = self.queue.pop(limit) else { return false };
        self.look_ahead();
        self.now = at.max(self.now);
        self.events += 1;
        self.digest.word(at);
        self.happen(happening);
        self.flush();
        if self.events.is_multiple_of(self.config.check_every.max(1)) {
            self.check_next();
        }
        true
    }

    /// Touches what the deliveries of the next millisecond are about. Each would else wait several times for memory, as the
    /// connections of a great swarm are in no cache; here the processor fetches many at a time. Changes nothing.
    fn look_ahead(&mut self) {
        let mut sum = 0;
        let deliveries = self.queue.ahead().filter_map(|happening| match happening {
            Happening::Deliver { conn, end } => Some((*conn, usize::from(*end))),
            _ => None,
        });
        self.touched.clear();
        self.touched.extend(deliveries);
        for (conn, end) in &self.touched {
            let conn = self.conns.get(*conn).map(|conn| (conn.delay, &conn.ends[*end]));
            sum += conn.map_or(0, |(delay, end)| delay + end.inbox.len() as u64);
        }
        for (conn, end) in &self.touched {
            let Some(conn) = self.conns.get(*conn) else { continue };
            let end = &conn.ends[*end];
            let torrent = &self.nodes[end.node.at()].torrent;
            let pieces = end.key.and_then(|key| torrent.pieces_of(key));
            sum += pieces.and_then(|has| has.as_bytes().first()).map_or(0, |byte| u64::from(*byte));
        }
        std::hint::black_box(sum);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Start(id) => self.on_start(id),
            Happening::Timer(id) => {
                // One that was armed for another time has been overtaken.
                if self.nodes[id.at()].timer == Some(self.now) {
                    self.nodes[id.at()].timer = None;
                    self.with(id, |node, now, out| node.torrent.handle_timeout(now, out));
                }
            }
            Happening::Pump(id) => self.pump(id),
            Happening::Deliver { conn, end } => self.deliver(conn, usize::from(end)),
            Happening::Dialled { from, ip, port, epoch } => self.on_dialled(from, epoch, ip, port),
            Happening::Announced(index) => self.on_announced(index),
            Happening::Written { node, piece, epoch, want_digests } => {
                self.on_written(node, epoch, piece, want_digests);
            }
            Happening::Packet(due) => self.on_packet(due),
            Happening::Dht(due) => self.on_dht(due),
            Happening::Turn(index) => self.on_turn(index),
            Happening::Act(id) => self.on_act(id),
            Happening::Lookup(id) => self.on_lookup(id),
            Happening::Sample => {
                self.sample();
                let at = self.now + micros(self.config.sample).max(1);
                self.queue.push(at, Happening::Sample);
            }
        }
    }

    /// One time in `n`, by lot; never if `n` is 0.
    pub(super) fn one_in(&mut self, n: usize) -> bool {
        n > 0 && self.rng.below(n) == 0
    }

    /// A delay of one way, in microseconds.
    pub(super) fn random_delay(&mut self) -> u64 {
        let (from, to) = self.config.delay;
        let span = usize::try_from(micros(to.saturating_sub(from))).unwrap_or(0);
        micros(from) + self.rng.below(span + 1) as u64
    }
}

/// A duration in microseconds.
pub(super) fn micros(d: Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX)
}
