//! Hashing files for a new torrent.
//!
//! Pieces are claimed one after another by all threads; a hybrid torrent's bytes are read once and go into both
//! hashes. The same files give the same hashes whatever the number of threads.

use crate::check::CheckProgress;
use crate::error::StorageError;
use crate::hash::BlockLeaves;
use crate::layout::{Layout, LayoutFile, Segment};
use crate::linear::{LinearSpace, as_len};
use crate::schedule::READ_STEP;
use samara_wire::id::{BLOCK_LEN, PieceIndex};
use samara_wire::layout::PieceLayout;
use samara_wire::metainfo::FilePath;
use samara_wire::metainfo::merkle::{FileHashes, Hash, piece_root, root_of_layer};
use sha1::{Digest, Sha1};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A file to be hashed.
#[derive(Clone, Debug)]
pub struct FileToHash {
    /// Where it is; `None` for padding, which is zeros (BEP 47).
    pub source: Option<PathBuf>,
    /// Length in bytes.
    pub len: u64,
}

/// Which hashes are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HashKind {
    /// SHA-1 over pieces of all files one after another (BEP 3).
    V1,
    /// A SHA-256 tree for each file (BEP 52).
    V2,
    /// Both. The files must be padded so that each begins on a piece boundary.
    Hybrid,
}

/// The hashes of a new torrent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HashedFiles {
    /// SHA-1 of each piece; empty if not asked for.
    pub v1_pieces: Vec<[u8; 20]>,
    /// Root and piece layer of each file, in the order given, `None` for empty files and padding; empty if not
    /// asked for.
    pub v2_files: Vec<Option<FileHashes>>,
}

/// Hashes `files` with `threads` threads. Blocks until done or cancelled through `progress`.
///
/// # Errors
/// If a file cannot be read or is shorter than said, the piece length does not suit `kind`, files of a hybrid
/// torrent are not padded, or the work was cancelled.
pub fn hash_files(
    files: &[FileToHash],
    piece_len: u32,
    kind: HashKind,
    threads: usize,
    progress: &CheckProgress,
) -> Result<HashedFiles, StorageError> {
    let layout = lay_out(files, piece_len, kind)?;
    progress.expect(layout.pieces().total_len());
    let work = Hashing { files, layout: &layout, kind, progress, next: AtomicU32::new(0) };
    let results: Vec<_> = std::thread::scope(|scope| {
        let run = || scope.spawn(|| work.run().inspect_err(|_| work.stop()));
        let threads: Vec<_> = (0..threads.max(1)).map(|_| run()).collect();
        threads
            .into_iter()
            .map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut pieces = Vec::with_capacity(layout.pieces().count() as usize);
    for result in results {
        pieces.extend(result?);
    }
    if progress.is_cancelled() {
        return Err(StorageError::closed("cancelled"));
    }
    pieces.sort_unstable_by_key(|p| p.index);
    Ok(assemble(&layout, files, kind, &pieces))
}

/// The layout that the new torrent will have.
fn lay_out(files: &[FileToHash], piece_len: u32, kind: HashKind) -> Result<Layout, StorageError> {
    let v2 = kind != HashKind::V1;
    if piece_len == 0 || (v2 && !(piece_len.is_power_of_two() && piece_len >= BLOCK_LEN)) {
        return Err(StorageError::misuse("no valid piece length"));
    }
    let name = FilePath::from_untrusted([&b"file"[..]]).expect("a plain name is safe");
    let step = u64::from(piece_len);
    let (mut at, mut laid, mut short) = (0u64, Vec::with_capacity(files.len()), Vec::new());
    for file in files {
        if v2 && file.len > 0 && file.source.is_some() && at % step != 0 {
            return Err(StorageError::misuse("files of a hybrid torrent are not padded"));
        }
        laid.push(LayoutFile {
            padding: file.source.is_none(),
            ..LayoutFile::new(name.clone(), file.len, at)
        });
        at = at.checked_add(file.len).ok_or_else(|| StorageError::misuse("too many bytes"))?;
        if kind == HashKind::V2 && at % step != 0 {
            let tail = u32::try_from(at % step).expect("less than a piece");
            short.push((piece_at(at / step)?, tail));
            at = at.next_multiple_of(step);
        }
    }
    let count = piece_at(at.div_ceil(step))?.0;
    let pieces = if kind == HashKind::V2 {
        PieceLayout::with_short_pieces(piece_len, count, short.into())
    } else {
        PieceLayout::contiguous(at, piece_len)
    };
    Ok(Layout::new(laid, pieces))
}

fn piece_at(index: u64) -> Result<PieceIndex, StorageError> {
    let index = u32::try_from(index).ok().filter(|&i| i < u32::MAX);
    Ok(PieceIndex(index.ok_or_else(|| StorageError::misuse("too many pieces"))?))
}

struct Hashing<'a> {
    files: &'a [FileToHash],
    layout: &'a Layout,
    kind: HashKind,
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
    fn run(&self) -> Result<Vec<PieceHashes>, StorageError> {
        let mut scratch = vec![0; READ_STEP];
        let mut source = Source { files: self.files, open: None };
        let mut done = Vec::new();
        while !self.progress.is_cancelled() {
            let index = PieceIndex(self.next.fetch_add(1, Ordering::Relaxed));
            if index.0 >= self.layout.pieces().count() {
                break;
            }
            done.push(self.hash(index, &mut source, &mut scratch)?);
        }
        Ok(done)
    }

    /// Has the other threads begin no further piece.
    fn stop(&self) {
        self.next.store(self.layout.pieces().count(), Ordering::Relaxed);
    }

    fn hash(
        &self,
        index: PieceIndex,
        source: &mut Source<'_>,
        scratch: &mut [u8],
    ) -> Result<PieceHashes, StorageError> {
        let (mut v1, mut leaves) = (Sha1::new(), BlockLeaves::new());
        let mut small_file = false;
        for step in LinearSpace::steps(self.layout.range_of(index), scratch.len()) {
            for segment in self.layout.segments(step) {
                let buf = &mut scratch[..as_len(segment.len)];
                source.read(&segment, buf)?;
                if self.kind != HashKind::V2 {
                    v1.update(&*buf);
                }
                if let Some(file) = segment.file.filter(|_| self.kind != HashKind::V1) {
                    leaves.update(buf);
                    let len = self.files[file.as_usize()].len;
                    small_file = len <= u64::from(self.layout.pieces().piece_len());
                }
            }
        }
        self.progress.add(u64::from(self.layout.pieces().len_of(index)));
        let leaves = leaves.finish();
        let blocks = u32::try_from(leaves.len()).expect("no more blocks than a piece has");
        let width = if small_file {
            blocks.next_power_of_two()
        } else {
            (self.layout.pieces().piece_len() / BLOCK_LEN).max(1)
        };
        Ok(PieceHashes { index, v1: v1.finalize().into(), v2: piece_root(&leaves, width) })
    }
}

/// Reads files, keeping the last one open: pieces come in order.
struct Source<'a> {
    files: &'a [FileToHash],
    open: Option<(usize, File)>,
}

