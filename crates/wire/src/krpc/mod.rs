//! KRPC, the packets of the DHT: BEP 5 with 32 (IPv6), 33 (scrape), 42 (node ids bound to addresses),
//! 43 (read-only nodes), 44 (stored items), 46 (items that point to torrents) and 51 (samples of info-hashes).
//!
//! A packet is one bencoded dictionary in one datagram. [`Packet::parse`] takes any bytes and gives a value
//! in which every length has been checked; [`Packet::encode`] writes it back. Nothing here decides anything: which
//! answer is believed and which query is served is up to the node.
//!
//! Bounds: a datagram of at most [`MAX_PACKET`] bytes, bencode of the strict kind at most 16 deep, transaction
//! ids of at most [`MAX_TRANSACTION`] bytes and tokens of at most [`MAX_TOKEN`]. Everything else is bounded by the size
//! of the datagram.

mod bloom;
mod encode;
mod item;
mod node;
mod parse;
mod refusal;
#[cfg(test)]
mod tests;

pub use bloom::BloomFilter;
pub use item::{
    MAX_ITEM_VALUE, MAX_SALT, PublicKey, Signature, immutable_target, mutable_target,
    pointed_torrent, pointer_value, signed_bytes,
};
pub use node::{Distance, NodeId, NodeInfo, is_local};

use crate::bencode::BencodeError;
use crate::id::WireHash;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

/// Longest datagram that is read, in bytes.
pub const MAX_PACKET: usize = 1500;

/// Longest transaction id that is accepted and echoed, in bytes. Known clients use 2 to 8.
pub const MAX_TRANSACTION: usize = 32;

/// Longest write token that is accepted, in bytes. Known clients use 4 to 20.
pub const MAX_TOKEN: usize = 64;

/// Why a datagram is not a packet of the DHT.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KrpcError {
    /// Longer than [`MAX_PACKET`].
    #[error("longer than 1,500 bytes")]
    TooLong,
    /// Not bencode, or too deep.
    #[error(transparent)]
    Bencode(#[from] BencodeError),
    /// The outermost value is no dictionary.
    #[error("not a dictionary")]
    NotADict,
    /// Something that must be there is not, or is of another kind or length than it must be.
    #[error("{0:?} is missing or malformed")]
    Bad(&'static str),
}

macro_rules! short_bytes {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(Vec<u8>);

        impl $name {
            /// `bytes`, if there are some and not too many.
            #[must_use]
            pub fn new(bytes: &[u8]) -> Option<Self> {
                (1..=$max).contains(&bytes.len()).then(|| Self(bytes.into()))
            }

            /// The bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }
        }
    };
}

short_bytes! {
    /// What a query carries and its answer repeats (`t`): 1 to [`MAX_TRANSACTION`] bytes.
    TransactionId, MAX_TRANSACTION
}

short_bytes! {
    /// Proof that an address was answered lately (`token`): 1 to [`MAX_TOKEN`] bytes.
    Token, MAX_TOKEN
}

/// One datagram.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// Pairs a query with its answer.
    pub transaction: TransactionId,
    /// The sender's program (`v`), where it is named in the usual four bytes.
    pub client: Option<[u8; 4]>,
    /// Whether the sender answers no queries and belongs in no routing table (BEP 43).
    pub read_only: bool,
    /// In an answer: the address the query came from (BEP 42).
    pub your_addr: Option<SocketAddr>,
    /// What it says.
    pub body: Body,
}

/// What a packet says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// A question.
    Query(Query),
    /// An answer.
    Response(Box<Response>),
    /// A refusal.
    Error(ErrorReply),
}

/// A question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    /// The id of the node that asks.
    pub id: NodeId,
    /// Which families of nodes it would like to be told (BEP 32).
    pub want: Want,
    /// What it asks.
    pub method: Method,
}

/// Families of nodes in an answer (BEP 32). If neither is named, the family the query came by is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Want {
    /// IPv4 nodes (`n4`).
    pub v4: bool,
    /// IPv6 nodes (`n6`).
    pub v6: bool,
}

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Method {
    /// Are you there? (BEP 5)
    Ping,
    /// Which nodes do you know near `target`? (BEP 5)
    FindNode {
        /// Any place in the space of ids.
        target: NodeId,
    },
    /// Which peers do you know for a torrent? (BEP 5, 33)
    GetPeers {
        /// The torrent.
        info_hash: WireHash,
        /// Seeds are of no use to the one who asks.
        no_seeds: bool,
        /// The filters of BEP 33 are wanted.
        scrape: bool,
    },
    /// I am a peer of a torrent (BEP 5, 33).
    AnnouncePeer {
        /// The torrent.
        info_hash: WireHash,
        /// Where it can be reached.
        port: AnnouncedPort,
        /// From an answer to `get_peers`.
        token: Token,
        /// Whether it has the whole torrent.
        seed: bool,
    },
    /// What is stored at `target`? (BEP 44)
    Get {
        /// See [`immutable_target`] and [`mutable_target`].
        target: NodeId,
        /// A mutable item is of interest only with a higher number.
        seq: Option<i64>,
    },
    /// Please store this (BEP 44).
    Put(Box<Put>),
    /// Some info-hashes that you have peers for, please (BEP 51).
    SampleInfohashes {
        /// Where the nodes in the answer should be near.
        target: NodeId,
    },
    /// Something else. With a target it can be answered with nodes, as `find_node` is.
    Unknown {
        /// `target` or `info_hash`, if the query has one.
        target: Option<NodeId>,
    },
}

