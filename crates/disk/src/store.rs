//! One torrent's storage: jobs in, replies out.

use crate::check::{CheckOutcome, CheckProgress, CheckRun};
use crate::disk::Handle;
use crate::error::{StorageError, StorageErrorKind};
use crate::hash::lanes;
use crate::layout::Layout;
use crate::linear::LinearSpace;
use crate::piece::{PieceBlocks, PieceOutcome, VerifyPiece};
use crate::pool::{BlockBuf, BlockBytes};
use crate::schedule::{Class, Owner, Work, Worker};
use crate::storage::{FileIdentity, Storage};
use samara_wire::bitfield::Bitfield;
use samara_wire::id::{BlockRef, FileIndex, PieceIndex};
use samara_wire::metainfo::PieceHash;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Called on a disk thread when a job is done; must not block. A job that is refused (after shutdown, or with far too
/// much queued) has it called at once, on the caller's thread.
pub type Reply<T> = Box<dyn FnOnce(T) + Send>;

/// What a sync found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Synced {
    /// Identity of each file, in the order of the torrent's files; padding files and missing ones do not exist.
    pub files: Vec<FileIdentity>,
    /// Those of them that somebody else changed since they were noted: what is in them is not known.
    pub changed: Vec<FileIndex>,
}

/// A block that was to be read, and what became of it.
pub type ReadBlock = (BlockRef, Result<BlockBytes, StorageError>);

/// What a torrent's bytes must be.
pub(crate) struct Content {
    /// `None` for a piece out of range or whose hash is not known yet.
    pub(crate) expected: Box<dyn Fn(PieceIndex) -> Option<PieceHash> + Send + Sync>,
}

/// One torrent's storage. Cheap to clone. Jobs are queued and never block the caller.
///
/// Jobs of one store may run at the same time and in any order; whoever needs an order waits for the reply.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    handle: Arc<Handle>,
    owner: Arc<Owner>,
    space: Arc<LinearSpace>,
    content: Arc<Content>,
    /// Finished pieces that wait for a disk thread, which takes several at once.
    finished: Mutex<VecDeque<FinishedPiece>>,
}

/// A piece of which every block is here, to be verified and written.
pub struct FinishedPiece {
    /// Which.
    pub piece: PieceIndex,
    /// Its blocks with their offset in the piece, each once; those that lack must have been spilled and are read back.
    pub blocks: Vec<(u32, BlockBuf)>,
    /// Whether the digests of the blocks are wanted even if the piece is good. With a corrupt one they come always.
    pub want_digests: bool,
    /// Is told what became of it.
    pub reply: Reply<PieceOutcome>,
}

impl Store {
    pub(crate) fn new(
        handle: Arc<Handle>,
        id: u64,
        layout: Arc<Layout>,
        storage: Arc<dyn Storage>,
        content: Content,
    ) -> Self {
        let owner = Arc::new(Owner::new(id, Arc::clone(&storage)));
        let space = Arc::new(LinearSpace::new(layout, storage));
        Self(Arc::new(Inner {
            handle,
            owner,
            space,
            content: Arc::new(content),
            finished: Mutex::default(),
        }))
    }

