//! A smoothed byte rate.
//!
//! Bytes are counted in ten buckets of half a second. The rate is what the live buckets hold, divided by the
//! time they cover; shortly after the first byte that is less than the full window, so the figure is
//! truthful from the first second on. All arithmetic is in integers: exact from 1 B/s to far above 10 GB/s.

use alloc::boxed::Box;
use samara_wire::time::{Duration, Instant};

const BUCKETS: usize = 10;
const BUCKET_MICROS: u64 = 500_000;

/// The time over which a [`RateMeter`] smooths.
pub const RATE_WINDOW: Duration = Duration::from_micros(BUCKET_MICROS * BUCKETS as u64);

/// Measures bytes per second over the last [`RATE_WINDOW`]. Constant size, constant cost; next to no size before the first
/// byte, as most torrents and peers of a seedbox see none.
#[derive(Clone, Debug, Default)]
pub struct RateMeter(Option<Box<Window>>);

#[derive(Clone, Debug, Default)]
struct Window {
    /// Bytes of the half second `tick`, at `tick % BUCKETS`, for the last `BUCKETS` ticks up to `newest`.
    buckets: [u64; BUCKETS],
    newest: u64,
    /// When bytes came after nothing had come for a whole window (or ever).
    since: Instant,
}

impl RateMeter {
    /// A meter that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(None)
    }

    /// Counts `bytes` that moved at `now`. Time never runs backwards: an earlier `now` counts as the latest.
    pub fn add(&mut self, now: Instant, bytes: u64) {
        if bytes > 0 {
            self.0.get_or_insert_default().add(now, bytes);
        }
    }

    /// Bytes per second at `now`, rounded down.
    #[must_use]
    pub fn rate(&self, now: Instant) -> u64 {
        self.0.as_ref().map_or(0, |window| window.rate(now))
    }
}

impl Window {
    fn add(&mut self, now: Instant, bytes: u64) {
        if self.bytes_in_window(now) == 0 {
            self.since = now;
        }
        let tick = self.newest.max(tick_of(now));
        let passed = tick - self.newest;
        if passed >= BUCKETS as u64 {
            self.buckets = [0; BUCKETS];
        } else {
            for t in self.newest + 1..=tick {
                self.buckets[place(t)] = 0;
            }
        }
        self.newest = tick;
        let bucket = &mut self.buckets[place(tick)];
        *bucket = bucket.saturating_add(bytes);
    }

    fn rate(&self, now: Instant) -> u64 {
        let tick = self.newest.max(tick_of(now));
        let window_start = tick.saturating_sub(BUCKETS as u64 - 1) * BUCKET_MICROS;
        let start = self.since.as_micros().max(window_start);
        // Below one bucket a single block would look like a torrent of data.
        let span = now.as_micros().saturating_sub(start).max(BUCKET_MICROS);
        let per_second = u128::from(self.bytes_in_window(now)) * 1_000_000 / u128::from(span);
        u64::try_from(per_second).unwrap_or(u64::MAX)
    }

    fn bytes_in_window(&self, now: Instant) -> u64 {
        let tick = self.newest.max(tick_of(now));
        let expired = tick - self.newest;
        // Oldest bucket still inside the window; ticks before 0 hold nothing.
        let oldest = (self.newest + expired).saturating_sub(BUCKETS as u64 - 1);
        (oldest..=self.newest).fold(0, |sum: u64, t| sum.saturating_add(self.buckets[place(t)]))
    }
}

fn tick_of(now: Instant) -> u64 {
    now.as_micros() / BUCKET_MICROS
}

fn place(tick: u64) -> usize {
    usize::try_from(tick % BUCKETS as u64).expect("below BUCKETS")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn ms(millis: u64) -> Instant {
        Instant::from_millis(1_000_000 + millis)
    }

    #[test]
    fn a_steady_rate_is_exact_from_the_first_second_on() {
        for per_ms in [1, 1_000, 10_000_000, 1_000_000_000] {
            let mut meter = RateMeter::new();
            for t in 0..20_000 {
                meter.add(ms(t), per_ms);
                if t >= 1_000 {
                    let (rate, truth) = (meter.rate(ms(t + 1)), per_ms * 1_000);
                    assert!(rate.abs_diff(truth) <= truth / 400, "{rate} for {truth} at {t} ms");
                }
            }
        }
    }

    #[test]
    fn one_byte_a_second_is_one() {
        let mut meter = RateMeter::new();
        for t in 0..60 {
            meter.add(ms(t * 1_000), 1);
        }
        assert_eq!(meter.rate(ms(59_999)), 1);
    }

    #[test]
    fn silence_brings_the_rate_to_zero_and_a_restart_is_measured_afresh() {
        let mut meter = RateMeter::new();
        assert_eq!(meter.rate(ms(0)), 0);
        meter.add(ms(0), 1_000_000);
        assert_eq!(meter.rate(ms(0)), 2_000_000);
        assert_eq!(meter.rate(ms(2_000)), 500_000);
        assert_eq!(meter.rate(ms(5_500)), 0);
        meter.add(ms(60_000), 1_000);
        meter.add(ms(61_000), 1_000);
        assert_eq!(meter.rate(ms(61_000)), 2_000);
    }

    #[test]
    fn an_absurd_count_saturates() {
        let mut meter = RateMeter::new();
        meter.add(ms(0), u64::MAX);
        meter.add(ms(0), u64::MAX);
        assert_eq!(meter.rate(ms(0)), u64::MAX);
    }

    proptest! {
        /// The buckets hold exactly the bytes of the last ten half seconds.
        #[test]
        fn agrees_with_a_list_of_all_bytes(steps in prop::collection::vec((0u64..7_000, 0u64..100_000), 1..200)) {
            let mut meter = RateMeter::new();
            let mut all: Vec<(u64, u64)> = Vec::new();
            let mut now = ms(0);
            for (wait, bytes) in steps {
                now += Duration::from_millis(wait);
                meter.add(now, bytes);
                all.push((tick_of(now), bytes));
                let naive: u64 = all.iter().filter(|(t, _)| t + BUCKETS as u64 > tick_of(now)).map(|(_, b)| b).sum();
                let counted = meter.0.as_ref().map_or(0, |window| window.bytes_in_window(now));
                prop_assert_eq!(counted, naive);
                prop_assert!(meter.rate(now) <= naive * 2);
            }
        }
    }
}
