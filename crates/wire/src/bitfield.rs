//! Sets of pieces, in the wire's own bit order.

use crate::id::PieceIndex;
use alloc::boxed::Box;
use alloc::vec;
use core::fmt;

/// A set of pieces of one torrent.
///
/// Kept as the `bitfield` message has it (BEP 3): bit 7 of byte 0 is piece 0, spare bits at the end are zero.
/// The number of members is kept beside the bits, so [`Bitfield::count`] is free.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Bitfield {
    bytes: Box<[u8]>,
    len: u32,
    count: u32,
}

/// Why bytes are not a bitfield of the expected number of pieces.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BitfieldError {
    /// The number of bytes does not fit the number of pieces.
    #[error("bitfield of {got} bytes where {expected} are needed")]
    Length {
        /// Bytes received.
        got: usize,
        /// Bytes that the number of pieces asks for.
        expected: usize,
    },
    /// A bit beyond the last piece is set.
    #[error("bitfield with spare bits set")]
    SpareBits,
}

impl Bitfield {
    /// The empty set over `len` pieces.
    #[must_use]
    pub fn empty(len: u32) -> Self {
        Self { bytes: vec![0; (len as usize).div_ceil(8)].into_boxed_slice(), len, count: 0 }
    }

    /// The set of all `len` pieces.
    #[must_use]
    pub fn full(len: u32) -> Self {
        let mut bytes = vec![0xff; (len as usize).div_ceil(8)].into_boxed_slice();
        if let Some(last) = bytes.last_mut() {
            *last &= !spare_mask(len);
        }
        Self { bytes, len, count: len }
    }

    /// Reads the payload of a `bitfield` message of a torrent with `len` pieces.
    ///
    /// # Errors
    /// If the length is wrong or a spare bit is set; BEP 3 has such a peer disconnected.
    pub fn from_bytes(bytes: &[u8], len: u32) -> Result<Self, BitfieldError> {
        let expected = (len as usize).div_ceil(8);
        if bytes.len() != expected {
            return Err(BitfieldError::Length { got: bytes.len(), expected });
        }
        if bytes.last().is_some_and(|last| last & spare_mask(len) != 0) {
            return Err(BitfieldError::SpareBits);
        }
        let count = bytes.iter().map(|b| b.count_ones()).sum();
        Ok(Self { bytes: bytes.into(), len, count })
    }

    /// The payload of a `bitfield` message.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Number of pieces in the torrent (not in the set).
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Number of pieces in the set.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Whether no piece is in the set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether every piece is in the set. True of a torrent with no pieces.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.count == self.len
    }

    /// Whether `piece` is in the set; false for an index out of range.
    #[must_use]
    pub fn has(&self, piece: PieceIndex) -> bool {
        piece.0 < self.len && self.bytes[piece.as_usize() / 8] & bit(piece) != 0
    }

    /// Puts `piece` in. True if it was not there before.
    ///
    /// # Panics
    /// If `piece` is out of range.
    pub fn insert(&mut self, piece: PieceIndex) -> bool {
        assert!(piece.0 < self.len, "piece {piece} of {}", self.len);
        let byte = &mut self.bytes[piece.as_usize() / 8];
        let fresh = *byte & bit(piece) == 0;
        *byte |= bit(piece);
        self.count += u32::from(fresh);
        fresh
    }

    /// Takes `piece` out. True if it was there.
    ///
    /// # Panics
    /// If `piece` is out of range.
    pub fn remove(&mut self, piece: PieceIndex) -> bool {
        assert!(piece.0 < self.len, "piece {piece} of {}", self.len);
        let byte = &mut self.bytes[piece.as_usize() / 8];
        let there = *byte & bit(piece) != 0;
        *byte &= !bit(piece);
        self.count -= u32::from(there);
        there
    }

    /// The pieces in the set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        self.bytes.iter().enumerate().flat_map(|(i, &byte)| ones(i, byte))
    }

    /// The pieces not in the set, ascending.
    pub fn iter_missing(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        let last = self.bytes.len().wrapping_sub(1);
        self.bytes.iter().enumerate().flat_map(move |(i, &byte)| {
            let spare = if i == last { spare_mask(self.len) } else { 0 };
            ones(i, !byte & !spare)
        })
    }

    /// The pieces in `self` that are not in `other`, ascending. Both are over the same torrent.
    pub fn iter_difference<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = PieceIndex> + 'a {
        debug_assert_eq!(self.len, other.len);
        self.bytes.iter().zip(&other.bytes).enumerate().flat_map(|(i, (a, b))| ones(i, a & !b))
    }

    /// Whether `self` holds a piece that `other` lacks. Both are over the same torrent.
    #[must_use]
    pub fn has_any_outside(&self, other: &Self) -> bool {
        debug_assert_eq!(self.len, other.len);
        self.bytes.iter().zip(&other.bytes).any(|(a, b)| a & !b != 0)
    }
}

const fn bit(piece: PieceIndex) -> u8 {
    0x80 >> (piece.0 % 8)
}

/// The bits of the last byte that stand for no piece.
const fn spare_mask(len: u32) -> u8 {
    match len % 8 {
        0 => 0,
        used => 0xff >> used,
    }
}

fn ones(byte_index: usize, byte: u8) -> impl Iterator<Item = PieceIndex> {
    let mut rest = byte;
    core::iter::from_fn(move || {
        let lead = rest.leading_zeros();
        (lead < 8).then(|| {
            rest &= !(0x80 >> lead);
            let base = u32::try_from(byte_index * 8).unwrap_or(u32::MAX);
            PieceIndex(base + lead)
        })
    })
}

impl fmt::Debug for Bitfield {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bitfield({}/{})", self.count, self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn behaves_like_a_set(len in 1u32..300, ops in prop::collection::vec((any::<bool>(), 0u32..300), 0..200)) {
            let (mut fast, mut naive) = (Bitfield::empty(len), BTreeSet::new());
            for (put, piece) in ops {
                let piece = piece % len;
                if put {
                    prop_assert_eq!(fast.insert(PieceIndex(piece)), naive.insert(piece));
                } else {
                    prop_assert_eq!(fast.remove(PieceIndex(piece)), naive.remove(&piece));
                }
            }
            prop_assert_eq!(fast.count() as usize, naive.len());
            prop_assert_eq!(fast.iter().map(|p| p.0).collect::<Vec<_>>(), naive.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(fast.iter_missing().count(), len as usize - naive.len());
            prop_assert_eq!(fast.is_full(), naive.len() == len as usize);
            prop_assert_eq!(&Bitfield::from_bytes(fast.as_bytes(), len).unwrap(), &fast);
            let full = Bitfield::full(len);
            prop_assert_eq!(full.iter_difference(&fast).count(), len as usize - naive.len());
            prop_assert_eq!(full.has_any_outside(&fast), !fast.is_full());
        }
    }

    #[test]
    fn wrong_lengths_and_spare_bits_are_refused() {
        assert_eq!(
            Bitfield::from_bytes(&[0xff], 9),
            Err(BitfieldError::Length { got: 1, expected: 2 })
        );
        assert_eq!(Bitfield::from_bytes(&[0xff, 0xc0], 9), Err(BitfieldError::SpareBits));
        assert!(Bitfield::from_bytes(&[0xff, 0x80], 9).unwrap().is_full());
        assert!(!Bitfield::full(9).has(PieceIndex(9)));
    }
}
