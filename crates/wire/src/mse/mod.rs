//! Encrypted connections: Message Stream Encryption, also called protocol encryption (PE).
//!
//! It keeps providers from telling BitTorrent by its first bytes; it is no protection against who knows the torrent. There
//! is no BEP; the description is on the wiki of Vuze. With the names used there, A dials B:
//!
//! ```text
//! 1  A -> B   Ya, PadA                                  96 bytes, and 0 to 512 random ones
//! 2  B -> A   Yb, PadB                                  the same; both now know the secret S
//! 3  A -> B   HASH('req1', S)                           where PadA ends
//!             HASH('req2', SKEY) ^ HASH('req3', S)      which torrent is meant
//!             ENCRYPT(VC, crypto_provide, len(PadC), PadC, len(IA)), ENCRYPT(IA)
//! 4  B -> A   ENCRYPT(VC, crypto_select, len(PadD), PadD)    where VC, eight zeros, tells where PadB ends
//! 5  both     the stream, by RC4 or plain as selected
//! ```
//!
//! `SKEY` is the info-hash, `IA` the initial payload: our BitTorrent handshake. [`Initiator`] is A and [`Responder`] is B,
//! as state machines: they are fed what arrives in parts of any size and append what is to be sent. They know no time:
//! whoever feeds them gives up on a peer that does not get on. In the end there is an [`Established`].
//!
//! **Bounds.** A responder waits for no more than 96 + 512 + 20 bytes before the other side has shown to know a torrent of
//! ours, and keeps none but those that it was fed. Public values are computed for who has sent 96 bytes only; each
//! connection costs two exponentiations, which a shell may put off ([`Responder::would_compute`]).

mod dh;
mod inbox;
mod initiator;
mod keys;
mod policy;
mod rc4;
mod responder;
mod session;
#[cfg(test)]
mod tests;

pub use initiator::Initiator;
pub use keys::SkeyHash;
pub use policy::{Attempt, Method, Methods, Policy};
pub use responder::Responder;
pub use session::{Cipher, Established, Session};

use crate::rng::Rng;
use alloc::vec::Vec;

/// The longest padding that is sent and accepted, in bytes, each of the four times.
pub const MAX_PADDING: usize = 512;

/// The longest initial payload that is accepted, in bytes: room for more than the handshake of 68 bytes, which is all that
/// is ever sent.
pub const MAX_INITIAL_PAYLOAD: usize = 1024;

/// The verification constant.
const VC: [u8; 8] = [0; 8];

/// What has come of the bytes that were fed.
#[derive(Debug)]
pub enum Progress {
    /// More are needed.
    Pending,
    /// The other side, which dialled us, does not encrypt, and may do so: all that it has sent, which begins with the name of
    /// the protocol.
    Plain(Vec<u8>),
    /// The negotiation is over. What was appended to the output is still to be sent, before anything else.
    Established(Established),
}

/// Why a negotiation failed. The connection is of no use any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MseError {
    /// The other side begins without encryption, which is [required](Policy::Require).
    #[error("the peer does not encrypt, and encryption is required")]
    PlainRefused,
    /// The other side begins with encryption, which is [off](Policy::Off).
    #[error("the peer wants to encrypt, and encryption is off")]
    EncryptedRefused,
    /// The other side, which we dialled, answers with a BitTorrent handshake.
    #[error("the peer answers without encryption")]
    PlainAnswer,
    /// The public value is 0, 1, -1 or not below the prime.
    #[error("the peer's public value is not one of the key exchange")]
    BadKey,
    /// No mark within the longest padding: the other side speaks something else, or means another torrent than we do.
    #[error(
        "no end of the padding within 512 bytes: the peer speaks another protocol, or means another torrent"
    )]
    NoSync,
    /// None of our torrents has the hash that was sent.
    #[error("the peer asks for a torrent that is not here")]
    UnknownTorrent,
    /// The verification constant is not zero.
    #[error("the verification constant of the encryption is wrong")]
    BadConstant,
    /// The other side offers no method that we accept.
    #[error("the peer offers no method of encryption that is accepted here (it offers {0:#x})")]
    NoMethod(u32),
    /// The other side selected a method that we did not offer, or several.
    #[error("the peer selected a method of encryption that was not offered ({0:#x})")]
    BadSelection(u32),
    /// More padding than there may be.
    #[error("{0} bytes of padding in the encrypted handshake, where 512 are allowed")]
    PaddingTooLong(u16),
    /// More initial payload than we take.
    #[error("{0} bytes of initial payload in the encrypted handshake, where 1024 are allowed")]
    PayloadTooLong(u16),
    /// The negotiation had ended before, in success or failure.
    #[error("the negotiation of encryption is over")]
    Over,
}

/// What one state of a negotiation leads to.
enum Step<S> {
    /// It needs more bytes.
    Wait(S),
    /// Another state, which may have all it needs.
    Next(S),
    /// The end.
    Done(Progress),
}

/// Appends random bytes, up to [`MAX_PADDING`].
fn pad(rng: &mut Rng, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + rng.below(MAX_PADDING + 1), 0);
    rng.fill(&mut out[start..]);
}

/// Appends the padding that is encrypted, with its length before it: zeros, as the description has it.
#[expect(clippy::cast_possible_truncation, reason = "at most 512")]
fn pad_encrypted(rng: &mut Rng, out: &mut Vec<u8>) {
    let len = rng.below(MAX_PADDING + 1);
    out.extend_from_slice(&(len as u16).to_be_bytes());
    out.resize(out.len() + len, 0);
}

/// The length of a padding as it was told.
fn padding_len(told: [u8; 2]) -> Result<usize, MseError> {
    let len = u16::from_be_bytes(told);
    if usize::from(len) > MAX_PADDING { Err(MseError::PaddingTooLong(len)) } else { Ok(len.into()) }
}
