//! Hashing files for a new torrent.
//!
//! Pieces are claimed by all threads, a few neighbours at once, and read ahead in order if they are not in memory; a hybrid
//! torrent's bytes are read once and go into both hashes. The same files give the same hashes whatever the number of threads.

use crate::check::CheckProgress;
use crate::hash::{BlockLeaves, lanes, share_of};
use crate::layout::{Layout, LayoutFile, Segment};
use crate::linear::as_len;
use crate::positional;
use crate::schedule::scratch_len;
use crate::scratch::Scratch;
use samara_hash::{Part, Sha1, Stream};
use samara_wire::id::{BLOCK_LEN, PieceIndex};
use samara_wire::metainfo::create::{Plan, PlanHashes, Version};
use samara_wire::metainfo::merkle::{FileHashes, Hash, piece_root, root_of_layer};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Files that a thread keeps open: pieces that are hashed side by side may lie in different ones.
const OPEN_FILES: usize = 16;

/// Why files could not be hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// A file could not be read.
    #[error("cannot read {}: {cause}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A file is no longer as long as it was when it was found.
    #[error("{} changed while it was hashed: try again when nothing writes to it", path.display())]
    Changed {
        /// Which.
        path: PathBuf,
    },
    /// [`CheckProgress::cancel`] was called.
    #[error("cancelled")]
    Cancelled,
}

/// Hashes what `plan` says with `threads` threads, or fewer if there are not as many pieces. Blocks until done or
/// cancelled through `progress`.
///
/// `sources` says where the plan's files are, in its order, padding left out.
///
/// # Errors
/// If a file cannot be read or has another length than planned, or the work was cancelled.
///
/// # Panics
/// If there are not as many sources as files.
pub fn hash_files(
    plan: &Plan,
    sources: &[PathBuf],
    threads: usize,
    progress: &CheckProgress,
) -> Result<PlanHashes, HashError> {
    let layout = Layout::of_entries(plan.files(), plan.layout());
    let mut rest = sources.iter();
    let files: Vec<Option<&Path>> = layout
        .files()
        .iter()
        .map(|f| (!f.padding).then(|| rest.next().expect("a source for each file").as_path()))
        .collect();
    assert!(rest.next().is_none(), "a file for each source");

    progress.expect(layout.pieces().total_len());
    let version = plan.version();
    let work =
        Hashing { files: &files, layout: &layout, version, progress, next: AtomicU32::new(0) };
    let threads = threads.min(layout.pieces().count() as usize).max(1);
    let results: Vec<_> = std::thread::scope(|scope| {
        let run = || scope.spawn(|| work.run().inspect_err(|_| work.stop()));
        let threads: Vec<_> = (0..threads).map(|_| run()).collect();
        threads
            .into_iter()
            .map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut pieces = Vec::with_capacity(layout.pieces().count() as usize);
    for result in results {
        pieces.extend(result?);
    }
    pieces.sort_unstable_by_key(|p| p.index);
    Ok(assemble(&layout, version, &pieces))
}

struct Hashing<'a> {
    /// Where each file of the layout is; `None` for padding.
    files: &'a [Option<&'a Path>],
    layout: &'a Layout,
    version: Version,
    progress: &'a CheckProgress,
    next: AtomicU32,
}

/// The hashes of one piece.
struct PieceHashes {
    index: PieceIndex,
    v1: [u8; 20],
    /// The node of the piece layer, or the root if the file is no longer than a piece.
    v2: Hash,
}

