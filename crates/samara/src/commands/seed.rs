//! `samara seed`: checks, then seeds. Never downloads, never changes the data.

use super::download::absolute;
use super::job::{Goal, Job};
use super::verify::{describe, faults_of_sizes};
use super::{Context, drive, runtime, session};
use crate::args::SeedArgs;
use crate::exit::{Exit, Failure};
use crate::output::{Output, clean};
use crate::progress::Display;
use crate::signals::Signals;
use crate::source;
use samara_engine::wire::metainfo::Metainfo;
use samara_engine::{AddTorrent, Egress, Existing, Session, State, Torrent};
use std::collections::HashSet;
use std::time::Instant;

/// Seeds until told to stop.
pub(crate) fn run(args: &SeedArgs, context: &Context) -> Result<Exit, Failure> {
    let (out, settings) = (context.out, &context.loaded.settings);
    let egress = &context.loaded.settings.egress(&args.network.bind);
    let torrents = load(&args.sources, egress, out)?;
    let dir = absolute(&args.data)?;
    runtime()?.block_on(async {
        let mut signals = Signals::new()?;
        let peers = session::resolve(&args.network.peers, settings).await?;
        let session = session::start(&args.network, settings, false, out).await?;
        let existing = match (args.trust, args.check) {
            (true, _) => Existing::Trust,
            (_, true) => Existing::Check,
            _ => Existing::Resume,
        };
        let mut added = Vec::with_capacity(torrents.len());
        for metainfo in torrents {
            let info = metainfo.info.clone();
            let add = AddTorrent {
                peers: peers.clone(),
                existing,
                paused: true,
                upload_only: true,
                ..AddTorrent::new(metainfo, &dir)
            };
            added.push(session.add(add).await.map_err(|e| session::not_added(&info, &e))?);
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

/// All torrents named, each once; of a directory those in it.
fn load(sources: &[String], egress: &Egress, out: Output) -> Result<Vec<Metainfo>, Failure> {
    let mut torrents = Vec::new();
    let mut names = HashSet::new();
    for source in source::expand(sources)? {
        let metainfo = source::load(&source, egress)?;
        if names.insert(metainfo.info.hashes().wire()) {
            torrents.push(metainfo);
        } else {
            out.warn(format_args!("{} is named twice", clean(&source)));
        }
    }
    Ok(torrents)
}

/// Waits until everything is checked.
async fn checked(
    session: &Session,
    jobs: &mut [Job],
    signals: &mut Signals,
    out: Output,
) -> Result<Exit, Failure> {
    let mut display = Display::new(out);
    let torrents: Vec<_> = jobs.iter().map(|job| job.torrent.clone()).collect();
    let all = async {
        for torrent in &torrents {
            torrent.wait_until(|s| s.state != State::Checking).await;
        }
    };
    tokio::pin!(all);
    loop {
        let now = Instant::now();
        for job in jobs.iter_mut() {
            job.observe(now);
            if let Some(failure) = job.failure() {
                return Err(Failure { hint: None, ..failure });
            }
        }
        display.update(jobs.iter().map(|job| job.snapshot(now)))?;
        tokio::select! {
            () = tokio::time::sleep(display.interval(jobs.len())) => {}
            () = &mut all => return Ok(Exit::Done),
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
