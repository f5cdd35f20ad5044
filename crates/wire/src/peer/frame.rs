//! Finds messages in a byte stream, without I/O and without copying payload.
//!
//! The shell keeps a small buffer of what the socket gave and asks [`FrameDecoder::decode`] what it holds. The
//! payload of `piece` is not part of a frame: after a [`Frame::PieceHeader`] the shell reads exactly
//! `block.len` bytes straight into a block buffer and then goes on decoding.
//!
//! Every length is judged as soon as it and the id have arrived, so nothing is ever buffered for a message
//! that will be refused, and the buffer never needs more room than [`MAX_FRAME_LEN`]:
//!
//! | message | legal length, id included |
//! | --- | --- |
//! | choke, unchoke, interested, not interested, have all, have none | 1 |
//! | have, suggest, allowed fast | 5 |
//! | request, cancel, reject | 13 |
//! | port | 3 |
//! | bitfield | 1 + pieces / 8 rounded up; while the number of pieces is unknown, at most that of 2^21 pieces |
//! | piece | 9 + 1 to 128 KiB |
//! | extended | 2 bytes to 1 MiB |
//! | hash request, hash reject | 49 |
//! | hashes | 49 + 32 for each of 1 to 560 hashes |
//! | any other id | at most 32 KiB, and skipped |

use super::hashes::{HashRequest, MAX_HASHES, MAX_UNCLES, REQUEST_LEN};
use super::message::{Message, PIECE_HEADER_LEN, id};
use crate::id::{BlockRef, MAX_BLOCK_LEN, PieceIndex};

/// Longest extended message, in bytes, id included.
pub const MAX_EXTENDED_LEN: u32 = 1024 * 1024;

/// Longest message of an unknown id that is skipped, in bytes, id included. No BEP has a longer one.
pub const MAX_UNKNOWN_LEN: u32 = 32 * 1024;

/// Length of a message that is a hash request and nothing else, id included, in bytes.
const HASH_REQUEST_LEN: u32 = 49;

const _: () = assert!(HASH_REQUEST_LEN as usize == 1 + REQUEST_LEN);

/// Most pieces a torrent can have.
const MAX_PIECES: u32 = 1 << 21;

/// Most bytes that must be buffered to decode any one frame.
pub const MAX_FRAME_LEN: usize = 4 + MAX_EXTENDED_LEN as usize;

/// What a stream holds next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// A whole message.
    Message(Message),
    /// The head of a `piece` message. `len` bytes of payload follow it in the stream. The block's position
    /// has not been compared with the torrent.
    PieceHeader(BlockRef),
    /// A whole message of an id we do not know, to be passed over.
    Unknown(u8),
}

/// The answer of [`FrameDecoder::decode`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decoded {
    /// The buffer began with `frame`, which took its first `consumed` bytes.
    Frame {
        /// What it was.
        frame: Frame,
        /// Bytes to drop from the front of the buffer.
        consumed: usize,
    },
    /// Nothing can be said before the buffer holds at least this many bytes in all.
    NeedMore(usize),
}

/// A message whose length is illegal for its id. The stream cannot be read any further.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// Longer than any message may be.
    #[error("a message of {len} bytes")]
    TooLong {
        /// The length given, in bytes.
        len: u32,
    },
    /// Illegal for this id.
    #[error("message {id} with an illegal length of {len} bytes")]
    BadLength {
        /// The id of the message.
        id: u8,
        /// The length given, id included, in bytes.
        len: u32,
    },
}

/// Decodes one direction of a connection. Holds no bytes and no state but the number of pieces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameDecoder {
    pieces: Option<u32>,
}

impl FrameDecoder {
    /// A decoder for a torrent of `pieces` pieces; `None` while metadata is missing.
    #[must_use]
    pub const fn new(pieces: Option<u32>) -> Self {
        Self { pieces }
    }

