//! Hashing: pieces are claimed one after another by as many threads as there are cores.

use super::files::Found;
use super::{CreateError, CreateProgress, Kind};
use samara_wire::id::BLOCK_LEN;
use samara_wire::metainfo::merkle::{self, FileHashes};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicU32, Ordering};

/// Bytes read at once: whole blocks.
const READ_LEN: usize = 1 << 20;

/// The hashes of one piece; of these only what the kind of torrent asks for is filled in.
#[derive(Clone, Copy, Default)]
pub(super) struct PieceHashes {
    pub(super) sha1: [u8; 20],
    /// Root over the piece, or over the whole file where that is not longer than a piece.
    pub(super) root: merkle::Hash,
}

/// Hashes all pieces of the linear space in which `files` were placed.
pub(super) fn all(
    files: &[Found],
    kind: Kind,
    piece_len: u32,
    pieces: u32,
    progress: &CreateProgress,
) -> Result<Vec<PieceHashes>, CreateError> {
    let files: Vec<&Found> = files.iter().filter(|f| f.len > 0).collect();
    let job = Job { files: &files, kind, piece_len, pieces, next: AtomicU32::new(0), progress };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(pieces as usize).max(1);
    let mut hashes = vec![PieceHashes::default(); pieces as usize];
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..threads).map(|_| scope.spawn(|| Worker::new(&job).run())).collect();
        for worker in workers {
            let done = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            for (piece, of_piece) in done? {
                hashes[piece as usize] = of_piece;
            }
        }
        Ok(hashes)
    })
}

struct Job<'a> {
    /// Those that are not empty.
    files: &'a [&'a Found],
    kind: Kind,
    piece_len: u32,
    pieces: u32,
    next: AtomicU32,
    progress: &'a CreateProgress,
}

struct Worker<'a> {
    job: &'a Job<'a>,
    buf: Vec<u8>,
    /// The file read last, by its index, and where its cursor is.
    open: Option<(usize, File, u64)>,
}

impl<'a> Worker<'a> {
    fn new(job: &'a Job<'a>) -> Self {
        Self { job, buf: vec![0; READ_LEN], open: None }
    }

    fn run(mut self) -> Result<Vec<(u32, PieceHashes)>, CreateError> {
        let mut done = Vec::new();
        loop {
            if self.job.progress.cancelled.load(Ordering::Acquire) {
                return Err(CreateError::Cancelled);
            }
            let piece = self.job.next.fetch_add(1, Ordering::Relaxed);
            if piece >= self.job.pieces {
                return Ok(done);
            }
            match self.piece(piece) {
                Ok(hashes) => done.push((piece, hashes)),
                Err(e) => {
                    // The others need not go on.
                    self.job.next.store(self.job.pieces, Ordering::Relaxed);
                    return Err(e);
                }
            }
        }
    }

    fn piece(&mut self, piece: u32) -> Result<PieceHashes, CreateError> {
        let job = self.job;
        let start = u64::from(piece) * u64::from(job.piece_len);
        let end = start + u64::from(job.piece_len);
        let mut sha1 = Sha1::new();
        let mut leaves = Vec::new();
        let first = job.files.partition_point(|f| f.offset + f.len <= start);
        let mut at = start;
        let overlapping =
            job.files.iter().enumerate().skip(first).take_while(|(_, f)| f.offset < end);
        for (index, file) in overlapping {
            at = at.max(file.offset);
            let stop = end.min(file.offset + file.len);
            while at < stop {
                let len = usize::try_from(stop - at).unwrap_or(usize::MAX).min(READ_LEN);
                self.read(index, at - file.offset, len)?;
                let bytes = &self.buf[..len];
                if job.kind.has_v1() {
                    sha1.update(bytes);
                }
                if job.kind.has_v2() {
                    // In a v2 torrent a piece lies in one file, so blocks never straddle two reads.
                    leaves.extend(
                        bytes
                            .chunks(BLOCK_LEN as usize)
                            .map(|b| <[u8; 32]>::from(Sha256::digest(b))),
                    );
                }
                at += len as u64;
                job.progress.hashed.fetch_add(len as u64, Ordering::Release);
            }
        }
        if job.kind == Kind::Hybrid && piece + 1 < job.pieces {
            self.pad(&mut sha1, end - at);
        }
        let root = match job.files.get(first) {
            Some(file) if job.kind.has_v2() => root(leaves, file.len, job.piece_len),
            _ => [0; 32],
        };
        Ok(PieceHashes { sha1: sha1.finalize().into(), root })
    }

    /// The padding file behind a file that ends inside a piece (BEP 47).
    fn pad(&mut self, sha1: &mut Sha1, mut zeros: u64) {
        self.buf.fill(0);
        while zeros > 0 {
            let len = usize::try_from(zeros).unwrap_or(usize::MAX).min(READ_LEN);
            sha1.update(&self.buf[..len]);
            zeros -= len as u64;
        }
    }

    fn read(&mut self, index: usize, offset: u64, len: usize) -> Result<(), CreateError> {
        let path = &self.job.files[index].path;
        self.try_read(index, offset, len).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => CreateError::Changed(path.clone()),
            _ => CreateError::Read { path: path.clone(), source },
        })
    }

    fn try_read(&mut self, index: usize, offset: u64, len: usize) -> io::Result<()> {
        let (mut file, cursor) = match self.open.take() {
            Some((open, file, cursor)) if open == index => (file, cursor),
            _ => (File::open(&self.job.files[index].path)?, 0),
        };
        if cursor != offset {
            file.seek(SeekFrom::Start(offset))?;
        }
        file.read_exact(&mut self.buf[..len])?;
        self.open = Some((index, file, offset + len as u64));
        Ok(())
    }
}

fn root(leaves: Vec<merkle::Hash>, file_len: u64, piece_len: u32) -> merkle::Hash {
    if file_len > u64::from(piece_len) {
        return merkle::piece_root(&leaves, piece_len / BLOCK_LEN);
    }
    FileHashes::from_blocks(&leaves, piece_len).map_or([0; 32], |hashes| hashes.root)
}
