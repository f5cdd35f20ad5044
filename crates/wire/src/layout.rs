//! How the bytes of a torrent fall into pieces and blocks.

use crate::id::{BLOCK_LEN, BlockRef, PieceIndex};
use alloc::boxed::Box;

/// The division of a torrent into pieces and blocks. All arithmetic on piece sizes goes through it.
///
/// The bytes of all files stand one after another in a *linear space*; piece `i` begins at `i * piece_len`.
/// In a v1 torrent only the last piece can be short. In a v2 torrent every file begins on a piece boundary
/// (BEP 52), so the last piece of each file can be short and is followed by a gap in the linear space.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PieceLayout {
    piece_len: u32,
    count: u32,
    /// Pieces shorter than `piece_len`, ascending, with their lengths.
    short: Box<[(PieceIndex, u32)]>,
}

impl PieceLayout {
    /// The layout of a v1 (or hybrid) torrent of `total_len` bytes.
    ///
    /// # Panics
    /// If `piece_len` is 0 or there are 2^32 pieces or more; [`crate::metainfo`] refuses both long before.
    #[must_use]
    pub fn contiguous(total_len: u64, piece_len: u32) -> Self {
        assert!(piece_len > 0, "piece length 0");
        let count = u32::try_from(total_len.div_ceil(u64::from(piece_len))).unwrap_or(u32::MAX);
        assert!(count < u32::MAX, "too many pieces");
        let tail = u32::try_from(total_len % u64::from(piece_len)).unwrap_or(0);
        let short = if tail == 0 {
            Box::default()
        } else {
            Box::new([(PieceIndex(count - 1), tail)]) as Box<[_]>
        };
        Self { piece_len, count, short }
    }

    /// The layout of `count` pieces of which those in `short` (ascending) are shorter than `piece_len`.
    ///
    /// # Panics
    /// If `piece_len` is 0, or `short` is not ascending, out of range, or holds a length of 0 or not below `piece_len`.
    #[must_use]
    pub fn with_short_pieces(piece_len: u32, count: u32, short: Box<[(PieceIndex, u32)]>) -> Self {
        assert!(piece_len > 0, "piece length 0");
        assert!(
            short.iter().all(|&(p, len)| p.0 < count && len > 0 && len < piece_len),
            "short piece out of range"
        );
        assert!(short.is_sorted_by(|a, b| a.0 < b.0), "short pieces not ascending");
        Self { piece_len, count, short }
    }

    /// Nominal length of a piece in bytes.
    #[must_use]
    pub const fn piece_len(&self) -> u32 {
        self.piece_len
    }

    /// Number of pieces.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Pieces shorter than [`PieceLayout::piece_len`], ascending, with their lengths in bytes.
    #[must_use]
    pub fn short_pieces(&self) -> &[(PieceIndex, u32)] {
        &self.short
    }

    /// All pieces, ascending.
    pub fn pieces(&self) -> impl DoubleEndedIterator<Item = PieceIndex> + use<> {
        (0..self.count).map(PieceIndex)
    }

    /// Bytes in `piece`; 0 for an index out of range.
    #[must_use]
    pub fn len_of(&self, piece: PieceIndex) -> u32 {
        if piece.0 >= self.count {
            return 0;
        }
        match self.short.binary_search_by_key(&piece, |&(p, _)| p) {
            Ok(i) => self.short[i].1,
            Err(_) => self.piece_len,
        }
    }

    /// Offset of the first byte of `piece` in the linear space.
    #[must_use]
    pub fn offset_of(&self, piece: PieceIndex) -> u64 {
        u64::from(piece.0) * u64::from(self.piece_len)
    }

    /// Sum of the lengths of all pieces in bytes.
    #[must_use]
    pub fn total_len(&self) -> u64 {
        let gaps: u64 = self.short.iter().map(|&(_, len)| u64::from(self.piece_len - len)).sum();
        u64::from(self.count) * u64::from(self.piece_len) - gaps
    }

    /// Number of 16 KiB blocks in `piece`, the last of which may be short.
    #[must_use]
    pub fn blocks_in(&self, piece: PieceIndex) -> u32 {
        self.len_of(piece).div_ceil(BLOCK_LEN)
    }

    /// The `index`th 16 KiB block of `piece`, or `None` beyond its end.
    #[must_use]
    pub fn block(&self, piece: PieceIndex, index: u32) -> Option<BlockRef> {
        let begin = index.checked_mul(BLOCK_LEN)?;
        let left = self.len_of(piece).checked_sub(begin).filter(|&left| left > 0)?;
        Some(BlockRef { piece, begin, len: left.min(BLOCK_LEN) })
    }

    /// Index of the 16 KiB block that `block` is, or `None` if it is not exactly one of ours.
    #[must_use]
    pub fn block_index(&self, block: &BlockRef) -> Option<u32> {
        let index = block.begin / BLOCK_LEN;
        (self.block(block.piece, index)? == *block).then_some(index)
    }

    /// Whether `block` lies inside its piece and is not empty.
    #[must_use]
    pub fn contains(&self, block: &BlockRef) -> bool {
        block.len > 0
            && block.begin.checked_add(block.len).is_some_and(|end| end <= self.len_of(block.piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_and_blocks_cover_everything_once(total in 0u64..3_000_000, piece_len in 1u32..400_000) {
            let l = PieceLayout::contiguous(total, piece_len);
            prop_assert_eq!(l.total_len(), total);
            let mut at = 0;
            for piece in l.pieces() {
                prop_assert_eq!(l.offset_of(piece), at);
                let mut begin = 0;
                for i in 0..l.blocks_in(piece) {
                    let block = l.block(piece, i).unwrap();
                    prop_assert_eq!(block.begin, begin);
                    prop_assert_eq!(l.block_index(&block), Some(i));
                    prop_assert!(l.contains(&block));
                    begin += block.len;
                }
                prop_assert_eq!(begin, l.len_of(piece));
                prop_assert_eq!(l.block(piece, l.blocks_in(piece)), None);
                at += u64::from(begin);
            }
            prop_assert_eq!(at, total);
        }
    }

    #[test]
    fn an_exact_multiple_has_no_short_piece() {
        let l = PieceLayout::contiguous(4 * 32768, 32768);
        assert_eq!((l.count(), l.len_of(PieceIndex(3)), l.len_of(PieceIndex(4))), (4, 32768, 0));
    }

    #[test]
    fn v2_gaps_count_for_nothing() {
        let l = PieceLayout::with_short_pieces(
            32768,
            3,
            Box::new([(PieceIndex(0), 1), (PieceIndex(2), 5)]),
        );
        assert_eq!(
            (l.total_len(), l.offset_of(PieceIndex(1)), l.len_of(PieceIndex(0))),
            (32774, 32768, 1)
        );
    }

    #[test]
    fn blocks_outside_their_piece_are_refused() {
        let l = PieceLayout::contiguous(40_000, 32768);
        let at = |begin, len| BlockRef { piece: PieceIndex(1), begin, len };
        assert!(l.contains(&at(0, 7232)) && !l.contains(&at(0, 7233)) && !l.contains(&at(7232, 0)));
        assert!(!l.contains(&at(u32::MAX, 2)));
        assert_eq!(l.block_index(&at(0, 7231)), None);
    }
}
