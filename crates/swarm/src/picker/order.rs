//! The pieces that could be begun, sorted by priority and rarity.
//!
//! Each priority has an array of its pieces, the commonest class first and the rarest last, and the place where
//! each class ends. A HAVE moves a piece over one border: one swap. Beginning the rarest piece takes it from
//! near the end: few swaps. Inside a class the order means nothing; who looks starts at a random place.
//!
//! After a change of many pieces the whole is thrown away and sorted again (counting sort) at the next pick.

use super::bits::common;
use super::{Availability, MAX_PRIORITY, Priorities};
use crate::rng::Rng;
use alloc::boxed::Box;
use alloc::vec::Vec;
use samara_wire::bitfield::Bitfield;
use samara_wire::id::PieceIndex;

/// Priorities of pieces that are wanted.
const LEVELS: usize = MAX_PRIORITY as usize;

/// Room added when an array is full, so that doubling never takes 4 more bytes a piece.
const SLACK: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Order {
    /// Priority 1 to 7. Elsewhere than the rest, which every torrent has, downloading or not; none before the first sort.
    levels: Box<[Level]>,
    /// Where each piece stands in its level. Meaningless for a piece that is in none.
    position: Vec<u32>,
    /// Whether the arrays tell the truth.
    sorted: bool,
}

#[derive(Debug, Default)]
struct Level {
    pieces: Vec<u32>,
    /// `ends[class]`: number of pieces of this class or a commoner one.
    ends: Vec<u32>,
    /// No piece of the level is below `first` or above `last`.
    first: u32,
    last: u32,
}

/// How a search for a piece ended.
pub(super) enum Search {
    Found(PieceIndex),
    Nothing,
    /// Too many pieces looked at; go through the peer's own instead.
    GaveUp,
}

impl Order {
    /// Makes the next [`Order::sort`] begin anew: too much has changed.
    pub(super) const fn invalidate(&mut self) {
        self.sorted = false;
    }

    pub(super) const fn is_sorted(&self) -> bool {
        self.sorted
    }

    /// Sorts the pieces of `startable`, unless they are sorted.
    pub(super) fn sort(&mut self, startable: &Bitfield, of: &Priorities, by: &Availability) {
        if self.sorted {
            return;
        }
        self.sorted = true;
        if self.levels.is_empty() {
            self.levels = (0..LEVELS).map(|_| Level::default()).collect();
        }
        for level in &mut self.levels {
            level.pieces.clear();
            level.ends.clear();
            (level.first, level.last) = (u32::MAX, 0);
        }
        self.position.resize(startable.len() as usize, 0);
        let all = || common(startable, startable, 0, startable.len().saturating_sub(1));
        for piece in all() {
            let level = &mut self.levels[level_of(of.get(piece))];
            level.widen(piece);
            let class = usize::from(by.class(piece));
            level.reach(class);
            level.ends[class] += 1;
        }
        // `next[class]`: where the next piece of the class goes.
        let mut next: [Vec<u32>; LEVELS] = Default::default();
        for (level, next) in self.levels.iter_mut().zip(&mut next) {
            let mut total = 0;
            next.resize(level.ends.len(), 0);
            for (end, next) in level.ends.iter_mut().zip(next).rev() {
                *next = total;
                total += *end;
                *end = total;
            }
            level.pieces.reserve_exact(total as usize);
            level.pieces.resize(total as usize, 0);
        }
        for piece in all() {
            let index = level_of(of.get(piece));
            let at = &mut next[index][usize::from(by.class(piece))];
            self.levels[index].pieces[*at as usize] = piece.0;
            self.position[piece.as_usize()] = *at;
            *at += 1;
        }
    }

    /// Puts in a piece that has become startable.
    pub(super) fn insert(&mut self, piece: PieceIndex, priority: u8, class: u16) {
        if !self.sorted {
            return;
        }
        let level = &mut self.levels[level_of(priority)];
        level.widen(piece);
        level.reach(class.into());
        if level.pieces.len() == level.pieces.capacity() {
            level.pieces.reserve_exact(SLACK);
        }
        level.pieces.push(piece.0);
        let mut hole = level.ends[0];
        for rarer in 0..usize::from(class) {
            let first = level.ends.get(rarer + 1).copied().unwrap_or(0);
            level.ends[rarer] += 1;
            level.fill(hole, first, &mut self.position);
            hole = first;
        }
        level.put(hole, piece.0, &mut self.position);
        level.ends[usize::from(class)] += 1;
    }

    /// Takes out a piece that was startable.
    pub(super) fn remove(&mut self, piece: PieceIndex, priority: u8, class: u16) {
        if !self.sorted {
            return;
        }
        let level = &mut self.levels[level_of(priority)];
        let mut hole = self.position[piece.as_usize()];
        for rarer in (0..=usize::from(class)).rev() {
            level.ends[rarer] -= 1;
            let last = level.ends[rarer];
            level.fill(hole, last, &mut self.position);
            hole = last;
        }
        level.pieces.pop();
    }

    /// A startable piece went from `class` to the next commoner one.
    pub(super) fn raise(&mut self, piece: PieceIndex, priority: u8, class: u16) {
        if !self.sorted {
            return;
        }
        let (level, class) = (&mut self.levels[level_of(priority)], usize::from(class));
        level.reach(class + 1);
        let first = level.ends[class + 1];
        level.ends[class + 1] += 1;
        level.swap(piece, first, &mut self.position);
    }

    /// A startable piece went from `class` to the next rarer one.
    pub(super) fn lower(&mut self, piece: PieceIndex, priority: u8, class: u16) {
        if !self.sorted || class == 0 {
            return;
        }
        let level = &mut self.levels[level_of(priority)];
        let end = &mut level.ends[usize::from(class)];
        *end -= 1;
        let last = *end;
        level.swap(piece, last, &mut self.position);
    }

