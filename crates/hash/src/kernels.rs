//! The ways to compute a hash on this machine, and which of them is taken for how many messages.
//!
//! A [`Way`] takes a fixed number of messages at once. Which is the fastest differs between processors with the same
//! instructions: a fourth message in the SHA extensions pays on AMD's Zen 3 and costs on Intel's, for example. So all ways are timed
//! once, at first use (`calibrate`), and a plan says for each number of messages what to begin with, so that all of them
//! are done soonest.

#![expect(unsafe_code, reason = "calls of what a processor may lack")]

use crate::algorithm::{Algorithm, Block};
use crate::calibrate;
use std::fmt;

/// Most messages that any way takes at once.
pub(crate) const MAX_LANES: usize = 16;

/// Puts as many blocks of each of `N` messages into their states. All slices are of one length.
///
/// Unsafe to call where the processor lacks the instructions.
#[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), expect(dead_code))]
pub(crate) type Kernel<S, const N: usize> = unsafe fn(&mut [S; N], [&[Block]; N]);

/// Puts blocks of the first messages, as many as fit, into their states. Gives how many messages those were.
type Run<S> = fn(&mut [S], &[&[Block]]) -> usize;

/// A way to compute a hash. Only made where the processor can do what it needs.
#[doc(hidden)]
pub struct Way<A: Algorithm> {
    /// What it uses, and for how many messages: `sha-ni, 4`.
    pub(crate) name: &'static str,
    pub(crate) lanes: usize,
    pub(crate) run: Run<A::State>,
    /// Nanoseconds for a block of each message, taken for granted where they cannot be measured.
    pub(crate) assumed: u32,
}

impl<A: Algorithm> Clone for Way<A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A: Algorithm> Copy for Way<A> {}

/// Ways to compute a hash on this machine, and when which is used.
pub struct Kernels<A: Algorithm> {
    ways: Vec<Way<A>>,
    plan: Plan,
}

/// What to begin with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Plan {
    /// For each number of messages, the index of the way.
    first: [usize; MAX_LANES + 1],
    /// The least number of messages at which each costs as little as it ever does.
    lanes: usize,
}

impl<A: Algorithm> fmt::Debug for Kernels<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} lanes)", self.name(), self.lanes())
    }
}

impl<A: Algorithm> Kernels<A> {
    /// All that the processor has, each where it is the fastest by measurement.
    pub(crate) fn calibrated() -> Self {
        let ways = all_ways();
        let assumed = || ways.iter().map(|way| u64::from(way.assumed)).collect();
        let costs = calibrate::costs(&ways).unwrap_or_else(assumed);
        let plan = Plan::new(&ways.iter().map(|way| way.lanes).zip(costs).collect::<Vec<_>>());
        Self { ways, plan }
    }

    /// Each way by itself, for tests and measurements.
    pub(crate) fn each() -> Vec<Self> {
        let alone = |way: Way<A>| {
            let plan = Plan { first: [0; MAX_LANES + 1], lanes: way.lanes };
            Self { ways: vec![way], plan }
        };
        all_ways().into_iter().map(alone).collect()
    }

    /// What it uses for as many messages as it has lanes, such as `sha-ni, 4`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.ways[self.plan.first[self.lanes()]].name
    }

    /// Messages worth having at once: with fewer each costs more, with more it costs no less.
    #[must_use]
    pub const fn lanes(&self) -> usize {
        self.plan.lanes
    }

    /// Puts as many blocks of each message into its state, however many messages there are: `states` and `data` are as long,
    /// and all of `data` is of one length.
    pub(crate) fn all(&self, mut states: &mut [A::State], mut data: &[&[Block]]) {
        assert_eq!(states.len(), data.len(), "a state for each message");
        assert!(data.windows(2).all(|two| two[0].len() == two[1].len()), "as many blocks of each");
        while !states.is_empty() {
            let way = &self.ways[self.plan.first[states.len().min(MAX_LANES)]];
            let taken = (way.run)(states, data);
            states = &mut states[taken..];
            data = &data[taken..];
        }
    }
}

/// One message at a time, then everything that the processor has, fewer messages first.
fn all_ways<A: Algorithm>() -> Vec<Way<A>> {
    let compress = |states: &mut [A::State], data: &[&[Block]]| {
        A::compress(&mut states[0], data[0]);
        1
    };
    let mut ways = vec![Way { name: "one by one", lanes: 1, run: compress, assumed: 40 }];
    ways.extend(A::ways());
    ways
}

/// Runs `kernel` on the first messages. Lanes for which there is none go through the motions.
///
/// # Safety
/// The processor must have what the kernel needs.
#[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), expect(dead_code))]
pub(crate) unsafe fn run<S: Copy, const N: usize>(
    kernel: Kernel<S, N>,
    states: &mut [S],
    data: &[&[Block]],
) -> usize {
    let taken = states.len().min(N);
    let mut all = [states[0]; N];
    all[..taken].copy_from_slice(&states[..taken]);
    let mut blocks = [data[0]; N];
    blocks[..taken].copy_from_slice(&data[..taken]);
    // SAFETY: the caller vouches for it.
    unsafe { kernel(&mut all, blocks) };
    states[..taken].copy_from_slice(&all[..taken]);
    taken
}

