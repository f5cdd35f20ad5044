//! See `samara_fuzz::exchange::lsd`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| samara_fuzz::exchange::lsd(input));
