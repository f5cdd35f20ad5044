//! The file lists of an info dictionary: the flat list of BEP 3, the tree of BEP 52, and the two of a hybrid.

use super::path::{self, FilePath, Mark, PathBuilder, PathRules};
use super::{FileAttributes, FileEntry, MetainfoError};
use crate::bencode::{Dict, DictIter, List};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Most bytes in all paths of a torrent together.
///
/// A file tree names a directory once for all that is in it, so a small file could ask for gigabytes.
const MAX_PATH_BYTES: usize = 64 << 20;

/// The files in order, with their offsets in the linear space.
#[derive(Clone, Debug)]
pub(super) struct FileList {
    pub(super) files: Vec<FileEntry>,
    /// Whether the torrent is a file rather than a directory.
    pub(super) single: bool,
}

/// Reads `length`, or `files` (BEP 3). Offsets follow one another.
pub(super) fn read_v1(
    dict: Dict<'_, '_>,
    name: &str,
    rules: PathRules,
) -> Result<FileList, MetainfoError> {
    let mut list = Collector { rules, files: Vec::new(), path_bytes: 0, align: 1, offset: 0 };
    let Some(files) = dict.get(b"files") else {
        let len = dict.get_int(b"length").ok_or(MetainfoError::Field("length"))?;
        let attributes = Attributes { symlink: false, ..attributes(dict) };
        list.push(path::single(name), len, attributes, dict, None)?;
        return Ok(FileList { files: list.files, single: true });
    };
    for file in files.as_list().ok_or(MetainfoError::Field("files"))? {
        let file = file.as_dict().ok_or(MetainfoError::Field("files"))?;
        let attributes = attributes(file);
        let len = file.get_int(b"length").or(attributes.symlink.then_some(0));
        let len = len.ok_or(MetainfoError::Field("length"))?;
        let path = if attributes.flags.padding {
            path::padding(name, u64::try_from(len).unwrap_or(0))
        } else {
            let elements = file.get_list(b"path.utf-8").or_else(|| file.get_list(b"path"));
            read_path(elements.ok_or(MetainfoError::Field("path"))?, Some(name), rules)?
        };
        list.push(path, len, attributes, file, Some(name))?;
    }
    if list.files.is_empty() {
        return Err(MetainfoError::NoFiles);
    }
    Ok(FileList { files: list.files, single: false })
}

/// Reads `file tree` (BEP 52). Every file that is not empty begins on a piece boundary.
///
/// The torrent is a file if the tree holds exactly one and no directory; its path is then its key.
pub(super) fn read_v2(
    dict: Dict<'_, '_>,
    name: &str,
    piece_len: u32,
    rules: PathRules,
) -> Result<FileList, MetainfoError> {
    let tree = dict.get_dict(b"file tree").ok_or(MetainfoError::Field("file tree"))?;
    if tree.get(b"").is_some() {
        return Err(MetainfoError::FileTree(String::new()));
    }
    let single = holds_one_file(tree);
    let root = (!single).then_some(name);
    let align = u64::from(piece_len);
    let mut list = Collector { rules, files: Vec::new(), path_bytes: 0, align, offset: 0 };
    let mut at = PathBuilder::new(rules, root);
    // The directories being read, and where the path stands in each.
    let mut open: Vec<(DictIter<'_, '_>, Mark)> = alloc::vec![(tree.into_iter(), at.mark())];
    while let Some((entries, mark)) = open.last_mut() {
        at.reset(*mark);
        let Some((key, value)) = entries.next() else {
            open.pop();
            continue;
        };
        let malformed = || MetainfoError::FileTree(path::excerpt(&String::from_utf8_lossy(key)));
        let entry = value.as_dict().ok_or_else(malformed)?;
        at.push(key)?;
        let Some(file) = entry.get(b"") else {
            open.push((entry.into_iter(), at.mark()));
            continue;
        };
        let file =
            file.as_dict().filter(|_| entry.into_iter().count() == 1).ok_or_else(malformed)?;
        let mut attributes = attributes(file);
        attributes.flags.padding = false;
        let len = file.get_int(b"length").or(attributes.symlink.then_some(0));
        let len = len.ok_or(MetainfoError::Field("length"))?;
        list.push(at.build()?, len, attributes, file, root)?;
        list.take_pieces_root(file)?;
    }
    if list.files.is_empty() {
        return Err(MetainfoError::NoFiles);
    }
    Ok(FileList { files: list.files, single })
}

fn holds_one_file(tree: Dict<'_, '_>) -> bool {
    let mut entries = tree.into_iter();
    match (entries.next(), entries.next()) {
        (Some((_, only)), None) => only.as_dict().is_some_and(|d| d.get(b"").is_some()),
        _ => false,
    }
}

