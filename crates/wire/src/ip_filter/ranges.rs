//! Ranges of numbers that lie apart, in order.

use alloc::vec::Vec;

/// Which numbers belong to a set, as ranges. First and last numbers are kept apart from each other: a search looks at the
/// first ones only, and more of those share a line of the cache.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Ranges<T> {
    firsts: Vec<T>,
    lasts: Vec<T>,
}

impl<T> Default for Ranges<T> {
    fn default() -> Self {
        Self { firsts: Vec::new(), lasts: Vec::new() }
    }
}

impl<T: Copy + Ord + Successor> Ranges<T> {
    /// Those of `ranges`, of which none ends before it begins, in any order; those that overlap or touch become one.
    pub(super) fn new(mut ranges: Vec<(T, T)>) -> Self {
        ranges.sort_unstable();
        let mut all = Self::default();
        for (first, last) in ranges {
            match all.lasts.last_mut() {
                Some(end) if end.successor().is_none_or(|next| first <= next) => {
                    *end = last.max(*end);
                }
                _ => {
                    all.firsts.push(first);
                    all.lasts.push(last);
                }
            }
        }
        all.firsts.shrink_to_fit();
        all.lasts.shrink_to_fit();
        all
    }

    pub(super) fn contains(&self, number: T) -> bool {
        let behind = self.firsts.partition_point(|first| *first <= number);
        behind.checked_sub(1).is_some_and(|at| number <= self.lasts[at])
    }

    pub(super) fn len(&self) -> usize {
        self.firsts.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (T, T)> {
        self.firsts.iter().copied().zip(self.lasts.iter().copied())
    }
}

/// Numbers that can be counted.
pub(super) trait Successor: Sized {
    /// The next number, if this is not the last one.
    fn successor(self) -> Option<Self>;
}

impl Successor for u32 {
    fn successor(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl Successor for u128 {
    fn successor(self) -> Option<Self> {
        self.checked_add(1)
    }
}