    /// Where the torrent's bytes lie.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.0.space.layout
    }

    /// Hashes pieces from their blocks and writes those that are right. Up to [`lanes`] of them cost little more than one.
    pub fn write_pieces(&self, pieces: Vec<FinishedPiece>) {
        let jobs = pieces.len().div_ceil(lanes());
        self.0.finished().extend(pieces);
        (0..jobs).for_each(|_| self.submit_finished());
    }

    /// The same with one piece.
    pub fn write_piece(
        &self,
        piece: PieceIndex,
        blocks: Vec<(u32, BlockBuf)>,
        want_digests: bool,
        reply: Reply<PieceOutcome>,
    ) {
        self.write_pieces(vec![FinishedPiece { piece, blocks, want_digests, reply }]);
    }

    /// Has a disk thread take what waits.
    fn submit_finished(&self) {
        let inner = Arc::clone(&self.0);
        // Each job takes as many as can be hashed at once, and there is one for so many: none is left over, and the last may
        // find nothing to do.
        let job = move |admitted: Result<&mut Worker, StorageError>| {
            let pieces = inner.take_finished();
            match admitted {
                Ok(worker) => inner.write_finished(pieces, worker),
                Err(error) => {
                    let refuse = |piece: FinishedPiece| {
                        (piece.reply)(PieceOutcome::Failed(error.clone()));
                    };
                    pieces.into_iter().for_each(refuse);
                }
            }
        };
        self.0.handle.scheduler.submit(&self.0.owner, Class::Write, Work::Once(Box::new(job)));
    }

    /// Writes blocks of unfinished pieces at their place, unverified (memory pressure or shutdown).
    pub fn spill(
        &self,
        mut blocks: Vec<(BlockRef, BlockBuf)>,
        reply: Reply<Result<(), StorageError>>,
    ) {
        let job = move |inner: &Inner, _: &mut Worker| {
            blocks.sort_by_key(|(block, _)| (block.piece, block.begin));
            let mut placed = Vec::with_capacity(blocks.len());
            for (block, buf) in &blocks {
                let range = inner.space.layout.range_of_block(block);
                let fits = range.filter(|_| block.len as usize == buf.as_slice().len());
                placed.push((fits.ok_or_else(|| misfit(block))?, buf.as_slice()));
            }
            for run in placed.chunk_by(|a, b| a.0.end == b.0.start) {
                let parts: Vec<&[u8]> = run.iter().map(|(_, bytes)| *bytes).collect();
                inner.space.write(run[0].0.start, &parts)?;
            }
            Ok(())
        };
        self.submit(Class::Write, job, reply);
    }

    /// Reads blocks that the page cache has, without waiting for a disk or for a file to be opened. Gives each
    /// block's bytes in the order of `blocks`; `None` where [`Store::read`] is needed.
    ///
    /// Blocks that follow each other in the torrent are read together.
    #[must_use]
    pub fn try_read(&self, blocks: &[BlockRef]) -> Vec<Option<BlockBytes>> {
        let inner = &*self.0;
        let mut read = Vec::with_capacity(blocks.len());
        let follows = |a: &BlockRef, b: &BlockRef| inner.follows(a, b);
        for run in blocks.chunk_by(follows) {
            let Some(range) = inner.range_of_run(run) else {
                read.extend(run.iter().map(|_| None));
                continue;
            };
            let pool = inner.handle.pool();
            let mut bytes: Vec<_> =
                run.iter().map(|block| BlockBytes::of_len(pool, block.len)).collect();
            let parts = bytes.iter_mut().flat_map(BlockBytes::parts_mut);
            let mut left = inner.space.try_read(range, parts);
            read.extend(run.iter().zip(bytes).map(|(block, bytes)| {
                let whole = left >= u64::from(block.len);
                left = left.saturating_sub(u64::from(block.len));
                whole.then_some(bytes)
            }));
        }
        read
    }

    /// Reads blocks on a disk thread, as one job, into buffers of the pool. What follows each other is brought in
    /// together, and with it `next`, which is not read but will be asked for soon.
    pub fn read(&self, blocks: Vec<BlockRef>, next: &[BlockRef], reply: Reply<Vec<ReadBlock>>) {
        let inner = Arc::clone(&self.0);
        let follows = |a: &BlockRef, b: &BlockRef| inner.follows(a, b);
        let soon: Vec<BlockRef> = blocks.iter().chain(next).copied().collect();
        let ahead: Vec<_> =
            soon.chunk_by(follows).filter_map(|run| inner.range_of_run(run)).collect();
        let inner = Arc::clone(&self.0);
        let job = move |admitted: Result<&mut Worker, StorageError>| {
            let refused = admitted.err();
            if refused.is_none() && soon.len() > 1 {
                ahead.into_iter().for_each(|range| inner.space.will_read(range));
            }
            reply(match refused {
                None => inner.read_blocks(blocks),
                Some(error) => blocks.into_iter().map(|b| (b, Err(error.clone()))).collect(),
            });
        };
        self.0.handle.scheduler.submit(&self.0.owner, Class::Read, Work::Once(Box::new(job)));
    }

    /// Hashes what is on disk: `pieces`, or all. Progress through `progress`, which also cancels it. Files that are
    /// missing or too short are no error, their pieces are just not good.
    pub fn check(
        &self,
        pieces: Option<Bitfield>,
        progress: Arc<CheckProgress>,
        reply: Reply<Result<CheckOutcome, StorageError>>,
    ) {
        let inner = Arc::clone(&self.0);
        let begin = move |admitted: Result<&mut Worker, StorageError>| {
            if let Err(e) = admitted {
                return reply(Err(e));
            }
            let (space, content) = (&inner.space, &inner.content);
            if let Some(run) = CheckRun::begin(space, content, pieces.as_ref(), progress, reply) {
                inner.handle.scheduler.submit(&inner.owner, Class::Check, Work::Steps(run));
            }
        };
        self.0.handle.scheduler.submit(&self.0.owner, Class::Check, Work::Once(Box::new(begin)));
    }

    /// Tells which files are wanted (a bit for each file of the torrent; `None`: all) and creates, of those, empty
    /// files, symbolic links if allowed, and all in full if so configured. Never truncates.
    pub fn prepare(&self, wanted_files: Option<Bitfield>, reply: Reply<Result<(), StorageError>>) {
        let job = move |inner: &Inner, _: &mut Worker| {
            let (storage, layout) = (&inner.space.storage, &inner.space.layout);
            let fail = |file, e| StorageError::new("create", &storage.describe(file), &e);
            storage.set_wanted(wanted_files.as_ref()).map_err(|e| fail(FileIndex(0), e))?;
            for (index, file) in (0u32..).zip(layout.files()) {
                let wanted = wanted_files.as_ref().is_none_or(|set| set.has(PieceIndex(index)));
                if wanted && !file.padding {
                    let index = FileIndex(index);
                    storage.prepare(index, inner.handle.allocation).map_err(|e| fail(index, e))?;
                }
            }
            Ok(())
        };
        self.submit(Class::Write, job, reply);
    }

    /// Makes durable what was written by jobs that replied before this call, then looks at each file.
    ///
    /// After an error nothing written since the last success may be taken to be on disk (N8).
    pub fn sync(&self, reply: Reply<Result<Synced, StorageError>>) {
        let job = move |inner: &Inner, _: &mut Worker| {
            inner.space.sync()?;
            let mut changed = Vec::new();
            let files = inner.each_file(|file| {
                let look = inner.space.storage.look(file)?;
                changed.extend(look.changed.then_some(file));
                Ok(look.identity)
            })?;
            Ok(Synced { files, changed })
        };
        self.submit(Class::Sync, job, reply);
    }

    /// Makes pieces durable that a check has found. Whoever wrote them may have been killed since, or never have synced them, so
    /// that they were read from memory.
    ///
    /// After an error none of them may be taken to be on disk.
    pub fn sync_found(&self, pieces: &Bitfield, reply: Reply<Result<(), StorageError>>) {
        let layout = &self.0.space.layout;
        pieces.iter().for_each(|piece| self.0.space.doubt(layout.range_of(piece)));
        self.submit(Class::Sync, |inner: &Inner, _: &mut Worker| inner.space.sync(), reply);
    }

    /// Those of `pieces` that have any bytes on disk, as far as storage can tell.
    pub fn with_data(&self, pieces: Bitfield, reply: Reply<Result<Bitfield, StorageError>>) {
        let job = move |inner: &Inner, _: &mut Worker| {
            let mut found = Bitfield::empty(pieces.len());
            for piece in pieces.iter() {
                if inner.space.has_data(inner.space.layout.range_of(piece))? {
                    found.insert(piece);
                }
            }
            Ok(found)
        };
        self.submit(Class::Read, job, reply);
    }

    /// Size, time of change and inode of each file, in the order of the torrent's files; padding files and missing
    /// ones do not exist. From now on changes by others are noticed ([`StorageErrorKind::Changed`], [`Synced::changed`]).
    pub fn identities(&self, reply: Reply<Result<Vec<FileIdentity>, StorageError>>) {
        let job =
            |inner: &Inner, _: &mut Worker| inner.each_file(|file| inner.space.storage.note(file));
        self.submit(Class::Read, job, reply);
    }

    /// The files that somebody else changed. From now on they are taken for what they are, so their data has to be checked.
    pub fn take_changed(&self, reply: Reply<Result<Vec<FileIndex>, StorageError>>) {
        let job = |inner: &Inner, _: &mut Worker| {
            let storage = &inner.space.storage;
            let mut changed = Vec::new();
            inner.each_file(|file| {
                if storage.look(file)?.changed {
                    changed.push(file);
                    return storage.note(file);
                }
                Ok(None)
            })?;
            Ok(changed)
        };
        self.submit(Class::Read, job, reply);
    }

    /// Deletes the torrent's files, and directories that become empty thereby, durably. Other files stay. To be called when no
    /// other job of the store is under way.
    pub fn delete(&self, reply: Reply<Result<(), StorageError>>) {
        let job = move |inner: &Inner, _: &mut Worker| {
            let storage = &inner.space.storage;
            inner.space.forget_written();
            for (index, file) in (0u32..).zip(inner.space.layout.files()) {
                if !file.padding {
                    let index = FileIndex(index);
                    storage
                        .delete(index)
                        .map_err(|e| StorageError::new("delete", &storage.describe(index), &e))?;
                }
            }
            storage.delete_leftovers().map_err(|e| {
                StorageError::new("delete", &"what the torrent keeps beside its files", &e)
            })?;
            storage
                .sync_names()
                .map_err(|e| StorageError::new("flush", &"the directories of the torrent", &e))
        };
        self.submit(Class::Write, job, reply);
    }

    fn submit<T: Send + 'static>(
        &self,
        class: Class,
        job: impl FnOnce(&Inner, &mut Worker) -> Result<T, StorageError> + Send + 'static,
        reply: Reply<Result<T, StorageError>>,
    ) {
        let inner = Arc::clone(&self.0);
        let job = move |admitted: Result<&mut Worker, StorageError>| {
            reply(admitted.and_then(|worker| job(&inner, worker)));
        };
        self.0.handle.scheduler.submit(&self.0.owner, class, Work::Once(Box::new(job)));
    }
}

