//! Stored items: where they are stored, what is signed (BEP 44), and items that point to a torrent (BEP 46).

use super::NodeId;
use crate::bencode::{self, Encoder, Limits};
use crate::id::WireHash;
use alloc::vec::Vec;
use core::fmt;
use data_encoding::HEXLOWER;
use sha1::{Digest, Sha1};

/// Longest value that is stored, in bytes, as it is encoded (BEP 44).
pub const MAX_ITEM_VALUE: usize = 1000;

/// Longest salt, in bytes (BEP 44).
pub const MAX_SALT: usize = 64;

/// An ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

/// An ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({})", HEXLOWER.encode(&self.0))
    }
}

/// Where an immutable item is stored: the SHA-1 of its encoded value.
#[must_use]
pub fn immutable_target(value: &[u8]) -> NodeId {
    NodeId(Sha1::digest(value).into())
}

/// Where a mutable item is stored: the SHA-1 of its key and salt.
#[must_use]
pub fn mutable_target(key: &PublicKey, salt: &[u8]) -> NodeId {
    NodeId(Sha1::new().chain_update(key.0).chain_update(salt).finalize().into())
}

/// What the signature of a mutable item is over: salt (if any), number and encoded value.
#[must_use]
pub fn signed_bytes(salt: &[u8], seq: i64, value: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new();
    if !salt.is_empty() {
        encoder.bytes(b"salt");
        encoder.bytes(salt);
    }
    encoder.bytes(b"seq");
    encoder.int(seq);
    encoder.bytes(b"v");
    encoder.raw(value);
    encoder.finish()
}

/// The encoded value of a mutable item that points to `torrent` (BEP 46).
#[must_use]
pub fn pointer_value(torrent: WireHash) -> Vec<u8> {
    Encoder::dict_bytes(|d| d.bytes(b"ih", &torrent.0))
}

/// The torrent that the encoded value of a mutable item points to (BEP 46).
#[must_use]
pub fn pointed_torrent(value: &[u8]) -> Option<WireHash> {
    let doc = bencode::parse(value, Limits::WIRE).ok()?;
    let hash = doc.as_dict()?.get_bytes(b"ih")?;
    Some(WireHash(hash.try_into().ok()?))
}
