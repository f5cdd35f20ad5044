//! What SHA-1 and SHA-256 have in common: a state of 32-bit words, blocks of 64 bytes, the length at the end (FIPS 180-4).

use crate::kernels::Kernels;
use std::fmt::Debug;

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

    #[doc(hidden)]
    fn portable() -> Kernels<Self>;

    /// The fastest way to compute it on this machine.
    fn kernels() -> &'static Kernels<Self>;

    /// All ways to compute it on this machine, for tests and measurements.
    fn all_kernels() -> Vec<Kernels<Self>>;
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

    fn portable() -> Kernels<Self> {
        Kernels::one_by_one("portable", sha1::block_api::compress)
    }

    fn kernels() -> &'static Kernels<Self> {
        static BEST: std::sync::LazyLock<Kernels<Sha1>> =
            std::sync::LazyLock::new(|| crate::kernels::best(Sha1::all_kernels()));
        &BEST
    }

    fn all_kernels() -> Vec<Kernels<Self>> {
        crate::kernels::sha1()
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

    fn portable() -> Kernels<Self> {
        Kernels::one_by_one("portable", sha2::block_api::compress256)
    }

    fn kernels() -> &'static Kernels<Self> {
        static BEST: std::sync::LazyLock<Kernels<Sha256>> =
            std::sync::LazyLock::new(|| crate::kernels::best(Sha256::all_kernels()));
        &BEST
    }

    fn all_kernels() -> Vec<Kernels<Self>> {
        crate::kernels::sha256()
    }
}

fn write_words(words: &[u32], to: &mut [u8]) {
    for (word, bytes) in words.iter().zip(to.chunks_exact_mut(4)) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
}