/// Sees to it that both lists of a hybrid describe the same files, in the same order, on piece boundaries.
///
/// The result is the v1 list, padding included, with the root hashes of the v2 list.
pub(super) fn merge_hybrid(
    mut v1: FileList,
    v2: FileList,
    piece_len: u32,
) -> Result<FileList, MetainfoError> {
    let differ = |file: &FileEntry| MetainfoError::HybridMismatch(file.path.to_string());
    // A directory with one file looks like a file in the tree, so paths are compared below the root.
    let below_root = |file: &FileEntry, single: bool| match file.path.as_str().split_once('/') {
        Some((_, rest)) if !single => String::from(rest),
        _ => file.path.to_string(),
    };
    let pieces = |list: &FileList| {
        let last = list.files.iter().rfind(|f| f.len > 0);
        last.map_or(0, |f| f.end().div_ceil(u64::from(piece_len)))
    };
    if pieces(&v1) != pieces(&v2) {
        return Err(v1.files.last().map_or(MetainfoError::NoFiles, differ));
    }
    let mut theirs = v2.files.into_iter();
    for ours in v1.files.iter_mut().filter(|f| !f.attributes.padding) {
        let other = theirs.next().ok_or(differ(ours))?;
        let same = ours.len == other.len
            && below_root(ours, v1.single) == below_root(&other, v2.single)
            && ours.symlink.is_some() == other.symlink.is_some();
        if !same || (ours.len > 0 && ours.offset != other.offset) {
            return Err(differ(ours));
        }
        ours.pieces_root = other.pieces_root;
    }
    match theirs.next() {
        Some(file) => Err(differ(&file)),
        None => Ok(v1),
    }
}

/// Collects files, gives them their place in the linear space, and keeps an eye on what they cost.
struct Collector {
    rules: PathRules,
    files: Vec<FileEntry>,
    path_bytes: usize,
    /// What offsets are multiples of.
    align: u64,
    /// Where the next file begins.
    offset: u64,
}

impl Collector {
    fn push(
        &mut self,
        path: FilePath,
        len: i64,
        attributes: Attributes,
        dict: Dict<'_, '_>,
        root: Option<&str>,
    ) -> Result<(), MetainfoError> {
        let len = u64::try_from(len).map_err(|_| MetainfoError::Length)?;
        let symlink = if attributes.symlink {
            let target = dict.get_list(b"symlink path").filter(|t| len == 0 && !t.is_empty());
            let target = target.ok_or_else(|| MetainfoError::Symlink(path.to_string()))?;
            Some(read_path(target, root, self.rules)?)
        } else {
            None
        };
        self.path_bytes += path.as_str().len() + symlink.as_ref().map_or(0, |s| s.as_str().len());
        if self.path_bytes > MAX_PATH_BYTES {
            return Err(MetainfoError::PathsTooLong);
        }
        let offset = self.offset;
        // Bounded so that no later sum of two offsets or lengths can overflow.
        self.offset = offset
            .checked_add(len)
            .and_then(|end| end.checked_next_multiple_of(self.align))
            .filter(|&end| end <= u64::MAX / 4)
            .ok_or(MetainfoError::Length)?;
        let attributes = attributes.flags;
        self.files.push(FileEntry { path, len, offset, attributes, pieces_root: None, symlink });
        Ok(())
    }

    /// Gives the file just pushed its `pieces root`, which it must have unless it is empty.
    fn take_pieces_root(&mut self, dict: Dict<'_, '_>) -> Result<(), MetainfoError> {
        let Some(file) = self.files.last_mut().filter(|f| f.len > 0) else { return Ok(()) };
        let root = dict.get_bytes(b"pieces root").and_then(|root| root.try_into().ok());
        file.pieces_root = Some(root.ok_or(MetainfoError::PiecesRoot(file.path.to_string()))?);
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct Attributes {
    flags: FileAttributes,
    symlink: bool,
}

/// Reads `attr` (BEP 47); letters without a meaning are ignored.
fn attributes(dict: Dict<'_, '_>) -> Attributes {
    let attr = dict.get_bytes(b"attr").unwrap_or_default();
    let has = |letter: u8| attr.contains(&letter);
    Attributes {
        flags: FileAttributes { padding: has(b'p'), executable: has(b'x'), hidden: has(b'h') },
        symlink: has(b'l'),
    }
}

fn read_path(
    elements: List<'_, '_>,
    root: Option<&str>,
    rules: PathRules,
) -> Result<FilePath, MetainfoError> {
    let mut path = PathBuilder::new(rules, root);
    for element in elements {
        path.push(element.as_bytes().ok_or(MetainfoError::Field("path"))?)?;
    }
    Ok(path.build()?)
}
