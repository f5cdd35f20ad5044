//! The piece picker of one torrent: decides which block is asked of which peer.
//!
//! It knows how many connected peers have each piece, which pieces we lack and want, and for pieces that were
//! begun, which block came from whom and is asked of whom. It owns no peer's bitfield; they are passed in.
//!
//! A pick takes, in this order:
//! 1. pieces with a deadline, the smallest first;
//! 2. from the highest priority to the lowest: pieces that were begun, the one that lacks least first; then new
//!    pieces, rarest first with chance deciding among equals (in sequential mode: the lowest index). The first
//!    [`RANDOM_FIRST_PIECES`] of a torrent are random rather than rare: rare pieces come slowly, and until a
//!    piece is whole we have nothing to trade;
//! 3. when nothing that anybody offers is left to ask for, blocks already asked of others (endgame): those asked
//!    of fewest peers, then the oldest, as long as the waste stays within [`WASTE_SHARE`].
//!
//! Blocks of a piece are asked for in order.
//!
//! Invariants:
//! - No block is asked of a peer that lacks its piece, of the same peer twice, or, outside endgame, of two peers.
//! - *Startable* pieces (wanted, lacking, not begun) are exactly those of the order; a piece with no block here
//!   and none asked for is not begun.
//! - A piece with an owner has requests to that owner only.
//!
//! Costs: a complete peer's coming or going is O(1); another's goes through its bitfield bytewise and, if it has
//! more than a [`RESORT_SHARE`]th of the startable pieces, has them sorted anew at the next pick. A HAVE is
//! O(1). A pick costs the pieces looked at, at most about as many as the peer has. Memory is 10 to 11 bytes a piece
//! while downloading with peers, a bit or two otherwise, and nothing once complete.
//!
//! The caller's part: a peer is counted in once (`peer_joined` with what it has, `peer_has` for every later HAVE
//! that was news) and out once (`peer_left`). When a peer leaves or chokes us, [`Picker::release_all`] gives
//! back what it was asked for, so that pieces reserved for it are free again. A peer that is to be asked for
//! something else because it stalls is given its new block *before* the old one is released; else it would get
//! the same one again.

mod availability;
mod bits;
mod order;
mod partial;
mod priorities;
mod select;

pub use priorities::{DEFAULT_PRIORITY, MAX_PRIORITY};
pub use select::{PickMode, PickOptions};

use crate::rng::Rng;
use crate::torrent::PeerKey;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use availability::Availability;
use bits::common;
use order::Order;
use partial::{Block, Partial, Released};
use priorities::Priorities;
use samara_wire::bitfield::Bitfield;
use samara_wire::id::{BLOCK_LEN, BlockRef, PieceIndex};
use samara_wire::layout::PieceLayout;

/// Until this many pieces are verified, new pieces are random.
pub const RANDOM_FIRST_PIECES: u32 = 4;
/// Peers a block is asked of at most, in endgame.
pub const MAX_REQUESTERS: usize = 3;
/// Endgame may waste one block in this many of the torrent (0.4 %) ...
pub const WASTE_SHARE: u64 = 256;
/// ... or this many blocks, where that is more.
pub const WASTE_FLOOR: u64 = 8;
/// A peer with less than one in this many of the startable pieces is counted piece by piece.
pub const RESORT_SHARE: u32 = 32;

/// The piece picker of one torrent.
#[derive(Debug)]
pub struct Picker {
    layout: PieceLayout,
    rng: Rng,
    /// Pieces we lack, wanted or not. Over no pieces at all once we are complete.
    missing: Bitfield,
    /// Pieces that a pick may begin: missing, wanted and not partial. Over no pieces once we are complete.
    startable: Bitfield,
    priorities: Priorities,
    availability: Availability,
    order: Order,
    partials: BTreeMap<PieceIndex, Partial>,
    /// Partial pieces that have an open block.
    open: BTreeSet<PieceIndex>,
    /// Missing pieces that are fetched from one peer at a time.
    suspects: BTreeSet<PieceIndex>,
    deadlines: BTreeMap<PieceIndex, u64>,
    by_deadline: BTreeSet<(u64, PieceIndex)>,
    sequential: bool,
    /// Counts requests, to tell old from new.
    clock: u32,
    /// Requests now out beyond one for each block.
    extras: u64,
    /// Blocks received twice.
    wasted: u64,
    wanted_left: u32,
    wanted_bytes: u64,
    wanted_bytes_left: u64,
    /// Taken out while a pick runs, so that it allocates nothing.
    scratch: Vec<select::Candidate>,
}

