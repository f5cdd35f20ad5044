//! Delay in one direction, from clocks that nobody has set (BEP 29, RFC 6817).
//!
//! A measurement is the difference of two clocks and means nothing by itself; but how much it is above the least of the
//! last minutes is the time that packets now spend in queues. Clocks that run at different rates make the differences
//! drift. Drift that lowers them lowers the least with them; drift that raises them would look like a queue until the
//! old minima are forgotten, and is seen in the other direction, where the same drift lowers: see [`DelayHistory::raise`].

use samara_wire::time::{Duration, Instant};

/// Minutes over which the least is taken.
const MINUTES: usize = 10;

const MINUTE: Duration = Duration::from_secs(60);

/// Measurements of which the least counts as the present one: a single one has the noise of schedulers in it.
const RECENT: usize = 3;

/// The least of the last minutes, and what was measured last.
#[derive(Clone, Debug, Default)]
pub struct DelayHistory {
    inner: Option<Inner>,
}

#[derive(Clone, Debug)]
struct Inner {
    /// The least of each minute, in microseconds; the present minute is at `at`.
    minima: [u32; MINUTES],
    at: usize,
    minute_ends: Instant,
    base: u32,
    recent: [u32; RECENT],
    next_recent: usize,
}

/// Whether `a` is less than `b`, on a clock that wraps.
const fn is_less(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() < 0
}

fn least(values: &[u32]) -> u32 {
    values.iter().copied().reduce(|a, b| if is_less(b, a) { b } else { a }).unwrap_or_default()
}

impl DelayHistory {
    /// Takes a measurement in microseconds. Returns by how much it lowered the least of the last minutes; nothing for the
    /// very first.
    pub fn add(&mut self, now: Instant, sample: u32) -> u32 {
        let Some(inner) = &mut self.inner else {
            self.inner = Some(Inner {
                minima: [sample; MINUTES],
                at: 0,
                minute_ends: now + MINUTE,
                base: sample,
                recent: [sample; RECENT],
                next_recent: 1,
            });
            return 0;
        };
        let before = inner.base;
        if now >= inner.minute_ends {
            inner.minute_ends = now + MINUTE;
            inner.at = (inner.at + 1) % MINUTES;
            inner.minima[inner.at] = sample;
            inner.base = least(&inner.minima);
        }
        inner.recent[inner.next_recent] = sample;
        inner.next_recent = (inner.next_recent + 1) % RECENT;
        if is_less(sample, inner.minima[inner.at]) {
            inner.minima[inner.at] = sample;
        }
        if is_less(sample, inner.base) {
            inner.base = sample;
        }
        if is_less(inner.base, before) { before.wrapping_sub(inner.base) } else { 0 }
    }

    /// The time that packets spend in queues at present; `None` before the first measurement.
    #[must_use]
    pub fn queueing(&self) -> Option<Duration> {
        let inner = self.inner.as_ref()?;
        let above = least(&inner.recent).wrapping_sub(inner.base);
        Some(Duration::from_micros(u64::from(above.cast_signed().max(0).unsigned_abs())))
    }

    /// Raises the least by as many microseconds as the clocks were found to have drifted.
    pub fn raise(&mut self, drift: u32) {
        if let Some(inner) = &mut self.inner {
            inner.base = inner.base.wrapping_add(drift);
            for least in &mut inner.minima {
                *least = least.wrapping_add(drift);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(delay: Option<Duration>) -> u128 {
        delay.unwrap().as_millis()
    }

    #[test]
    fn queueing_is_what_is_above_the_least_even_where_the_clock_wraps() {
        let (mut history, mut now) = (DelayHistory::default(), Instant::from_secs(1));
        assert_eq!(history.queueing(), None);
        for delay in [20_000_u32, 5_000, 60_000, 70_000, 65_000] {
            history.add(now, delay.wrapping_sub(30_000));
            now += Duration::from_millis(10);
        }
        assert_eq!(ms(history.queueing()), 55);
    }

    #[test]
    fn what_was_least_is_forgotten_after_some_minutes() {
        let (mut history, mut now) = (DelayHistory::default(), Instant::from_secs(1));
        history.add(now, 1_000);
        for minute in 0..12 {
            (0..RECENT).for_each(|_| _ = history.add(now, 51_000));
            assert_eq!(ms(history.queueing()), if minute < 10 { 50 } else { 0 }, "{minute}");
            now += MINUTE;
        }
    }

    #[test]
    fn drift_seen_on_the_way_back_is_made_up_for() {
        let (mut there, mut back) = (DelayHistory::default(), DelayHistory::default());
        let mut now = Instant::from_secs(1);
        // Their clock gains 100 us each second on ours, for ten minutes.
        for second in 0..600_u32 {
            there.add(now, 1_000_000_u32.wrapping_add(second * 100));
            let lowered = back.add(now, 2_000_000_u32.wrapping_sub(second * 100));
            there.raise(lowered);
            now += Duration::from_secs(1);
        }
        assert_eq!(ms(there.queueing()), 0);
    }
}
