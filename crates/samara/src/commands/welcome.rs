//! `samara` alone: the few commands most people need.

use crate::exit::{Exit, Failure};
use crate::output::Output;

/// Prints a few lines that get a newcomer started.
pub(crate) fn run(out: Output) -> Result<Exit, Failure> {
    let style = out.style;
    let entry = |line: &str, what: &str| format!("  {}{what}", style.cyan(format!("{line:<32}")));
    out.line(format_args!(
        "{} {}\n\n{}\n{}\n{}\n\n{}",
        style.bold("samara"),
        style.dim(concat!(env!("CARGO_PKG_VERSION"), " · a BitTorrent client and server")),
        entry("samara download FILE.torrent", "download, or continue a download"),
        entry("samara share PATH", "send files to somebody else"),
        entry("samara demo", "see a complete transfer on this machine"),
        style.dim("All commands: samara --help"),
    ))?;
    Ok(Exit::Done)
}
