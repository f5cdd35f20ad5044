//! The three commands.

use crate::args::{MergeArgs, ReadmeArgs, TransfersArgs};
use crate::clients::Programs;
use crate::interrupt;
use crate::network::Network;
use crate::peers::tracker::Tracker;
use crate::report::json::{Measured, Outcome, Report};
use crate::report::{self, markdown, readme};
use crate::scenarios::{Bench, Scenario};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Measures, prints the table and writes the report.
pub(crate) fn transfers(args: &TransfersArgs) -> Result<()> {
    let scenarios = Scenario::all(args);
    if args.list {
        for scenario in &scenarios {
            println!("{:22} {}: {}", scenario.id, scenario.title, scenario.describe());
        }
        return Ok(());
    }
    if scenarios.is_empty() {
        bail!("no scenario has such a name; --list names them");
    }
    let network = Network::enter()?;
    interrupt::catch()?;
    let temp = temporary(args.temp.as_deref())?;
    let mut left_out = Vec::new();
    let programs = Programs::find(args, network, temp.path(), &mut left_out)?;
    let versions: BTreeMap<_, _> =
        programs.clients().map(|(client, found)| (client, found.version.clone())).collect();
    let mut report = Report::new(network.name(), versions, left_out)?;
    eprintln!("{}", markdown::context(&report));
    report.left_out.iter().for_each(|why| eprintln!("left out: {why}"));
    let bench = Bench {
        network,
        programs: &programs,
        tracker: &Tracker::start(network)?,
        directory: temp.path().to_owned(),
        idle: Duration::from_secs(if args.quick { 1 } else { 10 }),
    };
    let begin = Instant::now();
    for (i, scenario) in scenarios.iter().enumerate() {
        report.scenarios.push(Measured::of(scenario));
        if scenario.needs_namespace() && network != Network::Namespace {
            report.left_out.push(format!("{}: wants a network namespace", scenario.title));
            continue;
        }
        let rounds = scenario.rounds(args.rounds());
        scenario.run(&bench, rounds, |round, outcome: Outcome| {
            let (seconds, number, all) = (begin.elapsed().as_secs(), i + 1, scenarios.len());
            let (name, figures) = (outcome.name(), outcome.describe());
            eprintln!(
                "{seconds:5} s  {number:2}/{all} {:20} {}/{rounds} {name:10} {figures}",
                scenario.id,
                round + 1
            );
            report.add(i, outcome);
        })?;
    }
    if let Some(directory) = &args.out {
        report::write(&report, directory)?;
    }
    print!("{}", markdown::page(&report));
    Ok(())
}

/// Merges reports.
pub(crate) fn merge(args: &MergeArgs) -> Result<()> {
    let mut files = args.files.iter();
    let mut merged = Report::read(files.next().context("no report")?)?;
    for file in files {
        merged.merge(Report::read(file)?).with_context(|| file.display().to_string())?;
    }
    report::write(&merged, &args.out)?;
    print!("{}", markdown::page(&merged));
    Ok(())
}

/// Writes the table into README.md.
pub(crate) fn readme(args: &ReadmeArgs) -> Result<()> {
    let report = Report::read(&args.report)?;
    let name = args.readme.display();
    let text = fs::read_to_string(&args.readme).with_context(|| format!("cannot read {name}"))?;
    let text = readme::replace(&text, &report).with_context(|| name.to_string())?;
    fs::write(&args.readme, text).with_context(|| format!("cannot write {name}"))
}

/// A directory that is gone at the end, in `directory` or where the system has such things.
pub(crate) fn temporary(directory: Option<&Path>) -> Result<TempDir> {
    let mut temp = tempfile::Builder::new();
    temp.prefix("samara-bench-");
    let temp = match directory {
        Some(directory) => temp.tempdir_in(directory),
        None => temp.tempdir(),
    };
    temp.context("no temporary directory")
}
