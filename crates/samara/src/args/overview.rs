//! The complete definition of the command line, with the commands grouped by what they are for.

use super::Cli;
use clap::CommandFactory;

/// The commands in groups. Every command stands in exactly one; a test holds that.
const GROUPS: [(&str, &[&str]); 4] = [
    ("Transfer", &["download", "seed", "share"]),
    ("Torrent files", &["create", "info", "magnet", "verify", "decode"]),
    ("Network", &["peers", "scrape", "handshake", "piece", "tracker", "dht"]),
    ("Program", &["demo", "config", "completions", "man"]),
];

const TEMPLATE: &str = "\
{name} {version}
{about}

{usage-heading} {usage}
{before-help}
{all-args-without-commands}";

/// The definition that is parsed, completed and printed.
pub(crate) fn command() -> clap::Command {
    let command = Cli::command();
    let mut groups = String::new();
    for (title, names) in GROUPS {
        groups.push_str(&format!("\n\x1b[1m\x1b[32m{title}:\x1b[0m\n"));
        for name in names {
            let about = command
                .find_subcommand(name)
                .and_then(clap::Command::get_about)
                .map(ToString::to_string)
                .unwrap_or_default();
            groups.push_str(&format!("  \x1b[1m\x1b[36m{name:<12}\x1b[0m{about}\n"));
        }
    }
    let template = TEMPLATE.replace("{before-help}", &groups).replace(
        "{all-args-without-commands}",
        "\x1b[1m\x1b[32mOptions:\x1b[0m\n{options}{after-help}",
    );
    command
        .help_template(template)
        .after_help("Help for one command: samara COMMAND --help. First time here? samara demo")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_stands_in_one_group() {
        let mut listed: Vec<&str> =
            GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let command = command();
        let mut defined: Vec<&str> =
            command.get_subcommands().map(clap::Command::get_name).collect();
        listed.sort_unstable();
        defined.sort_unstable();
        assert_eq!(listed, defined);
    }
}