    /// Says what `buf` begins with. Allocates only for a bitfield, an extended message or one of hashes that is complete.
    ///
    /// # Errors
    /// If the message has a length that its id does not allow.
    #[inline]
    pub fn decode(&self, buf: &[u8]) -> Result<Decoded, FrameError> {
        let Some(prefix) = buf.first_chunk::<4>() else {
            return Ok(Decoded::NeedMore(4));
        };
        let len = u32::from_be_bytes(*prefix);
        if len == 0 {
            return Ok(message(Message::KeepAlive, 4));
        }
        if len > MAX_EXTENDED_LEN {
            return Err(FrameError::TooLong { len });
        }
        let Some(&id) = buf.get(4) else {
            return Ok(Decoded::NeedMore(if len >= 9 {
                PIECE_HEADER_LEN
            } else {
                4 + len as usize
            }));
        };
        if !self.is_legal(id, len) {
            return Err(FrameError::BadLength { id, len });
        }
        let total = 4 + len as usize;
        let needed = if id == id::PIECE { PIECE_HEADER_LEN } else { total };
        let Some(body) = buf.get(5..needed) else {
            return Ok(Decoded::NeedMore(needed));
        };
        if id == id::PIECE {
            let frame = Frame::PieceHeader(BlockRef {
                piece: PieceIndex(be32(body, 0)),
                begin: be32(body, 4),
                len: len - 9,
            });
            return Ok(Decoded::Frame { frame, consumed: PIECE_HEADER_LEN });
        }
        Ok(match parse(id, body) {
            Some(parsed) => message(parsed, total),
            None => Decoded::Frame { frame: Frame::Unknown(id), consumed: total },
        })
    }

    /// Whether a message of type `id` may be `len` bytes long, id included.
    fn is_legal(self, id: u8, len: u32) -> bool {
        match id {
            id::CHOKE
            | id::UNCHOKE
            | id::INTERESTED
            | id::NOT_INTERESTED
            | id::HAVE_ALL
            | id::HAVE_NONE => len == 1,
            id::HAVE | id::SUGGEST | id::ALLOWED_FAST => len == 5,
            id::REQUEST | id::CANCEL | id::REJECT => len == 13,
            id::PORT => len == 3,
            id::PIECE => (10..=9 + MAX_BLOCK_LEN).contains(&len),
            id::EXTENDED => len >= 2,
            id::HASH_REQUEST | id::HASH_REJECT => len == HASH_REQUEST_LEN,
            id::HASHES => len.checked_sub(HASH_REQUEST_LEN).is_some_and(|hashes| {
                hashes % 32 == 0 && (1..=MAX_HASHES + MAX_UNCLES).contains(&(hashes / 32))
            }),
            id::BITFIELD => match self.pieces {
                Some(pieces) => len == 1 + pieces.div_ceil(8),
                None => len <= 1 + MAX_PIECES / 8,
            },
            _ => len <= MAX_UNKNOWN_LEN,
        }
    }
}

/// The message of type `id`, whose length has been checked, or `None` for an unknown id.
fn parse(id: u8, body: &[u8]) -> Option<Message> {
    let piece = || PieceIndex(be32(body, 0));
    let block = || BlockRef { piece: piece(), begin: be32(body, 4), len: be32(body, 8) };
    Some(match id {
        id::CHOKE => Message::Choke,
        id::UNCHOKE => Message::Unchoke,
        id::INTERESTED => Message::Interested,
        id::NOT_INTERESTED => Message::NotInterested,
        id::HAVE_ALL => Message::HaveAll,
        id::HAVE_NONE => Message::HaveNone,
        id::HAVE => Message::Have(piece()),
        id::SUGGEST => Message::Suggest(piece()),
        id::ALLOWED_FAST => Message::AllowedFast(piece()),
        id::REQUEST => Message::Request(block()),
        id::CANCEL => Message::Cancel(block()),
        id::REJECT => Message::Reject(block()),
        id::PORT => Message::Port(u16::from_be_bytes([body[0], body[1]])),
        id::BITFIELD => Message::Bitfield(body.into()),
        id::EXTENDED => Message::Extended { id: body[0], payload: body[1..].into() },
        id::HASH_REQUEST => Message::HashRequest(HashRequest::parse(body.first_chunk()?).into()),
        id::HASH_REJECT => Message::HashReject(HashRequest::parse(body.first_chunk()?).into()),
        id::HASHES => {
            let (request, hashes) = body.split_first_chunk()?;
            let (hashes, _) = hashes.as_chunks::<32>();
            Message::Hashes { request: HashRequest::parse(request).into(), hashes: hashes.into() }
        }
        _ => return None,
    })
}

fn message(message: Message, consumed: usize) -> Decoded {
    Decoded::Frame { frame: Frame::Message(message), consumed }
}

/// The big-endian number at `at`. The body is long enough because its length was checked by type.
fn be32(body: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([body[at], body[at + 1], body[at + 2], body[at + 3]])
}

#[cfg(test)]
mod tests;
