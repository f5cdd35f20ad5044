//! See `samara_fuzz::ip_filter`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| samara_fuzz::ip_filter::run(input));
