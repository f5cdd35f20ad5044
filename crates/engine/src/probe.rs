//! One-shot operations: ask the trackers, shake hands with one peer, fetch one piece or a `.torrent`; each with
//! its own time limit. They run on the caller's tokio runtime.

use crate::dial::{Destination, MeetError, meet, our_handshake};
use crate::network::{Binding, Egress};
use crate::session::random_peer_id;
use crate::stream::PeerStream;
use samara_wire::id::{PeerId, WireHash};
use samara_wire::peer::extension::ExtensionHandshake;
use samara_wire::peer::frame::{Decoded, Frame, FrameDecoder};
use samara_wire::peer::handshake::Reserved;
use samara_wire::peer::message::Message;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

mod piece;

pub use crate::tracker::fetch::{announce_all, fetch_torrent, scrape_all};
pub use piece::fetch_piece;

/// After the handshake, what a peer says unasked is waited for at most this long.
const GRACE: Duration = Duration::from_secs(2);

/// Longest sequence of unasked messages that is read, in bytes: a bitfield of 2^21 pieces and then some.
const MAX_UNASKED: usize = 1 << 20;

/// Read at a time, in bytes.
const READ: usize = 16 << 10;

/// What a peer said of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
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
    /// Number of pieces it has, if it said so in time; `None` also if it only said that it has all.
    pub pieces: Option<u32>,
    /// It said that it has all pieces without counting them (BEP 6).
    pub has_all: bool,
}

/// Shakes hands with a peer and waits briefly for what it has and can do. Connects as `egress`
/// has it.
///
/// # Errors
/// If the peer cannot be reached in time, hangs up, or does not have the torrent.
pub async fn handshake(
    addr: SocketAddr,
    hash: WireHash,
    egress: &Egress,
    timeout: Duration,
) -> Result<HandshakeInfo, ProbeError> {
    let deadline = Instant::now() + timeout;
    let fail = |error: &MeetError| {
        let why = match error {
            MeetError::Connect(e) | MeetError::Handshake(e) => Some(e.kind()),
            MeetError::OtherTorrent => None,
        };
        ProbeError(match why {
            Some(io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
                format!("{addr}: it closed the connection; it may not have this torrent")
            }
            _ => format!("{addr}: {error}"),
        })
    };
    let ours = our_handshake(hash, random_peer_id());
    let to = Destination::anyhow(addr, Arc::new(Binding::now(egress)));
    let met = timeout_at(deadline, meet(&to, &ours, |named| *named == hash)).await;
    let no_answer = || format!("{addr}: no answer within {} s", timeout.as_secs_f32());
    let met = met.map_err(|_| ProbeError(no_answer()))?;
    let (stream, theirs, _) = met.map_err(|error| fail(&error))?;
    let mut info = HandshakeInfo {
        peer_id: theirs.peer_id,
        reserved: theirs.reserved,
        client: None,
        extensions: Vec::new(),
        reqq: None,
        pieces: None,
        has_all: false,
    };
    // Whatever it says is welcome, whatever it does not say is no error any more.
    let _ = timeout_at(deadline.min(Instant::now() + GRACE), listen(&stream, &mut info)).await;
    Ok(info)
}

/// Sees whether the proxy of `egress`, if it has one, is there and takes its user and password. Needs a tokio runtime.
///
/// # Errors
/// If it cannot be reached within `timeout`, speaks something else, or refuses user and password.
pub async fn check_proxy(egress: &Egress, timeout: Duration) -> Result<(), ProbeError> {
    let binding = Binding::now(egress);
    let Some(proxy) = binding.proxy() else { return Ok(()) };
    match tokio::time::timeout(timeout, proxy.check(&binding)).await {
        Ok(checked) => checked.map_err(|error| ProbeError(error.to_string())),
        Err(_) => Err(ProbeError(format!(
            "the proxy {}: no answer within {} s",
            proxy.url(),
            timeout.as_secs_f32()
        ))),
    }
}

/// Reads until the peer has told all it tells unasked.
async fn listen(stream: &PeerStream, info: &mut HandshakeInfo) -> io::Result<()> {
    let decoder = FrameDecoder::new(None);
    let mut bytes = Vec::new();
    let mut extensions_told = !info.reserved.extended();
    let mut pieces_told = false;
    while !(extensions_told && pieces_told) {
        match decoder.decode(&bytes).map_err(io::Error::other)? {
            Decoded::Frame { frame, consumed } => {
                bytes.drain(..consumed);
                match frame {
                    Frame::Message(Message::Extended { id: 0, payload }) => {
                        extensions_told = true;
                        let theirs =
                            ExtensionHandshake::parse(&payload).map_err(io::Error::other)?;
                        info.client = theirs.client;
                        info.extensions = theirs.extensions;
                        info.reqq = theirs.request_queue;
                    }
                    Frame::Message(message) => pieces_told |= note_pieces(&message, info),
                    Frame::Unknown(_) => {}
                    Frame::PieceHeader(_) => return Err(io::ErrorKind::InvalidData.into()),
                }
            }
            Decoded::NeedMore(_) if bytes.len() > MAX_UNASKED => return Ok(()),
            Decoded::NeedMore(_) => {
                if stream.read_some(&mut bytes, READ).await? == 0 {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Whether `message` tells which pieces the peer has.
fn note_pieces(message: &Message, info: &mut HandshakeInfo) -> bool {
    match message {
        Message::Bitfield(bits) => {
            info.pieces = Some(bits.iter().map(|byte| byte.count_ones()).sum());
        }
        Message::HaveAll => info.has_all = true,
        Message::HaveNone => info.pieces = Some(0),
        _ => return false,
    }
    true
}

/// Why a one-shot operation failed, in words for a user.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ProbeError(pub(crate) String);
