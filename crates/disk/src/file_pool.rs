//! The open files of all torrents, bounded in number.
//!
//! Torrents may have more files than a process may open. The pool keeps those used last; the least recently used is
//! closed when another takes its place. A file handed out stays open as long as somebody holds it, so the bound is
//! passed by at most the number of threads at work and of transfers under way.
//!
//! To close a file can take as long as its server likes: what was written may go out first. So a thread of its own does it. While that is
//! held up, everybody makes room among the files of their own storage, or the bound is passed by a file for each storage.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

/// Names a file across torrents: the number of its storage, and its own in there.
pub(crate) type FileKey = (u64, u32);

/// Open files, the least recently used closed first.
#[derive(Debug)]
pub(crate) struct FilePool {
    open: Mutex<Open>,
    max: usize,
    closer: Closer,
}

/// Closes files on a thread of its own, which begins with the first and ends with the pool.
#[derive(Debug, Default)]
struct Closer {
    thread: Mutex<Option<mpsc::Sender<Entry>>>,
    waiting: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Open {
    files: HashMap<FileKey, Entry>,
    /// Keys by the time of their last use.
    order: BTreeMap<u64, FileKey>,
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    file: Arc<File>,
    writable: bool,
    used: u64,
}

impl FilePool {
    /// A pool of at most `max` open files, and at most half of what the system grants the process.
    pub(crate) fn new(max: usize) -> Self {
        let max = max.min(system_limit() / 2).max(1);
        Self { open: Mutex::default(), max, closer: Closer::default() }
    }

    /// The file, if it is open, and for writing if `write` asks that.
    pub(crate) fn get(&self, key: FileKey, write: bool) -> Option<Arc<File>> {
        let mut open = self.lock();
        open.clock += 1;
        let now = open.clock;
        let entry = open.files.get_mut(&key).filter(|e| e.writable || !write)?;
        let file = Arc::clone(&entry.file);
        let before = std::mem::replace(&mut entry.used, now);
        open.order.remove(&before);
        open.order.insert(now, key);
        Some(file)
    }

    /// Keeps `file` open, closing others if there are too many.
    pub(crate) fn put(&self, key: FileKey, file: Arc<File>, writable: bool) {
        let (mut ours, mut others) = (Vec::new(), Vec::new());
        let mut open = self.lock();
        open.clock += 1;
        let used = open.clock;
        ours.extend(open.remove(key));
        open.files.insert(key, Entry { file, writable, used });
        open.order.insert(used, key);
        while open.files.len() > self.max {
            if self.closer.has_room_for(others.len() + 1) {
                let Some((_, &oldest)) = open.order.first_key_value() else { break };
                others.extend(open.remove(oldest));
            } else {
                let is_ours = |other: &FileKey| other.0 == key.0 && *other != key;
                let Some(oldest) = open.order.values().copied().find(is_ours) else { break };
                ours.extend(open.remove(oldest));
            }
        }
        // Not under the lock.
        drop(open);
        drop(ours);
        self.closer.close(others);
    }

    /// Closes the least recently used file. False if none is open.
    pub(crate) fn close_oldest(&self) -> bool {
        let mut open = self.lock();
        let oldest = open.order.first_key_value().map(|(_, &key)| key);
        let closing = oldest.and_then(|key| open.remove(key));
        drop(open);
        closing.is_some()
    }

    /// Closes one file.
    pub(crate) fn forget(&self, key: FileKey) {
        let closing = self.lock().remove(key);
        drop(closing);
    }

