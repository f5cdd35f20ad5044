//! The 68-byte handshake (BEP 3). SKELETON.

use crate::id::{PeerId, WireHash};

/// Length of a handshake in bytes.
pub const HANDSHAKE_LEN: usize = 68;

/// The eight reserved bytes of the handshake, by which a peer says what it can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reserved(pub [u8; 8]);

impl Reserved {
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
