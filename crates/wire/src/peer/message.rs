//! Peer messages and their bytes (BEP 3, 5, 6, 10, 52).
//!
//! Every message is a length (four bytes, big-endian, itself not counted), an id and a body; a keep-alive is
//! a length of zero. [`super::frame`] reads them.

use super::hashes::{HashRequest, REQUEST_LEN};
use crate::id::{BlockRef, PieceIndex};
use crate::metainfo::merkle::Hash;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Length of all that precedes the payload in a `piece` message, in bytes.
pub const PIECE_HEADER_LEN: usize = 13;

/// The ids of messages.
pub(super) mod id {
    pub(crate) const CHOKE: u8 = 0;
    pub(crate) const UNCHOKE: u8 = 1;
    pub(crate) const INTERESTED: u8 = 2;
    pub(crate) const NOT_INTERESTED: u8 = 3;
    pub(crate) const HAVE: u8 = 4;
    pub(crate) const BITFIELD: u8 = 5;
    pub(crate) const REQUEST: u8 = 6;
    pub(crate) const PIECE: u8 = 7;
    pub(crate) const CANCEL: u8 = 8;
    pub(crate) const PORT: u8 = 9;
    pub(crate) const SUGGEST: u8 = 13;
    pub(crate) const HAVE_ALL: u8 = 14;
    pub(crate) const HAVE_NONE: u8 = 15;
    pub(crate) const REJECT: u8 = 16;
    pub(crate) const ALLOWED_FAST: u8 = 17;
    pub(crate) const EXTENDED: u8 = 20;
    pub(crate) const HASH_REQUEST: u8 = 21;
    pub(crate) const HASHES: u8 = 22;
    pub(crate) const HASH_REJECT: u8 = 23;
}

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
    /// A request for part of a file's hash tree (BEP 52).
    HashRequest(Box<HashRequest>),
    /// Part of a file's hash tree (BEP 52).
    Hashes {
        /// What was asked for.
        request: Box<HashRequest>,
        /// The run, then the uncles from the lowest to that next to the root.
        hashes: Box<[Hash]>,
    },
    /// A hash request that will not be answered (BEP 52).
    HashReject(Box<HashRequest>),
}

impl Message {
    /// Appends the message to `out`, length prefix included.
    ///
    /// # Panics
    /// If a bitfield, an extended payload or a list of hashes is 4 GiB or longer, which no value we build comes near.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::KeepAlive => out.extend_from_slice(&[0; 4]),
            Self::Choke => bare(id::CHOKE, out),
            Self::Unchoke => bare(id::UNCHOKE, out),
            Self::Interested => bare(id::INTERESTED, out),
            Self::NotInterested => bare(id::NOT_INTERESTED, out),
            Self::HaveAll => bare(id::HAVE_ALL, out),
            Self::HaveNone => bare(id::HAVE_NONE, out),
            Self::Have(piece) => with_piece(id::HAVE, *piece, out),
            Self::Suggest(piece) => with_piece(id::SUGGEST, *piece, out),
            Self::AllowedFast(piece) => with_piece(id::ALLOWED_FAST, *piece, out),
            Self::Request(block) => with_block(id::REQUEST, block, out),
            Self::Cancel(block) => with_block(id::CANCEL, block, out),
            Self::Reject(block) => with_block(id::REJECT, block, out),
            Self::Port(port) => {
                let [high, low] = port.to_be_bytes();
                out.extend_from_slice(&[0, 0, 0, 3, id::PORT, high, low]);
            }
            Self::Bitfield(bytes) => with_bytes(&[id::BITFIELD], bytes, out),
            Self::Extended { id, payload } => with_bytes(&[id::EXTENDED, *id], payload, out),
            Self::HashRequest(request) => with_hashes(id::HASH_REQUEST, request, &[], out),
            Self::Hashes { request, hashes } => with_hashes(id::HASHES, request, hashes, out),
            Self::HashReject(request) => with_hashes(id::HASH_REJECT, request, &[], out),
        }
    }
}

