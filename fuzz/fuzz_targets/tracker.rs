//! See `samara_fuzz::tracker`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| samara_fuzz::tracker::run(input));
