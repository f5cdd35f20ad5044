//! A virtual DHT of any size: `cargo run -p samara-sim --release --example dht -- 1000`.
//!
//! Prints the table that docs/dht.md shows, and fails if fewer than 99 of 100 lookups find what was announced.

use samara_sim::{DhtReport, DhtWorld, DhtWorldConfig};
use std::process::ExitCode;

fn main() -> ExitCode {
    let argument = std::env::args().nth(1);
    let nodes = match argument.as_deref().map_or(Ok(1000), str::parse) {
        Ok(nodes) if nodes >= 10 => nodes,
        _ => {
            eprintln!("usage: dht [NODES], at least 10");
            return ExitCode::from(2);
        }
    };
    let base = DhtWorldConfig { nodes, lookups: 1000, ..DhtWorldConfig::default() };
    let clean = DhtWorldConfig {
        loss_percent: 0,
        churn_percent_per_hour: 0,
        nat_percent: 0,
        silent_percent: 0,
        liar_percent: 0,
        ..base.clone()
    };
    let honest = DhtWorldConfig { silent_percent: 0, liar_percent: 0, ..base.clone() };
    let worlds =
        [("nothing goes wrong", clean, 99.0), ("no liars", honest, 99.0), ("all", base, 99.0)];
    let mut good = true;
    println!("| world {}", DhtReport::header().replace("\n|", "\n| --- |"));
    for (name, config, bound) in worlds {
        let report = DhtWorld::run(config);
        println!("| {name} {}", report.row());
        good &= report.success_percent() >= bound;
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
