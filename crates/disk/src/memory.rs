//! A torrent in memory: the smallest [`Storage`] there is, for tests and as a model for embedders.

use crate::storage::{Allocation, FileIdentity, Storage};
use samara_wire::id::FileIndex;
use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Files kept in memory. A file exists once it was written to or prepared.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    files: Mutex<BTreeMap<FileIndex, Vec<u8>>>,
}

impl MemoryStorage {
    /// No files yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The content of a file; `None` if there is no such file.
    #[must_use]
    pub fn content(&self, file: FileIndex) -> Option<Vec<u8>> {
        self.lock().get(&file).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<FileIndex, Vec<u8>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for MemoryStorage {
    fn read_at(&self, file: FileIndex, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let files = self.lock();
        let bytes = files.get(&file).ok_or(io::ErrorKind::NotFound)?;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let n = buf.len().min(bytes.len() - from);
        buf[..n].copy_from_slice(&bytes[from..from + n]);
        Ok(n)
    }

    fn write_at(&self, file: FileIndex, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut files = self.lock();
        let bytes = files.entry(file).or_default();
        let mut at = start;
        for buf in bufs {
            let end = at + buf.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[at..end].copy_from_slice(buf);
            at = end;
        }
        Ok(at - start)
    }

    fn sync(&self, _: FileIndex) -> io::Result<()> {
        Ok(())
    }

    fn identity(&self, file: FileIndex) -> io::Result<Option<FileIdentity>> {
        let len = self.lock().get(&file).map(|bytes| bytes.len() as u64);
        Ok(len.map(|len| FileIdentity { len, exists: true, ..FileIdentity::default() }))
    }

    fn prepare(&self, file: FileIndex, _: Allocation) -> io::Result<()> {
        self.lock().entry(file).or_default();
        Ok(())
    }

    fn delete(&self, file: FileIndex) -> io::Result<()> {
        self.lock().remove(&file);
        Ok(())
    }

    fn try_read_at(&self, file: FileIndex, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> usize {
        let mut done = 0;
        for buf in bufs {
            let read = self.read_at(file, offset + done as u64, buf).unwrap_or(0);
            done += read;
            if read < buf.len() {
                break;
            }
        }
        done
    }

    fn describe(&self, file: FileIndex) -> String {
        format!("file {} in memory", file.0)
    }
}
