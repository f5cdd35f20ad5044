//! What is left of a negotiation: how the stream's bytes are carried, and those that have come already.

use super::policy::Method;
use super::rc4::Rc4;
use crate::id::WireHash;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

/// Carries one direction of a stream.
///
/// RC4 is a stream cipher: every byte of the stream has to pass once, in order, in parts of any size.
pub struct Cipher(Option<Box<Rc4>>);

/// Both directions of one connection.
#[derive(Debug)]
pub struct Session {
    /// For what we receive.
    pub incoming: Cipher,
    /// For what we send.
    pub outgoing: Cipher,
}

/// A connection whose negotiation is over.
#[derive(Debug)]
pub struct Established {
    /// How the stream is carried from here on.
    pub session: Session,
    /// The torrent that the other side was shown to know. Its BitTorrent handshake has to name this one.
    pub info_hash: WireHash,
    /// What of the other side's stream has come already, decrypted: where it dialled, its initial payload and whatever was
    /// fed behind it.
    pub received: Vec<u8>,
}

impl Cipher {
    /// Nothing is done to the bytes.
    pub const PLAINTEXT: Self = Self(None);

    pub(super) const fn rc4(rc4: Box<Rc4>) -> Self {
        Self(Some(rc4))
    }

    /// Encrypts or decrypts the next bytes of the stream in place.
    pub fn apply(&mut self, bytes: &mut [u8]) {
        if let Some(rc4) = &mut self.0 {
            rc4.apply(bytes);
        }
    }

    /// Whether bytes are carried as they are, so that they can go straight from a file to the socket.
    #[must_use]
    pub const fn is_plaintext(&self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_plaintext() { "Plaintext" } else { "Rc4" })
    }
}

impl Session {
    /// A connection without encryption.
    pub const PLAINTEXT: Self = Self { incoming: Cipher::PLAINTEXT, outgoing: Cipher::PLAINTEXT };

    /// What carries the stream.
    #[must_use]
    pub const fn method(&self) -> Method {
        if self.outgoing.is_plaintext() { Method::Plaintext } else { Method::Rc4 }
    }
}
