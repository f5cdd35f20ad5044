//! What all threads of a session share: settings, disk, budgets, and the directory of torrents.

use crate::clock::Clock;
use crate::command::{ShardCommand, TorrentId};
use crate::config::SessionConfig;
use crate::connections::{Connections, Full, Place};
use crate::dial::{MAX_PUNCHES, Manners, Transports};
use crate::discovery::Discovery;
use crate::ip_filter::SessionFilter;
use crate::limits::SessionLimits;
use crate::mapping::PortMappingStatus;
use crate::network::Network;
use crate::open_files;
use crate::resolve::Doors;
use crate::resume::Keeping;
use crate::torrent::{Torrent, TorrentShared};
use crate::tracker::gate::Gate;
use crate::udp::Carrier;
use crate::utp::Hubs;
use samara_disk::Disk;
use samara_swarm::peer_list::is_local;
use samara_wire::id::{InfoHashes, PeerId, WireHash};
use samara_wire::mse::SkeyHash;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Semaphore, mpsc, watch};

/// Shared by all shards and handles of a session.
pub(crate) struct Shared {
    pub(crate) config: SessionConfig,
    pub(crate) clock: Clock,
    pub(crate) disk: Disk,
    /// What goes by uTP.
    pub(crate) hubs: Hubs,
    pub(crate) transports: Transports,
    pub(crate) discovery: Arc<Discovery>,
    /// Links that are being resolved.
    pub(crate) doors: Arc<Doors>,
    /// Nodes in the tables of the DHT.
    pub(crate) dht_nodes: AtomicU32,
    peer_id: Mutex<PeerId>,
    /// Announce key (BEP 7).
    pub(crate) key: u32,
    pub(crate) network: Network,
    /// What carries datagrams by way of a proxy, if it is to.
    pub(crate) carrier: Option<Arc<Carrier>>,
    /// The port listened on, and that by which we are reached from outside.
    port: u16,
    outer_port: AtomicU16,
    /// Of IPv4 and of IPv6.
    pub(crate) port_mapping: watch::Sender<[PortMappingStatus; 2]>,
    pub(crate) limits: Arc<SessionLimits>,
    /// Where and when resume data is written.
    pub(crate) keeping: Keeping,
    /// What peers were found to speak.
    pub(crate) manners: Manners,
    pub(crate) ip_filter: SessionFilter,
    connections: Arc<Connections>,
    /// One permit for each connection being set up by us.
    pub(crate) half_open: Semaphore,
    /// The same for connections that both ends begin at once.
    pub(crate) punches: Semaphore,
    /// Where announces of all torrents wait for their turn.
    pub(crate) announces: Arc<Gate>,
    pub(crate) shards: Vec<mpsc::UnboundedSender<ShardCommand>>,
    /// Torrents that download at present, over all shards: block buffers are shared among them.
    takers: AtomicUsize,
    directory: Mutex<Directory>,
}

/// Counts a torrent among those that share the block buffers, as long as it is kept.
pub(crate) struct Taker(Arc<Shared>);