impl Inner {
    fn finished(&self) -> MutexGuard<'_, VecDeque<FinishedPiece>> {
        self.finished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the second block begins where the first one ends.
    fn follows(&self, a: &BlockRef, b: &BlockRef) -> bool {
        let (a, b) = (self.space.layout.range_of_block(a), self.space.layout.range_of_block(b));
        a.zip(b).is_some_and(|(a, b)| a.end == b.start)
    }

    /// The range of blocks that follow each other. `None` if they are not in the torrent.
    fn range_of_run(&self, run: &[BlockRef]) -> Option<Range<u64>> {
        let (first, last) = (run.first()?, run.last()?);
        let (first, last) =
            (self.space.layout.range_of_block(first)?, self.space.layout.range_of_block(last)?);
        Some(first.start..last.end)
    }

    /// Reads blocks to give them away: not from files that somebody else changed.
    fn read_blocks(&self, blocks: Vec<BlockRef>) -> Vec<ReadBlock> {
        let read = |block| (block, self.read_block(block));
        let mut read: Vec<ReadBlock> = blocks.into_iter().map(read).collect();
        // Looked at once each, and after all is read.
        let mut looked = BTreeMap::new();
        let tells = |result: &Result<BlockBytes, StorageError>| {
            // What is missing or cut short is another change.
            result.as_ref().err().is_none_or(|e| e.kind == StorageErrorKind::NotFound)
        };
        for (block, result) in read.iter_mut().filter(|(_, result)| tells(result)) {
            let range = self.space.layout.range_of_block(block).unwrap_or_default();
            let files = self.space.layout.segments(range).filter_map(|segment| segment.file);
            let changed = files.into_iter().find_map(|file| {
                looked.entry(file).or_insert_with(|| self.trouble_with(file)).clone()
            });
            if let Some(error) = changed {
                *result = Err(error);
            }
        }
        read
    }

