//! See `samara_fuzz::bencode`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| samara_fuzz::bencode::run(input));
