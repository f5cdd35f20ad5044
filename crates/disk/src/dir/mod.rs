//! Torrents in directories: the [`Storage`] everyone uses.
//!
//! Files are opened when first needed and kept in the pool that all torrents share. A file is created at the first
//! write to it, with its directories, and never truncated: what lies there may be data nobody has checked yet.

mod aside;

use crate::beneath::{self, Access, Root};
use crate::file_pool::FilePool;
use crate::layout::{Layout, LayoutFile};
use crate::positional;
use crate::storage::{Allocation, FileIdentity, Storage};
use aside::Aside;
use samara_wire::bitfield::Bitfield;
use samara_wire::id::FileIndex;
use samara_wire::metainfo::FilePath;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// Numbers under which the pool keeps what is no file of the torrent.
const ROOT: u32 = u32::MAX;
const ASIDE: u32 = u32::MAX - 1;
const MOVING: u32 = u32::MAX - 2;

/// Files of a torrent that may be written at the same time.
const WRITERS: usize = 8;

/// The files of one torrent below a directory.
#[derive(Debug)]
pub struct DirStorage {
    id: u64,
    dir: PathBuf,
    /// Name of the file for bytes kept aside, and of what is on its way from there to its own place.
    aside_name: String,
    moving_name: String,
    layout: Arc<Layout>,
    pool: Arc<FilePool>,
    symlinks: bool,
    /// Files whose bytes are kept aside. Held for reading during every transfer, so that none goes to the old place
    /// while bytes are moved to the new one.
    /// `None` until somebody looked.
    aside: RwLock<Option<Aside>>,
    /// Directories with entries that are not durable yet, by path below the root.
    unsynced: Mutex<BTreeSet<String>>,
    /// One of them is held while a file is written to, by the file's number. File systems let one writer at a time into
    /// a file; Linux has those who come meanwhile spin, which took a sixth of the CPU time of a download.
    writers: [Mutex<()>; WRITERS],
}

/// A file on disk, and where in it the bytes of a torrent's file begin.
#[derive(Clone, Copy)]
struct Place<'a> {
    number: u32,
    path: &'a str,
    executable: bool,
    base: u64,
}

impl DirStorage {
    pub(crate) fn new(
        id: u64,
        dir: PathBuf,
        aside_name: String,
        layout: Arc<Layout>,
        pool: Arc<FilePool>,
        symlinks: bool,
    ) -> Self {
        let (aside, unsynced) = (RwLock::default(), Mutex::default());
        let writers = Default::default();
        let moving_name = format!("{aside_name}.new");
        Self { id, dir, aside_name, moving_name, layout, pool, symlinks, aside, unsynced, writers }
    }

    fn entry(&self, file: FileIndex) -> io::Result<&LayoutFile> {
        self.layout.files().get(file.as_usize()).ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    fn place(&self, aside: &Option<Aside>, file: FileIndex) -> io::Result<Place<'_>> {
        let is_aside = aside.as_ref().is_some_and(|aside| aside.files.contains(&file));
        if is_aside { self.place_aside(file) } else { self.own_place(file) }
    }

