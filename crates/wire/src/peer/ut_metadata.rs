//! Messages of `ut_metadata` (BEP 9): the info dictionary in pieces of 16 KiB, from peer to peer.
//!
//! Each is an extended message whose payload begins with a dictionary; in `data` the bytes of the piece stand
//! right behind it. The pieces have nothing to do with those of the torrent's data. Whether a length is right is
//! for the reader to decide, who knows how long the whole is; here it is only held to the bounds.

use super::extension::MAX_METADATA_LEN;
use crate::bencode::{self, BencodeError, Encoder, Limits, Strictness};
use alloc::vec::Vec;

/// By which the extension is named in the extension handshake.
pub const NAME: &str = "ut_metadata";

/// Length of every piece but the last, in bytes.
pub const METADATA_PIECE_LEN: u32 = 16 * 1024;

/// Pieces that the longest metadata has.
pub const MAX_METADATA_PIECES: u32 = MAX_METADATA_LEN / METADATA_PIECE_LEN;

const LIMITS: Limits = Limits { depth: 4, tokens: 64, strictness: Strictness::Lenient };

const REQUEST: i64 = 0;
const DATA: i64 = 1;
const REJECT: i64 = 2;

/// A message of `ut_metadata`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MetadataMessage<'a> {
    /// Asks for a piece.
    Request {
        /// Its index, below [`MAX_METADATA_PIECES`].
        piece: u32,
    },
    /// Gives a piece.
    Data {
        /// Its index, below [`MAX_METADATA_PIECES`].
        piece: u32,
        /// Length of the whole info dictionary as the sender says, 1 to [`MAX_METADATA_LEN`].
        total_len: Option<u32>,
        /// Its bytes, 1 to [`METADATA_PIECE_LEN`].
        payload: &'a [u8],
    },
    /// Says that a piece will not be given.
    Reject {
        /// Its index, below [`MAX_METADATA_PIECES`].
        piece: u32,
    },
}

/// Why a payload is no message of `ut_metadata`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MetadataMessageError {
    /// It does not begin with bencode.
    #[error("the metadata message cannot be read ({0})")]
    NotBencode(#[from] BencodeError),
    /// It does not begin with a dictionary that has `msg_type` and `piece`.
    #[error("the metadata message lacks its type or its piece")]
    Incomplete,
    /// A type that BEP 9 does not name; to be ignored.
    #[error("a metadata message of unknown type {0}")]
    UnknownType(i64),
    /// A piece that no metadata has.
    #[error("metadata piece {0} is beyond 16 MiB")]
    PieceOutOfRange(i64),
    /// A piece without bytes, or of more than 16 KiB.
    #[error("a metadata piece of {0} bytes")]
    PayloadLen(usize),
}

impl<'a> MetadataMessage<'a> {
    /// Reads the payload of an extended message.
    ///
    /// # Errors
    /// If it is malformed, breaks a bound, or is of a type that is not known.
    pub fn parse(payload: &'a [u8]) -> Result<Self, MetadataMessageError> {
        use MetadataMessageError as E;
        let (doc, used) = bencode::parse_prefix(payload, LIMITS)?;
        let dict = doc.as_dict().ok_or(E::Incomplete)?;
        let kind = dict.get_int(b"msg_type").ok_or(E::Incomplete)?;
        let index = dict.get_int(b"piece").ok_or(E::Incomplete)?;
        let in_range = u32::try_from(index).ok().filter(|piece| *piece < MAX_METADATA_PIECES);
        let piece = in_range.ok_or(E::PieceOutOfRange(index))?;
        match kind {
            REQUEST => Ok(Self::Request { piece }),
            REJECT => Ok(Self::Reject { piece }),
            DATA => {
                let bytes = &payload[used..];
                if !(1..=METADATA_PIECE_LEN as usize).contains(&bytes.len()) {
                    return Err(E::PayloadLen(bytes.len()));
                }
                let total = dict.get_int(b"total_size").and_then(|n| u32::try_from(n).ok());
                let total_len = total.filter(|n| (1..=MAX_METADATA_LEN).contains(n));
                Ok(Self::Data { piece, total_len, payload: bytes })
            }
            other => Err(E::UnknownType(other)),
        }
    }

    /// The payload of the extended message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let head = |kind, piece: u32, total_len: Option<u32>| {
            Encoder::dict_bytes(|dict| {
                dict.int(b"msg_type", kind);
                dict.int(b"piece", i64::from(piece));
                if let Some(len) = total_len {
                    dict.int(b"total_size", i64::from(len));
                }
            })
        };
        match *self {
            Self::Request { piece } => head(REQUEST, piece, None),
            Self::Reject { piece } => head(REJECT, piece, None),
            Self::Data { piece, total_len, payload } => {
                let mut bytes = head(DATA, piece, total_len);
                bytes.extend_from_slice(payload);
                bytes
            }
        }
    }
}

