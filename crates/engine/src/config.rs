//! What a user of the engine chooses: plain data, bounded where it is used.

use crate::limits::{AlternativeLimits, RateLimits};
use crate::network::{Bind, Egress};
use samara_disk::{Allocation, Storage};
use samara_wire::ip_filter::IpFilter;
use samara_wire::metainfo::Metainfo;
use samara_wire::mse::Policy;
use samara_wire::proxy::ProxyUrl;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// How a session is to run. `Default` is what a user wants.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Port to listen on, TCP and UDP, IPv4 and IPv6. 0: the system chooses.
    pub port: u16,
    /// Whether peers are spoken with by TCP.
    pub tcp: bool,
    /// Whether peers are spoken with by uTP (BEP 29), which gives way to other traffic.
    pub utp: bool,
    /// Addresses and interfaces to listen on and to connect from; nothing leaves by others. Empty: all.
    pub bind: Vec<Bind>,
    /// What all traffic goes through. Then nothing is listened on, no port mapped, and the local network not used: no packet
    /// leaves beside the proxy, whatever fails. Its own name is looked up by the system, and no other. UDP trackers, uTP and the DHT
    /// work if it carries datagrams; see `proxy_udp`.
    pub proxy: Option<ProxyUrl>,
    /// Whether a SOCKS5 proxy is asked to carry datagrams, too. If it is not, or refuses, there are no UDP trackers, no uTP and no
    /// DHT.
    pub proxy_udp: bool,
    /// Network threads, 1 to [`MAX_SHARDS`](crate::MAX_SHARDS); each torrent lives on one of them.
    pub shards: usize,
    /// Threads that write, read and hash.
    pub disk_threads: usize,
    /// Bytes of block buffers: bounds what is requested and not yet written.
    pub buffer_bytes: usize,
    /// Open files at most.
    pub max_open_files: usize,
    /// Connections at most, over all torrents; fewer if the system grants fewer
    /// ([`raise_open_files_limit`](crate::raise_open_files_limit)).
    pub max_peers: usize,
    /// Connections of one torrent at most.
    pub max_peers_per_torrent: usize,
    /// Connections that are being set up by us at most, over all torrents.
    pub max_half_open: usize,
    /// Addresses with which no peer connection is to be. Trackers are not filtered.
    pub ip_filter: IpFilter,
    /// Where resume data is kept. `None`: nowhere, so existing data is always checked.
    pub state_dir: Option<PathBuf>,
    /// Limits of all torrents together.
    pub limits: RateLimits,
    /// What holds in their place at some hours.
    pub alternative_limits: Option<AlternativeLimits>,
    /// Whether limits, those of torrents too, are for peers on this machine and the local network as well.
    pub limit_local: bool,
    /// Whether the headers of IP and TCP, without those of acknowledgements, count as bytes sent and received.
    pub limit_overhead: bool,
    /// Which connections are encrypted.
    pub encryption: Policy,
    /// Whether files are made sparse or allocated in full.
    pub allocation: Allocation,
    /// The DHT (BEP 5), by which public torrents and magnet links find peers without a tracker. `None`: no part in it.
    pub dht: Option<DhtConfig>,
    /// Whether public torrents are announced to, and looked for on, the local network (BEP 14).
    pub local_discovery: bool,
    /// Whether a gateway is asked to let peers outside connect to us: by PCP, NAT-PMP or UPnP.
    pub port_mapping: bool,
}

/// How a session takes part in the DHT.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DhtConfig {
    /// Nodes by which to join when no others are known, as `HOST:PORT`.
    pub routers: Vec<String>,
    /// Only ask: answer nobody and be remembered by nobody (BEP 43), as is decent for a session of seconds.
    pub read_only: bool,
}

impl Default for DhtConfig {
    /// The routers that are kept up for everybody.
    fn default() -> Self {
        let routers = [
            "dht.libtorrent.org:25401",
            "router.bittorrent.com:6881",
            "router.utorrent.com:6881",
            "dht.transmissionbt.com:6881",
        ];
        Self { routers: routers.map(str::to_owned).to_vec(), read_only: false }
    }
}

