//! The piece picker of one torrent: decides which block is asked of which peer.
//!
//! It knows how many connected peers have each piece, which pieces we lack and want, and for pieces that were
//! begun, which block came from whom and is asked of whom. It owns no peer's bitfield; they are passed in.
//!
//! A pick takes, in this order:
//! 1. pieces with a deadline, the smallest first;
//! 2. from the highest priority to the lowest, and inside each, where buffers allow, pieces that only complete peers have before
//!    the others (what such a peer sends twice, it sends for nothing): pieces that were begun, the one with fewest blocks left to ask for
//!    first; then new pieces, rarest first with chance deciding among equals (in sequential mode: the lowest
//!    index). The first [`RANDOM_FIRST_PIECES`] of a torrent are random rather than rare: rare pieces come slowly,
//!    and until a piece is whole we have nothing to trade;
//! 3. when nothing that anybody offers is left to ask for, blocks already asked of others (endgame): those asked
//!    of fewest peers, then the oldest. It waits until few blocks are under way: before, it would fetch twice what
//!    arrives within a moment anyway; those that are left then are those of slow peers.
//!
//! Blocks of a piece are asked for in order.
//!
//! Invariants:
//! - No block is asked of a peer that lacks its piece, of the same peer twice, or, outside endgame, of two peers.
//! - *Startable* pieces (wanted, lacking, not begun) are exactly those of the order; a piece with no block here
//!   and none asked for is not begun.
//! - A piece with an owner has requests to that owner only.
//!
//! Costs: a complete peer's coming or going is O(1), and so is a HAVE. Another peer's coming or going costs one
//! move for each of its pieces if these are few; if they are more than a 32nd of the startable pieces, it goes
//! through the bitfield bytewise and has the startable pieces sorted anew at the next pick. A pick costs the pieces
//! looked at, at most about as many as the peer has. Memory is 10 to 11 bytes a piece while downloading with peers,
//! two bits before the first of them, and nothing once complete.
//!
//! The caller's part: a peer is counted in once (`peer_joined` with what it has, `peer_has` for every later HAVE
//! that was news) and out once (`peer_left`). When a peer leaves or chokes us, [`Picker::release_all`] gives
//! back what it was asked for, so that pieces reserved for it are free again. A peer that is to be asked for
//! something else because it stalls is given its new block *before* the old one is released; else it would get
//! the same one again.

mod availability;
mod bits;
mod blocks;
mod order;
mod partial;
mod peers;
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
use partial::Partial;
use priorities::Priorities;
use samara_wire::bitfield::Bitfield;
use samara_wire::id::PieceIndex;
use samara_wire::layout::PieceLayout;

/// Until this many pieces are verified, new pieces are random.
pub const RANDOM_FIRST_PIECES: u32 = 4;
/// Peers a block is asked of at most, in endgame.
pub const MAX_REQUESTERS: usize = 3;
/// Endgame asks others once no more than one in this many of the torrent's blocks is under way ...
pub const ENDGAME_SHARE: u64 = 512;
/// ... or no more than this many, where that is more. It may waste twice as much: at most 0.4 % of a torrent
/// that is not small.
pub const ENDGAME_FLOOR: u64 = 8;
/// A peer with less than one in this many of the startable pieces is counted piece by piece. (Tests have few.)
const RESORT_SHARE: u32 = if cfg!(test) { 2 } else { 32 };

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

    /// Members of `set`, one of ours, that `has` holds.
    fn missing_in<'a>(
        &self,
        set: &'a Bitfield,
        has: &'a Bitfield,
    ) -> impl Iterator<Item = PieceIndex> + 'a {
        common(set, has, 0, set.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests;
