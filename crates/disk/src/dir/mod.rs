//! Torrents in directories: the [`Storage`] everyone uses.
//!
//! Files are opened when first needed and kept in the pool that all torrents share. A file is created at the first
//! write to it, with its directories, and never truncated: what lies there may be data nobody has checked yet.

mod aside;
mod marks;

use crate::beneath::{self, Access, Root};
use crate::error::is_exhausted;
use crate::file_pool::FilePool;
use crate::layout::{Layout, LayoutFile};
use crate::positional;
use crate::storage::{Allocation, FileIdentity, Look, Storage};
use aside::Aside;
use marks::Marks;
use samara_wire::bitfield::Bitfield;
use samara_wire::id::FileIndex;
use samara_wire::metainfo::{FilePath, Info};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

/// Numbers under which the pool keeps what is no file of the torrent.
const ROOT: u32 = u32::MAX;
const ASIDE: u32 = u32::MAX - 1;
const MOVING: u32 = u32::MAX - 2;

/// What is on its way to its own place is called like what is kept aside, and then this.
const MOVING_SUFFIX: &str = ".moving";

/// Files of a torrent that may be written at the same time.
const WRITERS: usize = 8;

/// The files of one torrent below a directory.
#[derive(Debug)]
pub struct DirStorage {
    id: u64,
    dir: PathBuf,
    /// Name of the file for bytes kept aside, and then [`MOVING_SUFFIX`]: that of what is on its way from there to its own place.
    moving_name: Box<str>,
    layout: Arc<Layout>,
    pool: Arc<FilePool>,
    symlinks: bool,
    /// Files whose bytes are kept aside. Held for reading during every transfer, so that none goes to the old place
    /// while bytes are moved to the new one.
    /// `None` until somebody looked.
    aside: RwLock<Option<Aside>>,
    /// Directories with entries that are not durable yet, by path below the root.
    unsynced: Mutex<BTreeSet<String>>,
    /// Directories that were among those once. Entries that were there already may be of a run that was killed.
    named: OnceLock<Box<Mutex<BTreeSet<String>>>>,
    /// One of them is held while a file is written to, by the file's number. File systems let one writer at a time into
    /// a file; Linux has those who come meanwhile spin, which took a sixth of the CPU time of a download. Whoever compares a
    /// file with its mark holds it, too.
    writers: OnceLock<Box<[Mutex<()>; WRITERS]>>,
    marks: Marks,
    /// Whether the file system sets the time of a change at once. Asked at the first write.
    exact: OnceLock<bool>,
}

/// A file on disk, and where in it the bytes of a torrent's file begin.
#[derive(Clone, Copy)]
struct Place<'a> {
    number: u32,
    path: &'a str,
    executable: bool,
    base: u64,
}

/// Files kept open by a storage that is alone ([`DirStorage::open`]).
const OPEN_ALONE: usize = 64;

impl DirStorage {
    /// The files of a torrent below `dir`, with a few open at a time: for those who wrap it. Nothing is touched on disk yet. Torrents
    /// of [`Disk::open`](crate::Disk::open) share their open files.
    #[must_use]
    pub fn open(info: &Info, dir: PathBuf) -> Self {
        let aside = format!(".{}.parts", info.hashes().wire());
        let (layout, pool) = (Arc::new(Layout::of(info)), Arc::new(FilePool::new(OPEN_ALONE)));
        Self::new(0, dir, aside, layout, pool, false)
    }

    pub(crate) fn new(
        id: u64,
        dir: PathBuf,
        aside_name: String,
        layout: Arc<Layout>,
        pool: Arc<FilePool>,
        symlinks: bool,
    ) -> Self {
        let (aside, unsynced, named) = (RwLock::default(), Mutex::default(), OnceLock::new());
        let writers = OnceLock::new();
        let moving_name = format!("{aside_name}{MOVING_SUFFIX}").into_boxed_str();
        let (marks, exact) = (Marks::default(), OnceLock::new());
        Self {
            id,
            dir,
            moving_name,
            layout,
            pool,
            symlinks,
            aside,
            unsynced,
            named,
            writers,
            marks,
            exact,
        }
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
        let path = self.moving_name.strip_suffix(MOVING_SUFFIX).unwrap_or_default();
        Ok(Place { number: ASIDE, path, executable: false, base })
    }

