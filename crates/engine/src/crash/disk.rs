//! A disk with one order of events for payload and records, and a log of all of them.
//!
//! What is read is what the page cache of a running system would give: everything that was written. What is on the disk itself
//! after the power went is for [`super::image`] to say, out of the log.
//!
//! A [`Handle`] is what one session has of the disk. [`CrashDisk::kill`] ends all handles that there are: the session behind them
//! can do no more, as if it had been killed, and the next one finds the page cache as it was left.

use super::view::{Change, Inode, View};
use crate::state_files::StateFiles;
use samara_disk::{Allocation, FileIdentity, Storage};
use samara_swarm::rng::Rng;
use samara_wire::id::FileIndex;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// File systems mark time in steps.
const CLOCK_STEP: Duration = Duration::from_millis(10);

const HOUR_NS: i128 = 3_600_000_000_000;

const PAGE: usize = 4096;

/// How long a sync takes. Other threads write meanwhile.
const SYNC_TIME: Duration = Duration::from_micros(500);

/// An entry of the log.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// Something was written.
    Change(Change),
    /// Of this file, everything logged before `begun` is durable.
    SyncFile { inode: u64, begun: usize },
    /// A sync has failed: of what was not durable the system has written what it could, and has given up the rest.
    SyncFailed { inode: u64 },
    /// Of the names in this directory, everything logged before `begun` is durable.
    SyncDir { dir: PathBuf, begun: usize },
    /// Somebody looked at a file, and saw this.
    Looked { inode: u64, identity: FileIdentity },
    /// The engine has a record that it takes to be durable.
    Recorded(Vec<u8>),
    /// The engine has told its owner that these trackers are kept. Those asked for since are in [`Event::Asked`].
    Kept(Vec<Vec<String>>),
    /// The owner is about to ask for these trackers.
    Asked(Vec<Vec<String>>),
    /// What came before is how the disk was found, and no moment of it.
    Found,
    /// All sessions were killed.
    Killed,
}

/// What is wrong with the disk, so that what is promised cannot be kept: to see that it is noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flaw {
    /// Syncs of payload do nothing.
    PayloadUnsynced,
    /// Syncs of payload have their effect only after the next record is durable: as if the record were written first.
    RecordFirst,
    /// Syncs of payload do nothing for what the session has not written itself.
    FoundUnsynced,
    /// A sync that fails says that it succeeded.
    FailureUnnoticed,
    /// What a failed sync gave up is still read from memory, and no later sync makes it durable.
    GivenUpKept,
    /// The content of records is not synced.
    RecordUnsynced,
    /// The names of records are not synced.
    NamesUnsynced,
    /// A file that is renamed to be set aside is gone.
    AsideDeleted,
}

pub(super) struct CrashDisk(Mutex<State>);

struct State {
    began: Instant,
    /// The time of the disk when it began, in nanoseconds: later than all that it holds.
    base: i128,
    view: View,
    log: Vec<Event>,
    /// Number of the handles that are alive; smaller ones are dead.
    generation: u64,
    flaw: Option<Flaw>,
    /// Syncs of payload to come until one fails.
    until_failure: Option<u32>,
    /// Syncs of payload that wait for a record ([`Flaw::RecordFirst`]).
    late: Vec<(u64, usize)>,
    /// Content of files as it is durable for sure.
    durable: BTreeMap<u64, Vec<u8>>,
    rng: Rng,
}

impl CrashDisk {
    pub(super) fn new(flaw: Option<Flaw>) -> Arc<Self> {
        Self::showing(View::default(), flaw)
    }

    /// A disk that holds this, all of it durable.
    pub(super) fn holding(view: &View) -> Arc<Self> {
        let disk = Self::showing(view.clone(), None);
        let mut state = disk.lock();
        for (path, &inode) in &view.names {
            let Inode { bytes, mtime } = &view.inodes[&inode];
            let (path, mtime, bytes) = (path.clone(), *mtime, bytes.as_slice().into());
            state.log.push(Event::Change(Change::Create { path, inode, mtime }));
            state.log.push(Event::Change(Change::Write { inode, offset: 0, bytes, mtime }));
            let begun = state.log.len();
            state.log.push(Event::SyncFile { inode, begun });
        }
        let begun = state.log.len();
        let dirs: BTreeSet<_> = view.names.keys().filter_map(|path| path.parent()).collect();
        for dir in dirs {
            state.log.push(Event::SyncDir { dir: dir.to_owned(), begun });
        }
        state.log.push(Event::Found);
        drop(state);
        disk
    }

