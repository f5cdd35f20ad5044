//! The command line.

use crate::clients::Client;
use crate::units::{self, GIB, MIB};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Measures whole transfers by samara and by others against synthetic peers
#[derive(Debug, Parser)]
#[command(name = "samara-bench", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Transfers(TransfersArgs),
    Durability(DurabilityArgs),
    Merge(MergeArgs),
    Readme(ReadmeArgs),
}

/// Download, seed, check, create, many torrents: each client in turn, medians in a table
///
/// samara is built unless --samara names a binary; other clients take part where they are installed. The table goes to stdout, progress
/// to stderr. A transfer that ends unfinished or with wrong data fails the run.
#[derive(Debug, Clone, Args)]
pub(crate) struct TransfersArgs {
    /// Small and short, to see that everything works: 32 MiB, one round. The figures mean nothing
    #[arg(long)]
    pub(crate) quick: bool,
    /// Rounds, in each of which every client has its turn [default: 5, with --quick 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Payload of a transfer [default: 1GiB, with --quick 32MiB]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_size)]
    size: Option<u64>,
    /// Numbers of synthetic peers to try
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1,50", value_parser = clap::value_parser!(u8).range(1..=200))]
    pub(crate) peers: Vec<u8>,
    /// Torrents of the scenario with many small ones [default: 2000, with --quick 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=50_000))]
    torrents: Option<u32>,
    /// Clients that take part; those that are not installed are left out and named
    #[arg(
        long,
        value_name = "NAME,...",
        value_delimiter = ',',
        default_value = "samara,libtorrent,rqbit,aria2,mktorrent"
    )]
    pub(crate) clients: Vec<Client>,
    /// Only the scenarios whose names begin with one of these, such as download or seed-cold
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Name the scenarios and end
    #[arg(long)]
    pub(crate) list: bool,
    /// Write report.json, report.md and report.svg into this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// This binary of samara; otherwise `cargo build --release` makes one
    #[arg(long, value_name = "FILE")]
    pub(crate) samara: Option<PathBuf>,
    /// A Python that has libtorrent [default: the first that has it of python3 and the ones docs/testing.md makes]
    #[arg(long, value_name = "FILE")]
    pub(crate) python: Option<PathBuf>,
    /// This binary of rqbit [default: the one on the path]
    #[arg(long, value_name = "FILE")]
    pub(crate) rqbit: Option<PathBuf>,
    /// Make the temporary directory here: two to three times the payload
    #[arg(long, value_name = "DIR")]
    pub(crate) temp: Option<PathBuf>,
}

impl TransfersArgs {
    pub(crate) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 1 } else { 5 })
    }

    /// Bytes of payload.
    pub(crate) fn size(&self) -> u64 {
        self.size.unwrap_or(if self.quick { 32 * MIB } else { GIB })
    }

    pub(crate) fn torrents(&self) -> u32 {
        self.torrents.unwrap_or(if self.quick { 20 } else { 2000 })
    }
}

/// Download the same with everything synced and with nothing synced, in turns: what durability costs
///
/// Each turn is a download by samara's engine in this process from synthetic seeds. The table goes to stdout, progress to stderr.
#[derive(Debug, Clone, Args)]
pub(crate) struct DurabilityArgs {
    /// Small and short, to see that it works: 32 MiB, one round. The figures mean nothing
    #[arg(long)]
    pub(crate) quick: bool,
    /// Rounds, in each of which both have their turn [default: 7, with --quick 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Payload of a download [default: 1GiB, with --quick 32MiB]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_size)]
    size: Option<u64>,
    /// Make the temporary directory here, three times the payload: on the disk that is to be measured
    #[arg(long, value_name = "DIR")]
    pub(crate) temp: Option<PathBuf>,
}

impl DurabilityArgs {
    pub(crate) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 1 } else { 7 })
    }

    /// Bytes of payload.
    pub(crate) fn size(&self) -> u64 {
        self.size.unwrap_or(if self.quick { 32 * MIB } else { GIB })
    }
}

/// Put together what several runs on one machine with the same programs measured, and write the report anew
#[derive(Debug, Args)]
pub(crate) struct MergeArgs {
    /// report.json of each run, in the order the scenarios shall have
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Write report.json, report.md and report.svg into this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

/// Write README's performance table from a report
#[derive(Debug, Args)]
pub(crate) struct ReadmeArgs {
    /// A report.json
    #[arg(value_name = "FILE")]
    pub(crate) report: PathBuf,
    /// The file with the marked region
    #[arg(long, value_name = "FILE", default_value = "README.md")]
    pub(crate) readme: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }
}
