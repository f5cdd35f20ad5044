//! One machine of a virtual swarm: a real [`Torrent`] with a virtual shell around it.

use super::config::{NodeConfig, NodeId, WorldConfig};
use super::conn::{ConnId, RIGHT};
use super::disk::Disk;
use super::link::Way;
use crate::adversary::Adversary;
use samara_swarm::torrent::{PeerKey, Torrent, TorrentConfig, TorrentStats};
use samara_wire::bitfield::Bitfield;
use samara_wire::id::{InfoHashV1, InfoHashes, PeerId, PieceIndex, WireHash};
use samara_wire::layout::PieceLayout;
use samara_wire::time::Instant;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The port that every node listens on.
pub(super) const PORT: u16 = 6881;

/// The one tracker.
const TRACKER: &str = "http://tracker.sim/announce";

/// The torrent that all nodes have.
pub(super) const INFO_HASH: WireHash = WireHash([7; 20]);

/// Blocks of a piece that are in memory.
#[derive(Debug)]
pub(super) struct Held {
    /// Content of each block; `None` where it is not here.
    pub(super) contents: Box<[Option<u64>]>,
    pub(super) count: usize,
}

/// What stands for the SHA-1 of a block: equal exactly for equal contents.
pub(super) fn digest_of(piece: PieceIndex, index: usize, content: u64) -> [u8; 20] {
    let mut digest = [0; 20];
    digest[..8].copy_from_slice(&content.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    digest[8..12].copy_from_slice(&piece.0.to_be_bytes());
    digest[12..].copy_from_slice(&(index as u64).to_be_bytes());
    digest
}

/// Payload bytes of one life of a node, as the world saw them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ledger {
    /// Sent.
    pub sent: u64,
    /// Received, useful or not.
    pub received: u64,
    /// Received and thrown away at once: duplicates.
    pub wasted: u64,
    /// Of pieces found good and written.
    pub verified: u64,
    /// Of pieces that did not match.
    pub corrupt: u64,
    /// Of pieces that could not be written.
    pub lost: u64,
    /// In memory: of unfinished pieces, and of those that wait for the disk.
    pub held: u64,
}

impl Ledger {
    pub(super) const fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.received += other.received;
        self.wasted += other.wasted;
        self.verified += other.verified;
        self.corrupt += other.corrupt;
        self.lost += other.lost;
        self.held = other.held;
    }
}

/// A connection as its node finds it by the peer's slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) key: PeerKey,
    pub(super) conn: ConnId,
    /// Which end is this node's.
    pub(super) end: usize,
    /// Whether the peer waits in the ring to be served.
    pub(super) waits: bool,
}

/// One machine.
#[derive(Debug)]
pub struct Node {
    pub(super) config: NodeConfig,
    pub(super) addr: SocketAddr,
    pub(super) peer_id: PeerId,
    pub(super) torrent: Torrent,
    pub(super) alive: bool,
    /// Counts its lives.
    pub(super) epoch: u16,
    /// By slot.
    pub(super) links: Vec<Option<Link>>,
    /// Peers that have something to be served, in turn.
    pub(super) ring: VecDeque<PeerKey>,
    pub(super) pumping: bool,
    pub(super) up: Way,
    pub(super) down: Way,
    pub(super) disk: Disk,
    /// By piece.
    pub(super) held: Vec<Option<Held>>,
    pub(super) timer: Option<u64>,
    pub(super) ledger: Ledger,
    /// Of its earlier lives.
    pub(super) before: Ledger,
    pub(super) started_at: Option<u64>,
    pub(super) first_piece_at: Option<u64>,
    pub(super) completed_at: Option<u64>,
    /// It left on purpose.
    pub(super) left: bool,
    pub(super) banned: Vec<SocketAddr>,
    pub(super) adversary: Option<Box<dyn Adversary>>,
    /// Where it stands in the tracker's list.
    pub(super) tracked: Option<usize>,
    /// On the far side of a partition.
    pub(super) far: bool,
}

impl Node {
    pub(super) fn new(id: NodeId, born: Instant, config: NodeConfig, world: &WorldConfig) -> Self {
        let layout = world.layout();
        let count = layout.count();
        let have = if config.seed { Bitfield::full(count) } else { Bitfield::empty(count) };
        // A liar that says it has everything has nothing, as far as anybody knows.
        let adversary = config.behaviour.make();
        let on_disk = if adversary.is_some() { Bitfield::empty(count) } else { have.clone() };
        Self {
            addr: address(id, config.subnet),
            peer_id: peer_id(id, 0),
            torrent: torrent(id, 0, born, &config, world, layout, have),
            alive: false,
            epoch: 0,
            links: Vec::new(),
            ring: VecDeque::new(),
            pumping: false,
            up: Way::new(config.up),
            down: Way::new(config.down),
            disk: Disk::new(config.disk, on_disk),
            held: std::iter::repeat_with(|| None).take(count as usize).collect(),
            timer: None,
            ledger: Ledger::default(),
            before: Ledger::default(),
            started_at: None,
            first_piece_at: None,
            completed_at: None,
            left: false,
            banned: Vec::new(),
            adversary,
            tracked: None,
            far: false,
            config,
        }
    }

