//! Names and files as somebody finds them: in the page cache of a running system, or on the disk after a crash.

use samara_disk::FileIdentity;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Something that is written.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Create { path: PathBuf, inode: u64, mtime: i128 },
    Rename { from: PathBuf, to: PathBuf, inode: u64 },
    Remove { path: PathBuf },
    Resize { inode: u64, len: usize, mtime: i128 },
    Write { inode: u64, offset: usize, bytes: Arc<[u8]>, mtime: i128 },
}

impl Change {
    /// The file whose content it changes.
    pub(super) fn inode(&self) -> Option<u64> {
        match self {
            Self::Resize { inode, .. } | Self::Write { inode, .. } => Some(*inode),
            _ => None,
        }
    }
}

/// A file. Names lead to it.
#[derive(Clone, Default, Debug)]
pub(super) struct Inode {
    pub(super) bytes: Vec<u8>,
    pub(super) mtime: i128,
}

#[derive(Clone, Default, Debug)]
pub(super) struct View {
    pub(super) names: BTreeMap<PathBuf, u64>,
    pub(super) inodes: BTreeMap<u64, Inode>,
}

impl View {
    pub(super) fn apply(&mut self, change: &Change) {
        self.apply_name(change);
        match change {
            Change::Create { inode, mtime, .. } => {
                self.inodes.entry(*inode).or_default().mtime = *mtime;
            }
            Change::Resize { inode, len, mtime } => {
                let inode = self.inodes.entry(*inode).or_default();
                inode.bytes.resize(*len, 0);
                inode.mtime = *mtime;
            }
            Change::Write { inode, offset, bytes, mtime } => {
                let inode = self.inodes.entry(*inode).or_default();
                put(&mut inode.bytes, *offset, bytes);
                inode.mtime = *mtime;
            }
            Change::Rename { .. } | Change::Remove { .. } => {}
        }
    }

    /// What it does to names alone.
    pub(super) fn apply_name(&mut self, change: &Change) {
        match change {
            Change::Create { path, inode, .. } => _ = self.names.insert(path.clone(), *inode),
            Change::Rename { from, to, inode } => {
                if self.names.get(from) == Some(inode) {
                    self.names.remove(from);
                }
                self.names.insert(to.clone(), *inode);
            }
            Change::Remove { path } => _ = self.names.remove(path),
            Change::Resize { .. } | Change::Write { .. } => {}
        }
    }

    pub(super) fn identity(&self, inode: u64) -> FileIdentity {
        let file = &self.inodes[&inode];
        let len = file.bytes.len() as u64;
        FileIdentity { len, mtime_ns: file.mtime, inode, exists: true }
    }

    /// The content of a file, if there is one of this name.
    pub(super) fn content(&self, path: &std::path::Path) -> Option<&[u8]> {
        Some(&self.inodes[self.names.get(path)?].bytes)
    }
}

/// Puts `bytes` at `offset`, with zeros before them if the file is shorter.
pub(super) fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}
