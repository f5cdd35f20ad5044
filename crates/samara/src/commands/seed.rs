//! `samara seed`: checks, then seeds. Never downloads, never changes the data.

use super::download::{absolute, load};
use super::job::{Goal, Job};
use super::verify::{describe, faults_of_sizes};
use super::{Context, drive, runtime, session};
use crate::args::SeedArgs;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::progress::Display;
use crate::signals::Signals;
use samara_engine::{AddTorrent, Existing, Session, State, Torrent};
use std::time::Instant;

/// Seeds until told to stop.
pub(crate) fn run(args: &SeedArgs, context: &Context) -> Result<Exit, Failure> {
    let (out, settings) = (context.out, &context.loaded.settings);
    let bind = session::bind(&args.network.bind, &context.loaded.settings);
    let torrents = load(&args.sources, bind, out)?;
    let dir = absolute(&args.data)?;
    runtime()?.block_on(async {
        let mut signals = Signals::new()?;
        let peers = session::resolve(&args.network.peers).await?;
        let session = session::start(&args.network, settings, false)?;
        let existing = if args.trust { Existing::Trust } else { Existing::Check };
        let mut added = Vec::new();
        for metainfo in torrents {
            let add = AddTorrent {
                peers: peers.clone(),
                existing,
                paused: true,
                ..AddTorrent::new(metainfo.clone(), &dir)
            };
            added.push(session.add(add).await.map_err(|e| session::not_added(&metainfo, &e))?);
        }
        let mut jobs: Vec<Job> =
            added.iter().map(|t| Job::new(t.clone(), None, Goal::Forever)).collect();
        if checked(&session, &mut jobs, &mut signals, out).await? == Exit::Interrupted {
            return Ok(Exit::Interrupted);
        }
        if !report_incomplete(&added, out).await? {
            session.shutdown().await;
            return Err(Failure::new(Exit::Failed, "the data is not complete: nothing is seeded")
                .hint("complete it with samara download TORRENT -o DIR"));
        }
        added.iter().for_each(Torrent::resume);
        session::announce(&session, &added, out)?;
        out.note(format_args!("Seeding on port {}. Ctrl-C stops.", session.port()));
        drive::run(&session, &mut jobs, None, &mut signals, out).await
    })
}

/// Waits until everything is checked.
async fn checked(
    session: &Session,
    jobs: &mut [Job],
    signals: &mut Signals,
    out: Output,
) -> Result<Exit, Failure> {
    let mut display = Display::new(out);
    loop {
        let now = Instant::now();
        for job in jobs.iter_mut() {
            job.observe(now);
            if let Some(failure) = job.failure() {
                return Err(Failure { hint: None, ..failure });
            }
        }
        let snapshots: Vec<_> = jobs.iter().map(|job| job.snapshot(now)).collect();
        display.update(&snapshots)?;
        let checking = |job: &&Job| job.torrent.status().state == State::Checking;
        let Some(job) = jobs.iter().find(checking) else { return Ok(Exit::Done) };
        tokio::select! {
            () = tokio::time::sleep(display.interval()) => {}
            _ = job.torrent.wait_until(|s| s.state != State::Checking) => {}
            () = signals.next() => {
                session.shutdown().await;
                return Ok(Exit::Interrupted);
            }
        }
    }
}

/// Whether all data is there; lists what is not.
async fn report_incomplete(torrents: &[Torrent], out: Output) -> Result<bool, Failure> {
    let mut complete = true;
    for torrent in torrents {
        let stats = torrent.status().stats;
        if stats.pieces_have == stats.pieces_total {
            continue;
        }
        complete = false;
        let bytes = torrent.file_progress().await;
        for bad in faults_of_sizes(torrent.metainfo(), torrent.dir(), &bytes)? {
            out.line(describe(torrent.metainfo(), &bad, out))?;
        }
    }
    Ok(complete)
}