/// Where a peer that announces itself is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AnnouncedPort {
    /// At the port the query came from (`implied_port`), which is right for uTP behind a NAT.
    Implied,
    /// At this port, not 0.
    Explicit(u16),
}

/// An item to be stored (BEP 44).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Put {
    /// From an answer to `get`.
    pub token: Token,
    /// What is to be stored.
    pub item: Item,
    /// Store only if the number of what is stored now is this one.
    pub cas: Option<i64>,
    /// For a mutable item: tells apart the items of one key. May be longer than [`MAX_SALT`], for which
    /// there is an error code of its own.
    pub salt: Vec<u8>,
}

/// A stored value (BEP 44).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// One bencoded value, byte for byte as it came. May be longer than [`MAX_ITEM_VALUE`], for which there is an
    /// error code of its own.
    pub value: Vec<u8>,
    /// Who may change it, or nothing for an immutable item.
    pub signed: Option<Signed>,
}

/// What makes an item mutable (BEP 44).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signed {
    /// Who signed it (`k`).
    pub key: PublicKey,
    /// Grows with every change; not negative.
    pub seq: i64,
    /// Over [`signed_bytes`]; not checked here.
    pub signature: Signature,
}

/// An answer. Which parts it has depends on the question.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Response {
    /// The id of the node that answers.
    pub id: NodeId,
    /// IPv4 nodes near the target.
    pub nodes4: Option<Vec<NodeInfo>>,
    /// IPv6 nodes near the target (BEP 32).
    pub nodes6: Option<Vec<NodeInfo>>,
    /// Permits to announce or to put.
    pub token: Option<Token>,
    /// Peers of the torrent asked for.
    pub values: Option<Vec<SocketAddr>>,
    /// Seeds and other peers (BEP 33).
    pub scrape: Option<Box<Scrape>>,
    /// Info-hashes (BEP 51).
    pub samples: Option<Samples>,
    /// What is stored (BEP 44).
    pub item: Option<Box<Item>>,
    /// Number of a mutable item whose value was left out, because the one who asked has it already (BEP 44).
    pub seq: Option<i64>,
}

/// Who is there, as far as one node knows (BEP 33).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Scrape {
    /// Seeds (`BFsd`).
    pub seeds: BloomFilter,
    /// Other peers (`BFpe`).
    pub peers: BloomFilter,
}

/// Some of the info-hashes a node has peers for (BEP 51).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Samples {
    /// The info-hashes.
    pub hashes: Vec<WireHash>,
    /// Asking again sooner gives the same ones; at most six hours.
    pub interval: Duration,
    /// How many it has in all.
    pub total: u64,
}

/// A refusal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ErrorReply {
    /// One of [`ErrorCode`]'s, or another.
    pub code: i64,
    /// In words; at most 200 bytes are kept.
    pub message: String,
}

/// Codes of refusals (BEP 5, 44).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i64)]
pub enum ErrorCode {
    /// Something else.
    Generic = 201,
    /// The node cannot serve this now.
    Server = 202,
    /// A malformed packet, a bad token.
    Protocol = 203,
    /// No such method.
    MethodUnknown = 204,
    /// The value is longer than [`MAX_ITEM_VALUE`].
    ValueTooBig = 205,
    /// The signature does not match.
    BadSignature = 206,
    /// The salt is longer than [`MAX_SALT`].
    SaltTooBig = 207,
    /// What is stored has another number than `cas`.
    CasMismatch = 301,
    /// What is stored has a higher number.
    SeqTooLow = 302,
}

impl ErrorReply {
    /// The refusal `code`, explained.
    #[must_use]
    pub fn new(code: ErrorCode) -> Self {
        let message = match code {
            ErrorCode::Generic => "generic error",
            ErrorCode::Server => "no room",
            ErrorCode::Protocol => "bad token or argument",
            ErrorCode::MethodUnknown => "unknown method",
            ErrorCode::ValueTooBig => "value too big",
            ErrorCode::BadSignature => "invalid signature",
            ErrorCode::SaltTooBig => "salt too big",
            ErrorCode::CasMismatch => "cas mismatch",
            ErrorCode::SeqTooLow => "seq less than current",
        };
        Self { code: code as i64, message: message.into() }
    }
}