impl Drop for Taker {
    fn drop(&mut self) {
        self.0.takers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The torrents of a session. Locked for a look-up at a time; never while anything waits.
#[derive(Default)]
struct Directory {
    /// In the order they were added.
    torrents: Vec<Arc<TorrentShared>>,
    /// By each of the names that peers may use.
    by_hash: BTreeMap<WireHash, Arc<TorrentShared>>,
    /// Those names, by the hash that encrypted connections give instead.
    by_skey: BTreeMap<SkeyHash, WireHash>,
    next_id: u64,
    closed: bool,
}

/// What [`Shared`] is made of.
pub(crate) struct SharedParts {
    pub(crate) config: SessionConfig,
    pub(crate) disk: Disk,
    pub(crate) discovery: Arc<Discovery>,
    pub(crate) peer_id: PeerId,
    pub(crate) key: u32,
    pub(crate) network: Network,
    pub(crate) port: u16,
    pub(crate) shards: Vec<mpsc::UnboundedSender<ShardCommand>>,
    pub(crate) clock: Clock,
    pub(crate) hubs: Hubs,
    pub(crate) keeping: Keeping,
}

/// Why a torrent has no place in the directory.
pub(crate) enum Refused {
    Duplicate,
    Closed,
}

impl Shared {
    pub(crate) fn new(parts: SharedParts) -> Self {
        let SharedParts { mut config, disk, discovery, peer_id, key, .. } = parts;
        let SharedParts { network, port, shards, clock, hubs, keeping, .. } = parts;
        let carries = network.binding().proxy().is_some_and(|proxy| proxy.carries_datagrams());
        Self {
            clock,
            transports: Transports::new(config.tcp, config.utp),
            hubs,
            keeping,
            limits: SessionLimits::new(&config, clock),
            ip_filter: SessionFilter::new(std::mem::take(&mut config.ip_filter)),
            connections: Connections::new(open_files::connections(config.max_peers)),
            half_open: Semaphore::new(config.max_half_open.clamp(1, Semaphore::MAX_PERMITS)),
            punches: Semaphore::new(MAX_PUNCHES),
            announces: Gate::new(),
            manners: Manners::default(),
            takers: AtomicUsize::new(0),
            directory: Mutex::default(),
            config,
            disk,
            discovery,
            doors: Arc::default(),
            dht_nodes: AtomicU32::new(0),
            peer_id: Mutex::new(peer_id),
            key,
            network,
            carrier: carries.then(Arc::default),
            port,
            outer_port: AtomicU16::new(port),
            port_mapping: watch::Sender::default(),
            shards,
        }
    }

    /// Enters a torrent that `make` builds from its id and shard.
    pub(crate) fn enter(
        &self,
        hashes: InfoHashes,
        make: impl FnOnce(TorrentId, usize) -> TorrentShared,
    ) -> Result<Arc<TorrentShared>, Refused> {
        let mut directory = self.directory();
        if directory.closed {
            return Err(Refused::Closed);
        }
        if hashes.names().any(|name| directory.by_hash.contains_key(&name)) {
            return Err(Refused::Duplicate);
        }
        let id = TorrentId(directory.next_id);
        let shard = usize::try_from(directory.next_id).unwrap_or(0) % self.shards.len().max(1);
        directory.next_id += 1;
        let torrent = Arc::new(make(id, shard));
        directory.torrents.push(Arc::clone(&torrent));
        for name in hashes.names() {
            directory.by_hash.insert(name, Arc::clone(&torrent));
            directory.by_skey.insert(SkeyHash::of(name), name);
        }
        Ok(torrent)
    }

    /// Strikes a torrent out.
    pub(crate) fn leave(&self, id: TorrentId) {
        let mut directory = self.directory();
        directory.torrents.retain(|t| t.id != id);
        directory.by_hash.retain(|_, t| t.id != id);
        let Directory { by_hash, by_skey, .. } = &mut *directory;
        by_skey.retain(|_, name| by_hash.contains_key(name));
    }

    /// Counts a torrent as one that downloads, until what is returned is dropped.
    pub(crate) fn enter_taker(self: &Arc<Self>) -> Taker {
        self.takers.fetch_add(1, Ordering::Relaxed);
        Taker(Arc::clone(self))
    }

    /// Number of torrents that download, at least one.
    pub(crate) fn takers(&self) -> usize {
        self.takers.load(Ordering::Relaxed).max(1)
    }

    /// From now on nothing is entered.
    pub(crate) fn close(&self) {
        self.directory().closed = true;
    }

    /// The torrent that peers call `hash`.
    pub(crate) fn find(&self, hash: &WireHash) -> Option<Arc<TorrentShared>> {
        self.directory().by_hash.get(hash).cloned()
    }

    /// The name of the torrent, or of the link that is being resolved, that an encrypted connection is for.
    pub(crate) fn find_skey(&self, skey: SkeyHash) -> Option<WireHash> {
        let known = self.directory().by_skey.get(&skey).copied();
        known.or_else(|| self.doors.find_skey(skey))
    }

    /// A place among the connections of the session for one with `ip`.
    pub(crate) fn place(&self, ip: IpAddr) -> Result<Place, Full> {
        self.connections.enter(ip)
    }

    /// Handles to all torrents.
    pub(crate) fn torrents(&self) -> Vec<Torrent> {
        self.directory().torrents.iter().map(|t| Torrent(Arc::clone(t))).collect()
    }

    /// The port of our DHT node that peers are told, if there is one. That of a relay at a proxy is not known here.
    pub(crate) fn dht_port(&self) -> Option<u16> {
        self.config.dht.as_ref().filter(|_| self.carrier.is_none()).map(|_| self.port)
    }

    /// Whether there is any way to find peers but to be told of them. Behind a proxy that is known when it has said whether it carries
    /// datagrams.
    pub(crate) async fn has_finders(&self) -> bool {
        let refused = match &self.carrier {
            // The DHT is all there is with a proxy.
            Some(carrier) => carrier.is_refused().await,
            None => false,
        };
        self.discovery.has_finders() && !refused
    }

    /// Nodes of the DHT that are known, if we take part in it.
    pub(crate) fn dht_nodes(&self) -> Option<u32> {
        self.config.dht.as_ref().map(|_| self.dht_nodes.load(Ordering::Relaxed))
    }

    /// By which we name ourselves to peers.
    pub(crate) fn peer_id(&self) -> PeerId {
        *self.peer_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on we name ourselves to peers by `id`.
    pub(crate) fn set_peer_id(&self, id: PeerId) {
        *self.peer_id.lock().unwrap_or_else(PoisonError::into_inner) = id;
    }

    /// The port listened on.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// The port by which peers in the world reach us over IPv4: that listened on, unless a gateway gave another.
    pub(crate) fn outer_port(&self) -> u16 {
        self.outer_port.load(Ordering::Relaxed)
    }

    /// The port by which one at `ip` reaches us. On the local network no gateway is between us, and with IPv6 none that translates.
    pub(crate) fn port_for(&self, ip: IpAddr) -> u16 {
        let translated = ip.is_ipv4() && !is_local(ip);
        if translated { self.outer_port() } else { self.port }
    }

    pub(crate) fn set_outer_port(&self, port: u16) {
        self.outer_port.store(port, Ordering::Relaxed);
    }

    fn directory(&self) -> MutexGuard<'_, Directory> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