    /// Closes all files of a storage.
    pub(crate) fn forget_all(&self, storage: u64) {
        let mut open = self.lock();
        let keys: Vec<_> = open.files.keys().copied().filter(|k| k.0 == storage).collect();
        let closing = keys.into_iter().filter_map(|key| open.remove(key)).collect();
        drop(open);
        // It may be a network thread that drops the storage.
        self.closer.close(closing);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Closer {
    /// Files that may wait to be closed before it counts as held up.
    const ROOM: usize = 16;

    fn has_room_for(&self, files: usize) -> bool {
        self.waiting.load(Ordering::Relaxed) + files <= Self::ROOM
    }

    fn close(&self, files: Vec<Entry>) {
        if files.is_empty() {
            return;
        }
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_none() {
            let (files, waiting) = (mpsc::channel::<Entry>(), Arc::clone(&self.waiting));
            let run = move || {
                for file in files.1 {
                    drop(file);
                    waiting.fetch_sub(1, Ordering::Relaxed);
                }
            };
            // Where no thread can be had, they are closed here.
            let begun = std::thread::Builder::new().name("samara-close".into()).spawn(run);
            *thread = begun.is_ok().then_some(files.0);
        }
        for file in files {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            if thread.as_ref().is_none_or(|thread| thread.send(file).is_err()) {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

impl Open {
    fn remove(&mut self, key: FileKey) -> Option<Entry> {
        let entry = self.files.remove(&key)?;
        self.order.remove(&entry.used);
        Some(entry)
    }
}

/// File descriptors the process may have.
#[cfg(unix)]
fn system_limit() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX)
}

#[cfg(not(unix))]
fn system_limit() -> usize {
    1024
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Arc<File> {
        Arc::new(tempfile::tempfile().unwrap())
    }

    #[test]
    fn the_least_recently_used_is_closed() {
        let pool = FilePool::new(2);
        let first = file();
        pool.put((1, 0), Arc::clone(&first), false);
        pool.put((1, 1), file(), false);
        assert!(pool.get((1, 0), false).is_some());
        pool.put((1, 2), file(), false);
        assert!(pool.get((1, 1), false).is_none());
        assert!(pool.get((1, 0), false).is_some() && pool.get((1, 2), false).is_some());
        assert_eq!(Arc::strong_count(&first), 2);
        pool.put((1, 3), file(), false);
        while Arc::strong_count(&first) > 1 {
            std::thread::yield_now(); // until it is closed, but for us who hold it
        }
        assert!(pool.close_oldest() && pool.close_oldest() && !pool.close_oldest());
    }

    #[test]
    fn a_file_open_for_reading_does_not_do_for_writing() {
        let pool = FilePool::new(2);
        pool.put((1, 0), file(), false);
        assert!(pool.get((1, 0), true).is_none());
        pool.put((1, 0), file(), true);
        assert!(pool.get((1, 0), true).is_some() && pool.get((1, 0), false).is_some());
        let open = pool.lock();
        assert_eq!((open.files.len(), open.order.len()), (1, 1));
    }

    #[test]
    fn while_closing_is_held_up_everybody_makes_room_among_their_own() {
        let pool = FilePool::new(2);
        let (held, free) = (file(), file());
        pool.put((1, 0), Arc::clone(&held), false);
        pool.put((1, 1), file(), false);
        pool.closer.waiting.store(Closer::ROOM, Ordering::Relaxed);
        pool.put((2, 0), Arc::clone(&free), false);
        assert_eq!(pool.lock().files.len(), 3, "nothing of its own could go");
        pool.put((2, 1), file(), false);
        assert_eq!((Arc::strong_count(&held), Arc::strong_count(&free)), (2, 1));
        pool.closer.waiting.store(0, Ordering::Relaxed);
        pool.put((3, 0), file(), false);
        assert_eq!(pool.lock().files.len(), 2);
    }

    #[test]
    fn a_storage_is_forgotten_whole() {
        let pool = FilePool::new(8);
        for key in [(1, 0), (1, 1), (2, 0)] {
            pool.put(key, file(), false);
        }
        pool.forget_all(1);
        pool.forget((2, 7));
        assert!(pool.get((1, 0), false).is_none() && pool.get((2, 0), false).is_some());
        assert_eq!(pool.lock().order.len(), 1);
    }
}