impl Hashing<'_> {
    /// What one thread does.
    fn run(&self) -> Result<Vec<PieceHashes>, HashError> {
        let mut scratch = Scratch::new(scratch_len());
        let mut source = Source { hashing: self, open: VecDeque::new() };
        let mut done = Vec::new();
        let batch = u32::try_from(lanes()).unwrap_or(1);
        loop {
            self.go_on()?;
            let first = self.next.fetch_add(batch, Ordering::Relaxed);
            let end = first.saturating_add(batch).min(self.layout.pieces().count());
            let pieces: Vec<_> = (first..end).map(PieceIndex).collect();
            if pieces.is_empty() {
                return Ok(done);
            }
            done.extend(self.hash(&pieces, &mut source, scratch.as_mut_slice())?);
        }
    }

    fn go_on(&self) -> Result<(), HashError> {
        if self.progress.is_cancelled() { Err(HashError::Cancelled) } else { Ok(()) }
    }

    /// Has the other threads begin no further piece.
    fn stop(&self) {
        self.next.store(self.layout.pieces().count(), Ordering::Relaxed);
    }

    /// Hashes pieces, all of them at once.
    fn hash(
        &self,
        pieces: &[PieceIndex],
        source: &mut Source<'_>,
        scratch: &mut [u8],
    ) -> Result<Vec<PieceHashes>, HashError> {
        let mut work: Vec<_> = pieces.iter().map(|&index| Work::new(index)).collect();
        let share = share_of(scratch.len(), pieces.len());
        let ranges: Vec<_> = pieces.iter().map(|&index| self.layout.range_of(index)).collect();
        if let (Some(first), Some(last)) = (ranges.first(), ranges.last()) {
            source.read_ahead(first.start..last.end);
        }
        let longest = ranges.iter().map(|range| range.end - range.start).max().unwrap_or(0);
        for at in (0..longest).step_by(share) {
            // Pieces may be large and disks slow.
            self.go_on()?;
            let mut bytes = Vec::with_capacity(pieces.len());
            for ((work, range), buf) in work.iter_mut().zip(&ranges).zip(scratch.chunks_mut(share))
            {
                let start = (range.start + at).min(range.end);
                let buf = &mut buf[..as_len((range.end - start).min(share as u64))];
                let stored = self.read(work, start, source, buf)?;
                bytes.push(([&*buf], [&buf[..stored]]));
            }
            if self.version.has_v1() {
                let parts = work.iter_mut().zip(&bytes);
                let parts = parts.map(|(work, (all, _))| Part { stream: &mut work.v1, bytes: all });
                samara_hash::update_all(&mut parts.collect::<Vec<_>>());
            }
            if self.version.has_v2() {
                let parts = work.iter_mut().zip(&bytes);
                let parts = parts.map(|(work, (_, stored))| (&mut work.leaves, &stored[..]));
                BlockLeaves::update_all(parts);
            }
        }
        Ok(work.into_iter().map(|work| self.finish(work)).collect())
    }

    /// Fills `buf` with the bytes from `start` on. Gives how many of them, from the first on, are in files and no padding.
    fn read(
        &self,
        work: &mut Work,
        start: u64,
        source: &mut Source<'_>,
        buf: &mut [u8],
    ) -> Result<usize, HashError> {
        let (mut rest, mut stored) = (&mut *buf, 0);
        for segment in self.layout.segments(start..start + rest.len() as u64) {
            let (now, later) = rest.split_at_mut(as_len(segment.len));
            source.read(&segment, now)?;
            if let Some(file) = segment.file {
                stored += now.len();
                let len = self.layout.files()[file.as_usize()].len;
                work.small_file = len <= u64::from(self.layout.pieces().piece_len());
            }
            self.progress.add(segment.len);
            rest = later;
        }
        Ok(stored)
    }

    fn finish(&self, work: Work) -> PieceHashes {
        let leaves = work.leaves.finish();
        let blocks = u32::try_from(leaves.len()).expect("no more blocks than a piece has");
        let width = if work.small_file {
            blocks.next_power_of_two()
        } else {
            (self.layout.pieces().piece_len() / BLOCK_LEN).max(1)
        };
        PieceHashes { index: work.index, v1: work.v1.finish(), v2: piece_root(&leaves, width) }
    }
}

/// A piece at work.
struct Work {
    index: PieceIndex,
    v1: Stream<Sha1>,
    leaves: BlockLeaves,
    small_file: bool,
}

impl Work {
    fn new(index: PieceIndex) -> Self {
        Self { index, v1: Stream::new(), leaves: BlockLeaves::new(), small_file: false }
    }
}

