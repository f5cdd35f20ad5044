//! Datagrams through a SOCKS5 relay: each has a header that says where it goes or came from (RFC 1928, section 7).

use super::target::{self, Target};
use alloc::vec::Vec;

/// The longest header, in bytes.
pub const MAX_HEADER: usize = 3 + 1 + 1 + super::MAX_NAME + 2;

/// Why a datagram from the relay is of no use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DatagramError {
    /// No header, or half of one.
    #[error("the datagram from the proxy has no whole header")]
    Header,
    /// A part of a larger one. Those who cannot join parts must drop them, says the RFC, and nobody sends them.
    #[error("the datagram from the proxy is a part of another one")]
    Fragment,
}

/// Appends the header of a datagram to `target`; the payload goes behind it.
pub fn encode_header(target: &Target, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 0, 0]);
    target::encode(target, out);
}

/// Where a datagram from the relay came from, and its payload.
///
/// # Errors
/// If it has no header that makes sense.
pub fn decode(datagram: &[u8]) -> Result<(Target, &[u8]), DatagramError> {
    match datagram {
        [0, 0, 0, rest @ ..] => {
            let (from, len) = target::decode(rest).map_err(|_| DatagramError::Header)?;
            Ok((from, &rest[len..]))
        }
        [0, 0, _, ..] => Err(DatagramError::Fragment),
        _ => Err(DatagramError::Header),
    }
}
