//! Checking what is on disk against the torrent.
//!
//! A check first looks at the files: pieces that reach into a missing or too short file cannot be good and are not
//! read. The others are claimed by as many threads as are free, a few neighbours at once, in ascending order. Whoever claims
//! pieces that are not in memory has the system read them ahead, so that the disk is read forward though the pieces are
//! hashed side by side. A missing file is not an error; one that may not be read is.

use crate::error::StorageError;
use crate::hash::{PieceHasher, lanes, share_of};
use crate::linear::{LinearSpace, as_len};
use crate::schedule::{Steps, Worker};
use crate::store::{Content, Reply};
use samara_wire::bitfield::Bitfield;
use samara_wire::id::{FileIndex, PieceIndex};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of the pieces that are hashed at once in a check, at most, if there is more than one.
const MAX_BATCH: usize = 64 << 20;

/// Bytes of a step at least: small pieces are not worth a turn each.
const STEP: u64 = 1 << 20;

/// How far a check of data, or the hashing of a new torrent, is; shared with whoever watches it.
#[derive(Debug, Default)]
pub struct CheckProgress {
    hashed: AtomicU64,
    total: AtomicU64,
    cancelled: AtomicBool,
}

impl CheckProgress {
    /// Bytes hashed so far; never above [`CheckProgress::total_bytes`], never falling.
    #[must_use]
    pub fn hashed_bytes(&self) -> u64 {
        self.hashed.load(Ordering::Acquire)
    }

    /// Bytes to hash in all; 0 until the files have been looked at.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.total.load(Ordering::Acquire)
    }

    /// Ends the work early. In a check, pieces not yet hashed count as not good.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    /// Whether [`CheckProgress::cancel`] was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    pub(crate) fn expect(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Release);
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.hashed.fetch_add(bytes, Ordering::Release);
    }
}

/// What a check found.
#[derive(Debug)]
pub struct CheckOutcome {
    /// The pieces that are there and right, among those asked about.
    pub good: Bitfield,
    /// Whether it came to its end, rather than being cancelled.
    pub finished: bool,
}

/// A check under way.
pub(crate) struct CheckRun {
    space: Arc<LinearSpace>,
    content: Arc<Content>,
    progress: Arc<CheckProgress>,
    /// Pieces worth reading, ascending.
    candidates: Vec<PieceIndex>,
    /// Index of the next candidate to claim; beyond the end when none is left.
    next: AtomicUsize,
    /// Candidates done with.
    done: AtomicUsize,
    result: Mutex<RunResult>,
}

struct RunResult {
    good: Bitfield,
    error: Option<StorageError>,
    reply: Option<Reply<Result<CheckOutcome, StorageError>>>,
}

impl CheckRun {
    /// Looks at the files. `None` if nothing is to be read; then the reply has been given.
    pub(crate) fn begin(
        space: &Arc<LinearSpace>,
        content: &Arc<Content>,
        pieces: Option<&Bitfield>,
        progress: Arc<CheckProgress>,
        reply: Reply<Result<CheckOutcome, StorageError>>,
    ) -> Option<Arc<Self>> {
        let asked = if progress.is_cancelled() { Some(&Bitfield::empty(0)) } else { pieces };
        let candidates = match candidates(space, content, asked) {
            Ok(candidates) => candidates,
            Err(e) => {
                reply(Err(e));
                return None;
            }
        };
        let layout = space.layout.pieces();
        progress.expect(candidates.iter().map(|&p| u64::from(layout.len_of(p))).sum());
        let good = Bitfield::empty(layout.count());
        if candidates.is_empty() {
            reply(Ok(CheckOutcome { good, finished: !progress.is_cancelled() }));
            return None;
        }
        Some(Arc::new(Self {
            space: Arc::clone(space),
            content: Arc::clone(content),
            progress,
            candidates,
            next: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            result: Mutex::new(RunResult { good, error: None, reply: Some(reply) }),
        }))
    }

    /// Hashes pieces from disk, all of them at once: whether each is good.
    fn check(&self, pieces: &[PieceIndex], scratch: &mut [u8]) -> Result<Vec<bool>, StorageError> {
        let layout = &self.space.layout;
        let expected = |&piece: &PieceIndex| (self.content.expected)(piece).map(PieceHasher::new);
        let mut hashers: Vec<Option<PieceHasher>> = pieces.iter().map(expected).collect();
        self.read_ahead(pieces);
        let longest = pieces.iter().map(|&p| layout.pieces().len_of(p)).max().unwrap_or(0);
        let share = share_of(scratch.len(), pieces.len());
        for at in (0..u64::from(longest)).step_by(share) {
            if self.progress.is_cancelled() {
                return Ok(vec![false; pieces.len()]);
            }
            let mut read = Vec::with_capacity(pieces.len());
            for ((&piece, hasher), buf) in
                pieces.iter().zip(&mut hashers).zip(scratch.chunks_mut(share))
            {
                let range = layout.range_of(piece);
                let start = (range.start + at).min(range.end);
                let buf = &mut buf[..as_len((range.end - start).min(share as u64))];
                if hasher.is_none() || buf.is_empty() {
                    continue;
                }
                if self.space.read(start, buf)?.is_err() {
                    *hasher = None;
                } else if let Some(hasher) = hasher {
                    read.push((hasher, [&*buf]));
                }
            }
            PieceHasher::update_all(read.iter_mut().map(|(hasher, buf)| (&mut **hasher, &buf[..])));
        }
        Ok(hashers.into_iter().map(|hasher| hasher.is_some_and(PieceHasher::matches)).collect())
    }

