//! Peer messages (BEP 3, 5, 6, 10). SKELETON.

use crate::id::{BlockRef, PieceIndex};
use alloc::boxed::Box;

/// A message of the peer protocol, except `piece`, whose payload never passes through a core.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Four zero bytes that keep a connection open.
    KeepAlive,
    /// Requests will not be answered.
    Choke,
    /// Requests will be answered.
    Unchoke,
    /// The sender wants something the receiver has.
    Interested,
    /// The sender wants nothing.
    NotInterested,
    /// The sender has this piece.
    Have(PieceIndex),
    /// All the pieces the sender has, as bytes whose number is checked against the torrent by the core.
    Bitfield(Box<[u8]>),
    /// A request for a block.
    Request(BlockRef),
    /// A request taken back.
    Cancel(BlockRef),
    /// The DHT port of the sender (BEP 5).
    Port(u16),
    /// A piece that is worth fetching from the sender (BEP 6).
    Suggest(PieceIndex),
    /// The sender has all pieces (BEP 6).
    HaveAll,
    /// The sender has no piece (BEP 6).
    HaveNone,
    /// A request that will not be answered (BEP 6).
    Reject(BlockRef),
    /// A piece that may be requested while choked (BEP 6).
    AllowedFast(PieceIndex),
    /// A message of the extension protocol (BEP 10).
    Extended {
        /// 0 for the extension handshake, else an id that the receiver gave out.
        id: u8,
        /// The rest of the message.
        payload: Box<[u8]>,
    },
}
