//! Messages of `ut_holepunch` (BEP 55): two peers that cannot dial each other, each behind a NAT, are brought together by a
//! third that both are connected to.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

/// By which the extension is named in the extension handshake.
pub const NAME: &str = "ut_holepunch";

/// A message of `ut_holepunch`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HolepunchMessage {
    /// To the third: bring me and this peer together.
    Rendezvous(SocketAddr),
    /// From the third, to both at once: begin a uTP connection to this peer now.
    Connect(SocketAddr),
    /// From the third: that cannot be done with this peer.
    Error(SocketAddr, HolepunchError),
}

/// Why two peers cannot be brought together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HolepunchError {
    /// The endpoint is not one that can be dialled.
    NoSuchPeer,
    /// The third is not connected to it.
    NotConnected,
    /// It does not support the extension.
    NoSupport,
    /// It is the third itself.
    NoSelf,
    /// Something else.
    Other(u32),
}

/// Why a payload is no message of `ut_holepunch`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HolepunchParseError {
    /// Shorter than its kind of message is.
    #[error("the hole punching message ends after {0} bytes")]
    Short(usize),
    /// Neither rendezvous, connect nor error.
    #[error("{0} is no kind of hole punching message")]
    Kind(u8),
    /// Neither IPv4 nor IPv6.
    #[error("{0} is no family of addresses")]
    Family(u8),
}

impl HolepunchError {
    /// As it is sent; 0 is no error.
    const fn code(self) -> u32 {
        match self {
            Self::NoSuchPeer => 1,
            Self::NotConnected => 2,
            Self::NoSupport => 3,
            Self::NoSelf => 4,
            Self::Other(code) => code,
        }
    }

    const fn of(code: u32) -> Self {
        match code {
            1 => Self::NoSuchPeer,
            2 => Self::NotConnected,
            3 => Self::NoSupport,
            4 => Self::NoSelf,
            code => Self::Other(code),
        }
    }
}

impl HolepunchMessage {
    /// The peer that it is about.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        match *self {
            Self::Rendezvous(addr) | Self::Connect(addr) | Self::Error(addr, _) => addr,
        }
    }

    /// Reads the payload of an extended message. What stands behind the message is passed over.
    ///
    /// # Errors
    /// See [`HolepunchParseError`].
    pub fn parse(payload: &[u8]) -> Result<Self, HolepunchParseError> {
        let short = HolepunchParseError::Short(payload.len());
        let (&[kind, family], rest) = payload.split_first_chunk().ok_or(short)?;
        let (ip, rest) = match family {
            0 => rest.split_first_chunk::<4>().map(|(ip, rest)| (IpAddr::from(*ip), rest)),
            1 => rest.split_first_chunk::<16>().map(|(ip, rest)| (IpAddr::from(*ip), rest)),
            family => return Err(HolepunchParseError::Family(family)),
        }
        .ok_or(short)?;
        let (port, rest) = rest.split_first_chunk().ok_or(short)?;
        let addr = SocketAddr::new(ip, u16::from_be_bytes(*port));
        Ok(match kind {
            0 => Self::Rendezvous(addr),
            1 => Self::Connect(addr),
            2 => {
                let code = u32::from_be_bytes(*rest.first_chunk().ok_or(short)?);
                Self::Error(addr, HolepunchError::of(code))
            }
            kind => return Err(HolepunchParseError::Kind(kind)),
        })
    }

    /// The payload of an extended message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (kind, code) = match self {
            Self::Rendezvous(_) => (0, 0),
            Self::Connect(_) => (1, 0),
            Self::Error(_, error) => (2, error.code()),
        };
        let addr = self.addr();
        let mut bytes = Vec::with_capacity(24);
        match addr.ip() {
            IpAddr::V4(ip) => {
                bytes.extend([kind, 0]);
                bytes.extend(ip.octets());
            }
            IpAddr::V6(ip) => {
                bytes.extend([kind, 1]);
                bytes.extend(ip.octets());
            }
        }
        bytes.extend(addr.port().to_be_bytes());
        // Part of all kinds, though only an error has one.
        bytes.extend(code.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_bep() {
        let v4 = SocketAddr::from(([192, 0, 2, 1], 0x1ae1));
        let v6 = SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 7], 0x1ae1));
        let cases = [
            (HolepunchMessage::Rendezvous(v4), &[0, 0, 192, 0, 2, 1, 0x1a, 0xe1, 0, 0, 0, 0][..]),
            (
                HolepunchMessage::Connect(v6),
                &[
                    1, 1, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0x1a, 0xe1, 0, 0,
                    0, 0,
                ],
            ),
            (
                HolepunchMessage::Error(v4, HolepunchError::NotConnected),
                &[2, 0, 192, 0, 2, 1, 0x1a, 0xe1, 0, 0, 0, 2],
            ),
        ];
        for (message, bytes) in cases {
            assert_eq!(message.encode(), bytes);
            assert_eq!(HolepunchMessage::parse(bytes), Ok(message));
        }
    }

    #[test]
    fn every_error_comes_back() {
        let addr = SocketAddr::from(([192, 0, 2, 1], 1));
        for code in [1, 2, 3, 4, 5, u32::MAX] {
            let message = HolepunchMessage::Error(addr, HolepunchError::of(code));
            assert_eq!(HolepunchMessage::parse(&message.encode()), Ok(message));
            assert_eq!(HolepunchError::of(code).code(), code);
        }
    }

    #[test]
    fn what_is_cut_or_of_no_kind_is_refused_and_what_lacks_an_unused_code_is_not() {
        let rendezvous = HolepunchMessage::Rendezvous(SocketAddr::from(([192, 0, 2, 1], 6881)));
        let bytes = rendezvous.encode();
        for len in 0..8 {
            assert_eq!(
                HolepunchMessage::parse(&bytes[..len]),
                Err(HolepunchParseError::Short(len)),
            );
        }
        assert_eq!(HolepunchMessage::parse(&bytes[..8]), Ok(rendezvous));
        let with = |at: usize, byte| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            HolepunchMessage::parse(&bytes)
        };
        assert_eq!(with(0, 3), Err(HolepunchParseError::Kind(3)));
        assert_eq!(with(1, 2), Err(HolepunchParseError::Family(2)));
        // An error without its code.
        let mut error = bytes[..8].to_vec();
        error[0] = 2;
        assert_eq!(HolepunchMessage::parse(&error), Err(HolepunchParseError::Short(8)));
    }
}
