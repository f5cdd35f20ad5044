//! One direction of an access link, for packets: a queue of bytes with a bound. What does not fit is dropped.
//!
//! Time is in whole nanoseconds and rounded up, so no link ever carries more than its rate.

use super::super::link::nanos_for;

/// Waits are counted in steps of so many nanoseconds.
const STEP: u64 = 1_000_000;

/// Longer waits are counted as this many steps.
const STEPS: usize = 8_192;

/// A link and the queue in front of it.
#[derive(Debug)]
pub(super) struct Bottleneck {
    /// Bytes a second.
    rate: u64,
    /// Bytes that may wait.
    bound: u64,
    /// Busy until then, in nanoseconds.
    free_at: u64,
}

impl Bottleneck {
    pub(super) const fn new(rate: u64, bound: u64) -> Self {
        Self { rate, bound, free_at: 0 }
    }

    /// Bytes that wait or are just being carried, at a time in nanoseconds.
    fn waiting(&self, now: u64) -> u64 {
        let nanos = u128::from(self.free_at.saturating_sub(now));
        u64::try_from(nanos * u128::from(self.rate) / 1_000_000_000).unwrap_or(u64::MAX)
    }

    /// Takes a datagram of so many bytes: for how long it waits, and when its last byte is through. Nothing if there is no room.
    pub(super) fn take(&mut self, now: u64, bytes: u64) -> Option<(u64, u64)> {
        if self.waiting(now) + bytes > self.bound {
            return None;
        }
        let begin = self.free_at.max(now);
        self.free_at = begin.saturating_add(nanos_for(bytes, self.rate));
        Some((begin - now, self.free_at))
    }
}

/// How long datagrams waited.
#[derive(Clone, Debug, Default)]
pub(super) struct Waits {
    steps: Vec<u64>,
    count: u64,
    most: u64,
}

impl Waits {
    pub(super) fn add(&mut self, nanos: u64) {
        let step = usize::try_from(nanos / STEP).unwrap_or(STEPS).min(STEPS);
        if self.steps.len() <= step {
            self.steps.resize(step + 1, 0);
        }
        self.steps[step] += 1;
        self.count += 1;
        self.most = self.most.max(nanos);
    }

    /// How long so many in a hundred waited at most, in microseconds, to the next millisecond below.
    pub(super) fn percentile(&self, percent: u64) -> u64 {
        let rank = (self.count * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (step, count) in (0u64..).zip(&self.steps) {
            seen += count;
            if seen >= rank {
                return step * STEP / 1_000;
            }
        }
        0
    }

    /// The longest, in microseconds.
    pub(super) const fn most(&self) -> u64 {
        self.most / 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn what_does_not_fit_is_dropped_and_the_rest_goes_at_the_rate() {
        let mut link = Bottleneck::new(1_000, 1_000);
        assert_eq!(link.take(0, 500), Some((0, SECOND / 2)));
        assert_eq!(link.take(0, 500), Some((SECOND / 2, SECOND)));
        assert_eq!(link.take(0, 1), None);
        // Half of a second later half of it is through.
        assert_eq!(link.take(SECOND / 2, 501), None);
        assert_eq!(link.take(SECOND / 2, 500), Some((SECOND / 2, SECOND * 3 / 2)));
        assert_eq!(link.take(5 * SECOND, 100), Some((0, 5 * SECOND + SECOND / 10)));
    }

    #[test]
    fn waits_are_counted_by_the_millisecond() {
        let mut waits = Waits::default();
        (1..=100u64).for_each(|ms| waits.add(ms * STEP + 7));
        assert_eq!((waits.percentile(50), waits.percentile(95)), (50_000, 95_000));
        waits.add(u64::MAX);
        assert_eq!(waits.percentile(100), STEPS as u64 * STEP / 1_000);
        assert_eq!(Waits::default().percentile(50), 0);
    }
}
