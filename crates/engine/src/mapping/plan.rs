//! When a mapping is asked for, renewed and given up. No socket, no clock.
//!
//! A mapping is renewed at half its lifetime. Where that fails, half of what is left is waited for, again and again (RFC 6887, 11.2.1),
//! until it has run out and all begins anew. Where nobody maps ports, that is tried again ever more rarely; a change of the network
//! makes it news again.

use samara_wire::time::{Duration, Instant};

/// A gateway may name any lifetime; one within these is believed.
const LIFETIME: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(24 * 3600));

/// Shortest pause before a renewal is tried again.
const MIN_PAUSE: Duration = Duration::from_secs(10);

/// First and longest pause after nobody was found who maps ports.
const RETRY: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));

/// What is to be done now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Look for a gateway and ask it.
    Map,
    /// Ask the same gateway again.
    Renew,
    /// Nothing, until then.
    Wait(Instant),
}

/// See the module's head.
#[derive(Debug)]
pub(super) struct Plan {
    /// When to ask next.
    next: Instant,
    /// Until when the mapping lasts, if there is one.
    held_until: Option<Instant>,
    pause: Duration,
}

impl Plan {
    /// To begin at once.
    pub(super) const fn new(now: Instant) -> Self {
        Self { next: now, held_until: None, pause: RETRY.0 }
    }

    pub(super) fn step(&self, now: Instant) -> Step {
        match self.held_until {
            _ if now < self.next => Step::Wait(self.next),
            Some(until) if now < until => Step::Renew,
            _ => Step::Map,
        }
    }

    /// A mapping was made or renewed, for so long.
    pub(super) fn on_mapped(&mut self, now: Instant, lifetime: Duration) {
        let lifetime = lifetime.clamp(LIFETIME.0, LIFETIME.1);
        *self = Self { next: now + lifetime / 2, held_until: Some(now + lifetime), pause: RETRY.0 };
    }

    /// Nothing came of it. True if a mapping was lost by that.
    pub(super) fn on_failed(&mut self, now: Instant) -> bool {
        match self.held_until {
            Some(until) if now < until => {
                self.next = (now + (until.since(now) / 2).max(MIN_PAUSE)).min(until);
                false
            }
            held => {
                self.held_until = None;
                self.next = now + self.pause;
                self.pause = (self.pause * 2).min(RETRY.1);
                held.is_some()
            }
        }
    }

    /// Our address or the gateway is another one: what was mapped is of no use any more.
    pub(super) fn on_moved(&mut self, now: Instant) {
        *self = Self::new(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(secs: u64) -> Instant {
        Instant::from_secs(1000 + secs)
    }

    /// Seconds at which something is done, until `end`, if nothing ever answers.
    fn failing(plan: &mut Plan, end: u64) -> Vec<(u64, Step)> {
        let mut done = Vec::new();
        let mut now = at(0);
        while now < at(end) {
            match plan.step(now) {
                Step::Wait(until) => now = until,
                step => {
                    done.push((now.since(at(0)).as_secs(), step));
                    plan.on_failed(now);
                }
            }
        }
        done
    }

    #[test]
    fn a_mapping_is_renewed_at_half_its_lifetime() {
        let mut plan = Plan::new(at(0));
        assert_eq!(plan.step(at(0)), Step::Map);
        plan.on_mapped(at(0), Duration::from_secs(3600));
        assert_eq!(plan.step(at(1)), Step::Wait(at(1800)));
        assert_eq!(plan.step(at(1800)), Step::Renew);
        plan.on_mapped(at(1800), Duration::from_secs(600));
        assert_eq!(plan.step(at(1801)), Step::Wait(at(2100)));
    }

    #[test]
    fn a_gateway_that_falls_silent_is_asked_until_time_is_out_and_then_another_is_sought() {
        let mut plan = Plan::new(at(0));
        plan.on_mapped(at(0), Duration::from_secs(160));
        let done = failing(&mut plan, 400);
        let renewals = [80, 120, 140, 150].map(|secs| (secs, Step::Renew));
        let searches = [160, 220, 340].map(|secs| (secs, Step::Map));
        assert_eq!(done, [&renewals[..], &searches].concat());
    }

    #[test]
    fn where_nobody_maps_ports_it_is_tried_ever_more_rarely_until_the_network_changes() {
        let mut plan = Plan::new(at(0));
        let times: Vec<_> = failing(&mut plan, 20_000).into_iter().map(|(secs, _)| secs).collect();
        assert_eq!(times, [0, 60, 180, 420, 900, 1860, 3780, 7380, 10_980, 14_580, 18_180]);
        plan.on_moved(at(20_000));
        assert_eq!(plan.step(at(20_000)), Step::Map);
    }

    proptest! {
        #[test]
        fn no_lifetime_makes_it_spin_or_sleep_for_ever(lifetimes in prop::collection::vec(any::<u32>(), 1..20)) {
            let (mut plan, mut now) = (Plan::new(at(0)), at(0));
            for lifetime in lifetimes {
                plan.on_mapped(now, Duration::from_secs(lifetime.into()));
                let Step::Wait(next) = plan.step(now) else { panic!("at once") };
                let pause = next.since(now).as_secs();
                prop_assert!((30..=12 * 3600).contains(&pause), "{pause}");
                now = next;
                prop_assert_eq!(plan.step(now), Step::Renew);
            }
        }
    }
}
