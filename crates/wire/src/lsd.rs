//! Datagrams of local service discovery (BEP 14): "I have these torrents and listen on this port".
//!
//! They look like HTTP requests and go to a multicast group. Anybody on the network can send them, so they are
//! read with bounds; who sent one is told by the socket, not by the datagram.

use crate::id::WireHash;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use data_encoding::HEXLOWER_PERMISSIVE;

/// Port of both groups.
pub const PORT: u16 = 6771;

/// The IPv4 group.
pub const GROUP_V4: SocketAddr =
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(239, 192, 152, 143), PORT));

/// The IPv6 group, of site scope.
pub const GROUP_V6: SocketAddr = SocketAddr::V6(SocketAddrV6::new(
    Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0xefc0, 0x988f),
    PORT,
    0,
    0,
));

/// Longest datagram read or written, in bytes: one that is not cut into fragments.
pub const MAX_DATAGRAM: usize = 1400;

/// Torrents in one datagram.
pub const MAX_HASHES: usize = 20;

/// Longest cookie, in bytes.
pub const MAX_COOKIE: usize = 64;

/// An announcement of local service discovery.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalAnnounce {
    /// The port the sender listens on; never 0.
    pub port: u16,
    /// Its torrents, 1 to [`MAX_HASHES`], each once.
    pub hashes: Vec<WireHash>,
    /// By which a sender knows its own datagrams again: printable ASCII without spaces at the ends, 1 to
    /// [`MAX_COOKIE`] bytes.
    pub cookie: Option<String>,
}

/// Why a datagram is no announcement.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LsdError {
    /// Beyond [`MAX_DATAGRAM`].
    #[error("a local announcement of {0} bytes")]
    TooLong(usize),
    /// It does not begin with `BT-SEARCH * HTTP/1.1`, or is not text.
    #[error("not a local announcement")]
    NotASearch,
    /// No port, or one that is none.
    #[error("a local announcement without a port")]
    NoPort,
    /// No info-hash that can be read.
    #[error("a local announcement without an info-hash")]
    NoHash,
}

impl LocalAnnounce {
    /// Reads a datagram. Info-hashes beyond [`MAX_HASHES`], headers of no meaning to us, and a cookie that is too
    /// long are left out.
    ///
    /// # Errors
    /// If it is no announcement, or names no port or no torrent.
    pub fn parse(datagram: &[u8]) -> Result<Self, LsdError> {
        if datagram.len() > MAX_DATAGRAM {
            return Err(LsdError::TooLong(datagram.len()));
        }
        let text = core::str::from_utf8(datagram).map_err(|_| LsdError::NotASearch)?;
        let mut lines = text.split('\n').map(|line| line.trim_end_matches('\r'));
        let first = lines.next().unwrap_or_default();
        if !first.trim_end().eq_ignore_ascii_case("BT-SEARCH * HTTP/1.1") {
            return Err(LsdError::NotASearch);
        }
        let mut port = None;
        let mut hashes = Vec::new();
        let mut cookie = None;
        for line in lines.take_while(|line| !line.is_empty()) {
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim_matches([' ', '\t']);
            match name.trim_end() {
                name if name.eq_ignore_ascii_case("port") => port = number(value),
                name if name.eq_ignore_ascii_case("infohash") => {
                    let hash = hash(value).filter(|hash| !hashes.contains(hash));
                    hashes.extend(hash.filter(|_| hashes.len() < MAX_HASHES));
                }
                name if name.eq_ignore_ascii_case("cookie") => {
                    cookie = is_cookie(value).then(|| value.to_owned());
                }
                _ => {}
            }
        }
        let port = port.ok_or(LsdError::NoPort)?;
        if hashes.is_empty() {
            return Err(LsdError::NoHash);
        }
        Ok(Self { port, hashes, cookie })
    }

    /// The datagram to be sent to `group`. A cookie or info-hashes beyond the bounds are left out.
    #[must_use]
    pub fn encode(&self, group: SocketAddr) -> Vec<u8> {
        let mut text = format!("BT-SEARCH * HTTP/1.1\r\nHost: {group}\r\nPort: {}\r\n", self.port);
        for hash in self.hashes.iter().take(MAX_HASHES) {
            text.push_str(&format!("Infohash: {hash}\r\n"));
        }
        if let Some(cookie) = self.cookie.as_deref().filter(|cookie| is_cookie(cookie)) {
            text.push_str(&format!("cookie: {cookie}\r\n"));
        }
        text.push_str("\r\n\r\n");
        text.into_bytes()
    }
}

fn number(text: &str) -> Option<u16> {
    // `parse` alone would let a sign pass.
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&port| plain && port != 0)
}

fn hash(text: &str) -> Option<WireHash> {
    let mut bytes = [0; 20];
    let fits = text.len() == 40;
    let decoded = fits.then(|| HEXLOWER_PERMISSIVE.decode_mut(text.as_bytes(), &mut bytes))?;
    decoded.ok().map(|_| WireHash(bytes))
}

