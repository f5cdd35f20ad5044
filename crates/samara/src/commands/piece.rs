//! `samara piece`: one verified piece.

use super::{Context, create, runtime, session};
use crate::args::PieceArgs;
use crate::exit::{Exit, Failure};
use crate::output::clean;
use crate::source;
use crate::units;
use samara_engine::probe;
use samara_engine::wire::id::PieceIndex;
use samara_engine::wire::metainfo::Metainfo;
use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

/// Fetches the piece and writes it.
pub(crate) fn run(args: &PieceArgs, context: &Context) -> Result<Exit, Failure> {
    let out = context.out;
    let egress = &context.loaded.settings.egress(&[]);
    let metainfo = source::load(&args.source, egress)?;
    let count = metainfo.info.layout().count();
    if args.index >= count {
        return Err(Failure::new(
            Exit::Usage,
            format!("there is no piece {}: the torrent has {count}, counted from 0", args.index),
        ));
    }
    let to_stdout = args.output == Path::new("-");
    if out.json && to_stdout {
        return Err(Failure::new(Exit::Usage, "--json and a piece cannot both go to stdout")
            .hint("write the piece to a file with -o FILE"));
    }
    let begun = Instant::now();
    let bytes = runtime()?.block_on(async {
        let peers = peers(args, context, &metainfo).await?;
        let left = args.timeout.saturating_sub(begun.elapsed());
        let fetched =
            probe::fetch_piece(&peers, &metainfo.info, PieceIndex(args.index), egress, left).await;
        fetched.map_err(|e| {
            Failure::new(
                Exit::Network,
                format!("piece {} was not had from {}: {e}", args.index, named(&peers)),
            )
        })
    })?;
    if to_stdout {
        out.bytes(&bytes)?;
    } else {
        create::write(&args.output, &bytes, true)?;
    }
    if out.json {
        out.object(
            "piece",
            json!({ "index": args.index, "length": bytes.len(), "path": args.output }),
        )?;
    }
    out.note(format_args!(
        "{} piece {}, verified: {} in {}",
        out.err_style.green("✓"),
        args.index,
        units::size(bytes.len() as u64),
        units::duration(begun.elapsed()),
    ));
    Ok(Exit::Done)
}

fn named(peers: &[SocketAddr]) -> String {
    units::count(peers.len() as u64, "peer", "peers")
}

/// The peers named, or else those that the trackers name.
async fn peers(
    args: &PieceArgs,
    context: &Context,
    metainfo: &Metainfo,
) -> Result<Vec<SocketAddr>, Failure> {
    if !args.peers.is_empty() {
        return session::resolve(&args.peers, &context.loaded.settings).await;
    }
    if metainfo.trackers.is_empty() {
        return Err(Failure::new(Exit::Network, "the torrent names no tracker")
            .hint("name a peer with --peer"));
    }
    let egress = &context.loaded.settings.egress(&[]);
    let mut found = Vec::new();
    for (url, answer) in probe::announce_all(metainfo, egress, args.timeout / 2).await {
        match answer {
            Ok(answer) => found.extend(answer.peers),
            Err(error) => context.out.warn(format_args!("{}: {}", clean(&url), clean(&error))),
        }
    }
    found.sort_unstable();
    found.dedup();
    if found.is_empty() {
        return Err(
            Failure::new(Exit::Network, "the trackers name no peer").hint("name one with --peer")
        );
    }
    Ok(found)
}
