//! SHA-1 and SHA-256 of sixteen messages with AVX-512.
//!
//! A block of a message is one vector; the blocks of sixteen messages are a square of words, which is transposed.

use super::rounds::kernels;
use crate::algorithm::Block;
use crate::constants::K256;
use std::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_loadu_si512, _mm512_rol_epi32, _mm512_set_epi64,
    _mm512_set1_epi32, _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_shuffle_i32x4,
    _mm512_srli_epi32, _mm512_storeu_si512, _mm512_ternarylogic_epi32, _mm512_unpackhi_epi32,
    _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};

const LANES: usize = 16;

type Vector = __m512i;

kernels!("avx512f,avx512bw");

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn zero() -> Vector {
    _mm512_setzero_si512()
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn splat(word: u32) -> Vector {
    _mm512_set1_epi32(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn add(a: Vector, b: Vector) -> Vector {
    _mm512_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn xor3(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm512_ternarylogic_epi32::<0x96>(a, b, c)
}

/// Rotates each word to the left by `L`; `R` is the rest to 32.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn rotate<const L: i32, const R: i32>(x: Vector) -> Vector {
    const { assert!(L + R == 32) };
    _mm512_rol_epi32::<L>(x)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn shift<const R: u32>(x: Vector) -> Vector {
    _mm512_srli_epi32::<R>(x)
}

/// Of each bit, `b` where `a` is set, else `c`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn choose(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm512_ternarylogic_epi32::<0xca>(a, b, c)
}

/// Of each bit, what two or three of the three say.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn majority(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm512_ternarylogic_epi32::<0xe8>(a, b, c)
}

/// The words of a block of each message: the `t`-th of all of them in the `t`-th vector.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load(blocks: [&Block; LANES]) -> [Vector; 16] {
    let (high, low) = (0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    let order = _mm512_set_epi64(high, low, high, low, high, low, high, low);
    let mut rows = [zero(); 16];
    for (row, block) in rows.iter_mut().zip(blocks) {
        // SAFETY: a block has 64 bytes, and the load needs no alignment.
        let loaded = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
        *row = _mm512_shuffle_epi8(loaded, order);
    }
    transpose(rows)
}

/// Turns sixteen rows of sixteen words into columns.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn transpose(rows: [Vector; 16]) -> [Vector; 16] {
    // Inside each quarter of 128 bits: pairs of rows, then quadruples. Afterwards `quads[4 * g + j]` has, in its quarter
    // `q`, column `4 * q + j` of the rows of group `g`.
    let mut quads = [zero(); 16];
    for g in 0..4 {
        let [a, b, c, d] = [rows[4 * g], rows[4 * g + 1], rows[4 * g + 2], rows[4 * g + 3]];
        let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
        let (ab_hi, cd_hi) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
        quads[4 * g] = _mm512_unpacklo_epi64(ab, cd);
        quads[4 * g + 1] = _mm512_unpackhi_epi64(ab, cd);
        quads[4 * g + 2] = _mm512_unpacklo_epi64(ab_hi, cd_hi);
        quads[4 * g + 3] = _mm512_unpackhi_epi64(ab_hi, cd_hi);
    }
    // Then the quarters: a square of four by four of them for each `j`.
    let mut columns = [zero(); 16];
    for j in 0..4 {
        let (a, b, c, d) = (quads[j], quads[4 + j], quads[8 + j], quads[12 + j]);
        let (ab, ab_hi) = (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b));
        let (cd, cd_hi) = (_mm512_shuffle_i32x4::<0x88>(c, d), _mm512_shuffle_i32x4::<0xdd>(c, d));
        columns[j] = _mm512_shuffle_i32x4::<0x88>(ab, cd);
        columns[4 + j] = _mm512_shuffle_i32x4::<0x88>(ab_hi, cd_hi);
        columns[8 + j] = _mm512_shuffle_i32x4::<0xdd>(ab, cd);
        columns[12 + j] = _mm512_shuffle_i32x4::<0xdd>(ab_hi, cd_hi);
    }
    columns
}

/// The `word`-th word of each state.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn gather<const W: usize>(states: &[[u32; W]; LANES], word: usize) -> Vector {
    let words: [u32; LANES] = std::array::from_fn(|lane| states[lane][word]);
    // SAFETY: sixteen words are there, and the load needs no alignment.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn scatter<const W: usize>(states: &mut [[u32; W]; LANES], word: usize, vector: Vector) {
    let mut words = [0u32; LANES];
    // SAFETY: there is room for sixteen words, and the store needs no alignment.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), vector) };
    for (state, new) in states.iter_mut().zip(words) {
        state[word] = new;
    }
}
