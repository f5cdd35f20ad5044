//! libFuzzer with all targets: the environment variable `SAMARA_FUZZ` says which one runs.
//!
//! One program, because building one for each target would take longer than the targets run.
#![no_main]

use std::sync::OnceLock;

static RUN: OnceLock<fn(&[u8])> = OnceLock::new();

libfuzzer_sys::fuzz_target!(init: choose(), |input: &[u8]| {
    let run = RUN.get().expect("a target was chosen");
    run(input);
});

/// Takes the target that the environment names, or says which there are.
fn choose() {
    let name = std::env::var("SAMARA_FUZZ").unwrap_or_default();
    match samara_fuzz::find(&name) {
        Some(target) => {
            RUN.get_or_init(|| target.run);
        }
        None => {
            for target in samara_fuzz::TARGETS {
                println!("{} {}", target.name, target.max_len);
            }
            std::process::exit(if name.is_empty() { 0 } else { 2 });
        }
    }
}
