//! `samara completions SHELL`.

use crate::args;
use crate::exit::{Exit, Failure};
use crate::output::Output;

/// Prints the completion script for `shell`.
pub(crate) fn run(shell: clap_complete::Shell, out: Output) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "samara", &mut script);
    out.bytes(&script)?;
    Ok(Exit::Done)
}
