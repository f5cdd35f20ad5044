//! The choice itself: which block next for this peer.

use super::bits::common;
use super::order::Search;
use super::partial::{Block, Partial};
use super::{MAX_PRIORITY, MAX_REQUESTERS, Picker, RANDOM_FIRST_PIECES};
use crate::torrent::PeerKey;
use alloc::vec::Vec;
use core::cmp::Reverse;
use samara_wire::bitfield::Bitfield;
use samara_wire::id::{BlockRef, PieceIndex};

/// What may be picked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PickMode<'a> {
    /// Anything.
    #[default]
    Any,
    /// Blocks of pieces that were begun: buffers are scarce.
    PartialOnly,
    /// Blocks of these pieces, in this order: those allowed while we are choked (BEP 6).
    Only(&'a [PieceIndex]),
}

/// How to pick for a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PickOptions<'a> {
    /// What may be picked.
    pub mode: PickMode<'a>,
    /// The peer is under suspicion: only pieces that it alone delivers.
    pub exclusive: bool,
    /// The peer is fast: rather pieces of its own, and neighbouring ones.
    pub whole_pieces: bool,
    /// Pieces that only complete peers have go first, that others may pass them on. There must be buffers for a piece of each peer.
    pub spread: bool,
    /// What the peer suggests (BEP 6): taken among pieces that are equally good.
    pub suggested: &'a [PieceIndex],
    /// Blocks asked of peers that bring none: endgame does not wait until they are here.
    pub stuck: u64,
}

/// A partial piece that has an open block for the peer. Sorts as it is to be picked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Candidate {
    priority: Reverse<u8>,
    /// Another than this peer was asked last, and this peer prefers its own.
    foreign: bool,
    /// Blocks to be asked for, then blocks to wait for: the piece nearest to its end goes first.
    open: u32,
    requested: u32,
    piece: PieceIndex,
}

/// For whom a pick is made.
#[derive(Clone, Copy)]
struct Asker<'a> {
    peer: PeerKey,
    has: &'a Bitfield,
    options: PickOptions<'a>,
}

impl Picker {
    /// Appends up to `count` blocks for `peer`, which has `has`, to `out`, and marks them as asked of it.
    pub fn pick(
        &mut self,
        peer: PeerKey,
        has: &Bitfield,
        count: usize,
        options: PickOptions<'_>,
        out: &mut Vec<BlockRef>,
    ) {
        if self.wanted_left == 0 || count == 0 {
            return;
        }
        let asker = Asker { peer, has, options };
        let target = out.len() + count;
        if let PickMode::Only(pieces) = options.mode {
            self.pick_listed(asker, pieces.iter().copied(), target, out);
            return;
        }
        if !self.by_deadline.is_empty() {
            let urgent: Vec<_> = self.by_deadline.iter().map(|&(_, piece)| piece).collect();
            self.pick_listed(asker, urgent.into_iter(), target, out);
        }
        if out.len() < target {
            self.pick_by_priority(asker, target, out);
        }
        if out.len() < target && !options.exclusive && self.is_endgame() {
            self.pick_again(asker, target, out);
        }
    }

    /// Blocks of the given pieces, in their order.
    fn pick_listed(
        &mut self,
        asker: Asker<'_>,
        pieces: impl Iterator<Item = PieceIndex>,
        target: usize,
        out: &mut Vec<BlockRef>,
    ) {
        let may_begin = asker.options.mode != PickMode::PartialOnly;
        for piece in pieces.filter(|&piece| asker.has.has(piece)) {
            if out.len() >= target {
                return;
            }
            if may_begin && self.startable.has(piece) {
                self.begin(piece);
                self.take(asker, piece, target, out);
            } else if self.wants(piece) && self.may_continue(asker, piece) {
                self.take(asker, piece, target, out);
            }
        }
    }

    fn pick_by_priority(&mut self, asker: Asker<'_>, target: usize, out: &mut Vec<BlockRef>) {
        let mut partials = core::mem::take(&mut self.scratch);
        self.list_partials(asker, &mut partials);
        let spreads = self.can_spread(asker);
        let mut rest = &partials[..];
        for priority in (1..=MAX_PRIORITY).rev() {
            let end = rest.partition_point(|c| c.priority.0 >= priority);
            let (level, lower) = rest.split_at(end);
            rest = lower;
            if spreads {
                self.pick_level(asker, (priority, level), true, target, out);
            }
            self.pick_level(asker, (priority, level), false, target, out);
            if out.len() >= target {
                break;
            }
        }
        partials.clear();
        self.scratch = partials;
    }

