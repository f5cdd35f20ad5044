//! See `samara_fuzz::krpc`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| samara_fuzz::krpc::run(input));
