//! Identifiers and indices. None of them is a bare integer or a bare array outside this module.

use alloc::string::String;
use core::fmt;
use data_encoding::HEXLOWER;

/// Length of the blocks we ask for, in bytes: the unit every client serves (BEP 3).
pub const BLOCK_LEN: u32 = 16 * 1024;

/// Longest block that is served or accepted, in bytes. Older clients ask for up to 128 KiB.
pub const MAX_BLOCK_LEN: u32 = 128 * 1024;

/// The SHA-1 of a v1 (or the v1 half of a hybrid) info dictionary, over its bytes as they stood in the file (BEP 3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoHashV1(pub [u8; 20]);

/// The SHA-256 of a v2 info dictionary (BEP 52).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoHashV2(pub [u8; 32]);

/// The 20 bytes that name a torrent on the wire: in handshakes, to trackers and in the DHT.
///
/// It is the v1 hash, or the v2 hash cut to 20 bytes (BEP 52).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WireHash(pub [u8; 20]);

/// The one or two info-hashes of a torrent. At least one is present.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoHashes {
    v1: Option<InfoHashV1>,
    v2: Option<InfoHashV2>,
}

impl InfoHashes {
    /// Hashes of a v1 torrent.
    #[must_use]
    pub const fn v1_only(v1: InfoHashV1) -> Self {
        Self { v1: Some(v1), v2: None }
    }

    /// Hashes of a v2 torrent.
    #[must_use]
    pub const fn v2_only(v2: InfoHashV2) -> Self {
        Self { v1: None, v2: Some(v2) }
    }

    /// Hashes of a hybrid torrent.
    #[must_use]
    pub const fn hybrid(v1: InfoHashV1, v2: InfoHashV2) -> Self {
        Self { v1: Some(v1), v2: Some(v2) }
    }

    /// The v1 hash, if the torrent has one.
    #[must_use]
    pub const fn v1(&self) -> Option<InfoHashV1> {
        self.v1
    }

    /// The v2 hash, if the torrent has one.
    #[must_use]
    pub const fn v2(&self) -> Option<InfoHashV2> {
        self.v2
    }

    /// The name by which we announce and shake hands: the v1 hash where there is one.
    #[must_use]
    pub fn wire(&self) -> WireHash {
        match (self.v1, self.v2) {
            (Some(v1), _) => WireHash(v1.0),
            (None, Some(v2)) => v2.truncated(),
            (None, None) => unreachable!("every constructor gives at least one hash"),
        }
    }

    /// All names by which peers may call this torrent: of a hybrid there are two.
    pub fn names(&self) -> impl Iterator<Item = WireHash> + use<> {
        let v1 = self.v1.map(|hash| WireHash(hash.0));
        v1.into_iter().chain(self.v2.map(|hash| hash.truncated()))
    }

    /// Whether a peer that names `hash` means this torrent.
    #[must_use]
    pub fn matches(&self, hash: &WireHash) -> bool {
        self.v1.is_some_and(|h| h.0 == hash.0) || self.v2.is_some_and(|h| h.truncated() == *hash)
    }
}

impl InfoHashV2 {
    /// The first 20 bytes, which stand for the whole on the wire (BEP 52).
    #[must_use]
    pub fn truncated(&self) -> WireHash {
        let mut short = [0; 20];
        short.copy_from_slice(&self.0[..20]);
        WireHash(short)
    }
}

/// The 20 bytes by which a client instance names itself (BEP 3, BEP 20).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub [u8; 20]);

impl PeerId {
    /// Our own form of peer id: `-SM`, four version characters, `-`, twelve random bytes from `random`.
    ///
    /// The random part is mapped to letters and digits, because some trackers mishandle other bytes.
    #[must_use]
    pub fn ours(version: [u8; 4], random: [u8; 12]) -> Self {
        const ALPHABET: &[u8; 62] =
            b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let mut id = *b"-SM0000-000000000000";
        id[3..7].copy_from_slice(&version);
        for (to, from) in id[8..].iter_mut().zip(random) {
            *to = ALPHABET[from as usize % ALPHABET.len()];
        }
        Self(id)
    }
}

macro_rules! hex_bytes {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER.encode(&self.0))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    )*};
}
hex_bytes!(InfoHashV1 InfoHashV2 WireHash);

impl fmt::Debug for InfoHashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InfoHashes({})", self.wire())
    }
}

/// Printable bytes as they are, the others as `%XX`.
impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(20);
        for &b in &self.0 {
            if b.is_ascii_graphic() && b != b'%' {
                text.push(char::from(b));
            } else {
                fmt::Write::write_fmt(&mut text, format_args!("%{b:02X}"))?;
            }
        }
        f.write_str(&text)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}

/// Index of a piece in its torrent, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PieceIndex(pub u32);

impl PieceIndex {
    /// The index as an array index.
    #[must_use]
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for PieceIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Index of a file in its torrent, from 0, in the order of the metainfo, padding files counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FileIndex(pub u32);

impl FileIndex {
    /// The index as an array index.
    #[must_use]
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

/// A range of bytes inside one piece: what `request`, `piece`, `cancel` and `reject` name (BEP 3, BEP 6).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BlockRef {
    /// The piece.
    pub piece: PieceIndex,
    /// Offset of the first byte inside the piece.
    pub begin: u32,
    /// Length in bytes.
    pub len: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn a_hybrid_torrent_answers_to_both_names() {
        let both = InfoHashes::hybrid(InfoHashV1([1; 20]), InfoHashV2([2; 32]));
        assert_eq!(both.wire(), WireHash([1; 20]));
        assert!(both.matches(&WireHash([1; 20])) && both.matches(&WireHash([2; 20])));
        assert!(!both.matches(&WireHash([3; 20])));
        assert_eq!(InfoHashes::v2_only(InfoHashV2([2; 32])).wire(), WireHash([2; 20]));
    }

    #[test]
    fn peer_ids_are_printable_and_ours() {
        let id = PeerId::ours(*b"0100", [255; 12]);
        assert!(id.0.starts_with(b"-SM0100-"));
        assert!(id.0.iter().all(u8::is_ascii_graphic));
        assert_eq!(format!("{}", PeerId([b'%'; 20])), "%25".repeat(20));
    }
}