impl Source<'_> {
    fn read(&mut self, segment: &Segment, buf: &mut [u8]) -> Result<(), StorageError> {
        let file = segment.file.map(|f| (f.as_usize(), self.files[f.as_usize()].source.as_ref()));
        let Some((index, Some(path))) = file else {
            buf.fill(0);
            return Ok(());
        };
        self.try_read(index, path, segment.offset, buf).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => StorageError::too_short(&path.display()),
            _ => StorageError::new("read", &path.display(), &e),
        })
    }

    fn try_read(&mut self, i: usize, path: &Path, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let file = match self.open.take() {
            Some((open, file)) if open == i => file,
            _ => File::open(path)?,
        };
        let (_, file) = self.open.insert((i, file));
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(buf)
    }
}

fn assemble(
    layout: &Layout,
    files: &[FileToHash],
    kind: HashKind,
    pieces: &[PieceHashes],
) -> HashedFiles {
    let mut hashed = HashedFiles::default();
    if kind != HashKind::V2 {
        hashed.v1_pieces = pieces.iter().map(|p| p.v1).collect();
    }
    if kind != HashKind::V1 {
        let piece_len = layout.pieces().piece_len();
        let hashes_of = |(file, laid): (&FileToHash, &LayoutFile)| {
            if file.source.is_none() || file.len == 0 {
                return None;
            }
            let first = as_len(laid.offset / u64::from(piece_len));
            let count = as_len(file.len.div_ceil(u64::from(piece_len)));
            let layer: Vec<Hash> = pieces[first..first + count].iter().map(|p| p.v2).collect();
            Some(match layer[..] {
                [root] => FileHashes { root, layer: Vec::new() },
                _ => FileHashes { root: root_of_layer(&layer, piece_len), layer },
            })
        };
        hashed.v2_files = files.iter().zip(layout.files()).map(hashes_of).collect();
    }
    hashed
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Files with made-up content and the content.
    fn sources(dir: &Path, lens: &[usize]) -> (Vec<FileToHash>, Vec<Vec<u8>>) {
        let content = |(i, &len): (usize, &usize)| -> Vec<u8> {
            (0..251u8)
                .map(|b| b.wrapping_mul(7).wrapping_add(i.to_le_bytes()[0]))
                .cycle()
                .take(len)
                .collect()
        };
        let contents: Vec<_> = lens.iter().enumerate().map(content).collect();
        let files = contents.iter().enumerate().map(|(i, content)| {
            let path = dir.join(i.to_string());
            std::fs::write(&path, content).unwrap();
            FileToHash { source: Some(path), len: content.len() as u64 }
        });
        (files.collect(), contents)
    }

    fn hash(files: &[FileToHash], piece_len: u32, kind: HashKind) -> HashedFiles {
        let progress = CheckProgress::default();
        let one = hash_files(files, piece_len, kind, 1, &progress).unwrap();
        assert_eq!(progress.hashed_bytes(), progress.total_bytes());
        assert_eq!(one, hash_files(files, piece_len, kind, 3, &CheckProgress::default()).unwrap());
        one
    }

    fn v2_model(contents: &[Vec<u8>], piece_len: u32) -> Vec<Option<FileHashes>> {
        let hashes = |content: &Vec<u8>| {
            let mut leaves = BlockLeaves::new();
            leaves.update(content);
            FileHashes::from_blocks(&leaves.finish(), piece_len)
        };
        contents.iter().map(hashes).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn all_kinds_agree_with_hashing_everything_in_memory(
            lens in prop::collection::vec(
                prop_oneof![Just(0usize), Just(1), 2..50_000usize, Just(65_536), Just(32_768)], 1..8),
            shift in 0u32..4,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let (files, contents) = sources(dir.path(), &lens);
            let piece_len = BLOCK_LEN << shift;
            let sha1s = |bytes: &[u8]| -> Vec<[u8; 20]> {
                bytes.chunks(piece_len as usize).map(|p| Sha1::digest(p).into()).collect()
            };
            let v1 = hash(&files, piece_len, HashKind::V1);
            prop_assert_eq!(v1.v1_pieces, sha1s(&contents.concat()));
            prop_assert!(v1.v2_files.is_empty());
            let v2 = hash(&files, piece_len, HashKind::V2);
            prop_assert_eq!(&v2.v2_files, &v2_model(&contents, piece_len));
            prop_assert!(v2.v1_pieces.is_empty());

            let (mut padded, mut bytes) = (Vec::new(), Vec::new());
            for (file, content) in files.iter().zip(&contents) {
                padded.push(file.clone());
                bytes.extend_from_slice(content);
                let pad = bytes.len().next_multiple_of(piece_len as usize) - bytes.len();
                padded.push(FileToHash { source: None, len: pad as u64 });
                bytes.resize(bytes.len() + pad, 0);
            }
            let both = hash(&padded, piece_len, HashKind::Hybrid);
            prop_assert_eq!(both.v1_pieces, sha1s(&bytes));
            let real: Vec<_> = both.v2_files.into_iter().step_by(2).collect();
            prop_assert_eq!(real, v2.v2_files);
        }
    }

    #[test]
    fn what_cannot_be_hashed_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let (mut files, _) = sources(dir.path(), &[100_000, 50]);
        let fails = |files: &[FileToHash], piece_len, kind| {
            hash_files(files, piece_len, kind, 2, &CheckProgress::default())
                .unwrap_err()
                .to_string()
        };
        assert!(fails(&files, 0, HashKind::V1).contains("piece length"));
        assert!(fails(&files, 20_000, HashKind::V2).contains("piece length"));
        assert!(fails(&files, 16_384, HashKind::Hybrid).contains("not padded"));
        files[1].len = 51;
        assert!(fails(&files, 16_384, HashKind::V1).contains("shorter"));
        files[1].source = Some(dir.path().join("nowhere"));
        assert!(fails(&files, 16_384, HashKind::V1).contains("nowhere"));
        let cancelled = CheckProgress::default();
        cancelled.cancel();
        assert!(hash_files(&files[..1], 16_384, HashKind::V1, 2, &cancelled).is_err());
    }
}