    /// A disk on which somebody finds this. How it came there is not in its log.
    pub(super) fn showing(view: View, flaw: Option<Flaw>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            began: Instant::now(),
            base: view.inodes.values().map(|inode| inode.mtime).max().unwrap_or(0) + HOUR_NS,
            view,
            log: Vec::new(),
            generation: 0,
            flaw,
            until_failure: None,
            late: Vec::new(),
            durable: BTreeMap::new(),
            rng: Rng::new(1),
        })))
    }

    /// Access for a session: the files of a torrent, with their paths and lengths.
    pub(super) fn handle(self: &Arc<Self>, files: &[(PathBuf, usize)]) -> Arc<Handle> {
        let state = self.lock();
        Arc::new(Handle {
            disk: Arc::clone(self),
            generation: state.generation,
            files: files.to_vec(),
            written: Mutex::default(),
        })
    }

    /// Ends all handles.
    pub(super) fn kill(&self) {
        let mut state = self.lock();
        state.generation += 1;
        state.log.push(Event::Killed);
    }

    /// Has a sync of payload fail, after so many.
    pub(super) fn fail_sync(&self, after: u32) {
        self.lock().until_failure = Some(after);
    }

    pub(super) fn note(&self, event: Event) {
        self.lock().log.push(event);
    }

    pub(super) fn log(&self) -> Vec<Event> {
        self.lock().log.clone()
    }

    pub(super) fn view(&self) -> View {
        self.lock().view.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn change(&mut self, change: Change) {
        self.view.apply(&change);
        self.log.push(Event::Change(change));
    }

    fn mtime(&self) -> i128 {
        let steps = self.began.elapsed().as_nanos() / CLOCK_STEP.as_nanos();
        self.base + i128::try_from(steps * CLOCK_STEP.as_nanos()).unwrap_or(0)
    }

    /// The inode called `path`, made if there is none.
    fn inode(&mut self, path: &Path) -> u64 {
        if let Some(&inode) = self.view.names.get(path) {
            return inode;
        }
        let inode = self.view.inodes.keys().max().map_or(1, |last| last + 1);
        let mtime = self.mtime();
        self.change(Change::Create { path: path.to_owned(), inode, mtime });
        inode
    }

    fn resize(&mut self, inode: u64, len: usize) {
        let mtime = self.mtime();
        self.change(Change::Resize { inode, len, mtime });
    }

    fn write(&mut self, inode: u64, offset: usize, bytes: Arc<[u8]>) {
        let mtime = self.mtime();
        self.change(Change::Write { inode, offset, bytes, mtime });
    }

    /// Whether this sync is the one that fails; those that have nothing to do do not count.
    fn is_to_fail(&mut self, inode: u64) -> bool {
        let durable = self.durable.get(&inode).map_or(&[][..], Vec::as_slice);
        if self.view.inodes[&inode].bytes == durable {
            return false;
        }
        let left = self.until_failure.map(|left| left.saturating_sub(1));
        self.until_failure = left.filter(|&left| left > 0);
        left == Some(0)
    }

    /// Of a file, some pages that are not durable are lost, the first of them for certain, and seen to be.
    fn give_up(&mut self, inode: u64) {
        self.log.push(Event::SyncFailed { inode });
        if self.flaw == Some(Flaw::GivenUpKept) {
            return;
        }
        let mut bytes = self.view.inodes[&inode].bytes.clone();
        let durable = self.durable.get(&inode).map_or(&[][..], Vec::as_slice);
        let mut is_first = true;
        for (page, at) in bytes.chunks_mut(PAGE).zip((0..).step_by(PAGE)) {
            let rest = durable.get(at..).unwrap_or(&[]);
            let mut before = rest[..rest.len().min(page.len())].to_vec();
            before.resize(page.len(), 0);
            if before != page && (is_first || self.rng.below(2) == 0) {
                page.copy_from_slice(&before);
                is_first = false;
            }
        }
        let mtime = self.view.inodes[&inode].mtime;
        self.change(Change::Write { inode, offset: 0, bytes: bytes.as_slice().into(), mtime });
        self.durable.insert(inode, bytes);
        let begun = self.log.len();
        self.log.push(Event::SyncFile { inode, begun });
    }

    fn existing(&self, path: &Path) -> io::Result<&Inode> {
        let inode = self.view.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(&self.view.inodes[inode])
    }
}

/// See the module's head.
pub(super) struct Handle {
    disk: Arc<CrashDisk>,
    generation: u64,
    files: Vec<(PathBuf, usize)>,
    /// Inodes that were written through this handle.
    written: Mutex<BTreeSet<u64>>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({})", self.generation)
    }
}

impl Handle {
    /// The disk, if this handle is alive.
    fn enter(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.lock();
        if state.generation == self.generation {
            Ok(state)
        } else {
            Err(io::Error::other("the session was killed"))
        }
    }

