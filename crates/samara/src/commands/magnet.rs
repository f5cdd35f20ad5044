//! `samara magnet`: the link to a torrent. The way back, `magnet resolve`, is [`super::resolve`].

use super::{Context, resolve};
use crate::args::{MagnetArgs, MagnetCommand};
use crate::exit::{Exit, Failure};
use crate::output::clean;
use crate::source;
use samara_engine::wire::magnet::Magnet;
use samara_engine::wire::metainfo::Metainfo;
use serde_json::json;

/// Prints the link, or resolves one.
pub(crate) fn run(args: &MagnetArgs, context: &Context) -> Result<Exit, Failure> {
    if let Some(MagnetCommand::Resolve(args)) = &args.command {
        return resolve::run(args, context);
    }
    let out = context.out;
    // The definition requires it where there is no subcommand.
    let metainfo = source::load(
        args.source.as_deref().unwrap_or_default(),
        &context.loaded.settings.egress(&[]),
    )?;
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