/// What a block that arrived means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Received {
    /// It was lacking. Keep it.
    Fresh {
        /// It was the last block of its piece, which can now be hashed.
        piece_complete: bool,
        /// Other peers that it was asked of, and that need not send it any more.
        cancel: Vec<PeerKey>,
    },
    /// It, or its whole piece, was here before. Counts as waste.
    Duplicate,
    /// It is not one of the blocks that we ask for, or belongs to a piece that is not wanted (any more).
    NotOurs,
}

impl Picker {
    /// The picker of a torrent of which `have` is verified. `seed` determines every random choice.
    ///
    /// # Panics
    /// If `have` is over another number of pieces than `layout`.
    #[must_use]
    pub fn new(layout: PieceLayout, have: &Bitfield, seed: u64) -> Self {
        assert_eq!(have.len(), layout.count(), "bitfield of another torrent");
        let mut missing = Bitfield::empty(if have.is_full() { 0 } else { have.len() });
        if !have.is_full() {
            have.iter_missing().for_each(|piece| _ = missing.insert(piece));
        }
        let mut picker = Self {
            rng: Rng::new(seed),
            availability: Availability::new(!missing.is_empty()),
            startable: missing.clone(),
            missing,
            priorities: Priorities::uniform(DEFAULT_PRIORITY),
            order: Order::default(),
            partials: BTreeMap::new(),
            open: BTreeSet::new(),
            suspects: BTreeSet::new(),
            deadlines: BTreeMap::new(),
            by_deadline: BTreeSet::new(),
            sequential: false,
            clock: 0,
            extras: 0,
            wasted: 0,
            wanted_left: 0,
            wanted_bytes: 0,
            wanted_bytes_left: 0,
            scratch: Vec::new(),
            layout,
        };
        picker.count_wanted();
        picker
    }

    /// Counts in a peer that has `has`. Call it once for each peer, if only with an empty set.
    pub fn peer_joined(&mut self, has: &Bitfield) {
        self.count_peer(has, true);
    }

    /// Counts out a peer; `has` is what it had last.
    pub fn peer_left(&mut self, has: &Bitfield) {
        self.count_peer(has, false);
    }

    /// A peer that was counted in has told a HAVE that was news. `has` is its set, `piece` included; by it the
    /// picker notices that the peer has become complete.
    pub fn peer_has(&mut self, piece: PieceIndex, has: &Bitfield) {
        self.step(piece, true);
        if has.is_full() && self.availability.became_full() {
            self.order.invalidate();
        }
    }

    /// Number of connected peers that have `piece`. Once we are complete, only complete peers are counted.
    #[must_use]
    pub fn availability(&self, piece: PieceIndex) -> u32 {
        self.availability.copies(piece)
    }

    /// Copies, among connected peers, of the rarest piece that we want and lack; the number of complete peers
    /// if there is no such piece.
    ///
    /// Costs the startable pieces if many peers came or went since the last pick, else the partial ones.
    #[must_use]
    pub fn min_availability(&self) -> u32 {
        let partial =
            self.partials.keys().filter(|&&p| self.wants(p)).map(|&p| self.class(p)).min();
        let startable = if self.order.is_sorted() {
            self.order.rarest_class()
        } else {
            self.startable.iter().map(|p| self.class(p)).min()
        };
        let rarest = partial.into_iter().chain(startable).min();
        rarest.map_or(self.availability.full(), |class| self.availability.copies_of(class))
    }

    /// Number of connected peers that have everything.
    #[must_use]
    pub const fn seeds(&self) -> u32 {
        self.availability.full()
    }

    /// Whether `piece` is wanted (priority above 0) and not verified.
    #[must_use]
    pub fn wants(&self, piece: PieceIndex) -> bool {
        self.missing.has(piece) && self.priorities.get(piece) > 0
    }

    /// Whether `has` holds a piece that we want: whether to be interested. Costs a word for 64 pieces.
    #[must_use]
    pub fn wants_any_of(&self, has: &Bitfield) -> bool {
        self.missing_in(&self.startable, has).next().is_some()
            || self.partials.keys().any(|&piece| has.has(piece) && self.wants(piece))
    }

    /// Whether `block` is exactly one of the blocks that we ask for, and lacking in a piece that is wanted or
    /// was begun: whether its payload is of use.
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

    /// Number of wanted pieces that are not verified.
    #[must_use]
    pub const fn wanted_left(&self) -> u32 {
        self.wanted_left
    }

    /// Bytes of all wanted pieces, verified or not.
    #[must_use]
    pub const fn wanted_bytes(&self) -> u64 {
        self.wanted_bytes
    }

    /// Bytes of wanted pieces that are not verified; blocks of unfinished pieces count as lacking.
    #[must_use]
    pub const fn wanted_bytes_left(&self) -> u64 {
        self.wanted_bytes_left
    }

    /// Blocks that arrived twice so far.
    #[must_use]
    pub const fn wasted_blocks(&self) -> u64 {
        self.wasted
    }

