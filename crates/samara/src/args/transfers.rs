//! Commands that move payload: `download`, `seed`, `share`, `demo`.

use super::{Encryption, examples};
use crate::settings;
use crate::units;
use clap::{Args, ValueHint};
use samara_engine::{Bind, MAX_SHARDS};
use std::path::PathBuf;
use std::time::Duration;

/// Options of commands that open a session.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Network options")]
pub(crate) struct NetworkArgs {
    /// Listen on this port, TCP and UDP; 0 lets the system choose [default: 6881, or any if it is taken]
    #[arg(long, value_name = "N")]
    pub(crate) port: Option<u16>,
    /// Listen on and connect from this address or network interface only; repeat for more
    #[arg(long, value_name = "ADDR|INTERFACE")]
    pub(crate) bind: Vec<Bind>,
    /// Connect to this peer at once; repeat for more
    #[arg(long = "peer", value_name = "HOST:PORT")]
    pub(crate) peers: Vec<String>,
    /// Find no peers by the DHT and take no part in it
    #[arg(long)]
    pub(crate) no_dht: bool,
    /// Join the DHT by this node, not by the public ones; repeat for more
    #[arg(long = "dht-node", value_name = "HOST:PORT", conflicts_with = "no_dht")]
    pub(crate) dht_nodes: Vec<String>,
    /// Receive at most this much a second, such as 500K or 10M
    #[arg(long, value_name = "RATE", value_parser = parse_limit)]
    pub(crate) limit_down: Option<Limit>,
    /// Send at most this much a second
    #[arg(long, value_name = "RATE", value_parser = parse_limit)]
    pub(crate) limit_up: Option<Limit>,
    /// Limit peers on the local network, too
    #[arg(long)]
    pub(crate) limit_local: bool,
    /// Have nothing to do with the addresses in this list (.dat, .p2p or CIDR, also gzipped); repeat for more. Trackers are
    /// not filtered
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) ip_filter: Vec<PathBuf>,
    /// Which connections are encrypted [default: prefer]
    #[arg(long, value_name = "WHEN")]
    pub(crate) encryption: Option<Encryption>,
    /// Speak with peers by TCP only, not by uTP
    #[arg(long, conflicts_with = "no_tcp")]
    pub(crate) no_utp: bool,
    /// Speak with peers by uTP only, not by TCP
    #[arg(long)]
    pub(crate) no_tcp: bool,
    /// Neither announce on the local network nor look for peers there
    #[arg(long)]
    pub(crate) no_lsd: bool,
    /// Do not ask the router to let peers connect to this machine
    #[arg(long)]
    pub(crate) no_port_mapping: bool,
    /// Serve connections with this many threads, each torrent on one of them [default: 1]
    #[arg(long, value_name = "N", value_parser = parse_threads)]
    pub(crate) network_threads: Option<usize>,
    /// Keep resume data in this directory
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) state_dir: Option<PathBuf>,
}

/// A rate limit as typed: bytes per second, `None` for unlimited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Limit(pub(crate) Option<u64>);

fn parse_limit(text: &str) -> Result<Limit, String> {
    units::parse_rate(text).map(Limit)
}

fn parse_threads(text: &str) -> Result<usize, String> {
    settings::number(text, MAX_SHARDS)
}

