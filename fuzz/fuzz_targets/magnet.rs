//! See `samara_fuzz::magnet`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| samara_fuzz::magnet::run(input));