fn is_cookie(text: &str) -> bool {
    (1..=MAX_COOKIE).contains(&text.len())
        && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        && text.trim() == text
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;
    use proptest::prelude::*;

    const HASH: &str = "0123456789abcdef0123456789ABCDEF01234567";

    #[test]
    fn what_other_clients_send_is_understood() {
        let datagram = format!(
            "BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\nInfohash: {HASH}\r\n\
             INFOHASH:{}\r\nX-Other: y\r\ncookie: 1a2b\r\n\r\n\r\n",
            HASH.replace('0', "f")
        );
        let read = LocalAnnounce::parse(datagram.as_bytes()).unwrap();
        assert_eq!((read.port, read.cookie.as_deref()), (6881, Some("1a2b")));
        let hashes: Vec<_> = read.hashes.iter().map(ToString::to_string).collect();
        assert_eq!(hashes, [HASH.to_lowercase(), HASH.to_lowercase().replace('0', "f")]);
    }

    #[test]
    fn junk_is_refused() {
        let parse = |text: &str| LocalAnnounce::parse(text.as_bytes());
        let head = "BT-SEARCH * HTTP/1.1\r\n";
        assert_eq!(parse(""), Err(LsdError::NotASearch));
        assert_eq!(parse("M-SEARCH * HTTP/1.1\r\n\r\n"), Err(LsdError::NotASearch));
        assert_eq!(LocalAnnounce::parse(b"\xff"), Err(LsdError::NotASearch));
        for port in ["", "0", "70000", "+1", "-1", "x"] {
            let text = format!("{head}Port: {port}\r\nInfohash: {HASH}\r\n\r\n");
            assert_eq!(parse(&text), Err(LsdError::NoPort), "{port:?}");
        }
        for hash in ["", "0123", &HASH[1..], &HASH.replace('0', "g")] {
            let text = format!("{head}Port: 1\r\nInfohash: {hash}\r\n\r\n");
            assert_eq!(parse(&text), Err(LsdError::NoHash), "{hash:?}");
        }
        let long = format!("{head}{}", " ".repeat(MAX_DATAGRAM));
        assert_eq!(parse(&long), Err(LsdError::TooLong(long.len())));
        // What follows the empty line is no header.
        let late = format!("{head}Port: 1\r\n\r\nInfohash: {HASH}\r\n");
        assert_eq!(parse(&late), Err(LsdError::NoHash));
    }

    #[test]
    fn the_groups_are_those_of_bep_14() {
        assert_eq!(GROUP_V4.to_string(), "239.192.152.143:6771");
        assert_eq!(GROUP_V6.to_string(), "[ff15::efc0:988f]:6771");
        let full = LocalAnnounce {
            port: 65535,
            hashes: (0..20).map(|n| WireHash([n; 20])).collect(),
            cookie: Some("x".repeat(MAX_COOKIE)),
        };
        let bytes = full.encode(GROUP_V6);
        assert!(bytes.len() <= MAX_DATAGRAM, "{}", bytes.len());
        assert_eq!(LocalAnnounce::parse(&bytes), Ok(full.clone()));
        let forged = LocalAnnounce { cookie: Some("a\r\nPort: 1".to_owned()), ..full.clone() };
        let want = LocalAnnounce { cookie: None, ..full };
        assert_eq!(LocalAnnounce::parse(&forged.encode(GROUP_V4)), Ok(want));
    }

    proptest! {
        #[test]
        fn announcements_survive_the_trip(
            port in 1u16.., hashes in proptest::collection::btree_set(any::<[u8; 20]>(), 1..MAX_HASHES),
            cookie in proptest::option::of("[!-~]{1,64}"), v6: bool,
        ) {
            let hashes = hashes.into_iter().map(WireHash).collect();
            let announce = LocalAnnounce { port, hashes, cookie };
            let bytes = announce.encode(if v6 { GROUP_V6 } else { GROUP_V4 });
            prop_assert_eq!(LocalAnnounce::parse(&bytes), Ok(announce));
        }

        #[test]
        fn any_text_is_read_without_harm(text in "(BT-SEARCH \\* HTTP/1.1\r\n)?([A-Za-z]{0,8}: ?[0-9a-f]{0,40}\r?\n){0,8}") {
            if let Ok(read) = LocalAnnounce::parse(text.as_bytes()) {
                prop_assert!(read.port != 0 && !read.hashes.is_empty());
            }
        }
    }

    #[test]
    fn a_hash_said_twice_counts_once() {
        let text = format!("BT-SEARCH * HTTP/1.1\nPort: 9\nInfohash: {HASH}\nInfohash: {HASH}\n\n");
        let read = LocalAnnounce::parse(text.as_bytes()).unwrap();
        assert_eq!(read, LocalAnnounce { port: 9, hashes: vec![read.hashes[0]], cookie: None });
    }
}
