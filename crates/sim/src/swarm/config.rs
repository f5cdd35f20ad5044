//! The plain data that makes a world and its nodes.

use super::disk::DiskConfig;
use super::lookup::DhtCrowd;
use super::packets::PacketsConfig;
use crate::adversary::Behaviour;
use samara_wire::id::BLOCK_LEN;
use samara_wire::layout::PieceLayout;
use samara_wire::time::Duration;

/// Names a node of a world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub u32);

impl NodeId {
    /// As an index.
    pub(crate) const fn at(self) -> usize {
        self.0 as usize
    }
}

/// What a world is like. `Default` is a small clean one.
#[derive(Clone, Debug)]
pub struct WorldConfig {
    /// Seeds everything random.
    pub seed: u64,
    /// Bytes of the torrent.
    pub total_len: u64,
    /// Bytes of a piece.
    pub piece_len: u32,
    /// Shortest and longest one-way delay of a connection.
    pub delay: (Duration, Duration),
    /// One thing sent in so many is lost and comes a round trip later, all behind it too; 0: none.
    pub lost_one_in: usize,
    /// One dial in so many fails; 0: none.
    pub dials_fail_one_in: usize,
    /// One delivery in so many breaks its connection; 0: none.
    pub breaks_one_in: usize,
    /// Connections are uTP, and datagrams cross; `None`: the tier of flows.
    pub packets: Option<PacketsConfig>,
    /// Whether there is a tracker.
    pub tracker: bool,
    /// Nodes find each other by real nodes of the DHT.
    pub dht_nodes: Option<DhtCrowd>,
    /// Whether nodes find each other by a table like the DHT's too, in which liars can write.
    pub dht: bool,
    /// The run ends here at the latest.
    pub limit: Duration,
    /// Time between two samples of how pieces have spread.
    pub sample: Duration,
    /// After so many events one node is looked at in every detail, each in its turn.
    pub check_every: u64,
}

impl Default for WorldConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            total_len: 4 << 20,
            piece_len: 4 * BLOCK_LEN,
            delay: (Duration::from_millis(10), Duration::from_millis(50)),
            lost_one_in: 0,
            dials_fail_one_in: 0,
            breaks_one_in: 0,
            packets: None,
            tracker: true,
            dht_nodes: None,
            dht: false,
            limit: Duration::from_secs(3600),
            sample: Duration::from_secs(1),
            check_every: 500,
        }
    }
}

impl WorldConfig {
    /// The default with so many pieces of 64 KiB.
    #[must_use]
    pub fn with_pieces(pieces: u32) -> Self {
        let config = Self::default();
        Self { total_len: u64::from(pieces) * u64::from(config.piece_len), ..config }
    }

    pub(super) fn layout(&self) -> PieceLayout {
        PieceLayout::contiguous(self.total_len, self.piece_len)
    }
}

/// How a node is made.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Payload bytes per second it can send.
    pub up: u64,
    /// Payload bytes per second it can receive.
    pub down: u64,
    /// Whether it begins with every piece, or says so.
    pub seed: bool,
    /// Whether it cannot be dialled: a NAT is in the way.
    pub unreachable: bool,
    /// Super-seeding (BEP 16).
    pub super_seeding: bool,
    /// Connections at most.
    pub max_peers: usize,
    /// Its disk.
    pub disk: DiskConfig,
    /// Leaves so long after it has everything; `None`: it stays.
    pub leaves: Option<Duration>,
    /// Lives in this small network together with all others that have the same number.
    pub subnet: Option<u8>,
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
            max_peers: 100,
            disk: DiskConfig::default(),
            leaves: None,
            subnet: None,
            behaviour: Behaviour::Honest,
        }
    }

    /// A node that does `behaviour`; 10 MB/s each way.
    #[must_use]
    pub fn adversary(behaviour: Behaviour) -> Self {
        let seed = behaviour.claims_everything();
        let max_peers = if behaviour == Behaviour::LargeView { 1_000 } else { 100 };
        Self { seed, max_peers, behaviour, ..Self::leech() }
    }
}
