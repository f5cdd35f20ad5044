//! What the user chose of the network.

use super::Binding;
use samara_wire::proxy::ProxyUrl;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Longest name of an interface, in bytes. Linux allows 15, Windows' are sentences.
const MAX_NAME: usize = 256;

/// Where sockets are opened: at an address, or at whatever addresses an interface has.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Bind {
    /// This address.
    Address(IpAddr),
    /// The interface of this name. It may come and go: while it is away nothing is sent.
    Interface(String),
}

/// How packets leave this machine. `Default`: as the system likes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Egress {
    /// From these addresses and interfaces alone. Empty: all.
    pub bind: Vec<Bind>,
    /// By way of this proxy alone.
    pub proxy: Option<ProxyUrl>,
    /// Whether datagrams go through a SOCKS5 proxy, too, if it carries them. If not, none are sent.
    pub proxy_udp: bool,
}

impl Default for Egress {
    fn default() -> Self {
        Self { bind: Vec::new(), proxy: None, proxy_udp: true }
    }
}

/// Why a text says nothing about the network.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is neither an IP address nor the name of a network interface")]
pub struct BindError(String);

impl Bind {
    /// The addresses that `chosen` means now.
    #[must_use]
    pub fn addresses(chosen: &[Self]) -> Vec<IpAddr> {
        Binding::at(chosen, None).sources().iter().map(|source| source.ip).collect()
    }
}

impl FromStr for Bind {
    type Err = BindError;

    /// An IP address, or else the name of an interface, whether there is one or not.
    fn from_str(text: &str) -> Result<Self, BindError> {
        if let Ok(ip) = text.parse() {
            return Ok(Self::Address(ip));
        }
        // A name like an address is a slip of the pen: such an interface would be waited for in vain.
        let is_numeric = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let is_name = !is_numeric
            && text.len() <= MAX_NAME
            && !text.contains([':', '/', ','])
            && text.trim() == text
            && !text.chars().any(char::is_control);
        if is_name { Ok(Self::Interface(text.to_owned())) } else { Err(BindError(text.to_owned())) }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(ip) => ip.fmt(f),
            Self::Interface(name) => f.write_str(name),
        }
    }
}

impl From<IpAddr> for Bind {
    fn from(ip: IpAddr) -> Self {
        Self::Address(ip)
    }
}

impl From<Ipv4Addr> for Bind {
    fn from(ip: Ipv4Addr) -> Self {
        Self::Address(ip.into())
    }
}

impl From<Ipv6Addr> for Bind {
    fn from(ip: Ipv6Addr) -> Self {
        Self::Address(ip.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_told_apart() {
        let read = |text: &str| text.parse::<Bind>();
        assert_eq!(read("10.0.0.1"), Ok(Ipv4Addr::new(10, 0, 0, 1).into()));
        assert_eq!(read("::1"), Ok(Ipv6Addr::LOCALHOST.into()));
        for name in ["tun0", "wg-home", "Local Area Connection"] {
            assert_eq!(read(name), Ok(Bind::Interface(name.to_owned())));
            assert_eq!(read(name).unwrap().to_string(), name);
        }
        for wrong in
            ["", "10.0.0", "1.2.3.4.5", "::g", "a/b", " tun0", "tun0,tun1", "tun0\n", "10.0.0.1:80"]
        {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
