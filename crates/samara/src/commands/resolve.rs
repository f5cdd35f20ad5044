//! Magnet links: `samara magnet resolve`, and what `download` does before it knows what to download.

use super::create::write;
use super::{Context, follow, runtime, session};
use crate::args::ResolveArgs;
use crate::exit::{Exit, Failure};
use crate::output::{Output, clean};
use crate::signals::Signals;
use crate::source::{self, Source};
use crate::units;
use samara_engine::wire::magnet::{Magnet, MagnetLink};
use samara_engine::wire::metainfo::Metainfo;
use samara_engine::{ResolveConfig, ResolveError, ResolveStatus, Resolved, Resolving, Session};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// How far it is, is said this often at most, and only if it has changed.
const EVERY: Duration = Duration::from_secs(3);

/// The time without `--timeout`.
pub(crate) const USUAL_TIMEOUT: Duration = Duration::from_secs(600);

/// Fetches what a link names and writes it as a `.torrent` file.
pub(crate) fn run(args: &ResolveArgs, context: &Context) -> Result<Exit, Failure> {
    let (out, settings) = (context.out, &context.loaded.settings);
    let link = match source::open(&args.link, &settings.egress(&args.network.bind))? {
        Source::Magnet(link) => *link,
        Source::Torrent(_) => {
            let what = format!("{} is a torrent already", source::shown(&args.link));
            return Err(Failure::new(Exit::Usage, what).hint("its link: samara magnet TORRENT"));
        }
    };
    let to_stdout = args.output == Path::new("-");
    if !to_stdout && !args.force && fs::symlink_metadata(&args.output).is_ok() {
        return Err(super::create::exists(&args.output));
    }
    runtime()?.block_on(async {
        let mut signals = Signals::new()?;
        let peers = session::resolve(&args.network.peers, settings).await?;
        let session = session::start(&args.network, settings, false, out).await?;
        let timeout = args.timeout.unwrap_or(USUAL_TIMEOUT);
        // A hybrid torrent can do without its piece layers, a file cannot.
        let config = ResolveConfig { peers, timeout, stay: false, layers: true };
        let outcome = all(&session, vec![link], config, &mut signals, out).await;
        session.shutdown().await;
        match outcome?.and_then(|mut found| found.pop()) {
            Some((_, found)) => save(&found.metainfo, args, out),
            None => Ok(Exit::Interrupted),
        }
    })
}

fn save(metainfo: &Metainfo, args: &ResolveArgs, out: Output) -> Result<Exit, Failure> {
    let bytes = metainfo.to_bytes();
    // A torrent of very many pieces can be shared, and makes a file that we would refuse ourselves.
    if let Err(error) = Metainfo::parse(&bytes) {
        let failure =
            Failure::new(Exit::Failed, format!("it cannot be written to a file: {error}"));
        return Err(failure.hint("samara download takes the link itself"));
    }
    if args.output == Path::new("-") {
        out.bytes(&bytes)?;
        return Ok(Exit::Done);
    }
    write(&args.output, &bytes, args.force)?;
    let info = &metainfo.info;
    if out.json {
        out.object(
            "resolved",
            json!({
                "path": args.output,
                "name": info.name(),
                "info_hash": info.hashes().wire().to_string(),
                "length": info.total_len(),
                "files": info.files().len(),
            }),
        )?;
    } else {
        out.note(format_args!(
            "{}: {}, {}",
            args.output.display(),
            clean(info.name()),
            units::size(info.total_len())
        ));
    }
    Ok(Exit::Done)
}

