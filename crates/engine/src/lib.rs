//! An embeddable BitTorrent engine. SKELETON: the public API is fixed, bodies to come.
#![expect(unused_variables, missing_docs, clippy::todo, reason = "skeleton")]

pub use samara_disk::{Allocation, CheckProgress};
pub use samara_swarm::torrent::{PeerStats, TorrentStats};
pub use samara_wire as wire;
use samara_wire::id::{InfoHashes, PeerId, WireHash};
use samara_wire::metainfo::Metainfo;
use samara_wire::peer::handshake::Reserved;
use samara_wire::tracker::AnnounceResponse;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Plain data; `Default` is what a user wants.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Port to listen on, TCP, IPv4 and IPv6. 0: the system chooses.
    pub port: u16,
    /// Addresses to listen on and to connect from. Empty: all.
    pub bind: Vec<IpAddr>,
    /// Network threads.
    pub shards: usize,
    /// Disk and hash threads.
    pub disk_threads: usize,
    /// Bytes of block buffers.
    pub buffer_bytes: usize,
    pub max_open_files: usize,
    /// Connections in all / per torrent.
    pub max_peers: usize,
    pub max_peers_per_torrent: usize,
    /// Where resume data is kept. None: nowhere (always check).
    pub state_dir: Option<PathBuf>,
    pub limit_down: Option<u64>,
    pub limit_up: Option<u64>,
    pub allocation: Allocation,
}

/// A running engine. Cheap to clone; runs until `shutdown` or until the last clone is dropped.
/// Its futures need no particular runtime.
#[derive(Clone)]
pub struct Session {}
impl Session {
    /// Binds the sockets and starts the threads.
    pub fn start(config: SessionConfig) -> Result<Self, SessionError> {
        todo!()
    }
    /// The port in fact listened on.
    pub fn port(&self) -> u16 {
        todo!()
    }
    pub fn peer_id(&self) -> PeerId {
        todo!()
    }
    pub async fn add(&self, add: AddTorrent) -> Result<Torrent, AddError> {
        todo!()
    }
    pub fn torrents(&self) -> Vec<Torrent> {
        todo!()
    }
    /// Announces `stopped`, writes resume data, closes everything; within 2 s.
    pub async fn shutdown(&self) {
        todo!()
    }
}

#[derive(Clone, Debug)]
pub struct AddTorrent {
    pub metainfo: Metainfo,
    pub dir: PathBuf,
    /// Peers to connect to at once.
    pub peers: Vec<SocketAddr>,
    /// Indices of files wanted; None: all.
    pub files: Option<Vec<usize>>,
    pub sequential: bool,
    pub paused: bool,
    pub super_seeding: bool,
    /// Start: what to do with data already there.
    pub existing: Existing,
    /// Announce to the trackers.
    pub announce: bool,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Trust resume data where file identities match, check the rest.
    Resume,
    /// Check all.
    Check,
    /// Take for granted that all data is there and right (`--trust`); a piece found wrong when read is withdrawn.
    Trust,
}

/// A torrent in a session. Cheap to clone.
#[derive(Clone)]
pub struct Torrent {}
impl Torrent {
    pub fn hashes(&self) -> InfoHashes {
        todo!()
    }
    pub fn metainfo(&self) -> &Metainfo {
        todo!()
    }
    pub fn dir(&self) -> &std::path::Path {
        todo!()
    }
    /// A snapshot, at most 100 ms old; never blocks.
    pub fn status(&self) -> TorrentStatus {
        todo!()
    }
    pub async fn peers(&self) -> Vec<PeerStats> {
        todo!()
    }
    /// Bytes verified of each file.
    pub async fn file_progress(&self) -> Vec<u64> {
        todo!()
    }
    /// Ready when the state is one that `f` accepts (also at once).
    pub async fn wait_until(&self, f: impl FnMut(&TorrentStatus) -> bool) -> TorrentStatus {
        todo!()
    }
    /// Events from now on; slow readers lose the oldest and are told so (`Event::Lagged(n)`).
    pub fn events(&self) -> Events {
        todo!()
    }
    pub fn pause(&self) {}
    pub fn resume(&self) {}
    pub fn add_peers(&self, peers: Vec<SocketAddr>) {}
    /// Stops and forgets the torrent; deletes its files if asked. Removes resume data.
    pub async fn remove(self, delete_files: bool) {
        todo!()
    }
}

#[derive(Clone, Debug)]
pub struct TorrentStatus {
    pub state: State,
    pub stats: TorrentStats,
    /// Bytes hashed / to hash while `Checking`.
    pub checked_bytes: u64,
    pub check_total_bytes: u64,
    /// Last trouble with a tracker, for the user, if no tracker works.
    pub tracker_error: Option<String>,
    pub trackers_answered: u32,
}
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    Checking,
    Downloading,
    /// Everything wanted is here (and durable: resume data written).
    Seeding,
    Paused,
    /// Paused by trouble; tries again by itself.
    Failed(TorrentError),
    Stopped,
}
#[derive(Clone, Debug, PartialEq)]
pub struct TorrentError {
    pub kind: ErrorKind,
    pub message: String,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    NoSpace,
    Permission,
    ReadOnly,
    Io,
}

pub struct Events {}
impl Events {
    pub async fn next(&mut self) -> Option<Event> {
        todo!()
    }
}
/// What happened to a torrent.
#[derive(Clone, Debug)]
pub enum Event {
    Swarm(samara_swarm::Event),
    StateChanged(State),
    Lagged(u64),
}

#[derive(Debug, thiserror::Error)]
#[error("session")]
pub struct SessionError {}
#[derive(Debug, thiserror::Error)]
#[error("add")]
pub struct AddError {}

/// One-shot operations for `peers`, `handshake`, `piece`, and URL sources; each with its own time limit.
pub mod probe {
    use super::*;
    /// Ask every tracker once; (url, answer).
    pub async fn announce_all(
        metainfo: &Metainfo,
        bind: &[IpAddr],
        timeout: Duration,
    ) -> Vec<(String, Result<AnnounceResponse, String>)> {
        todo!()
    }
    #[derive(Clone, Debug)]
    pub struct HandshakeInfo {
        pub peer_id: PeerId,
        pub reserved: Reserved,
        pub client: Option<String>,
        pub extensions: Vec<(String, u8)>,
        pub reqq: Option<u32>,
        pub pieces: Option<u32>,
    }
    pub async fn handshake(
        addr: SocketAddr,
        hash: WireHash,
        timeout: Duration,
    ) -> Result<HandshakeInfo, ProbeError> {
        todo!()
    }
    /// Fetch a `.torrent` by HTTP(S): at most 32 MiB, bounded redirects.
    pub async fn fetch_torrent(url: &str, timeout: Duration) -> Result<Vec<u8>, ProbeError> {
        todo!()
    }
    #[derive(Debug, thiserror::Error)]
    #[error("probe")]
    pub struct ProbeError {}
}

/// A small tracker, HTTP and UDP on one port.
pub mod tracker_server {
    use super::*;
    #[derive(Clone, Debug)]
    pub struct TrackerServerConfig {
        pub bind: Vec<SocketAddr>,
        pub interval: Duration,
        /// Only these; empty: any
        pub allow: Vec<WireHash>,
        /// Files served by GET /NAME (share's .torrent)
        pub files: Vec<(String, Vec<u8>)>,
    }
    pub struct TrackerServer {}
    impl TrackerServer {
        pub fn start(config: TrackerServerConfig) -> std::io::Result<Self> {
            todo!()
        }
        pub fn port(&self) -> u16 {
            todo!()
        }
        pub fn shutdown(self) {}
    }
}
