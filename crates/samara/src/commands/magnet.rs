//! `samara magnet`: the link to a torrent.

use crate::args::MagnetArgs;
use crate::exit::{Exit, Failure};
use crate::output::{Output, clean};
use crate::source;
use samara_engine::wire::magnet::Magnet;
use samara_engine::wire::metainfo::Metainfo;
use serde_json::json;

/// Prints the link.
pub(crate) fn run(args: &MagnetArgs, out: Output) -> Result<Exit, Failure> {
    let metainfo = source::load(&args.source)?;
    let link = link(&metainfo, args.bare);
    if out.json {
        out.object("magnet", json!({ "name": metainfo.info.name(), "link": link }))?;
    } else {
        out.line(clean(&link))?;
    }
    Ok(Exit::Done)
}

/// The link, with trackers and web seeds unless `bare`.
pub(crate) fn link(metainfo: &Metainfo, bare: bool) -> String {
    let mut magnet = Magnet::of(metainfo);
    if bare {
        magnet.trackers.clear();
        magnet.web_seeds.clear();
    }
    magnet.to_string()
}