    /// Where `file` is put together before it gets its name.
    fn place_moving(&self, file: FileIndex) -> io::Result<Place<'_>> {
        let executable = self.entry(file)?.executable;
        Ok(Place { number: MOVING, path: &self.moving_name, executable, base: 0 })
    }

    fn unsynced(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the names that lead to `path` made durable with the next [`Storage::sync_names`], if they never were.
    fn name_once(&self, path: &str) {
        let dirs = path.rsplit_once('/').map_or("", |(dirs, _)| dirs);
        let mut named =
            self.named.get_or_init(Box::default).lock().unwrap_or_else(PoisonError::into_inner);
        if named.insert(dirs.to_owned()) {
            self.unsynced().extend(above(path));
        }
    }

    /// The torrent's directory, kept open among the files.
    #[cfg(unix)]
    fn root(&self) -> io::Result<Arc<Root>> {
        if let Some(root) = self.pool.get((self.id, ROOT), false) {
            return Ok(root);
        }
        let root = Arc::new(self.make_room(|| beneath::open_root(&self.dir))?);
        self.pool.put((self.id, ROOT), Arc::clone(&root), false);
        Ok(root)
    }

    #[cfg(not(unix))]
    fn root(&self) -> io::Result<Arc<Root>> {
        Ok(Arc::new(beneath::open_root(&self.dir)?))
    }

    /// Tries again for as long as files can be closed that were used longer ago, if descriptors are short.
    fn make_room<T>(&self, attempt: impl Fn() -> io::Result<T>) -> io::Result<T> {
        loop {
            match attempt() {
                Err(e) if is_exhausted(&e) && self.pool.close_oldest() => {}
                result => return result,
            }
        }
    }

    fn open_place(&self, place: Place<'_>) -> io::Result<Arc<File>> {
        if let Some(open) = self.pool.get((self.id, place.number), false) {
            return Ok(open);
        }
        let root = self.root()?;
        let open = self.make_room(|| beneath::open(&root, place.path, Access::Read))?;
        Ok(self.keep(place, open, false))
    }

    /// Some systems let only those flush a file who may write to it.
    fn open_to_sync(&self, place: Place<'_>) -> io::Result<Arc<File>> {
        if cfg!(unix) {
            return self.open_place(place);
        }
        match beneath::open(&*self.root()?, place.path, Access::Write) {
            Ok(open) => Ok(self.keep(place, open, true)),
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => self.open_place(place),
            Err(e) => Err(e),
        }
    }

    fn open_for_write(&self, place: Place<'_>) -> io::Result<Arc<File>> {
        self.open_to_change(place).map(|(open, _)| open)
    }

    /// The file, open for writing, and whether it was made for that.
    fn open_to_change(&self, place: Place<'_>) -> io::Result<(Arc<File>, bool)> {
        if let Some(open) = self.pool.get((self.id, place.number), true) {
            return Ok((open, false));
        }
        let there = self
            .root()
            .and_then(|root| self.make_room(|| beneath::open(&root, place.path, Access::Write)));
        match there {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                // One that was there and is gone, is missed by whoever thinks its data is there.
                self.marks.check(place.number, &FileIdentity::default())?;
                Ok((self.keep(place, self.create(place)?, true), true))
            }
            other => Ok((self.keep(place, other?, true), false)),
        }
    }

    fn create(&self, place: Place<'_>) -> io::Result<File> {
        let access = Access::Create { executable: place.executable };
        let dirs = self.make_parents(place.path)?;
        let root = self.root()?;
        let open = self.make_room(|| beneath::open(&root, place.path, access))?;
        self.unsynced().insert(dirs.to_owned());
        Ok(open)
    }

    /// Creates the directories above `path`; gives the innermost.
    fn make_parents<'a>(&self, path: &'a str) -> io::Result<&'a str> {
        let dirs = path.rsplit_once('/').map_or("", |(dirs, _)| dirs);
        let make = |root: &Root| {
            self.make_room(|| {
                beneath::make_dirs(root, dirs, |grown| {
                    self.unsynced().insert(grown.to_owned());
                })
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

    /// The identity of a file where it has its own place, or of its part of what is kept aside.
    fn as_file(
        &self,
        place: Place<'_>,
        file: FileIndex,
        identity: Option<FileIdentity>,
    ) -> io::Result<Option<FileIdentity>> {
        let len = self.entry(file)?.len;
        let part = |id: FileIdentity| match place.number {
            ASIDE => FileIdentity { len: id.len.saturating_sub(place.base).min(len), ..id },
            _ => id,
        };
        Ok(identity.map(part))
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
            Ok(root) => self.make_room(|| beneath::identity(&root, place.path)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn writer(&self, place: Place<'_>) -> MutexGuard<'_, ()> {
        let writer = &self.writers.get_or_init(Box::default)[place.number as usize % WRITERS];
        writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has `change` change the file, unless somebody else did; then it is as we left it.
    fn change<T>(
        &self,
        place: Place<'_>,
        change: impl FnOnce(&File) -> io::Result<T>,
    ) -> io::Result<T> {
        let _writer = self.writer(place);
        let (open, new) = self.open_to_change(place)?;
        if !new {
            self.marks.check(place.number, &beneath::look(&open)?)?;
        }
        let changed = change(&open);
        // Also after an error: part of it may have been done.
        let exact = *self.exact.get_or_init(|| beneath::has_exact_times(&open));
        self.marks.wrote(place.number, beneath::look(&open)?, exact);
        changed
    }

    fn remove(&self, place: Place<'_>) -> io::Result<()> {
        self.pool.forget((self.id, place.number));
        self.marks.forget(place.number);
        match self.root() {
            Ok(root) => self.make_room(|| beneath::remove(&root, place.path)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
        }
    }
}

impl Storage for DirStorage {
    fn read_at(&self, file: FileIndex, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let aside = self.aside()?;
        let place = self.place(&aside, file)?;
        positional::read_at(&*self.open_place(place)?, place.base + offset, buf)
    }

    fn write_at(&self, file: FileIndex, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.settle(file)?;
        let aside = self.aside()?;
        let place = self.place(&aside, file)?;
        self.change(place, |open| positional::write_at(open, place.base + offset, bufs))
    }

    fn sync(&self, file: FileIndex) -> io::Result<()> {
        let aside = self.aside()?;
        let place = self.place(&aside, file)?;
        let open = match self.open_to_sync(place) {
            // Somebody deleted it: whoever looks is told, and what is not there needs no sync.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        // Elsewhere the time may come when the file is closed: then it is never compared again.
        let unsettled = self.marks.unsettled(place.number).filter(|_| cfg!(unix));
        match open.sync_data() {
            // Not every file system can; then there is nothing to be done.
            Err(e)
                if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            }
            // Linux calls pages clean that it failed to write, and a check would find them right.
            synced => synced.inspect_err(|_| positional::forget_cached(&open))?,
        }
        self.name_once(place.path);
        if let Some(writes) = unsettled {
            let _writer = self.writer(place);
            let seen = self.identity_of(place)?.unwrap_or_default();
            self.marks.settle(place.number, writes, seen);
        }
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let dirs = std::mem::take(&mut *self.unsynced());
        let sync = |dir: &String| {
            let root = self.root()?;
            self.make_room(|| beneath::sync_dir(&root, dir))
        };
        let result = dirs.iter().try_for_each(|dir| match sync(dir) {
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
        self.as_file(place, file, self.identity_of(place)?)
    }

    fn note(&self, file: FileIndex) -> io::Result<Option<FileIdentity>> {
        let aside = self.aside()?;
        let place = self.place(&aside, file)?;
        let _writer = self.writer(place);
        // It may be another file by that name.
        self.pool.forget((self.id, place.number));
        let identity = self.identity_of(place)?;
        self.marks.note(place.number, identity);
        self.as_file(place, file, identity)
    }

    fn look(&self, file: FileIndex) -> io::Result<Look> {
        let aside = self.aside()?;
        let place = self.place(&aside, file)?;
        let _writer = self.writer(place);
        let identity = self.identity_of(place)?;
        let changed = !self.marks.is_same(place.number, &identity.unwrap_or_default());
        Ok(Look { identity: self.as_file(place, file, identity)?, changed })
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
            self.change(place, |open| match entry.len {
                0 => Ok(()),
                len => positional::allocate(open, len),
            })?;
        }
        if entry.executable {
            match self.open_place(place) {
                Ok(open) => beneath::make_executable(&open)?,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn has_data(&self, file: FileIndex, offset: u64, len: u64) -> io::Result<bool> {
        let aside = self.aside()?;
        let place = self.place(&aside, file)?;
        match self.open_place(place) {
            Ok(open) => positional::has_data(&open, place.base + offset, len),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn delete(&self, file: FileIndex) -> io::Result<()> {
        let place = self.own_place(file)?;
        self.remove(place)?;
        self.unsynced().extend(above(place.path));
        Ok(())
    }

    fn delete_leftovers(&self) -> io::Result<()> {
        let place = self.place_aside(FileIndex(0))?;
        self.remove(place)?;
        self.remove(self.place_moving(FileIndex(0))?)?;
        self.unsynced().extend(above(place.path));
        Ok(())
    }

    fn try_read_at(&self, file: FileIndex, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> usize {
        // Bytes are being moved, or nobody looked yet: that would be waiting.
        let Some(aside) = self.aside.try_read().ok().filter(|a| a.is_some()) else { return 0 };
        let Ok(place) = self.place(&aside, file) else { return 0 };
        let Some(open) = self.pool.get((self.id, place.number), false) else { return 0 };
        let read = positional::try_read_at(&open, place.base + offset, bufs);
        let same = |seen| self.marks.is_same(place.number, &seen);
        if read == 0 || beneath::look(&open).is_ok_and(same) { read } else { 0 }
    }

    fn will_read(&self, file: FileIndex, offset: u64, len: u64) {
        let Ok(aside) = self.aside() else { return };
        let open =
            self.place(&aside, file).and_then(|place| Ok((self.open_place(place)?, place.base)));
        if let Ok((open, base)) = open {
            positional::will_read(&open, base + offset, len);
        }
    }

    fn volume(&self) -> Option<u64> {
        // What is mounted below the directory is another device.
        let top = self.layout.files().first().and_then(|file| file.path.iter().next());
        beneath::device(&top.map_or_else(|| self.dir.clone(), |top| self.dir.join(top)))
    }

    fn describe(&self, file: FileIndex) -> String {
        let mut path = self.dir.clone();
        path.extend(self.layout.files().get(file.as_usize()).iter().flat_map(|f| f.path.iter()));
        path.display().to_string()
    }
}

/// The directories above `path`, by path below the root, and the root.
fn above(path: &str) -> impl Iterator<Item = String> {
    std::iter::successors(Some(path), |p| p.rsplit_once('/').map(|(dir, _)| dir))
        .skip(1)
        .chain([""])
        .map(str::to_owned)
}

impl Drop for DirStorage {
    fn drop(&mut self) {
        self.pool.forget_all(self.id);
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use samara_wire::layout::PieceLayout;

    fn storage(dir: &Path) -> DirStorage {
        let path = FilePath::from_untrusted([&b"a"[..], b"b", b"file"]).unwrap();
        let file = LayoutFile::new(path, 100, 0);
        let layout = Layout::new(vec![file], PieceLayout::contiguous(100, 100));
        let pool = Arc::new(FilePool::new(4));
        DirStorage::new(1, dir.to_owned(), ".aside".into(), Arc::new(layout), pool, false)
    }

    #[test]
    fn names_that_a_killed_run_left_are_made_durable_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = FileIndex(0);
        storage(dir.path()).write_at(file, 0, &[IoSlice::new(b"x")]).unwrap();
        // It was killed before it came to that.
        let storage = storage(dir.path());
        storage.write_at(file, 1, &[IoSlice::new(b"y")]).unwrap();
        assert!(storage.unsynced().is_empty());
        storage.sync(file).unwrap();
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(*storage.unsynced(), names(&["", "a", "a/b"]));
        storage.sync_names().unwrap();
        storage.sync(file).unwrap();
        assert!(storage.unsynced().is_empty());
        storage.delete(file).unwrap();
        assert_eq!(*storage.unsynced(), names(&["", "a", "a/b"]));
        storage.sync_names().unwrap();
        assert!(storage.unsynced().is_empty() && !dir.path().join("a").exists());
    }

    #[test]
    fn nothing_to_delete_and_no_directory_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let storage = storage(&dir.path().join("never made"));
        storage.delete(FileIndex(0)).unwrap();
        storage.delete_leftovers().unwrap();
        storage.sync_names().unwrap();
    }
}