    /// Begins another life with what is on disk.
    pub(super) fn revive(&mut self, id: NodeId, now: Instant, world: &WorldConfig) {
        self.epoch = self.epoch.wrapping_add(1);
        self.peer_id = peer_id(id, self.epoch);
        let have = self.disk.written.clone();
        self.torrent = torrent(id, self.epoch, now, &self.config, world, world.layout(), have);
        (self.up, self.down) = (Way::new(self.config.up), Way::new(self.config.down));
        self.before.add(&self.ledger);
        self.ledger = Ledger::default();
    }

    /// Forgets what only lives in memory.
    pub(super) fn forget(&mut self) {
        self.alive = false;
        self.links.clear();
        self.ring.clear();
        (self.pumping, self.timer) = (false, None);
        self.held.iter_mut().for_each(|held| *held = None);
    }

    pub(super) fn link(&self, key: PeerKey) -> Option<&Link> {
        self.links.get(key.slot as usize)?.as_ref().filter(|link| link.key == key)
    }

    pub(super) fn link_mut(&mut self, key: PeerKey) -> Option<&mut Link> {
        self.links.get_mut(key.slot as usize)?.as_mut().filter(|link| link.key == key)
    }

    /// Stores a block; `index` is its number in the piece of so many blocks.
    pub(super) fn hold(&mut self, piece: PieceIndex, index: u32, of: u32, content: u64) {
        let Some(place) = self.held.get_mut(piece.as_usize()) else { return };
        let held = place.get_or_insert_with(|| Held {
            contents: vec![None; of as usize].into_boxed_slice(),
            count: 0,
        });
        if let Some(block) = held.contents.get_mut(index as usize) {
            held.count += usize::from(block.replace(content).is_none());
        }
    }

    /// Whether it follows the protocol.
    #[must_use]
    pub fn is_honest(&self) -> bool {
        self.adversary.is_none()
    }

    /// Whether it has all pieces, each of them verified.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.disk.written.is_full()
    }

    /// When it came to have all pieces.
    #[must_use]
    pub fn completed_at(&self) -> Option<Instant> {
        self.completed_at.map(Instant::from_micros)
    }

    /// When it began.
    #[must_use]
    pub fn started_at(&self) -> Option<Instant> {
        self.started_at.map(Instant::from_micros)
    }

    /// Its address, as other nodes dial it.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How it was made.
    #[must_use]
    pub const fn config(&self) -> &NodeConfig {
        &self.config
    }

    /// Addresses of the peers it banned, as it saw them.
    #[must_use]
    pub fn banned(&self) -> &[SocketAddr] {
        &self.banned
    }

    /// Payload bytes of all its lives.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        let mut all = self.before;
        all.add(&self.ledger);
        all
    }

    /// The torrent's own figures, of this life.
    #[must_use]
    pub fn stats(&self, now: Instant) -> TorrentStats {
        self.torrent.stats(now)
    }

    /// Pieces on its disk.
    #[must_use]
    pub fn pieces(&self) -> u32 {
        self.disk.written.count()
    }
}

/// Whether every block is right.
pub(super) fn is_good(held: &Held) -> bool {
    held.contents.iter().all(|content| *content == Some(RIGHT))
}

/// Each node has a /24 of its own, but for those that are said to share one.
fn address(id: NodeId, subnet: Option<u8>) -> SocketAddr {
    let [_, a, b, c] = id.0.to_be_bytes();
    let ip = match subnet {
        None => {
            // 24 bits of number above one of the host: 11.0.0.0/8 has room for 65,536 nodes, the next nets for more.
            Ipv4Addr::new(11u8.wrapping_add(a), b, c, 1)
        }
        Some(net) => Ipv4Addr::new(198, b, net, c),
    };
    SocketAddr::new(IpAddr::V4(ip), PORT)
}

fn torrent(
    id: NodeId,
    life: u16,
    now: Instant,
    config: &NodeConfig,
    world: &WorldConfig,
    layout: PieceLayout,
    have: Bitfield,
) -> Torrent {
    let seed = world.seed.wrapping_mul(31).wrapping_add(u64::from(id.0) << 16 | u64::from(life));
    let config = TorrentConfig {
        seed,
        peer_id: peer_id(id, life),
        key: id.0,
        listen_port: PORT,
        max_peers: config.max_peers,
        trackers: if world.tracker { vec![vec![TRACKER.to_owned()]] } else { Vec::new() },
        dht_port: world.dht_nodes.is_some().then_some(PORT),
        holepunch: world.packets.is_some(),
        super_seeding: config.super_seeding,
        ..TorrentConfig::default()
    };
    Torrent::new(now, config, InfoHashes::v1_only(InfoHashV1(INFO_HASH.0)), layout, have)
}

/// Another one in each life, as a program draws it anew.
fn peer_id(id: NodeId, life: u16) -> PeerId {
    let mut random = [0; 12];
    random[..4].copy_from_slice(&id.0.to_be_bytes());
    random[4..6].copy_from_slice(&life.to_be_bytes());
    PeerId::ours(*b"SIM0", random)
}
