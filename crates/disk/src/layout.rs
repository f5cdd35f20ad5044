//! Where the bytes of a torrent lie in its files.
//!
//! All files stand one after another in a linear space (see [`PieceLayout`]); a range of it is split here into
//! [`Segment`]s, one for each file it touches. The file that holds an offset is found by binary search over the
//! files that have bytes, so a piece in a torrent of 100,000 files costs as much as in one of ten, and empty files
//! are never looked at. Padding files (BEP 47) and the gaps behind files of v2 torrents (BEP 52) are segments
//! without a file: they read as zeros and what is written to them is dropped.

use samara_wire::id::{BlockRef, FileIndex, PieceIndex};
use samara_wire::layout::PieceLayout;
use samara_wire::metainfo::{FileEntry, FilePath, Info};
use std::ops::Range;

/// A file as storage sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LayoutFile {
    /// Safe path below the directory of the download.
    pub path: FilePath,
    /// Length in bytes.
    pub len: u64,
    /// Offset of the first byte in the linear space.
    pub offset: u64,
    /// Zeros that are never stored (BEP 47).
    pub padding: bool,
    /// To be made executable (BEP 47).
    pub executable: bool,
    /// Target if the file is a symbolic link, below the same directory as `path` (BEP 47).
    pub symlink: Option<FilePath>,
}

impl LayoutFile {
    /// An ordinary file.
    #[must_use]
    pub const fn new(path: FilePath, len: u64, offset: u64) -> Self {
        Self { path, len, offset, padding: false, executable: false, symlink: None }
    }

    /// Whether bytes of this file are kept on disk (or it is an empty file to be created).
    #[must_use]
    pub fn is_stored(&self) -> bool {
        !self.padding && self.symlink.is_none()
    }
}

/// A range of one file, or of zeros that no file holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// The file; `None` for padding and gaps.
    pub file: Option<FileIndex>,
    /// Offset in that file; 0 without a file.
    pub offset: u64,
    /// Length in bytes, never 0.
    pub len: u64,
}

/// The files and pieces of one torrent.
#[derive(Debug)]
pub struct Layout {
    files: Box<[LayoutFile]>,
    pieces: PieceLayout,
    /// Offset and index of each stored file that is not empty, ascending and without overlap.
    extents: Box<[(u64, u32)]>,
}

impl Layout {
    /// The layout of `files`, whose offsets ascend and whose ranges do not overlap.
    ///
    /// # Panics
    /// If two files overlap or there are 2^32 or more; [`samara_wire::metainfo`] gives no such torrent.
    #[must_use]
    pub fn new(files: Vec<LayoutFile>, pieces: PieceLayout) -> Self {
        let extents: Box<[_]> = (0u32..)
            .zip(&files)
            .filter(|(_, f)| f.is_stored() && f.len > 0)
            .map(|(i, f)| (f.offset, i))
            .collect();
        assert!(u32::try_from(files.len()).is_ok(), "too many files");
        assert!(
            extents.windows(2).all(|w| {
                let file = &files[w[0].1 as usize];
                file.offset.checked_add(file.len).is_some_and(|end| end <= w[1].0)
            }),
            "files overlap"
        );
        Self { files: files.into_boxed_slice(), pieces, extents }
    }

    /// The layout of a torrent.
    #[must_use]
    pub fn of(info: &Info) -> Self {
        Self::of_entries(info.files(), info.layout())
    }

    /// The layout of files that were parsed or planned.
    pub(crate) fn of_entries(files: &[FileEntry], pieces: &PieceLayout) -> Self {
        let file = |f: &FileEntry| LayoutFile {
            path: f.path.clone(),
            len: f.len,
            offset: f.offset,
            padding: f.attributes.padding,
            executable: f.attributes.executable,
            symlink: f.symlink.clone(),
        };
        Self::new(files.iter().map(file).collect(), pieces.clone())
    }

    /// All files, in the order of the metainfo.
    #[must_use]
    pub fn files(&self) -> &[LayoutFile] {
        &self.files
    }

    /// Pieces and blocks.
    #[must_use]
    pub fn pieces(&self) -> &PieceLayout {
        &self.pieces
    }

