//! Runs what the fuzz target runs, in every `cargo test`, over random steps.
#![expect(unreachable_pub, reason = "public where it lives, in the fuzz crate")]

#[path = "../../../fuzz/src/utp.rs"]
mod utp;

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn random_steps(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        utp::run(&bytes);
    }
}

#[test]
fn the_steps_reach_open_connections() {
    // Connect, write, let time pass, read at the other end; the network loses each eighth datagram at most.
    let steps = [[0x70, 0], [0x72, 40], [0x78, 10], [0x75, 0]].concat().repeat(20);
    assert!(utp::run(&steps) > 10_000);
}
