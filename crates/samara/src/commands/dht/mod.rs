//! `samara dht`: questions to the DHT, and a node of one's own.

mod items;
mod key;

use super::{Context, runtime, session};
use crate::args::{DhtArgs, DhtCommand, DhtNetworkArgs, DhtNodeArgs, DhtPeersArgs};
use crate::exit::{Exit, Failure};
use crate::settings::Settings;
use crate::signals::Signals;
use crate::source;
use samara_engine::wire::id::WireHash;
use samara_engine::wire::magnet::Magnet;
use samara_engine::{DhtConfig, DhtError, DhtHandle, Egress, Session, SessionConfig};
use serde_json::json;
use std::time::Duration;

/// Asks, or runs a node.
pub(crate) fn run(args: &DhtArgs, context: &Context) -> Result<Exit, Failure> {
    match &args.command {
        DhtCommand::Get(args) => items::get(args, context),
        DhtCommand::Put(args) => items::put(args, context),
        DhtCommand::Peers(args) => peers(args, context),
        DhtCommand::Node(args) => node(args, context),
        DhtCommand::Keygen(args) => key::generate(&args.output, context.out),
    }
}

/// Joins a DHT: by the nodes on the command line alone if there are some, else as every session does.
/// One that stays is a node for others; one that only asks leaves no trace of itself with them (BEP 43).
fn join(args: &DhtNetworkArgs, settings: &Settings, stays: bool) -> Result<Session, Failure> {
    if settings.proxy.is_some() {
        return Err(Failure::new(Exit::Usage, "samara dht does not go through proxies")
            .hint("without one: --proxy none"));
    }
    session::check_endpoints(&args.nodes)?;
    let private = stays || !args.nodes.is_empty();
    let routers = match (private, settings.dht_nodes.is_empty()) {
        (true, _) => args.nodes.clone(),
        (false, false) => settings.dht_nodes.clone(),
        (false, true) => DhtConfig::default().routers,
    };
    let config = SessionConfig {
        port: args.port,
        bind: session::bind(&args.bind, settings).to_vec(),
        state_dir: settings.state_dir.clone().filter(|_| !private),
        dht: Some(DhtConfig { routers, read_only: !stays }),
        local_discovery: false,
        port_mapping: stays && settings.port_mapping,
        ..SessionConfig::default()
    };
    Session::start(config).map_err(|e| session::not_started(&e))
}

/// Joins, asks and leaves. `None` if somebody says stop meanwhile.
fn ask<T>(
    args: &DhtNetworkArgs,
    context: &Context,
    timeout: Duration,
    question: impl AsyncFnOnce(DhtHandle) -> Result<T, DhtError>,
) -> Result<Option<T>, Failure> {
    runtime()?.block_on(async {
        let mut signals = Signals::new()?;
        let session = join(args, &context.loaded.settings, false)?;
        let dht = session.dht().ok_or_else(|| failed(DhtError::ShutDown))?;
        let answer = tokio::select! {
            answer = tokio::time::timeout(timeout, question(dht.clone())) => Some(answer),
            () = signals.next() => None,
        };
        let joined = dht.status().await.is_ok_and(|status| status.is_joined());
        session.shutdown().await;
        match answer {
            None => Ok(None),
            Some(Ok(answer)) => answer.map(Some).map_err(failed),
            Some(Err(_)) if joined => {
                Err(Failure::new(Exit::Network, "no answer from the DHT in time")
                    .hint("give it more time with --timeout"))
            }
            Some(Err(_)) => Err(failed(DhtError::NotJoined)),
        }
    })
}

/// The user's words for a question that came to nothing.
pub(super) fn failed(error: DhtError) -> Failure {
    match error {
        DhtError::NotJoined => Failure::new(Exit::Network, error.to_string())
            .hint("check the network, or name a node with --dht-node"),
        DhtError::Put(_) => Failure::new(Exit::Usage, error.to_string()),
        _ => Failure::new(Exit::Failed, error.to_string()),
    }
}

fn peers(args: &DhtPeersArgs, context: &Context) -> Result<Exit, Failure> {
    let out = context.out;
    let egress = &context.loaded.settings.egress(&args.network.bind);
    let hashes = hashes_of(&args.torrent, egress)?;
    let found = ask(&args.network, context, args.timeout, async |dht| {
        let mut found = Vec::new();
        for hash in hashes {
            found.extend(dht.peers(hash).await?);
        }
        Ok(found)
    })?;
    let Some(mut found) = found else { return Ok(Exit::Interrupted) };
    found.sort_unstable();
    found.dedup();
    for addr in &found {
        match out.json {
            true => out.object("dht_peer", json!({ "addr": addr.to_string() }))?,
            false => out.line(addr)?,
        }
    }
    if found.is_empty() {
        return Err(Failure::new(Exit::Failed, "no peer is announced in the DHT"));
    }
    Ok(Exit::Done)
}

/// The names under which peers announce the torrent that `what` is: an info-hash, or a torrent file.
fn hashes_of(what: &str, egress: &Egress) -> Result<Vec<WireHash>, Failure> {
    if let Ok(magnet) = Magnet::from_info_hash(what) {
        return Ok(magnet.hashes.names().collect());
    }
    Ok(source::load(what, egress)?.info.hashes().names().collect())
}

/// Runs a node until told to stop.
fn node(args: &DhtNodeArgs, context: &Context) -> Result<Exit, Failure> {
    let out = context.out;
    runtime()?.block_on(async {
        let mut signals = Signals::new()?;
        let session = join(&args.network, &context.loaded.settings, true)?;
        let dht = session.dht().ok_or_else(|| failed(DhtError::ShutDown))?;
        match out.json {
            true => out.object("dht_node", json!({ "port": session.port() }))?,
            false => out.line(format_args!("A node of the DHT on port {}", session.port()))?,
        }
        let status = tokio::select! {
            status = dht.wait_until(|status| status.is_joined()) => status.map_err(failed)?,
            () = signals.next() => {
                session.shutdown().await;
                return Ok(Exit::Interrupted);
            }
        };
        match out.json {
            true => {
                let id = |node: &Option<samara_engine::DhtNodeStatus>| {
                    node.as_ref().map(|node| node.id.to_string())
                };
                let (v4, v6) = (id(&status.v4), id(&status.v6));
                out.object(
                    "dht_joined",
                    json!({ "nodes": status.nodes(), "id_v4": v4, "id_v6": v6 }),
                )?;
            }
            false => out.line(format_args!("Joined; nodes known: {}", status.nodes()))?,
        }
        signals.next().await;
        session.shutdown().await;
        Ok(Exit::Interrupted)
    })
}
