//! The seam below which bytes are kept: files of one torrent, by index.
//!
//! A [`Storage`] moves bytes and knows nothing of pieces, hashes or queues; it is called on disk threads and may
//! block. Reads and writes may be short, as the system's are: [`read_full`] and [`write_full`], through which
//! everything here goes, carry on where a call stopped.

use crate::error::StorageError;
use samara_wire::bitfield::Bitfield;
use samara_wire::id::FileIndex;
use std::io::{self, IoSlice, IoSliceMut};

/// Where the files of one torrent are kept. Implemented for directories; embedders may bring their own.
///
/// Called from several threads at once. Padding files are never asked for. Calls may block, but for
/// [`Storage::try_read_at`].
pub trait Storage: Send + Sync {
    /// Reads into `buf` from `offset`. Gives the bytes read, perhaps fewer than asked for; 0 at the end of the file.
    ///
    /// # Errors
    /// `NotFound` if there is no such file; other errors as the system gives them.
    fn read_at(&self, file: FileIndex, offset: u64, buf: &mut [u8]) -> io::Result<usize>;

    /// Writes `bufs`, one after another, at `offset`, creating the file if there is none and never truncating it.
    /// Gives the bytes written, perhaps fewer than given.
    ///
    /// # Errors
    /// As the system gives them.
    fn write_at(&self, file: FileIndex, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Makes what was written to the file durable. That somebody deleted it is no error; [`Storage::look`] tells.
    ///
    /// # Errors
    /// As the system gives them. After one, what was written since the last success is unknown; reads must give what is on disk
    /// and not what is remembered of it, or a check would find right what is lost.
    fn sync(&self, file: FileIndex) -> io::Result<()>;

    /// Makes the names of files that were created, synced or deleted since the last call durable.
    ///
    /// # Errors
    /// As the system gives them.
    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }

    /// What tells whether a file changed behind our back; `None` if there is no such file.
    ///
    /// # Errors
    /// If the file may be there but cannot be looked at.
    fn identity(&self, file: FileIndex) -> io::Result<Option<FileIdentity>>;

    /// Whether the file has bytes of its own in this range: false if it is a hole, or there is no such file. True where that
    /// cannot be told.
    ///
    /// # Errors
    /// As the system gives them.
    fn has_data(&self, file: FileIndex, offset: u64, len: u64) -> io::Result<bool> {
        let _ = (file, offset, len);
        Ok(true)
    }

    /// As [`Storage::identity`], and from now on the file is taken for what it is: changes of others are seen as
    /// [`Look::changed`]. Whoever trusts or checks what is in it, does this first.
    ///
    /// # Errors
    /// As [`Storage::identity`].
    fn note(&self, file: FileIndex) -> io::Result<Option<FileIdentity>> {
        self.identity(file)
    }

    /// As [`Storage::identity`], and whether somebody else changed the file since it was noted.
    ///
    /// # Errors
    /// As [`Storage::identity`].
    fn look(&self, file: FileIndex) -> io::Result<Look> {
        Ok(Look { identity: self.identity(file)?, changed: false })
    }

    /// Tells which files are wanted (`None`: all) before any is prepared. Bytes of pieces that reach from a wanted
    /// into an unwanted file are still written and read; the storage may keep them elsewhere.
    ///
    /// # Errors
    /// As the system gives them.
    fn set_wanted(&self, wanted: Option<&Bitfield>) -> io::Result<()> {
        let _ = wanted;
        Ok(())
    }

    /// Creates the file if it is empty, a symbolic link or to be allocated in full; sets its attributes.
    ///
    /// # Errors
    /// As the system gives them. That a file system cannot preallocate is none.
    fn prepare(&self, file: FileIndex, allocation: Allocation) -> io::Result<()>;

    /// Deletes the file, and the directories that thereby become empty. A missing file is no error.
    ///
    /// # Errors
    /// As the system gives them.
    fn delete(&self, file: FileIndex) -> io::Result<()>;

    /// Deletes what the storage keeps beside the files, once those are deleted.
    ///
    /// # Errors
    /// As the system gives them.
    fn delete_leftovers(&self) -> io::Result<()> {
        Ok(())
    }

    /// Reads from `offset` on into `bufs`, one after another, without ever waiting: not for a disk, and not for a file to
    /// be opened. Gives the bytes read, 0 where it would have to wait, where the file may have changed, or where there is
    /// trouble, which [`Storage::read_at`] or [`Storage::look`] will tell.
    fn try_read_at(&self, file: FileIndex, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> usize {
        let _ = (file, offset, bufs);
        0
    }

    /// Tells that these bytes are going to be read soon, so that the disk can begin. Waits for nothing but, perhaps, a
    /// file to be opened; that it cannot be done is no error.
    fn will_read(&self, file: FileIndex, offset: u64, len: u64) {
        let _ = (file, offset, len);
    }

    /// Identifies the device. Storages that name the same one share a bound of threads, so that a device that
    /// stalls cannot hold up all of them; `None`: a device of its own.
    fn volume(&self) -> Option<u64> {
        None
    }

    /// Names the file in messages to the user.
    fn describe(&self, file: FileIndex) -> String;
}

/// Whether files are allocated as they fill or in full beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Allocation {
    /// As they fill; holes take no space.
    #[default]
    Sparse,
    /// In full when the torrent starts, where the file system can.
    Full,
}

/// What a file is like, and whether it ought to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Look {
    /// What it is like; `None` if there is none.
    pub identity: Option<FileIdentity>,
    /// Whether it is another than was noted, and not by a write of ours.
    pub changed: bool,
}

/// What tells whether a file changed while we did not look. Default: a file that is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FileIdentity {
    /// Length in bytes.
    pub len: u64,
    /// Time of the last change of its content, nanoseconds since 1970.
    pub mtime_ns: i128,
    /// Number of the inode, 0 where there is none.
    pub inode: u64,
    /// Whether the file is there at all.
    pub exists: bool,
}

/// Fills `buf` from `offset` on; gives how many bytes there were, fewer than asked for only at the end of the file.
/// A missing file has no bytes.
pub(crate) fn read_full(
    storage: &dyn Storage,
    file: FileIndex,
    offset: u64,
    buf: &mut [u8],
) -> Result<usize, StorageError> {
    let mut done = 0;
    while done < buf.len() {
        match storage.read_at(file, offset + done as u64, &mut buf[done..]) {
            Ok(0) => break,
            Ok(n) => done += n.min(buf.len() - done),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => break,
            Err(e) => return Err(StorageError::new("read", &storage.describe(file), &e)),
        }
    }
    Ok(done)
}

/// Writes all of `bufs` at `offset`.
pub(crate) fn write_full(
    storage: &dyn Storage,
    file: FileIndex,
    mut offset: u64,
    mut bufs: &mut [IoSlice<'_>],
) -> Result<(), StorageError> {
    let fail = |e: &io::Error| StorageError::new("write", &storage.describe(file), e);
    IoSlice::advance_slices(&mut bufs, 0);
    while !bufs.is_empty() {
        match storage.write_at(file, offset, bufs) {
            Ok(0) => return Err(fail(&io::ErrorKind::WriteZero.into())),
            Ok(n) => {
                offset += n as u64;
                IoSlice::advance_slices(&mut bufs, n);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(fail(&e)),
        }
    }
    Ok(())
}
