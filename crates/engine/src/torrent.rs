//! The public handle to one torrent.
//!
//! Questions and wishes go to the torrent's shard as commands; the status and the events come from it through
//! channels that never make the shard wait.

use crate::command::{ShardCommand, TorrentCommand, TorrentId};
use crate::limits::{RateLimits, TorrentLimits};
use crate::status::{Event, Events, State, TorrentStatus};
use samara_swarm::torrent::PeerStats;
use samara_wire::id::InfoHashes;
use samara_wire::metainfo::Metainfo;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::{Notify, broadcast, mpsc, oneshot};

/// Events kept for a slow reader.
const EVENTS_KEPT: usize = 1024;

/// Addresses taken from one call of [`Torrent::add_peers`].
const MAX_ADDED_PEERS: usize = 1000;

/// A torrent in a session. Cheap to clone.
#[derive(Clone)]
pub struct Torrent(pub(crate) Arc<TorrentShared>);

/// What the handles and the shard share of a torrent.
pub(crate) struct TorrentShared {
    pub(crate) id: TorrentId,
    pub(crate) shard: mpsc::UnboundedSender<ShardCommand>,
    pub(crate) shard_index: usize,
    pub(crate) hashes: InfoHashes,
    pub(crate) metainfo: Metainfo,
    pub(crate) dir: PathBuf,
    pub(crate) limits: Arc<TorrentLimits>,
    /// Locked for a copy at a time.
    status: Mutex<TorrentStatus>,
    /// Tells whoever waits that the status has changed.
    status_changed: Notify,
    /// Made when the first reader comes, so that a torrent nobody watches keeps no events.
    events: OnceLock<broadcast::Sender<Event>>,
}

impl TorrentShared {
    pub(crate) fn new(
        id: TorrentId,
        (shard_index, shard): (usize, mpsc::UnboundedSender<ShardCommand>),
        metainfo: Metainfo,
        dir: PathBuf,
        limits: Arc<TorrentLimits>,
        status: TorrentStatus,
    ) -> Self {
        Self {
            id,
            shard,
            shard_index,
            hashes: metainfo.info.hashes(),
            metainfo,
            dir,
            limits,
            status: Mutex::new(status),
            status_changed: Notify::new(),
            events: OnceLock::new(),
        }
    }

    /// The status at present.
    pub(crate) fn status(&self) -> MutexGuard<'_, TorrentStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the status. Gives the one before, if there is a difference.
    pub(crate) fn set_status(&self, next: TorrentStatus) -> Option<TorrentStatus> {
        let mut status = self.status();
        if *status == next {
            return None;
        }
        let before = std::mem::replace(&mut *status, next);
        drop(status);
        self.status_changed.notify_waiters();
        Some(before)
    }

    /// Tells whoever listens.
    pub(crate) fn emit(&self, event: impl FnOnce() -> Event) {
        if let Some(events) = self.events.get().filter(|e| e.receiver_count() > 0) {
            // Fails only if the last reader left this moment.
            let _ = events.send(event());
        }
    }

    pub(crate) fn send(&self, command: TorrentCommand) {
        // Fails only if the session has ended, when nothing is left to be commanded.
        let _ = self.shard.send(ShardCommand::Torrent(self.id, command));
    }
}

impl Torrent {
    /// Its info-hashes.
    #[must_use]
    pub fn hashes(&self) -> InfoHashes {
        self.0.hashes
    }

    /// What it was added with.
    #[must_use]
    pub fn metainfo(&self) -> &Metainfo {
        &self.0.metainfo
    }

    /// Where its files are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// A snapshot, at most 100 ms old while anything moves; never blocks.
    #[must_use]
    pub fn status(&self) -> TorrentStatus {
        self.0.status().clone()
    }

    /// The connected peers. Empty if the session has ended.
    pub async fn peers(&self) -> Vec<PeerStats> {
        let (answer, answered) = oneshot::channel();
        self.0.send(TorrentCommand::Peers(answer));
        answered.await.unwrap_or_default()
    }

    /// Bytes verified of each file, in the order of the metainfo. Empty if the session has ended.
    pub async fn file_progress(&self) -> Vec<u64> {
        let (answer, answered) = oneshot::channel();
        self.0.send(TorrentCommand::FileProgress(answer));
        answered.await.unwrap_or_default()
    }

    /// Ready when the status is one that `accept` accepts, at once if it is already. Also ready, with the
    /// last status, when the torrent has stopped for good.
    pub async fn wait_until(
        &self,
        mut accept: impl FnMut(&TorrentStatus) -> bool,
    ) -> TorrentStatus {
        loop {
            // Made before the look, so that no change goes unnoticed.
            let changed = self.0.status_changed.notified();
            let status = self.status();
            if accept(&status) || status.state == State::Stopped {
                return status;
            }
            changed.await;
        }
    }

    /// Events from now on; slow readers lose the oldest and are told so ([`Event::Lagged`]).
    #[must_use]
    pub fn events(&self) -> Events {
        Events(self.0.events.get_or_init(|| broadcast::Sender::new(EVENTS_KEPT)).subscribe())
    }

    /// Closes all connections and announces `stopped`, until [`Torrent::resume`].
    pub fn pause(&self) {
        self.0.send(TorrentCommand::Pause);
    }

    /// Takes up what [`Torrent::pause`] stopped.
    pub fn resume(&self) {
        self.0.send(TorrentCommand::Resume);
    }

    /// Its own limits.
    #[must_use]
    pub fn limits(&self) -> RateLimits {
        self.0.limits.get()
    }

    /// Changes its own limits at once. Those of the session hold beside them.
    pub fn set_limits(&self, limits: RateLimits) {
        self.0.limits.set(limits);
    }

    /// Tells of more peers; at most 1000 in one call are heeded.
    pub fn add_peers(&self, mut peers: Vec<SocketAddr>) {
        peers.truncate(MAX_ADDED_PEERS);
        self.0.send(TorrentCommand::AddPeers(peers));
    }

    /// Stops and forgets the torrent; deletes its files if asked. Removes resume data.
    pub async fn remove(self, delete_files: bool) {
        let (done, removed) = oneshot::channel();
        self.0.send(TorrentCommand::Remove { delete_files, done });
        // An error says that the session has ended, and the torrent with it.
        let _ = removed.await;
    }
}

impl fmt::Debug for Torrent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Torrent({} {:?})", self.0.hashes.wire(), self.0.metainfo.info.name())
    }
}
