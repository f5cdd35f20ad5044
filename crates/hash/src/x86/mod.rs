//! Kernels for x86-64.

#![expect(unsafe_code, reason = "loads and stores of vectors")]

pub(crate) mod avx2;
pub(crate) mod avx512;
pub(crate) mod avx512vl;
mod rounds;
pub(crate) mod sha_ni;

/// Whether the SHA instructions are there, and what is used beside them.
pub(crate) fn has_sha() -> bool {
    is_x86_feature_detected!("sha")
        && is_x86_feature_detected!("ssse3")
        && is_x86_feature_detected!("sse4.1")
}

/// Whether AVX2 is there.
pub(crate) fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
}

/// Whether the parts of AVX-512 are there that are used.
pub(crate) fn has_avx512() -> bool {
    has_avx2()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
}