impl Default for SessionConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            port: 0,
            tcp: true,
            utp: true,
            bind: Vec::new(),
            proxy: None,
            proxy_udp: true,
            shards: 1,
            disk_threads: cores.clamp(2, 8),
            buffer_bytes: 24 << 20,
            max_open_files: 256,
            max_peers: 500,
            max_peers_per_torrent: 100,
            max_half_open: 50,
            ip_filter: IpFilter::default(),
            state_dir: None,
            limits: RateLimits::default(),
            alternative_limits: None,
            limit_local: false,
            limit_overhead: false,
            encryption: Policy::Prefer,
            allocation: Allocation::Sparse,
            dht: Some(DhtConfig::default()),
            local_discovery: true,
            port_mapping: true,
        }
    }
}

impl SessionConfig {
    /// How packets are to leave this machine.
    pub(crate) fn egress(&self) -> Egress {
        Egress { bind: self.bind.clone(), proxy: self.proxy.clone(), proxy_udp: self.proxy_udp }
    }

    /// Without all that would pass beside the proxy, if there is one.
    pub(crate) fn confined(self) -> Self {
        let Some(proxy) = &self.proxy else { return self };
        let datagrams = self.proxy_udp && proxy.scheme.carries_datagrams();
        if !datagrams && (self.dht.is_some() || self.utp) {
            tracing::info!("no DHT and no uTP: datagrams do not go through the proxy {proxy}");
        }
        Self {
            dht: self.dht.filter(|_| datagrams),
            utp: self.utp && datagrams,
            // There has to be one.
            tcp: self.tcp || !(self.utp && datagrams),
            local_discovery: false,
            port_mapping: false,
            ..self
        }
    }
}

/// A torrent to be added, and how. Start from [`AddTorrent::new`].
#[derive(Clone, Debug)]
pub struct AddTorrent {
    /// What to download or seed.
    pub metainfo: Metainfo,
    /// Directory under which the torrent's files are.
    pub dir: PathBuf,
    /// Peers to connect to at once.
    pub peers: Vec<SocketAddr>,
    /// Indices of files wanted; `None`: all.
    pub files: Option<Vec<usize>>,
    /// Pieces in order rather than rarest first.
    pub sequential: bool,
    /// Check what is there, but start nothing until [`crate::Torrent::resume`].
    pub paused: bool,
    /// Super-seeding (BEP 16).
    pub super_seeding: bool,
    /// Never download: what is lost of complete data is no longer offered, and its files are not written to.
    pub upload_only: bool,
    /// What to do with data already there.
    pub existing: Existing,
    /// Announce to the trackers.
    pub announce: bool,
    /// Look for peers by the other ways that the session has: DHT, local network. Never done for a private torrent.
    pub seek: bool,
    /// Its own limits, below those of the session.
    pub limits: RateLimits,
    /// Keep the data elsewhere than in files below `dir`.
    pub storage: Option<CustomStorage>,
}

impl AddTorrent {
    /// All files of the torrent, into `dir`, resuming what is there, announcing to its trackers.
    #[must_use]
    pub fn new(metainfo: Metainfo, dir: impl Into<PathBuf>) -> Self {
        Self {
            metainfo,
            dir: dir.into(),
            peers: Vec::new(),
            files: None,
            sequential: false,
            paused: false,
            super_seeding: false,
            upload_only: false,
            existing: Existing::Resume,
            announce: true,
            seek: true,
            limits: RateLimits::default(),
            storage: None,
        }
    }
}

/// What to do with data found where a torrent is to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Trust resume data where file identities match, check the rest.
    Resume,
    /// Check all.
    Check,
    /// Take for granted that all data is there and right; a piece that cannot be read is withdrawn.
    Trust,
}

/// An embedder's own storage for one torrent.
#[derive(Clone)]
pub struct CustomStorage(pub Arc<dyn Storage>);

impl fmt::Debug for CustomStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomStorage")
    }
}
