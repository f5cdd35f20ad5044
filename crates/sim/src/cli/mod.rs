//! The commands.

mod page;
mod swarm;

use clap::{Args, Parser, Subcommand, ValueEnum};
use samara_sim::{Behaviour, Discovery, Plan, Scenario, Transport};
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;

/// The swarm laboratory: whole swarms in virtual time, from a seed.
#[derive(Debug, Parser)]
#[command(name = "samara-sim", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a swarm and print its figures
    Swarm(SwarmArgs),
    /// List the scenarios and the kinds of adversaries
    List,
    /// Run the swarms of docs/swarm.md and print their tables
    Page {
        /// Write the pictures into this directory
        #[arg(long, value_name = "DIR")]
        pictures: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SwarmArgs {
    /// Which swarm; `samara-sim list` names them
    #[arg(long, default_value = "equal", value_parser = scenario)]
    scenario: Scenario,
    /// Honest leeches
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    peers: u32,
    /// Seeds everything random: the same seed gives the same run
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Run all seeds from A to below B, and print the worst and a summary
    #[arg(long, value_name = "A..B", value_parser = seeds, conflicts_with = "seed")]
    seeds: Option<Range<u64>>,
    /// Size of the torrent
    #[arg(long, default_value_t = 64, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=65_536))]
    size: u64,
    /// Size of a piece, a power of two
    #[arg(long, default_value_t = 256, value_name = "KIB", value_parser = piece)]
    piece: u32,
    /// Only adversaries of this kind
    #[arg(long, value_name = "KIND", value_parser = adversary)]
    adversary: Option<Behaviour>,
    /// What connections are
    #[arg(long, value_enum, default_value_t = Carrier::Flows)]
    transport: Carrier,
    /// How peers find each other
    #[arg(long, value_enum, default_value_t = Finder::Tracker)]
    discovery: Finder,
    /// Run each seed twice and compare
    #[arg(long)]
    twice: bool,
    /// Print one line of JSON
    #[arg(long, conflicts_with = "seeds")]
    json: bool,
    /// Write a picture
    #[arg(long, value_name = "FILE", conflicts_with = "seeds")]
    svg: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Carrier {
    /// Flows: an event for a block, for many peers
    Flows,
    /// Real uTP connections whose packets cross, for some tens of peers
    Utp,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Finder {
    /// A tracker
    Tracker,
    /// A DHT of real nodes, liars among them
    Dht,
}

impl SwarmArgs {
    const fn plan(&self, seed: u64) -> Plan {
        Plan {
            scenario: self.scenario,
            peers: self.peers,
            seed,
            total_len: self.size << 20,
            piece_len: self.piece << 10,
            adversary: self.adversary,
            transport: match self.transport {
                Carrier::Flows => Transport::Flows,
                Carrier::Utp => Transport::Utp,
            },
            discovery: match self.discovery {
                Finder::Tracker => Discovery::Tracker,
                Finder::Dht => Discovery::Dht,
            },
        }
    }
}

pub(crate) fn run(command: Command) -> ExitCode {
    match command {
        Command::Swarm(args) => swarm::run(&args),
        Command::List => {
            print!("{}", list());
            ExitCode::SUCCESS
        }
        Command::Page { pictures } => page::run(pictures.as_deref()),
    }
}

fn list() -> String {
    let scenarios =
        Scenario::ALL.map(|scenario| format!("  {:<16}{}\n", scenario.name(), scenario.about()));
    let kinds = Behaviour::ADVERSARIES.map(|kind| format!("  {}\n", slug(kind)));
    format!("Scenarios\n{}\nAdversaries\n{}", scenarios.concat(), kinds.concat())
}

fn slug(kind: Behaviour) -> String {
    kind.name().to_lowercase().replace(' ', "-")
}

fn scenario(text: &str) -> Result<Scenario, String> {
    Scenario::by_name(text).ok_or_else(|| {
        let names = Scenario::ALL.map(Scenario::name).join(", ");
        format!("no such scenario; there are {names}")
    })
}

fn adversary(text: &str) -> Result<Behaviour, String> {
    let kinds = Behaviour::ADVERSARIES;
    kinds.into_iter().find(|kind| slug(*kind) == text).ok_or_else(|| {
        let names = kinds.map(slug).join(", ");
        format!("no such kind; there are {names}")
    })
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let wrong = || "write for example 0..1000".to_owned();
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    let range = from.parse().map_err(|_| wrong())?..to.parse().map_err(|_| wrong())?;
    if range.is_empty() { Err(wrong()) } else { Ok(range) }
}

fn piece(text: &str) -> Result<u32, String> {
    let kib: u32 = text.parse().map_err(|_| "a number of KiB".to_owned())?;
    if kib.is_power_of_two() && (16..=65_536).contains(&kib) {
        Ok(kib)
    } else {
        Err("a power of two from 16 to 65536".to_owned())
    }
}