    /// Why what was read from `file` is of no use, if it is not.
    fn trouble_with(&self, file: FileIndex) -> Option<StorageError> {
        let storage = &self.space.storage;
        match storage.look(file) {
            Ok(look) if look.changed => Some(StorageError::changed(&storage.describe(file))),
            Ok(_) => None,
            Err(e) => Some(StorageError::new("look at", &storage.describe(file), &e)),
        }
    }

    fn read_block(&self, block: BlockRef) -> Result<BlockBytes, StorageError> {
        let range = self.space.layout.range_of_block(&block).ok_or_else(|| misfit(&block))?;
        let mut bytes = BlockBytes::of_len(self.handle.pool(), block.len);
        let mut at = range.start;
        for part in bytes.parts_mut() {
            self.space.read_exact(at, part)?;
            at += part.len() as u64;
        }
        Ok(bytes)
    }

    /// Pieces that wait, as many as are worth hashing at once.
    fn take_finished(&self) -> Vec<FinishedPiece> {
        let mut finished = self.finished();
        let count = finished.len().min(lanes());
        finished.drain(..count).collect()
    }

    fn write_finished(&self, taken: Vec<FinishedPiece>, worker: &mut Worker) {
        let (mut pieces, mut replies) = (Vec::new(), Vec::new());
        for FinishedPiece { piece, blocks, want_digests, reply } in taken {
            match self.to_verify(piece, blocks, want_digests) {
                Ok(piece) => {
                    pieces.push(piece);
                    replies.push(reply);
                }
                Err(error) => reply(PieceOutcome::Failed(error)),
            }
        }
        let outcomes = PieceBlocks::verify_and_write(pieces, &self.space, worker.scratch());
        for (reply, outcome) in replies.into_iter().zip(outcomes) {
            reply(outcome);
        }
    }

