//! SHA-1 and SHA-256 with the SHA instructions, for `N` messages whose instructions are interleaved.
//!
//! One instruction does four rounds of SHA-1, or two of SHA-256, and depends on the one before; with `N` messages there are `N`
//! that do not depend on each other. Loops over the lanes have a constant length and are unrolled. With more than two messages the
//! sixteen registers run out: the message words live in memory then, which on Zen 3 costs less than the fourth message
//! brings.

use crate::algorithm::Block;
use crate::constants::K256;
use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_loadu_si128, _mm_set_epi32,
    _mm_set_epi64x, _mm_setzero_si128, _mm_sha1msg1_epu32, _mm_sha1msg2_epu32, _mm_sha1nexte_epu32,
    _mm_sha1rnds4_epu32, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32,
    _mm_shuffle_epi8, _mm_shuffle_epi32, _mm_xor_si128,
};

/// Sixteen bytes of `block` from its `at`-th quarter, each word (or all four, for SHA-1) turned round by `order`.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn load(block: &Block, at: usize, order: __m128i) -> __m128i {
    let quarter: &[u8; 16] = block[16 * at..].first_chunk().expect("a block has four quarters");
    // SAFETY: sixteen bytes are there, and the load needs no alignment.
    let bytes = unsafe { _mm_loadu_si128(quarter.as_ptr().cast()) };
    _mm_shuffle_epi8(bytes, order)
}

/// A vector of four words, the first in the highest place.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn words(a: u32, b: u32, c: u32, d: u32) -> __m128i {
    _mm_set_epi32(a.cast_signed(), b.cast_signed(), c.cast_signed(), d.cast_signed())
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn word<const AT: i32>(vector: __m128i) -> u32 {
    _mm_extract_epi32::<AT>(vector).cast_unsigned()
}

/// SHA-1 of `N` messages.
#[target_feature(enable = "sha,ssse3,sse4.1")]
pub(super) fn sha1<const N: usize>(states: &mut [[u32; 5]; N], data: [&[Block]; N]) {
    let order = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    let zero = _mm_setzero_si128();
    let (mut abcd, mut e) = ([zero; N], [zero; N]);
    for i in 0..N {
        let [a, b, c, d, last] = states[i];
        abcd[i] = words(a, b, c, d);
        e[i] = words(last, 0, 0, 0);
    }
    let blocks = data.iter().map(|blocks| blocks.len()).min().unwrap_or(0);
    for at in 0..blocks {
        let before = (abcd, e);
        let mut w = [[zero; 4]; N];
        for (w, blocks) in w.iter_mut().zip(data) {
            for (quarter, w) in w.iter_mut().enumerate() {
                *w = load(&blocks[at], quarter, order);
            }
        }
        // Four rounds: the sixteen words of the block serve the first four times, then each group of four follows
        // from the four groups before it.
        macro_rules! rounds {
            ($($group:literal)*) => {$(
                for i in 0..N {
                    const G: usize = $group;
                    if G >= 4 {
                        let half = _mm_sha1msg1_epu32(w[i][G % 4], w[i][(G + 1) % 4]);
                        let half = _mm_xor_si128(half, w[i][(G + 2) % 4]);
                        w[i][G % 4] = _mm_sha1msg2_epu32(half, w[i][(G + 3) % 4]);
                    }
                    let input = if G == 0 {
                        _mm_add_epi32(e[i], w[i][0])
                    } else {
                        _mm_sha1nexte_epu32(e[i], w[i][G % 4])
                    };
                    e[i] = abcd[i];
                    abcd[i] = _mm_sha1rnds4_epu32::<{ $group / 5 }>(abcd[i], input);
                }
            )*};
        }
        rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19);
        for i in 0..N {
            abcd[i] = _mm_add_epi32(abcd[i], before.0[i]);
            e[i] = _mm_sha1nexte_epu32(e[i], before.1[i]);
        }
    }
    for i in 0..N {
        states[i] = [
            word::<3>(abcd[i]),
            word::<2>(abcd[i]),
            word::<1>(abcd[i]),
            word::<0>(abcd[i]),
            word::<3>(e[i]),
        ];
    }
}

/// SHA-256 of `N` messages.
#[target_feature(enable = "sha,ssse3,sse4.1")]
pub(super) fn sha256<const N: usize>(states: &mut [[u32; 8]; N], data: [&[Block]; N]) {
    let order = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    let zero = _mm_setzero_si128();
    let (mut abef, mut cdgh) = ([zero; N], [zero; N]);
    for i in 0..N {
        let [a, b, c, d, e, f, g, h] = states[i];
        abef[i] = words(a, b, e, f);
        cdgh[i] = words(c, d, g, h);
    }
    let blocks = data.iter().map(|blocks| blocks.len()).min().unwrap_or(0);
    for at in 0..blocks {
        let before = (abef, cdgh);
        let mut w = [[zero; 4]; N];
        for (w, blocks) in w.iter_mut().zip(data) {
            for (quarter, w) in w.iter_mut().enumerate() {
                *w = load(&blocks[at], quarter, order);
            }
        }
        macro_rules! rounds {
            ($($group:literal)*) => {$(
                let k = words(K256[4 * $group + 3], K256[4 * $group + 2], K256[4 * $group + 1], K256[4 * $group]);
                for i in 0..N {
                    const G: usize = $group;
                    if G >= 4 {
                        let half = _mm_sha256msg1_epu32(w[i][G % 4], w[i][(G + 1) % 4]);
                        let seven = _mm_alignr_epi8::<4>(w[i][(G + 3) % 4], w[i][(G + 2) % 4]);
                        w[i][G % 4] = _mm_sha256msg2_epu32(_mm_add_epi32(half, seven), w[i][(G + 3) % 4]);
                    }
                    let input = _mm_add_epi32(w[i][G % 4], k);
                    cdgh[i] = _mm_sha256rnds2_epu32(cdgh[i], abef[i], input);
                    abef[i] = _mm_sha256rnds2_epu32(abef[i], cdgh[i], _mm_shuffle_epi32::<0x0e>(input));
                }
            )*};
        }
        rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        for i in 0..N {
            abef[i] = _mm_add_epi32(abef[i], before.0[i]);
            cdgh[i] = _mm_add_epi32(cdgh[i], before.1[i]);
        }
    }
    for i in 0..N {
        let (x, y) = (abef[i], cdgh[i]);
        states[i] = [
            word::<3>(x),
            word::<2>(x),
            word::<3>(y),
            word::<2>(y),
            word::<1>(x),
            word::<0>(x),
            word::<1>(y),
            word::<0>(y),
        ];
    }
}
