//! The received blocks of unfinished pieces: in memory, or spilled to disk.

use samara_disk::BlockBuf;
use samara_wire::bitfield::Bitfield;
use samara_wire::id::{BLOCK_LEN, BlockRef, PieceIndex};
use samara_wire::time::Instant;
use std::collections::BTreeMap;

/// Blocks of unfinished pieces.
#[derive(Default)]
pub(crate) struct PieceBuffers {
    pieces: BTreeMap<PieceIndex, Piece>,
    /// Pieces that disk threads are hashing and writing.
    pub(super) writing: Vec<PieceIndex>,
    /// Nothing of it while nothing is written.
    unsure: Option<Box<Unsure>>,
    /// Blocks being spilled.
    pub(super) spilling: usize,
}

/// Of pieces that were given to be written.
#[derive(Default)]
struct Unsure {
    /// Those of which bytes were given to a disk that has since failed to keep some: their outcome counts for nothing.
    doubted: Vec<PieceIndex>,
    /// While resume data is written: those given to be written since its snapshot was taken.
    since_snapshot: Option<Vec<PieceIndex>>,
}

#[derive(Default)]
struct Piece {
    blocks: Vec<(BlockRef, BlockBuf)>,
    /// When a block last came.
    touched: Instant,
    /// Blocks that are on disk, unverified.
    on_disk: Vec<BlockRef>,
    /// Blocks on their way to the disk.
    spilling: usize,
    /// The core wants it verified as soon as no block is on its way: with digests, or without.
    verify: Option<bool>,
}

impl PieceBuffers {
    /// A snapshot for resume data is taken.
    pub(super) fn begin_snapshot(&mut self) {
        self.unsure.get_or_insert_default().since_snapshot = Some(Vec::new());
    }

    /// Gives the pieces that were given to be written since the snapshot.
    pub(super) fn end_snapshot(&mut self) -> Vec<PieceIndex> {
        let Some(unsure) = &mut self.unsure else { return Vec::new() };
        let since = unsure.since_snapshot.take().unwrap_or_default();
        self.unsure.take_if(|unsure| unsure.doubted.is_empty());
        since
    }

    /// Keeps a block that was received.
    pub(crate) fn put(&mut self, block: BlockRef, buf: BlockBuf, now: Instant) {
        let piece = self.pieces.entry(block.piece).or_default();
        piece.touched = now;
        piece.blocks.push((block, buf));
    }

    /// Notes a block that an earlier run left on disk.
    pub(super) fn found(&mut self, block: BlockRef) {
        self.pieces.entry(block.piece).or_default().on_disk.push(block);
    }

    /// Takes the blocks of a piece out to be verified. `None` while some are on their way to the disk: then
    /// [`PieceBuffers::spilled`] tells when it can be done.
    pub(super) fn take_to_verify(
        &mut self,
        index: PieceIndex,
        want_digests: bool,
    ) -> Option<Vec<(u32, BlockBuf)>> {
        if let Some(piece) = self.pieces.get_mut(&index).filter(|piece| piece.spilling > 0) {
            piece.verify = Some(want_digests);
            return None;
        }
        let blocks = self.pieces.remove(&index).unwrap_or_default().blocks;
        self.writing.push(index);
        if let Some(since) = self.unsure.as_mut().and_then(|unsure| unsure.since_snapshot.as_mut())
        {
            since.push(index);
        }
        Some(blocks.into_iter().map(|(block, buf)| (block.begin, buf)).collect())
    }

    /// Nothing of the piece is kept any more. Gives whether blocks of it were on disk.
    pub(super) fn forget(&mut self, index: PieceIndex) -> bool {
        self.pieces.remove(&index).is_some_and(|piece| !piece.on_disk.is_empty())
    }

    /// A piece is hashed and written, or not. Gives whether that is to be believed.
    pub(super) fn written(&mut self, piece: PieceIndex) -> bool {
        let take = |list: &mut Vec<PieceIndex>| {
            let at = list.iter().position(|&p| p == piece);
            at.map(|at| list.swap_remove(at)).is_some()
        };
        take(&mut self.writing);
        let doubted = self.unsure.as_mut().is_some_and(|unsure| take(&mut unsure.doubted));
        self.unsure.take_if(|u| u.doubted.is_empty() && u.since_snapshot.is_none());
        !doubted
    }

    /// The disk has failed to keep what it was given: forgets blocks that were spilled, and doubts pieces that are being written.
    /// Gives the pieces of which blocks are gone.
    pub(super) fn doubt_disk(&mut self) -> Vec<PieceIndex> {
        if !self.writing.is_empty() {
            self.unsure.get_or_insert_default().doubted.clone_from(&self.writing);
        }
        let spilled = |piece: &Piece| piece.spilling > 0 || !piece.on_disk.is_empty();
        let gone: Vec<_> =
            self.pieces.iter().filter(|(_, p)| spilled(p)).map(|(&index, _)| index).collect();
        gone.iter().for_each(|index| drop(self.pieces.remove(index)));
        gone
    }

    /// Takes the blocks of the piece out that waited longest, to be spilled, but of none in `kept`. `None`: there is none to spare.
    pub(super) fn take_coldest(&mut self, kept: &Bitfield) -> Option<Vec<(BlockRef, BlockBuf)>> {
        let cold = self
            .pieces
            .iter_mut()
            .filter(|(index, piece)| !piece.blocks.is_empty() && !kept.has(**index));
        let (_, piece) = cold.min_by_key(|(_, piece)| piece.touched)?;
        let blocks = std::mem::take(&mut piece.blocks);
        piece.spilling += blocks.len();
        self.spilling += blocks.len();
        Some(blocks)
    }

