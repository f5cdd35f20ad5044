//! The command line, defined once: parser, help, completions and man page all come from these types.

mod dht;
mod examples;
mod overview;
mod torrents;
mod transfers;

pub(crate) use dht::{
    DhtArgs, DhtCommand, DhtGetArgs, DhtNetworkArgs, DhtNodeArgs, DhtPeersArgs, DhtPutArgs,
};
pub(crate) use overview::command;
pub(crate) use torrents::{
    ConfigArgs, CreateArgs, DecodeArgs, HandshakeArgs, InfoArgs, MagnetArgs, MagnetCommand,
    ManArgs, PeersArgs, PieceArgs, ResolveArgs, ScrapeArgs, VerifyArgs,
};
pub(crate) use transfers::{
    DemoArgs, DownloadArgs, Limit, NetworkArgs, SeedArgs, ShareArgs, TrackerArgs,
};

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};
use samara_engine::wire::mse::Policy;
use samara_engine::wire::proxy::{ProxyUrl, ProxyUrlError};
use std::path::PathBuf;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// A BitTorrent client and server.
#[derive(Debug, Parser)]
#[command(name = "samara", version, styles = STYLES, max_term_width = 100)]
#[command(subcommand_required = false, disable_help_subcommand = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Print results as JSON, one object a line (docs/json.md)
    #[arg(long, global = true, display_order = 900)]
    pub(crate) json: bool,
    /// No progress and no summary: results and errors only
    #[arg(short, long, global = true, display_order = 901)]
    pub(crate) quiet: bool,
    /// Log what happens on stderr; repeat for more
    #[arg(short, long, global = true, action = clap::ArgAction::Count, display_order = 902)]
    pub(crate) verbose: u8,
    /// Send everything through this proxy and nothing beside it, such as socks5://HOST:PORT; none: no proxy
    #[arg(long, global = true, value_name = "URL", value_parser = parse_proxy, display_order = 899)]
    pub(crate) proxy: Option<ProxyChoice>,
    /// Colours; auto follows the terminal and NO_COLOR
    #[arg(
        long,
        global = true,
        value_name = "auto|always|never",
        value_enum,
        hide_possible_values = true,
        display_order = 903
    )]
    pub(crate) color: Option<ColorWhen>,
    /// Read options from this file, not from the user's samara.toml
    #[arg(long, global = true, value_name = "FILE", display_order = 904, value_hint = clap::ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
}

/// A proxy as typed; `None` for none, whatever the settings say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ProxyChoice(pub(crate) Option<ProxyUrl>);

/// A proxy's URL, or `none`.
pub(crate) fn parse_proxy(text: &str) -> Result<ProxyChoice, String> {
    if text == "none" {
        return Ok(ProxyChoice(None));
    }
    text.parse().map(|url| ProxyChoice(Some(url))).map_err(|error: ProxyUrlError| error.to_string())
}

/// When to use colours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(crate) enum ColorWhen {
    /// In a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Even into files and pipes.
    Always,
    /// Nowhere.
    Never,
}

/// Which connections are encrypted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(crate) enum Encryption {
    /// None.
    Off,
    /// Where the peer wants it, or takes no other.
    Allow,
    /// Wherever the peer can.
    #[default]
    Prefer,
    /// All, in full; other peers are turned away.
    Require,
}

impl Encryption {
    /// The engine's word.
    pub(crate) const fn policy(self) -> Policy {
        match self {
            Self::Off => Policy::Off,
            Self::Allow => Policy::Allow,
            Self::Prefer => Policy::Prefer,
            Self::Require => Policy::Require,
        }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Download(DownloadArgs),
    Seed(SeedArgs),
    Share(ShareArgs),
    Create(CreateArgs),
    Info(InfoArgs),
    Magnet(MagnetArgs),
    Verify(VerifyArgs),
    Decode(DecodeArgs),
    Peers(PeersArgs),
    Scrape(ScrapeArgs),
    Handshake(HandshakeArgs),
    Piece(PieceArgs),
    Tracker(TrackerArgs),
    Dht(DhtArgs),
    Demo(DemoArgs),
    Config(ConfigArgs),
    /// Print a completion script for a shell
    #[command(after_help = examples::COMPLETIONS.help())]
    Completions {
        /// The shell
        #[arg(value_name = "SHELL", value_enum)]
        shell: clap_complete::Shell,
    },
    Man(ManArgs),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        command().debug_assert();
    }

    #[test]
    fn every_command_has_help_and_two_to_four_examples() {
        for sub in command().get_subcommands().filter(|s| s.get_name() != "help") {
            let name = sub.get_name();
            assert!(sub.get_about().is_some(), "{name} has no help");
            let after = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples = after.lines().filter(|l| l.trim_start().starts_with("samara ")).count();
            assert!((2..=4).contains(&examples), "{name} has {examples} examples");
        }
    }

    /// An example that does not parse would teach something wrong.
    #[test]
    fn every_example_parses() {
        for set in examples::ALL {
            for line in set.lines() {
                let words: Vec<String> = line
                    .split(" > ")
                    .next()
                    .unwrap_or_default()
                    .split_whitespace()
                    .map(|w| w.trim_matches('\'').to_owned())
                    .take_while(|w| w != "|")
                    .collect();
                command().try_get_matches_from(&words).unwrap_or_else(|e| panic!("{line}: {e}"));
            }
        }
    }
}