/// Number of pieces of metadata of `len` bytes.
#[must_use]
pub const fn pieces_of(len: u32) -> u32 {
    len.div_ceil(METADATA_PIECE_LEN)
}

/// Length of `piece` of metadata of `len` bytes; 0 if there is no such piece.
#[must_use]
pub const fn len_of_piece(len: u32, piece: u32) -> u32 {
    let begin = piece.saturating_mul(METADATA_PIECE_LEN);
    let left = len.saturating_sub(begin);
    if left < METADATA_PIECE_LEN { left } else { METADATA_PIECE_LEN }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::format;

    #[test]
    fn the_examples_of_bep_9() {
        let read = MetadataMessage::parse;
        let request = MetadataMessage::Request { piece: 0 };
        assert_eq!(read(b"d8:msg_typei0e5:piecei0ee"), Ok(request));
        assert_eq!(request.encode(), b"d8:msg_typei0e5:piecei0ee");
        let data = MetadataMessage::Data { piece: 0, total_len: Some(34256), payload: b"xxxx" };
        let bytes = b"d8:msg_typei1e5:piecei0e10:total_sizei34256eexxxx";
        assert_eq!(read(bytes), Ok(data));
        assert_eq!(data.encode(), bytes);
        assert_eq!(read(b"d8:msg_typei2e5:piecei0ee"), Ok(MetadataMessage::Reject { piece: 0 }));
    }

    #[test]
    fn what_breaks_a_bound_is_refused() {
        use MetadataMessageError as E;
        let read = MetadataMessage::parse;
        assert_eq!(read(b"d8:msg_typei3e5:piecei0ee"), Err(E::UnknownType(3)));
        assert_eq!(read(b"d8:msg_typei0e5:piecei-1ee"), Err(E::PieceOutOfRange(-1)));
        assert_eq!(read(b"d8:msg_typei0e5:piecei1024ee"), Err(E::PieceOutOfRange(1024)));
        assert_eq!(read(b"d8:msg_typei0ee"), Err(E::Incomplete));
        assert_eq!(read(b"le"), Err(E::Incomplete));
        assert!(matches!(read(b"d8:msg"), Err(E::NotBencode(_))));
        assert_eq!(read(b"d8:msg_typei1e5:piecei0ee"), Err(E::PayloadLen(0)));
        let mut long = b"d8:msg_typei1e5:piecei0ee".to_vec();
        long.resize(long.len() + METADATA_PIECE_LEN as usize, 0);
        assert!(MetadataMessage::parse(&long).is_ok());
        long.push(0);
        assert_eq!(
            MetadataMessage::parse(&long),
            Err(E::PayloadLen(METADATA_PIECE_LEN as usize + 1))
        );
        let nested = format!("d1:a{}{}e", "l".repeat(100), "e".repeat(100));
        assert!(matches!(read(nested.as_bytes()), Err(E::NotBencode(_))));
    }

    #[test]
    fn a_total_that_cannot_be_is_none() {
        let read = MetadataMessage::parse(b"d8:msg_typei1e5:piecei0e10:total_sizei99999999999eex");
        let want = MetadataMessage::Data { piece: 0, total_len: None, payload: b"x" };
        assert_eq!(read, Ok(want));
    }

    proptest! {
        #[test]
        fn pieces_cover_the_whole(len in 1..=MAX_METADATA_LEN) {
            let count = pieces_of(len);
            prop_assert!((1..=MAX_METADATA_PIECES).contains(&count));
            let lens: Vec<u32> = (0..count).map(|piece| len_of_piece(len, piece)).collect();
            prop_assert!(lens.iter().all(|len| *len > 0));
            prop_assert_eq!(lens.iter().sum::<u32>(), len);
            prop_assert_eq!(len_of_piece(len, count), 0);
            prop_assert_eq!(len_of_piece(len, u32::MAX), 0);
        }

        #[test]
        fn messages_survive_the_trip(
            kind in 0u8..3, piece in 0..MAX_METADATA_PIECES,
            total in proptest::option::of(1..=MAX_METADATA_LEN),
            payload in proptest::collection::vec(any::<u8>(), 1..200),
        ) {
            let message = match kind {
                0 => MetadataMessage::Request { piece },
                1 => MetadataMessage::Data { piece, total_len: total, payload: &payload },
                _ => MetadataMessage::Reject { piece },
            };
            let bytes = message.encode();
            prop_assert_eq!(MetadataMessage::parse(&bytes), Ok(message));
        }
    }
}