    /// Blocks of a piece reached the disk, or did not. Gives whether the piece can now be verified, and with
    /// digests or not.
    pub(super) fn spilled(
        &mut self,
        index: PieceIndex,
        blocks: &[BlockRef],
        ok: bool,
    ) -> Option<bool> {
        self.spilling = self.spilling.saturating_sub(blocks.len());
        let piece = self.pieces.get_mut(&index)?;
        piece.spilling = piece.spilling.saturating_sub(blocks.len());
        if !ok {
            self.pieces.remove(&index);
            return None;
        }
        piece.on_disk.extend_from_slice(blocks);
        if piece.spilling > 0 { None } else { piece.verify.take() }
    }

    /// Blocks of unfinished pieces that are on disk, as one set for each piece.
    pub(super) fn on_disk(
        &self,
        blocks_in: impl Fn(PieceIndex) -> u32,
    ) -> Vec<(PieceIndex, Bitfield)> {
        let with_blocks = self.pieces.iter().filter(|(_, piece)| !piece.on_disk.is_empty());
        let set = |(&index, piece): (&PieceIndex, &Piece)| {
            let mut set = Bitfield::empty(blocks_in(index));
            for block in &piece.on_disk {
                set.insert(PieceIndex(block.begin / BLOCK_LEN));
            }
            (index, set)
        };
        with_blocks.map(set).collect()
    }

    /// Whether any disk job of this torrent's pieces is under way.
    pub(super) fn is_busy(&self) -> bool {
        !self.writing.is_empty() || self.spilling > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use samara_disk::BlockPool;

    fn block(piece: u32, index: u32) -> BlockRef {
        BlockRef { piece: PieceIndex(piece), begin: index * BLOCK_LEN, len: BLOCK_LEN }
    }

    #[test]
    fn a_piece_waits_for_its_blocks_on_the_way_to_disk() {
        let pool = BlockPool::new(1 << 20);
        let mut pieces = PieceBuffers::default();
        pieces.put(block(7, 0), pool.take(), Instant::from_secs(1));
        pieces.put(block(3, 0), pool.take(), Instant::from_secs(2));
        let cold = pieces.take_coldest(&Bitfield::empty(8)).unwrap();
        assert_eq!(cold[0].0, block(7, 0));
        pieces.put(block(7, 1), pool.take(), Instant::from_secs(3));
        assert!(pieces.take_to_verify(PieceIndex(7), true).is_none());
        assert_eq!(pieces.spilled(PieceIndex(7), &[block(7, 0)], true), Some(true));
        assert!(pieces.on_disk(|_| 2)[0].1.has(PieceIndex(0)));
        let rest = pieces.take_to_verify(PieceIndex(7), true).unwrap();
        assert_eq!(rest.iter().map(|(begin, _)| *begin).collect::<Vec<_>>(), [BLOCK_LEN]);
        assert!(pieces.is_busy());
        pieces.written(PieceIndex(7));
        assert!(!pieces.is_busy());
    }

    #[test]
    fn blocks_that_could_not_be_spilled_are_gone() {
        let pool = BlockPool::new(1 << 20);
        let mut pieces = PieceBuffers::default();
        pieces.put(block(1, 0), pool.take(), Instant::ZERO);
        drop(pieces.take_coldest(&Bitfield::empty(8)));
        assert_eq!(pieces.spilled(PieceIndex(1), &[block(1, 0)], false), None);
        assert!(pieces.on_disk(|_| 1).is_empty() && !pieces.is_busy());
        assert!(pieces.take_coldest(&Bitfield::empty(8)).is_none());
    }

    #[test]
    fn nothing_is_spilled_over_a_piece_that_a_record_may_claim() {
        let pool = BlockPool::new(1 << 20);
        let mut pieces = PieceBuffers::default();
        pieces.put(block(1, 0), pool.take(), Instant::from_secs(1));
        pieces.put(block(2, 0), pool.take(), Instant::from_secs(2));
        let mut claimed = Bitfield::empty(8);
        claimed.insert(PieceIndex(1));
        assert_eq!(pieces.take_coldest(&claimed).unwrap()[0].0, block(2, 0));
        assert!(pieces.take_coldest(&claimed).is_none());
        assert_eq!(pieces.take_coldest(&Bitfield::empty(8)).unwrap()[0].0, block(1, 0));
    }

    #[test]
    fn after_a_failed_sync_nothing_counts_that_the_disk_was_given_before() {
        let pool = BlockPool::new(1 << 20);
        let mut pieces = PieceBuffers::default();
        for index in 1..=4 {
            pieces.put(block(index, 0), pool.take(), Instant::from_secs(index.into()));
        }
        assert!(pieces.take_to_verify(PieceIndex(4), false).is_some());
        let none = Bitfield::empty(8);
        let (one, two) = (pieces.take_coldest(&none).unwrap(), pieces.take_coldest(&none).unwrap());
        assert_eq!((one[0].0, two[0].0), (block(1, 0), block(2, 0)));
        assert_eq!(pieces.spilled(PieceIndex(1), &[block(1, 0)], true), None);
        assert_eq!(pieces.doubt_disk(), [PieceIndex(1), PieceIndex(2)]);
        assert_eq!(pieces.spilled(PieceIndex(2), &[block(2, 0)], true), None);
        assert!(pieces.on_disk(|_| 2).is_empty());
        assert!(!pieces.written(PieceIndex(4)), "written before the sync that failed");
        assert!(pieces.take_to_verify(PieceIndex(3), false).is_some());
        assert!(pieces.written(PieceIndex(3)) && !pieces.is_busy());
    }
}
