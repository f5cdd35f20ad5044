//! What becomes of blocks and pieces: released, received, verified, failed, found, lost.

use super::availability::Availability;
use super::order::Order;
use super::partial::{Block, Partial, Released};
use super::{ENDGAME_FLOOR, ENDGAME_SHARE, Picker, Received};
use crate::torrent::PeerKey;
use alloc::vec::Vec;
use samara_wire::bitfield::Bitfield;
use samara_wire::id::{BLOCK_LEN, BlockRef, PieceIndex};

impl Picker {
    /// Whether `block` is exactly one of the blocks that we ask for, and lacking in a piece that is wanted or
    /// was begun: whether its payload is of use. Tell [`Picker::received`] of blocks thrown away too, so that waste
    /// is counted.
    #[must_use]
    pub fn needs(&self, block: &BlockRef) -> bool {
        let Some(index) = self.layout.block_index(block) else { return false };
        match self.partials.get(&block.piece) {
            Some(partial) => {
                matches!(partial.blocks[index as usize], Block::Open | Block::Requested { .. })
            }
            None => self.wants(block.piece),
        }
    }

    /// Blocks that arrived twice so far.
    #[must_use]
    pub const fn wasted_blocks(&self) -> u64 {
        self.wasted
    }

    /// Has `piece` fetched from one peer at a time from now on, so that if it fails again its sender is known.
    pub fn suspect(&mut self, piece: PieceIndex) {
        if self.missing.has(piece) {
            self.suspects.insert(piece);
        }
    }

    /// Gives back one request: rejected or timed out. Does nothing if `block` is not asked of `peer`.
    pub fn release(&mut self, peer: PeerKey, block: BlockRef) {
        if let Some(index) = self.layout.block_index(&block) {
            self.release_index(peer, block.piece, index);
        }
    }

    /// Gives back all requests to a peer that left or choked us, and what was reserved for it. Costs the blocks
    /// of all partial pieces.
    pub fn release_all(&mut self, peer: PeerKey) {
        let mut asked = Vec::new();
        for (&piece, partial) in &mut self.partials {
            if partial.owner == Some(peer) {
                partial.owner = None;
            }
            if partial.requested > 0 {
                let indices = (0u32..).take(partial.blocks.len());
                asked.extend(
                    indices
                        .filter(|&i| partial.requesters(i).any(|p| p == peer))
                        .map(|i| (piece, i)),
                );
            }
        }
        for (piece, index) in asked {
            self.release_index(peer, piece, index);
        }
    }

    /// A block arrived from `peer`. It is taken if it is lacking, even if its request was released before.
    #[must_use]
    pub fn received(&mut self, peer: PeerKey, block: BlockRef) -> Received {
        let Some(index) = self.layout.block_index(&block) else { return Received::NotOurs };
        if !self.partials.contains_key(&block.piece) {
            if !self.missing.has(block.piece) {
                self.wasted += 1;
                return Received::Duplicate;
            }
            if !self.wants(block.piece) {
                return Received::NotOurs;
            }
            self.begin(block.piece);
        }
        let Some(partial) = self.partials.get_mut(&block.piece) else { return Received::NotOurs };
        let extras = partial.extras();
        let Some(cancel) = partial.receive(index, peer) else {
            self.wasted += 1;
            return Received::Duplicate;
        };
        self.extras -= (extras - partial.extras()) as u64;
        if partial.open == 0 {
            self.open.remove(&block.piece);
        }
        Received::Fresh { piece_complete: partial.is_complete(), cancel }
    }

