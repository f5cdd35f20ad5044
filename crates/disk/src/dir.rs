//! Torrents in directories: the [`Storage`] everyone uses.
//!
//! Files are opened when first needed and kept in the pool that all torrents share. A file is created at the first
//! write to it, with its directories, and never truncated: what lies there may be data nobody has checked yet.

use crate::beneath::{self, Access, Root};
use crate::file_pool::{FileKey, FilePool};
use crate::layout::{Layout, LayoutFile};
use crate::storage::{Allocation, FileIdentity, Storage};
use samara_wire::id::FileIndex;
use samara_wire::metainfo::FilePath;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Number under which the pool keeps the directory itself.
const ROOT: u32 = u32::MAX;

/// Buffers in one system call at most (`IOV_MAX`).
#[cfg(unix)]
const MAX_BUFS: usize = 1024;

/// The files of one torrent below a directory.
#[derive(Debug)]
pub struct DirStorage {
    id: u64,
    dir: PathBuf,
    layout: Arc<Layout>,
    pool: Arc<FilePool>,
    symlinks: bool,
    /// Directories with entries that are not durable yet, by path below the root.
    unsynced: Mutex<BTreeSet<String>>,
}

impl DirStorage {
    pub(crate) fn new(
        id: u64,
        dir: PathBuf,
        layout: Arc<Layout>,
        pool: Arc<FilePool>,
        symlinks: bool,
    ) -> Self {
        Self { id, dir, layout, pool, symlinks, unsynced: Mutex::default() }
    }

    fn entry(&self, file: FileIndex) -> io::Result<&LayoutFile> {
        self.layout.files().get(file.as_usize()).ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    fn key(&self, file: FileIndex) -> FileKey {
        (self.id, file.0)
    }

    fn unsynced(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The torrent's directory, kept open among the files.
    #[cfg(unix)]
    fn root(&self) -> io::Result<Arc<Root>> {
        if let Some(root) = self.pool.get((self.id, ROOT), false) {
            return Ok(root);
        }
        let root = Arc::new(beneath::open_root(&self.dir)?);
        self.pool.put((self.id, ROOT), Arc::clone(&root), false);
        Ok(root)
    }

    #[cfg(not(unix))]
    fn root(&self) -> io::Result<Arc<Root>> {
        Ok(Arc::new(beneath::open_root(&self.dir)?))
    }

    fn open(&self, file: FileIndex) -> io::Result<Arc<File>> {
        if let Some(open) = self.pool.get(self.key(file), false) {
            return Ok(open);
        }
        let open = beneath::open(&*self.root()?, self.entry(file)?.path.as_str(), Access::Read)?;
        Ok(self.keep(file, open, false))
    }

    fn open_for_write(&self, file: FileIndex) -> io::Result<Arc<File>> {
        if let Some(open) = self.pool.get(self.key(file), true) {
            return Ok(open);
        }
        let path = self.entry(file)?.path.as_str();
        let there = self.root().and_then(|root| beneath::open(&root, path, Access::Write));
        let open = match there {
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.create(file)?,
            other => other?,
        };
        Ok(self.keep(file, open, true))
    }

    fn create(&self, file: FileIndex) -> io::Result<File> {
        let entry = self.entry(file)?;
        let access = Access::Create { executable: entry.executable };
        let dirs = self.make_parents(entry)?;
        let open = beneath::open(&*self.root()?, entry.path.as_str(), access)?;
        self.unsynced().insert(dirs.to_owned());
        Ok(open)
    }

    /// Creates the directories above a file; gives their path.
    fn make_parents<'a>(&self, entry: &'a LayoutFile) -> io::Result<&'a str> {
        let dirs = entry.path.parent().unwrap_or("");
        let make = |root: &Root| {
            beneath::make_dirs(root, dirs, |grown| {
                self.unsynced().insert(grown.to_owned());
            })
        };
        let made = self.root().and_then(|root| make(&root));
        if made.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
            // The directory is not there, or is no longer the one we hold open.
            self.pool.forget((self.id, ROOT));
            std::fs::create_dir_all(&self.dir)?;
            make(&*self.root()?)?;
        } else {
            made?;
        }
        Ok(dirs)
    }

    fn keep(&self, file: FileIndex, open: File, writable: bool) -> Arc<File> {
        let open = Arc::new(open);
        self.pool.put(self.key(file), Arc::clone(&open), writable);
        open
    }

    fn create_symlink(&self, entry: &LayoutFile, target: &FilePath) -> io::Result<()> {
        if !self.symlinks {
            return Ok(());
        }
        let dirs = self.make_parents(entry)?;
        let ups = "../".repeat(entry.path.iter().count() - 1);
        beneath::symlink(&*self.root()?, entry.path.as_str(), &(ups + target.as_str()))?;
        self.unsynced().insert(dirs.to_owned());
        Ok(())
    }
}

