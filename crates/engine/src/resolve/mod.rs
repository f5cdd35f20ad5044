//! From a magnet link to a torrent: finds peers, fetches the info dictionary and the piece layers from them, and keeps
//! both.
//!
//! This comes before there is a torrent, so it has a small loop of its own instead of a torrent's shell: it announces
//! to the link's trackers, dials the peers they and the link name, and lets [`samara_swarm::metadata`] decide whom to
//! ask for what. It ends with a [`Metainfo`], or in words; in either case within a time limit.
//!
//! | file | does |
//! | --- | --- |
//! | `job` | one link from beginning to end: what is kept, what comes of it |
//! | `driver` | the loop: announces, deadlines |
//! | `links` | whom it knows and is connected to |
//! | `door` | peers that dial us meanwhile |
//! | `work` | which of the two is fetched |
//! | `connection` | one connection to a peer |
//! | `cache` | keeps what was fetched in the state directory |

mod cache;
mod connection;
mod door;
mod driver;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzed;
mod job;
mod links;
mod work;

use crate::command::ShardCommand;
use crate::session::Session;
use samara_swarm::metadata::FetchStatus;
use samara_wire::magnet::Magnet;
use samara_wire::metainfo::{Metainfo, MetainfoError};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

pub(crate) use door::Doors;
pub(crate) use job::run;

/// How a magnet link is to be resolved.
#[derive(Clone, Debug)]
pub struct ResolveConfig {
    /// Peers to ask at once, beside those that the link names; at most 1000 are heeded.
    pub peers: Vec<SocketAddr>,
    /// How long to try.
    pub timeout: Duration,
    /// The torrent will be added at once: the trackers are not told that we stop, and the look for peers goes on for
    /// 10 s.
    pub stay: bool,
    /// Piece layers (BEP 52) are to be fetched of a hybrid torrent too. It can be downloaded without, but a `.torrent`
    /// file needs them. Those of a v2 torrent are fetched in any case.
    pub layers: bool,
}

impl Default for ResolveConfig {
    fn default() -> Self {
        let timeout = Duration::from_secs(180);
        Self { peers: Vec::new(), timeout, stay: false, layers: false }
    }
}

/// What came of a magnet link.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The torrent, with the trackers and web seeds of the link.
    pub metainfo: Metainfo,
    /// Peers with which a connection came about, then some that were not tried yet; or those whom the link names if none
    /// was needed. To be given to [`crate::AddTorrent::peers`]: the connections are closed.
    pub peers: Vec<SocketAddr>,
    /// It was in the state directory, and nobody was asked.
    pub from_cache: bool,
}

/// How far a magnet link is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ResolveStatus {
    /// Trackers in the link.
    pub trackers: u32,
    /// Answers received from trackers.
    pub trackers_answered: u32,
    /// Last trouble with a tracker, for the user.
    pub tracker_error: Option<String>,
    /// Addresses of peers known.
    pub known: u32,
    /// Peers connected now.
    pub connected: u32,
    /// Connections to peers that came to nothing.
    pub failed: u32,
    /// Nodes of the DHT that are known, if the session takes part in it.
    pub dht_nodes: Option<u32>,
    /// The metadata itself.
    pub fetch: FetchStatus,
    /// Once the metadata is here: parts of its piece layers that are here too, and how many there are. What `fetch`
    /// says of peers is then about them.
    pub layers: Option<(u32, u32)>,
}

/// Why a magnet link was not resolved.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// There is nobody to ask.
    #[error("the link names no tracker and no peer, and the DHT and local discovery are off")]
    NobodyToAsk,
    /// The time is up.
    #[error("no {} within {} s: {}", .status.sought(), .timeout.as_secs(), .status)]
    Timeout {
        /// The limit.
        timeout: Duration,
        /// How far it came.
        status: Box<ResolveStatus>,
    },
    /// The bytes are right by their hash, and are no valid torrent.
    #[error("the torrent that the link names is not valid: {0}")]
    Invalid(#[from] MetainfoError),
    /// The session was shut down.
    #[error("the session has been shut down")]
    ShutDown,
}

/// A magnet link on its way. Dropping it ends the work.
#[derive(Debug)]
pub struct Resolving {
    status: watch::Receiver<ResolveStatus>,
    outcome: oneshot::Receiver<Result<Resolved, ResolveError>>,
}

/// To the shard that does the work.
pub(crate) struct Job {
    magnet: Magnet,
    config: ResolveConfig,
    status: watch::Sender<ResolveStatus>,
    outcome: oneshot::Sender<Result<Resolved, ResolveError>>,
}

impl Session {
    /// Begins to fetch the torrent that `magnet` names. What was fetched before is taken from the state directory.
    ///
    /// The metadata is hashed, and a found one parsed, on a network thread: some 20 ms for the longest allowed.
    #[must_use]
    pub fn resolve(&self, magnet: Magnet, config: ResolveConfig) -> Resolving {
        let (status_tx, status) = watch::channel(ResolveStatus::default());
        let (outcome_tx, outcome) = oneshot::channel();
        let job = Job { magnet, config, status: status_tx, outcome: outcome_tx };
        self.to_first_shard(ShardCommand::Resolve(Box::new(job)));
        Resolving { status, outcome }
    }
}

impl Resolving {
    /// How far it is, at most 100 ms old; never blocks.
    #[must_use]
    pub fn status(&self) -> ResolveStatus {
        self.status.borrow().clone()
    }

    /// Waits for the end. Safe to cancel and to call again; once it has given an outcome, it is over.
    ///
    /// # Errors
    /// If there is nobody to ask, the time is up, or what the link names cannot be used.
    pub async fn outcome(&mut self) -> Result<Resolved, ResolveError> {
        (&mut self.outcome).await.unwrap_or(Err(ResolveError::ShutDown))
    }
}

impl ResolveStatus {
    /// What is fetched at present, in words.
    #[must_use]
    pub const fn sought(&self) -> &'static str {
        if self.layers.is_some() { "piece layers" } else { "metadata" }
    }
}

/// In words for a user, such as `asked 14 peers, 3 have no metadata`.
impl std::fmt::Display for ResolveStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.write_peers(f)?;
        match self.dht_nodes {
            Some(1) => f.write_str("; DHT: 1 node"),
            Some(n) => write!(f, "; DHT: {n} nodes"),
            None => Ok(()),
        }
    }
}

impl ResolveStatus {
    fn write_peers(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let peers = |n: u32| if n == 1 { "peer" } else { "peers" };
        if self.known == 0 && self.fetch == FetchStatus::default() {
            f.write_str("no peer is known")?;
            return match (&self.tracker_error, self.trackers_answered) {
                (Some(error), 0) => write!(f, " ({error})"),
                (_, 0) => Ok(()),
                (_, n) => write!(f, " ({n} of {} trackers answered)", self.trackers),
            };
        }
        let FetchStatus { asked, without, unwilling, liars, received, claimed } = self.fetch;
        write!(f, "{} {} known", self.known, peers(self.known))?;
        if self.failed > 0 {
            write!(f, ", {} not reached", self.failed)?;
        }
        write!(f, ", {asked} asked")?;
        for (count, what) in [
            (without, "without metadata"),
            (unwilling, "gave no answer"),
            (liars, "sent wrong data"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        if claimed > 0 {
            write!(f, ", {} of {} KiB here", received >> 10, claimed.div_ceil(1024))?;
        }
        if let Some((here, all)) = self.layers {
            write!(f, ", {here} of {all} parts of the piece layers here")?;
        }
        Ok(())
    }
}