/// Download torrents, and continue downloads that were stopped
#[derive(Clone, Debug, Args)]
#[command(after_help = examples::DOWNLOAD.help_with(
    "Ends when everything wanted is here and verified, unless a seeding option asks for more. Data that is \
     already there is checked and kept; run the same command again to continue. Ctrl-C stops gracefully, a \
     second one at once."
))]
pub(crate) struct DownloadArgs {
    /// Torrents: a file, an http(s) URL, a magnet link, an info-hash, or - for stdin
    #[arg(value_name = "SRC", required = true, value_hint = ValueHint::FilePath)]
    pub(crate) sources: Vec<String>,
    /// Save into this directory [default: the current one]
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) output: Option<PathBuf>,
    /// Only these files: numbers as `samara info` shows them, or patterns such as '*.flac'
    #[arg(long, value_name = "GLOB|INDEX", value_delimiter = ',')]
    pub(crate) files: Vec<String>,
    /// Fetch pieces in order, to watch while it downloads
    #[arg(long)]
    pub(crate) sequential: bool,
    /// Reserve the whole space first
    #[arg(long)]
    pub(crate) preallocate: bool,
    /// Give up after this time, such as 90s or 2h30m; what is here is kept
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// When complete, seed until this much was sent for each byte of the torrent
    #[arg(long, value_name = "R", value_parser = units::parse_ratio, help_heading = "Seeding options")]
    pub(crate) seed_ratio: Option<f64>,
    /// When complete, seed for this long (with --seed-ratio: whichever comes first)
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration, help_heading = "Seeding options")]
    pub(crate) seed_time: Option<Duration>,
    /// End when complete, whatever the other options and samara.toml say
    #[arg(long, help_heading = "Seeding options")]
    pub(crate) no_seed: bool,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
}

/// Check data, then seed it until Ctrl-C
#[derive(Clone, Debug, Args)]
#[command(after_help = examples::SEED.help_with(
    "Seeding never downloads and never changes your files: when data is missing or does not match, the bad \
     files are listed and the exit code is 1. Data that was checked before and has not changed since is not \
     checked again."
))]
pub(crate) struct SeedArgs {
    /// Torrents: a file, a directory of such files, an http(s) URL, or - for stdin
    #[arg(value_name = "TORRENT", required = true, value_hint = ValueHint::FilePath)]
    pub(crate) sources: Vec<String>,
    /// The directory that holds the torrent's file or top directory
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) data: PathBuf,
    /// Check all data, even if it was checked before
    #[arg(long)]
    pub(crate) check: bool,
    /// Do not check the data first; a piece that turns out wrong is withdrawn
    #[arg(long, conflicts_with = "check")]
    pub(crate) trust: bool,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
}

/// Share files: creates a torrent, tracks and seeds it, and says what to type elsewhere
#[derive(Clone, Debug, Args)]
#[command(after_help = examples::SHARE.help())]
pub(crate) struct ShareArgs {
    /// Files and directories; one torrent is made of each
    #[arg(value_name = "PATH", required = true, value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    /// Also save the torrent: a file, or a directory for several
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub(crate) output: Option<PathBuf>,
    /// The address others reach this machine by [default: that of the main network interface]
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// The tracker's port; 0 lets the system choose [default: 6969, or any if it is taken]
    #[arg(long, value_name = "N")]
    pub(crate) tracker_port: Option<u16>,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
}

/// Run a tracker, HTTP and UDP on one port, until Ctrl-C
#[derive(Clone, Debug, Args)]
#[command(after_help = examples::TRACKER.help_with(
    "Answers announces and scrapes, IPv4 and IPv6; memory is bounded. A page at / says what is tracked.",
))]
pub(crate) struct TrackerArgs {
    /// Listen on this port, TCP and UDP; 0 lets the system choose
    #[arg(long, value_name = "N", default_value_t = 6969)]
    pub(crate) port: u16,
    /// Listen on this address only, or on those that this network interface has; repeat for more
    #[arg(long, value_name = "ADDR|INTERFACE")]
    pub(crate) bind: Vec<Bind>,
    /// Time between announces that peers are asked to keep
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration, default_value = "30m")]
    pub(crate) interval: Duration,
    /// Track this torrent only; repeat for more [default: any]
    #[arg(long, value_name = "INFO-HASH|TORRENT")]
    pub(crate) allow: Vec<String>,
}

/// A complete transfer on this machine: create, track, seed, download, verify
#[derive(Clone, Debug, Args)]
#[command(after_help = examples::DEMO.help_with("Needs no network and leaves nothing behind."))]
pub(crate) struct DemoArgs {
    /// How much to transfer
    #[arg(long, value_name = "SIZE", value_parser = units::parse_size, default_value = "256MiB")]
    pub(crate) size: u64,
    /// How many seeds to download from
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) seeds: u8,
    /// Keep the files in this directory instead of a temporary one
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) keep: Option<PathBuf>,
}
