//! Reading and writing ranges of a torrent's linear space, whatever files they fall into.

use crate::error::StorageError;
use crate::layout::{Layout, Segment};
use crate::storage::{Storage, read_full, write_full};
use samara_wire::id::FileIndex;
use std::collections::BTreeSet;
use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// A torrent's bytes as one space, and which files wait to be made durable.
pub(crate) struct LinearSpace {
    pub(crate) layout: Arc<Layout>,
    pub(crate) storage: Arc<dyn Storage>,
    /// Files with bytes that may not be durable.
    dirty: Mutex<BTreeSet<FileIndex>>,
    /// Held during a sync: what one has taken on and not finished must not look done to another.
    syncing: Mutex<()>,
}

impl LinearSpace {
    pub(crate) fn new(layout: Arc<Layout>, storage: Arc<dyn Storage>) -> Self {
        Self { layout, storage, dirty: Mutex::default(), syncing: Mutex::default() }
    }

    /// Fills `buf` from `start` on. `Err` in the inner result names the first file that lacks bytes of the range.
    pub(crate) fn read(
        &self,
        start: u64,
        mut buf: &mut [u8],
    ) -> Result<Result<(), FileIndex>, StorageError> {
        for segment in self.layout.segments(start..start + buf.len() as u64) {
            let (now, rest) = buf.split_at_mut(as_len(segment.len));
            match segment.file {
                None => now.fill(0),
                Some(file) => {
                    if read_full(&*self.storage, file, segment.offset, now)? < now.len() {
                        return Ok(Err(file));
                    }
                }
            }
            buf = rest;
        }
        Ok(Ok(()))
    }

    /// As [`LinearSpace::read`], but bytes that are not there are an error.
    pub(crate) fn read_exact(&self, start: u64, buf: &mut [u8]) -> Result<(), StorageError> {
        self.read(start, buf)?.map_err(|file| StorageError::too_short(&self.storage.describe(file)))
    }

    /// Fills `bufs`, which together are as long as `range`, as far as that needs no waiting: one system call for each
    /// file. Gives how many bytes that is.
    pub(crate) fn try_read<'a>(
        &self,
        range: Range<u64>,
        mut bufs: impl Iterator<Item = &'a mut [u8]>,
    ) -> u64 {
        let mut done = 0;
        let mut rest: &mut [u8] = &mut [];
        for segment in self.layout.segments(range) {
            let mut left = as_len(segment.len);
            let mut parts = Vec::with_capacity(bufs.size_hint().0 + 1);
            while left > 0 {
                if rest.is_empty() {
                    rest = bufs.next().expect("the buffers are as long as the range together");
                }
                let (now, later) = rest.split_at_mut(left.min(rest.len()));
                left -= now.len();
                parts.push(IoSliceMut::new(now));
                rest = later;
            }
            let read = match segment.file {
                None => {
                    parts.iter_mut().for_each(|part| part.fill(0));
                    segment.len
                }
                Some(file) => self.storage.try_read_at(file, segment.offset, &mut parts) as u64,
            };
            done += read;
            if read < segment.len {
                break;
            }
        }
        done
    }

    /// Has the disk begin to read `range`, in order.
    pub(crate) fn will_read(&self, range: Range<u64>) {
        for segment in self.layout.segments(range) {
            if let Some(file) = segment.file {
                self.storage.will_read(file, segment.offset, segment.len);
            }
        }
    }

    /// The same unless the last byte of `range` is in memory already: then, most likely, so is the rest. (The first may be
    /// there because what stands before it was read.)
    pub(crate) fn will_read_unless_here(&self, range: Range<u64>) {
        let here = |at| self.try_read(at..at + 1, std::iter::once(&mut [0][..])) == 1;
        if !range.is_empty() && !here(range.end - 1) {
            self.will_read(range);
        }
    }

    /// Writes `parts`, one after another, at `start`: one vectored write for each file they fall into.
    pub(crate) fn write(&self, start: u64, parts: &[&[u8]]) -> Result<(), StorageError> {
        let len: usize = parts.iter().map(|p| p.len()).sum();
        let mut parts = parts.iter().copied();
        let mut rest: &[u8] = &[];
        for segment in self.layout.segments(start..start + len as u64) {
            let mut left = as_len(segment.len);
            let mut bufs = Vec::with_capacity(parts.len() + 1);
            while left > 0 {
                if rest.is_empty() {
                    rest = parts.next().expect("the segments are as long as the parts together");
                }
                let (now, later) = rest.split_at(left.min(rest.len()));
                bufs.push(IoSlice::new(now));
                left -= now.len();
                rest = later;
            }
            if let Some(file) = segment.file {
                let written = write_full(&*self.storage, file, segment.offset, &mut bufs);
                // Also after an error, for part of it may have been written.
                self.lock().insert(file);
                written?;
            }
        }
        Ok(())
    }

    /// Whether any byte of `range` was ever stored.
    pub(crate) fn has_data(&self, range: Range<u64>) -> Result<bool, StorageError> {
        for Segment { file, offset, len } in self.layout.segments(range) {
            let Some(file) = file else { continue };
            let fail = |e| StorageError::new("look at", &self.storage.describe(file), &e);
            if self.storage.has_data(file, offset, len).map_err(fail)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Notes that the bytes of `range` are here, but perhaps in memory alone: whoever wrote them may have been killed.
    pub(crate) fn doubt(&self, range: Range<u64>) {
        let files = self.layout.segments(range).filter_map(|segment| segment.file);
        self.lock().extend(files);
    }

    /// Makes everything durable whose write ended before this call.
    pub(crate) fn sync(&self) -> Result<(), StorageError> {
        let _turn = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut files = std::mem::take(&mut *self.lock());
        let failed = files.iter().find_map(|&f| self.storage.sync(f).err().map(|e| (f, e)));
        if let Some((file, e)) = failed {
            // A file that was deleted under us is lost and told once; the others are tried again, and those that
            // went well cost nothing the second time.
            if e.kind() == io::ErrorKind::NotFound {
                files.remove(&file);
            }
            self.lock().append(&mut files);
            return Err(StorageError::new("flush", &self.storage.describe(file), &e));
        }
        self.storage
            .sync_names()
            .map_err(|e| StorageError::new("flush", &"the directories of the torrent", &e))
    }

    /// Forgets what waits to be made durable, since it is deleted.
    pub(crate) fn forget_written(&self) {
        self.lock().clear();
    }

    /// `range` in steps of `step` bytes, the last of which may be shorter.
    pub(crate) fn steps(range: Range<u64>, step: usize) -> impl Iterator<Item = Range<u64>> {
        let end = range.end;
        range.step_by(step).map(move |at| at..(at + step as u64).min(end))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<FileIndex>> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A length inside a buffer.
pub(crate) fn as_len(len: u64) -> usize {
    usize::try_from(len).expect("no longer than a buffer in memory")
}
