//! How much of the network thread's time goes into key exchanges with those who dial us.
//!
//! 96 bytes make us compute two exponentiations, 0.13 ms where it was measured (the bench `key exchange` of `samara-wire`), before
//! it is known who asks. So this time has a budget: a tenth of the thread's time for all, and a hundredth for each source, an address or a
//! /64 of IPv6. Both are measured in time and not in exchanges, so that they mean the same on every machine. Beside it each
//! may have a burst, for peers come in flocks after an announce.
//!
//! Who comes when the budget is spent waits for its turn, in the order of coming; one whose turn would come too late is turned
//! away at once. One source alone cannot make others wait, as it has spent its own part long before that of all. Many sources can, but only
//! so much: whoever waits has a place among those that shake hands, which are bounded too ([`crate::listen`]).

use samara_wire::time::{Duration, Instant};
use std::net::IpAddr;

/// One in so many microseconds is for exchanges: with all, and with one source.
const SHARE: u32 = 10;
const SOURCE_SHARE: u32 = 100;

/// Computed at once before that holds: with all, and with one source.
const BURST: Duration = Duration::from_millis(50);
const SOURCE_BURST: Duration = Duration::from_millis(5);

/// One whose turn would come later than this is turned away: handshakes have ten seconds.
const PATIENCE: Duration = Duration::from_secs(3);

/// Sources that are told apart. Those that fall on one slot share a budget, so that the memory is fixed, and no flood of
/// addresses pushes anybody out.
const SLOTS: usize = 1 << SLOT_BITS;
const SLOT_BITS: u32 = 12;

/// Of so many exchanges the quickest tells what one costs: whatever else the machine does meanwhile only adds to it.
const MEASURED: usize = 8;

/// What one costs before one was measured, and the bounds of what is believed.
const FIRST_COST: Duration = Duration::from_micros(250);
const COSTS: (Duration, Duration) = (Duration::from_micros(20), Duration::from_millis(20));

/// Turns that come at a rate, with a burst.
#[derive(Clone, Copy, Debug, Default)]
struct Turns {
    /// When all turns that were given are paid for.
    paid: Instant,
}

impl Turns {
    /// When the next turn comes.
    fn next(self, now: Instant, share: u32, burst: Duration) -> Instant {
        let ahead = (self.paid - now).saturating_sub(burst * share);
        now + ahead
    }

    fn take(&mut self, now: Instant, share: u32, cost: Duration) {
        self.paid = self.paid.max(now) + cost * share;
    }
}

/// See the module's head.
pub(crate) struct Exchanges {
    all: Turns,
    sources: Vec<Turns>,
    /// Nobody outside knows which sources share a slot.
    key: u64,
    costs: [Duration; MEASURED],
    measured: usize,
}

impl Exchanges {
    /// None was computed yet. Nobody else knows `key`.
    pub(crate) fn new(key: u64) -> Self {
        Self {
            all: Turns::default(),
            sources: vec![Turns::default(); SLOTS],
            key,
            costs: [FIRST_COST; MEASURED],
            measured: 0,
        }
    }

    /// When an exchange with `ip` may be computed, which counts as done; `None` if that is too late.
    pub(crate) fn reserve(&mut self, now: Instant, ip: IpAddr) -> Option<Instant> {
        let (cost, slot) = (self.cost(), self.slot(ip));
        let mut at = self.all.next(now, SHARE, BURST);
        if let Some(slot) = slot {
            at = at.max(self.sources[slot].next(now, SOURCE_SHARE, SOURCE_BURST));
        }
        if at - now > PATIENCE {
            return None;
        }
        self.all.take(now, SHARE, cost);
        if let Some(slot) = slot {
            self.sources[slot].take(now, SOURCE_SHARE, cost);
        }
        Some(at)
    }

    /// One has taken so long.
    pub(crate) fn computed(&mut self, took: Duration) {
        self.costs[self.measured % MEASURED] = took.clamp(COSTS.0, COSTS.1);
        self.measured = self.measured.wrapping_add(1);
    }

    /// What one costs.
    fn cost(&self) -> Duration {
        self.costs.iter().min().copied().unwrap_or(FIRST_COST)
    }