    /// Blocks of one priority, of which `level` are begun; only of pieces that hardly anybody has if `scarce`.
    fn pick_level(
        &mut self,
        asker: Asker<'_>,
        (priority, level): (u8, &[Candidate]),
        scarce: bool,
        target: usize,
        out: &mut Vec<BlockRef>,
    ) {
        let (own, foreign) = level.split_at(level.partition_point(|c| !c.foreign));
        let mut run = None;
        for next in own.iter().map(|c| c.piece) {
            if out.len() >= target {
                return;
            }
            if !scarce || self.is_scarce(next) {
                self.take(asker, next, target, out);
                run = Some(next);
            }
        }
        while out.len() < target && asker.options.mode == PickMode::Any {
            let Some(piece) = self.choose_new(asker, priority, run) else { break };
            if scarce && !self.is_scarce(piece) {
                break;
            }
            self.begin(piece);
            self.take(asker, piece, target, out);
            run = Some(piece);
        }
        for next in foreign.iter().map(|c| c.piece) {
            if out.len() >= target {
                return;
            }
            if !scarce || self.is_scarce(next) {
                self.take(asker, next, target, out);
            }
        }
    }

    /// Whether `asker` is to be asked for pieces that hardly anybody has before all others, and there are any.
    fn can_spread(&mut self, asker: Asker<'_>) -> bool {
        let options = asker.options;
        let random = self.begins_at_random(asker);
        if !options.spread || options.mode != PickMode::Any || self.sequential || random {
            return false;
        }
        self.order.sort(&self.startable, &self.priorities, &self.availability);
        let rarest = self.order.rarest_class();
        rarest.is_some_and(|class| self.is_scarce_class(class))
    }

    /// Whether we have so little that any piece is welcome. From a complete peer that has its piece soon, a rare one is as well.
    fn begins_at_random(&self, asker: Asker<'_>) -> bool {
        let verified = self.layout.count() - self.missing.count();
        verified < RANDOM_FIRST_PIECES && !(asker.options.spread && asker.has.is_full())
    }

    /// Whether only complete peers have a piece, or a single peer where none is complete.
    fn is_scarce(&self, piece: PieceIndex) -> bool {
        self.is_scarce_class(self.class(piece))
    }

    fn is_scarce_class(&self, class: u16) -> bool {
        self.availability.copies_of(class) <= self.availability.full().max(1)
    }

    fn list_partials(&self, asker: Asker<'_>, into: &mut Vec<Candidate>) {
        for &piece in &self.open {
            let priority = self.priorities.get(piece);
            if priority > 0 && asker.has.has(piece) && self.may_continue(asker, piece) {
                let partial = &self.partials[&piece];
                into.push(Candidate {
                    priority: Reverse(priority),
                    foreign: asker.options.whole_pieces && partial.leader != Some(asker.peer),
                    open: partial.open,
                    requested: partial.requested,
                    piece,
                });
            }
        }
        into.sort_unstable();
    }

    /// Whether `asker` may be asked for open blocks of a piece that was begun.
    fn may_continue(&self, asker: Asker<'_>, piece: PieceIndex) -> bool {
        let Some(partial) = self.partials.get(&piece) else { return false };
        match partial.owner {
            Some(owner) => owner == asker.peer,
            None if asker.options.exclusive => partial.is_only_from(asker.peer),
            None => partial.requested == 0 || !self.suspects.contains(&piece),
        }
    }

    /// Requests open blocks of a partial piece.
    fn take(
        &mut self,
        asker: Asker<'_>,
        piece: PieceIndex,
        target: usize,
        out: &mut Vec<BlockRef>,
    ) {
        let Some(partial) = self.partials.get_mut(&piece) else { return };
        while out.len() < target
            && let Some(index) = partial.request_next(asker.peer, self.clock)
            && let Some(block) = self.layout.block(piece, index)
        {
            self.clock = self.clock.wrapping_add(1);
            out.push(block);
            if asker.options.exclusive || self.suspects.contains(&piece) {
                partial.owner = Some(asker.peer);
            }
        }
        if partial.open == 0 {
            self.open.remove(&piece);
        }
    }

    /// The best startable piece of a priority that the peer has. `run` is the piece asked of it last.
    fn choose_new(
        &mut self,
        asker: Asker<'_>,
        priority: u8,
        run: Option<PieceIndex>,
    ) -> Option<PieceIndex> {
        self.order.sort(&self.startable, &self.priorities, &self.availability);
        let (first, last) = self.order.span(priority)?;
        if self.sequential {
            return self.choose_lowest(asker.has, priority, first, last);
        }
        let has = asker.has;
        // Going through the peer's own pieces costs a word for 64 pieces and about two looks for each it has.
        let mut budget = ((last - first) / 64 + 2 * has.count()) as usize;
        let search = if self.begins_at_random(asker) {
            self.order.any(priority, has, &mut budget, &mut self.rng)
        } else {
            let barren = (!has.is_full()).then_some(self.availability.sunk());
            self.order.rarest(priority, has, barren, &mut budget, &mut self.rng)
        };
        let best = match search {
            Search::Found(piece) => piece,
            Search::Nothing => return None,
            Search::GaveUp => self.choose_among_own(has, priority, first, last)?,
        };
        let next = run.filter(|_| asker.options.whole_pieces).map(|piece| PieceIndex(piece.0 + 1));
        let as_good = |next: &PieceIndex| {
            self.startable.has(*next)
                && has.has(*next)
                && self.priorities.get(*next) == priority
                && self.class(*next) == self.class(best)
        };
        let suggested = asker.options.suggested.iter().copied().find(as_good);
        Some(suggested.or(next.filter(as_good)).unwrap_or(best))
    }

