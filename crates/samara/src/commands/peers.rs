//! `samara peers`: whom the trackers name.

use super::{Context, runtime};
use crate::args::PeersArgs;
use crate::exit::{Exit, Failure};
use crate::output::clean;
use crate::source;
use crate::units;
use samara_engine::probe;
use serde_json::json;
use std::collections::BTreeSet;

/// Asks every tracker and prints the peers, each once.
pub(crate) fn run(args: &PeersArgs, context: &Context) -> Result<Exit, Failure> {
    let out = context.out;
    let metainfo = source::load(&args.source, &context.loaded.settings.egress(&[]))?;
    if metainfo.trackers.is_empty() {
        return Err(Failure::new(Exit::Network, "the torrent names no tracker"));
    }
    let egress = &context.loaded.settings.egress(&[]);
    let answers = runtime()?.block_on(probe::announce_all(&metainfo, egress, args.timeout));
    let mut seen = BTreeSet::new();
    let mut answered = 0u32;
    for (url, answer) in &answers {
        let url = clean(url);
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                if out.json {
                    out.object("tracker", json!({ "url": url, "error": error }))?;
                }
                out.warn(format_args!("{url}: {}", clean(error)));
                continue;
            }
        };
        answered += 1;
        if out.json {
            out.object(
                "tracker",
                json!({
                    "url": url,
                    "peers": answer.peers.len(),
                    "complete": answer.complete,
                    "incomplete": answer.incomplete,
                    "interval_s": answer.interval.as_secs(),
                    "warning": answer.warning,
                }),
            )?;
        } else {
            let known = |n: Option<u32>, one: &str, many: &str| match n {
                Some(n) => units::count(n.into(), one, many),
                None => format!("unknown {many}"),
            };
            out.note(format_args!(
                "{url}: {} named, of {} and {}",
                units::count(answer.peers.len() as u64, "peer", "peers"),
                known(answer.complete, "seed", "seeds"),
                known(answer.incomplete, "leech", "leeches"),
            ));
            if let Some(warning) = &answer.warning {
                out.warn(format_args!("{url}: {}", clean(warning)));
            }
        }
        for peer in &answer.peers {
            if !seen.insert(*peer) {
                continue;
            }
            if out.json {
                out.object("peer", json!({ "addr": peer.to_string(), "tracker": url }))?;
            } else {
                out.line(peer)?;
            }
        }
    }
    if answered == 0 {
        return Err(Failure::new(Exit::Network, "no tracker answered")
            .hint("check the network, or try again later"));
    }
    Ok(Exit::Done)
}
