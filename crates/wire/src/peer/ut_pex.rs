//! Messages of `ut_pex` (BEP 11): peers that the sender has connected to, and that it has lost, since its last.
//!
//! Of each list at most [`MAX_PER_FAMILY`] addresses of a family are taken, however many there are, and none that
//! cannot be dialled. A list that is missing is empty; a rest that is no whole address is left out.

use crate::bencode::{self, BencodeError, Dict, Encoder, Limits, Strictness};
use crate::tracker::push_compact;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// By which the extension is named in the extension handshake.
pub const NAME: &str = "ut_pex";

/// Addresses of one family that are read or written of each list of a message.
pub const MAX_PER_FAMILY: usize = 50;

const LIMITS: Limits = Limits { depth: 4, tokens: 64, strictness: Strictness::Lenient };

/// What a message says of a peer that was added (BEP 11, `added.f`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct PexFlags(pub u8);

impl PexFlags {
    /// It prefers encrypted connections.
    pub const ENCRYPTION: u8 = 0x01;
    /// It is a seed, or only uploads.
    pub const SEED: u8 = 0x02;
    /// It takes uTP connections.
    pub const UTP: u8 = 0x04;
    /// It speaks `ut_holepunch` (BEP 55).
    pub const HOLEPUNCH: u8 = 0x08;
    /// The sender dialled it: it can be reached.
    pub const REACHABLE: u8 = 0x10;

    /// Whether it is a seed, or only uploads.
    #[must_use]
    pub const fn is_seed(self) -> bool {
        self.0 & Self::SEED != 0
    }

    /// Whether it can be reached through a NAT with the help of the sender.
    #[must_use]
    pub const fn punches(self) -> bool {
        self.0 & Self::HOLEPUNCH != 0
    }
}

/// A message of `ut_pex`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PexMessage {
    /// Peers the sender is connected to, IPv4 first.
    pub added: Vec<(SocketAddr, PexFlags)>,
    /// Peers the sender is connected to no more, IPv4 first.
    pub dropped: Vec<SocketAddr>,
}

/// Why a payload is no message of `ut_pex`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PexError {
    /// It is not bencode.
    #[error("the peer exchange message cannot be read ({0})")]
    NotBencode(#[from] BencodeError),
    /// It is something else than a dictionary.
    #[error("the peer exchange message is no dictionary")]
    NotADictionary,
}

impl PexMessage {
    /// Reads the payload of an extended message.
    ///
    /// # Errors
    /// If it is not bencode, or is no dictionary.
    pub fn parse(payload: &[u8]) -> Result<Self, PexError> {
        let doc = bencode::parse(payload, LIMITS)?;
        let dict = doc.as_dict().ok_or(PexError::NotADictionary)?;
        let mut message = Self::default();
        for (list, flags) in [(&b"added"[..], &b"added.f"[..]), (b"added6", b"added6.f")] {
            let flags = dict.get_bytes(flags).unwrap_or_default();
            let flag = |at: usize| PexFlags(flags.get(at).copied().unwrap_or_default());
            let peers = addresses(dict, list).into_iter().enumerate();
            let peers = peers.map(|(at, addr)| (addr, flag(at)));
            message.added.extend(peers.filter(|(addr, _)| can_be_dialled(addr)));
        }
        for list in [&b"dropped"[..], b"dropped6"] {
            message.dropped.extend(addresses(dict, list).into_iter().filter(can_be_dialled));
        }
        Ok(message)
    }

    /// The payload of the extended message. Of each list at most [`MAX_PER_FAMILY`] addresses of a family are
    /// written, the first ones.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let added = |v4| {
            let mut lists = (Vec::new(), Vec::new());
            let family = self.added.iter().filter(|(addr, _)| addr.is_ipv4() == v4);
            for (addr, flags) in family.take(MAX_PER_FAMILY) {
                push_compact(addr, &mut lists.0);
                lists.1.push(flags.0);
            }
            lists
        };
        let dropped = |v4| {
            let mut list = Vec::new();
            let family = self.dropped.iter().filter(|addr| addr.is_ipv4() == v4);
            family.take(MAX_PER_FAMILY).for_each(|addr| push_compact(addr, &mut list));
            list
        };
        let (v4, v6) = (added(true), added(false));
        Encoder::dict_bytes(|dict| {
            // Some clients look for the first three whatever is in them.
            dict.bytes(b"added", &v4.0);
            dict.bytes(b"added.f", &v4.1);
            dict.bytes(b"dropped", &dropped(true));
            if !v6.0.is_empty() {
                dict.bytes(b"added6", &v6.0);
                dict.bytes(b"added6.f", &v6.1);
            }
            let dropped6 = dropped(false);
            if !dropped6.is_empty() {
                dict.bytes(b"dropped6", &dropped6);
            }
        })
    }

    /// Whether it says nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.added.is_empty() && self.dropped.is_empty()
    }
}