    /// `None` on the local network: there, many are behind one address, and none is far from the switch.
    fn slot(&self, ip: IpAddr) -> Option<usize> {
        let ip = ip.to_canonical();
        if samara_swarm::peer_list::is_local(ip) {
            return None;
        }
        let number = match ip {
            IpAddr::V4(ip) => u64::from(ip.to_bits()),
            // Who has a /64 has all of its addresses.
            IpAddr::V6(ip) => u64::try_from(ip.to_bits() >> 64).unwrap_or(0),
        };
        // Multiplication by an odd secret spreads well enough that a source cannot choose whom to share with.
        let mixed = (number ^ self.key).wrapping_mul(self.key | 1);
        usize::try_from(mixed >> (u64::BITS - SLOT_BITS)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOUD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));

    fn fresh() -> Exchanges {
        Exchanges::new(0x9e37_79b9_7f4a_7c15)
    }

    fn source(n: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(0x0900_0000 + (n << 8)).into()
    }

    /// Computes what is due from `flood` exchanges that are asked for in each millisecond, for ten seconds; gives how many are
    /// computed in the last of them, when bursts are over.
    fn in_a_second(cost: Duration, ip: impl Fn(u32) -> IpAddr) -> usize {
        let mut exchanges = fresh();
        (0..MEASURED).for_each(|_| exchanges.computed(cost));
        let end = Instant::from_secs(11);
        let mut turns = Vec::new();
        for n in 0..20_000 {
            let now = Instant::from_secs(1) + Duration::from_micros(500) * n;
            turns.extend(exchanges.reserve(now, ip(n)));
        }
        turns.iter().filter(|at| **at < end && end - **at <= Duration::from_secs(1)).count()
    }

    #[test]
    fn a_flood_from_everywhere_gets_a_tenth_of_the_thread_and_one_source_a_hundredth() {
        for (cost, all, one) in [(200, 500, 50), (250, 400, 40), (2000, 50, 5)] {
            let cost = Duration::from_micros(cost);
            assert!(in_a_second(cost, source).abs_diff(all) <= 1 + all / 50, "{cost:?}");
            assert!(in_a_second(cost, |_| LOUD).abs_diff(one) <= 1, "{cost:?}");
        }
    }

    #[test]
    fn a_flock_is_let_in_at_once() {
        let (mut exchanges, now) = (fresh(), Instant::from_secs(1));
        let begun = (0..200).filter_map(|n| exchanges.reserve(now, source(n)));
        assert_eq!(begun.filter(|at| *at == now).count(), 200);
    }

    #[test]
    fn who_floods_does_not_make_others_wait() {
        let (mut exchanges, mut waits) = (fresh(), 0);
        for n in 0..10_000_u32 {
            let now = Instant::from_secs(1) + Duration::from_millis(1) * n;
            exchanges.reserve(now, LOUD);
            if n % 20 == 0 {
                waits += u32::from(exchanges.reserve(now, source(n)) != Some(now));
            }
        }
        // Two of the honest ones may fall on one slot, or on that of the loud one.
        assert!(waits < 20, "{waits} of 500 had to wait");
    }

    #[test]
    fn a_64_is_one_source_and_the_local_network_none() {
        let (mut exchanges, now) = (fresh(), Instant::from_secs(1));
        let of = |high: u16, low: u16| IpAddr::from([0x2a00, 1, 2, high, 0, 0, 0, low]);
        let at_once = |exchanges: &mut Exchanges, ip: &dyn Fn(u16) -> IpAddr| {
            (0..100).filter(|n| exchanges.reserve(now, ip(*n)) == Some(now)).count()
        };
        assert_eq!(at_once(&mut exchanges, &|n| of(3, n)), 21);
        let mut exchanges = fresh();
        assert_eq!(at_once(&mut exchanges, &|n| of(n, 3)), 100);
        let mut exchanges = fresh();
        assert_eq!(at_once(&mut exchanges, &|_| IpAddr::from([127, 0, 0, 1])), 100);
    }

    #[test]
    fn a_machine_that_stalls_is_not_taken_for_a_slow_one() {
        let mut exchanges = fresh();
        for took in [300, 5000, 310, 90_000] {
            exchanges.computed(Duration::from_micros(took));
        }
        assert_eq!(exchanges.cost(), FIRST_COST, "of eight some are from before");
        for _ in 0..MEASURED {
            exchanges.computed(Duration::from_micros(900));
        }
        assert_eq!(exchanges.cost(), Duration::from_micros(900));
        (0..MEASURED).for_each(|_| exchanges.computed(Duration::ZERO));
        assert_eq!(exchanges.cost(), COSTS.0);
    }
}
