//! The virtual DHT keeps what the project promises of the real one.

use samara_sim::{DhtWorld, DhtWorldConfig};
use std::time::Duration;

#[test]
fn what_is_announced_is_found_through_loss_churn_nats_and_lies() {
    let half_an_hour = DhtWorldConfig {
        nodes: 220,
        lookups: 300,
        duration: Duration::from_secs(1800),
        ..DhtWorldConfig::default()
    };
    let report = DhtWorld::run(half_an_hour);
    println!("{report}");
    assert!(report.left >= 10 && report.begun >= 290, "the world is as rough as it should be");
    assert!(report.success_percent() >= 99.0, "\n{report}");
    assert!(report.announces.len() >= 60 && report.announce_percent() >= 99.0, "\n{report}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let small = || DhtWorldConfig {
        nodes: 40,
        lookups: 20,
        torrents: 5,
        duration: Duration::from_secs(300),
        ..DhtWorldConfig::default()
    };
    let first = DhtWorld::run(small());
    assert_eq!(first, DhtWorld::run(small()));
    assert_ne!(first, DhtWorld::run(DhtWorldConfig { seed: 2, ..small() }));
}
