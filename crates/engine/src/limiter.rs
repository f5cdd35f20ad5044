//! Rate limits that all torrents of a session share.
//!
//! A limiter keeps one number: the time at which all that was taken so far is paid for at the current rate.
//! Taking bytes moves it on; whoever finds it in the future waits until then. Being idle saves up at most
//! [`BURST`]. So the average is exact over any longer time, whatever the size of single takes, and nobody
//! counts tokens in a timer.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How far an idle limiter may catch up.
const BURST: Duration = Duration::from_millis(100);

/// The longest debt that is kept when the rate is changed.
const LONGEST_DEBT: Duration = Duration::from_secs(1);

/// Limits bytes per second. Shared by all threads; the lock is held for an addition.
#[derive(Debug)]
pub(crate) struct Limiter {
    /// Spares the unlimited case the lock.
    limited: AtomicBool,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// Bytes per second; `None`: no limit.
    rate: Option<u64>,
    /// When all that was taken is paid for.
    paid_at: Instant,
}

impl Limiter {
    pub(crate) fn new(rate: Option<u64>) -> Self {
        let state = State { rate, paid_at: Instant::now() };
        Self { limited: AtomicBool::new(rate.is_some()), state: Mutex::new(state) }
    }

    /// Changes the limit at once, in bytes per second.
    pub(crate) fn set(&self, rate: Option<u64>) {
        let mut state = self.lock();
        state.rate = rate;
        state.paid_at = state.paid_at.min(Instant::now() + LONGEST_DEBT);
        self.limited.store(rate.is_some(), Ordering::Relaxed);
    }

    /// How long to wait before taking anything; `None`: take now.
    pub(crate) fn delay(&self) -> Option<Duration> {
        if !self.limited.load(Ordering::Relaxed) {
            return None;
        }
        let wait = self.lock().paid_at.saturating_duration_since(Instant::now());
        (!wait.is_zero()).then_some(wait)
    }

    /// Bytes that may well be taken at once, so that a low limit still flows evenly: a twentieth of a second.
    pub(crate) fn portion(&self) -> usize {
        if !self.limited.load(Ordering::Relaxed) {
            return usize::MAX;
        }
        let rate = self.lock().rate.unwrap_or(u64::MAX);
        usize::try_from(rate / 20).unwrap_or(usize::MAX).max(1024)
    }

    /// Notes that `bytes` were taken.
    pub(crate) fn take(&self, bytes: usize) {
        if bytes > 0 && self.limited.load(Ordering::Relaxed) {
            self.lock().take(Instant::now(), bytes as u64);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, now: Instant, bytes: u64) {
        let Some(rate) = self.rate else { return };
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let from = now.checked_sub(BURST).map_or(self.paid_at, |floor| self.paid_at.max(floor));
        // A limit of a few bytes a second must not reach beyond what the clock can name.
        self.paid_at = from + cost.min(Duration::from_secs(3600));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_is_exact_whatever_the_takes() {
        let start = Instant::now();
        let mut state = State { rate: Some(1_000_000), paid_at: start };
        let mut now = start;
        let mut taken = 0;
        while now < start + Duration::from_secs(10) {
            let size = 1 + taken % 40_000;
            state.take(now, size);
            taken += size;
            now = now.max(state.paid_at);
        }
        let rate = taken as f64 / (now - start).as_secs_f64();
        assert!((rate / 1e6 - 1.0).abs() < 0.02, "{rate}");
    }

    #[test]
    fn idleness_saves_little_and_no_limit_never_waits() {
        let start = Instant::now();
        let mut state = State { rate: Some(1000), paid_at: start };
        state.take(start + Duration::from_secs(60), 300);
        assert_eq!(
            state.paid_at,
            start + Duration::from_secs(60) - BURST + Duration::from_millis(300)
        );
        let free = Limiter::new(None);
        free.take(1 << 40);
        assert_eq!((free.delay(), free.portion()), (None, usize::MAX));
        free.set(Some(10));
        free.take(1000);
        assert!(free.delay().is_some());
        free.set(None);
        assert_eq!(free.delay(), None);
    }
}
