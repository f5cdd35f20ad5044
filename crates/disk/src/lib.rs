//! Storage of torrents: where bytes lie, block buffers, hashing, open files and the threads that do the work.
//!
//! A [`Disk`] has the threads, a [`BlockPool`] and a pool of open files, and is shared by all torrents. A [`Store`]
//! is one torrent in it: jobs go in with a [`Reply`] that is called on a disk thread when they are done, so the
//! network threads never wait for a disk. Back-pressure is not here: whoever asks peers for blocks takes a credit of
//! [`BlockPool::free_bytes`] first.
//!
//! ```no_run
//! # fn demo(info: samara_wire::metainfo::Info) -> std::io::Result<()> {
//! use samara_disk::{CheckProgress, Disk, DiskConfig};
//! use std::sync::Arc;
//! let disk = Disk::start(DiskConfig::default())?;
//! let store = disk.open(info, "downloads".into());
//! let progress = Arc::new(CheckProgress::default());
//! let (done, outcome) = std::sync::mpsc::channel();
//! store.check(None, Arc::clone(&progress), Box::new(move |result| drop(done.send(result))));
//! if let Ok(Ok(outcome)) = outcome.recv() {
//!     println!("{} pieces of {} are there", outcome.good.count(), outcome.good.len());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! | module | what it decides |
//! | --- | --- |
//! | `layout`, `linear` | which files a range of the torrent falls into |
//! | `pool`, `scratch` | memory for blocks, and for what is read to be hashed |
//! | `hash` | whether bytes are the piece |
//! | `storage`, `dir`, `beneath`, `positional`, `file_pool` | where files are kept, and that nothing outside the directory is touched |
//! | `schedule` | which job a thread takes next |
//! | `store`, `piece`, `check` | the jobs |
//! | `create`, `walk` | the hashes and files of a new torrent |
//! | `memory`, `faulty` | storages for tests |

#![forbid(unsafe_code)]

mod beneath;
mod check;
mod create;
mod dir;
mod disk;
mod error;
mod faulty;
mod file_pool;
mod hash;
mod layout;
mod linear;
mod memory;
mod piece;
mod pool;
mod positional;
mod schedule;
mod scratch;
mod storage;
mod store;
mod sync;
#[cfg(test)]
mod tests;
mod walk;

pub use check::{CheckOutcome, CheckProgress};
pub use create::{HashError, hash_files};
pub use dir::DirStorage;
pub use disk::{Disk, DiskConfig};
pub use error::{StorageError, StorageErrorKind};
pub use faulty::{Fault, FaultyStorage, Gate, Operation};
pub use hash::{BlockLeaves, PieceHasher, block_digest, lanes};
pub use layout::{Layout, LayoutFile, Segment};
pub use memory::MemoryStorage;
pub use piece::PieceOutcome;
pub use pool::{BlockBuf, BlockBytes, BlockPool};
pub use storage::{Allocation, FileIdentity, Look, Storage};
pub use store::{FinishedPiece, ReadBlock, Reply, Store, Synced};
pub use walk::{Walk, WalkError, WalkedFile, walk};
