//! What the commands that open a session have in common.

use crate::args::NetworkArgs;
use crate::exit::{Exit, Failure, said};
use crate::output::Output;
use crate::settings::{Settings, is_endpoint};
use samara_engine::wire::metainfo::Info;
use samara_engine::{
    AddError, Allocation, AlternativeLimits, Bind, DhtConfig, IpFilter, RateLimits, Session,
    SessionConfig, SessionError, Torrent, probe, read_ip_filter,
};
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

/// How long a proxy may take to let us in.
const PROXY_TIMEOUT: Duration = Duration::from_secs(10);

/// The port most clients listen on; another is taken if it is in use and none was asked for.
const USUAL_PORT: u16 = 6881;

/// What of the network may be used: what the command line says, else what the settings say.
pub(crate) fn bind<'a>(given: &'a [Bind], settings: &'a Settings) -> &'a [Bind] {
    if given.is_empty() { &settings.bind } else { given }
}

/// The addresses that a server listens on: those of `bind` as they are now, or those that mean all.
pub(crate) fn addresses(bind: &[Bind]) -> Result<Vec<IpAddr>, Failure> {
    if !bind.is_empty() {
        let found = Bind::addresses(bind);
        let names: Vec<_> = bind.iter().map(ToString::to_string).collect();
        return match found.is_empty() {
            true => {
                Err(Failure::new(Exit::Network, format!("{} has no address now", names.join(", ")))
                    .hint("ip address (Linux) or ipconfig shows which interfaces there are"))
            }
            false => Ok(found),
        };
    }
    let mut all = vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        all.push(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    }
    Ok(all)
}

/// Starts a session as the command line and the settings ask.
pub(crate) async fn start(
    args: &NetworkArgs,
    settings: &Settings,
    preallocate: bool,
    out: Output,
) -> Result<Session, Failure> {
    let egress = settings.egress(&args.bind);
    probe::check_proxy(&egress, PROXY_TIMEOUT).await.map_err(|error| {
        Failure::new(Exit::Network, error.to_string())
            .hint("check --proxy; nothing was sent beside it, and without it: --proxy none")
    })?;
    let asked = args.port.or(settings.port);
    let limits = RateLimits {
        down: args.limit_down.map_or(settings.limit_down, |limit| limit.0),
        up: args.limit_up.map_or(settings.limit_up, |limit| limit.0),
    };
    let config = SessionConfig {
        port: asked.unwrap_or(USUAL_PORT),
        bind: egress.bind,
        proxy: egress.proxy,
        proxy_udp: egress.proxy_udp,
        limits,
        alternative_limits: alternative(limits, settings)?,
        limit_local: settings.limit_local || args.limit_local,
        limit_overhead: settings.limit_overhead,
        max_peers: settings.max_peers,
        max_peers_per_torrent: settings.max_peers_per_torrent,
        max_half_open: settings.max_half_open,
        ip_filter: ip_filter(args, settings, out)?,
        encryption: args.encryption.unwrap_or(settings.encryption).policy(),
        shards: args.network_threads.unwrap_or(settings.network_threads),
        tcp: settings.tcp && !args.no_tcp,
        utp: settings.utp && !args.no_utp,
        local_discovery: settings.lsd && !args.no_lsd,
        port_mapping: settings.port_mapping && !args.no_port_mapping,
        state_dir: args.state_dir.clone().or_else(|| settings.state_dir.clone()),
        dht: dht(args, settings)?,
        allocation: if preallocate { Allocation::Full } else { Allocation::Sparse },
        ..SessionConfig::default()
    };
    samara_engine::raise_open_files_limit();
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
pub(crate) fn not_added(info: &Info, error: &AddError) -> Failure {
    Failure::new(Exit::Failed, format!("{}: {error}", info.name()))
}

/// The addresses of peers given as HOST:PORT.
pub(crate) async fn resolve(
    peers: &[String],
    settings: &Settings,
) -> Result<Vec<SocketAddr>, Failure> {
    let mut found = Vec::new();
    for peer in peers {
        found.extend(resolve_one(peer, settings).await?);
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

/// The limits at the hours of the schedule.
fn alternative(
    usual: RateLimits,
    settings: &Settings,
) -> Result<Option<AlternativeLimits>, Failure> {
    let Settings { alt_limit_down, alt_limit_up, alt_schedule, .. } = settings;
    let without = |which, other| {
        let failure = Failure::new(Exit::Usage, format!("the option `{which}` needs `{other}`"));
        Err(failure.hint("where they come from: samara config"))
    };
    match (alt_limit_down, alt_limit_up, alt_schedule) {
        (None, None, None) => Ok(None),
        (None, None, Some(_)) => without("alt-schedule", "alt-limit-down` or `alt-limit-up"),
        (_, _, None) => without("alt-limit-down` or `alt-limit-up", "alt-schedule"),
        (down, up, Some(hours)) => {
            let limits = RateLimits {
                down: down.map_or(usual.down, |limit| limit.0),
                up: up.map_or(usual.up, |limit| limit.0),
            };
            Ok(Some(AlternativeLimits { limits, schedule: hours.schedule() }))
        }
    }
}

/// What is in the lists of the command line, else of the settings. Says which of their lines make no sense.
fn ip_filter(args: &NetworkArgs, settings: &Settings, out: Output) -> Result<IpFilter, Failure> {
    let lists = [&args.ip_filter, &settings.ip_filter].into_iter().find(|lists| !lists.is_empty());
    let mut filters = Vec::new();
    for path in lists.into_iter().flatten() {
        let (filter, report) = read_ip_filter(path).map_err(|error| {
            let failure = Failure::new(Exit::Io, error.to_string());
            failure.hint("nothing was begun: without its lists, nobody would be kept away")
        })?;
        if report.bad > 0 || report.too_many > 0 {
            out.warn(format_args!("{}: {report}", path.display()));
        }
        tracing::info!(list = %path.display(), %report, "addresses are filtered");
        filters.push(filter);
    }
    Ok(IpFilter::union(&filters))
}

/// The addresses of HOST:PORT. With a proxy it has to be an address: to look a name up would tell others than the proxy.
pub(crate) async fn resolve_one(
    peer: &str,
    settings: &Settings,
) -> Result<Vec<SocketAddr>, Failure> {
    if !is_endpoint(peer) {
        return Err(no_endpoint(peer));
    }
    if settings.proxy.is_some() {
        return peer.parse().map(|addr| vec![addr]).map_err(|_| {
            Failure::new(
                Exit::Usage,
                format!("{peer} is a name, and with a proxy none is looked up here"),
            )
            .hint("give the peer's address, such as 192.0.2.7:6881")
        });
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
