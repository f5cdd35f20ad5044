//! Which of the programs are installed, where, and in which version.

use super::Client;
use crate::args::TransfersArgs;
use crate::network::Network;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `libtorrent_client.py` is made of.
const SCRIPT: &str = include_str!("libtorrent_client.py");

/// Where docs/testing.md and CI put a Python with libtorrent, below the user's home.
const PYTHONS: [&str; 2] = [".cache/samara-interop/bin/python", ".cache/samara-ci/venv/bin/python"];

/// A program that is there.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    path: PathBuf,
    /// Its version, as it tells it.
    pub(crate) version: String,
}

/// The programs of a run.
#[derive(Debug)]
pub(crate) struct Programs {
    found: BTreeMap<Client, Found>,
    script: PathBuf,
}

impl Programs {
    /// Looks for the clients that are wanted; says in `missing` which are not there and why.
    pub(crate) fn find(
        args: &TransfersArgs,
        network: Network,
        directory: &Path,
        missing: &mut Vec<String>,
    ) -> Result<Self> {
        let script = directory.join("libtorrent_client.py");
        fs::write(&script, SCRIPT)?;
        let mut found = BTreeMap::new();
        for &client in &args.clients {
            if network == Network::Loopback && !client.takes_loopback() {
                missing.push(format!("{}: refuses peers on the loopback network", client.name()));
                continue;
            }
            match find(client, args) {
                Ok(program) => {
                    found.insert(client, program);
                }
                Err(error) if client == Client::Samara => return Err(error),
                Err(error) => missing.push(format!("{}: {error:#}", client.name())),
            }
        }
        ensure!(!found.is_empty(), "none of the clients is installed");
        Ok(Self { found, script })
    }

    /// The clients that are there.
    pub(crate) fn clients(&self) -> impl Iterator<Item = (Client, &Found)> {
        self.found.iter().map(|(client, found)| (*client, found))
    }

    pub(super) fn path(&self, client: Client) -> &Path {
        self.found.get(&client).map_or(Path::new(client.name()), |found| &found.path)
    }

    pub(super) fn script(&self) -> &Path {
        &self.script
    }
}

fn find(client: Client, args: &TransfersArgs) -> Result<Found> {
    match client {
        Client::Samara => samara(args.samara.as_deref()),
        Client::Libtorrent => libtorrent(args.python.as_deref()),
        Client::Rqbit => {
            let path = args.rqbit.as_deref().unwrap_or(Path::new("rqbit"));
            Ok(Found { path: absolute(path), version: last_word(&first_line(path, "--version")?) })
        }
        Client::Aria2 => named("aria2c", "--version"),
        Client::Mktorrent => named("mktorrent", "-h"),
    }
}

/// A program on the path that tells its version in its first line, as in `aria2 version 1.36.0` or `mktorrent 1.1 (c)`.
fn named(name: &str, option: &str) -> Result<Found> {
    let line = first_line(Path::new(name), option)?;
    let version = line.split(' ').find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    let version = version.with_context(|| format!("`{name} {option}` says {line}"))?.to_owned();
    Ok(Found { path: name.into(), version })
}

/// The binary that was named, or the one that cargo makes now. The version has the commit if that is known.
fn samara(named: Option<&Path>) -> Result<Found> {
    if let Some(path) = named {
        return Ok(Found {
            path: absolute(path),
            version: last_word(&first_line(path, "--version")?),
        });
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace's root")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "-p", "samara"])
        .current_dir(root)
        .status()
        .context("cannot build samara; name a binary with --samara")?;
    ensure!(built.success(), "samara cannot be built; name a binary with --samara");
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let path = root.join(target).join("release/samara");
    let mut version = last_word(&first_line(&path, "--version")?);
    let mut describe = Command::new("git");
    describe.args(["describe", "--always", "--dirty"]).current_dir(root);
    if let Ok(commit) = output(describe) {
        version = format!("{version} ({})", commit.trim());
    }
    Ok(Found { path, version })
}

fn libtorrent(named: Option<&Path>) -> Result<Found> {
    let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    let candidates = match named {
        Some(path) => vec![absolute(path)],
        None => std::iter::once("python3".into())
            .chain(PYTHONS.iter().map(|python| home.join(python)))
            .collect(),
    };
    for path in candidates {
        let mut ask = Command::new(&path);
        ask.args(["-c", "import libtorrent; print(libtorrent.version)"]);
        if let Ok(version) = output(ask) {
            return Ok(Found { path, version: version.trim().trim_end_matches(".0").to_owned() });
        }
    }
    bail!("no Python that has it; name one with --python")
}

/// A path that stays right in another directory; a bare name stays to be looked for.
fn absolute(path: &Path) -> PathBuf {
    if path.components().count() == 1 && !path.exists() {
        return path.to_owned();
    }
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn first_line(program: &Path, option: &str) -> Result<String> {
    let mut command = Command::new(program);
    command.arg(option);
    let text = output(command).with_context(|| format!("`{} {option}`", program.display()))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn last_word(line: &str) -> String {
    line.rsplit(' ').next().unwrap_or(line).to_owned()
}

/// What a command says on either stream; an error if it cannot be run or fails.
fn output(mut command: Command) -> Result<String> {
    let output = command.output()?;
    ensure!(output.status.success(), "ends with {}", output.status);
    let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    Ok(String::from_utf8_lossy(&said).into_owned())
}
