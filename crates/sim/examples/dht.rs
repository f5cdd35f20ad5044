//! A virtual DHT of any size: `cargo run -p samara-sim --release --example dht -- [NODES] [SEED] [MINUTES] [WORLD]`.
//!
//! Prints the tables that docs/dht.md shows. Fails if fewer than 99 of 100 lookups find what was announced, or fewer than 99
//! of 100 announces are stored well; in the world that is twice as bad as the project's goal speaks of, 97 of 100. With the
//! name of a world (`all`) only that one is run. MINUTES is the time of lookups and churn in the world, 60 if it is not given.

use samara_sim::{DhtReport, DhtWorld, DhtWorldConfig};
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let wanted = std::env::args().nth(4);
    let mut numbers = std::env::args().skip(1).map(|argument| argument.parse::<u32>().ok());
    let (nodes, seed) = (numbers.next().unwrap_or(Some(1000)), numbers.next().unwrap_or(Some(1)));
    let minutes = numbers.next().unwrap_or(Some(60));
    let (Some(nodes @ 10..), Some(seed), Some(minutes @ 1..)) = (nodes, seed, minutes) else {
        eprintln!("usage: dht [NODES] [SEED] [MINUTES] [WORLD], at least 10 nodes");
        return ExitCode::from(2);
    };
    let mut good = true;
    let mut reports = Vec::new();
    for (name, mut config, bound) in worlds(nodes as usize, u64::from(seed)) {
        config.duration = Duration::from_secs(60 * u64::from(minutes));
        if wanted.as_deref().is_some_and(|wanted| wanted != name) {
            continue;
        }
        let begun = std::time::Instant::now();
        let report = DhtWorld::run(config);
        let (found, stored) = (report.success_percent(), report.announce_percent());
        let took = begun.elapsed().as_secs();
        eprintln!("{name}: {found:.1} % found, {stored:.1} % stored well, in {took} s");
        good &= found >= bound && stored >= bound;
        reports.push((name, report));
    }
    println!("| world {}", DhtReport::lookup_header().replace("\n|", "\n| --- |"));
    for (name, report) in &reports {
        println!("| {name} {}", report.lookup_row());
    }
    println!("\n| world {}", DhtReport::announce_header().replace("\n|", "\n| --- |"));
    for (name, report) in &reports {
        println!("| {name} {}", report.announce_row());
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// From a network in which nothing goes wrong to one in which nearly everything does; the last number is the bound.
fn worlds(nodes: usize, seed: u64) -> [(&'static str, DhtWorldConfig, f64); 4] {
    let base = DhtWorldConfig { seed, nodes, lookups: 1000, ..DhtWorldConfig::default() };
    let clean = DhtWorldConfig {
        loss_percent: 0,
        churn_percent_per_hour: 0,
        nat_percent: 0,
        silent_percent: 0,
        liar_percent: 0,
        ..base.clone()
    };
    let honest = DhtWorldConfig { silent_percent: 0, liar_percent: 0, ..base.clone() };
    let worse = DhtWorldConfig {
        loss_percent: 10,
        churn_percent_per_hour: 20,
        nat_percent: 40,
        silent_percent: 20,
        liar_percent: 20,
        ..base.clone()
    };
    [
        ("nothing goes wrong", clean, 99.0),
        ("no liars", honest, 99.0),
        ("all", base, 99.0),
        ("twice as bad", worse, 97.0),
    ]
}