impl Storage for DirStorage {
    fn read_at(&self, file: FileIndex, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        read_at(&*self.open(file)?, offset, buf)
    }

    fn write_at(&self, file: FileIndex, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        write_at(&*self.open_for_write(file)?, offset, bufs)
    }

    fn sync(&self, file: FileIndex) -> io::Result<()> {
        self.open(file)?.sync_data()
    }

    fn sync_names(&self) -> io::Result<()> {
        let dirs = std::mem::take(&mut *self.unsynced());
        let mut left = dirs.iter();
        let result = left.try_for_each(|dir| match beneath::sync_dir(&*self.root()?, dir) {
            // Removed meanwhile, and with it what was to be kept.
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        });
        if result.is_err() {
            self.unsynced().extend(dirs);
        }
        result
    }

    fn identity(&self, file: FileIndex) -> io::Result<Option<FileIdentity>> {
        match self.root() {
            Ok(root) => beneath::identity(&root, self.entry(file)?.path.as_str()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn prepare(&self, file: FileIndex, allocation: Allocation) -> io::Result<()> {
        let entry = self.entry(file)?;
        if let Some(target) = &entry.symlink {
            return self.create_symlink(entry, target);
        }
        let full = allocation == Allocation::Full;
        if entry.len == 0 || full {
            let open = self.open_for_write(file)?;
            if full && entry.len > 0 {
                allocate(&open, entry.len)?;
            }
        }
        if entry.executable {
            match self.open(file) {
                Ok(open) => beneath::make_executable(&open)?,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn delete(&self, file: FileIndex) -> io::Result<()> {
        self.pool.forget(self.key(file));
        match self.root() {
            Ok(root) => beneath::remove(&root, self.entry(file)?.path.as_str()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
        }
    }

    fn try_read_at(
        &self,
        file: FileIndex,
        offset: u64,
        buf: &mut [u8],
    ) -> io::Result<Option<usize>> {
        match self.pool.get(self.key(file), false) {
            Some(open) => try_read_at(&open, offset, buf),
            None => Ok(None),
        }
    }

    fn sendable(&self, file: FileIndex) -> Option<Arc<File>> {
        self.pool.get(self.key(file), false)
    }

    fn volume(&self) -> Option<u64> {
        beneath::device(&self.dir)
    }

    fn describe(&self, file: FileIndex) -> String {
        let mut path = self.dir.clone();
        path.extend(
            self.layout.files().get(file.as_usize()).into_iter().flat_map(|f| f.path.iter()),
        );
        path.display().to_string()
    }
}

impl Drop for DirStorage {
    fn drop(&mut self) {
        self.pool.forget_all(self.id);
    }
}

#[cfg(unix)]
fn read_at(file: &File, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buf, offset)
}

#[cfg(windows)]
fn read_at(file: &File, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buf, offset)
}

#[cfg(target_os = "linux")]
fn write_at(file: &File, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    Ok(rustix::io::pwritev(file, &bufs[..bufs.len().min(MAX_BUFS)], offset)?)
}

#[cfg(all(unix, not(target_os = "linux")))]
fn write_at(file: &File, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    let _ = MAX_BUFS;
    let first = bufs.iter().find(|b| !b.is_empty()).map_or(&[][..], |b| b);
    std::os::unix::fs::FileExt::write_at(file, first, offset)
}

#[cfg(windows)]
fn write_at(file: &File, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    let first = bufs.iter().find(|b| !b.is_empty()).map_or(&[][..], |b| b);
    std::os::windows::fs::FileExt::seek_write(file, first, offset)
}

/// Reads what is in the page cache; `None` if that would not do, or the system cannot tell.
#[cfg(target_os = "linux")]
fn try_read_at(file: &File, offset: u64, buf: &mut [u8]) -> io::Result<Option<usize>> {
    use rustix::io::{Errno, ReadWriteFlags, preadv2};
    let bufs = &mut [io::IoSliceMut::new(buf)];
    match preadv2(file, bufs, offset, ReadWriteFlags::NOWAIT) {
        Ok(n) => Ok(Some(n)),
        Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::INTR) => {
            Ok(None)
        }
        Err(e) => Err(e.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn try_read_at(_: &File, _: u64, _: &mut [u8]) -> io::Result<Option<usize>> {
    Ok(None)
}

/// Allocates a file in full. That the file system cannot is no error: the file then fills as it is written.
#[cfg(target_os = "linux")]
fn allocate(file: &File, len: u64) -> io::Result<()> {
    use rustix::io::Errno;
    loop {
        match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, len) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn allocate(_: &File, _: u64) -> io::Result<()> {
    Ok(())
}
