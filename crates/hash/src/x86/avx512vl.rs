//! SHA-1 and SHA-256 of eight messages with the instructions of AVX-512 on vectors of 256 bits: rotations and functions
//! of three words take one instruction each.

use super::avx2::{LANES, Vector, add, gather, load, scatter, shift, splat, zero};
use super::rounds::kernels;
use crate::algorithm::Block;
use crate::constants::K256;
use std::arch::x86_64::{_mm256_rol_epi32, _mm256_ternarylogic_epi32};

kernels!("avx2,avx512f,avx512vl");

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn xor3(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm256_ternarylogic_epi32::<0x96>(a, b, c)
}

/// Rotates each word to the left by `L`; `R` is the rest to 32.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn rotate<const L: i32, const R: i32>(x: Vector) -> Vector {
    const { assert!(L + R == 32) };
    _mm256_rol_epi32::<L>(x)
}

/// Of each bit, `b` where `a` is set, else `c`.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn choose(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm256_ternarylogic_epi32::<0xca>(a, b, c)
}

/// Of each bit, what two or three of the three say.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn majority(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm256_ternarylogic_epi32::<0xe8>(a, b, c)
}
