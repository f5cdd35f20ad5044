//! What a proxy is asked to reach: an address, or a name that it resolves itself.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest name, in bytes: what one byte can count in SOCKS5.
pub const MAX_NAME: usize = 255;

/// Host and port.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Target {
    /// An address.
    Address(SocketAddr),
    /// A name of at most [`MAX_NAME`] printable bytes, and a port.
    Name(String, u16),
}

/// Why something is no [`Target`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TargetError {
    /// No host.
    #[error("the host's name is empty")]
    Empty,
    /// More than a proxy can be told.
    #[error("the host's name has {0} bytes, where 255 are possible")]
    TooLong(usize),
    /// Something that is in no name, and that could change the meaning of what is said to a proxy.
    #[error("the host's name has a byte that cannot be in a name: {0:#04x}")]
    BadByte(u8),
}

impl Target {
    /// A host by name or address (IPv6 with or without brackets), and a port.
    ///
    /// # Errors
    /// If the name is empty, too long, or has anything but letters, digits, `-`, `_`, `.` and what is beyond ASCII.
    pub fn new(host: &str, port: u16) -> Result<Self, TargetError> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(Self::Address(SocketAddr::new(ip, port)));
        }
        match host.len() {
            0 => return Err(TargetError::Empty),
            1..=MAX_NAME => {}
            len => return Err(TargetError::TooLong(len)),
        }
        let named =
            |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte) || *byte >= 0x80;
        match host.bytes().find(|byte| !named(byte)) {
            Some(byte) => Err(TargetError::BadByte(byte)),
            None => Ok(Self::Name(host.to_owned(), port)),
        }
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        match self {
            Self::Address(addr) => addr.port(),
            Self::Name(_, port) => *port,
        }
    }
}

impl From<SocketAddr> for Target {
    /// IPv4 addresses in IPv6 clothes are undressed: proxies take them for IPv6.
    fn from(addr: SocketAddr) -> Self {
        Self::Address(SocketAddr::new(addr.ip().to_canonical(), addr.port()))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(addr) => addr.fmt(f),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

/// The address as SOCKS5 has it: its kind, the address, the port (RFC 1928, section 5).
pub(super) fn encode(target: &Target, out: &mut alloc::vec::Vec<u8>) {
    match target {
        Target::Address(addr) => match addr.ip() {
            IpAddr::V4(ip) => {
                out.push(1);
                out.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                out.push(4);
                out.extend_from_slice(&ip.octets());
            }
        },
        Target::Name(name, _) => {
            // A name that was put together by hand may be too long: what is cut does not resolve.
            let len = u8::try_from(name.len()).unwrap_or(u8::MAX);
            out.extend_from_slice(&[3, len]);
            out.extend_from_slice(&name.as_bytes()[..len.into()]);
        }
    }
    out.extend_from_slice(&target.port().to_be_bytes());
}

/// What is wrong with an address of SOCKS5.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BadAddress {
    /// It goes on behind the bytes that are there.
    Short,
    /// There is no such kind.
    Kind(u8),
    /// A name that is none.
    Name,
}

/// Reads the address that `bytes` begins with, and how many bytes that took.
pub(super) fn decode(bytes: &[u8]) -> Result<(Target, usize), BadAddress> {
    let (kind, rest) = bytes.split_first().ok_or(BadAddress::Short)?;
    let (ip, rest): (Result<IpAddr, &[u8]>, &[u8]) = match kind {
        1 => {
            let (ip, rest) = rest.split_first_chunk::<4>().ok_or(BadAddress::Short)?;
            (Ok(Ipv4Addr::from(*ip).into()), rest)
        }
        4 => {
            let (ip, rest) = rest.split_first_chunk::<16>().ok_or(BadAddress::Short)?;
            (Ok(Ipv6Addr::from(*ip).into()), rest)
        }
        3 => {
            let (len, rest) = rest.split_first().ok_or(BadAddress::Short)?;
            let (name, rest) = rest.split_at_checked((*len).into()).ok_or(BadAddress::Short)?;
            (Err(name), rest)
        }
        kind => return Err(BadAddress::Kind(*kind)),
    };
    let (port, rest) = rest.split_first_chunk().ok_or(BadAddress::Short)?;
    let port = u16::from_be_bytes(*port);
    let target = match ip {
        Ok(ip) => Target::Address(SocketAddr::new(ip, port)),
        Err(name) => {
            let name = core::str::from_utf8(name).map_err(|_| BadAddress::Name)?;
            Target::new(name, port).map_err(|_| BadAddress::Name)?
        }
    };
    Ok((target, bytes.len() - rest.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses() {
        for (host, shown) in [
            ("tracker.example.org", "tracker.example.org:80"),
            ("10.0.0.1", "10.0.0.1:80"),
            ("::1", "[::1]:80"),
            ("[2001:db8::1]", "[2001:db8::1]:80"),
            ("bücher.example", "bücher.example:80"),
        ] {
            assert_eq!(std::format!("{}", Target::new(host, 80).unwrap()), shown);
        }
        let mapped = SocketAddr::new("::ffff:10.0.0.1".parse().unwrap(), 1);
        assert_eq!(std::format!("{}", Target::from(mapped)), "10.0.0.1:1");
    }

    #[test]
    fn what_could_change_a_request_is_no_name() {
        assert_eq!(Target::new("", 1), Err(TargetError::Empty));
        assert_eq!(Target::new(&"a".repeat(256), 1), Err(TargetError::TooLong(256)));
        for (host, byte) in
            [("a b", b' '), ("a\r\nX: y", b'\r'), ("a\0", 0), ("a:80", b':'), ("a/b", b'/')]
        {
            assert_eq!(Target::new(host, 1), Err(TargetError::BadByte(byte)));
        }
    }
}
