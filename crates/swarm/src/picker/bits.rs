//! Bitfields read 64 pieces at a time.

use samara_wire::bitfield::Bitfield;
use samara_wire::id::PieceIndex;

/// Pieces in a word.
pub(super) const WORD: u32 = 64;

/// Pieces `64 * index ..` of `set`, the first in the highest bit; zero beyond the end.
pub(super) fn word(set: &Bitfield, index: usize) -> u64 {
    let rest = set.as_bytes().get(index * 8..).unwrap_or_default();
    match rest.first_chunk::<8>() {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => {
            let mut bytes = [0; 8];
            bytes[..rest.len()].copy_from_slice(rest);
            u64::from_be_bytes(bytes)
        }
    }
}

/// The members of `a` and `b` in `from..=to`, ascending. Costs a word, not a piece, where they share nothing.
pub(super) fn common<'a>(
    a: &'a Bitfield,
    b: &'a Bitfield,
    from: u32,
    to: u32,
) -> impl Iterator<Item = PieceIndex> + 'a {
    let (mut at, last) = (from / WORD, to / WORD);
    let both = move |at: u32| word(a, at as usize) & word(b, at as usize);
    let mut rest = if from <= to { both(at) & (u64::MAX >> (from % WORD)) } else { 0 };
    core::iter::from_fn(move || {
        while rest == 0 {
            if at >= last {
                return None;
            }
            at += 1;
            rest = both(at);
        }
        let lead = rest.leading_zeros();
        rest &= !(1 << (63 - lead));
        Some(PieceIndex(at * WORD + lead)).filter(|piece| piece.0 <= to)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn common_members_of_a_range(len in 1u32..300, a: Vec<u16>, b: Vec<u16>, from in 0u32..300, to in 0u32..300) {
            let set = |members: &[u16]| {
                let mut set = Bitfield::empty(len);
                for &m in members {
                    set.insert(PieceIndex(u32::from(m) % len));
                }
                set
            };
            let (a, b) = (set(&a), set(&b));
            let naive: Vec<_> = (from..=to)
                .map(PieceIndex)
                .filter(|&p| a.has(p) && b.has(p))
                .collect();
            prop_assert_eq!(common(&a, &b, from, to).collect::<Vec<_>>(), naive);
        }
    }
}