/// Links on their way, all at the same time; `None` if somebody says stop.
pub(crate) async fn all(
    session: &Session,
    links: Vec<MagnetLink>,
    mut config: ResolveConfig,
    signals: &mut Signals,
    out: Output,
) -> Result<Option<Vec<(Magnet, Resolved)>>, Failure> {
    let (begun, timeout) = (Instant::now(), config.timeout);
    let follows = links.iter().any(|link| matches!(link, MagnetLink::Mutable(_)));
    let links = follow::all(session, links, timeout, signals, out).await?;
    let Some(links) = links else { return Ok(None) };
    if follows {
        config.timeout = timeout.saturating_sub(begun.elapsed());
    }
    let begin = |magnet: Magnet| (session.resolve(magnet.clone(), config.clone()), magnet);
    let under_way: Vec<_> = links.into_iter().map(begin).collect();
    let mut found = Vec::new();
    for (resolving, magnet) in under_way {
        match watch(resolving, &magnet, signals, out).await? {
            Some(resolved) => found.push((magnet, resolved)),
            None => return Ok(None),
        }
    }
    Ok(Some(found))
}

/// Waits for one link and says how far it is.
async fn watch(
    mut resolving: Resolving,
    magnet: &Magnet,
    signals: &mut Signals,
    out: Output,
) -> Result<Option<Resolved>, Failure> {
    let name = magnet.name.clone().unwrap_or_else(|| magnet.hashes.wire().to_string());
    let mut said = None;
    let mut next = Instant::now() + EVERY / 3;
    loop {
        let wait = next.saturating_duration_since(Instant::now());
        tokio::select! {
            outcome = resolving.outcome() => {
                let found = outcome.map_err(|e| failed(&name, &e))?;
                if !out.json {
                    let info = &found.metainfo.info;
                    let files = info.files().iter().filter(|file| !file.attributes.padding).count();
                    let files = units::count(files as u64, "file", "files");
                    let size = units::size(info.total_len());
                    out.note(format_args!("{}: {files}, {size}", clean(info.name())));
                }
                return Ok(Some(found));
            }
            () = signals.next() => return Ok(None),
            () = tokio::time::sleep(wait) => {
                next = Instant::now() + EVERY;
                let status = resolving.status();
                if said.as_ref() != Some(&status) {
                    tell(&name, &status, magnet, out)?;
                    said = Some(status);
                }
            }
        }
    }
}

fn tell(name: &str, status: &ResolveStatus, magnet: &Magnet, out: Output) -> Result<(), Failure> {
    if !out.json {
        out.note(format_args!(
            "{}: fetching {}: {}",
            clean(name),
            status.sought(),
            clean(&status.to_string())
        ));
        return Ok(());
    }
    out.object(
        "resolving",
        json!({
            "info_hash": magnet.hashes.wire().to_string(),
            "name": magnet.name,
            "trackers": status.trackers,
            "trackers_answered": status.trackers_answered,
            "dht_nodes": status.dht_nodes,
            "peers_known": status.known,
            "peers_not_reached": status.failed,
            "peers_asked": status.fetch.asked,
            "peers_without": status.fetch.without,
            "peers_unwilling": status.fetch.unwilling,
            "peers_lying": status.fetch.liars,
            "received": status.fetch.received,
            "length": status.fetch.claimed,
            "layers": status.layers.map(|(here, _)| here),
            "layers_total": status.layers.map(|(_, all)| all),
            "tracker_error": status.tracker_error,
        }),
    )
}

/// The user's words for a link that led nowhere.
fn failed(name: &str, error: &ResolveError) -> Failure {
    let exit = match error {
        ResolveError::Invalid(_) => Exit::BadTorrent,
        ResolveError::NobodyToAsk | ResolveError::Timeout { .. } => Exit::Network,
        _ => Exit::Failed,
    };
    let failure = Failure::new(exit, format!("{name}: {error}"));
    match error {
        ResolveError::NobodyToAsk => failure.hint(
            "leave out --no-dht, name a peer with --peer, or use a link with trackers (`tr=`) or peers (`x.pe=`)",
        ),
        ResolveError::Timeout { .. } => failure
            .hint("try again later, give it more time with --timeout, or name a peer with --peer"),
        _ => failure,
    }
}
