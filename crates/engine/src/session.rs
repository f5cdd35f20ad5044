//! The public handle to a running engine.

use crate::clock::Clock;
use crate::command::ShardCommand;
use crate::config::{AddTorrent, SessionConfig};
use crate::dht::{self, DhtHandle};
use crate::discovery::Discovery;
use crate::error::{AddError, SessionError};
use crate::limits::{AlternativeLimits, RateLimits, TorrentLimits};
use crate::listen::{self, Protocols};
use crate::mapping::PortMappingStatus;
use crate::network::Network;
use crate::resume::Keeping;
use crate::shard::{self, ShardInputs};
use crate::shared::{Refused, Shared, SharedParts};
use crate::state_files;
use crate::status::{State, TorrentStatus};
use crate::torrent::{Torrent, TorrentShared};
use crate::tracker::unguessable;
use crate::utp::Hubs;
use samara_disk::{Disk, DiskConfig};
use samara_swarm::torrent::TorrentStats;
use samara_wire::id::PeerId;
use samara_wire::ip_filter::IpFilter;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// Our version as four characters of the peer id (BEP 20).
const VERSION: [u8; 4] = *b"0100";

/// Most network threads ([`SessionConfig::shards`]).
pub const MAX_SHARDS: usize = 64;

/// A running engine. Cheap to clone; runs until [`Session::shutdown`], or until the last clone is dropped,
/// which stops it the same way but waits for nothing. Its futures need no particular runtime.
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    dht: Option<DhtHandle>,
}

impl Session {
    /// Binds the sockets and starts the threads.
    ///
    /// # Errors
    /// If a port is in use or a resource of the system is lacking.
    pub fn start(config: SessionConfig) -> Result<Self, SessionError> {
        Self::start_with(config, dht::system_lookup(), Keeping::default())
    }

