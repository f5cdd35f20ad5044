//! One-shot operations: ask the trackers, shake hands with one peer, fetch a `.torrent`; each with its own
//! time limit. SKELETON.
#![expect(unused_variables, clippy::todo, clippy::unused_async, reason = "skeleton")]

use samara_wire::id::{PeerId, WireHash};
use samara_wire::peer::handshake::Reserved;
use std::net::SocketAddr;
use std::time::Duration;

pub use crate::tracker::fetch::{announce_all, fetch_torrent};

/// What a peer said of itself.
#[derive(Clone, Debug)]
pub struct HandshakeInfo {
    /// Its id.
    pub peer_id: PeerId,
    /// What it can do.
    pub reserved: Reserved,
    /// `v` of its extension handshake (BEP 10).
    pub client: Option<String>,
    /// Names and ids of its extensions (BEP 10).
    pub extensions: Vec<(String, u8)>,
    /// Requests it queues (BEP 10).
    pub reqq: Option<u32>,
    /// Number of pieces it has, if it said so in time.
    pub pieces: Option<u32>,
}

/// Shakes hands with a peer and waits briefly for what it has and can do.
///
/// # Errors
/// If the peer cannot be reached in time, hangs up, or does not have the torrent.
pub async fn handshake(
    addr: SocketAddr,
    hash: WireHash,
    timeout: Duration,
) -> Result<HandshakeInfo, ProbeError> {
    todo!()
}

/// Why a one-shot operation failed, in words for a user.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ProbeError(pub(crate) String);
