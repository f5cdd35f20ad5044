//! The disk subsystem as a whole: configuration, start and end.

use crate::dir::DirStorage;
use crate::file_pool::FilePool;
use crate::layout::Layout;
use crate::pool::BlockPool;
use crate::schedule::Scheduler;
use crate::storage::{Allocation, Storage};
use crate::store::{Content, Store};
use samara_wire::metainfo::Info;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How the disk subsystem is to be. Plain data; `Default` is what a user wants.
#[derive(Clone, Debug)]
pub struct DiskConfig {
    /// Threads that write, read and hash for one volume at the same time. Two more are started: one that syncs, and one so that a
    /// volume that stalls does not hold up the others.
    pub threads: usize,
    /// Bytes of block buffers, soft bound: see [`BlockPool`].
    pub buffer_bytes: usize,
    /// Open files at most; never more than half of what the system grants the process.
    pub max_open_files: usize,
    /// Whether files are allocated in full beforehand.
    pub allocation: Allocation,
    /// Whether symbolic links that a torrent asks for (BEP 47) are created.
    pub symlinks: bool,
}

impl Default for DiskConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            threads: cores.clamp(2, 16),
            buffer_bytes: 24 << 20,
            max_open_files: 512,
            allocation: Allocation::Sparse,
            symlinks: false,
        }
    }
}

/// The disk subsystem: cheap to clone. Its threads end with [`Disk::shutdown`], or when the last clone and the last
/// [`Store`] are dropped and what was to be written is.
#[derive(Clone)]
pub struct Disk(Arc<Handle>);

/// What disk and stores share, apart from the threads: dropping it ends them.
pub(crate) struct Handle {
    pub(crate) scheduler: Arc<Scheduler>,
    pub(crate) allocation: Allocation,
    symlinks: bool,
    pool: BlockPool,
    files: Arc<FilePool>,
    next_store: AtomicU64,
}

impl Disk {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the system grants no more threads.
    pub fn start(config: DiskConfig) -> io::Result<Self> {
        Ok(Self(Arc::new(Handle {
            scheduler: Scheduler::start(config.threads)?,
            allocation: config.allocation,
            symlinks: config.symlinks,
            pool: BlockPool::new(config.buffer_bytes),
            files: Arc::new(FilePool::new(config.max_open_files)),
            next_store: AtomicU64::new(0),
        })))
    }

    /// Where block buffers come from.
    #[must_use]
    pub fn pool(&self) -> &BlockPool {
        &self.0.pool
    }

    /// A torrent's storage in `dir`. Nothing is touched on disk yet.
    #[must_use]
    pub fn open(&self, info: Info, dir: PathBuf) -> Store {
        let layout = Arc::new(Layout::of(&info));
        let aside = format!(".{}.parts", info.hashes().wire());
        self.open_layout(layout, Content::of(info), dir, aside)
    }

    /// The same over an embedder's storage.
    #[must_use]
    pub fn open_with(&self, info: Info, storage: Arc<dyn Storage>) -> Store {
        let layout = Arc::new(Layout::of(&info));
        self.open_layout_with(layout, Content::of(info), storage)
    }

    pub(crate) fn open_layout(
        &self,
        layout: Arc<Layout>,
        content: Content,
        dir: PathBuf,
        aside: String,
    ) -> Store {
        let id = self.next_id();
        let files = Arc::clone(&self.0.files);
        let storage = DirStorage::new(id, dir, aside, Arc::clone(&layout), files, self.0.symlinks);
        Store::new(Arc::clone(&self.0), id, layout, Arc::new(storage), content)
    }

    pub(crate) fn open_layout_with(
        &self,
        layout: Arc<Layout>,
        content: Content,
        storage: Arc<dyn Storage>,
    ) -> Store {
        Store::new(Arc::clone(&self.0), self.next_id(), layout, storage, content)
    }

    /// Takes no more jobs, refuses reads and checks that wait, and blocks until everything that was to be written
    /// is, but no longer than `limit`. True if all was done. Call it where blocking is allowed.
    #[must_use]
    pub fn shutdown(&self, limit: Duration) -> bool {
        self.0.scheduler.close();
        self.0.scheduler.wait_drained(limit)
    }

    fn next_id(&self) -> u64 {
        self.0.next_store.fetch_add(1, Ordering::Relaxed)
    }
}

impl Handle {
    pub(crate) const fn pool(&self) -> &BlockPool {
        &self.pool
    }
}

impl Content {
    fn of(info: Info) -> Self {
        Self { expected: Box::new(move |piece| info.piece_hash(piece)) }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.scheduler.close();
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Disk").field(&self.0.pool).finish()
    }
}
