//! Bytes of unwanted files.
//!
//! Pieces at the edge of a wanted file reach into its neighbours. Where a neighbour is not wanted and not there, its
//! bytes are kept aside in one hidden, sparse file, each at its offset in the linear space, so that no unwanted file
//! appears. When the neighbour is wanted later, they are moved to their place. Until it is told what is wanted, a
//! storage finds what an earlier session kept aside, and moves it as soon as its file is written to.

use super::{DirStorage, Place};
use crate::beneath;
use crate::layout::LayoutFile;
use crate::positional;
use crate::storage::Storage;
use samara_wire::bitfield::Bitfield;
use samara_wire::id::{FileIndex, PieceIndex};
use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::{PoisonError, RwLockReadGuard};

/// Which files have their bytes kept aside.
#[derive(Debug, Default)]
pub(super) struct Aside {
    pub(super) files: BTreeSet<FileIndex>,
    /// Whether that was told, and not found.
    told: bool,
}

impl DirStorage {
    /// Which files are kept aside; looks if nobody did yet.
    pub(super) fn aside(&self) -> io::Result<RwLockReadGuard<'_, Option<Aside>>> {
        loop {
            let aside = self.aside.read().unwrap_or_else(PoisonError::into_inner);
            if aside.is_some() {
                return Ok(aside);
            }
            drop(aside);
            let mut aside = self.aside.write().unwrap_or_else(PoisonError::into_inner);
            if aside.is_none() {
                *aside = Some(self.find_aside()?);
            }
        }
    }

    /// What an earlier session may have kept aside: something of every file that is not there.
    fn find_aside(&self) -> io::Result<Aside> {
        let mut found = Aside::default();
        if self.identity_of(self.place_aside(FileIndex(0))?)?.is_some() {
            for file in self.files_with_bytes() {
                if self.identity_of(self.own_place(file)?)?.is_none() {
                    found.files.insert(file);
                }
            }
        }
        Ok(found)
    }

    /// Moves what is kept aside of `file` to its place before the first write to it, unless it was told to be unwanted.
    pub(super) fn settle(&self, file: FileIndex) -> io::Result<()> {
        let is_found = |aside: &Aside| !aside.told && aside.files.contains(&file);
        if self.aside()?.as_ref().is_some_and(is_found) {
            let mut aside = self.aside.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(aside) = aside.as_mut().filter(|aside| is_found(aside)) {
                self.bring_back(file)?;
                aside.files.remove(&file);
            }
        }
        Ok(())
    }

    fn files_with_bytes(&self) -> impl Iterator<Item = FileIndex> + '_ {
        let has_bytes = |(_, f): &(u32, &LayoutFile)| f.is_stored() && f.len > 0;
        (0u32..).zip(self.layout.files()).filter(has_bytes).map(|(index, _)| FileIndex(index))
    }

    /// Tells which files are wanted: moves what is kept aside of those, and keeps aside the others that are not there.
    pub(super) fn set_aside(&self, wanted: Option<&Bitfield>) -> io::Result<()> {
        let mut aside = self.aside.write().unwrap_or_else(PoisonError::into_inner);
        let kept = self.place_aside(FileIndex(0))?;
        let holds_some = self.identity_of(kept)?.is_some();
        if holds_some {
            // What a run left that was killed while it moved something.
            self.remove(self.place_moving(FileIndex(0))?)?;
        }
        let mut next = BTreeSet::new();
        for file in self.files_with_bytes() {
            let is_wanted = wanted.is_none_or(|set| set.has(PieceIndex(file.0)));
            if !is_wanted && self.identity_of(self.own_place(file)?)?.is_none() {
                next.insert(file);
            } else if holds_some {
                self.bring_back(file)?;
                aside.get_or_insert_default().files.remove(&file);
            }
        }
        if next.is_empty() && holds_some {
            self.sync_names()?;
            self.remove(kept)?;
        }
        *aside = Some(Aside { files: next, told: true });
        Ok(())
    }

    /// The ranges of `file` that pieces share with its neighbours: all that is ever kept aside of it.
    fn edges(&self, file: &LayoutFile) -> [Range<u64>; 2] {
        let piece_len = u64::from(self.layout.pieces().piece_len());
        let end = file.offset + file.len;
        let head_end = file.offset.next_multiple_of(piece_len).min(end);
        let tail_start = (end - end % piece_len).max(head_end);
        [0..head_end - file.offset, tail_start - file.offset..file.len]
    }

    /// Brings what was kept aside of `file` durably to its own place, if that is not there yet. It comes there whole or, after an error or a
    /// crash, not at all: a part of it would pass for the whole the next time.
    fn bring_back(&self, file: FileIndex) -> io::Result<()> {
        let own = self.own_place(file)?;
        if self.identity_of(own)?.is_some() {
            return Ok(());
        }
        let moving = self.place_moving(file)?;
        // Of a run that was killed meanwhile.
        self.remove(moving)?;
        if self.copy_back(file, moving).inspect_err(|_| _ = self.remove(moving))? {
            let dirs = self.make_parents(own.path)?;
            self.pool.forget((self.id, moving.number));
            beneath::rename(&*self.root()?, moving.path, own.path)?;
            self.unsynced().extend([String::new(), dirs.to_owned()]);
            self.marks.note(own.number, self.identity_of(own)?);
        }
        Ok(())
    }

    /// Copies what was kept aside of `file`, durably. Bytes that are all zero are as good as none. Gives whether there were others.
    fn copy_back(&self, file: FileIndex, to: Place<'_>) -> io::Result<bool> {
        let from = self.place_aside(file)?;
        let (aside, mut moving) = (self.open_place(from)?, None);
        let mut buf = vec![0; 1 << 16];
        for edge in self.edges(self.entry(file)?) {
            let mut at = edge.start;
            while at < edge.end {
                let most = usize::try_from(edge.end - at).unwrap_or(usize::MAX).min(buf.len());
                let n = match positional::read_at(&aside, from.base + at, &mut buf[..most]) {
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                    other => other?,
                };
                if n == 0 {
                    break;
                }
                if buf[..n].iter().any(|&b| b != 0) {
                    let open = self.open_for_write(to)?;
                    positional::write_all_at(&open, at, &buf[..n])?;
                    moving = Some(open);
                }
                at += n as u64;
            }
        }
        let Some(moving) = moving else { return Ok(false) };
        moving.sync_data()?;
        Ok(true)
    }
}