    /// The same, with another way to look up the names of DHT nodes, and to keep resume data.
    pub(crate) fn start_with(
        config: SessionConfig,
        lookup: dht::Lookup,
        keeping: Keeping,
    ) -> Result<Self, SessionError> {
        let config = config.confined();
        if let Some(path) = &config.state_dir {
            state_files::create_dir(path)
                .map_err(|source| SessionError::StateDir { path: path.clone(), source })?;
        }
        let has_dht = config.dht.is_some();
        let network = Network::new(&config.egress());
        let protocols = Protocols::of(&config);
        let listeners = listen::bind(&network.binding(), config.port, protocols)?;
        let port = listeners.port;
        let disk = Disk::start(DiskConfig {
            threads: config.disk_threads.max(1),
            buffer_bytes: config.buffer_bytes,
            max_open_files: config.max_open_files.max(1),
            allocation: config.allocation,
            ..DiskConfig::default()
        })
        .map_err(|source| SessionError::Start { what: "the disk threads", source })?;
        let count = config.shards.clamp(1, MAX_SHARDS);
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..count).map(|_| mpsc::unbounded_channel()).unzip();
        let (discovery, finders) = Discovery::new(has_dht, config.local_discovery);
        let clock = Clock::new();
        let (hubs, arrivals) = Hubs::new(config.utp, clock);
        let shared = Arc::new(Shared::new(SharedParts {
            config,
            disk,
            discovery,
            peer_id: random_peer_id(),
            key: u32::try_from(unguessable() >> 32).unwrap_or(0),
            network,
            port,
            shards: senders,
            clock,
            hubs,
            keeping,
        }));
        let (requests, dht_requests) = mpsc::unbounded_channel();
        let dht = has_dht.then(|| DhtHandle(requests));
        let session = Self(Arc::new(Inner { shared, threads: Mutex::default(), dht }));
        let mut inputs = Some(ShardInputs { listeners, arrivals, finders, dht_requests, lookup });
        for (index, commands) in receivers.into_iter().enumerate() {
            let thread =
                shard::spawn(index, Arc::clone(&session.0.shared), commands, inputs.take())
                    .map_err(|source| SessionError::Start { what: "a network thread", source })?;
            session.0.threads().push(thread);
        }
        Ok(session)
    }

    /// The port in fact listened on. With a proxy nothing is listened on, and this is the port of nobody that trackers are told.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.shared.port()
    }

    /// How it stands with port mapping: for IPv4 and for IPv6.
    #[must_use]
    pub fn port_mapping(&self) -> [PortMappingStatus; 2] {
        self.0.shared.port_mapping.borrow().clone()
    }

    /// Waits until it stands so with port mapping that `accept` accepts it; at once if it does already.
    pub async fn wait_port_mapping(
        &self,
        mut accept: impl FnMut(&[PortMappingStatus; 2]) -> bool,
    ) -> [PortMappingStatus; 2] {
        let mut status = self.0.shared.port_mapping.subscribe();
        match status.wait_for(|status| accept(status)).await {
            Ok(found) => found.clone(),
            // Not while the session is there.
            Err(_) => self.port_mapping(),
        }
    }

    /// By which the session names itself to peers and trackers. Where an address of ours has gone away, peers are told another one
    /// from then on: some of them still hold the old connection, and would refuse us as the same peer.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.0.shared.peer_id()
    }

    /// Access to the DHT, if the session takes part in it.
    #[must_use]
    pub fn dht(&self) -> Option<DhtHandle> {
        self.0.dht.clone()
    }

    /// Adds a torrent and begins to check what is there. That it was added is not kept: a session that is started anew has no
    /// torrents until they are added again, and finds of each what its record tells.
    ///
    /// # Errors
    /// If it is there already, asks for files it has not, or the session was shut down.
    #[expect(clippy::unused_async, reason = "a later engine may keep the torrents it has")]
    pub async fn add(&self, add: AddTorrent) -> Result<Torrent, AddError> {
        let shared = &self.0.shared;
        let files = add.metainfo.info.files().len();
        if let Some(&index) = add.files.iter().flatten().find(|&&index| index >= files) {
            return Err(AddError::NoSuchFile { index, files });
        }
        let hashes = add.metainfo.info.hashes();
        let torrent = shared
            .enter(hashes, |id, shard| {
                let channel = (shard, shared.shards[shard].clone());
                let status = first_status(&add);
                let limits = TorrentLimits::new(&shared.limits, add.limits);
                let (metainfo, dir) = (add.metainfo.clone(), add.dir.clone());
                TorrentShared::new(id, channel, metainfo, dir, limits, status)
            })
            .map_err(|refused| match refused {
                Refused::Duplicate => AddError::Duplicate(hashes.wire()),
                Refused::Closed => AddError::ShutDown,
            })?;
        let command = ShardCommand::Add(Box::new(add), Arc::clone(&torrent));
        torrent.shard.send(command).map_err(|_| AddError::ShutDown)?;
        Ok(Torrent(torrent))
    }

    /// The torrents, in the order they were added.
    #[must_use]
    pub fn torrents(&self) -> Vec<Torrent> {
        self.0.shared.torrents()
    }

    /// For work that belongs to no torrent.
    pub(crate) fn to_first_shard(&self, command: ShardCommand) {
        // Fails only if the session was shut down, which whoever waits for an answer finds out.
        let _ = self.0.shared.shards[0].send(command);
    }

    /// The limits of all torrents together that hold at this hour.
    #[must_use]
    pub fn limits(&self) -> RateLimits {
        self.0.shared.limits.get()
    }

    /// Changes the limits of all torrents together, at once, or for when the alternative ones hold no longer.
    pub fn set_limits(&self, limits: RateLimits) {
        self.0.shared.limits.set(limits);
    }

    /// Changes what holds in their place at some hours, at once if it is such an hour.
    pub fn set_alternative_limits(&self, alternative: Option<AlternativeLimits>) {
        self.0.shared.limits.set_alternative(alternative);
    }

    /// Puts another filter of addresses in place of the one there is. Connections with peers that it blocks end.
    /// Lists in files are read by [`crate::read_ip_filter`].
    pub fn set_ip_filter(&self, filter: IpFilter) {
        self.0.shared.ip_filter.set(filter);
        for shard in &self.0.shared.shards {
            // Fails only if the session was shut down, with all its connections.
            let _ = shard.send(ShardCommand::FilterChanged);
        }
    }

    /// Announces `stopped`, writes resume data, closes everything; within 2 s.
    pub async fn shutdown(&self) {
        for done in self.0.stop() {
            // An error says that the shard has ended before.
            let _ = done.await;
        }
        for thread in self.0.threads().drain(..) {
            // The thread has told that it is done; what is left takes microseconds. A panic in it was
            // reported when it happened.
            let _ = thread.join();
        }
    }
}

impl Inner {
    /// Tells the shards to stop; each answers when it has.
    fn stop(&self) -> Vec<oneshot::Receiver<()>> {
        self.shared.close();
        let tell = |shard: &mpsc::UnboundedSender<ShardCommand>| {
            let (done, wait) = oneshot::channel();
            shard.send(ShardCommand::Shutdown(done)).ok().map(|()| wait)
        };
        self.shared.shards.iter().filter_map(tell).collect()
    }

    fn threads(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.stop());
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({} on port {})", self.peer_id(), self.port())
    }
}

fn first_status(add: &AddTorrent) -> TorrentStatus {
    let info = &add.metainfo.info;
    let stats = TorrentStats { pieces_total: info.layout().count(), ..TorrentStats::default() };
    TorrentStatus {
        state: State::Checking,
        stats,
        checked_bytes: 0,
        check_total_bytes: 0,
        offline: None,
        tracker_error: None,
        tracker_warning: None,
        trackers_answered: 0,
    }
}

pub(crate) fn random_peer_id() -> PeerId {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&unguessable().to_le_bytes());
    bytes[8..].copy_from_slice(&unguessable().to_le_bytes()[..4]);
    PeerId::ours(VERSION, bytes)
}
