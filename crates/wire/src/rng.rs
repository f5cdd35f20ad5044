//! Randomness that the network cannot guess, and that is the same for the same seed.
//!
//! Transaction ids, tokens and private keys must not be guessed from what was seen before, so the numbers are the SHA-1
//! of a secret seed and a counter.

use sha1::{Digest, Sha1};

/// A stream of random bytes.
#[derive(Clone, Debug)]
pub struct Rng {
    seed: [u8; 32],
    counter: u64,
}

impl Rng {
    /// The stream of `seed`, which must be kept from the network.
    #[must_use]
    pub const fn new(seed: [u8; 32]) -> Self {
        Self { seed, counter: 0 }
    }

    /// The next 20 bytes.
    pub fn next_20(&mut self) -> [u8; 20] {
        self.counter += 1;
        Sha1::new()
            .chain_update(self.seed)
            .chain_update(self.counter.to_le_bytes())
            .finalize()
            .into()
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.next_20()[..8]);
        u64::from_le_bytes(first)
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(20) {
            let next = self.next_20();
            part.copy_from_slice(&next[..part.len()]);
        }
    }

    /// The next 32 bits.
    pub fn next_u32(&mut self) -> u32 {
        let bytes = self.next_20();
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    /// A number below `bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.next_u64()) * (bound as u128);
        usize::try_from(wide >> 64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_bytes_and_bounds_hold() {
        let (mut a, mut b, mut c) = (Rng::new([1; 32]), Rng::new([1; 32]), Rng::new([2; 32]));
        assert!((0..50).all(|_| a.next_20() == b.next_20()));
        assert_ne!(a.next_u64(), c.next_u64());
        assert_ne!(a.next_u32(), a.next_u32());
        assert!((1..50).all(|bound| a.below(bound) < bound) && a.below(0) == 0);
    }

    #[test]
    fn any_length_is_filled() {
        let (mut a, mut b) = (Rng::new([1; 32]), Rng::new([1; 32]));
        let mut bytes = [0; 45];
        a.fill(&mut bytes);
        let parts = [b.next_20(), b.next_20(), b.next_20()];
        assert_eq!(bytes[..], parts.concat()[..45]);
    }
}
