//! SHA-1 and SHA-256 of eight messages, one in each 32-bit lane of AVX2: for processors without SHA instructions.
//!
//! The rounds are those of FIPS 180-4 with vectors for words. Sixteen words of each message are brought into lanes by
//! transposing squares of eight by eight words.

use super::sha_ni::K256;
use crate::algorithm::Block;
use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_and_si256, _mm256_andnot_si256, _mm256_loadu_si256,
    _mm256_or_si256, _mm256_permute2x128_si256, _mm256_set_epi64x, _mm256_set1_epi32,
    _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_slli_epi32, _mm256_srli_epi32,
    _mm256_storeu_si256, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi32,
    _mm256_unpacklo_epi64, _mm256_xor_si256,
};

const LANES: usize = 8;

#[inline]
#[target_feature(enable = "avx2")]
fn splat(word: u32) -> __m256i {
    _mm256_set1_epi32(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2")]
fn sum<const N: usize>(terms: [__m256i; N]) -> __m256i {
    let mut sum = terms[0];
    for term in &terms[1..] {
        sum = _mm256_add_epi32(sum, *term);
    }
    sum
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor3(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    _mm256_xor_si256(_mm256_xor_si256(a, b), c)
}

/// Rotates each word to the left by `L`; `R` is the rest to 32.
#[inline]
#[target_feature(enable = "avx2")]
fn rotate<const L: i32, const R: i32>(x: __m256i) -> __m256i {
    const { assert!(L + R == 32) };
    _mm256_or_si256(_mm256_slli_epi32::<L>(x), _mm256_srli_epi32::<R>(x))
}

/// Of each bit, `b` where `a` is set, else `c`.
#[inline]
#[target_feature(enable = "avx2")]
fn choose(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    _mm256_or_si256(_mm256_and_si256(a, b), _mm256_andnot_si256(a, c))
}

/// Of each bit, what two or three of the three say.
#[inline]
#[target_feature(enable = "avx2")]
fn majority(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    let either = _mm256_or_si256(b, c);
    _mm256_or_si256(_mm256_and_si256(b, c), _mm256_and_si256(a, either))
}

/// The words of a block of each message: the `t`-th of all of them in the `t`-th vector.
#[inline]
#[target_feature(enable = "avx2")]
fn load(blocks: [&Block; LANES]) -> [__m256i; 16] {
    let order = _mm256_set_epi64x(
        0x0c0d_0e0f_0809_0a0b,
        0x0405_0607_0001_0203,
        0x0c0d_0e0f_0809_0a0b,
        0x0405_0607_0001_0203,
    );
    let mut words = [_mm256_setzero_si256(); 16];
    for half in 0..2 {
        let mut rows = [_mm256_setzero_si256(); LANES];
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
fn transpose(rows: [__m256i; 8]) -> [__m256i; 8] {
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
    let mut columns = [_mm256_setzero_si256(); 8];
    for i in 0..4 {
        columns[i] = _mm256_permute2x128_si256::<0x20>(upper[i], lower[i]);
        columns[i + 4] = _mm256_permute2x128_si256::<0x31>(upper[i], lower[i]);
    }
    columns
}

/// The `word`-th word of each state.
#[inline]
#[target_feature(enable = "avx2")]
fn gather<const W: usize>(states: &[[u32; W]; LANES], word: usize) -> __m256i {
    let words: [u32; LANES] = std::array::from_fn(|lane| states[lane][word]);
    // SAFETY: eight words are there, and the load needs no alignment.
    unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn scatter<const W: usize>(states: &mut [[u32; W]; LANES], word: usize, vector: __m256i) {
    let mut words = [0u32; LANES];
    // SAFETY: there is room for eight words, and the store needs no alignment.
    unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), vector) };
    for (state, new) in states.iter_mut().zip(words) {
        state[word] = new;
    }
}

fn block_of(data: [&[Block]; LANES], at: usize) -> [&Block; LANES] {
    data.map(|blocks| &blocks[at])
}

/// SHA-1 of eight messages.
#[target_feature(enable = "avx2")]
pub(crate) fn sha1(states: &mut [[u32; 5]; LANES], data: [&[Block]; LANES]) {
    let mut state: [__m256i; 5] = std::array::from_fn(|_| _mm256_setzero_si256());
    for (word, vector) in state.iter_mut().enumerate() {
        *vector = gather(states, word);
    }
    let blocks = data.iter().map(|blocks| blocks.len()).min().unwrap_or(0);
    for at in 0..blocks {
        let mut w = load(block_of(data, at));
        let [mut a, mut b, mut c, mut d, mut e] = state;
        macro_rules! rounds {
            ($from:literal, $k:literal, $f:expr) => {
                let (k, f) = (splat($k), $f);
                for t in $from..$from + 20 {
                    if t >= 16 {
                        let mixed = xor3(w[(t + 13) % 16], w[(t + 8) % 16], w[(t + 2) % 16]);
                        w[t % 16] = rotate::<1, 31>(_mm256_xor_si256(mixed, w[t % 16]));
                    }
                    let next = sum([rotate::<5, 27>(a), f(b, c, d), e, k, w[t % 16]]);
                    (e, d, c, b, a) = (d, c, rotate::<30, 2>(b), a, next);
                }
            };
        }
        rounds!(0, 0x5a82_7999, |b, c, d| choose(b, c, d));
        rounds!(20, 0x6ed9_eba1, |b, c, d| xor3(b, c, d));
        rounds!(40, 0x8f1b_bcdc, |b, c, d| majority(b, c, d));
        rounds!(60, 0xca62_c1d6, |b, c, d| xor3(b, c, d));
        for (old, new) in state.iter_mut().zip([a, b, c, d, e]) {
            *old = _mm256_add_epi32(*old, new);
        }
    }
    for (word, vector) in state.into_iter().enumerate() {
        scatter(states, word, vector);
    }
}

/// SHA-256 of eight messages.
#[target_feature(enable = "avx2")]
pub(crate) fn sha256(states: &mut [[u32; 8]; LANES], data: [&[Block]; LANES]) {
    let mut state: [__m256i; 8] = std::array::from_fn(|_| _mm256_setzero_si256());
    for (word, vector) in state.iter_mut().enumerate() {
        *vector = gather(states, word);
    }
    let blocks = data.iter().map(|blocks| blocks.len()).min().unwrap_or(0);
    for at in 0..blocks {
        let mut w = load(block_of(data, at));
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
        for t in 0..64 {
            if t >= 16 {
                let (x, y) = (w[(t + 1) % 16], w[(t + 14) % 16]);
                let s0 = xor3(rotate::<25, 7>(x), rotate::<14, 18>(x), _mm256_srli_epi32::<3>(x));
                let s1 = xor3(rotate::<15, 17>(y), rotate::<13, 19>(y), _mm256_srli_epi32::<10>(y));
                w[t % 16] = sum([w[t % 16], s0, w[(t + 9) % 16], s1]);
            }
            let s1 = xor3(rotate::<26, 6>(e), rotate::<21, 11>(e), rotate::<7, 25>(e));
            let first = sum([h, s1, choose(e, f, g), splat(K256[t]), w[t % 16]]);
            let s0 = xor3(rotate::<30, 2>(a), rotate::<19, 13>(a), rotate::<10, 22>(a));
            let second = _mm256_add_epi32(s0, majority(a, b, c));
            (h, g, f, e) = (g, f, e, _mm256_add_epi32(d, first));
            (d, c, b, a) = (c, b, a, _mm256_add_epi32(first, second));
        }
        for (old, new) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *old = _mm256_add_epi32(*old, new);
        }
    }
    for (word, vector) in state.into_iter().enumerate() {
        scatter(states, word, vector);
    }
}
