//! The plain data that crosses the seam with the shell.

use crate::announcer::AnnouncerConfig;
use crate::choker::ChokerConfig;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use samara_wire::id::{PeerId, WireHash};
use samara_wire::peer::handshake::Reserved;

/// Names a connected peer. Never used again for another while the torrent lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PeerKey {
    /// Place in the table of peers; small, so that a shell can use it as an index.
    pub slot: u32,
    /// Tells successive users of the slot apart.
    pub generation: u32,
}

/// Plain data that shapes a torrent's behaviour. `Default` is what a user wants, but for `seed` and `peer_id`.
#[derive(Clone, Debug)]
pub struct TorrentConfig {
    /// Seeds everything random in the torrent.
    pub seed: u64,
    /// Our peer id.
    pub peer_id: PeerId,
    /// Announce key (BEP 7), by which trackers know us when our address changes: stable for a session.
    pub key: u32,
    /// The port we listen on, as announced; 0 if we do not.
    pub listen_port: u16,
    /// The port by which peers outside the local network reach us over IPv4, where that is another one.
    pub outer_port: Option<u16>,
    /// Connections at most.
    pub max_peers: usize,
    /// Unchoke slots at least; more are opened as the measured upload allows.
    pub upload_slots: usize,
    /// Private torrent (BEP 27): peers from trackers and the user only.
    pub private: bool,
    /// Super-seeding (BEP 16), once complete.
    pub super_seeding: bool,
    /// Pieces in order rather than rarest first.
    pub sequential: bool,
    /// Tracker tiers (BEP 12).
    pub trackers: Vec<Vec<String>>,
    /// Whether peers are sought without trackers too ([`crate::Effect::Seek`]); never for a private torrent.
    pub seek: bool,
    /// The port of our DHT node, told to peers that have one (BEP 5); never by a private torrent.
    pub dht_port: Option<u16>,
    /// Whether there is uTP, so that holes can be punched and others helped to do so (BEP 55); never by a private torrent.
    pub holepunch: bool,
    /// Our name and version as told in the extension handshake (BEP 10).
    pub client_version: &'static str,
}

impl Default for TorrentConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            peer_id: PeerId::ours(*b"0100", [0; 12]),
            key: 0,
            listen_port: 0,
            outer_port: None,
            max_peers: 100,
            upload_slots: 4,
            private: false,
            super_seeding: false,
            sequential: false,
            trackers: Vec::new(),
            seek: true,
            dht_port: None,
            holepunch: false,
            client_version: concat!("samara/", env!("CARGO_PKG_VERSION")),
        }
    }
}

/// How a connection came about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// They dialled us.
    Incoming,
    /// We dialled them, as [`crate::Effect::Dial`] or [`crate::Effect::Punch`] asked.
    Outgoing,
}

/// A connection whose handshake is done.
#[derive(Clone, Copy, Debug)]
pub struct NewPeer {
    /// The other end's address as the socket tells it.
    pub addr: SocketAddr,
    /// Who dialled.
    pub direction: Direction,
    /// Whether it is a uTP connection (BEP 29) rather than TCP.
    pub utp: bool,
    /// The other end's peer id.
    pub peer_id: PeerId,
    /// What the other end can do.
    pub reserved: Reserved,
}

/// Where an address of a peer was learned.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PeerSource {
    /// The user named it.
    User,
    /// A tracker named it.
    Tracker,
    /// It connected to us.
    Incoming,
    /// A peer named it (BEP 11).
    Pex,
    /// A node of the DHT named it (BEP 5).
    Dht,
    /// It announced itself on the local network (BEP 14).
    Local,
}

/// What to do with the payload of a `piece` message whose header was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockVerdict {
    /// Read it into a block buffer, then call `handle_block`.
    Wanted,
    /// Read and throw it away; it counts as waste. The connection stays.
    Unwanted,
    /// The peer broke the protocol; the core has put `Disconnect` in the outbox.
    Fault,
}

/// SHA-1 of each 16 KiB block of a piece, in order.
pub type BlockDigests = Box<[[u8; 20]]>;

/// Counters and rates of a torrent.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct TorrentStats {
    /// Verified pieces.
    pub pieces_have: u32,
    /// All pieces.
    pub pieces_total: u32,
    /// Bytes of wanted pieces.
    pub wanted_bytes: u64,
    /// Bytes of wanted pieces that are verified.
    pub wanted_have_bytes: u64,
    /// Bytes of verified pieces, wanted or not.
    pub have_bytes: u64,
    /// Payload received in this run, waste included.
    pub downloaded: u64,
    /// Payload sent in this run.
    pub uploaded: u64,
    /// Payload received and thrown away: duplicates, unwanted.
    pub wasted: u64,
    /// Payload thrown away because its piece did not match.
    pub corrupt: u64,
    /// Payload bytes per second received, smoothed.
    pub down_rate: u64,
    /// Payload bytes per second sent, smoothed.
    pub up_rate: u64,
    /// Connected peers.
    pub peers: u32,
    /// Connected peers that have everything.
    pub seeds: u32,
    /// Known addresses.
    pub known_peers: u32,
    /// Copies of the rarest piece among connected peers.
    pub min_availability: u32,
}

/// A connected peer, for display.
#[derive(Clone, Debug)]
pub struct PeerStats {
    /// Its key.
    pub key: PeerKey,
    /// Its address.
    pub addr: SocketAddr,
    /// Its id.
    pub peer_id: PeerId,
    /// `v` of its extension handshake (BEP 10).
    pub client: Option<String>,
    /// Pieces it has.
    pub pieces: u32,
    /// Bytes per second from it.
    pub down_rate: u64,
    /// Bytes per second to it.
    pub up_rate: u64,
    /// It chokes us.
    pub choking_us: bool,
    /// We choke it.
    pub choked_by_us: bool,
    /// We want something it has.
    pub interested_by_us: bool,
    /// It wants something we have.
    pub interested_in_us: bool,
}

impl TorrentConfig {
    pub(super) fn announcer_config(&self, info_hash: WireHash) -> AnnouncerConfig {
        AnnouncerConfig {
            info_hash,
            peer_id: self.peer_id,
            port: self.outer_port.unwrap_or(self.listen_port),
            key: self.key,
            private: self.private,
        }
    }

    pub(super) fn choker_config(&self) -> ChokerConfig {
        ChokerConfig { min_slots: self.upload_slots, ..ChokerConfig::default() }
    }
}
