//! `dht`: questions to the DHT, and a node of one's own.

use super::examples;
use crate::units;
use clap::{ArgGroup, Args, Subcommand, ValueHint};
use samara_engine::Bind;
use std::path::PathBuf;
use std::time::Duration;

/// Get and put items of the DHT, look for peers in it, run a node
#[derive(Clone, Debug, Args)]
#[command(after_help = examples::DHT.help(), disable_help_subcommand = true)]
pub(crate) struct DhtArgs {
    #[command(subcommand)]
    pub(crate) command: DhtCommand,
}

/// What `dht` does.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DhtCommand {
    Get(DhtGetArgs),
    Put(DhtPutArgs),
    Peers(DhtPeersArgs),
    Node(DhtNodeArgs),
    Keygen(DhtKeygenArgs),
}

/// How the DHT is reached.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Network options")]
pub(crate) struct DhtNetworkArgs {
    /// Join by this node alone, neither by the public ones nor by those of earlier runs; repeat for more
    #[arg(long = "dht-node", value_name = "HOST:PORT")]
    pub(crate) nodes: Vec<String>,
    /// Listen on this port, TCP and UDP; 0 lets the system choose
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) port: u16,
    /// Listen on and ask from this address or network interface only; repeat for more
    #[arg(long, value_name = "ADDR|INTERFACE")]
    pub(crate) bind: Vec<Bind>,
}

/// Print what is stored at a target or under a key (BEP 44)
#[derive(Clone, Debug, Args)]
#[command(
    group(ArgGroup::new("what").required(true).args(["target", "key"])),
    after_help = "A string of readable text is printed as it is, anything else as JSON (see samara decode). Hash or signature \
                  are checked. Exit code 1 if nothing is stored there."
)]
pub(crate) struct DhtGetArgs {
    /// Where the item is stored: 40 hexadecimal digits
    #[arg(value_name = "TARGET")]
    pub(crate) target: Option<String>,
    /// Who signs the item: 64 hexadecimal digits
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Tells apart the items of one key
    #[arg(long, value_name = "S", default_value = "", hide_default_value = true)]
    pub(crate) salt: String,
    /// Print the value as it is stored, bencoded
    #[arg(long)]
    pub(crate) raw: bool,
    /// Give up after this time
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration, default_value = "60s")]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) network: DhtNetworkArgs,
}

/// Store an item in the DHT (BEP 44) and print its target
#[derive(Clone, Debug, Args)]
#[command(
    group(ArgGroup::new("what").required(true).args(["value", "file", "torrent"])),
    after_help = "Without --key-file the item can never be changed, and its target is the hash of its value. With it the item is signed, \
                  and can be replaced by who has the key. Nodes forget an item after two hours or so unless it is put again."
)]
pub(crate) struct DhtPutArgs {
    /// The text to store
    #[arg(value_name = "VALUE")]
    pub(crate) value: Option<String>,
    /// Store the bytes of this file, - for stdin
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<String>,
    /// Point to this torrent, for links that follow the key (BEP 46): a file, or an info-hash
    #[arg(long, value_name = "TORRENT", requires = "key_file", value_hint = ValueHint::FilePath)]
    pub(crate) torrent: Option<String>,
    /// Sign with the key in this file (samara dht keygen)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) key_file: Option<PathBuf>,
    /// Tells apart the items of one key
    #[arg(
        long,
        value_name = "S",
        requires = "key_file",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) salt: String,
    /// The number of this version [default: one more than what is stored]
    #[arg(long, value_name = "N", requires = "key_file", value_parser = clap::value_parser!(i64).range(0..))]
    pub(crate) seq: Option<i64>,
    /// Store it only where the stored version has this number
    #[arg(long, value_name = "N", requires = "key_file", value_parser = clap::value_parser!(i64).range(0..))]
    pub(crate) cas: Option<i64>,
    /// Give up after this time
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration, default_value = "60s")]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) network: DhtNetworkArgs,
}

/// Print the peers that are announced for a torrent, one address a line
#[derive(Clone, Debug, Args)]
#[command(after_help = "Nothing is announced. Exit code 1 if there is no peer.")]
pub(crate) struct DhtPeersArgs {
    /// The info-hash, or a torrent file
    #[arg(value_name = "HASH|TORRENT")]
    pub(crate) torrent: String,
    /// Give up after this time
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration, default_value = "60s")]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) network: DhtNetworkArgs,
}

/// Run a node until Ctrl-C, by which others can join; without --dht-node the first of a DHT of your own
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "It never asks the public nodes and keeps nothing. Says when it has joined."
)]
pub(crate) struct DhtNodeArgs {
    #[command(flatten)]
    pub(crate) network: DhtNetworkArgs,
}

/// Make a key to sign items with, and print its public half
#[derive(Clone, Debug, Args)]
#[command(after_help = "Whoever reads the file can sign in your name; only you may read it.")]
pub(crate) struct DhtKeygenArgs {
    /// Write the secret key to this file, which must not exist
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: PathBuf,
}
