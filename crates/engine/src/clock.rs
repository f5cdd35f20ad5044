//! The engine's monotonic clock, in the cores' unit.

use samara_wire::time::{Duration, Instant};

/// Reads the system's monotonic clock as a [`samara_wire::time::Instant`]. One for a whole session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    /// The origin lies this long in the past, so that no core's look back saturates.
    const HEAD_START: Duration = Duration::from_secs(3600);

    pub(crate) fn new() -> Self {
        Self { origin: std::time::Instant::now() }
    }

    /// The time now.
    pub(crate) fn now(&self) -> Instant {
        Instant::ZERO + Self::HEAD_START + self.origin.elapsed()
    }

    /// The system's name for `at`, to sleep until it.
    pub(crate) fn to_tokio(self, at: Instant) -> tokio::time::Instant {
        let since_origin = at.since(Instant::ZERO + Self::HEAD_START);
        tokio::time::Instant::from_std(self.origin + since_origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_agree() {
        let clock = Clock::new();
        let now = clock.now();
        let later = clock.to_tokio(now + Duration::from_secs(5));
        let ahead = later.duration_since(tokio::time::Instant::now());
        assert!(ahead > Duration::from_secs(4) && ahead <= Duration::from_secs(5), "{ahead:?}");
        assert!(now.since(Instant::ZERO) >= Clock::HEAD_START);
    }
}