/// The first addresses of `list`, of the family that its name tells.
fn addresses(dict: Dict<'_, '_>, list: &[u8]) -> Vec<SocketAddr> {
    let bytes = dict.get_bytes(list).unwrap_or_default();
    if list.ends_with(b"6") {
        let entries = bytes.as_chunks::<18>().0.iter().take(MAX_PER_FAMILY);
        entries.map(v6).collect()
    } else {
        let entries = bytes.as_chunks::<6>().0.iter().take(MAX_PER_FAMILY);
        entries.map(v4).collect()
    }
}

const fn v4(entry: &[u8; 6]) -> SocketAddr {
    let [a, b, c, d, port @ ..] = *entry;
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), u16::from_be_bytes(port))
}

fn v6(entry: &[u8; 18]) -> SocketAddr {
    let mut ip = [0; 16];
    ip.copy_from_slice(&entry[..16]);
    let port = u16::from_be_bytes([entry[16], entry[17]]);
    SocketAddr::new(IpAddr::V6(Ipv6Addr::from(ip)), port)
}

fn can_be_dialled(addr: &SocketAddr) -> bool {
    addr.port() != 0 && !addr.ip().is_unspecified() && !addr.ip().is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    #[test]
    fn a_message_of_another_client() {
        let payload = b"d5:added12:\x0a\0\0\x01\x1a\xe1\x0a\0\0\x02\x1a\xe27:added.f2:\x02\x106:added60:8:added6.f0:\
            7:dropped6:\x0a\0\0\x03\0\x01e";
        let addr = |ip: [u8; 4], port| SocketAddr::from((ip, port));
        let want = PexMessage {
            added: vec![
                (addr([10, 0, 0, 1], 6881), PexFlags(PexFlags::SEED)),
                (addr([10, 0, 0, 2], 6882), PexFlags(PexFlags::REACHABLE)),
            ],
            dropped: vec![addr([10, 0, 0, 3], 1)],
        };
        assert_eq!(PexMessage::parse(payload), Ok(want));
    }

    #[test]
    fn flags_stay_with_their_address() {
        // The first cannot be dialled, the third has no flags.
        let payload =
            b"d5:added18:\x0a\0\0\x01\0\0\x0a\0\0\x02\0\x02\x0a\0\0\x03\0\x037:added.f2:\x01\x02e";
        let read = PexMessage::parse(payload).unwrap();
        let flags: Vec<_> = read.added.iter().map(|(addr, flags)| (addr.port(), flags.0)).collect();
        assert_eq!(flags, [(2, 2), (3, 0)]);
    }

    #[test]
    fn a_flood_is_cut() {
        let mut bytes = Vec::new();
        for port in 1..=5000u16 {
            bytes.extend([10, 0, 0, 1]);
            bytes.extend(port.to_be_bytes());
        }
        let payload = Encoder::dict_bytes(|dict| {
            dict.bytes(b"added", &bytes);
            dict.bytes(b"dropped", &bytes);
        });
        let read = PexMessage::parse(&payload).unwrap();
        assert_eq!((read.added.len(), read.dropped.len()), (MAX_PER_FAMILY, MAX_PER_FAMILY));
        assert_eq!(PexMessage::parse(b"le"), Err(PexError::NotADictionary));
        assert!(matches!(PexMessage::parse(b"d"), Err(PexError::NotBencode(_))));
    }

    fn any_addr() -> impl Strategy<Value = SocketAddr> {
        let v4 = (1u8..224, any::<[u8; 3]>()).prop_map(|(a, [b, c, d])| IpAddr::from([a, b, c, d]));
        let v6 = any::<[u8; 14]>().prop_map(|rest| {
            let mut ip = [0x20; 16];
            ip[2..].copy_from_slice(&rest);
            IpAddr::from(ip)
        });
        (prop_oneof![v4, v6], 1u16..).prop_map(|(ip, port)| SocketAddr::new(ip, port))
    }

    proptest! {
        #[test]
        fn messages_survive_the_trip_within_the_bounds(
            added in proptest::collection::vec((any_addr(), any::<u8>()), 0..150),
            dropped in proptest::collection::vec(any_addr(), 0..150),
        ) {
            let added: Vec<_> = added.into_iter().map(|(addr, f)| (addr, PexFlags(f))).collect();
            let message = PexMessage { added: added.clone(), dropped: dropped.clone() };
            let read = PexMessage::parse(&message.encode()).unwrap();
            let first = |v4: bool| {
                added.iter().copied().filter(move |(a, _)| a.is_ipv4() == v4).take(MAX_PER_FAMILY)
            };
            prop_assert_eq!(read.added, first(true).chain(first(false)).collect::<Vec<_>>());
            let first = |v4: bool| {
                dropped.iter().copied().filter(move |a| a.is_ipv4() == v4).take(MAX_PER_FAMILY)
            };
            prop_assert_eq!(read.dropped, first(true).chain(first(false)).collect::<Vec<_>>());
        }
    }
}
