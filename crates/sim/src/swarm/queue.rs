//! The queue of what is to happen: a wheel of buckets of about a millisecond.
//!
//! Events come out in order of time, and those of one moment in the order in which they were put in. Nearly all events of a
//! swarm lie within a few seconds, so putting one in is a push to a bucket, and only the bucket whose turn it is
//! gets sorted: the cost does not grow with the number of events that wait. What lies beyond the wheel waits in a heap.
//!
//! The buckets are lists through one array, whose places are used again at once: memory follows the events that wait now, not
//! the most that each bucket ever held, and what is put in next is in the processor's cache still.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// A bucket is this power of two of microseconds.
const BUCKET_BITS: u32 = 10;

/// Buckets of the wheel: some eight seconds.
const BUCKETS: usize = 8192;

/// The end of a list.
const NONE: u32 = u32::MAX;

/// Orders by time, then by the order of being put in.
#[derive(Clone, Copy, Debug)]
struct Entry<T> {
    at: u64,
    number: u64,
    what: T,
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// What is to happen, in order.
#[derive(Debug)]
pub(super) struct Queue<T> {
    /// The bucket whose turn it is, the next last.
    current: Vec<Entry<T>>,
    /// Its number.
    bucket: u64,
    /// Nothing of it was taken out yet.
    begun: bool,
    /// What was put in for that bucket, or an earlier one, since its turn came.
    late: BinaryHeap<Reverse<Entry<T>>>,
    /// The first place of each bucket in `places`.
    wheel: Box<[u32]>,
    /// Entries of all buckets, each with the next one of its bucket, or of the free places.
    places: Vec<(Entry<T>, u32)>,
    free: u32,
    /// Events in the wheel.
    in_wheel: usize,
    far: BinaryHeap<Reverse<Entry<T>>>,
    number: u64,
}

impl<T: Copy> Queue<T> {
    pub(super) fn new() -> Self {
        Self {
            current: Vec::new(),
            bucket: 0,
            begun: false,
            late: BinaryHeap::new(),
            wheel: vec![NONE; BUCKETS].into_boxed_slice(),
            places: Vec::new(),
            free: NONE,
            in_wheel: 0,
            far: BinaryHeap::new(),
            number: 0,
        }
    }

    /// Puts in what is to happen at `at` microseconds.
    pub(super) fn push(&mut self, at: u64, what: T) {
        self.number += 1;
        let entry = Entry { at, number: self.number, what };
        let bucket = at >> BUCKET_BITS;
        if bucket <= self.bucket {
            self.late.push(Reverse(entry));
        } else if bucket - self.bucket < BUCKETS as u64 {
            self.put(entry);
        } else {
            self.far.push(Reverse(entry));
        }
    }

    /// Takes out what is next and not later than `limit`, with its time.
    pub(super) fn pop(&mut self, limit: u64) -> Option<(u64, T)> {
        while self.current.is_empty() && self.late.is_empty() {
            self.turn()?;
        }
        let late = self.late.peek().map(|Reverse(entry)| entry);
        let is_late = match (self.current.last(), late) {
            (Some(current), Some(late)) => late < current,
            (current, _) => current.is_none(),
        };
        let next = if is_late { late } else { self.current.last() };
        next.filter(|entry| entry.at <= limit)?;
        let next = if is_late { self.late.pop().map(|late| late.0) } else { self.current.pop() };
        next.map(|entry| (entry.at, entry.what))
    }

    /// What is to happen in the bucket whose turn it is, if that has just begun; empty otherwise.
    pub(super) fn ahead(&mut self) -> impl Iterator<Item = &T> {
        let begun = std::mem::take(&mut self.begun);
        let ahead = if begun { &self.current[..] } else { &[] };
        ahead.iter().rev().map(|entry| &entry.what)
    }

    /// Goes to the next bucket, or to the next one that can hold anything.
    fn turn(&mut self) -> Option<()> {
        if self.in_wheel > 0 {
            self.bucket += 1;
        } else {
            self.bucket = self.far.peek()?.0.at >> BUCKET_BITS;
        }
        while self
            .far
            .peek()
            .is_some_and(|e| (e.0.at >> BUCKET_BITS).saturating_sub(self.bucket) < BUCKETS as u64)
        {
            let Some(Reverse(entry)) = self.far.pop() else { break };
            self.put(entry);
        }
        let mut at = std::mem::replace(&mut self.wheel[place(self.bucket)], NONE);
        while at != NONE {
            let (entry, next) = &mut self.places[at as usize];
            self.current.push(*entry);
            let next = std::mem::replace(next, self.free);
            self.free = std::mem::replace(&mut at, next);
            self.in_wheel -= 1;
        }
        self.current.sort_unstable_by(|a, b| b.cmp(a));
        self.begun = true;
        Some(())
    }

    /// Puts an entry into its bucket.
    fn put(&mut self, entry: Entry<T>) {
        let first = &mut self.wheel[place(entry.at >> BUCKET_BITS)];
        let at = match self.places.get_mut(self.free as usize) {
            Some(place) => {
                let next_free = std::mem::replace(place, (entry, *first)).1;
                std::mem::replace(&mut self.free, next_free)
            }
            None => {
                self.places.push((entry, *first));
                u32::try_from(self.places.len() - 1).expect("events are far fewer")
            }
        };
        *first = at;
        self.in_wheel += 1;
    }
}

fn place(bucket: u64) -> usize {
    usize::try_from(bucket % BUCKETS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use samara_swarm::rng::Rng;

    #[test]
    fn agrees_with_a_sorted_list() {
        let mut rng = Rng::new(5);
        let (mut queue, mut naive, mut now) = (Queue::new(), Vec::new(), 0);
        for round in 0..20_000u64 {
            // Near, in this bucket, beyond the wheel, and at the very same moment.
            let ahead = [rng.below(900), rng.below(50_000), rng.below(60_000_000), 0];
            let at = now + ahead[rng.below(4)] as u64;
            queue.push(at, round);
            naive.push((at, round));
            if rng.below(5) > 1 {
                naive.sort_unstable();
                let (at, what) = naive.remove(0);
                assert_eq!(queue.pop(at.saturating_sub(1)), None, "nothing before {at}");
                assert_eq!(queue.pop(u64::MAX), Some((at, what)));
                now = at;
            }
        }
        naive.sort_unstable();
        for expected in naive {
            assert_eq!(queue.pop(u64::MAX), Some(expected));
        }
        assert_eq!(queue.pop(u64::MAX), None);
    }
}
