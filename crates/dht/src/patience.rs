//! How long an answer is waited for before somebody else is asked as well.
//!
//! Learned from the answers that come: the smoothed round-trip time and four times its mean deviation, as TCP does it
//! (RFC 6298), over all nodes together. Answers that come after the limit count too, so a limit that is too short grows.
//! It stays between [`SHORTEST`] and [`LONGEST`]: whoever delays the answers on purpose cannot make lookups crawl, and a fast
//! network does not make us give up on the slow nodes in it.

use samara_wire::time::Duration;

/// The limit before anything was learned.
pub const FIRST: Duration = Duration::from_millis(1200);

/// The shortest limit.
pub const SHORTEST: Duration = Duration::from_millis(300);

/// The longest limit; a single answer that took longer counts as this.
pub const LONGEST: Duration = Duration::from_secs(2);

/// Answers before the limit is believed.
const ENOUGH: u8 = 8;

/// The estimate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience {
    smoothed: Duration,
    deviation: Duration,
    answers: u8,
}

impl Patience {
    /// Nothing is learned yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { smoothed: Duration::ZERO, deviation: Duration::ZERO, answers: 0 }
    }

    /// An answer came after `took`.
    pub fn learn(&mut self, took: Duration) {
        let took = took.min(LONGEST);
        if self.answers == 0 {
            self.smoothed = took;
            self.deviation = took / 2;
        } else {
            let apart = took.max(self.smoothed) - took.min(self.smoothed);
            self.deviation = (self.deviation * 3 + apart) / 4;
            self.smoothed = (self.smoothed * 7 + took) / 8;
        }
        self.answers = self.answers.saturating_add(1);
    }

    /// After so long a node is slow.
    #[must_use]
    pub fn limit(&self) -> Duration {
        if self.answers < ENOUGH {
            return FIRST;
        }
        (self.smoothed + self.deviation * 4).clamp(SHORTEST, LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn after(answers: impl IntoIterator<Item = u64>) -> Duration {
        let mut patience = Patience::new();
        answers.into_iter().for_each(|ms| patience.learn(Duration::from_millis(ms)));
        patience.limit()
    }

    #[test]
    fn it_is_learned_from_several_answers() {
        assert_eq!(after([]), FIRST);
        assert_eq!(after([10; 7]), FIRST, "too few");
        assert_eq!(after([1; 50]), SHORTEST);
        let steady = after([400; 50]);
        assert!(steady >= Duration::from_millis(400) && steady < Duration::from_millis(500));
        let mixed = after([100, 700].into_iter().cycle().take(50));
        assert!(mixed > Duration::from_millis(900), "{mixed:?}");
        assert_eq!(after([5_000; 50]), LONGEST);
    }

    #[test]
    fn it_follows_a_network_that_changes() {
        let slower = after([50; 100].into_iter().chain([900; 20]));
        assert!(slower > Duration::from_millis(900), "{slower:?}");
        let faster = after([900; 100].into_iter().chain([50; 60]));
        assert!(faster < Duration::from_millis(400), "{faster:?}");
    }

    proptest! {
        #[test]
        fn it_stays_within_its_bounds(answers in prop::collection::vec(0u64..100_000, 0..300)) {
            let limit = after(answers);
            prop_assert!((SHORTEST..=LONGEST).contains(&limit), "{limit:?}");
        }
    }
}
