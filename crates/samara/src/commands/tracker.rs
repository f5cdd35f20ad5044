//! `samara tracker`: a small tracker by itself.

use super::{Context, runtime, session};
use crate::args::TrackerArgs;
use crate::exit::{Exit, Failure, said};
use crate::signals::Signals;
use crate::source;
use samara_engine::Egress;
use samara_engine::tracker_server::{TrackerServer, TrackerServerConfig};
use samara_engine::wire::id::WireHash;
use samara_engine::wire::magnet::Magnet;
use serde_json::json;
use std::net::SocketAddr;

/// Tracks until told to stop.
pub(crate) fn run(args: &TrackerArgs, context: &Context) -> Result<Exit, Failure> {
    let (out, settings) = (context.out, &context.loaded.settings);
    let chosen = session::bind(&args.bind, settings);
    let bind = session::addresses(chosen)?;
    let mut allow = Vec::new();
    for what in &args.allow {
        allow.extend(names_of(what, &settings.egress(&args.bind))?);
    }
    let config = TrackerServerConfig {
        bind: bind.iter().map(|&ip| SocketAddr::new(ip, args.port)).collect(),
        interval: args.interval,
        allow,
        files: Vec::new(),
    };
    runtime()?.block_on(async {
        // Before anything is said, so that whoever reads it can already stop us in an orderly way.
        let mut signals = Signals::new()?;
        let tracker = TrackerServer::start(config).map_err(|e| not_started(args.port, &e))?;
        let port = tracker.port();
        if out.json {
            out.object("tracking", json!({ "port": port }))?;
        } else {
            let style = out.style;
            for scheme in ["http", "udp"] {
                let url = format!("{scheme}://HOST:{port}/announce");
                out.line(format_args!("{}", style.cyan(url)))?;
            }
            out.note(
                out.err_style
                    .dim("Tracking until Ctrl-C; HOST is a name or address of this machine."),
            );
        }
        signals.next().await;
        tracker.shutdown();
        Ok(Exit::Interrupted)
    })
}

/// The names under which peers announce the torrent that `what` is: an info-hash, or a torrent file.
fn names_of(what: &str, egress: &Egress) -> Result<Vec<WireHash>, Failure> {
    if let Ok(magnet) = Magnet::from_info_hash(what) {
        return Ok(magnet.hashes.names().collect());
    }
    Ok(source::load(what, egress)?.info.hashes().names().collect())
}

fn not_started(port: u16, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Network, format!("cannot track on port {port}: {}", said(error)))
        .hint("choose another port with --port, or 0 to let the system choose")
}
