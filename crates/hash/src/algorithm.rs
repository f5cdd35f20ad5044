//! What SHA-1 and SHA-256 have in common: a state of 32-bit words, blocks of 64 bytes, the length at the end (FIPS 180-4).

use crate::kernels::{Kernels, Way};
use std::fmt::Debug;
use std::sync::LazyLock;

/// Bytes of a block.
pub(crate) const BLOCK: usize = 64;

/// A block.
pub(crate) type Block = [u8; BLOCK];

/// [`Sha1`] or [`Sha256`].
pub trait Algorithm: Debug + Copy + Send + Sync + 'static + Sealed {
    /// Its result, 20 or 32 bytes.
    type Digest: Copy + Eq + Debug + Send + AsRef<[u8]>;

    #[doc(hidden)]
    type State: Copy + Debug + Send + Sync;

    #[doc(hidden)]
    const FIRST: Self::State;

    #[doc(hidden)]
    fn digest(state: &Self::State) -> Self::Digest;

    /// Puts blocks of one message into its state, with what RustCrypto has for this processor.
    #[doc(hidden)]
    fn compress(state: &mut Self::State, blocks: &[Block]);

    /// What there is for this processor besides, fewer messages at once first.
    #[doc(hidden)]
    fn ways() -> Vec<Way<Self>>;

    /// The fastest way to compute it on this machine. The first call measures, for a fifth of a millisecond.
    fn kernels() -> &'static Kernels<Self>;

    /// Each way to compute it on this machine by itself, for tests and measurements.
    #[must_use]
    fn all_kernels() -> Vec<Kernels<Self>> {
        Kernels::each()
    }
}

/// Only the two.
pub trait Sealed {}

/// SHA-1 (FIPS 180-4): the hash of v1 pieces (BEP 3).
#[derive(Clone, Copy, Debug)]
pub enum Sha1 {}

/// SHA-256 (FIPS 180-4): the hash of v2 blocks (BEP 52).
#[derive(Clone, Copy, Debug)]
pub enum Sha256 {}

impl Sealed for Sha1 {}
impl Sealed for Sha256 {}

impl Algorithm for Sha1 {
    type Digest = [u8; 20];
    type State = [u32; 5];
    const FIRST: Self::State = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

    fn digest(state: &Self::State) -> Self::Digest {
        let mut digest = [0; 20];
        write_words(state, &mut digest);
        digest
    }

    fn compress(state: &mut Self::State, blocks: &[Block]) {
        sha1::block_api::compress(state, blocks);
    }

    fn ways() -> Vec<Way<Self>> {
        crate::native::sha1()
    }

    fn kernels() -> &'static Kernels<Self> {
        static BEST: LazyLock<Kernels<Sha1>> = LazyLock::new(Kernels::calibrated);
        &BEST
    }
}

impl Algorithm for Sha256 {
    type Digest = [u8; 32];
    type State = [u32; 8];
    const FIRST: Self::State = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];

    fn digest(state: &Self::State) -> Self::Digest {
        let mut digest = [0; 32];
        write_words(state, &mut digest);
        digest
    }

    fn compress(state: &mut Self::State, blocks: &[Block]) {
        sha2::block_api::compress256(state, blocks);
    }

    fn ways() -> Vec<Way<Self>> {
        crate::native::sha256()
    }

    fn kernels() -> &'static Kernels<Self> {
        static BEST: LazyLock<Kernels<Sha256>> = LazyLock::new(Kernels::calibrated);
        &BEST
    }
}

fn write_words(words: &[u32], to: &mut [u8]) {
    for (word, bytes) in words.iter().zip(to.chunks_exact_mut(4)) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
}