    /// The range of `piece` in the linear space.
    #[must_use]
    pub fn range_of(&self, piece: PieceIndex) -> Range<u64> {
        let start = self.pieces.offset_of(piece);
        start..start + u64::from(self.pieces.len_of(piece))
    }

    /// The range of `block` in the linear space, or `None` if it is not inside its piece.
    #[must_use]
    pub fn range_of_block(&self, block: &BlockRef) -> Option<Range<u64>> {
        let start = self.pieces.offset_of(block.piece) + u64::from(block.begin);
        self.pieces.contains(block).then(|| start..start + u64::from(block.len))
    }

    /// The segments of `range`, in order and without hole.
    pub fn segments(&self, range: Range<u64>) -> impl Iterator<Item = Segment> + '_ {
        let first = self
            .extents
            .partition_point(|&(start, i)| start + self.files[i as usize].len <= range.start);
        let mut extents = self.extents[first..].iter().copied().peekable();
        let mut at = range.start;
        std::iter::from_fn(move || {
            if at >= range.end {
                return None;
            }
            let segment = match extents.peek() {
                Some(&(start, index)) if start <= at => {
                    let end = (start + self.files[index as usize].len).min(range.end);
                    extents.next();
                    Segment { file: Some(FileIndex(index)), offset: at - start, len: end - at }
                }
                next => {
                    let end = next.map_or(range.end, |&(start, _)| start.min(range.end));
                    Segment { file: None, offset: 0, len: end - at }
                }
            };
            at += segment.len;
            Some(segment)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn layout(lens: &[(u64, bool, u64)], piece_len: u32) -> Layout {
        let path = FilePath::from_untrusted([&b"file"[..]]).unwrap();
        let mut at = 0;
        let files = lens
            .iter()
            .map(|&(len, padding, gap)| {
                let file = LayoutFile { padding, ..LayoutFile::new(path.clone(), len, at) };
                at += len + gap;
                file
            })
            .collect();
        Layout::new(files, PieceLayout::contiguous(at, piece_len))
    }

    /// For every byte of the linear space: its file and the offset in it.
    fn naive(layout: &Layout, total: u64) -> Vec<Option<(u32, u64)>> {
        let mut bytes = vec![None; usize::try_from(total).unwrap()];
        for (i, f) in (0u32..).zip(layout.files()).filter(|(_, f)| !f.padding) {
            for k in 0..f.len {
                bytes[usize::try_from(f.offset + k).unwrap()] = Some((i, k));
            }
        }
        bytes
    }

    proptest! {
        #[test]
        fn segments_agree_with_a_table_of_every_byte(
            lens in prop::collection::vec((0u64..40, prop::bool::weighted(0.2), 0u64..3), 1..40),
            ends in (0u64..2000, 0u64..2000),
        ) {
            let layout = layout(&lens, 16);
            let table = naive(&layout, 4000);
            let range = ends.0.min(ends.1)..ends.0.max(ends.1);
            let mut at = range.start;
            let mut last = None;
            for s in layout.segments(range.clone()) {
                prop_assert!(s.len > 0);
                prop_assert!(last != Some(s.file), "two segments where one would do");
                last = Some(s.file);
                for k in 0..s.len {
                    let want = s.file.map(|f| (f.0, s.offset + k));
                    prop_assert_eq!(table[usize::try_from(at + k).unwrap()], want);
                }
                at += s.len;
            }
            prop_assert_eq!(at, range.end);
        }
    }

    #[test]
    fn a_thousand_files_in_one_piece() {
        let lens: Vec<_> = (0..3000).map(|i| (u64::from(i % 3 != 0), false, 0)).collect();
        let layout = layout(&lens, 16384);
        let segments: Vec<_> = layout.segments(layout.range_of(PieceIndex(0))).collect();
        assert_eq!(segments.len(), 2000);
        assert!(segments.iter().all(|s| s.len == 1 && s.offset == 0 && s.file.is_some()));
    }

    #[test]
    fn blocks_outside_their_piece_have_no_range() {
        let layout = layout(&[(20_000, false, 0)], 16384);
        let at = |begin, len| BlockRef { piece: PieceIndex(1), begin, len };
        assert_eq!(layout.range_of_block(&at(0, 3616)), Some(16384..20_000));
        assert_eq!(layout.range_of_block(&at(1, 3616)), None);
    }
}
