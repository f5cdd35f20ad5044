//! What x86-64 processors have: the SHA extensions, AVX2, AVX-512.
//!
//! The costs taken for granted where there is no good clock are those of a Zen 3, and of a Xeon for what comes with AVX-512.

#![expect(unsafe_code, reason = "loads and stores of vectors")]

mod avx2;
mod avx512;
mod avx512vl;
mod rounds;
mod sha_ni;

use crate::algorithm::{Sha1, Sha256};
use crate::kernels::{Way, way};

/// The ways to SHA-1 that this processor has.
pub(crate) fn sha1() -> Vec<Way<Sha1>> {
    let mut ways = Vec::new();
    if has_sha() {
        ways.push(way!("sha-ni", 2, sha_ni::sha1, 48));
        ways.push(way!("sha-ni", 4, sha_ni::sha1, if has_avx512() { 115 } else { 58 }));
    }
    if has_avx2() {
        ways.push(way!("avx2", 8, avx2::sha1, 170));
    }
    if has_avx512() {
        ways.push(way!("avx-512", 8, avx512vl::sha1, 121));
        ways.push(way!("avx-512", 16, avx512::sha1, 183));
    }
    ways
}

/// The ways to SHA-256 that this processor has.
pub(crate) fn sha256() -> Vec<Way<Sha256>> {
    let mut ways = Vec::new();
    if has_sha() {
        ways.push(way!("sha-ni", 2, sha_ni::sha256, 40));
        ways.push(way!("sha-ni", 4, sha_ni::sha256, if has_avx512() { 110 } else { 75 }));
    }
    if has_avx2() {
        ways.push(way!("avx2", 8, avx2::sha256, 312));
    }
    if has_avx512() {
        ways.push(way!("avx-512", 8, avx512vl::sha256, 247));
        ways.push(way!("avx-512", 16, avx512::sha256, 350));
    }
    ways
}

/// Whether the SHA instructions are there, and what is used beside them.
fn has_sha() -> bool {
    is_x86_feature_detected!("sha")
        && is_x86_feature_detected!("ssse3")
        && is_x86_feature_detected!("sse4.1")
}

/// Whether AVX2 is there.
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
}

/// Whether the parts of AVX-512 are there that are used.
fn has_avx512() -> bool {
    has_avx2()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
}
