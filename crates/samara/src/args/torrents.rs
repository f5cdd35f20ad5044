//! Commands about torrent files, single questions to the network, and the program itself.

use super::{NetworkArgs, examples};
use crate::units;
use clap::{Args, Subcommand, ValueHint};
use std::path::PathBuf;
use std::time::Duration;

/// Create a torrent of a file or directory
#[derive(Clone, Debug, Args)]
#[command(after_help = examples::CREATE.help())]
pub(crate) struct CreateArgs {
    /// The file or directory
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) path: PathBuf,
    /// Write the torrent here; - for stdout
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: PathBuf,
    /// Replace FILE if it exists
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Version 1, which every client reads (the default)
    #[arg(long, group = "kind", help_heading = "Torrent options")]
    pub(crate) v1: bool,
    /// Version 2: SHA-256, each file with its own hash tree
    #[arg(long, group = "kind", help_heading = "Torrent options")]
    pub(crate) v2: bool,
    /// Both in one, for old and new clients
    #[arg(long, group = "kind", help_heading = "Torrent options")]
    pub(crate) hybrid: bool,
    /// Bytes in a piece, a power of two from 16K [default: chosen by the total size]
    #[arg(long, value_name = "N", value_parser = units::parse_size, help_heading = "Torrent options")]
    pub(crate) piece_size: Option<u64>,
    /// Announce to this tracker; repeat for more, each in a tier of its own
    #[arg(long = "tracker", value_name = "URL", help_heading = "Torrent options")]
    pub(crate) trackers: Vec<String>,
    /// The data is also on this web server; repeat for more
    #[arg(long = "web-seed", value_name = "URL", help_heading = "Torrent options")]
    pub(crate) web_seeds: Vec<String>,
    /// Peers only from the trackers (BEP 27)
    #[arg(long, help_heading = "Torrent options")]
    pub(crate) private: bool,
    /// Mark the torrent as a tracker's own, which changes the info-hash
    #[arg(long, value_name = "S", help_heading = "Torrent options")]
    pub(crate) source: Option<String>,
    /// A comment for whoever opens it
    #[arg(long, value_name = "C", help_heading = "Torrent options")]
    pub(crate) comment: Option<String>,
    /// A name other than that of PATH
    #[arg(long, value_name = "NAME", help_heading = "Torrent options")]
    pub(crate) name: Option<String>,
    /// Leave the creation date out, so that the same data gives the same bytes
    #[arg(long, help_heading = "Torrent options")]
    pub(crate) no_date: bool,
}

/// Show what is in a torrent
#[derive(Clone, Debug, Args)]
#[command(after_help = examples::INFO.help())]
pub(crate) struct InfoArgs {
    /// The torrent: a file, an http(s) URL, or - for stdin
    #[arg(value_name = "SRC", value_hint = ValueHint::FilePath)]
    pub(crate) source: String,
    /// List every file, however many
    #[arg(short, long)]
    pub(crate) all: bool,
}

/// Print the magnet link of a torrent, or fetch the torrent of a link
#[derive(Clone, Debug, Args)]
#[command(
    after_help = examples::MAGNET.help(),
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true
)]
pub(crate) struct MagnetArgs {
    /// The torrent: a file, an http(s) URL, or - for stdin
    #[arg(value_name = "TORRENT", required = true, value_hint = ValueHint::FilePath)]
    pub(crate) source: Option<String>,
    /// Leave trackers and web seeds out
    #[arg(long)]
    pub(crate) bare: bool,
    #[command(subcommand)]
    pub(crate) command: Option<MagnetCommand>,
}

/// What else `magnet` does.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum MagnetCommand {
    Resolve(ResolveArgs),
}

/// Fetch the torrent that a magnet link or an info-hash names, from peers
#[derive(Clone, Debug, Args)]
#[command(after_help = "What was fetched is kept in the state directory and is not fetched again.")]
pub(crate) struct ResolveArgs {
    /// The link, in single quotes, or an info-hash
    #[arg(value_name = "LINK")]
    pub(crate) link: String,
    /// Write the torrent to this file, - for stdout
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: PathBuf,
    /// Replace FILE if it exists
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Give up after this time, such as 90s or 2h30m [default: 10m]
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration)]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
}

