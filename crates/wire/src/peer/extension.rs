//! The handshake of the extension protocol (BEP 10), with what BEP 9 and 21 add to it.
//!
//! It is the payload of the extended message 0: a dictionary in which each side names the extensions it can
//! receive and the message id it wants for each. Every key is optional, and peers get many of them wrong; a value
//! that makes no sense is treated as absent, so that only a payload that is no dictionary is an error.

use super::client::printable;
use crate::bencode::{self, BencodeError, Encoder, Limits, Strictness};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Id of the handshake itself among extended messages.
pub const HANDSHAKE_ID: u8 = 0;

/// Extensions that are remembered of one peer. Clients name about ten.
const MAX_EXTENSIONS: usize = 64;

/// Bytes of an extension's name; a longer one is passed over.
const MAX_NAME: usize = 64;

/// Characters of a client's name and version that are kept.
const MAX_CLIENT: usize = 64;

/// Longest metadata that is believed in, in bytes: what a peer may make us fetch.
pub const MAX_METADATA_LEN: u32 = 16 * 1024 * 1024;

const LIMITS: Limits = Limits { depth: 16, tokens: 2_000, strictness: Strictness::Lenient };

/// What a peer says of itself in the extension handshake.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExtensionHandshake {
    /// Extensions by name, safe to print, with the id the sender wants them under; 0 turns one off. At most 64.
    pub extensions: Vec<(String, u8)>,
    /// Client and version (`v`), safe to print.
    pub client: Option<String>,
    /// The sender's listening port (`p`).
    pub port: Option<u16>,
    /// Requests the sender queues before it drops some (`reqq`).
    pub request_queue: Option<u32>,
    /// The receiver's address as the sender sees it (`yourip`).
    pub your_ip: Option<IpAddr>,
    /// The sender's IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// The sender's IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// Length of the info dictionary in bytes (BEP 9), 1 to [`MAX_METADATA_LEN`].
    pub metadata_len: Option<u32>,
    /// Whether the sender downloads nothing (BEP 21).
    pub upload_only: bool,
}

impl ExtensionHandshake {
    /// The id under which the sender wants messages of the extension `name`, if it wants them.
    #[must_use]
    pub fn id_of(&self, name: &str) -> Option<u8> {
        let (_, id) = self.extensions.iter().find(|(known, _)| known == name)?;
        (*id != 0).then_some(*id)
    }

    /// Reads the payload of the extended message 0.
    ///
    /// # Errors
    /// If it is not bencode, or is no dictionary.
    pub fn parse(payload: &[u8]) -> Result<Self, ExtensionError> {
        let doc = bencode::parse(payload, LIMITS)?;
        let dict = doc.as_dict().ok_or(ExtensionError::NotADictionary)?;
        let bounded = |key, max: u32| {
            let n = dict.get(key)?.as_u64()?;
            u32::try_from(n).ok().filter(|n| (1..=max).contains(n))
        };
        let octets = |key| dict.get_bytes(key);
        Ok(Self {
            extensions: dict.get_dict(b"m").map(extensions).unwrap_or_default(),
            client: octets(b"v").map(text).filter(|name| !name.is_empty()),
            port: bounded(b"p", u32::from(u16::MAX)).and_then(|port| u16::try_from(port).ok()),
            request_queue: bounded(b"reqq", u32::MAX),
            your_ip: octets(b"yourip").and_then(address),
            ipv4: octets(b"ipv4").and_then(|ip| <[u8; 4]>::try_from(ip).ok()).map(Into::into),
            ipv6: octets(b"ipv6").and_then(|ip| <[u8; 16]>::try_from(ip).ok()).map(Into::into),
            metadata_len: bounded(b"metadata_size", MAX_METADATA_LEN),
            upload_only: dict.get_int(b"upload_only").is_some_and(|flag| flag != 0),
        })
    }

    /// The payload of the extended message 0. An extension named twice is written once, with its first id.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut extensions: Vec<_> = self.extensions.iter().collect();
        extensions.sort_by_key(|entry| &entry.0);
        extensions.dedup_by_key(|entry| &entry.0);
        Encoder::dict_bytes(|dict| {
            if let Some(ip) = self.ipv4 {
                dict.bytes(b"ipv4", &ip.octets());
            }
            if let Some(ip) = self.ipv6 {
                dict.bytes(b"ipv6", &ip.octets());
            }
            dict.dict(b"m", |m| {
                for (name, id) in &extensions {
                    m.int(name.as_bytes(), i64::from(*id));
                }
            });
            if let Some(len) = self.metadata_len {
                dict.int(b"metadata_size", i64::from(len));
            }
            if let Some(port) = self.port {
                dict.int(b"p", i64::from(port));
            }
            if let Some(requests) = self.request_queue {
                dict.int(b"reqq", i64::from(requests));
            }
            if self.upload_only {
                dict.int(b"upload_only", 1);
            }
            if let Some(client) = &self.client {
                dict.bytes(b"v", client.as_bytes());
            }
            match self.your_ip {
                Some(IpAddr::V4(ip)) => dict.bytes(b"yourip", &ip.octets()),
                Some(IpAddr::V6(ip)) => dict.bytes(b"yourip", &ip.octets()),
                None => {}
            }
        })
    }
}

