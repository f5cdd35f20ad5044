//! `samara-sim`: the swarm laboratory. Whole swarms of real torrents in virtual time, from a seed.
//!
//! Exit codes: 0 if all that must hold held, 1 if something did not, 2 if the command line is wrong.
#![forbid(unsafe_code)]

mod cli;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::Cli::try_parse() {
        Ok(cli) => cli::run(cli.command),
        Err(error) => {
            // Nobody is left to tell if the stream is closed.
            let _ = error.print();
            if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS }
        }
    }
}
