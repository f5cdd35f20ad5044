//! SHA-1 and SHA-256 with the crypto extensions of ARMv8, for `N` messages whose instructions are interleaved.
//!
//! One instruction does four rounds and depends on the one before; with `N` messages there are `N` that do not depend on each
//! other. Thirty-two registers are room for four messages. Tested under emulation; nobody has measured it yet.

#![expect(unsafe_code, reason = "loads and stores of vectors")]

use crate::algorithm::{Block, Sha1, Sha256};
use crate::constants::K256;
use crate::kernels::{Way, way};
use std::arch::aarch64::{
    uint32x4_t, vaddq_u32, vdupq_n_u32, vgetq_lane_u32, vld1q_u8, vld1q_u32, vreinterpretq_u32_u8,
    vrev32q_u8, vsha1cq_u32, vsha1h_u32, vsha1mq_u32, vsha1pq_u32, vsha1su0q_u32, vsha1su1q_u32,
    vsha256h2q_u32, vsha256hq_u32, vsha256su0q_u32, vsha256su1q_u32, vst1q_u32,
};
use std::arch::is_aarch64_feature_detected;

/// The ways to SHA-1 that this processor has. The costs taken for granted are guesses.
pub(crate) fn sha1() -> Vec<Way<Sha1>> {
    if !is_aarch64_feature_detected!("sha2") {
        return Vec::new();
    }
    vec![way!("sha1", 2, sha1_of, 45), way!("sha1", 4, sha1_of, 70)]
}

/// The ways to SHA-256 that this processor has. The costs taken for granted are guesses.
pub(crate) fn sha256() -> Vec<Way<Sha256>> {
    if !is_aarch64_feature_detected!("sha2") {
        return Vec::new();
    }
    vec![way!("sha2", 2, sha256_of, 45), way!("sha2", 4, sha256_of, 70)]
}

/// Sixteen bytes of `block` from its `at`-th quarter, as words.
#[inline]
#[target_feature(enable = "sha2")]
fn load(block: &Block, at: usize) -> uint32x4_t {
    let quarter: &[u8; 16] = block[16 * at..].first_chunk().expect("a block has four quarters");
    // SAFETY: sixteen bytes are there, and the load needs no alignment.
    let bytes = unsafe { vld1q_u8(quarter.as_ptr()) };
    vreinterpretq_u32_u8(vrev32q_u8(bytes))
}

/// Four words.
#[inline]
#[target_feature(enable = "sha2")]
fn words(four: &[u32; 4]) -> uint32x4_t {
    // SAFETY: four words are there, and the load needs no alignment.
    unsafe { vld1q_u32(four.as_ptr()) }
}

/// The `half`-th four of the words.
#[inline]
#[target_feature(enable = "sha2")]
fn words_at<const W: usize>(all: &[u32; W], at: usize) -> uint32x4_t {
    words(all[at..].first_chunk().expect("four words from there on"))
}

#[inline]
#[target_feature(enable = "sha2")]
fn store<const W: usize>(vector: uint32x4_t, all: &mut [u32; W], at: usize) {
    let four: &mut [u32; 4] = all[at..].first_chunk_mut().expect("four words from there on");
    // SAFETY: there is room for four words, and the store needs no alignment.
    unsafe { vst1q_u32(four.as_mut_ptr(), vector) };
}

/// SHA-1 of `N` messages.
#[target_feature(enable = "sha2")]
fn sha1_of<const N: usize>(states: &mut [[u32; 5]; N], data: [&[Block]; N]) {
    let mut abcd = [vdupq_n_u32(0); N];
    let mut e = [0; N];
    for i in 0..N {
        (abcd[i], e[i]) = (words_at(&states[i], 0), states[i][4]);
    }
    let blocks = data.iter().map(|blocks| blocks.len()).min().unwrap_or(0);
    for at in 0..blocks {
        let before = (abcd, e);
        let mut w = [[vdupq_n_u32(0); 4]; N];
        for (w, blocks) in w.iter_mut().zip(data) {
            for (quarter, w) in w.iter_mut().enumerate() {
                *w = load(&blocks[at], quarter);
            }
        }
        // Four rounds: the sixteen words of the block serve the first four times, then each group of four follows
        // from the four groups before it.
        macro_rules! rounds {
            ($f:ident, $k:literal, $($group:literal)*) => {
                let k = vdupq_n_u32($k);
                $(for i in 0..N {
                    const G: usize = $group;
                    if G >= 4 {
                        let half = vsha1su0q_u32(w[i][G % 4], w[i][(G + 1) % 4], w[i][(G + 2) % 4]);
                        w[i][G % 4] = vsha1su1q_u32(half, w[i][(G + 3) % 4]);
                    }
                    let next = vsha1h_u32(vgetq_lane_u32::<0>(abcd[i]));
                    abcd[i] = $f(abcd[i], e[i], vaddq_u32(w[i][G % 4], k));
                    e[i] = next;
                })*
            };
        }
        rounds!(vsha1cq_u32, 0x5a82_7999, 0 1 2 3 4);
        rounds!(vsha1pq_u32, 0x6ed9_eba1, 5 6 7 8 9);
        rounds!(vsha1mq_u32, 0x8f1b_bcdc, 10 11 12 13 14);
        rounds!(vsha1pq_u32, 0xca62_c1d6, 15 16 17 18 19);
        for i in 0..N {
            abcd[i] = vaddq_u32(abcd[i], before.0[i]);
            e[i] = e[i].wrapping_add(before.1[i]);
        }
    }
    for i in 0..N {
        store(abcd[i], &mut states[i], 0);
        states[i][4] = e[i];
    }
}

/// SHA-256 of `N` messages.
#[target_feature(enable = "sha2")]
fn sha256_of<const N: usize>(states: &mut [[u32; 8]; N], data: [&[Block]; N]) {
    let (mut abcd, mut efgh) = ([vdupq_n_u32(0); N], [vdupq_n_u32(0); N]);
    for i in 0..N {
        (abcd[i], efgh[i]) = (words_at(&states[i], 0), words_at(&states[i], 4));
    }
    let blocks = data.iter().map(|blocks| blocks.len()).min().unwrap_or(0);
    for at in 0..blocks {
        let before = (abcd, efgh);
        let mut w = [[vdupq_n_u32(0); 4]; N];
        for (w, blocks) in w.iter_mut().zip(data) {
            for (quarter, w) in w.iter_mut().enumerate() {
                *w = load(&blocks[at], quarter);
            }
        }
        macro_rules! rounds {
            ($($group:literal)*) => {$(
                let k = words_at(&K256, 4 * $group);
                for i in 0..N {
                    const G: usize = $group;
                    if G >= 4 {
                        let half = vsha256su0q_u32(w[i][G % 4], w[i][(G + 1) % 4]);
                        w[i][G % 4] = vsha256su1q_u32(half, w[i][(G + 2) % 4], w[i][(G + 3) % 4]);
                    }
                    let input = vaddq_u32(w[i][G % 4], k);
                    let old = abcd[i];
                    abcd[i] = vsha256hq_u32(abcd[i], efgh[i], input);
                    efgh[i] = vsha256h2q_u32(efgh[i], old, input);
                }
            )*};
        }
        rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        for i in 0..N {
            abcd[i] = vaddq_u32(abcd[i], before.0[i]);
            efgh[i] = vaddq_u32(efgh[i], before.1[i]);
        }
    }
    for i in 0..N {
        store(abcd[i], &mut states[i], 0);
        store(efgh[i], &mut states[i], 4);
    }
}
