//! Which programs there are, and every option that each is run with: all of them stand in [`Programs::command`] and `libtorrent_client.py`.
//!
//! The settings are those that a user gets who sets nothing, but for three things. Nobody looks for peers by other ways than the
//! tracker, as there are none in the network of a benchmark. Each listens where it is told to, so that the synthetic leeches find it.
//! And what a program prints is turned off where it has an option for that. What a program does at its first start is part of no figure:
//! time and CPU count from the first request on, or, for libtorrent, from the call into the library.

mod find;

pub(crate) use find::Programs;

use clap::ValueEnum;
use samara_wire::metainfo::create::Version;
use serde::{Deserialize, Serialize};
use std::net::SocketAddrV4;
use std::path::Path;
use std::process::Command;

/// A program under test.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Client {
    Samara,
    Libtorrent,
    Rqbit,
    #[value(name = "aria2")]
    Aria2,
    Mktorrent,
}

impl Client {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Samara => "samara",
            Self::Libtorrent => "libtorrent",
            Self::Rqbit => "rqbit",
            Self::Aria2 => "aria2",
            Self::Mktorrent => "mktorrent",
        }
    }

    /// Whether it speaks with peers at addresses of the loopback network.
    pub(crate) const fn takes_loopback(self) -> bool {
        matches!(self, Self::Samara | Self::Libtorrent | Self::Mktorrent)
    }
}

/// What carries a transfer between two clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// Plain BitTorrent over TCP, which is all that the synthetic peers speak.
    Plain,
    /// uTP alone, not encrypted. It is the client that downloads who speaks nothing else; the one that seeds answers by TCP as well.
    Utp,
    /// TCP, all of the stream by RC4. It is the client that downloads who insists on it.
    Rc4,
}

impl Way {
    /// The word for `libtorrent_client.py`.
    const fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Utp => "utp",
            Self::Rc4 => "rc4",
        }
    }

    /// Whether `client` can do it.
    pub(crate) const fn suits(self, client: Client) -> bool {
        match self {
            Self::Plain => !matches!(client, Client::Mktorrent),
            Self::Utp => matches!(client, Client::Samara | Client::Libtorrent | Client::Rqbit),
            Self::Rc4 => matches!(client, Client::Samara | Client::Libtorrent),
        }
    }
}

/// What a program shall do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Job<'a> {
    /// Download into an empty directory and end.
    Download { torrent: &'a Path, into: &'a Path },
    /// Seed what is there, until it is killed.
    Seed { torrent: &'a Path, data: &'a Path },
    /// Hash what is there and end.
    Check { torrent: &'a Path, data: &'a Path },
    /// Make a torrent of a file and end.
    Create { version: Version, piece_len: u32, path: &'a Path, output: &'a Path },
    /// Seed many torrents, until it is killed. `list` is a file with a path on each line.
    Many { list: &'a Path, torrents: &'a [std::path::PathBuf], data: &'a Path },
}

impl Programs {
    /// The command by which `client` does `job` over `way`, listening at `at`; `None` if it cannot do such a thing.
    pub(crate) fn command(
        &self,
        client: Client,
        job: Job<'_>,
        way: Way,
        at: SocketAddrV4,
    ) -> Option<Command> {
        match client {
            Client::Samara => Some(self.samara(job, way, at)),
            Client::Libtorrent => Some(self.libtorrent(job, way, at)),
            Client::Rqbit => self.rqbit(job, way, at),
            Client::Aria2 => self.aria2(job, at),
            Client::Mktorrent => self.mktorrent(job),
        }
    }

    fn samara(&self, job: Job<'_>, way: Way, at: SocketAddrV4) -> Command {
        let mut command = Command::new(self.path(Client::Samara));
        command.arg("--quiet");
        let network = |command: &mut Command| {
            command.args(["--no-dht", "--no-lsd", "--bind"]).arg(at.ip().to_string());
            command.arg("--port").arg(at.port().to_string());
        };
        match job {
            Job::Download { torrent, into } => {
                command.arg("download").arg(torrent).arg("-o").arg(into).arg("--no-seed");
                network(&mut command);
                command.args(match way {
                    Way::Plain => &[][..],
                    Way::Utp => &["--no-tcp", "--encryption", "off"],
                    Way::Rc4 => &["--no-utp", "--encryption", "require"],
                });
            }
            Job::Seed { torrent, data } => {
                command.arg("seed").arg(torrent).arg("--data").arg(data);
                network(&mut command);
            }
            Job::Many { torrents, data, .. } => {
                command.arg("seed").args(torrents).arg("--data").arg(data);
                network(&mut command);
            }
            Job::Check { torrent, data } => {
                command.arg("verify").arg(torrent).arg("--data").arg(data);
            }
            Job::Create { version, piece_len, path, output } => {
                command.arg("create").arg(path).arg("-o").arg(output).arg(flag(version));
                command.arg("--piece-size").arg(piece_len.to_string());
            }
        }
        command
    }

