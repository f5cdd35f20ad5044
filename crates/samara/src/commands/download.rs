//! `samara download`.

use super::job::{Goal, Job};
use super::{Context, drive, runtime, session};
use crate::args::DownloadArgs;
use crate::exit::{Exit, Failure};
use crate::output::{Output, clean};
use crate::selection;
use crate::settings::Settings;
use crate::signals::Signals;
use crate::source;
use samara_engine::AddTorrent;
use samara_engine::wire::metainfo::Metainfo;
use std::fs;
use std::path::{Path, PathBuf};

/// Downloads everything asked for.
pub(crate) fn run(args: &DownloadArgs, context: &Context) -> Result<Exit, Failure> {
    let (out, settings) = (context.out, &context.loaded.settings);
    let torrents = load(&args.sources, out)?;
    let infos: Vec<_> = torrents.iter().map(|m| &m.info).collect();
    let wanted = selection::select(&infos, &args.files)?;
    let dir = args.output.as_ref().unwrap_or(&settings.output);
    fs::create_dir_all(dir).map_err(|e| Failure::io("create", dir, &e))?;
    let dir = absolute(dir)?;
    let goal = goal(args, settings);
    runtime()?.block_on(async {
        let mut signals = Signals::new()?;
        let peers = session::resolve(&args.network.peers).await?;
        let session =
            session::start(&args.network, settings, args.preallocate || settings.preallocate)?;
        let mut jobs = Vec::new();
        for (metainfo, files) in torrents.into_iter().zip(wanted) {
            let add = AddTorrent {
                peers: peers.clone(),
                files: files.clone(),
                sequential: args.sequential || settings.sequential,
                ..AddTorrent::new(metainfo.clone(), &dir)
            };
            let torrent = session.add(add).await.map_err(|e| session::not_added(&metainfo, &e))?;
            jobs.push(Job::new(torrent, files.as_deref(), goal));
        }
        let torrents: Vec<_> = jobs.iter().map(|job| job.torrent.clone()).collect();
        session::announce(&session, &torrents, out)?;
        drive::run(&session, &mut jobs, args.timeout, &mut signals, out).await
    })
}

/// All torrents named, each once.
pub(crate) fn load(sources: &[String], out: Output) -> Result<Vec<Metainfo>, Failure> {
    let mut torrents: Vec<Metainfo> = Vec::new();
    for source in sources {
        let metainfo = source::load(source)?;
        if torrents.iter().any(|m| m.info.hashes() == metainfo.info.hashes()) {
            out.warn(format_args!("{} is named twice", clean(source)));
        } else {
            torrents.push(metainfo);
        }
    }
    Ok(torrents)
}

/// A path that means the same wherever it is shown.
pub(crate) fn absolute(dir: &Path) -> Result<PathBuf, Failure> {
    dir.canonicalize().map_err(|e| Failure::io("use", dir, &e))
}

/// `--no-seed` stands above the command line's and the file's wishes to seed.
fn goal(args: &DownloadArgs, settings: &Settings) -> Goal {
    let ratio = args.seed_ratio.or(settings.seed_ratio);
    let time = args.seed_time.or(settings.seed_time);
    match (ratio, time) {
        _ if args.no_seed => Goal::Complete,
        (None, None) => Goal::Complete,
        (ratio, time) => Goal::Seed { ratio, time },
    }
}
