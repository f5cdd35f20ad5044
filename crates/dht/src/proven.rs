//! Who has shown to be where its datagrams say.
//!
//! The source of a datagram can be forged, and then an answer hits somebody who never asked. An address
//! is proven by an answer to a question of ours, or by a token that only it can have received. To any other no more than
//! [`AMPLIFICATION`] times the bytes it sent are sent.

use alloc::collections::{BTreeMap, VecDeque};
use core::net::SocketAddr;
use samara_wire::time::{Duration, Instant};

/// Bytes sent to an unproven address for each byte that came from it.
pub const AMPLIFICATION: usize = 3;

/// For so long a proof is good.
const LIFE: Duration = Duration::from_secs(15 * 60);

/// Addresses that are remembered.
const MAX: usize = 2048;

/// Addresses proven lately.
#[derive(Debug, Default)]
pub struct Proven {
    since: BTreeMap<SocketAddr, Instant>,
    /// Oldest first. An address that was proven again stands here more than once.
    order: VecDeque<(Instant, SocketAddr)>,
}

impl Proven {
    /// Notes that `addr` is proven.
    pub fn insert(&mut self, now: Instant, addr: SocketAddr) {
        // Once a minute is enough, and keeps the queue short.
        let known = self.since.get(&addr).is_some_and(|&since| now - since < LIFE / 15);
        if known {
            return;
        }
        self.since.insert(addr, now);
        self.order.push_back((now, addr));
        while self.order.len() > MAX {
            self.drop_oldest();
        }
    }

    /// Whether `addr` is proven.
    #[must_use]
    pub fn contains(&self, now: Instant, addr: &SocketAddr) -> bool {
        self.since.get(addr).is_some_and(|&since| now - since < LIFE)
    }

    fn drop_oldest(&mut self) {
        if let Some((since, addr)) = self.order.pop_front()
            && self.since.get(&addr) == Some(&since)
        {
            self.since.remove(&addr);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_ends_and_the_number_is_bounded() {
        let mut proven = Proven::default();
        let start = Instant::from_secs(1);
        let addr = |n: u16| SocketAddr::from(([1, 2, 3, 4], n));
        proven.insert(start, addr(1));
        assert!(proven.contains(start, &addr(1)) && !proven.contains(start, &addr(2)));
        assert!(!proven.contains(start + LIFE, &addr(1)));
        let later = start + LIFE / 2;
        proven.insert(later, addr(1));
        assert!(proven.contains(start + LIFE, &addr(1)));
        for n in 0..5000 {
            proven.insert(later, addr(n));
        }
        assert!(proven.since.len() <= MAX && proven.order.len() <= MAX);
        assert!(proven.contains(later, &addr(4999)) && !proven.contains(later, &addr(1)));
    }
}
