//! What the core wants done.

use crate::torrent::PeerKey;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use samara_wire::id::PieceIndex;
use samara_wire::peer::message::Message;
use samara_wire::time::Duration;
use samara_wire::tracker::AnnounceRequest;

/// Effects in the order they are to be carried out. Reused from call to call; the shell drains it after each.
#[derive(Debug, Default)]
pub struct Outbox {
    effects: Vec<Effect>,
}

impl Outbox {
    /// An empty outbox.
    #[must_use]
    pub const fn new() -> Self {
        Self { effects: Vec::new() }
    }

    /// Adds an effect.
    pub fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Adds a message to be sent for each of `messages`.
    pub fn extend_send(&mut self, peer: PeerKey, messages: impl IntoIterator<Item = Message>) {
        self.effects.extend(messages.into_iter().map(|message| Effect::Send(peer, message)));
    }

    /// Takes all effects out, oldest first, keeping the memory.
    pub fn drain(&mut self) -> impl Iterator<Item = Effect> + '_ {
        self.effects.drain(..)
    }

    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.effects.is_empty()
    }
}

/// One thing the shell is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Append a message to the peer's stream.
    Send(PeerKey, Message),
    /// The peer has requests to be served: pull them with [`crate::Torrent::poll_metadata`],
    /// [`crate::Torrent::poll_hashes`] and [`crate::Torrent::poll_serve`] as its stream has room.
    ServeReady(PeerKey),
    /// Close the connection. The core has forgotten the peer already and takes no input of it any more.
    Disconnect(PeerKey, DisconnectReason),
    /// Connect to a peer and shake hands; answer with `handle_peer_connected` or `handle_dial_failed`, and say meanwhile if it takes
    /// long (`handle_dial_slow`).
    Dial(SocketAddr),
    /// Connect to a peer by uTP alone, from our one port, at once: it does the same now (BEP 55). A dial of the same address that is
    /// under way ends and is not answered. Answer with `handle_peer_connected` or `handle_punch_failed`.
    Punch(SocketAddr),
    /// Announce to a tracker; answer with `handle_announced` or `handle_announce_failed`.
    Announce(Box<Announce>),
    /// Tell the DHT and the local network of the torrent, and look there for peers, from now on; `handle_peers` takes
    /// them. Comes again when `seed` changes. Never of a private torrent (BEP 27).
    Seek {
        /// Whether we have all of it.
        seed: bool,
    },
    /// What [`Effect::Seek`] began is to end.
    Withdraw,
    /// A peer says that its DHT node is there (BEP 5). Never of a private torrent.
    DhtNode(SocketAddr),
    /// All blocks of the piece are received: hash them and, if they match, write them; answer with
    /// `handle_piece_verified` or `handle_piece_failed`.
    VerifyPiece {
        /// The piece.
        piece: PieceIndex,
        /// Whether the answer must carry a digest of each block even if the piece is good, because an
        /// earlier attempt was bad and the culprit is sought.
        want_digests: bool,
    },
    /// Something the user may want to know.
    Event(Event),
}

/// Names an announce until it is answered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AnnounceId(pub u32);

/// An announce to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announce {
    /// To be given back with the answer.
    pub id: AnnounceId,
    /// The tracker.
    pub url: String,
    /// What to tell it.
    pub request: AnnounceRequest,
    /// How long the shell may wait for the answer.
    pub timeout: Duration,
}

/// Why the core closes a connection. The variant says whose fault it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DisconnectReason {
    /// The peer broke the protocol.
    Protocol(&'static str),
    /// The peer was proven to have sent corrupt data, and is banned.
    Corrupt,
    /// We are connected to ourselves.
    Myself,
    /// We are connected to this peer already.
    Duplicate,
    /// We are connected to this peer already, but the other end may keep this connection rather than that one. The shell keeps it
    /// for some seconds, and offers it again should the other one end.
    Spare,
    /// Neither side can want anything of the other: both are complete.
    Redundant,
    /// Nothing was heard for too long, or nothing useful came where others wait for the place.
    Idle,
    /// The torrent stops.
    Stopping,
    /// A better peer takes the place.
    Replaced,
    /// There is no place for another peer.
    Full,
}

/// What happened, for the user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A piece was verified and written.
    PieceVerified(PieceIndex),
    /// A piece did not match its hash.
    PieceCorrupt(PieceIndex),
    /// Everything wanted is here.
    Complete,
    /// A peer was proven to have sent corrupt data.
    PeerBanned(SocketAddr),
    /// A tracker answered.
    TrackerAnswered {
        /// The tracker.
        url: String,
        /// Number of peers named.
        peers: usize,
        /// Its warning, if any.
        warning: Option<String>,
    },
    /// A tracker failed; it is tried again later.
    TrackerFailed {
        /// The tracker.
        url: String,
        /// Why, in words for a user.
        error: String,
    },
}
