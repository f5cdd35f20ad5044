//! See `samara_fuzz::mse`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| samara_fuzz::mse::run(input));