    fn choose_lowest(
        &mut self,
        has: &Bitfield,
        priority: u8,
        first: u32,
        last: u32,
    ) -> Option<PieceIndex> {
        let of_level = |&piece: &PieceIndex| self.priorities.get(piece) == priority;
        let lowest = common(&self.startable, &self.startable, first, last).find(of_level)?;
        self.order.starts_at(priority, lowest.0);
        common(&self.startable, has, lowest.0, last).find(of_level)
    }

    /// The rarest piece of a priority, found among the peer's own; chance decides among equals.
    fn choose_among_own(
        &mut self,
        has: &Bitfield,
        priority: u8,
        first: u32,
        last: u32,
    ) -> Option<PieceIndex> {
        let middle = first + u32::try_from(self.rng.below((last - first) as usize)).unwrap_or(0);
        let from_middle = common(&self.startable, has, middle, last);
        let to_middle = common(&self.startable, has, first, middle);
        from_middle
            .chain(to_middle)
            .filter(|&piece| self.priorities.get(piece) == priority)
            .min_by_key(|&piece| self.class(piece))
    }

    /// Whether blocks that are asked for may be asked of others too, with so many of them asked of peers that bring none.
    pub(crate) fn may_repeat(&mut self, stuck: u64) -> bool {
        self.wanted_left > 0 && self.extras_allowed(stuck) > 0 && self.is_endgame()
    }

    /// Whether there is nothing to be done but to wait for the last few blocks, all of which are asked for.
    pub(crate) fn awaits_the_last(&mut self) -> bool {
        self.wanted_left > 0 && self.under_way() <= self.endgame_limit() && self.is_endgame()
    }

    /// Whether every wanted block that somebody offers, and that is not reserved for a peer, is asked for or here.
    fn is_endgame(&mut self) -> bool {
        self.order.sort(&self.startable, &self.priorities, &self.availability);
        let offered = match self.availability.full() {
            0 => self.order.count_above(self.availability.sunk()),
            _ => self.startable.count(),
        };
        let free = |piece: &PieceIndex| {
            self.wants(*piece)
                && self.partials[piece].owner.is_none()
                && self.availability.copies(*piece) > 0
        };
        offered == 0 && !self.open.iter().any(free)
    }

    /// Endgame: blocks that are asked of others, those of fewest, then the oldest first.
    fn pick_again(&mut self, asker: Asker<'_>, target: usize, out: &mut Vec<BlockRef>) {
        let room = self.extras_allowed(asker.options.stuck);
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let room = room.min(target - out.len());
        if room == 0 {
            return;
        }
        let mut choices = Vec::new();
        for (&piece, partial) in &self.partials {
            let shared = partial.owner.is_none() && !self.suspects.contains(&piece);
            if partial.requested > 0 && shared && asker.has.has(piece) && self.wants(piece) {
                self.list_requested(asker.peer, piece, partial, &mut choices);
            }
        }
        choices.sort_unstable();
        choices.truncate(room);
        for (_, _, piece, index) in choices {
            if let Some(block) = self.layout.block(piece, index)
                && let Some(partial) = self.partials.get_mut(&piece)
            {
                partial.request_also(index, asker.peer);
                self.extras += 1;
                out.push(block);
            }
        }
    }

    /// The requested blocks of a piece that `peer` may be asked for too: number of requesters, age (the oldest
    /// the smallest), piece, block.
    fn list_requested(
        &self,
        peer: PeerKey,
        piece: PieceIndex,
        partial: &Partial,
        into: &mut Vec<(usize, Reverse<u32>, PieceIndex, u32)>,
    ) {
        for (index, block) in (0u32..).zip(&partial.blocks) {
            if let Block::Requested { at, .. } = *block {
                let asked = partial.requesters(index).count();
                if asked < MAX_REQUESTERS && partial.requesters(index).all(|p| p != peer) {
                    into.push((asked, Reverse(self.clock.wrapping_sub(at)), piece, index));
                }
            }
        }
    }
}