    /// Priority of a piece: 0 (not wanted) to 7.
    #[must_use]
    pub fn priority(&self, piece: PieceIndex) -> u8 {
        self.priorities.get(piece)
    }

    /// Sets the priority of each piece: 0 (not wanted) to 7. Higher numbers count as 7, pieces beyond the end of
    /// the slice have the default. Requests for blocks that are not wanted any more stay out until they are
    /// released or answered. Costs the piece count.
    pub fn set_priorities(&mut self, priorities: &[u8]) {
        self.priorities = Priorities::from_slice(priorities, self.layout.count());
        self.order.invalidate();
        for piece in self.missing.iter() {
            if self.priorities.get(piece) > 0 && !self.partials.contains_key(&piece) {
                self.startable.insert(piece);
            } else {
                self.startable.remove(piece);
            }
        }
        self.count_wanted();
    }

    /// Pieces in order of index rather than rarity, inside each priority.
    pub const fn set_sequential(&mut self, sequential: bool) {
        self.sequential = sequential;
    }

    /// Has a piece picked before everything without a deadline, and before those with a greater one; `None`
    /// takes it back. A piece that is not wanted stays so. Forgotten once the piece is verified. Every pick looks
    /// at each deadline, so a few hundred are the most that is sensible.
    pub fn set_deadline(&mut self, piece: PieceIndex, order: Option<u64>) {
        if let Some(old) = self.deadlines.remove(&piece) {
            self.by_deadline.remove(&(old, piece));
        }
        if let Some(order) = order.filter(|_| self.missing.has(piece)) {
            self.deadlines.insert(piece, order);
            self.by_deadline.insert((order, piece));
        }
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
        if !self.availability.is_counting() {
            self.missing = Bitfield::empty(self.layout.count());
            self.startable = self.missing.clone();
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
    /// be hashed. Ignored if we have the piece or `blocks` is over another number of blocks than it has.
    pub fn restore_partial(&mut self, piece: PieceIndex, blocks: &Bitfield) -> bool {
        let fits = self.missing.has(piece) && blocks.len() == self.layout.blocks_in(piece);
        if !fits || blocks.is_empty() {
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

    /// Bytes of the arrays that grow with the number of pieces.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.missing.as_bytes().len()
            + self.startable.as_bytes().len()
            + self.priorities.heap_bytes()
            + self.availability.heap_bytes()
            + self.order.heap_bytes()
    }

    fn count_wanted(&mut self) {
        let (mut left, mut bytes, mut bytes_left) = (0, 0, 0);
        for piece in self.layout.pieces().filter(|&piece| self.priorities.get(piece) > 0) {
            let len = u64::from(self.layout.len_of(piece));
            bytes += len;
            if self.missing.has(piece) {
                left += 1;
                bytes_left += len;
            }
        }
        (self.wanted_left, self.wanted_bytes, self.wanted_bytes_left) = (left, bytes, bytes_left);
    }

    fn count_peer(&mut self, has: &Bitfield, joins: bool) {
        let few = has.count() < self.startable.count() / RESORT_SHARE;
        if !has.is_full() && self.order.is_sorted() && few {
            has.iter().for_each(|piece| self.step(piece, joins));
            return;
        }
        if joins {
            self.availability.join(has);
        } else {
            self.availability.leave(has);
        }
        if !has.is_full() && !has.is_empty() {
            self.order.invalidate();
        }
    }

    /// Counts one piece of one peer in or out.
    fn step(&mut self, piece: PieceIndex, up: bool) {
        let class = self.class(piece);
        self.availability.step(piece, up, self.layout.count());
        if !self.startable.has(piece) {
            return;
        }
        let priority = self.priorities.get(piece);
        if up {
            self.order.raise(piece, priority, class);
        } else {
            self.order.lower(piece, priority, class);
        }
    }

    fn class(&self, piece: PieceIndex) -> u16 {
        self.availability.class(piece)
    }

    /// Members of `set`, one of ours, that `has` holds.
    fn missing_in<'a>(
        &self,
        set: &'a Bitfield,
        has: &'a Bitfield,
    ) -> impl Iterator<Item = PieceIndex> + 'a {
        common(set, has, 0, set.len().saturating_sub(1))
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
    fn begin(&mut self, piece: PieceIndex) {
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

    /// Blocks that endgame may have out more than once, now.
    fn extras_allowed(&self) -> u64 {
        let share = self.layout.total_len() / u64::from(BLOCK_LEN) / WASTE_SHARE;
        // Two always: a torrent must end even where all of the allowance was wasted.
        share.max(WASTE_FLOOR).saturating_sub(self.wasted).max(2).saturating_sub(self.extras)
    }
}

#[cfg(test)]
mod tests;
