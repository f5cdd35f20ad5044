//! How long each way takes on this machine: measured once, in a fifth of a millisecond.

use crate::algorithm::{Algorithm, BLOCK, Block};
use crate::kernels::{MAX_LANES, Way};
use std::hint::black_box;
use std::time::Instant;

/// Blocks of each message in a run: several microseconds' work, and within the first level of cache.
const BLOCKS: usize = 64;

/// Of so many runs the shortest counts, which nothing interrupted.
const RUNS: usize = 5;

/// Nanoseconds that a run takes on any processor. A clock that says less cannot tell the ways apart.
const CREDIBLE: u64 = 300;

/// What a run of each way costs, in nanoseconds. `None` if the clock is too coarse to tell.
pub(crate) fn costs<A: Algorithm>(ways: &[Way<A>]) -> Option<Vec<u64>> {
    let blocks: [Block; BLOCKS] = [[0x5a; BLOCK]; BLOCKS];
    let data = [blocks.as_slice(); MAX_LANES];
    let mut states = [A::FIRST; MAX_LANES];
    let mut costs = vec![u64::MAX; ways.len()];
    for _ in 0..RUNS {
        for (way, cost) in ways.iter().zip(&mut costs) {
            let begun = Instant::now();
            (way.run)(black_box(&mut states[..way.lanes]), black_box(&data[..way.lanes]));
            let took = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            *cost = took.min(*cost);
        }
    }
    costs.iter().all(|&cost| cost >= CREDIBLE).then_some(costs)
}
