//! Storage of torrents. SKELETON: the seam with the engine is fixed; bodies, docs and files to be made by its builder.
#![expect(unused_variables, missing_docs, dead_code, clippy::todo, reason = "skeleton")]

use samara_wire::bitfield::Bitfield;
use samara_wire::id::{BlockRef, PieceIndex};
use samara_wire::metainfo::Info;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Plain data.
#[derive(Clone, Debug)]
pub struct DiskConfig {
    /// Threads that write, read and hash.
    pub threads: usize,
    /// Bytes of block buffers, soft bound: see `BlockPool`.
    pub buffer_bytes: usize,
    /// Open files at most.
    pub max_open_files: usize,
    pub allocation: Allocation,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocation {
    Sparse,
    Full,
}

/// A 16 KiB buffer of the pool; goes back when dropped. Send.
#[derive(Debug)]
pub struct BlockBuf {}
impl BlockBuf {
    /// The first `len` bytes, as set with `set_len`.
    pub fn as_slice(&self) -> &[u8] {
        todo!()
    }
    /// All BLOCK_LEN bytes, to be filled.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        todo!()
    }
    pub fn set_len(&mut self, len: usize) {
        todo!()
    }
}

#[derive(Clone, Debug)]
pub struct BlockPool {}
impl BlockPool {
    /// Never fails and never waits: beyond the soft bound it allocates, since each block taken was asked for
    /// within a credit. Freed buffers beyond the bound are given back to the system.
    pub fn take(&self) -> BlockBuf {
        todo!()
    }
    /// Bytes of the soft bound not in use.
    pub fn free_bytes(&self) -> u64 {
        todo!()
    }
}

/// The disk subsystem: cheap to clone.
#[derive(Clone)]
pub struct Disk {}
impl Disk {
    pub fn start(config: DiskConfig) -> io::Result<Self> {
        todo!()
    }
    pub fn pool(&self) -> &BlockPool {
        todo!()
    }
    /// A torrent's storage in `dir`. Nothing is touched on disk yet.
    pub fn open(&self, info: Info, dir: PathBuf) -> Store {
        todo!()
    }
    /// The same over an embedder's storage.
    pub fn open_with(&self, info: Info, storage: Arc<dyn Storage>) -> Store {
        todo!()
    }
}

/// Where the bytes of a torrent are kept. Implemented for directories; embedders may bring their own.
pub trait Storage: Send + Sync {}

/// Why a job failed: names the file and the cause, and says which class (no space, permission, other).
#[derive(Debug)]
pub struct StorageError {}

/// Called on a disk thread when a job is done; must not block. (The engine posts to its shard.)
pub type Reply<T> = Box<dyn FnOnce(T) + Send>;

/// One torrent's storage. Cheap to clone. Jobs are queued and never block the caller.
#[derive(Clone)]
pub struct Store {}
impl Store {
    /// Hash the piece from its blocks (all present, or those spilled earlier read back) and write it if it matches.
    pub fn write_piece(
        &self,
        piece: PieceIndex,
        blocks: Vec<(u32, BlockBuf)>,
        want_digests: bool,
        reply: Reply<PieceOutcome>,
    ) {
        todo!()
    }
    /// Write blocks of an unfinished piece at their place, unverified (memory pressure or shutdown).
    pub fn spill(&self, blocks: Vec<(BlockRef, BlockBuf)>, reply: Reply<Result<(), StorageError>>) {
        todo!()
    }
    /// Read a block from the page cache without waiting: Ok(false) if it would have to wait for the disk.
    pub fn try_read(&self, block: BlockRef, into: &mut [u8]) -> Result<bool, StorageError> {
        todo!()
    }
    /// Read a block on a disk thread.
    pub fn read(&self, block: BlockRef, reply: Reply<Result<Vec<u8>, StorageError>>) {
        todo!()
    }
    /// Hash what is on disk. `pieces`: which (None: all). Progress through the returned handle.
    pub fn check(
        &self,
        pieces: Option<Bitfield>,
        progress: Arc<CheckProgress>,
        reply: Reply<Result<CheckOutcome, StorageError>>,
    ) {
        todo!()
    }
    /// Create directories, empty files, symlinks as the torrent asks and full allocation if chosen. Never truncates.
    pub fn prepare(&self, wanted_files: Option<Bitfield>, reply: Reply<Result<(), StorageError>>) {
        todo!()
    }
    /// fdatasync what was written since the last sync, then give each file's identity.
    pub fn sync(&self, reply: Reply<Result<Vec<FileIdentity>, StorageError>>) {
        todo!()
    }
    /// size, mtime, inode of each file (None: missing).
    pub fn identities(&self, reply: Reply<Result<Vec<FileIdentity>, StorageError>>) {
        todo!()
    }
}
#[derive(Debug)]
pub enum PieceOutcome {
    Verified { digests: Option<Box<[[u8; 20]]>> },
    Corrupt { digests: Box<[[u8; 20]]> },
    Failed(StorageError),
}
#[derive(Debug, Default)]
pub struct CheckProgress {}
#[derive(Debug)]
pub struct CheckOutcome {
    pub good: Bitfield,
}
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FileIdentity {
    pub len: u64,
    pub mtime_ns: i128,
    pub inode: u64,
    pub exists: bool,
}