    fn own_place(&self, file: FileIndex) -> io::Result<Place<'_>> {
        let entry = self.entry(file)?;
        let (path, executable) = (entry.path.as_str(), entry.executable);
        Ok(Place { number: file.0, path, executable, base: 0 })
    }

    fn place_aside(&self, file: FileIndex) -> io::Result<Place<'_>> {
        let base = self.entry(file)?.offset;
        Ok(Place { number: ASIDE, path: &self.aside_name, executable: false, base })
    }

    /// Where `file` is put together before it gets its name.
    fn place_moving(&self, file: FileIndex) -> io::Result<Place<'_>> {
        let executable = self.entry(file)?.executable;
        Ok(Place { number: MOVING, path: &self.moving_name, executable, base: 0 })
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

    fn open(&self, place: Place<'_>) -> io::Result<Arc<File>> {
        if let Some(open) = self.pool.get((self.id, place.number), false) {
            return Ok(open);
        }
        let open = beneath::open(&*self.root()?, place.path, Access::Read)?;
        Ok(self.keep(place, open, false))
    }

    fn open_for_write(&self, place: Place<'_>) -> io::Result<Arc<File>> {
        if let Some(open) = self.pool.get((self.id, place.number), true) {
            return Ok(open);
        }
        let there = self.root().and_then(|root| beneath::open(&root, place.path, Access::Write));
        let open = match there {
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.create(place)?,
            other => other?,
        };
        Ok(self.keep(place, open, true))
    }

    fn create(&self, place: Place<'_>) -> io::Result<File> {
        let access = Access::Create { executable: place.executable };
        let dirs = self.make_parents(place.path)?;
        let open = beneath::open(&*self.root()?, place.path, access)?;
        self.unsynced().insert(dirs.to_owned());
        Ok(open)
    }

    /// Creates the directories above `path`; gives the innermost.
    fn make_parents<'a>(&self, path: &'a str) -> io::Result<&'a str> {
        let dirs = path.rsplit_once('/').map_or("", |(dirs, _)| dirs);
        let make = |root: &Root| {
            beneath::make_dirs(root, dirs, |grown| {
                self.unsynced().insert(grown.to_owned());
            })
        };
        // Whether the directory is there, and still the one we hold open, shows when something is made in it.
        let made = self.root().and_then(|root| {
            beneath::still_linked(&root)?;
            make(&root)
        });
        if made.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
            self.pool.forget((self.id, ROOT));
            self.make_root()?;
            make(&*self.root()?)?;
        } else {
            made?;
        }
        Ok(dirs)
    }

    /// Creates the torrent's directory and those above it, durably.
    fn make_root(&self) -> io::Result<()> {
        let missing: Vec<_> = self.dir.ancestors().take_while(|dir| !dir.exists()).collect();
        std::fs::create_dir_all(&self.dir)?;
        for above in missing.iter().filter_map(|dir| dir.parent()) {
            let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
            beneath::sync_dir(&beneath::open_root(above)?, "")?;
        }
        Ok(())
    }

    fn keep(&self, place: Place<'_>, open: File, writable: bool) -> Arc<File> {
        let open = Arc::new(open);
        self.pool.put((self.id, place.number), Arc::clone(&open), writable);
        open
    }

    fn create_symlink(&self, path: &FilePath, target: &FilePath) -> io::Result<()> {
        if !self.symlinks {
            return Ok(());
        }
        let dirs = self.make_parents(path.as_str())?;
        let ups = "../".repeat(path.iter().count() - 1);
        beneath::symlink(&*self.root()?, path.as_str(), &(ups + target.as_str()))?;
        self.unsynced().insert(dirs.to_owned());
        Ok(())
    }

    fn identity_of(&self, place: Place<'_>) -> io::Result<Option<FileIdentity>> {
        match self.root() {
            Ok(root) => beneath::identity(&root, place.path),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn remove(&self, place: Place<'_>) -> io::Result<()> {
        self.pool.forget((self.id, place.number));
        match self.root() {
            Ok(root) => beneath::remove(&root, place.path),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
        }
    }
}

impl Storage for DirStorage {
    fn read_at(&self, file: FileIndex, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let aside = self.aside()?;
        let place = self.place(&aside, file)?;
        positional::read_at(&*self.open(place)?, place.base + offset, buf)
    }

    fn write_at(&self, file: FileIndex, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.settle(file)?;
        let aside = self.aside()?;
        let place = self.place(&aside, file)?;
        let open = self.open_for_write(place)?;
        let _writer = self.writers[place.number as usize % WRITERS].lock();
        positional::write_at(&open, place.base + offset, bufs)
    }

    fn sync(&self, file: FileIndex) -> io::Result<()> {
        let aside = self.aside()?;
        self.open(self.place(&aside, file)?)?.sync_data()
    }

    fn sync_names(&self) -> io::Result<()> {
        let dirs = std::mem::take(&mut *self.unsynced());
        let result = dirs.iter().try_for_each(|dir| match beneath::sync_dir(&*self.root()?, dir) {
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
        let aside = self.aside()?;
        let place = self.place(&aside, file)?;
        let len = self.entry(file)?.len;
        let identity = self.identity_of(place)?;
        if place.number != ASIDE {
            return Ok(identity);
        }
        Ok(identity
            .map(|id| FileIdentity { len: id.len.saturating_sub(place.base).min(len), ..id }))
    }

    fn set_wanted(&self, wanted: Option<&Bitfield>) -> io::Result<()> {
        self.set_aside(wanted)
    }

    fn prepare(&self, file: FileIndex, allocation: Allocation) -> io::Result<()> {
        let entry = self.entry(file)?;
        if let Some(target) = &entry.symlink {
            return self.create_symlink(&entry.path, target);
        }
        let place = self.own_place(file)?;
        let full = allocation == Allocation::Full;
        if entry.len == 0 || full {
            let open = self.open_for_write(place)?;
            if full && entry.len > 0 {
                positional::allocate(&open, entry.len)?;
            }
        }
        if entry.executable {
            match self.open(place) {
                Ok(open) => beneath::make_executable(&open)?,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn delete(&self, file: FileIndex) -> io::Result<()> {
        self.remove(self.own_place(file)?)
    }

    fn delete_leftovers(&self) -> io::Result<()> {
        self.remove(self.place_moving(FileIndex(0))?)?;
        self.remove(self.place_aside(FileIndex(0))?)
    }

    fn try_read_at(&self, file: FileIndex, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> usize {
        // Bytes are being moved, or nobody looked yet: that would be waiting.
        let Some(aside) = self.aside.try_read().ok().filter(|a| a.is_some()) else { return 0 };
        let Ok(place) = self.place(&aside, file) else { return 0 };
        match self.pool.get((self.id, place.number), false) {
            Some(open) => positional::try_read_at(&open, place.base + offset, bufs),
            None => 0,
        }
    }

    fn will_read(&self, file: FileIndex, offset: u64, len: u64) {
        let Ok(aside) = self.aside() else { return };
        let open = self.place(&aside, file).and_then(|place| Ok((self.open(place)?, place.base)));
        if let Ok((open, base)) = open {
            positional::will_read(&open, base + offset, len);
        }
    }

    fn volume(&self) -> Option<u64> {
        beneath::device(&self.dir)
    }

    fn describe(&self, file: FileIndex) -> String {
        let mut path = self.dir.clone();
        path.extend(self.layout.files().get(file.as_usize()).iter().flat_map(|f| f.path.iter()));
        path.display().to_string()
    }
}

impl Drop for DirStorage {
    fn drop(&mut self) {
        self.pool.forget_all(self.id);
    }
}
