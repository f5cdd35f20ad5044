//! How much is sent and served: token buckets, one for all and one for each source.

use crate::rng::Rng;
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;
use samara_wire::krpc::is_local;
use samara_wire::time::{Duration, Instant};

/// Allows so much a second, and a burst.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// Millionths that are left.
    micros: u64,
    rate: u32,
    burst: u32,
    filled: Instant,
}

impl Bucket {
    /// A full bucket: `rate` a second, at most `burst` at once.
    #[must_use]
    pub const fn new(rate: u32, burst: u32) -> Self {
        Self { micros: burst as u64 * 1_000_000, rate, burst, filled: Instant::ZERO }
    }

    fn fill(&mut self, now: Instant) {
        let elapsed = now.as_micros().saturating_sub(self.filled.as_micros());
        let gained = elapsed.saturating_mul(u64::from(self.rate));
        self.micros = self.micros.saturating_add(gained).min(u64::from(self.burst) * 1_000_000);
        self.filled = self.filled.max(now);
    }

    /// Takes `amount`, if there is so much.
    pub fn take(&mut self, now: Instant, amount: usize) -> bool {
        self.fill(now);
        let amount = (amount as u64).saturating_mul(1_000_000);
        let enough = self.micros >= amount;
        if enough {
            self.micros -= amount;
        }
        enough
    }

    /// When there will be one.
    #[must_use]
    pub fn ready_at(&self) -> Instant {
        let missing = 1_000_000u64.saturating_sub(self.micros);
        self.filled + Duration::from_micros(missing.div_ceil(u64::from(self.rate.max(1))))
    }
}

/// Sources that are told apart. Those that fall on the same slot share an allowance, so the memory is fixed and no
/// flood of addresses pushes anybody out.
const SLOTS: usize = 1024;

/// Queries of one source that are served a second, and at once.
const SOURCE_RATE: (u32, u32) = (10, 40);

/// An allowance for each source.
#[derive(Debug)]
pub struct Sources {
    slots: Vec<Bucket>,
    key: u64,
}

impl Sources {
    /// Nobody was heard yet.
    pub fn new(rng: &mut Rng) -> Self {
        let bucket = Bucket::new(SOURCE_RATE.0, SOURCE_RATE.1);
        Self { slots: vec![bucket; SLOTS], key: rng.next_u64() }
    }

    /// Whether another query of `ip` is served. In local networks every query is.
    pub fn take(&mut self, now: Instant, ip: IpAddr) -> bool {
        if is_local(ip) {
            return true;
        }
        let number = match ip {
            IpAddr::V4(ip) => u64::from(ip.to_bits()),
            // One who has a /64 has all of its addresses.
            IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64,
        };
        // Multiplication by an odd secret spreads well enough that a source cannot choose whom to share with.
        let mixed = (number ^ self.key).wrapping_mul(self.key | 1);
        let slot = usize::try_from(mixed >> 54).unwrap_or(0) % SLOTS;
        self.slots[slot].take(now, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let start = Instant::from_secs(1);
        let mut bucket = Bucket::new(10, 5);
        assert_eq!((0..20).filter(|_| bucket.take(start, 1)).count(), 5);
        assert_eq!(bucket.ready_at(), start + Duration::from_millis(100));
        assert!(bucket.take(bucket.ready_at(), 1));
        assert!(!bucket.take(start, 1), "time never runs backwards");
        let later = start + Duration::from_secs(100);
        assert!(!bucket.take(later, 6) && bucket.take(later, 5));
    }

    #[test]
    fn one_source_cannot_take_all_and_others_are_served() {
        let mut sources = Sources::new(&mut Rng::new([1; 32]));
        let now = Instant::from_secs(1);
        let loud = IpAddr::from([1, 2, 3, 4]);
        assert_eq!((0..1000).filter(|_| sources.take(now, loud)).count(), 40);
        let quiet = (0..100u8).filter(|&n| sources.take(now, IpAddr::from([9, n, 1, 1]))).count();
        assert!(quiet >= 99, "{quiet}");
        assert!((0..1000).all(|_| sources.take(now, IpAddr::from([127, 0, 0, 1]))));
    }
}
