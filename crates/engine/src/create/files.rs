//! Which files go into a torrent, and where they lie in it.

use super::CreateError;
use samara_wire::metainfo::Metainfo;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A file found.
pub(super) struct Found {
    /// Path elements below the torrent's own name; the name itself for a single file.
    pub(super) elements: Vec<String>,
    /// Where it is.
    pub(super) path: PathBuf,
    /// Length in bytes.
    pub(super) len: u64,
    /// Offset of its first byte in the linear space.
    pub(super) offset: u64,
}

/// What was found at a path.
pub(super) struct Tree {
    /// Name of the file or directory.
    pub(super) name: String,
    /// Whether it is one file.
    pub(super) single: bool,
    /// In the order of their elements.
    pub(super) files: Vec<Found>,
    /// What was left out.
    pub(super) skipped: Vec<PathBuf>,
}

/// Finds the files of a torrent of `path`. Links below a directory are not followed; `path` itself may be one.
pub(super) fn find(path: &Path) -> Result<Tree, CreateError> {
    let read = |path: &Path, source: io::Error| CreateError::Read { path: path.to_owned(), source };
    // Also gives `.` and `..` a name.
    let full = path.canonicalize().map_err(|e| read(path, e))?;
    let named = if path.file_name().is_some() { path } else { &full };
    let name = named.file_name().and_then(|n| n.to_str()).map(str::to_owned);
    let name = name.ok_or_else(|| CreateError::Name(path.to_owned()))?;
    let meta = fs::metadata(&full).map_err(|e| read(path, e))?;
    if meta.is_file() {
        let file = Found { elements: vec![name.clone()], path: full, len: meta.len(), offset: 0 };
        return Ok(Tree { name, single: true, files: vec![file], skipped: Vec::new() });
    }
    if !meta.is_dir() {
        return Err(CreateError::NotAFile(path.to_owned()));
    }
    let mut tree = Tree { name, single: false, files: Vec::new(), skipped: Vec::new() };
    let mut open: Vec<(PathBuf, Vec<String>)> = vec![(path.to_owned(), Vec::new())];
    while let Some((dir, elements)) = open.pop() {
        for entry in fs::read_dir(&dir).map_err(|e| read(&dir, e))? {
            let entry = entry.map_err(|e| read(&dir, e))?;
            let at = entry.path();
            let meta = entry.metadata().map_err(|e| read(&at, e))?;
            if !meta.is_file() && !meta.is_dir() {
                tree.skipped.push(at);
                continue;
            }
            let name = entry.file_name().into_string();
            let name = name.map_err(|_| CreateError::Name(at.clone()))?;
            let elements = [elements.as_slice(), &[name]].concat();
            if meta.is_dir() {
                open.push((at, elements));
            } else {
                tree.files.push(Found { elements, path: at, len: meta.len(), offset: 0 });
            }
        }
    }
    if tree.files.is_empty() {
        return Err(CreateError::NoFiles(path.to_owned()));
    }
    tree.files.sort_by(|a, b| a.elements.cmp(&b.elements));
    tree.skipped.sort();
    Ok(tree)
}

impl Tree {
    /// Gives each file its place, on multiples of `align`; returns the end of the last byte.
    pub(super) fn place(&mut self, align: u64) -> u64 {
        let mut end = 0u64;
        for file in &mut self.files {
            // An empty file has no bytes to align.
            file.offset = if file.len == 0 { end } else { end.next_multiple_of(align) };
            end = file.offset + file.len;
        }
        end
    }

    /// Sees to it that whoever reads the torrent gets the names that are on this disk.
    pub(super) fn compare(&self, name: &str, metainfo: &Metainfo) -> Result<(), CreateError> {
        let theirs = metainfo.info.files().iter().filter(|f| !f.attributes.padding);
        for (ours, theirs) in self.files.iter().zip(theirs) {
            let below_name = theirs.path.iter().skip(usize::from(!metainfo.info.is_single_file()));
            if !self.single && !below_name.eq(ours.elements.iter().map(String::as_str)) {
                return Err(CreateError::Name(ours.path.clone()));
            }
        }
        match metainfo.info.name() == name {
            true => Ok(()),
            false => Err(CreateError::Name(PathBuf::from(name))),
        }
    }
}
