//! See `samara_fuzz::utp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    samara_fuzz::utp::run(input);
});
