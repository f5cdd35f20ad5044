//! Rate limits: how many bytes may move, and whose turn it is.
//!
//! A [`Limit`] keeps one number: the time at which all that was reserved so far is paid for at its rate. To reserve bytes
//! moves it on; whoever reserved may move the bytes when what was reserved before is paid for. So turns come in the order in
//! which they were asked for, which is fair among peers that ask again after each turn, and the average is exact whatever
//! the size of turns and however late a timer is. Who was idle may catch up by [`BURST`] at most.
//!
//! Limits form a tree by being held together: a peer is under those of the session, of its torrent and of its class (such
//! as the local network, often without any), and reserves the same bytes with each of them:
//!
//! ```text
//! bytes = the smallest portion() of them       at = the latest reserve(now, bytes) of them
//! at that time up to `bytes` are moved, and settle(bytes, moved) tells each of them how many it were
//! ```
//!
//! A limit that does not bind only counts, so that it can be one of a hundred peers that wait for another.
//!
//! [`Schedule`] says when alternative limits hold, and [`on_wire`] what the network adds to what we move.

mod schedule;
#[cfg(test)]
mod tests;

pub use schedule::{Days, MINUTES_A_DAY, Schedule, ScheduleError};

use core::time::Duration;
use samara_wire::time::Instant;

/// How far who was idle may catch up.
pub const BURST: Duration = Duration::from_millis(100);

/// How long a turn takes at the limit's rate, if its size allows.
const TURNS_A_SECOND: u64 = 200;

/// The smallest and largest turn, in bytes: one must be worth its system call, and not hold up others.
const PORTION: (u64, u64) = (1 << 10, 256 << 10);

/// A limit of bytes per second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// Bytes per second; `None`: no limit.
    rate: Option<u64>,
    /// When all that was reserved is paid for, in nanoseconds: a turn may take less than a microsecond.
    paid_at: u64,
}

impl Limit {
    /// A limit of `rate` bytes per second, or none.
    #[must_use]
    pub const fn new(rate: Option<u64>) -> Self {
        Self { rate, paid_at: 0 }
    }

    /// The rate in bytes per second.
    #[must_use]
    pub const fn rate(&self) -> Option<u64> {
        self.rate
    }

    /// Changes the rate. What is reserved is paid for at the new one; those who wait have to give their turns back and ask
    /// again, or they wait as long as before.
    pub fn set_rate(&mut self, now: Instant, rate: Option<u64>) {
        let owed = self.paid_at.saturating_sub(nanos(now));
        let bytes = u128::from(owed) * u128::from(self.rate.unwrap_or(0)) / 1_000_000_000;
        self.rate = rate;
        self.paid_at = nanos(now).min(self.paid_at);
        self.pay(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// The size of a turn, in bytes.
    #[must_use]
    pub fn portion(&self) -> u64 {
        self.rate.map_or(PORTION.1, |rate| (rate / TURNS_A_SECOND).clamp(PORTION.0, PORTION.1))
    }

    /// Reserves `bytes`: from when on they may be moved.
    #[must_use]
    pub fn reserve(&mut self, now: Instant, bytes: u64) -> Instant {
        if self.rate.is_none() {
            return now;
        }
        let burst = u64::try_from(BURST.as_nanos()).unwrap_or(0);
        self.paid_at = self.paid_at.max(nanos(now).saturating_sub(burst));
        let turn = Instant::from_micros(self.paid_at.div_ceil(1000));
        self.pay(bytes);
        turn.max(now)
    }

    /// Of `reserved` bytes that many were `moved`, which may be more.
    pub fn settle(&mut self, reserved: u64, moved: u64) {
        if moved >= reserved {
            self.pay(moved - reserved);
        } else {
            self.paid_at = self.paid_at.saturating_sub(self.cost(reserved - moved));
        }
    }

    fn pay(&mut self, bytes: u64) {
        self.paid_at = self.paid_at.saturating_add(self.cost(bytes));
    }

    /// How long `bytes` take, in nanoseconds.
    fn cost(&self, bytes: u64) -> u64 {
        let Some(rate) = self.rate else { return 0 };
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
        // A limit of a few bytes a second must not reach beyond what a clock can name.
        u64::try_from(nanos).unwrap_or(u64::MAX).min(3_600_000_000_000)
    }
}

fn nanos(time: Instant) -> u64 {
    time.as_micros().saturating_mul(1000)
}

/// What moves over the network if `bytes` of a TCP stream do: headers of IP and TCP with time stamps, for full packets on
/// Ethernet.
#[must_use]
pub const fn on_wire(bytes: u64, ipv6: bool) -> u64 {
    let headers = if ipv6 { 72 } else { 52 };
    bytes.saturating_add(bytes.div_ceil(1500 - headers).saturating_mul(headers))
}
