//! `samara download`.

use super::job::{Goal, Job};
use super::{Context, drive, resolve, runtime, session};
use crate::args::DownloadArgs;
use crate::exit::{Exit, Failure};
use crate::output::{Output, clean};
use crate::selection;
use crate::settings::Settings;
use crate::signals::Signals;
use crate::source::{self, Source};
use samara_engine::wire::magnet::{Magnet, MagnetLink};
use samara_engine::wire::metainfo::Metainfo;
use samara_engine::{AddTorrent, Egress, ResolveConfig, Resolved};
use std::fs;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Downloads everything asked for.
pub(crate) fn run(args: &DownloadArgs, context: &Context) -> Result<Exit, Failure> {
    let (out, settings) = (context.out, &context.loaded.settings);
    let egress = &context.loaded.settings.egress(&args.network.bind);
    let (mut items, links) = open(&args.sources, egress, out)?;
    if links.is_empty() {
        // What is wrong is said before anything is touched.
        choose(&items, &args.files)?;
    }
    let dir = args.output.as_ref().unwrap_or(&settings.output);
    fs::create_dir_all(dir).map_err(|e| Failure::io("create", dir, &e))?;
    let dir = absolute(dir)?;
    let goal = goal(args, settings);
    runtime()?.block_on(async {
        let mut signals = Signals::new()?;
        let peers = session::resolve(&args.network.peers, settings).await?;
        let preallocate = args.preallocate || settings.preallocate;
        let session = session::start(&args.network, settings, preallocate, out).await?;
        let begun = Instant::now();
        if !links.is_empty() {
            let timeout = args.timeout.unwrap_or(resolve::USUAL_TIMEOUT);
            let config = ResolveConfig {
                peers: peers.clone(),
                timeout,
                stay: true,
                ..ResolveConfig::default()
            };
            let found = resolve::all(&session, links, config, &mut signals, out).await;
            match found {
                Ok(Some(found)) => found.into_iter().for_each(|f| push(&mut items, f.into(), out)),
                Ok(None) => {
                    session.shutdown().await;
                    return Ok(Exit::Interrupted);
                }
                Err(failure) => {
                    session.shutdown().await;
                    return Err(failure);
                }
            }
        }
        let wanted = choose(&items, &args.files)?;
        let mut jobs = Vec::new();
        for (Item { metainfo, peers: found, .. }, files) in items.into_iter().zip(wanted) {
            let add = AddTorrent {
                peers: [&peers[..], &found].concat(),
                files: files.clone(),
                sequential: args.sequential || settings.sequential,
                ..AddTorrent::new(metainfo.clone(), &dir)
            };
            let torrent =
                session.add(add).await.map_err(|e| session::not_added(&metainfo.info, &e))?;
            jobs.push(Job::new(torrent, files.as_deref(), goal));
        }
        let torrents: Vec<_> = jobs.iter().map(|job| job.torrent.clone()).collect();
        session::announce(&session, &torrents, out)?;
        let left = args.timeout.map(|timeout| timeout.saturating_sub(begun.elapsed()));
        drive::run(&session, &mut jobs, left, &mut signals, out).await
    })
}

/// A torrent to be downloaded.
struct Item {
    metainfo: Metainfo,
    /// Files that its link selects; empty: all.
    select: Vec<RangeInclusive<u32>>,
    /// Peers met while its metadata was fetched.
    peers: Vec<SocketAddr>,
}

impl From<(Magnet, Resolved)> for Item {
    fn from((magnet, found): (Magnet, Resolved)) -> Self {
        Self { metainfo: found.metainfo, select: magnet.select, peers: found.peers }
    }
}

/// All torrents at hand, each once, and the links whose torrents are yet to be found.
fn open(
    sources: &[String],
    egress: &Egress,
    out: Output,
) -> Result<(Vec<Item>, Vec<MagnetLink>), Failure> {
    let (mut items, mut links) = (Vec::new(), Vec::new());
    for source in sources {
        match source::open(source, egress)? {
            Source::Torrent(metainfo) => {
                let item = Item { metainfo: *metainfo, select: Vec::new(), peers: Vec::new() };
                push(&mut items, item, out);
            }
            Source::Magnet(link) => links.push(*link),
        }
    }
    Ok((items, links))
}

/// Adds a torrent, unless it is there.
fn push(items: &mut Vec<Item>, item: Item, out: Output) {
    let hashes = item.metainfo.info.hashes();
    if items.iter().any(|other| other.metainfo.info.hashes() == hashes) {
        out.warn(format_args!("{} is named twice", clean(item.metainfo.info.name())));
    } else {
        items.push(item);
    }
}

/// The files wanted of each torrent: as the command line says, else as the link does.
fn choose(items: &[Item], files: &[String]) -> Result<Vec<Option<Vec<usize>>>, Failure> {
    let infos: Vec<_> = items.iter().map(|item| &item.metainfo.info).collect();
    let mut wanted = selection::select(&infos, files)?;
    if files.is_empty() {
        for (item, wanted) in items.iter().zip(&mut wanted).filter(|(i, _)| !i.select.is_empty()) {
            *wanted = Some(selection::of_link(&item.metainfo.info, &item.select)?);
        }
    }
    Ok(wanted)
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
