//! `samara handshake`: who a peer is and what it can do.

use super::{Context, runtime, session};
use crate::args::HandshakeArgs;
use crate::exit::{Exit, Failure};
use crate::output::{Output, clean};
use crate::source;
use crate::units;
use samara_engine::probe::{self, HandshakeInfo};
use samara_engine::wire::metainfo::Metainfo;
use serde_json::json;
use std::net::SocketAddr;

/// Shakes hands and prints what was said.
pub(crate) fn run(args: &HandshakeArgs, context: &Context) -> Result<Exit, Failure> {
    let out = context.out;
    let metainfo = source::load(&args.source, &context.loaded.settings.egress(&[]))?;
    let hash = metainfo.info.hashes().wire();
    let (addr, mut said) = runtime()?.block_on(async {
        let mut last = None;
        for addr in session::resolve_one(&args.peer, &context.loaded.settings).await? {
            match probe::handshake(addr, hash, &context.loaded.settings.egress(&[]), args.timeout)
                .await
            {
                Ok(said) => return Ok((addr, said)),
                Err(e) => last = Some((addr, e)),
            }
        }
        Err(match last {
            Some((addr, e)) => Failure::new(Exit::Network, format!("{addr}: {e}"))
                .hint("the peer may be gone, or not have this torrent"),
            None => Failure::new(Exit::Network, format!("{} has no address", args.peer)),
        })
    })?;
    if said.has_all {
        said.pieces = Some(metainfo.info.layout().count());
    }
    if out.json {
        report_json(addr, &said, out)?;
    } else {
        report(addr, &said, &metainfo, out)?;
    }
    Ok(Exit::Done)
}

fn report(
    addr: SocketAddr,
    said: &HandshakeInfo,
    metainfo: &Metainfo,
    out: Output,
) -> Result<(), Failure> {
    let row = |label: &str, value: &str| {
        out.line(format_args!("{}  {}", out.style.dim(format!("{label:<10}")), clean(value)))
    };
    row("address", &addr.to_string())?;
    row("peer id", &said.peer_id.to_string())?;
    row("client", said.client.as_deref().unwrap_or("does not say"))?;
    row("protocol", &capabilities(said).join(", "))?;
    if !said.extensions.is_empty() {
        let names: Vec<_> = said.extensions.iter().map(|(name, _)| name.as_str()).collect();
        row("extensions", &names.join(", "))?;
    }
    if let Some(reqq) = said.reqq {
        row("queue", &units::count(reqq.into(), "request", "requests"))?;
    }
    if let Some(pieces) = said.pieces {
        let count = metainfo.info.layout().count();
        let percent = units::percent(pieces.into(), count.into());
        row("has", &format!("{pieces} of {count} pieces ({percent} %)"))?;
    }
    Ok(())
}

fn capabilities(said: &HandshakeInfo) -> Vec<&'static str> {
    let reserved = said.reserved;
    [
        (reserved.fast(), "fast"),
        (reserved.extended(), "extensions"),
        (reserved.dht(), "dht"),
        (reserved.v2(), "v2"),
    ]
    .into_iter()
    .filter_map(|(can, word)| can.then_some(word))
    .chain(["base"])
    .collect()
}

fn report_json(addr: SocketAddr, said: &HandshakeInfo, out: Output) -> Result<(), Failure> {
    let reserved: String = said.reserved.0.iter().map(|b| format!("{b:02x}")).collect();
    let id: String = said.peer_id.0.iter().map(|b| format!("{b:02x}")).collect();
    let extensions: serde_json::Map<_, _> =
        said.extensions.iter().map(|(name, id)| (name.clone(), json!(id))).collect();
    out.object(
        "handshake",
        json!({
            "addr": addr.to_string(),
            "peer_id": said.peer_id.to_string(),
            "peer_id_hex": id,
            "client": said.client,
            "reserved": reserved,
            "capabilities": capabilities(said),
            "extensions": extensions,
            "reqq": said.reqq,
            "pieces": said.pieces,
        }),
    )
}