/// A [`Way`] of `$lanes` messages out of a [`Kernel`]; to be used only where the processor has what it needs.
#[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), expect(unused_macros))]
macro_rules! way {
    ($name:literal, $lanes:literal, $kernel:path, $assumed:expr) => {
        $crate::kernels::Way {
            name: concat!($name, ", ", $lanes),
            lanes: $lanes,
            // SAFETY: ways are only made where the processor has what they need.
            run: |states, data| unsafe { $crate::kernels::run::<_, $lanes>($kernel, states, data) },
            assumed: $assumed,
        }
    };
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) use way;

impl Plan {
    /// The cheapest plan for ways of so many lanes and such costs. Differences too small to be measured well do not count:
    /// among equals the way that stands first is taken.
    fn new(ways: &[(usize, u64)]) -> Self {
        let clearly_less = |a: u64, b: u64| a.saturating_add(a / 32) < b;
        let mut first = [0; MAX_LANES + 1];
        let mut total = [0u64; MAX_LANES + 1];
        for count in 1..=MAX_LANES {
            let with = |&(lanes, cost): &(usize, u64)| {
                total[count.saturating_sub(lanes)].saturating_add(cost)
            };
            let mut best = with(&ways[0]);
            for (index, way) in ways.iter().enumerate().skip(1) {
                if clearly_less(with(way), best) {
                    (first[count], best) = (index, with(way));
                }
            }
            total[count] = best;
        }
        let each = |count: usize| total[count].saturating_mul(1 << 10) / count as u64;
        let least = (1..=MAX_LANES).map(each).min().unwrap_or(0);
        let lanes = (1..=MAX_LANES).find(|&count| !clearly_less(least, each(count)));
        Self { first, lanes: lanes.unwrap_or(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lanes of the ways that `count` messages go through.
    fn course(ways: &[(usize, u64)], mut count: usize) -> Vec<usize> {
        let plan = Plan::new(ways);
        let mut course = Vec::new();
        while count > 0 {
            let lanes = ways[plan.first[count]].0;
            course.push(lanes);
            count = count.saturating_sub(lanes);
        }
        course
    }

    #[test]
    fn an_amd_takes_four_messages_in_the_sha_extensions() {
        let ways = [(1, 37), (2, 40), (4, 58), (8, 180)];
        assert_eq!(Plan::new(&ways).lanes, 4);
        assert_eq!(course(&ways, 1), [1]);
        assert_eq!(course(&ways, 2), [2]);
        assert_eq!(course(&ways, 3), [4]);
        assert_eq!(course(&ways, 8), [4, 4]);
        assert_eq!(course(&ways, 5), [1, 4]);
    }

    #[test]
    fn an_intel_takes_two_or_vectors() {
        let ways = [(1, 29), (2, 49), (4, 115), (8, 121), (16, 183)];
        assert_eq!(Plan::new(&ways).lanes, 16);
        assert_eq!(course(&ways, 2), [2]);
        assert_eq!(course(&ways, 4), [2, 2]);
        assert_eq!(course(&ways, 8), [8]);
        assert_eq!(course(&ways, 16), [16]);
    }

    #[test]
    fn a_difference_that_is_noise_changes_nothing() {
        assert_eq!(course(&[(1, 1000), (2, 1990)], 2), [1, 1]);
        assert_eq!(Plan::new(&[(1, 1000), (2, 1990)]).lanes, 1);
        assert_eq!(Plan::new(&[(1, 0)]).lanes, 1);
    }

    #[test]
    fn no_plan_costs_more_than_the_best_one_by_much() {
        let mut x = 1u64;
        let mut next = || {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            x >> 54
        };
        for _ in 0..500 {
            let ways = [1, 2, 4, 8, 16].map(|lanes| (lanes, 50 + next()));
            for count in 1..=MAX_LANES {
                let cost = |lanes: &usize| ways.iter().find(|w| w.0 == *lanes).unwrap().1;
                let planned: u64 = course(&ways, count).iter().map(cost).sum();
                let best = cheapest(&ways, count);
                assert!(planned <= best + best / 8, "{ways:?}: {planned} for {count}, not {best}");
            }
        }
    }

    /// The naive model: every order of ways is tried.
    fn cheapest(ways: &[(usize, u64)], count: usize) -> u64 {
        let then = |&(lanes, cost): &(usize, u64)| {
            cost + if count > lanes { cheapest(ways, count - lanes) } else { 0 }
        };
        ways.iter().map(then).min().unwrap()
    }
}