    /// The rest of its settings stand in `libtorrent_client.py`.
    fn libtorrent(&self, job: Job<'_>, way: Way, at: SocketAddrV4) -> Command {
        let mut command = Command::new(self.path(Client::Libtorrent));
        command.arg(self.script());
        match job {
            Job::Download { torrent, into } => command.arg("download").arg(torrent).arg(into),
            Job::Seed { torrent, data } => command.arg("seed").arg(torrent).arg(data),
            Job::Check { torrent, data } => command.arg("check").arg(torrent).arg(data),
            Job::Many { list, data, .. } => command.arg("many").arg(list).arg(data),
            Job::Create { version, piece_len, path, output } => {
                let version = &flag(version)[2..];
                command.args(["create", version]).arg(piece_len.to_string()).arg(path);
                return with(command, &[output]);
            }
        };
        command.arg(at.ip().to_string()).arg(at.port().to_string()).arg(way.word());
        command
    }

    /// No v2, and it makes torrents only in its library.
    fn rqbit(&self, job: Job<'_>, way: Way, at: SocketAddrV4) -> Option<Command> {
        let mut command = Command::new(self.path(Client::Rqbit));
        command.args(["-v", "error", "--disable-dht", "--disable-lsd"]);
        command.arg("--disable-upnp-port-forward");
        command.arg("--listen-port").arg(at.port().to_string());
        if way == Way::Utp {
            // At all addresses it would answer from another one than was asked.
            command.arg("--experimental-enable-utp-listen").arg(format!("--listen-ip={}", at.ip()));
            if matches!(job, Job::Download { .. }) {
                command.args(["--disable-tcp-connect", "--disable-tcp-listen"]);
            }
            // Two of them must not meet at its usual port, or the second one hands its work to the first.
            command.arg(format!("--http-api-listen-addr={}:0", at.ip()));
        }
        command.arg("download");
        Some(match job {
            Job::Download { torrent, into } => {
                with(command, &[Path::new("-e"), Path::new("-o"), into, torrent])
            }
            Job::Seed { torrent, data } => {
                with(command, &[Path::new("--overwrite"), Path::new("-o"), data, torrent])
            }
            // Data that is right needs nothing more, and it ends.
            Job::Check { torrent, data } => {
                let overwrite = Path::new("--overwrite");
                with(command, &[Path::new("-e"), overwrite, Path::new("-o"), data, torrent])
            }
            Job::Many { torrents, data, .. } => {
                command.arg("--overwrite").arg("-o").arg(data).args(torrents);
                command
            }
            Job::Create { .. } => return None,
        })
    }

    /// No v2, no making of torrents, and at most a few torrents at a time.
    fn aria2(&self, job: Job<'_>, at: SocketAddrV4) -> Option<Command> {
        let mut command = Command::new(self.path(Client::Aria2));
        command.args(["--quiet", "--no-conf", "--enable-dht=false", "--bt-enable-lpd=false"]);
        command.arg(format!("--interface={}", at.ip()));
        command.arg(format!("--listen-port={}", at.port()));
        match job {
            Job::Download { torrent, into } => {
                // Its default writes every byte of the file before the download, which would count against it.
                command.args(["--file-allocation=none", "--seed-time=0", "--dir"]);
                Some(with(command, &[into, torrent]))
            }
            Job::Seed { torrent, data } => {
                command.args(["--check-integrity=true", "--seed-ratio=0.0", "--dir"]);
                Some(with(command, &[data, torrent]))
            }
            Job::Check { torrent, data } => {
                command.args(["--check-integrity=true", "--hash-check-only=true", "--dir"]);
                Some(with(command, &[data, torrent]))
            }
            Job::Create { .. } | Job::Many { .. } => None,
        }
    }

    /// It makes v1 torrents and does nothing else; as many threads as processors is its default.
    fn mktorrent(&self, job: Job<'_>) -> Option<Command> {
        let Job::Create { version: Version::V1, piece_len, path, output } = job else {
            return None;
        };
        let mut command = Command::new(self.path(Client::Mktorrent));
        // It wants a tracker.
        command.args(["-a", "http://tracker.invalid/announce"]);
        command.arg("-l").arg(piece_len.ilog2().to_string());
        Some(with(command, &[Path::new("-o"), output, path]))
    }
}

/// Whether `client` can do such a thing at all, whatever is installed.
pub(crate) const fn can_create(client: Client, version: Version) -> bool {
    match client {
        Client::Samara | Client::Libtorrent => true,
        Client::Mktorrent => matches!(version, Version::V1),
        Client::Rqbit | Client::Aria2 => false,
    }
}

fn with(mut command: Command, arguments: &[&Path]) -> Command {
    command.args(arguments);
    command
}

/// The option of `samara create`; libtorrent_client.py takes it without the dashes.
const fn flag(version: Version) -> &'static str {
    match version {
        Version::V1 => "--v1",
        Version::V2 => "--v2",
        Version::Hybrid => "--hybrid",
    }
}
