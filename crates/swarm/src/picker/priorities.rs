//! How much each piece is wanted.

use alloc::vec::Vec;
use samara_wire::id::PieceIndex;

/// Priority of a piece unless told otherwise.
pub const DEFAULT_PRIORITY: u8 = 4;
/// Highest priority; higher ones count as this.
pub const MAX_PRIORITY: u8 = 7;

/// A priority for each piece; nothing is stored while all are equal.
#[derive(Debug)]
pub(super) struct Priorities {
    /// Of the pieces beyond `each`.
    rest: u8,
    each: Vec<u8>,
}

impl Priorities {
    pub(super) const fn uniform(rest: u8) -> Self {
        Self { rest, each: Vec::new() }
    }

    /// Takes over the first `len` of `priorities`; pieces beyond them have the default.
    pub(super) fn from_slice(priorities: &[u8], len: u32) -> Self {
        let given = &priorities[..priorities.len().min(len as usize)];
        match given.split_first() {
            Some((&first, others))
                if given.len() == len as usize && others.iter().all(|&p| p == first) =>
            {
                Self::uniform(first.min(MAX_PRIORITY))
            }
            _ => Self {
                rest: DEFAULT_PRIORITY,
                each: given.iter().map(|&p| p.min(MAX_PRIORITY)).collect(),
            },
        }
    }

    pub(super) fn get(&self, piece: PieceIndex) -> u8 {
        self.each.get(piece.as_usize()).copied().unwrap_or(self.rest)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.each.capacity()
    }
}
