//! What the commands that open a session have in common.

use crate::args::NetworkArgs;
use crate::exit::{Exit, Failure, said};
use crate::output::Output;
use crate::settings::{Settings, is_endpoint};
use samara_engine::wire::metainfo::Metainfo;
use samara_engine::{
    AddError, Allocation, DhtConfig, Session, SessionConfig, SessionError, Torrent,
};
use serde_json::json;
use std::net::SocketAddr;

/// The port most clients listen on; another is taken if it is in use and none was asked for.
const USUAL_PORT: u16 = 6881;

/// Starts a session as the command line and the settings ask.
pub(crate) fn start(
    args: &NetworkArgs,
    settings: &Settings,
    preallocate: bool,
) -> Result<Session, Failure> {
    let asked = args.port.or(settings.port);
    let config = SessionConfig {
        port: asked.unwrap_or(USUAL_PORT),
        bind: if args.bind.is_empty() { settings.bind.clone() } else { args.bind.clone() },
        limit_down: args.limit_down.map_or(settings.limit_down, |l| l.0),
        limit_up: args.limit_up.map_or(settings.limit_up, |l| l.0),
        max_peers: settings.max_peers,
        encryption: args.encryption.unwrap_or(settings.encryption).policy(),
        local_discovery: settings.lsd && !args.no_lsd,
        state_dir: args.state_dir.clone().or_else(|| settings.state_dir.clone()),
        dht: dht(args, settings)?,
        allocation: if preallocate { Allocation::Full } else { Allocation::Sparse },
        ..SessionConfig::default()
    };
    let first = Session::start(config.clone());
    let session = match first {
        Err(SessionError::PortInUse { .. }) if asked.is_none() => {
            Session::start(SessionConfig { port: 0, ..config })
        }
        other => other,
    };
    session.map_err(|e| not_started(&e))
}

/// The user's words for a session that did not start.
pub(crate) fn not_started(error: &SessionError) -> Failure {
    let exit = match error {
        SessionError::PortInUse { .. } | SessionError::Listen { .. } => Exit::Network,
        SessionError::StateDir { .. } => Exit::Io,
        _ => Exit::Failed,
    };
    let failure = Failure::new(exit, error.to_string());
    match error {
        SessionError::StateDir { .. } => failure.hint("choose another with --state-dir"),
        SessionError::Listen { .. } => failure.hint("check --bind and --port"),
        _ => failure,
    }
}

/// The user's words for a torrent that was not added.
pub(crate) fn not_added(metainfo: &Metainfo, error: &AddError) -> Failure {
    Failure::new(Exit::Failed, format!("{}: {error}", metainfo.info.name()))
}

/// The addresses of peers given as HOST:PORT.
pub(crate) async fn resolve(peers: &[String]) -> Result<Vec<SocketAddr>, Failure> {
    let mut found = Vec::new();
    for peer in peers {
        found.extend(resolve_one(peer).await?);
    }
    Ok(found)
}

fn no_endpoint(text: &str) -> Failure {
    Failure::new(Exit::Usage, format!("`{text}` is no HOST:PORT"))
        .hint("for example 192.0.2.7:6881 or [2001:db8::7]:6881")
}

/// Whether each is HOST:PORT.
pub(crate) fn check_endpoints(nodes: &[String]) -> Result<(), Failure> {
    let wrong = nodes.iter().find(|node| !is_endpoint(node));
    wrong.map_or(Ok(()), |wrong| Err(no_endpoint(wrong)))
}

/// How to take part in the DHT. Nodes named on the command line stand above those of the settings, and either above the public
/// ones.
fn dht(args: &NetworkArgs, settings: &Settings) -> Result<Option<DhtConfig>, Failure> {
    check_endpoints(&args.dht_nodes)?;
    let named = [&args.dht_nodes, &settings.dht_nodes].into_iter().find(|nodes| !nodes.is_empty());
    // Who names a node wants the DHT, whatever the settings say.
    let wanted = !args.no_dht && (settings.dht || !args.dht_nodes.is_empty());
    let config = || match named {
        Some(routers) => DhtConfig { routers: routers.clone(), ..DhtConfig::default() },
        None => DhtConfig::default(),
    };
    Ok(wanted.then(config))
}

/// The addresses of HOST:PORT.
pub(crate) async fn resolve_one(peer: &str) -> Result<Vec<SocketAddr>, Failure> {
    if !is_endpoint(peer) {
        return Err(no_endpoint(peer));
    }
    let found = tokio::net::lookup_host(peer).await;
    let found: Vec<SocketAddr> = found
        .map_err(|e| Failure::new(Exit::Network, format!("cannot resolve {peer}: {}", said(&e))))?
        .collect();
    match found.is_empty() {
        true => Err(Failure::new(Exit::Network, format!("{peer} has no address"))),
        false => Ok(found),
    }
}

/// Says, as JSON, where the session listens and what it works on.
pub(crate) fn announce(
    session: &Session,
    torrents: &[Torrent],
    out: Output,
) -> Result<(), Failure> {
    if !out.json {
        return Ok(());
    }
    out.object(
        "listening",
        json!({ "port": session.port(), "peer_id": session.peer_id().to_string() }),
    )?;
    for torrent in torrents {
        let info = &torrent.metainfo().info;
        out.object(
            "torrent",
            json!({
                "info_hash": torrent.hashes().wire().to_string(),
                "name": info.name(),
                "dir": torrent.dir(),
                "length": info.total_len(),
            }),
        )?;
    }
    Ok(())
}
