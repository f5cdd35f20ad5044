//! The 68-byte handshake (BEP 3): who is speaking, about which torrent, and what they can do.

use crate::id::{PeerId, WireHash};

/// Length of a handshake in bytes.
pub const HANDSHAKE_LEN: usize = 68;

/// What every handshake begins with: the length of the protocol's name and the name (BEP 3).
pub(crate) const PREFIX: &[u8; 20] = b"\x13BitTorrent protocol";

/// The eight reserved bytes of the handshake, by which a peer says what it can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reserved(pub [u8; 8]);

impl Reserved {
    /// What we say of ourselves: fast extension and extension protocol.
    pub const OURS: Self = Self([0, 0, 0, 0, 0, 0x10, 0, 0x04]);

    /// The same, saying too that there is a DHT node here (BEP 5).
    #[must_use]
    pub const fn with_dht(mut self) -> Self {
        self.0[7] |= 0x01;
        self
    }

    /// Fast extension (BEP 6): byte 7, bit 2 (0x04).
    #[must_use]
    pub const fn fast(self) -> bool {
        self.0[7] & 0x04 != 0
    }
    /// Extension protocol (BEP 10): byte 5, 0x10.
    #[must_use]
    pub const fn extended(self) -> bool {
        self.0[5] & 0x10 != 0
    }
    /// DHT port message (BEP 5): byte 7, 0x01.
    #[must_use]
    pub const fn dht(self) -> bool {
        self.0[7] & 0x01 != 0
    }
    /// The peer also speaks v2 (BEP 52): byte 7, 0x10.
    #[must_use]
    pub const fn v2(self) -> bool {
        self.0[7] & 0x10 != 0
    }
}

/// A handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handshake {
    /// What the sender can do.
    pub reserved: Reserved,
    /// The torrent meant.
    pub info_hash: WireHash,
    /// Who the sender is.
    pub peer_id: PeerId,
}

/// Why bytes are not a handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The first byte is not 19, the length of the protocol's name. An encrypted connection looks like this.
    #[error("not a BitTorrent handshake: it begins with byte {0} instead of 19")]
    NameLength(u8),
    /// The name of the protocol is another one.
    #[error("not a BitTorrent handshake: the protocol's name is wrong from its byte {0} on")]
    Name(usize),
    /// The connection ended, or stood still, inside the handshake.
    #[error("the handshake has only {0} of 68 bytes")]
    Short(usize),
}

impl Handshake {
    /// The bytes to send.
    #[must_use]
    pub fn encode(&self) -> [u8; HANDSHAKE_LEN] {
        let mut bytes = [0; HANDSHAKE_LEN];
        bytes[..20].copy_from_slice(PREFIX);
        bytes[20..28].copy_from_slice(&self.reserved.0);
        bytes[28..48].copy_from_slice(&self.info_hash.0);
        bytes[48..].copy_from_slice(&self.peer_id.0);
        bytes
    }

    /// Reads the handshake that `bytes` begins with; what follows it is left alone.
    ///
    /// # Errors
    /// If the protocol is not BitTorrent, which is noticed with the first wrong byte however few have
    /// arrived, or if there are fewer than [`HANDSHAKE_LEN`] bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, HandshakeError> {
        if let Some(at) = bytes.iter().zip(PREFIX).position(|(got, want)| got != want) {
            return Err(match at {
                0 => HandshakeError::NameLength(bytes[0]),
                _ => HandshakeError::Name(at - 1),
            });
        }
        let Some(bytes) = bytes.first_chunk::<HANDSHAKE_LEN>() else {
            return Err(HandshakeError::Short(bytes.len()));
        };
        let mut handshake = Self {
            reserved: Reserved::default(),
            info_hash: WireHash([0; 20]),
            peer_id: PeerId([0; 20]),
        };
        handshake.reserved.0.copy_from_slice(&bytes[20..28]);
        handshake.info_hash.0.copy_from_slice(&bytes[28..48]);
        handshake.peer_id.0.copy_from_slice(&bytes[48..]);
        Ok(handshake)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;
    use std::vec::Vec;

    fn sample() -> Handshake {
        Handshake {
            reserved: Reserved::OURS,
            info_hash: WireHash(*b"aaaaaaaaaabbbbbbbbbb"),
            peer_id: PeerId(*b"-SM0100-0123456789ab"),
        }
    }

    #[test]
    fn the_bytes_are_those_of_bep_3() {
        let bytes = sample().encode();
        assert_eq!(&bytes[..28], b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x04");
        assert_eq!(&bytes[28..], b"aaaaaaaaaabbbbbbbbbb-SM0100-0123456789ab");
        let ours = Reserved::OURS;
        assert!(ours.fast() && ours.extended() && !ours.dht() && !ours.v2());
    }

    #[test]
    fn a_stranger_is_known_by_its_first_wrong_byte() {
        assert_eq!(Handshake::parse(b"GET /"), Err(HandshakeError::NameLength(b'G')));
        assert_eq!(Handshake::parse(b"\x13BitTorrent x"), Err(HandshakeError::Name(11)));
        assert_eq!(Handshake::parse(b""), Err(HandshakeError::Short(0)));
        assert_eq!(Handshake::parse(&sample().encode()[..67]), Err(HandshakeError::Short(67)));
        assert!(HandshakeError::NameLength(71).to_string().contains("byte 71"));
    }

    proptest! {
        #[test]
        fn parse_undoes_encode(reserved: [u8; 8], hash: [u8; 20], id: [u8; 20], tail: Vec<u8>) {
            let h = Handshake { reserved: Reserved(reserved), info_hash: WireHash(hash), peer_id: PeerId(id) };
            let mut bytes = h.encode().to_vec();
            bytes.extend(tail);
            prop_assert_eq!(Handshake::parse(&bytes), Ok(h));
        }
    }
}
