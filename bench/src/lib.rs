//! Whole transfers, measured: samara's own release binary and, where installed, libtorrent, rqbit, aria2 and mktorrent do the same work
//! in turns, and what each of them spends is compared.
//!
//! The other ends of the transfers are synthetic peers ([`peers`]) that cost next to nothing, so that the client under test is what is
//! measured. A run goes through [`scenarios`] in rounds; in each round every client has its turn, so that a machine that becomes slower
//! does so for all of them. Nothing counts that was not verified: a wrong or unfinished transfer fails the run.
//!
//! | module | does |
//! | --- | --- |
//! | [`args`] | the command line |
//! | [`network`] | a network namespace of our own, since some clients refuse peers at 127.0.0.1 |
//! | [`clients`] | which programs there are, and every option they are run with |
//! | [`payload`] | data, torrents of it, and the comparison of what came out |
//! | [`peers`] | synthetic seeds and leeches, a tracker, an auditor |
//! | [`process`] | runs one program and takes its CPU time and memory from /proc |
//! | [`scenarios`] | what is measured, and how |
//! | [`durability`] | what it costs that a download survives a power failure |
//! | [`report`] | JSON, Markdown, a picture, README's table |
#![cfg(target_os = "linux")]

mod args;
mod clients;
mod durability;
mod interrupt;
mod memory;
mod network;
mod payload;
mod peers;
mod process;
mod report;
mod run;
mod scenarios;
mod units;

use clap::Parser;
use std::process::ExitCode;

/// The program: 0 if everything was measured and right, 1 if not, 130 after Ctrl-C.
#[must_use]
pub fn main() -> ExitCode {
    let done = match args::Cli::parse().command {
        args::Command::Transfers(args) => run::transfers(&args),
        args::Command::Durability(args) => durability::run(&args),
        args::Command::Merge(args) => run::merge(&args),
        args::Command::Readme(args) => run::readme(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if interrupt::requested() => {
            eprintln!("samara-bench: {error:#}");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("samara-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
