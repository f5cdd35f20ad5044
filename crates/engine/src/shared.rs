//! What all threads of a session share: settings, disk, budgets, and the directory of torrents.

use crate::clock::Clock;
use crate::command::{ShardCommand, TorrentId};
use crate::config::SessionConfig;
use crate::limiter::Limiter;
use crate::torrent::{Torrent, TorrentShared};
use samara_disk::Disk;
use samara_wire::id::{InfoHashes, PeerId, WireHash};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Semaphore, mpsc};

/// Connections being set up by us at a time, over all torrents.
const MAX_HALF_OPEN: usize = 50;

/// Shared by all shards and handles of a session.
pub(crate) struct Shared {
    pub(crate) config: SessionConfig,
    pub(crate) clock: Clock,
    pub(crate) disk: Disk,
    pub(crate) peer_id: PeerId,
    /// Announce key (BEP 7).
    pub(crate) key: u32,
    /// The port listened on.
    pub(crate) port: u16,
    pub(crate) limit_down: Limiter,
    pub(crate) limit_up: Limiter,
    /// One permit for each connection.
    pub(crate) connections: Arc<Semaphore>,
    /// One permit for each connection being set up by us.
    pub(crate) half_open: Semaphore,
    pub(crate) shards: Vec<mpsc::UnboundedSender<ShardCommand>>,
    directory: Mutex<Directory>,
}

/// The torrents of a session. Locked for a look-up at a time; never while anything waits.
#[derive(Default)]
struct Directory {
    torrents: Vec<Arc<TorrentShared>>,
    next_id: u64,
    closed: bool,
}

/// What [`Shared`] is made of.
pub(crate) struct SharedParts {
    pub(crate) config: SessionConfig,
    pub(crate) disk: Disk,
    pub(crate) peer_id: PeerId,
    pub(crate) key: u32,
    pub(crate) port: u16,
    pub(crate) shards: Vec<mpsc::UnboundedSender<ShardCommand>>,
}

/// Why a torrent has no place in the directory.
pub(crate) enum Refused {
    Duplicate,
    Closed,
}

impl Shared {
    pub(crate) fn new(parts: SharedParts) -> Self {
        let SharedParts { config, disk, peer_id, key, port, shards } = parts;
        Self {
            clock: Clock::new(),
            limit_down: Limiter::new(config.limit_down),
            limit_up: Limiter::new(config.limit_up),
            connections: Arc::new(Semaphore::new(config.max_peers.min(Semaphore::MAX_PERMITS))),
            half_open: Semaphore::new(MAX_HALF_OPEN),
            directory: Mutex::default(),
            config,
            disk,
            peer_id,
            key,
            port,
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
        let same = |t: &Arc<TorrentShared>| {
            let theirs = t.metainfo.info.hashes();
            theirs.matches(&hashes.wire()) || hashes.matches(&theirs.wire())
        };
        if directory.torrents.iter().any(same) {
            return Err(Refused::Duplicate);
        }
        let id = TorrentId(directory.next_id);
        let shard = usize::try_from(directory.next_id).unwrap_or(0) % self.shards.len().max(1);
        directory.next_id += 1;
        let torrent = Arc::new(make(id, shard));
        directory.torrents.push(Arc::clone(&torrent));
        Ok(torrent)
    }

    /// Strikes a torrent out.
    pub(crate) fn leave(&self, id: TorrentId) {
        self.directory().torrents.retain(|t| t.id != id);
    }

    /// From now on nothing is entered.
    pub(crate) fn close(&self) {
        self.directory().closed = true;
    }

    /// The torrent that peers call `hash`.
    pub(crate) fn find(&self, hash: &WireHash) -> Option<Arc<TorrentShared>> {
        let directory = self.directory();
        directory.torrents.iter().find(|t| t.hashes.matches(hash)).cloned()
    }

    /// Handles to all torrents.
    pub(crate) fn torrents(&self) -> Vec<Torrent> {
        self.directory().torrents.iter().map(|t| Torrent(Arc::clone(t))).collect()
    }

    /// The address to connect from towards `to`. `Err` if the user's choice of addresses has none of that family:
    /// then nothing must go out.
    pub(crate) fn bind_for(&self, to: SocketAddr) -> Result<Option<IpAddr>, NoAddress> {
        let bind = &self.config.bind;
        if bind.is_empty() {
            return Ok(None);
        }
        let same = bind.iter().find(|ip| ip.is_ipv4() == to.is_ipv4());
        same.copied().map(Some).ok_or(NoAddress)
    }

    fn directory(&self) -> MutexGuard<'_, Directory> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// No address of that family may be used.
#[derive(Debug)]
pub(crate) struct NoAddress;
