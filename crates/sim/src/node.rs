//! One machine of a virtual swarm: a real [`Torrent`] with a virtual shell around it.

use crate::world::WorldConfig;
use samara_swarm::torrent::{PeerKey, Torrent, TorrentConfig, TorrentStats};
use samara_wire::bitfield::Bitfield;
use samara_wire::id::{BlockRef, InfoHashV1, InfoHashes, PeerId, PieceIndex};
use samara_wire::layout::PieceLayout;
use samara_wire::time::Instant;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Names a node of a world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub usize);

/// What a node does that an honest one would not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Behaviour {
    /// Follows the protocol.
    Honest,
    /// Sends one block in so many wrong.
    Corrupts {
        /// One in how many.
        one_in: u32,
    },
    /// Claims to have everything, unchokes, and never serves a block.
    Silent,
}

/// How a node is made.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Bytes per second it can send.
    pub up: u64,
    /// Bytes per second it can receive.
    pub down: u64,
    /// Whether it begins with every piece.
    pub seed: bool,
    /// Whether it cannot be dialled.
    pub unreachable: bool,
    /// Super-seeding (BEP 16).
    pub super_seeding: bool,
    /// What it does wrong.
    pub behaviour: Behaviour,
}

impl NodeConfig {
    /// An honest node that has everything; 10 MB/s each way.
    #[must_use]
    pub fn seed() -> Self {
        Self { seed: true, ..Self::leech() }
    }

    /// An honest node that has nothing; 10 MB/s each way.
    #[must_use]
    pub fn leech() -> Self {
        Self {
            up: 10_000_000,
            down: 10_000_000,
            seed: false,
            unreachable: false,
            super_seeding: false,
            behaviour: Behaviour::Honest,
        }
    }
}

/// How a block was received: what a digest would tell.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Content {
    Right,
    Wrong { by: NodeId, nonce: u32 },
}

impl Content {
    /// Stands for the SHA-1 of the block: equal exactly for equal contents.
    pub(crate) fn digest(self, piece: PieceIndex, index: usize) -> [u8; 20] {
        let mut digest = [0; 20];
        digest[..4].copy_from_slice(&piece.0.to_be_bytes());
        digest[4..8].copy_from_slice(&u32::try_from(index).unwrap_or(u32::MAX).to_be_bytes());
        if let Self::Wrong { by, nonce } = self {
            digest[8..16].copy_from_slice(&(by.0 as u64 + 1).to_be_bytes());
            digest[16..].copy_from_slice(&nonce.to_be_bytes());
        }
        digest
    }
}

/// One machine.
#[derive(Debug)]
pub struct Node {
    pub(crate) config: NodeConfig,
    pub(crate) addr: SocketAddr,
    pub(crate) peer_id: PeerId,
    pub(crate) torrent: Torrent,
    pub(crate) alive: bool,
    /// Connection of each peer, by slot.
    pub(crate) conns: BTreeMap<PeerKey, usize>,
    /// Peers that have something to be served, in turn.
    pub(crate) serving: VecDeque<PeerKey>,
    pub(crate) partial: BTreeMap<PieceIndex, BTreeMap<usize, Content>>,
    pub(crate) up_free_at: Instant,
    pub(crate) down_free_at: Instant,
    pub(crate) timer: Option<Instant>,
    pub(crate) served: u32,
    pub(crate) completed_at: Option<Instant>,
    pub(crate) banned: Vec<SocketAddr>,
}

impl Node {
    pub(crate) fn new(
        now: Instant,
        id: NodeId,
        config: NodeConfig,
        world: &WorldConfig,
        layout: PieceLayout,
    ) -> Self {
        let [_, a, b, c] = u32::try_from(id.0 * 256 + 1).unwrap_or(u32::MAX).to_be_bytes();
        let addr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(11, a, b, c)), 6881);
        let mut random = [0; 12];
        random[..8].copy_from_slice(&(id.0 as u64).to_be_bytes());
        let peer_id = PeerId::ours(*b"SIM0", random);
        let torrent_config = TorrentConfig {
            seed: world.seed.wrapping_mul(31).wrapping_add(id.0 as u64),
            peer_id,
            trackers: vec![vec!["http://tracker.sim/announce".to_owned()]],
            super_seeding: config.super_seeding,
            ..TorrentConfig::default()
        };
        let have = if config.seed {
            Bitfield::full(layout.count())
        } else {
            Bitfield::empty(layout.count())
        };
        let hashes = InfoHashes::v1_only(InfoHashV1([7; 20]));
        Self {
            addr,
            peer_id,
            torrent: Torrent::new(now, torrent_config, hashes, layout, have),
            alive: true,
            conns: BTreeMap::new(),
            serving: VecDeque::new(),
            partial: BTreeMap::new(),
            up_free_at: now,
            down_free_at: now,
            timer: None,
            served: 0,
            completed_at: config.seed.then_some(now),
            banned: Vec::new(),
            config,
        }
    }

    /// Whether the node has all pieces, each of them verified.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.torrent.is_complete()
    }

    /// When it came to have all pieces.
    #[must_use]
    pub fn completed_at(&self) -> Option<Instant> {
        self.completed_at
    }

    /// Its address, as other nodes dial it.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Addresses of the peers it banned, as it saw them.
    #[must_use]
    pub fn banned(&self) -> &[SocketAddr] {
        &self.banned
    }

    /// The torrent's own figures.
    #[must_use]
    pub fn stats(&self, now: Instant) -> TorrentStats {
        self.torrent.stats(now)
    }

    /// Whether what it sends now is right, by its behaviour.
    pub(crate) fn content_to_send(&mut self, id: NodeId) -> Content {
        self.served += 1;
        match self.config.behaviour {
            Behaviour::Corrupts { one_in } if self.served.is_multiple_of(one_in) => {
                Content::Wrong { by: id, nonce: self.served }
            }
            _ => Content::Right,
        }
    }

    /// Stores a block; `index` is its number in the piece.
    pub(crate) fn store(&mut self, block: BlockRef, index: usize, content: Content) {
        self.partial.entry(block.piece).or_default().insert(index, content);
    }
}