/// Reads files, keeping the last ones open: pieces come in order.
struct Source<'a> {
    hashing: &'a Hashing<'a>,
    open: VecDeque<(usize, File)>,
}

impl Source<'_> {
    fn read(&mut self, segment: &Segment, buf: &mut [u8]) -> Result<(), HashError> {
        let file = segment.file.map(|f| (f.as_usize(), self.hashing.files[f.as_usize()]));
        let Some((index, Some(path))) = file else {
            buf.fill(0);
            return Ok(());
        };
        self.try_read(index, path, segment.offset, buf).map_err(|cause| match cause.kind() {
            io::ErrorKind::UnexpectedEof => HashError::Changed { path: path.to_owned() },
            _ => HashError::Io { path: path.to_owned(), cause },
        })
    }

    fn try_read(&mut self, i: usize, path: &Path, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let file = self.open(i, path)?;
        let mut done = 0;
        while done < buf.len() {
            match positional::read_at(file, offset + done as u64, &mut buf[done..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Has the disk begin to read `range`, in order, unless the end of it is in memory. What cannot be opened is left to
    /// whoever reads it.
    fn read_ahead(&mut self, range: Range<u64>) {
        let layout = self.hashing.layout;
        let stored = |segment: Segment| {
            let index = segment.file?.as_usize();
            Some((index, self.hashing.files[index]?, segment.offset, segment.len))
        };
        let segments: Vec<_> = layout.segments(range).filter_map(stored).collect();
        if let Some(&(index, path, offset, len)) = segments.last()
            && let Ok(file) = self.open(index, path)
            && positional::try_read_at(file, offset + len - 1, &mut [IoSliceMut::new(&mut [0])])
                == 1
        {
            return;
        }
        for (index, path, offset, len) in segments {
            if let Ok(file) = self.open(index, path) {
                positional::will_read(file, offset, len);
            }
        }
    }

    /// The file of this index.
    fn open(&mut self, i: usize, path: &Path) -> io::Result<&File> {
        let place = match self.open.iter().position(|(open, _)| *open == i) {
            Some(place) => place,
            None => {
                let file = File::open(path)?;
                // A file that grew would be shared in part, and never be found complete.
                if file.metadata()?.len() != self.hashing.layout.files()[i].len {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                self.open.truncate(OPEN_FILES - 1);
                self.open.push_front((i, file));
                0
            }
        };
        Ok(&self.open[place].1)
    }
}

fn assemble(layout: &Layout, version: Version, pieces: &[PieceHashes]) -> PlanHashes {
    let mut hashes = PlanHashes::default();
    if version.has_v1() {
        hashes.v1 = pieces.iter().map(|p| p.v1).collect();
    }
    if version.has_v2() {
        let piece_len = layout.pieces().piece_len();
        let hashes_of = |file: &LayoutFile| {
            if !file.is_stored() || file.len == 0 {
                return None;
            }
            let first = as_len(file.offset / u64::from(piece_len));
            let count = as_len(file.len.div_ceil(u64::from(piece_len)));
            let layer: Vec<Hash> = pieces[first..first + count].iter().map(|p| p.v2).collect();
            Some(match layer[..] {
                [root] => FileHashes { root, layer: Vec::new() },
                _ => FileHashes { root: root_of_layer(&layer, piece_len), layer },
            })
        };
        hashes.v2 = layout.files().iter().map(hashes_of).collect();
    }
    hashes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use samara_wire::metainfo::create::NewFile;
    use sha1::Digest;

    /// Files with made-up content, and the content.
    fn sources(dir: &Path, lens: &[usize]) -> (Vec<PathBuf>, Vec<Vec<u8>>) {
        let content = |(i, &len): (usize, &usize)| -> Vec<u8> {
            (0..251u8)
                .map(|b| b.wrapping_mul(7).wrapping_add(i.to_le_bytes()[0]))
                .cycle()
                .take(len)
                .collect()
        };
        let contents: Vec<_> = lens.iter().enumerate().map(content).collect();
        let paths = contents.iter().enumerate().map(|(i, content)| {
            let path = dir.join(i.to_string());
            std::fs::write(&path, content).unwrap();
            path
        });
        (paths.collect(), contents)
    }

    fn plan(lens: &[usize], piece_len: u32, version: Version) -> Plan {
        let file = |(i, &len): (usize, &usize)| {
            let path = if lens.len() == 1 { vec![] } else { vec![i.to_string()] };
            NewFile { path, len: len as u64, ..NewFile::default() }
        };
        Plan::new("name", lens.iter().enumerate().map(file).collect(), piece_len, version).unwrap()
    }

    fn hash(plan: &Plan, sources: &[PathBuf]) -> PlanHashes {
        let progress = CheckProgress::default();
        let one = hash_files(plan, sources, 1, &progress).unwrap();
        assert_eq!(progress.hashed_bytes(), progress.total_bytes());
        assert_eq!(one, hash_files(plan, sources, 3, &CheckProgress::default()).unwrap());
        one
    }

    /// The naive model: each file in memory as a whole.
    fn v2_model(contents: &[Vec<u8>], piece_len: u32) -> Vec<Option<FileHashes>> {
        let hashes = |content: &Vec<u8>| {
            let mut leaves = BlockLeaves::new();
            leaves.update(&[content]);
            FileHashes::from_blocks(&leaves.finish(), piece_len)
        };
        contents.iter().map(hashes).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn all_versions_agree_with_hashing_everything_in_memory(
            lens in prop::collection::vec(
                prop_oneof![Just(0usize), Just(1), 2..50_000usize, Just(65_536), Just(32_768)], 1..8),
            shift in 0u32..4,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let (paths, contents) = sources(dir.path(), &lens);
            let piece_len = BLOCK_LEN << shift;
            let sha1s = |bytes: &[u8]| -> Vec<[u8; 20]> {
                bytes.chunks(piece_len as usize).map(|p| sha1::Sha1::digest(p).into()).collect()
            };
            let v1 = hash(&plan(&lens, piece_len, Version::V1), &paths);
            prop_assert_eq!(v1.v1, sha1s(&contents.concat()));
            prop_assert!(v1.v2.is_empty());
            let v2 = hash(&plan(&lens, piece_len, Version::V2), &paths);
            prop_assert_eq!(&v2.v2, &v2_model(&contents, piece_len));
            prop_assert!(v2.v1.is_empty());

            let plan = plan(&lens, piece_len, Version::Hybrid);
            let both = hash(&plan, &paths);
            let (mut rest, mut bytes, mut real) = (contents.iter(), Vec::new(), Vec::new());
            for (file, hashes) in plan.files().iter().zip(both.v2) {
                if file.attributes.padding {
                    prop_assert_eq!(hashes, None);
                    bytes.resize(bytes.len() + as_len(file.len), 0);
                } else {
                    bytes.extend_from_slice(rest.next().unwrap());
                    real.push(hashes);
                }
            }
            prop_assert_eq!(both.v1, sha1s(&bytes));
            prop_assert_eq!(real, v2.v2);
        }
    }

    #[test]
    fn what_cannot_be_hashed_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let (mut paths, _) = sources(dir.path(), &[100_000, 50]);
        let run = |second: usize, paths: &[PathBuf], progress: &CheckProgress| {
            let plan = plan(&[100_000, second], 16_384, Version::V1);
            hash_files(&plan, paths, 2, progress).unwrap_err()
        };
        for other in [49, 51] {
            let error = run(other, &paths, &CheckProgress::default());
            assert!(matches!(&error, HashError::Changed { path } if *path == paths[1]), "{error}");
        }
        let cancelled = CheckProgress::default();
        cancelled.cancel();
        assert!(matches!(run(50, &paths, &cancelled), HashError::Cancelled));
        paths[1] = dir.path().join("nowhere");
        let error = run(50, &paths, &CheckProgress::default());
        assert!(matches!(&error, HashError::Io { path, .. } if *path == paths[1]), "{error}");
    }
}
