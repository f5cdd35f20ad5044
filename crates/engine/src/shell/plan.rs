//! What of the data that is there may be trusted, and what has to be hashed.
//!
//! A record is believed of the pieces all of whose files are still the ones it speaks of. That a file looks unchanged does not
//! mean that nothing was written to it since: after a power failure its new bytes may be on disk and its old time of change, too.
//! So nothing but what was durable is ever claimed, and unless the record says that nothing was written after it, pieces that it
//! does not claim are looked at before they are overwritten.

use crate::resume::ResumeData;
use samara_disk::FileIdentity;
use samara_wire::bitfield::Bitfield;
use samara_wire::id::{FileIndex, PieceIndex};
use samara_wire::metainfo::Info;

/// See the module's head.
pub(crate) struct Plan {
    /// Pieces taken to be there without a look.
    pub(crate) have: Bitfield,
    /// Pieces to be hashed.
    pub(crate) check: Bitfield,
    /// Pieces to be hashed if there is anything on disk where they belong.
    pub(crate) unclaimed: Bitfield,
    /// Unverified blocks on disk.
    pub(crate) partial: Vec<(PieceIndex, Bitfield)>,
}

impl Plan {
    /// `files` are the identities of the torrent's files as they are found.
    pub(crate) fn new(info: &Info, files: &[FileIdentity], record: Option<&ResumeData>) -> Self {
        let count = info.layout().count();
        let none = || Bitfield::empty(count);
        let mut plan = Self { have: none(), check: none(), unclaimed: none(), partial: Vec::new() };
        let empty = |index: usize| {
            info.files().get(index).is_none_or(|file| file.attributes.padding || file.len == 0)
        };
        let same = |index: usize| match (record, files.get(index)) {
            (Some(resume), Some(file)) => resume.files.get(index) == Some(file),
            _ => false,
        };
        let ended = record.is_some_and(|resume| resume.ended);
        for (index, file) in files.iter().enumerate() {
            if !file.exists || empty(index) || ended && same(index) {
                continue;
            }
            let pieces = if same(index) { &mut plan.unclaimed } else { &mut plan.check };
            let index = FileIndex(u32::try_from(index).unwrap_or(u32::MAX));
            for piece in info.pieces_of_file(index).map(PieceIndex) {
                pieces.insert(piece);
            }
        }
        let Some(resume) = record else { return plan };
        let untouched = |piece: PieceIndex| info.files_of_piece(piece).all(|i| empty(i) || same(i));
        for piece in resume.have.iter().filter(|&piece| untouched(piece)) {
            plan.have.insert(piece);
        }
        for &piece in &resume.unsettled {
            plan.check.insert(piece);
        }
        for piece in plan.have.iter().chain(plan.check.iter()) {
            plan.unclaimed.remove(piece);
        }
        let partial = resume.partial.iter().filter(|(piece, _)| untouched(*piece));
        plan.partial = partial.cloned().collect();
        plan
    }
}