/// The bytes that precede the payload of `block` in a `piece` message. The caller sends `block.len` bytes
/// of payload right after them.
#[must_use]
pub fn encode_piece_header(block: BlockRef) -> [u8; PIECE_HEADER_LEN] {
    let mut header = [0; PIECE_HEADER_LEN];
    header[..4].copy_from_slice(&block.len.saturating_add(9).to_be_bytes());
    header[4] = id::PIECE;
    header[5..9].copy_from_slice(&block.piece.0.to_be_bytes());
    header[9..].copy_from_slice(&block.begin.to_be_bytes());
    header
}

fn bare(id: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 0, 0, 1, id]);
}

fn with_piece(id: u8, piece: PieceIndex, out: &mut Vec<u8>) {
    let mut bytes = [0, 0, 0, 5, id, 0, 0, 0, 0];
    bytes[5..].copy_from_slice(&piece.0.to_be_bytes());
    out.extend_from_slice(&bytes);
}

fn with_block(id: u8, block: &BlockRef, out: &mut Vec<u8>) {
    let mut bytes = [0; 17];
    bytes[3] = 13;
    bytes[4] = id;
    bytes[5..9].copy_from_slice(&block.piece.0.to_be_bytes());
    bytes[9..13].copy_from_slice(&block.begin.to_be_bytes());
    bytes[13..].copy_from_slice(&block.len.to_be_bytes());
    out.extend_from_slice(&bytes);
}

fn with_bytes(head: &[u8], body: &[u8], out: &mut Vec<u8>) {
    let len = u32::try_from(head.len() + body.len()).expect("no message of ours reaches 4 GiB");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(head);
    out.extend_from_slice(body);
}

fn with_hashes(id: u8, request: &HashRequest, hashes: &[Hash], out: &mut Vec<u8>) {
    let mut head = Vec::with_capacity(1 + REQUEST_LEN);
    head.push(id);
    request.encode(&mut head);
    with_bytes(&head, hashes.as_flattened(), out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(message: &Message) -> Vec<u8> {
        let mut out = Vec::new();
        message.encode(&mut out);
        out
    }

    #[test]
    fn bytes_are_those_of_the_beps() {
        let block = BlockRef { piece: PieceIndex(1), begin: 0x4000, len: 0x2000 };
        assert_eq!(bytes(&Message::KeepAlive), [0; 4]);
        assert_eq!(bytes(&Message::HaveNone), [0, 0, 0, 1, 15]);
        assert_eq!(bytes(&Message::Have(PieceIndex(258))), [0, 0, 0, 5, 4, 0, 0, 1, 2]);
        assert_eq!(bytes(&Message::Port(6881)), [0, 0, 0, 3, 9, 0x1a, 0xe1]);
        assert_eq!(
            bytes(&Message::Request(block)),
            [0, 0, 0, 13, 6, 0, 0, 0, 1, 0, 0, 0x40, 0, 0, 0, 0x20, 0]
        );
        assert_eq!(bytes(&Message::Bitfield([0x80, 1].into())), [0, 0, 0, 3, 5, 0x80, 1]);
        assert_eq!(
            bytes(&Message::Extended { id: 3, payload: (*b"de").into() }),
            [0, 0, 0, 4, 20, 3, b'd', b'e']
        );
        let request = HashRequest { root: [9; 32], base: 1, index: 512, len: 2, proof_layers: 9 };
        let body = [0, 0, 0, 1, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0, 0, 9];
        let head = |len, id| [&[0, 0, 0, len, id][..], &[9; 32], &body].concat();
        assert_eq!(bytes(&Message::HashRequest(request.into())), head(49, 21));
        assert_eq!(bytes(&Message::HashReject(request.into())), head(49, 23));
        let hashes = Message::Hashes { request: request.into(), hashes: [[3; 32]; 2].into() };
        assert_eq!(bytes(&hashes), [head(113, 22), [3; 64].to_vec()].concat());
        assert_eq!(encode_piece_header(block), [0, 0, 0x20, 9, 7, 0, 0, 0, 1, 0, 0, 0x40, 0]);
    }
}