/// Check data against a torrent
#[derive(Clone, Debug, Args)]
#[command(after_help = examples::VERIFY.help_with(
    "Exit code 0 if every piece matches; otherwise 1, with the bad files and pieces on stdout. Nothing is changed."
))]
pub(crate) struct VerifyArgs {
    /// The torrent: a file, an http(s) URL, or - for stdin
    #[arg(value_name = "TORRENT", value_hint = ValueHint::FilePath)]
    pub(crate) source: String,
    /// The directory that holds the torrent's file or top directory
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) data: PathBuf,
}

/// Print bencode as JSON
#[derive(Clone, Debug, Args)]
#[command(after_help = examples::DECODE.help_with(
    "Strings of readable UTF-8 become JSON strings. Others become {\"$hex\": \"...\"}; those longer than 64 bytes \
     are cut to their beginning and gain \"$len\", unless --full or --json is given. Keys that are not readable \
     become \"$hex:...\"."
))]
pub(crate) struct DecodeArgs {
    /// The file; - for stdin
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: String,
    /// Print long binary strings in full
    #[arg(long)]
    pub(crate) full: bool,
    /// Take what strict bencode forbids but torrents in the wild contain, such as unsorted keys
    #[arg(long)]
    pub(crate) lenient: bool,
}

/// Ask the trackers for peers, one address a line
#[derive(Clone, Debug, Args)]
#[command(after_help = examples::PEERS.help())]
pub(crate) struct PeersArgs {
    /// The torrent: a file, an http(s) URL, or - for stdin
    #[arg(value_name = "SRC", value_hint = ValueHint::FilePath)]
    pub(crate) source: String,
    /// Wait this long for an answer
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration, default_value = "15s")]
    pub(crate) timeout: Duration,
}

/// Ask the trackers how many seeds and leeches they know, one line a tracker and torrent
#[derive(Clone, Debug, Args)]
#[command(after_help = examples::SCRAPE.help_with(
    "Nothing is announced, so that nobody learns of you but the trackers. Exit code 3 if no tracker answers."
))]
pub(crate) struct ScrapeArgs {
    /// Torrents: a file, an http(s) URL, a magnet link, an info-hash, or - for stdin
    #[arg(value_name = "SRC", required = true, value_hint = ValueHint::FilePath)]
    pub(crate) sources: Vec<String>,
    /// Ask this tracker, and not those that the torrents name; repeat for more
    #[arg(long = "tracker", value_name = "URL")]
    pub(crate) trackers: Vec<String>,
    /// Wait this long for an answer
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration, default_value = "15s")]
    pub(crate) timeout: Duration,
}

/// Shake hands with a peer: its id, client and extensions
#[derive(Clone, Debug, Args)]
#[command(after_help = examples::HANDSHAKE.help())]
pub(crate) struct HandshakeArgs {
    /// The torrent: a file, an http(s) URL, or - for stdin
    #[arg(value_name = "SRC", value_hint = ValueHint::FilePath)]
    pub(crate) source: String,
    /// The peer
    #[arg(value_name = "HOST:PORT")]
    pub(crate) peer: String,
    /// Wait this long
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration, default_value = "10s")]
    pub(crate) timeout: Duration,
}

/// Fetch and verify one piece
#[derive(Clone, Debug, Args)]
#[command(after_help = examples::PIECE.help())]
pub(crate) struct PieceArgs {
    /// The torrent: a file, an http(s) URL, or - for stdin
    #[arg(value_name = "SRC", value_hint = ValueHint::FilePath)]
    pub(crate) source: String,
    /// The piece, counted from 0
    #[arg(value_name = "INDEX")]
    pub(crate) index: u32,
    /// Write the piece here; - for stdout
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: PathBuf,
    /// Fetch from this peer and ask no tracker; repeat for more
    #[arg(long = "peer", value_name = "HOST:PORT")]
    pub(crate) peers: Vec<String>,
    /// Give up after this time
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration, default_value = "60s")]
    pub(crate) timeout: Duration,
}

/// Show every option that samara.toml and SAMARA_* set, and where its value comes from
#[derive(Clone, Debug, Args)]
#[command(after_help = examples::CONFIG.help())]
pub(crate) struct ConfigArgs {
    /// Print a commented samara.toml to begin with
    #[arg(long)]
    pub(crate) template: bool,
}

/// Print the manual page
#[derive(Clone, Debug, Args)]
#[command(after_help = examples::MAN.help())]
pub(crate) struct ManArgs {
    /// The page of one command instead of the program's
    #[arg(value_name = "COMMAND")]
    pub(crate) command: Option<String>,
    /// Write all pages into this directory
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "command")]
    pub(crate) dir: Option<PathBuf>,
}
