//! See `samara_fuzz::peer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| samara_fuzz::peer::run(input));
