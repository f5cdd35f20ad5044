//! Hash requests (BEP 52): the body that `hash request`, `hash reject` and the head of `hashes` have in common.

use crate::metainfo::merkle::Hash;
use alloc::vec::Vec;

/// Most hashes of one layer that a request may ask for here. BEP 52: "should not be greater than 512".
pub const MAX_HASHES: u32 = 512;

/// Most uncles that a `hashes` message may carry. A file that takes 48 layers is longer than any disk.
pub const MAX_UNCLES: u32 = 48;

/// Length of an encoded [`HashRequest`], in bytes.
pub(super) const REQUEST_LEN: usize = 48;

/// Names a run of one layer of a file's tree, and the proof that is to come with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HashRequest {
    /// Root of the file's tree (`pieces root`).
    pub root: Hash,
    /// The layer of the run, counted from the leaves.
    pub base: u32,
    /// Of the first hash, in its layer. A multiple of `len`.
    pub index: u32,
    /// Hashes in the run: a power of two of at least two, unless the end of the layer cuts it short.
    pub len: u32,
    /// Layers above the run of which the uncle is asked for, those counted that follow from the run itself.
    pub proof_layers: u32,
}

impl HashRequest {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.root);
        for number in [self.base, self.index, self.len, self.proof_layers] {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }

    /// Reads the body of a message. None of the numbers is compared with a torrent.
    pub(super) fn parse(body: &[u8; REQUEST_LEN]) -> Self {
        let (mut root, mut numbers) = ([0; 32], [0; 4]);
        root.copy_from_slice(&body[..32]);
        for (number, bytes) in numbers.iter_mut().zip(body[32..].as_chunks::<4>().0) {
            *number = u32::from_be_bytes(*bytes);
        }
        let [base, index, len, proof_layers] = numbers;
        Self { root, base, index, len, proof_layers }
    }
}
