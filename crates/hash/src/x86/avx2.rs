//! SHA-1 and SHA-256 of eight messages with AVX2: for processors without SHA instructions.
//!
//! Sixteen words of each message are brought into lanes by transposing squares of eight by eight words.

use super::rounds::kernels;
use crate::algorithm::Block;
use crate::constants::K256;
use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_and_si256, _mm256_andnot_si256, _mm256_loadu_si256,
    _mm256_or_si256, _mm256_permute2x128_si256, _mm256_set_epi64x, _mm256_set1_epi32,
    _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_slli_epi32, _mm256_srli_epi32,
    _mm256_storeu_si256, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi32,
    _mm256_unpacklo_epi64, _mm256_xor_si256,
};

pub(super) const LANES: usize = 8;

pub(super) type Vector = __m256i;

kernels!("avx2");

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn zero() -> Vector {
    _mm256_setzero_si256()
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn splat(word: u32) -> Vector {
    _mm256_set1_epi32(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn add(a: Vector, b: Vector) -> Vector {
    _mm256_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor3(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm256_xor_si256(_mm256_xor_si256(a, b), c)
}

/// Rotates each word to the left by `L`; `R` is the rest to 32.
#[inline]
#[target_feature(enable = "avx2")]
fn rotate<const L: i32, const R: i32>(x: Vector) -> Vector {
    const { assert!(L + R == 32) };
    _mm256_or_si256(_mm256_slli_epi32::<L>(x), _mm256_srli_epi32::<R>(x))
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn shift<const R: i32>(x: Vector) -> Vector {
    _mm256_srli_epi32::<R>(x)
}

/// Of each bit, `b` where `a` is set, else `c`.
#[inline]
#[target_feature(enable = "avx2")]
fn choose(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm256_or_si256(_mm256_and_si256(a, b), _mm256_andnot_si256(a, c))
}

/// Of each bit, what two or three of the three say.
#[inline]
#[target_feature(enable = "avx2")]
fn majority(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm256_or_si256(_mm256_and_si256(b, c), _mm256_and_si256(a, _mm256_or_si256(b, c)))
}

/// The words of a block of each message: the `t`-th of all of them in the `t`-th vector.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load(blocks: [&Block; LANES]) -> [Vector; 16] {
    let (high, low) = (0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    let order = _mm256_set_epi64x(high, low, high, low);
    let mut words = [zero(); 16];
    for half in 0..2 {
        let mut rows = [zero(); LANES];
        for (row, block) in rows.iter_mut().zip(blocks) {
            let bytes: &[u8; 32] =
                block[32 * half..].first_chunk().expect("a block has two halves");
            // SAFETY: 32 bytes are there, and the load needs no alignment.
            let loaded = unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) };
            *row = _mm256_shuffle_epi8(loaded, order);
        }
        words[8 * half..8 * half + 8].copy_from_slice(&transpose(rows));
    }
    words
}

/// Turns eight rows of eight words into columns.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose(rows: [Vector; 8]) -> [Vector; 8] {
    let [a, b, c, d, e, f, g, h] = rows;
    // Inside each half of 128 bits: pairs of rows, then quadruples.
    let four = |a, b, c, d| {
        let (ab, cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
        let (ab_hi, cd_hi) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
        [
            _mm256_unpacklo_epi64(ab, cd),
            _mm256_unpackhi_epi64(ab, cd),
            _mm256_unpacklo_epi64(ab_hi, cd_hi),
            _mm256_unpackhi_epi64(ab_hi, cd_hi),
        ]
    };
    let (upper, lower) = (four(a, b, c, d), four(e, f, g, h));
    let mut columns = [zero(); 8];
    for i in 0..4 {
        columns[i] = _mm256_permute2x128_si256::<0x20>(upper[i], lower[i]);
        columns[i + 4] = _mm256_permute2x128_si256::<0x31>(upper[i], lower[i]);
    }
    columns
}

/// The `word`-th word of each state.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn gather<const W: usize>(states: &[[u32; W]; LANES], word: usize) -> Vector {
    let words: [u32; LANES] = std::array::from_fn(|lane| states[lane][word]);
    // SAFETY: eight words are there, and the load needs no alignment.
    unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn scatter<const W: usize>(states: &mut [[u32; W]; LANES], word: usize, vector: Vector) {
    let mut words = [0u32; LANES];
    // SAFETY: there is room for eight words, and the store needs no alignment.
    unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), vector) };
    for (state, new) in states.iter_mut().zip(words) {
        state[word] = new;
    }
}
