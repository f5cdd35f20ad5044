//! See `samara_fuzz::portmap::documents`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| samara_fuzz::portmap::documents(input));
