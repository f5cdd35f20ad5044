//! A network of our own: all of 10.77.0.0/16 is the loopback device of a fresh namespace.
//!
//! Some clients refuse peers at 127.0.0.1, and each client knows a peer by its address alone, so every synthetic peer wants one. Where the
//! machine lets us make no namespace we stay on 127.77.0.0/16, which is loopback everywhere, and the clients that refuse it are left out.

use anyhow::{Context, Result, bail};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Set once inside, so that we do not try again.
const INSIDE: &str = "SAMARA_BENCH_NETWORK";

const ENTER: &str = "ip link set lo up && ip address add 10.77.0.1/16 dev lo && exec \"$0\" \"$@\"";

/// Where the peers of this run live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Network {
    /// A namespace with ordinary addresses.
    Namespace,
    /// The machine's own loopback device.
    Loopback,
}

impl Network {
    /// Runs this program again inside a namespace, or, where that cannot be, returns with the loopback device.
    pub(crate) fn enter() -> Result<Self> {
        match std::env::var(INSIDE).as_deref() {
            Ok("namespace") => return Ok(Self::Namespace),
            Ok(_) => return Ok(Self::Loopback),
            Err(_) => {}
        }
        let Some(options) = [&["--net"][..], &["--user", "--map-root-user", "--net"]]
            .into_iter()
            .find(|options| can_enter(options))
        else {
            return Ok(Self::Loopback);
        };
        let this = std::env::current_exe().context("the path of this program")?;
        let failed = unshare(options)
            .arg(this)
            .args(std::env::args_os().skip(1))
            .env(INSIDE, "namespace")
            .exec();
        bail!("cannot run again in a network namespace: {failed}");
    }

    /// The word for the report.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Namespace => "network namespace of its own",
            Self::Loopback => "plain loopback",
        }
    }

    const fn address(self, third: u8, fourth: u8) -> Ipv4Addr {
        match self {
            Self::Namespace => Ipv4Addr::new(10, 77, third, fourth),
            Self::Loopback => Ipv4Addr::new(127, 77, third, fourth),
        }
    }

    /// The address of the client under test.
    pub(crate) const fn client(self) -> Ipv4Addr {
        self.address(0, 2)
    }

    /// The address of our tracker, and of who asks questions.
    pub(crate) const fn ours(self) -> Ipv4Addr {
        self.address(0, 1)
    }

    /// The address of synthetic seed number `i`.
    pub(crate) const fn seed(self, i: u8) -> Ipv4Addr {
        self.address(1, i + 1)
    }

    /// The address of synthetic leech number `i`.
    pub(crate) const fn leech(self, i: u8) -> Ipv4Addr {
        self.address(2, i + 1)
    }

    /// The address of a second client, which downloads from the first.
    pub(crate) const fn second(self) -> Ipv4Addr {
        self.address(0, 3)
    }

    /// A port that nobody listens on, for a client under test, which is told it on its command line.
    pub(crate) fn free_port(address: Ipv4Addr) -> Result<SocketAddrV4> {
        let listener = TcpListener::bind((address, 0))?;
        Ok(SocketAddrV4::new(address, listener.local_addr()?.port()))
    }
}

fn unshare(options: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(options).args(["--", "sh", "-c", ENTER]);
    command
}

fn can_enter(options: &[&str]) -> bool {
    unshare(options)
        .arg("true")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