/// Why a payload is no extension handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ExtensionError {
    /// It is not bencode.
    #[error("the extension handshake cannot be read ({0})")]
    NotBencode(#[from] BencodeError),
    /// It is something else than a dictionary.
    #[error("the extension handshake is no dictionary")]
    NotADictionary,
}

fn extensions(m: bencode::Dict<'_, '_>) -> Vec<(String, u8)> {
    m.into_iter()
        .filter(|(name, _)| (1..=MAX_NAME).contains(&name.len()))
        .filter(|(name, _)| name.iter().all(u8::is_ascii_graphic))
        .filter_map(|(name, id)| {
            let id = u8::try_from(id.as_int()?).ok()?;
            Some((String::from_utf8_lossy(name).to_string(), id))
        })
        .take(MAX_EXTENSIONS)
        .collect()
}

fn text(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(MAX_CLIENT * 4)];
    printable(&String::from_utf8_lossy(bytes), MAX_CLIENT)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;
    use std::format;

    #[test]
    fn what_other_clients_send_is_understood() {
        let payload = b"d1:ei0e4:ipv44:\x7f\0\0\x0112:complete_agoi5e1:md11:lt_donthavei7e6:ut_pexi1e11:ut_metadatai2ee\
            13:metadata_sizei31235e1:pi6881e4:reqqi500e11:upload_onlyi1e1:v17:qBittorrent/4.6.56:yourip4:\x0a\0\0\x02e";
        let handshake = ExtensionHandshake::parse(payload).unwrap();
        assert_eq!(handshake.id_of("ut_pex"), Some(1));
        assert_eq!(handshake.id_of("ut_metadata"), Some(2));
        assert_eq!(handshake.id_of("ut_holepunch"), None);
        assert_eq!(handshake.client.as_deref(), Some("qBittorrent/4.6.5"));
        assert_eq!((handshake.port, handshake.request_queue), (Some(6881), Some(500)));
        assert_eq!(handshake.metadata_len, Some(31235));
        assert_eq!(handshake.ipv4, Some(Ipv4Addr::LOCALHOST));
        assert_eq!(handshake.your_ip, Some([10, 0, 0, 2].into()));
        assert!(handshake.upload_only);
    }

    #[test]
    fn values_that_make_no_sense_count_as_absent() {
        let payload = b"d1:md0:i1e2:\x1b[i2e1:ai256e1:bi-1e1:ci0e1:d1:xe13:metadata_sizei99999999e1:pi70000e4:reqqi0e\
            11:upload_only1:x1:v1:\x076:yourip3:abce";
        let handshake = ExtensionHandshake::parse(payload).unwrap();
        let want = ExtensionHandshake {
            extensions: vec![("c".to_string(), 0)],
            ..ExtensionHandshake::default()
        };
        assert_eq!(handshake, want);
        assert_eq!(handshake.id_of("c"), None);
        assert_eq!(ExtensionHandshake::parse(b"le"), Err(ExtensionError::NotADictionary));
        assert!(matches!(ExtensionHandshake::parse(b"x"), Err(ExtensionError::NotBencode(_))));
    }

    #[test]
    fn a_peer_cannot_name_extensions_without_end() {
        let names: Vec<_> = (0..500).map(|i| format!("4:x{i:03}i1e")).collect();
        let payload = format!("d1:md{}ee", names.concat());
        let handshake = ExtensionHandshake::parse(payload.as_bytes()).unwrap();
        assert_eq!(handshake.extensions.len(), MAX_EXTENSIONS);
    }

    fn any_handshake() -> impl Strategy<Value = ExtensionHandshake> {
        let names = proptest::collection::btree_map("[a-z_]{1,20}", any::<u8>(), 0..20);
        let texts = proptest::option::of("[!-~]{1,60}");
        let numbers = proptest::option::of((1u16.., 1u32.., 1u32..MAX_METADATA_LEN));
        (names, texts, numbers, any::<(bool, [u8; 4], [u8; 16])>()).prop_map(
            |(names, client, numbers, (upload_only, ip4, ip6))| ExtensionHandshake {
                extensions: names.into_iter().collect(),
                client,
                port: numbers.map(|n| n.0),
                request_queue: numbers.map(|n| n.1),
                metadata_len: numbers.map(|n| n.2),
                your_ip: Some(if upload_only { ip4.into() } else { ip6.into() }),
                ipv4: Some(ip4.into()),
                ipv6: (!upload_only).then(|| ip6.into()),
                upload_only,
            },
        )
    }

    proptest! {
        #[test]
        fn handshakes_survive_the_trip(handshake in any_handshake()) {
            prop_assert_eq!(ExtensionHandshake::parse(&handshake.encode()), Ok(handshake));
        }

        #[test]
        fn mutated_handshakes_never_panic(handshake in any_handshake(), at: prop::sample::Index, byte: u8) {
            let mut bytes = handshake.encode();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(read) = ExtensionHandshake::parse(&bytes) {
                let again = ExtensionHandshake::parse(&read.encode()).unwrap();
                prop_assert_eq!(again.client, read.client);
                prop_assert_eq!(again.metadata_len, read.metadata_len);
            }
        }
    }
}
