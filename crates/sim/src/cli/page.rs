//! `samara-sim page`: the runs of docs/swarm.md.

use super::swarm::carry_out;
use samara_sim::report::{Row, heading, packet_heading, packet_row, picture, row};
use samara_sim::{Behaviour, Discovery, Plan, Scenario, Transport};
use std::path::Path;
use std::process::ExitCode;

/// Leeches of small swarms.
const SMALL: [u32; 5] = [1, 3, 5, 10, 20];

pub(super) fn run(pictures: Option<&Path>) -> ExitCode {
    let mut good = true;
    let mut table = |title: &str, plans: &[Plan]| {
        println!("### {title}\n\n{}", heading());
        for plan in plans {
            let done = carry_out(plan, false);
            if let Some(broken) = &done.broken {
                eprintln!("{broken}");
                good = false;
            }
            let shown = Row { plan: *plan, figures: done.figures, clean: done.clean };
            println!("{}", row(&shown));
            good &= pictures.is_none_or(|dir| draw(dir, &shown));
        }
        println!();
    };
    let base = Plan::default();
    let scenarios = Scenario::ALL.map(|scenario| Plan { scenario, ..base });
    table("Scenarios", &scenarios);
    table("Small swarms", &SMALL.map(|peers| Plan { peers, ..base }));
    let kinds = Behaviour::ADVERSARIES.map(|kind| Plan {
        scenario: Scenario::Adversaries,
        adversary: Some(kind),
        peers: 50,
        ..base
    });
    table("Three in ten are of one kind", &kinds);
    good &= over_utp();
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Smaller swarms in which packets cross, each beside the same with flows. Whether all held.
fn over_utp() -> bool {
    println!("### Over uTP\n\n{}", packet_heading());
    let base = Plan { peers: 20, total_len: 32 << 20, ..Plan::default() };
    let mut plans = Scenario::ALL.map(|scenario| Plan { scenario, ..base }).to_vec();
    plans.extend([Scenario::Equal, Scenario::Adversaries].map(|scenario| {
        let discovery = Discovery::Dht;
        Plan { scenario, discovery, ..base }
    }));
    let mut good = true;
    for plan in plans {
        let flows = carry_out(&plan, false);
        let plan = Plan { transport: Transport::Utp, ..plan };
        let done = carry_out(&plan, false);
        for broken in [&flows.broken, &done.broken].into_iter().flatten() {
            eprintln!("{broken}");
            good = false;
        }
        let shown = Row { plan, figures: done.figures, clean: done.clean };
        println!("{}", packet_row(&shown, flows.figures.last));
    }
    println!();
    good
}

/// Writes the picture of a scenario with as many leeches as is usual and all kinds of adversaries.
fn draw(dir: &Path, shown: &Row) -> bool {
    if shown.plan.peers != Plan::default().peers || shown.plan.adversary.is_some() {
        return true;
    }
    let path = dir.join(format!("{}.svg", shown.plan.scenario.name()));
    std::fs::write(&path, picture(&shown.plan, &shown.figures)).is_ok_and(|()| true) || {
        eprintln!("cannot write {}", path.display());
        false
    }
}
