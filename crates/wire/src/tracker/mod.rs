//! Tracker formats, both directions (BEP 3, 7, 15, 23, 24, 31, 41, 48).
//!
//! [`http`] and [`udp`] turn the types of this module into bytes and back. Whatever a tracker answers, a response
//! holds at most [`MAX_PEERS`] distinct peers with a port, and intervals that are neither a flood nor for ever.

pub mod http;
pub mod udp;

use crate::id::{PeerId, WireHash};
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

/// Peers that are taken from one answer at most.
pub const MAX_PEERS: usize = 2_000;

/// Shortest and longest time between announces that a tracker can ask of us.
pub const INTERVAL_BOUNDS: (Duration, Duration) =
    (Duration::from_secs(30), Duration::from_secs(24 * 3600));

/// Time between announces when the tracker gives none.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(30 * 60);

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
    /// Downloads ever completed, as known to the tracker.
    pub downloaded: Option<u32>,
    /// Peers, bounded, without duplicates.
    pub peers: Vec<SocketAddr>,
    /// To be sent with later announces.
    pub tracker_id: Option<String>,
    /// To be shown to the user.
    pub warning: Option<String>,
    /// Our address as the tracker sees it (BEP 24).
    pub external_ip: Option<IpAddr>,
}

/// What a tracker knows of one torrent (BEP 48).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ScrapeStats {
    /// Seeds.
    pub complete: u32,
    /// Downloads ever completed.
    pub downloaded: u32,
    /// Leeches.
    pub incomplete: u32,
}

/// The interval a tracker asks for, in seconds, brought into [`INTERVAL_BOUNDS`].
fn bounded_interval(secs: u64) -> Duration {
    Duration::from_secs(secs).clamp(INTERVAL_BOUNDS.0, INTERVAL_BOUNDS.1)
}

/// Gathers peers without duplicates, without those that cannot be dialled, and not more than [`MAX_PEERS`].
#[derive(Default)]
struct PeerCollector {
    seen: BTreeSet<SocketAddr>,
    peers: Vec<SocketAddr>,
}

impl PeerCollector {
    fn add(&mut self, peer: SocketAddr) {
        let dialable = peer.port() != 0 && !peer.ip().is_unspecified();
        if dialable && self.peers.len() < MAX_PEERS && self.seen.insert(peer) {
            self.peers.push(peer);
        }
    }

    /// Six bytes a peer (BEP 23). A rest that is no whole peer is left out.
    fn add_compact_v4(&mut self, bytes: &[u8]) {
        for peer in bytes.as_chunks::<6>().0 {
            let ip = Ipv4Addr::new(peer[0], peer[1], peer[2], peer[3]);
            self.add(SocketAddr::new(IpAddr::V4(ip), u16::from_be_bytes([peer[4], peer[5]])));
        }
    }

    /// Eighteen bytes a peer (BEP 7). A rest that is no whole peer is left out.
    fn add_compact_v6(&mut self, bytes: &[u8]) {
        for peer in bytes.as_chunks::<18>().0 {
            let mut ip = [0; 16];
            ip.copy_from_slice(&peer[..16]);
            let ip = Ipv6Addr::from(ip);
            self.add(SocketAddr::new(IpAddr::V6(ip), u16::from_be_bytes([peer[16], peer[17]])));
        }
    }
}

/// Appends `peer` in its compact form, 6 or 18 bytes.
pub(crate) fn push_compact(peer: &SocketAddr, out: &mut Vec<u8>) {
    match peer.ip() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    out.extend_from_slice(&peer.port().to_be_bytes());
}
