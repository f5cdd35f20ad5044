//! What a torrent tells its owner: snapshots of its status, and events.

use crate::error::TorrentError;
use samara_swarm::torrent::TorrentStats;
use tokio::sync::broadcast;

/// A snapshot of a torrent.
#[derive(Clone, Debug, PartialEq)]
pub struct TorrentStatus {
    /// What the torrent is doing.
    pub state: State,
    /// Counters and rates.
    pub stats: TorrentStats,
    /// Bytes of data already there that were hashed at the start.
    pub checked_bytes: u64,
    /// Bytes of data already there to hash at the start; 0 if resume data vouched for all, or not yet known.
    pub check_total_bytes: u64,
    /// Why nothing is sent or received at present: what the session is bound to is away. It goes on by itself.
    pub offline: Option<String>,
    /// Last trouble with a tracker, for the user, if no tracker works.
    pub tracker_error: Option<String>,
    /// Last warning of a tracker that answered, for the user.
    pub tracker_warning: Option<String>,
    /// Answers received from trackers in this run.
    pub trackers_answered: u32,
}

/// What a torrent is doing.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Finding out which of the data already there is right.
    Checking,
    /// Fetching what is wanted (and uploading).
    Downloading,
    /// Everything wanted is here, and durable: data synced and resume data written.
    Seeding,
    /// Paused by its owner.
    Paused,
    /// Paused by trouble with its storage; tries again by itself.
    Failed(TorrentError),
    /// Removed, or the session was shut down.
    Stopped,
}

/// What happened to a torrent.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Something in the swarm.
    Swarm(samara_swarm::Event),
    /// The state is now this.
    StateChanged(State),
    /// The reader was too slow: so many events were lost.
    Lagged(u64),
}

/// A stream of events of one torrent.
#[derive(Debug)]
pub struct Events(pub(crate) broadcast::Receiver<Event>);

impl Events {
    /// The next event, when there is one. `None`: the torrent is gone.
    pub async fn next(&mut self) -> Option<Event> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(lost)) => Some(Event::Lagged(lost)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
