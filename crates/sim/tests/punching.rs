//! Peers behind NATs of all kinds: who comes together, and how.

use samara_sim::{Meeting, NatKind, PunchReport, PunchWorldConfig, run_punch};
use samara_wire::time::Duration;
use std::fmt::Write;

const KINDS: [(Option<NatKind>, &str); 5] = [
    (None, "none"),
    (Some(NatKind::FullCone), "full cone"),
    (Some(NatKind::AddressRestricted), "address-restricted"),
    (Some(NatKind::PortRestricted), "port-restricted"),
    (Some(NatKind::Symmetric), "symmetric"),
];

fn cell(report: PunchReport) -> String {
    match report.met {
        Some((how, after)) => {
            let how = if how == Meeting::Dialled { "dialled" } else { "punched" };
            format!("{how} {:5.1} s", after.as_secs_f64())
        }
        None => "no".into(),
    }
}

#[test]
fn each_kind_of_nat_with_each() {
    let mut table = String::from(
        "seed behind          leech behind         ports drawn       ports kept        without hole punching\n",
    );
    for (seed, seed_name) in KINDS {
        for (leech, leech_name) in KINDS {
            let config = PunchWorldConfig { homes: [seed, leech], ..PunchWorldConfig::default() };
            let kept = PunchWorldConfig { keeps_ports: true, ..config.clone() };
            let without = PunchWorldConfig { punching: false, ..config.clone() };
            let cells = [config, kept, without].map(|config| cell(run_punch(config)));
            let [drawn, kept, without] = cells;
            writeln!(table, "{seed_name:20} {leech_name:20} {drawn:17} {kept:17} {without}")
                .unwrap();
        }
    }
    println!("{table}");
    let told = table.lines().map(str::trim_end);
    assert!(told.eq(include_str!("punch_table.txt").lines()), "\n{table}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let config = PunchWorldConfig {
        homes: [Some(NatKind::PortRestricted); 2],
        loss_ppm: 100_000,
        ..PunchWorldConfig::default()
    };
    assert_eq!(run_punch(config.clone()), run_punch(config));
}

/// One datagram in ten gets lost, and one in five.
#[test]
fn losses_cost_time_and_no_more() {
    let mut slowest = Duration::ZERO;
    for loss_ppm in [100_000, 200_000] {
        for seed in 0..20 {
            let homes = [Some(NatKind::PortRestricted), Some(NatKind::PortRestricted)];
            let report = run_punch(PunchWorldConfig {
                homes,
                loss_ppm,
                seed,
                ..PunchWorldConfig::default()
            });
            let (_, after) = report.met.unwrap_or_else(|| panic!("{loss_ppm}, {seed}: {report:?}"));
            slowest = slowest.max(after);
        }
    }
    println!("within {slowest:?}");
}

/// Nobody goes on for ever where it cannot be done.
#[test]
fn what_cannot_be_done_is_tried_now_and_then() {
    for homes in [
        [Some(NatKind::Symmetric), Some(NatKind::Symmetric)],
        [Some(NatKind::PortRestricted), Some(NatKind::Symmetric)],
    ] {
        let limit = Duration::from_secs(3600);
        let report = run_punch(PunchWorldConfig { homes, limit, ..PunchWorldConfig::default() });
        assert_eq!(report.met, None);
        assert!((2..=40).contains(&report.punches), "{report:?}");
        assert!((2..=40).contains(&report.relayed), "{report:?}");
    }
}

/// The seed has been with the third for five minutes, and is still where the third saw it first: uTP keeps the mapping alive.
#[test]
fn mappings_that_live_half_a_minute_will_do() {
    let homes = [Some(NatKind::PortRestricted); 2];
    let (lifetime, later) = (Duration::from_secs(30), Duration::from_secs(300));
    let config = PunchWorldConfig { homes, lifetime, later, ..PunchWorldConfig::default() };
    let report = run_punch(config);
    assert!(matches!(report.met, Some((Meeting::Punched, _))), "{report:?}");
}
