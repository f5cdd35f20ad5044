//! What is derived from the secret `S` and the torrent `SKEY`: the hashes of the negotiation and both key streams.

use super::dh::Secret;
use super::policy::Method;
use super::rc4::Rc4;
use super::session::{Cipher, Session};
use crate::id::WireHash;
use alloc::boxed::Box;
use sha1::{Digest, Sha1};

/// The hash by which a peer that dials tells which torrent it means: `HASH('req2', SKEY)`.
///
/// Nobody can tell the info-hash from it. Who accepts connections for many torrents keeps a map from this hash of each to
/// its info-hash, so that a connection costs one look-up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SkeyHash([u8; 20]);

impl SkeyHash {
    /// The hash of one torrent; a hybrid torrent has one for each of its names.
    #[must_use]
    pub fn of(info_hash: WireHash) -> Self {
        Self(sha1(b"req2", &[&info_hash.0]))
    }

    /// As it is sent, hidden by the secret. The same the other way round.
    pub(super) fn hidden(self, secret: &Secret) -> [u8; 20] {
        let mask = sha1(b"req3", &[&secret.0]);
        core::array::from_fn(|at| self.0[at] ^ mask[at])
    }

    pub(super) fn from_hidden(hidden: [u8; 20], secret: &Secret) -> Self {
        Self(Self(hidden).hidden(secret))
    }
}

/// Where the negotiation of the one that dialled goes on behind its padding: `HASH('req1', S)`.
pub(super) fn sync_hash(secret: &Secret) -> [u8; 20] {
    sha1(b"req1", &[&secret.0])
}

/// Both key streams of a connection, seen from one end. The negotiation uses them from the start.
pub(super) struct Streams {
    pub(super) incoming: Box<Rc4>,
    pub(super) outgoing: Box<Rc4>,
}

impl Streams {
    /// Those of the side that dialled.
    pub(super) fn of_initiator(secret: &Secret, info_hash: WireHash) -> Self {
        let stream = |label| Box::new(Rc4::new(&sha1(label, &[&secret.0, &info_hash.0])));
        Self { outgoing: stream(b"keyA"), incoming: stream(b"keyB") }
    }

    /// Those of the side that was dialled.
    pub(super) fn of_responder(secret: &Secret, info_hash: WireHash) -> Self {
        let Self { incoming, outgoing } = Self::of_initiator(secret, info_hash);
        Self { incoming: outgoing, outgoing: incoming }
    }

    /// What the stream behind the negotiation is carried with.
    pub(super) fn into_session(self, method: Method) -> Session {
        match method {
            Method::Plaintext => Session::PLAINTEXT,
            Method::Rc4 => Session {
                incoming: Cipher::rc4(self.incoming),
                outgoing: Cipher::rc4(self.outgoing),
            },
        }
    }
}

fn sha1(label: &[u8; 4], parts: &[&[u8]]) -> [u8; 20] {
    let mut hash = Sha1::new_with_prefix(label);
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}