    fn path(&self, file: FileIndex) -> io::Result<&PathBuf> {
        let file = self.files.get(file.as_usize());
        file.map(|(path, _)| path).ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    /// Waits as a sync does, if this handle is still alive, and gives what had happened before.
    fn begin_sync(&self) -> io::Result<usize> {
        let begun = self.enter()?.log.len();
        thread::sleep(SYNC_TIME);
        Ok(begun)
    }
}

impl Storage for Handle {
    fn read_at(&self, file: FileIndex, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let state = self.enter()?;
        let bytes = &state.existing(self.path(file)?)?.bytes;
        let rest = bytes.get(to_len(offset)..).unwrap_or(&[]);
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn write_at(&self, file: FileIndex, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.enter()?;
        let inode = state.inode(self.path(file)?);
        let bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        let len = bytes.len();
        state.write(inode, to_len(offset), bytes.into());
        drop(state);
        self.written.lock().unwrap().insert(inode);
        Ok(len)
    }

    fn sync(&self, file: FileIndex) -> io::Result<()> {
        let path = self.path(file)?;
        let content = self.enter()?.existing(path)?.bytes.clone();
        let begun = self.begin_sync()?;
        let mut state = self.enter()?;
        let inode = *state.view.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        let foreign = !self.written.lock().unwrap().contains(&inode);
        if state.is_to_fail(inode) {
            state.give_up(inode);
            let unnoticed = state.flaw == Some(Flaw::FailureUnnoticed);
            return if unnoticed { Ok(()) } else { Err(io::Error::other("the medium failed")) };
        }
        match state.flaw {
            Some(Flaw::PayloadUnsynced) => {}
            Some(Flaw::FoundUnsynced) if foreign => {}
            Some(Flaw::RecordFirst) => state.late.push((inode, begun)),
            _ => {
                state.log.push(Event::SyncFile { inode, begun });
                state.durable.insert(inode, content);
            }
        }
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let begun = self.begin_sync()?;
        let mut state = self.enter()?;
        let dirs: BTreeSet<_> = self.files.iter().filter_map(|(path, _)| path.parent()).collect();
        for dir in dirs {
            state.log.push(Event::SyncDir { dir: dir.to_owned(), begun });
        }
        Ok(())
    }

    fn identity(&self, file: FileIndex) -> io::Result<Option<FileIdentity>> {
        let mut state = self.enter()?;
        let path = self.path(file)?;
        let Some(&inode) = state.view.names.get(path) else { return Ok(None) };
        let identity = state.view.identity(inode);
        state.log.push(Event::Looked { inode, identity });
        Ok(Some(identity))
    }

    fn prepare(&self, file: FileIndex, allocation: Allocation) -> io::Result<()> {
        let mut state = self.enter()?;
        if allocation == Allocation::Full {
            let inode = state.inode(self.path(file)?);
            let len = self.files[file.as_usize()].1;
            if state.view.inodes[&inode].bytes.len() < len {
                state.resize(inode, len);
            }
        }
        Ok(())
    }

    fn delete(&self, file: FileIndex) -> io::Result<()> {
        let mut state = self.enter()?;
        let path = self.path(file)?.clone();
        if state.view.names.contains_key(&path) {
            state.change(Change::Remove { path });
        }
        Ok(())
    }

    fn describe(&self, file: FileIndex) -> String {
        format!("{:?}", self.files.get(file.as_usize()))
    }
}

impl StateFiles for Handle {
    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        let state = self.enter()?;
        let bytes = &state.existing(path)?.bytes;
        Ok(bytes[..bytes.len().min(to_len(most))].to_vec())
    }

    fn write(&self, path: &Path, parts: &[&[u8]]) -> io::Result<()> {
        let mut state = self.enter()?;
        let inode = state.inode(path);
        state.resize(inode, 0);
        let mut offset = 0;
        for part in parts {
            state.write(inode, offset, (*part).into());
            offset += part.len();
        }
        drop(state);
        let begun = self.begin_sync()?;
        let mut state = self.enter()?;
        if state.flaw != Some(Flaw::RecordUnsynced) {
            state.log.push(Event::SyncFile { inode, begun });
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.enter()?;
        let inode = *state.view.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        if state.flaw == Some(Flaw::AsideDeleted) && to.extension().is_some_and(|e| e == "damaged")
        {
            state.change(Change::Remove { path: from.to_owned() });
        } else {
            state.change(Change::Rename { from: from.to_owned(), to: to.to_owned(), inode });
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.enter()?;
        state.existing(path)?;
        state.change(Change::Remove { path: path.to_owned() });
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let begun = self.begin_sync()?;
        let mut state = self.enter()?;
        if state.flaw != Some(Flaw::NamesUnsynced) {
            state.log.push(Event::SyncDir { dir: dir.to_owned(), begun });
        }
        for (inode, begun) in std::mem::take(&mut state.late) {
            state.log.push(Event::SyncFile { inode, begun });
        }
        let is_record = |path: &Path| path.extension().is_some_and(|e| e == "resume");
        let record = state.view.names.keys().find(|path| is_record(path)).cloned();
        if let Some(record) = record {
            let bytes = state.existing(&record)?.bytes.clone();
            state.log.push(Event::Recorded(bytes));
        }
        Ok(())
    }
}

fn to_len(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
