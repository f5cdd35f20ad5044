//! See `samara_fuzz::exchange::holepunch`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| samara_fuzz::exchange::holepunch(input));
