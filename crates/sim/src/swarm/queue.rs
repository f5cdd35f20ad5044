//! The queue of what is to happen: a wheel of buckets of about a millisecond.
//!
//! Events come out in order of time, and those of one moment in the order in which they were put in. Nearly all events of a
//! swarm lie within a few seconds, so putting one in is a push at the end of a bucket, and only the bucket whose turn it is
//! gets sorted: the cost does not grow with the number of events that wait. What lies beyond the wheel waits in a heap.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// A bucket is this power of two of microseconds.
const BUCKET_BITS: u32 = 10;

/// Buckets of the wheel: some eight seconds.
const BUCKETS: usize = 8192;

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
    /// The bucket whose turn it is, and what was put in for earlier.
    current: BinaryHeap<Reverse<Entry<T>>>,
    /// Its number.
    bucket: u64,
    wheel: Vec<Vec<Reverse<Entry<T>>>>,
    /// Events in the wheel.
    in_wheel: usize,
    far: BinaryHeap<Reverse<Entry<T>>>,
    number: u64,
}

impl<T: Copy> Queue<T> {
    pub(super) fn new() -> Self {
        Self {
            current: BinaryHeap::new(),
            bucket: 0,
            wheel: std::iter::repeat_with(Vec::new).take(BUCKETS).collect(),
            in_wheel: 0,
            far: BinaryHeap::new(),
            number: 0,
        }
    }

    /// Puts in what is to happen at `at` microseconds.
    pub(super) fn push(&mut self, at: u64, what: T) {
        self.number += 1;
        let entry = Reverse(Entry { at, number: self.number, what });
        let bucket = at >> BUCKET_BITS;
        if bucket <= self.bucket {
            self.current.push(entry);
        } else if bucket - self.bucket < BUCKETS as u64 {
            self.wheel[place(bucket)].push(entry);
            self.in_wheel += 1;
        } else {
            self.far.push(entry);
        }
    }

    /// Takes out what is next and not later than `limit`, with its time.
    pub(super) fn pop(&mut self, limit: u64) -> Option<(u64, T)> {
        while self.current.is_empty() {
            self.turn()?;
        }
        let at = self.current.peek()?.0.at;
        if at > limit {
            return None;
        }
        self.current.pop().map(|Reverse(entry)| (entry.at, entry.what))
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
            let Some(entry) = self.far.pop() else { break };
            self.wheel[place(entry.0.at >> BUCKET_BITS)].push(entry);
            self.in_wheel += 1;
        }
        let bucket = &mut self.wheel[place(self.bucket)];
        self.in_wheel -= bucket.len();
        self.current.extend(bucket.drain(..));
        Some(())
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
