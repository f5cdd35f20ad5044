//! `samara-sim swarm`: one seed, or many of them on all cores.

use super::SwarmArgs;
use samara_sim::report::{Summary, json, picture, text};
use samara_sim::{Figures, Plan, Scenario};
use std::collections::BTreeMap;
use std::ops::Range;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// A run that is over.
pub(super) struct Done {
    pub(super) figures: Figures,
    /// When the last finished without adversaries, in microseconds.
    pub(super) clean: Option<u64>,
    /// What did not hold, with the command that shows it again.
    pub(super) broken: Option<String>,
}

/// Runs a plan, beside it the same without adversaries where there are any.
pub(super) fn carry_out(plan: &Plan, twice: bool) -> Done {
    let mut world = plan.world();
    world.run_until_complete();
    let mut broken = world.broken().map(ToString::to_string);
    let figures = Figures::of(&world);
    drop(world);
    if twice && broken.is_none() {
        let mut again = plan.world();
        again.run_until_complete();
        if again.digest() != figures.digest {
            broken = Some(format!("seed {}: a second run came out otherwise", plan.seed));
        }
    }
    let clean = (plan.scenario == Scenario::Adversaries && broken.is_none()).then(|| {
        let mut clean = plan.clean().world();
        clean.run_until_complete();
        Figures::of(&clean).last
    });
    let replay = |what| format!("{what}\nreplay: {}", plan.command());
    Done { figures, clean, broken: broken.map(replay) }
}

pub(super) fn run(args: &SwarmArgs) -> ExitCode {
    if let Some(seeds) = args.seeds.clone() {
        return many(args, seeds);
    }
    let plan = args.plan(args.seed);
    let began = Instant::now();
    let done = carry_out(&plan, args.twice);
    if args.json {
        println!("{}", json(&plan, &done.figures, done.clean));
    } else {
        print!("{}", text(&plan, &done.figures, done.clean));
    }
    eprintln!("{:.1} s{}", began.elapsed().as_secs_f64(), memory());
    if let Some(path) = &args.svg
        && let Err(error) = std::fs::write(path, picture(&plan, &done.figures))
    {
        eprintln!("cannot write {}: {error}", path.display());
        return ExitCode::from(2);
    }
    match done.broken {
        Some(broken) => {
            eprintln!("{broken}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

/// All seeds, on all cores; stops early at the first that breaks something.
fn many(args: &SwarmArgs, seeds: Range<u64>) -> ExitCode {
    let (next, stop) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let done: Mutex<BTreeMap<u64, Done>> = Mutex::default();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let ran = carry_out(&args.plan(seed), args.twice);
                    stop.fetch_or(ran.broken.is_some(), Ordering::Relaxed);
                    if let Ok(mut done) = done.lock() {
                        done.insert(seed, ran);
                    }
                }
            });
        }
    });
    let done = done.into_inner().unwrap_or_default();
    let mut summary = Summary::default();
    let mut broken = Vec::new();
    for (seed, ran) in &done {
        summary.add(*seed, &ran.figures, ran.clean);
        broken.extend(ran.broken.clone());
    }
    println!("{}: {} leeches", args.scenario.name(), args.peers);
    print!("{summary}");
    eprintln!("{:.1} s{}", began.elapsed().as_secs_f64(), memory());
    if broken.is_empty() {
        return ExitCode::SUCCESS;
    }
    for what in broken {
        eprintln!("{what}");
    }
    ExitCode::FAILURE
}

/// The most memory that this process had, where the system tells.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.map_or(String::new(), |kib| format!(", {} MiB at most", kib >> 10))
}