    /// Number of pieces of any priority whose class is above `class`.
    pub(super) fn count_above(&self, class: u16) -> u32 {
        let above = usize::from(class) + 1;
        self.levels.iter().filter_map(|level| level.ends.get(above)).sum()
    }

    /// The lowest class that a piece of any priority is in.
    pub(super) fn rarest_class(&self) -> Option<u16> {
        let rarest = |level: &Level| {
            let total = *level.ends.first().filter(|&&total| total > 0)?;
            let beyond = level.ends.partition_point(|&end| end == total);
            u16::try_from(beyond - 1).ok()
        };
        self.levels.iter().filter_map(rarest).min()
    }

    /// A piece of `has` with this priority, of the rarest class that offers one. Classes up to `barren` are
    /// known to offer none. `budget` falls by the pieces looked at.
    pub(super) fn rarest(
        &self,
        priority: u8,
        has: &Bitfield,
        barren: Option<u16>,
        budget: &mut usize,
        rng: &mut Rng,
    ) -> Search {
        let level = &self.levels[level_of(priority)];
        let from = barren.map_or(0, |class| usize::from(class) + 1);
        for class in from..level.ends.len() {
            let begin = level.ends.get(class + 1).copied().unwrap_or(0);
            let bucket = &level.pieces[begin as usize..level.ends[class] as usize];
            match look(bucket, has, budget, rng) {
                Search::Nothing => {}
                ended => return ended,
            }
        }
        Search::Nothing
    }

    /// A piece of `has` with this priority, whatever its class.
    pub(super) fn any(
        &self,
        priority: u8,
        has: &Bitfield,
        budget: &mut usize,
        rng: &mut Rng,
    ) -> Search {
        look(&self.levels[level_of(priority)].pieces, has, budget, rng)
    }

    /// The first and last piece between which all of this priority lie, if there is any.
    pub(super) fn span(&self, priority: u8) -> Option<(u32, u32)> {
        let level = &self.levels[level_of(priority)];
        (!level.pieces.is_empty()).then_some((level.first, level.last))
    }

    /// Tells that no piece of this priority is below `first`.
    pub(super) fn starts_at(&mut self, priority: u8, first: u32) {
        self.levels[level_of(priority)].first = first;
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let of = |level: &Level| level.pieces.capacity() + level.ends.capacity();
        let places = self.position.capacity() + self.levels.iter().map(of).sum::<usize>();
        places * size_of::<u32>()
    }
}

impl Level {
    /// Makes `ends[class]` exist.
    fn reach(&mut self, class: usize) {
        if self.ends.len() <= class {
            self.ends.resize(class + 1, 0);
        }
    }

    fn widen(&mut self, piece: PieceIndex) {
        self.first = self.first.min(piece.0);
        self.last = self.last.max(piece.0);
    }

    fn put(&mut self, at: u32, piece: u32, position: &mut [u32]) {
        self.pieces[at as usize] = piece;
        position[piece as usize] = at;
    }

    /// Moves what stands at `from` to `hole`. In an empty class the two are one, and what stands there is stale.
    fn fill(&mut self, hole: u32, from: u32, position: &mut [u32]) {
        if hole != from {
            self.put(hole, self.pieces[from as usize], position);
        }
    }

    /// Brings `piece` to `to`, and what stands there to where `piece` stood.
    fn swap(&mut self, piece: PieceIndex, to: u32, position: &mut [u32]) {
        let from = position[piece.as_usize()];
        let other = self.pieces[to as usize];
        self.put(from, other, position);
        self.put(to, piece.0, position);
    }
}

const fn level_of(priority: u8) -> usize {
    (priority.saturating_sub(1)) as usize
}

/// Goes through `bucket` once from a random place.
fn look(bucket: &[u32], has: &Bitfield, budget: &mut usize, rng: &mut Rng) -> Search {
    if bucket.is_empty() {
        return Search::Nothing;
    }
    let (before, after) = bucket.split_at(rng.below(bucket.len()));
    let mut looked = 0;
    let affordable = after.iter().chain(before).take(*budget);
    let found = affordable
        .map(|&piece| PieceIndex(piece))
        .inspect(|_| looked += 1)
        .find(|&piece| has.has(piece));
    *budget -= looked;
    match found {
        Some(piece) => Search::Found(piece),
        None if looked < bucket.len() => Search::GaveUp,
        None => Search::Nothing,
    }
}

#[cfg(test)]
impl Order {
    /// Panics unless exactly `startable` is in here, sorted, and every piece is where it is said to be.
    pub(super) fn check(&self, startable: &[u32], of: &Priorities, by: &Availability) {
        if !self.sorted {
            return;
        }
        let mut all: Vec<u32> = Vec::new();
        for (priority, level) in (1u8..).zip(&self.levels) {
            assert_eq!(level.pieces.len(), level.ends.first().map_or(0, |&end| end as usize));
            for (at, &piece) in (0u32..).zip(&level.pieces) {
                let class = usize::from(by.class(PieceIndex(piece)));
                assert_eq!(of.get(PieceIndex(piece)), priority);
                assert_eq!(self.position[piece as usize], at);
                assert!((level.first..=level.last).contains(&piece));
                assert!(at < level.ends[class], "{piece} stands too far");
                assert!(level.ends.get(class + 1).is_none_or(|&end| at >= end), "{piece} too near");
            }
            all.extend(&level.pieces);
        }
        all.sort_unstable();
        assert_eq!(all, startable);
    }
}
