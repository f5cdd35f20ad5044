//! How many requests a peer is owed: within its bounds whatever the peer does, and with a count that never drifts.

use crate::Script;
use samara_swarm::pipeline::{DEFAULT_REQQ, MAX_OUTSTANDING, Pipeline};
use samara_wire::id::BLOCK_LEN;
use samara_wire::time::{Duration, Instant};
use std::collections::VecDeque;

/// Reads `input` as what becomes of requests, and time.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let mut pipeline = Pipeline::new();
    let mut now = Instant::from_secs(1000);
    let mut asked: VecDeque<Instant> = VecDeque::new();
    let mut limit = DEFAULT_REQQ as usize;
    while !script.is_done() {
        match script.below(8) {
            0 => {
                let reqq = script.word();
                pipeline.set_reqq(reqq);
                limit = usize::try_from(reqq).unwrap_or(usize::MAX).clamp(1, MAX_OUTSTANDING);
            }
            1 => now += Duration::from_millis(script.short().into()),
            2 => now += Duration::from_micros(script.word().into()),
            3 => {
                let ended = script.below(4).min(asked.len());
                asked.drain(..ended);
                pipeline.on_released(ended);
            }
            4 => {
                asked.clear();
                pipeline.on_choked();
            }
            5 => pipeline.on_timeout(script.flag()),
            6 => {
                let room = pipeline.target(now).saturating_sub(asked.len());
                asked.extend(std::iter::repeat_n(now, room));
                pipeline.on_requested(now, room);
            }
            _ => {
                for _ in 0..=script.below(32) {
                    let Some(since) = asked.pop_front() else { break };
                    pipeline.on_block(now, BLOCK_LEN, since);
                    now += Duration::from_micros(script.byte().into());
                }
            }
        }
        assert_eq!(pipeline.outstanding(), asked.len());
        let target = pipeline.target(now);
        assert!((1..=limit).contains(&target), "{target} of {limit}");
        assert!(!pipeline.is_snubbed(now) || target == 1);
        let timeout = pipeline.timeout();
        assert!((Duration::from_secs(2)..=Duration::from_secs(60)).contains(&timeout));
    }
}