    fn to_verify(
        &self,
        piece: PieceIndex,
        blocks: Vec<(u32, BlockBuf)>,
        want_digests: bool,
    ) -> Result<VerifyPiece, StorageError> {
        let blocks = PieceBlocks::new(&self.space, piece, blocks)?;
        let expected = (self.content.expected)(piece)
            .ok_or_else(|| StorageError::misuse("the hash of the piece is not known"))?;
        Ok(VerifyPiece { blocks, expected, want_digests })
    }

    /// What `look` finds of each file.
    fn each_file(
        &self,
        mut look: impl FnMut(FileIndex) -> io::Result<Option<FileIdentity>>,
    ) -> Result<Vec<FileIdentity>, StorageError> {
        let storage = &self.space.storage;
        let identity = |(index, file): (u32, &crate::layout::LayoutFile)| {
            if !file.is_stored() {
                return Ok(FileIdentity::default());
            }
            let index = FileIndex(index);
            match look(index) {
                Ok(identity) => Ok(identity.unwrap_or_default()),
                Err(e) => Err(StorageError::new("look at", &storage.describe(index), &e)),
            }
        };
        (0u32..).zip(self.space.layout.files()).map(identity).collect()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.0.owner.id)
    }
}

fn misfit(block: &BlockRef) -> StorageError {
    StorageError::misuse(&format!("{block:?} is not in the torrent, or its buffer not as long"))
}
