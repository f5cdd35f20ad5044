//! See `samara_fuzz::metainfo`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| samara_fuzz::metainfo::run(input));
