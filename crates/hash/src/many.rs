//! Puts messages into lanes.
//!
//! Each lane works on one message. All lanes advance by the same number of blocks: as many as the one with the least left in its
//! slice has. A lane whose message ends takes the next one, so that lanes stay full until the messages run out.

use crate::algorithm::{Algorithm, BLOCK, Block};
use crate::kernels::{Kernels, MAX_LANES};
use crate::stream::Stream;

/// More bytes of a message.
#[derive(Debug)]
pub struct Part<'a, A: Algorithm> {
    /// The message.
    pub stream: &'a mut Stream<A>,
    /// Its next bytes, in order, cut anywhere.
    pub bytes: &'a [&'a [u8]],
}

/// Gives each message its next bytes, as many messages at a time as the processor can take.
pub fn update_all<A: Algorithm>(parts: &mut [Part<'_, A>]) {
    A::kernels().update_all(parts);
}

/// The hash of each message; a message is a list of slices.
#[must_use]
pub fn digest_all<A: Algorithm>(messages: &[&[&[u8]]]) -> Vec<A::Digest> {
    A::kernels().digest_all(messages)
}

impl<A: Algorithm> Kernels<A> {
    /// [`update_all`] with these kernels.
    pub fn update_all(&self, parts: &mut [Part<'_, A>]) {
        let mut waiting = parts.iter_mut();
        let mut lanes: Vec<Lane<'_, A>> = Vec::with_capacity(MAX_LANES);
        loop {
            lanes.retain_mut(Lane::prepare);
            while lanes.len() < self.lanes()
                && let Some(part) = waiting.next()
            {
                let mut lane =
                    Lane { stream: part.stream, rest: part.bytes, blocks: &[], tail: &[] };
                if lane.prepare() {
                    lanes.push(lane);
                }
            }
            let Some(run) = lanes.iter().map(|lane| lane.blocks.len()).min() else { return };
            self.advance(&mut lanes, run);
        }
    }

    /// [`digest_all`] with these kernels.
    #[must_use]
    pub fn digest_all(&self, messages: &[&[&[u8]]]) -> Vec<A::Digest> {
        let mut streams = vec![Stream::new(); messages.len()];
        let parts = streams.iter_mut().zip(messages);
        let mut parts: Vec<_> = parts.map(|(stream, &bytes)| Part { stream, bytes }).collect();
        self.update_all(&mut parts);
        streams.into_iter().map(Stream::finish).collect()
    }

    /// Takes `run` blocks of each lane.
    fn advance(&self, lanes: &mut [Lane<'_, A>], run: usize) {
        let mut states = [A::FIRST; MAX_LANES];
        let mut data: [&[Block]; MAX_LANES] = [&[]; MAX_LANES];
        for (lane, (state, now)) in lanes.iter_mut().zip(states.iter_mut().zip(&mut data)) {
            *state = lane.stream.state;
            (*now, lane.blocks) = lane.blocks.split_at(run);
        }
        let count = lanes.len();
        self.all(&mut states[..count], &data[..count]);
        for (lane, state) in lanes.iter_mut().zip(states) {
            lane.stream.state = state;
            lane.stream.count(run);
        }
    }
}

/// A message at work.
struct Lane<'a, A: Algorithm> {
    stream: &'a mut Stream<A>,
    /// Slices not begun.
    rest: &'a [&'a [u8]],
    /// Whole blocks of the slice at work.
    blocks: &'a [Block],
    /// What follows them in the slice: less than a block.
    tail: &'a [u8],
}

impl<A: Algorithm> Lane<'_, A> {
    /// Sees to it that there is a whole block to work on. Whether there is.
    fn prepare(&mut self) -> bool {
        while self.blocks.is_empty() {
            self.stream.keep(std::mem::take(&mut self.tail));
            let Some((&slice, rest)) = self.rest.split_first() else { return false };
            self.rest = rest;
            let slice = self.stream.fill_carry(slice);
            (self.blocks, self.tail) = slice.as_chunks::<BLOCK>();
        }
        true
    }
}

#[cfg(test)]
mod tests;
