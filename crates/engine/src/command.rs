//! What is sent to a shard: the public API's wishes, incoming connections, finished disk jobs.
//!
//! The channels are unbounded by type and bounded by use: disk jobs by the block buffers they hold and the
//! read limit of each peer, connections by the number of pending handshakes, the rest by its caller, who
//! waits for the answer or says little.

use crate::config::AddTorrent;
use crate::discovery::Found;
use crate::greet::Incoming;
use crate::network::Move;
use crate::torrent::TorrentShared;
use crate::trackers::{TrackerEdit, TrackerEditError, TrackerInfo};
use samara_disk::{PieceOutcome, ReadBlock, StorageError};
use samara_swarm::PeerKey;
use samara_swarm::torrent::PeerStats;
use samara_wire::id::{BlockRef, PieceIndex};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Names a torrent inside a session; never used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct TorrentId(pub(crate) u64);

/// To a shard.
pub(crate) enum ShardCommand {
    /// A torrent to be run from now on.
    Add(Box<AddTorrent>, Arc<TorrentShared>),
    /// To one torrent.
    Torrent(TorrentId, TorrentCommand),
    /// A disk job is done.
    Disk(TorrentId, DiskDone),
    /// A peer that named a torrent of this shard.
    Incoming(TorrentId, Incoming),
    /// A magnet link to be resolved.
    Resolve(Box<crate::resolve::Job>),
    /// How peers outside reach us has changed: our address there, if it is known.
    Outside(Option<IpAddr>),
    /// What the session is bound to is away, for this reason; or it is there, perhaps with other addresses.
    Network(Option<Arc<str>>),
    /// We are at other addresses than before.
    Moved(Arc<Move>),
    /// Other addresses are blocked than before.
    FilterChanged,
    /// Stop all torrents and end.
    Shutdown(oneshot::Sender<()>),
}

/// To one torrent.
pub(crate) enum TorrentCommand {
    Peers(oneshot::Sender<Vec<PeerStats>>),
    FileProgress(oneshot::Sender<Vec<u64>>),
    Pause,
    Resume,
    AddPeers(Vec<SocketAddr>),
    Trackers(oneshot::Sender<Vec<TrackerInfo>>),
    EditTrackers(TrackerEdit, oneshot::Sender<Result<(), TrackerEditError>>),
    AnnounceNow,
    /// Peers were found without trackers.
    Found(Found),
    Remove {
        delete_files: bool,
        done: oneshot::Sender<()>,
    },
}

/// A disk job that is done.
pub(crate) enum DiskDone {
    /// Hashed, and written if good.
    Piece(PieceIndex, PieceOutcome),
    /// Blocks of an unfinished piece were put on disk.
    Spilled(PieceIndex, Vec<BlockRef>, Result<(), StorageError>),
    /// Blocks to be sent to a peer were read.
    Read(PeerKey, Vec<ReadBlock>),
}
