//! Downloads from synthetic seeds, and seeding to synthetic leeches.

use super::{LIMIT, Turn};
use crate::clients::Job;
use crate::payload::Payload;
use crate::peers::seeds::Seeds;
use crate::peers::{auditor, leeches};
use crate::process::{Program, Spent};
use crate::report::json::Sample;
use anyhow::{Context, Result, bail, ensure};
use std::sync::atomic::{AtomicBool, Ordering};

/// Downloads the payload. CPU time counts from the first request to the end of the program, everything written; the rate is that at which
/// the seeds sent, since some programs look but once a second whether they are done.
///
/// Meanwhile so many leeches, if any, take what the client announces; what they got counts as moved.
pub(super) fn download(
    turn: &Turn<'_>,
    payload: &Payload,
    seeds: u8,
    leeches: u8,
) -> Result<Sample> {
    let network = turn.bench.network;
    let into = turn.home.path().join("downloads");
    std::fs::create_dir(&into)?;
    let seeds = Seeds::start(network, payload, seeds)?;
    turn.bench.tracker.name(&seeds.addresses);
    let program = turn.start(Job::Download { torrent: &payload.torrent, into: &into })?;
    let stop = AtomicBool::new(false);
    let (spent, taken) = std::thread::scope(|scope| {
        let taking = scope.spawn(|| leeches::follow(network, payload, turn.at, leeches, &stop));
        let spent = program.finish(LIMIT, |_| seeds.first_request());
        stop.store(true, Ordering::Relaxed);
        let taken = taking.join().unwrap_or_else(|_| bail!("a panic"));
        spent.and_then(|spent| Ok((spent, taken.context("the synthetic leeches failed")?)))
    })?;
    turn.bench.tracker.name(&[]);
    let (seeded, wanted) = (seeds.stop()?, payload.info.total_len());
    ensure!(seeded.bytes >= wanted, "only {} of {wanted} bytes were fetched", seeded.bytes);
    ensure!(leeches == 0 || taken > 0, "the client gave nothing to the leeches");
    payload.compare(&into)?;
    let transfer = Spent { seconds: seeded.time.as_secs_f64(), ..spent };
    Ok(Sample { until_end_s: Some(spent.seconds), ..Sample::new(transfer, wanted + taken) })
}

/// Seeds the payload `times` times over. What counts begins when the client has all of it, and has shown it to the auditor.
pub(super) fn seed(turn: &Turn<'_>, payload: &Payload, leeches: u8, times: u64) -> Result<Sample> {
    let program = ready(turn, payload)?;
    serve(turn, program, payload, leeches, payload.info.total_len() * times)
}

/// Seeds the payload once, to one leech, from the disk: nothing of it is in the page cache when it begins.
pub(super) fn seed_cold(turn: &Turn<'_>, payload: &Payload) -> Result<Sample> {
    let program = ready(turn, payload)?;
    payload.drop_from_cache()?;
    serve(turn, program, payload, 1, payload.info.total_len())
}

/// A client that has found all of the payload in place and sends what is right.
pub(super) fn ready(turn: &Turn<'_>, payload: &Payload) -> Result<Program> {
    let job = Job::Seed { torrent: &payload.torrent, data: &payload.data };
    let program = turn.start(job)?;
    let auditor = turn.bench.network.ours();
    auditor::wait_ready(auditor, turn.at, &payload.info, LIMIT, || program.alive())?;
    auditor::audit(auditor, turn.at, payload)?;
    Ok(program)
}

fn serve(
    turn: &Turn<'_>,
    mut program: Program,
    payload: &Payload,
    leeches: u8,
    goal: u64,
) -> Result<Sample> {
    program.take_peak();
    let before = program.cpu()?;
    let network = turn.bench.network;
    let leeched = leeches::run(network, payload, turn.at, leeches, goal, || {
        program.look();
    });
    let leeched = match leeched {
        Ok(leeched) => leeched,
        Err(error) => return Err(error.context(format!("its output:{}", program.tail()))),
    };
    let cpu = program.cpu()? - before;
    program.alive()?;
    let peak_anon = program.take_peak();
    let spent = Spent { cpu, seconds: leeched.time.as_secs_f64(), peak_anon };
    Ok(Sample::new(spent, leeched.bytes))
}
