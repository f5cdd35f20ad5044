//! The `samara` command: a BitTorrent client and server for the command line.

mod args;
mod commands;
mod exit;
mod logging;
mod output;
mod progress;
mod selection;
mod settings;
mod signals;
mod source;
mod suggest;
mod units;

use args::{Cli, ColorWhen};
use clap::{ColorChoice, FromArgMatches};
use exit::{Exit, Failure};
use output::Output;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody is left to tell if the stream is closed.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
    };
    let early = Output::new(&cli.global, cli.global.color.unwrap_or_default());
    // Variables that are not text cannot be ours.
    let env = std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    let ended = settings::load(cli.global.config.as_deref(), env)
        .and_then(|loaded| run(cli, loaded))
        .unwrap_or_else(|failure| {
            early.failure(&failure);
            failure.exit
        });
    ended.into()
}

fn run(cli: Cli, mut loaded: settings::Loaded) -> Result<Exit, Failure> {
    if let Some(proxy) = cli.global.proxy.clone() {
        loaded.settings.proxy = proxy.0;
    }
    let out = Output::new(&cli.global, cli.global.color.unwrap_or(loaded.settings.color));
    logging::start(cli.global.verbose, out.err_style.is_on());
    for warning in &loaded.warnings {
        out.warn(warning);
    }
    let ended = match cli.command {
        Some(command) => commands::run(command, commands::Context { out, loaded }),
        None => commands::welcome::run(out),
    };
    // Told here and not by the caller: the settings may have changed the colours.
    Ok(ended.unwrap_or_else(|failure| {
        out.failure(&failure);
        failure.exit
    }))
}

fn parse() -> Result<Cli, clap::Error> {
    let command = args::command().color(early_color());
    Cli::from_arg_matches(&command.try_get_matches()?)
}

/// Help and usage errors are printed before the arguments are parsed, in the colours they ask for.
fn early_color() -> ColorChoice {
    let args: Vec<_> = std::env::args_os()
        .map(|arg| arg.to_string_lossy().into_owned())
        .take_while(|arg| arg != "--")
        .collect();
    let asked = args.iter().enumerate().find_map(|(i, arg)| match arg.strip_prefix("--color") {
        Some("") => args.get(i + 1).map(String::as_str),
        Some(rest) => rest.strip_prefix('='),
        None => None,
    });
    match asked.and_then(|word| <ColorWhen as clap::ValueEnum>::from_str(word, true).ok()) {
        Some(ColorWhen::Always) => ColorChoice::Always,
        Some(ColorWhen::Never) => ColorChoice::Never,
        _ => ColorChoice::Auto,
    }
}
