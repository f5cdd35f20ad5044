//! One message that comes in parts.

use crate::algorithm::{Algorithm, BLOCK, Block};

/// A message of which the hash is sought, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub struct Stream<A: Algorithm> {
    pub(crate) state: A::State,
    /// The bytes behind the last whole block.
    carry: Block,
    carried: usize,
    /// Bytes given, all in all.
    len: u64,
}

impl<A: Algorithm> Default for Stream<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A: Algorithm> Stream<A> {
    /// An empty message.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: A::FIRST, carry: [0; BLOCK], carried: 0, len: 0 }
    }

    /// The next bytes of this message alone. Where there are several messages, [`crate::update_all`] is faster.
    pub fn update(&mut self, bytes: &[u8]) {
        let rest = self.fill_carry(bytes);
        let (blocks, rest) = rest.as_chunks();
        A::compress(&mut self.state, blocks);
        self.count(blocks.len());
        self.keep(rest);
    }

    /// The hash of the message.
    #[must_use]
    pub fn finish(mut self) -> A::Digest {
        let bits = self.len.wrapping_mul(8).to_be_bytes();
        // A one bit, zeros, the length; in one block if there is room for it.
        let mut tail = [0; 2 * BLOCK];
        tail[..self.carried].copy_from_slice(&self.carry[..self.carried]);
        tail[self.carried] = 0x80;
        let end = if self.carried + 1 + bits.len() <= BLOCK { BLOCK } else { 2 * BLOCK };
        tail[end - bits.len()..end].copy_from_slice(&bits);
        let (blocks, _) = tail[..end].as_chunks();
        A::compress(&mut self.state, blocks);
        A::digest(&self.state)
    }

    /// Completes the block that was begun, if there is one. Returns the bytes that are not used up; none are left
    /// if the block is still not whole.
    pub(crate) fn fill_carry<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.carried == 0 {
            return bytes;
        }
        let (now, rest) = bytes.split_at(bytes.len().min(BLOCK - self.carried));
        self.carry[self.carried..self.carried + now.len()].copy_from_slice(now);
        self.carried += now.len();
        self.len += now.len() as u64;
        if self.carried == BLOCK {
            A::compress(&mut self.state, &[self.carry]);
            self.carried = 0;
        }
        rest
    }

    /// Keeps less than a block for later.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        debug_assert!(self.carried == 0 || bytes.is_empty(), "a block was begun already");
        if !bytes.is_empty() {
            self.carry[..bytes.len()].copy_from_slice(bytes);
            self.carried = bytes.len();
            self.len += bytes.len() as u64;
        }
    }

    /// So many whole blocks went into the state.
    pub(crate) fn count(&mut self, blocks: usize) {
        self.len += (blocks * BLOCK) as u64;
    }
}
