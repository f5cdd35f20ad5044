//! The round trip, and from it how long an acknowledgement is waited for (BEP 29, RFC 6298).

use samara_wire::time::Duration;

/// Before anything was measured.
const INITIAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Shortest time-out: peers may sit on an acknowledgement for 100 ms and more.
const MIN_TIMEOUT: Duration = Duration::from_millis(500);

/// Longest time-out.
const MAX_TIMEOUT: Duration = Duration::from_secs(30);

/// What is known of the round trip.
#[derive(Clone, Debug, Default)]
pub struct RttEstimator {
    smoothed: Option<Duration>,
    variation: Duration,
    min: Option<Duration>,
}

impl RttEstimator {
    /// Takes a measurement, which must be of a packet that was sent once (Karn).
    pub fn add(&mut self, sample: Duration) {
        self.min = Some(self.min.map_or(sample, |min| min.min(sample)));
        match self.smoothed {
            None => {
                self.smoothed = Some(sample);
                self.variation = sample / 2;
            }
            Some(smoothed) => {
                self.variation = (self.variation * 3 + smoothed.abs_diff(sample)) / 4;
                self.smoothed = Some((smoothed * 7 + sample) / 8);
            }
        }
    }

    /// The usual round trip; `None` before the first measurement.
    #[must_use]
    pub const fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// The shortest round trip seen.
    #[must_use]
    pub const fn min(&self) -> Option<Duration> {
        self.min
    }

    /// How long an acknowledgement is waited for after `failures` time-outs in a row.
    #[must_use]
    pub fn timeout(&self, failures: u32) -> Duration {
        let usual =
            self.smoothed.map_or(INITIAL_TIMEOUT, |s| (s + self.variation * 4).max(MIN_TIMEOUT));
        usual.saturating_mul(1 << failures.min(6)).min(MAX_TIMEOUT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_measurements_and_backs_off() {
        let ms = Duration::from_millis;
        let mut rtt = RttEstimator::default();
        assert_eq!((rtt.timeout(0), rtt.timeout(2)), (ms(1000), ms(4000)));
        rtt.add(ms(400));
        assert_eq!((rtt.smoothed(), rtt.timeout(0)), (Some(ms(400)), ms(1200)));
        (0..100).for_each(|_| rtt.add(ms(40)));
        assert!(rtt.smoothed().unwrap() < ms(41));
        assert_eq!(
            (rtt.timeout(0), rtt.timeout(1), rtt.timeout(99)),
            (ms(500), ms(1000), ms(30_000))
        );
        assert_eq!(rtt.min(), Some(ms(40)));
    }
}
