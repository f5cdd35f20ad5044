//! Tracker formats (BEP 3, 7, 15, 23, 24, 31, 41, 48). SKELETON: shared types fixed, codecs to come.

use crate::id::{PeerId, WireHash};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

/// Why an announce is made (BEP 3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AnnounceEvent {
    /// One of the regular announces.
    #[default]
    Periodic,
    /// The first announce of a run.
    Started,
    /// The last piece was downloaded in this run. Never after a mere recheck.
    Completed,
    /// The torrent stops.
    Stopped,
}

/// What an announce tells a tracker, whatever the protocol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnnounceRequest {
    /// The torrent.
    pub info_hash: WireHash,
    /// Us.
    pub peer_id: PeerId,
    /// The port we listen on.
    pub port: u16,
    /// Payload bytes uploaded since `started`.
    pub uploaded: u64,
    /// Payload bytes downloaded since `started`.
    pub downloaded: u64,
    /// Bytes still to download.
    pub left: u64,
    /// Why.
    pub event: AnnounceEvent,
    /// Identifies us when our address changes; stable for a session.
    pub key: u32,
    /// Number of peers wanted.
    pub num_want: u32,
    /// `trackerid` of an earlier answer (BEP 3).
    pub tracker_id: Option<String>,
}

/// A tracker's answer to an announce.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AnnounceResponse {
    /// Time until the next regular announce.
    pub interval: Duration,
    /// Time before which we must not announce again.
    pub min_interval: Option<Duration>,
    /// Seeds known to the tracker.
    pub complete: Option<u32>,
    /// Leeches known to the tracker.
    pub incomplete: Option<u32>,
    /// Peers, bounded, without duplicates.
    pub peers: Vec<SocketAddr>,
    /// To be sent with later announces.
    pub tracker_id: Option<String>,
    /// To be shown to the user.
    pub warning: Option<String>,
    /// Our address as the tracker sees it (BEP 24).
    pub external_ip: Option<IpAddr>,
}