    /// The blocks of an unfinished or unverified piece that are here, in order, with their senders (`None` for a
    /// block from an earlier run). Nothing once the piece is verified or failed.
    pub fn blocks_from(
        &self,
        piece: PieceIndex,
    ) -> impl Iterator<Item = (BlockRef, Option<PeerKey>)> + '_ {
        let blocks = self.partials.get(&piece).map_or(&[][..], |partial| &partial.blocks);
        (0u32..).zip(blocks).filter_map(move |(index, block)| {
            let from = match *block {
                Block::Open | Block::Requested { .. } => return None,
                Block::Received { from } => Some(from),
                Block::Restored => None,
            };
            Some((self.layout.block(piece, index)?, from))
        })
    }

    /// The peers that `block` is asked of.
    pub fn requesters(&self, block: &BlockRef) -> impl Iterator<Item = PeerKey> + '_ {
        let partial = self.partials.get(&block.piece).zip(self.layout.block_index(block));
        partial.into_iter().flat_map(|(partial, index)| partial.requesters(index))
    }

    /// `piece` is had: verified after its last block, or found whole on disk.
    pub fn verified(&mut self, piece: PieceIndex) {
        if !self.missing.has(piece) {
            return;
        }
        self.forget_partial(piece);
        self.withdraw(piece);
        if self.wants(piece) {
            self.wanted_left -= 1;
            self.wanted_bytes_left -= u64::from(self.layout.len_of(piece));
        }
        self.missing.remove(piece);
        self.suspects.remove(&piece);
        self.set_deadline(piece, None);
        if self.missing.is_empty() {
            self.missing = Bitfield::empty(0);
            self.startable = Bitfield::empty(0);
            self.order = Order::default();
            self.availability.stop_counting();
        }
    }

    /// `piece` did not match its hash or could not be written: all its blocks are lacking again. Answers the
    /// requests that were still out for it, which the picker has forgotten.
    pub fn failed(&mut self, piece: PieceIndex) -> Vec<(PeerKey, BlockRef)> {
        let out = self.forget_partial(piece);
        self.admit(piece);
        out
    }

    /// A verified piece is lost: it cannot be read any more. `peers` are the bitfields of all connected peers;
    /// they are counted anew if we were complete.
    ///
    /// # Panics
    /// If `piece` is out of range.
    pub fn lost<'a>(&mut self, piece: PieceIndex, peers: impl Iterator<Item = &'a Bitfield>) {
        if self.missing.has(piece) {
            return;
        }
        if self.missing.is_empty() {
            self.missing = Bitfield::empty(self.layout.count());
            self.startable = self.missing.clone();
        }
        if !self.availability.is_counting() {
            self.availability = Availability::new(true);
            peers.for_each(|has| self.availability.join(has));
        }
        self.missing.insert(piece);
        if self.wants(piece) {
            self.wanted_left += 1;
            self.wanted_bytes_left += u64::from(self.layout.len_of(piece));
        }
        self.admit(piece);
    }

    /// Blocks of an unfinished piece that an earlier run left. True if with them the piece is complete and can
    /// be hashed. Ignored if we have the piece or it was begun, or `blocks` is over another number of blocks than it has.
    pub fn restore_partial(&mut self, piece: PieceIndex, blocks: &Bitfield) -> bool {
        let fits = self.missing.has(piece) && blocks.len() == self.layout.blocks_in(piece);
        // Of a record that names a piece twice the first word counts: it must not be hashed twice.
        if !fits || blocks.is_empty() || self.partials.contains_key(&piece) {
            return false;
        }
        self.begin(piece);
        let Some(partial) = self.partials.get_mut(&piece) else { return false };
        for block in blocks.iter() {
            partial.restore(block.0);
        }
        if partial.open == 0 {
            self.open.remove(&piece);
        }
        partial.is_complete()
    }

    /// The pieces of which some blocks are here, ascending, with those blocks: for resume data.
    pub fn partial_pieces(&self) -> impl Iterator<Item = (PieceIndex, Bitfield)> + '_ {
        self.partials.iter().filter(|(_, partial)| partial.received() > 0).map(
            |(&piece, partial)| {
                let mut blocks = Bitfield::empty(self.layout.blocks_in(piece));
                for (index, block) in (0u32..).zip(&partial.blocks) {
                    if matches!(block, Block::Received { .. } | Block::Restored) {
                        blocks.insert(PieceIndex(index));
                    }
                }
                (piece, blocks)
            },
        )
    }

    /// Number of pieces that are begun and not verified.
    #[must_use]
    pub fn partial_count(&self) -> usize {
        self.partials.len()
    }

    /// Makes a piece startable if it is wanted, lacking and not begun.
    fn admit(&mut self, piece: PieceIndex) {
        let free = self.wants(piece) && !self.partials.contains_key(&piece);
        if free && self.startable.insert(piece) {
            self.order.insert(piece, self.priorities.get(piece), self.class(piece));
        }
    }

    /// Makes a piece not startable.
    fn withdraw(&mut self, piece: PieceIndex) {
        if self.startable.has(piece) {
            self.startable.remove(piece);
            self.order.remove(piece, self.priorities.get(piece), self.class(piece));
        }
    }

    /// Makes a piece partial, if it is not.
    pub(super) fn begin(&mut self, piece: PieceIndex) {
        self.withdraw(piece);
        let blocks = self.layout.blocks_in(piece);
        self.partials.entry(piece).or_insert_with(|| Partial::new(blocks));
        self.open.insert(piece);
    }

    /// Drops what is known of a begun piece; answers the requests that were out.
    fn forget_partial(&mut self, piece: PieceIndex) -> Vec<(PeerKey, BlockRef)> {
        let Some(partial) = self.partials.remove(&piece) else { return Vec::new() };
        self.open.remove(&piece);
        self.extras -= partial.extras() as u64;
        if partial.requested == 0 {
            return Vec::new();
        }
        let blocks = (0..self.layout.blocks_in(piece)).filter_map(|i| self.layout.block(piece, i));
        let asked = |(i, block)| partial.requesters(i).map(move |peer| (peer, block));
        (0u32..).zip(blocks).flat_map(asked).collect()
    }

    fn release_index(&mut self, peer: PeerKey, piece: PieceIndex, index: u32) {
        let Some(partial) = self.partials.get_mut(&piece) else { return };
        match partial.release(index, peer) {
            Released::NotAsked => {}
            Released::StillRequested => self.extras -= 1,
            Released::Opened if partial.is_untouched() => {
                self.forget_partial(piece);
                self.admit(piece);
            }
            Released::Opened => _ = self.open.insert(piece),
        }
    }

    /// Requests that endgame may add now. A block under way has two more requesters at most, so not even if all
    /// of them are wasted is it more than is allowed. Those that are `stuck` at peers that bring none do not arrive within a moment.
    pub(super) fn extras_allowed(&self, stuck: u64) -> u64 {
        let limit = self.endgame_limit();
        if self.under_way().saturating_sub(stuck) > limit {
            return 0;
        }
        (2 * limit).saturating_sub(self.wasted + self.extras)
    }

    /// Blocks that may be under way in endgame.
    pub(super) fn endgame_limit(&self) -> u64 {
        let share = self.layout.total_len() / u64::from(BLOCK_LEN) / ENDGAME_SHARE;
        share.max(ENDGAME_FLOOR)
    }

    /// Blocks that are asked for.
    pub(super) fn under_way(&self) -> u64 {
        self.partials.values().map(|partial| u64::from(partial.requested)).sum()
    }
}
