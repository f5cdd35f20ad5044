//! An info dictionary that is being put together from pieces, each with its sender.

use super::FetchKey;
use alloc::boxed::Box;
use alloc::vec::Vec;
use samara_wire::id::InfoHashes;
use samara_wire::peer::ut_metadata::pieces_of;
use sha1::{Digest, Sha1};
use sha2::Sha256;

/// Pieces of one claimed length. Memory is taken as they arrive.
#[derive(Clone, Debug)]
pub(super) struct Assembly {
    pieces: Vec<Option<(FetchKey, Box<[u8]>)>>,
    missing: usize,
}

impl Assembly {
    pub(super) fn new(len: u32) -> Self {
        let count = pieces_of(len) as usize;
        Self { pieces: alloc::vec![None; count], missing: count }
    }

    pub(super) fn count(&self) -> usize {
        self.pieces.len()
    }

    pub(super) const fn missing(&self) -> usize {
        self.missing
    }

    pub(super) fn lacks(&self, piece: u32) -> bool {
        self.pieces.get(piece as usize).is_some_and(Option::is_none)
    }

    /// Takes a piece of the right length, unless it is there.
    pub(super) fn insert(&mut self, piece: u32, from: FetchKey, bytes: &[u8]) {
        if self.lacks(piece) {
            self.pieces[piece as usize] = Some((from, bytes.into()));
            self.missing -= 1;
        }
    }

    /// All bytes, once nothing is missing.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.pieces.iter().flatten().flat_map(|(_, bytes)| bytes.iter().copied()).collect()
    }

    /// Who sent which piece, with the digest of what it sent.
    pub(super) fn evidence(&self) -> impl Iterator<Item = Evidence> + '_ {
        let pieces = (0u32..).zip(&self.pieces);
        pieces.filter_map(|(piece, slot)| {
            let (from, bytes) = slot.as_ref()?;
            Some(Evidence { piece, from: *from, digest: Sha1::digest(bytes).into() })
        })
    }
}

/// What a peer sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Evidence {
    pub(super) piece: u32,
    pub(super) from: FetchKey,
    pub(super) digest: [u8; 20],
}

/// Whether `raw` is the info dictionary that `hashes` names: by both of them where there are two.
#[must_use]
pub fn is_named(hashes: &InfoHashes, raw: &[u8]) -> bool {
    let v1 = hashes.v1().is_none_or(|hash| hash.0 == <[u8; 20]>::from(Sha1::digest(raw)));
    v1 && hashes.v2().is_none_or(|hash| hash.0 == <[u8; 32]>::from(Sha256::digest(raw)))
}