    /// Has the disk begin to read all of the pieces, one after another: below, they are read a bit of each in turn.
    fn read_ahead(&self, pieces: &[PieceIndex]) {
        let layout = &self.space.layout;
        for run in pieces.chunk_by(|a, b| a.0 + 1 == b.0) {
            let start = layout.range_of(run[0]).start;
            self.space.will_read_unless_here(start..layout.range_of(run[run.len() - 1]).end);
        }
    }

    /// Pieces to be hashed at once: as many as the processor can, but no step shall take very long.
    fn batch(&self) -> usize {
        let piece_len = self.space.layout.pieces().piece_len() as usize;
        lanes().min(MAX_BATCH / piece_len.max(1)).max(1)
    }

    /// Claims all that is left, so that nobody begins it.
    fn abandon(&self, error: Option<StorageError>) {
        if error.is_some() {
            self.lock().error = error;
        }
        let claimed = self.next.swap(self.candidates.len(), Ordering::AcqRel);
        self.settle(self.candidates.len().saturating_sub(claimed));
    }

    /// Counts candidates as done; the last one gives the reply.
    fn settle(&self, count: usize) {
        if count == 0
            || self.done.fetch_add(count, Ordering::AcqRel) + count < self.candidates.len()
        {
            return;
        }
        let mut result = self.lock();
        let good = std::mem::replace(&mut result.good, Bitfield::empty(0));
        let (error, reply) = (result.error.take(), result.reply.take());
        drop(result);
        if let Some(reply) = reply {
            let finished = !self.progress.is_cancelled();
            reply(error.map_or(Ok(CheckOutcome { good, finished }), Err));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, RunResult> {
        self.result.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Steps for CheckRun {
    fn step(&self, worker: &mut Worker) {
        let batch = self.batch();
        let mut bytes = 0;
        while bytes < STEP {
            if self.progress.is_cancelled() {
                return self.abandon(None);
            }
            let claimed = self.next.fetch_add(batch, Ordering::AcqRel);
            let end = (claimed + batch).min(self.candidates.len());
            let Some(pieces) = self.candidates.get(claimed..end).filter(|p| !p.is_empty()) else {
                return;
            };
            let layout = self.space.layout.pieces();
            let len = pieces.iter().map(|&p| u64::from(layout.len_of(p))).sum::<u64>();
            match self.check(pieces, worker.scratch()) {
                Ok(good) => {
                    let good = pieces.iter().zip(good).filter(|(_, good)| *good);
                    let mut result = self.lock();
                    good.for_each(|(&piece, _)| _ = result.good.insert(piece));
                }
                Err(e) => self.abandon(Some(e)),
            }
            bytes += len;
            self.progress.add(len);
            self.settle(pieces.len());
        }
    }

    fn is_exhausted(&self) -> bool {
        self.next.load(Ordering::Acquire) >= self.candidates.len()
    }

    fn refuse(&self, error: StorageError) {
        self.abandon(Some(error));
    }
}

/// The pieces, among those asked about, all of whose files are there and long enough.
fn candidates(
    space: &LinearSpace,
    content: &Content,
    pieces: Option<&Bitfield>,
) -> Result<Vec<PieceIndex>, StorageError> {
    let layout = &space.layout;
    let mut lens: HashMap<FileIndex, u64> = HashMap::new();
    let mut len_of = |file| -> Result<u64, StorageError> {
        if let Some(&len) = lens.get(&file) {
            return Ok(len);
        }
        let identity = space.storage.identity(file);
        let identity = identity
            .map_err(|e| StorageError::new("look at", &space.storage.describe(file), &e))?;
        let len = identity.map_or(0, |id| id.len);
        lens.insert(file, len);
        Ok(len)
    };
    let mut candidates = Vec::new();
    let asked = |&piece: &PieceIndex| pieces.is_none_or(|set| set.has(piece));
    for piece in layout.pieces().pieces().filter(asked) {
        let mut there = (content.expected)(piece).is_some();
        for segment in layout.segments(layout.range_of(piece)) {
            let Some(file) = segment.file.filter(|_| there) else { continue };
            there = segment.offset + segment.len <= len_of(file)?;
        }
        if there {
            candidates.push(piece);
        }
    }
    Ok(candidates)
}
