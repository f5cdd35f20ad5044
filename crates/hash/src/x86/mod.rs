//! Kernels for x86-64.

#![expect(
    unsafe_code,
    reason = "loads and stores of vectors, and calls of what the processor may lack"
)]

pub(crate) mod avx2;
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
