//! How many connected peers have each piece.
//!
//! A peer that joins with everything only raises one number. A peer that joins with less is added piece by
//! piece, and stays so when its HAVEs complete it: from then on it is *sunk*, that is, part of every count. When
//! any complete peer leaves, the one number falls; so the copies of a piece are always `count + full - sunk`,
//! and no peer's becoming or ceasing to be a seed touches the counts. Every [`SUNK_LIMIT`] such peers, the counts
//! are lowered by what has sunk.

use alloc::vec;
use alloc::vec::Vec;
use samara_wire::bitfield::Bitfield;
use samara_wire::id::PieceIndex;

/// Peers that may sink before the counts are rewritten. Keeps counts far from overflow. (Tests have few.)
const SUNK_LIMIT: u16 = if cfg!(test) { 3 } else { 256 };

/// What a byte of a bitfield adds to the counts of its eight pieces.
static SPREAD: [[u16; 8]; 256] = spread();

const fn spread() -> [[u16; 8]; 256] {
    let mut table = [[0; 8]; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut bit = 0;
        while bit < 8 {
            if byte & (0x80 >> bit) != 0 {
                table[byte][bit] = 1;
            }
            bit += 1;
        }
        byte += 1;
    }
    table
}

#[derive(Debug)]
pub(super) struct Availability {
    /// Peers counted piece by piece. Allocated with the first of them; rounded up to whole bytes of a bitfield.
    counts: Vec<u16>,
    /// Connected peers that have everything.
    full: u32,
    /// How much of every count stands for peers that are, or were when they left, complete.
    sunk: u16,
    /// False once we are complete: then only `full` is kept.
    counting: bool,
    /// Whether to go on counting when we are complete.
    always: bool,
}

impl Availability {
    pub(super) const fn new(counting: bool) -> Self {
        Self { counts: Vec::new(), full: 0, sunk: 0, counting, always: false }
    }

    pub(super) const fn is_counting(&self) -> bool {
        self.counting
    }

    /// Keeps the counts when we are complete.
    pub(super) const fn count_always(&mut self) {
        self.always = true;
        self.counting = true;
    }

    /// Forgets the counts: we are complete.
    pub(super) fn stop_counting(&mut self) {
        if !self.always {
            *self = Self { full: self.full, ..Self::new(false) };
        }
    }

    /// Number of complete peers.
    pub(super) const fn full(&self) -> u32 {
        self.full
    }

    /// Copies of `piece` among connected peers.
    pub(super) fn copies(&self, piece: PieceIndex) -> u32 {
        self.copies_of(self.class(piece))
    }

    /// Copies of each piece of a class.
    pub(super) fn copies_of(&self, class: u16) -> u32 {
        (u32::from(class) + self.full).saturating_sub(u32::from(self.sunk))
    }

    /// Rarity of `piece`: orders pieces as their copies do, and changes less often.
    pub(super) fn class(&self, piece: PieceIndex) -> u16 {
        self.counts.get(piece.as_usize()).copied().unwrap_or(0)
    }

    /// Pieces up to this class are had by complete peers only.
    pub(super) const fn sunk(&self) -> u16 {
        self.sunk
    }

    /// Counts a peer in.
    pub(super) fn join(&mut self, has: &Bitfield) {
        if has.is_full() {
            self.full += 1;
        } else if self.counting && !has.is_empty() {
            self.allocate(has.len());
            for (counts, &byte) in self.counts.as_chunks_mut::<8>().0.iter_mut().zip(has.as_bytes())
            {
                for (count, one) in counts.iter_mut().zip(SPREAD[usize::from(byte)]) {
                    *count = count.wrapping_add(one);
                }
            }
        }
    }

    /// Counts a peer out.
    pub(super) fn leave(&mut self, has: &Bitfield) {
        if has.is_full() {
            self.full = self.full.saturating_sub(1);
            return;
        }
        for (counts, &byte) in self.counts.as_chunks_mut::<8>().0.iter_mut().zip(has.as_bytes()) {
            for (count, one) in counts.iter_mut().zip(SPREAD[usize::from(byte)]) {
                *count = count.saturating_sub(one);
            }
        }
    }

    /// Changes the count of one piece of a joining (`up`) or leaving peer.
    pub(super) fn step(&mut self, piece: PieceIndex, up: bool, len: u32) {
        if !self.counting {
            return;
        }
        self.allocate(len);
        if let Some(count) = self.counts.get_mut(piece.as_usize()) {
            *count = if up { count.wrapping_add(1) } else { count.saturating_sub(1) };
        }
    }

    /// A peer counted piece by piece has become complete. True if the classes were rewritten.
    pub(super) fn became_full(&mut self) -> bool {
        self.full += 1;
        if !self.counting {
            return false;
        }
        self.sunk += 1;
        if self.sunk < SUNK_LIMIT {
            return false;
        }
        for count in &mut self.counts {
            *count = count.saturating_sub(self.sunk);
        }
        self.sunk = 0;
        true
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.counts.capacity() * size_of::<u16>()
    }

    fn allocate(&mut self, len: u32) {
        if self.counts.is_empty() {
            self.counts = vec![0; (len as usize).next_multiple_of(8)];
        }
    }
}
