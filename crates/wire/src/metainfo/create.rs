//! Making a `.torrent` file: the order of the files, their padding, and the canonical bytes.
//!
//! Creation goes in three steps, of which only the second touches data:
//!
//! 1. A [`Plan`] fixes what will stand where: files in canonical order, padding between those of a hybrid
//!    (BEP 47), pieces.
//! 2. Whoever holds the data hashes what the plan says into [`PlanHashes`].
//! 3. [`Plan::encode`] writes the file. The same input gives the same bytes, whatever the order of the files was.

use super::files::FileList;
use super::merkle::FileHashes;
use super::path::{self, FilePath, PathBuilder, PathError, PathRules};
use super::{
    FileAttributes, FileEntry, MAX_FILE_LEN, MAX_PIECE_LEN, MAX_PIECES, MetainfoError, encode, info,
};
use crate::bencode::{DictEncoder, Encoder};
use crate::id::BLOCK_LEN;
use crate::layout::PieceLayout;
use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Which of the two formats a torrent is made in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Version {
    /// BEP 3, which every client reads.
    #[default]
    V1,
    /// BEP 52 alone.
    V2,
    /// Both in one, with padding files so that the pieces of both are the same.
    Hybrid,
}

impl Version {
    /// Whether the torrent has SHA-1 piece hashes.
    #[must_use]
    pub const fn has_v1(self) -> bool {
        !matches!(self, Self::V2)
    }

    /// Whether the torrent has SHA-256 hash trees.
    #[must_use]
    pub const fn has_v2(self) -> bool {
        !matches!(self, Self::V1)
    }
}

/// A file to be shared.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NewFile {
    /// Path below the torrent's name; empty if the torrent is this one file.
    pub path: Vec<String>,
    /// Length in bytes; 0 for a symbolic link.
    pub len: u64,
    /// Attributes. Padding is the plan's business and must not be set.
    pub attributes: FileAttributes,
    /// For a symbolic link, its target below the torrent's name.
    pub symlink: Option<Vec<String>>,
}

/// What stands where in a torrent to be made.
#[derive(Clone, Debug)]
pub struct Plan {
    name: String,
    version: Version,
    list: FileList,
    layout: PieceLayout,
}

/// The hashes of a plan's data.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PlanHashes {
    /// SHA-1 of each piece of the plan's layout, padding hashed as zeros. Empty for [`Version::V2`].
    pub v1: Vec<[u8; 20]>,
    /// For each of the plan's files its tree; `None` for empty and padding files. Empty for [`Version::V1`].
    pub v2: Vec<Option<FileHashes>>,
}

/// What a torrent says besides its data.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Details {
    /// Tracker URLs in tiers (BEP 12).
    pub trackers: Vec<Vec<String>>,
    /// Web seeds (BEP 19).
    pub web_seeds: Vec<String>,
    /// Peers come from the trackers alone (BEP 27).
    pub private: bool,
    /// Makes the info-hash differ from that of the same data elsewhere.
    pub source: Option<String>,
    /// Free text.
    pub comment: Option<String>,
    /// Seconds since 1970; leave out for bytes that do not depend on the day.
    pub creation_date: Option<i64>,
    /// The program that makes the file.
    pub created_by: Option<String>,
}

/// Why a torrent cannot be made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CreateError {
    /// Nothing to share.
    #[error("there are no files to share")]
    NoFiles,
    /// A name that other clients would not create as it is.
    #[error(
        "the name `{0}` is not safe on all systems and would be changed by those who download; rename it"
    )]
    UnsafeName(String),
    /// A path that cannot be.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The same path twice.
    #[error("`{0}` is listed twice")]
    Duplicate(String),
    /// A file without a path beside others, or with padding or a symbolic link where there can be none.
    #[error("`{0}` cannot be described in a torrent")]
    BadFile(String),
    /// BEP 52 cannot tell a directory with one file from the file.
    #[error(
        "a v2 torrent cannot be a directory that holds one file and nothing else; share the file `{0}` itself, or make a hybrid"
    )]
    LoneFile(String),
    /// A piece length that the version does not allow.
    #[error(
        "a piece length of {0} bytes is not allowed; use a power of two from 16 KiB to 256 MiB"
    )]
    PieceLen(u32),
    /// The result would not be accepted as a torrent, most likely since there are too many pieces.
    #[error("{0}; use larger pieces or share less")]
    Limits(MetainfoError),
    /// Hashes that do not fit the plan.
    #[error("the hashes do not fit the files: the data changed while it was read")]
    Hashes,
    /// Beyond 32 MiB.
    #[error(
        "the torrent file would have {0} bytes, more than other clients accept; use larger pieces"
    )]
    TooBig(usize),
}

/// The piece length users expect for `total_len` bytes: up to some two thousand pieces, and a power of two of at
/// least 32 KiB. Beyond 16 MiB only where there would be too many pieces otherwise.
#[must_use]
pub const fn piece_len_for(total_len: u64) -> u32 {
    let mut len: u32 = 2 * BLOCK_LEN;
    while len < 16 << 20 && len as u64 * 2048 < total_len {
        len *= 2;
    }
    // Half of what is allowed: the files of v2 and hybrid torrents end in shorter pieces.
    while len < MAX_PIECE_LEN && len as u64 * ((MAX_PIECES / 2) as u64) < total_len {
        len *= 2;
    }
    len
}

impl Plan {
    /// Plans a torrent called `name`. The order of `files` does not matter.
    ///
    /// # Errors
    /// If the files cannot be described in a torrent, or the result would break the limits we set ourselves.
    pub fn new(
        name: &str,
        mut files: Vec<NewFile>,
        piece_len: u32,
        version: Version,
    ) -> Result<Self, CreateError> {
        let v2_allows = piece_len.is_power_of_two() && piece_len >= BLOCK_LEN;
        if piece_len == 0 || piece_len > MAX_PIECE_LEN || (version.has_v2() && !v2_allows) {
            return Err(CreateError::PieceLen(piece_len));
        }
        // The order of dictionary keys in a file tree, and a fixed one for v1.
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let first = files.first().ok_or(CreateError::NoFiles)?;
        let single = files.len() == 1 && first.path.is_empty();
        if version == Version::V2 && files.len() == 1 && first.path.len() == 1 {
            return Err(CreateError::LoneFile(first.path[0].clone()));
        }
        check_name(name)?;
        let mut planner = Planner { name, piece_len, version, single, files: Vec::new() };
        let last = files.iter().rposition(|f| f.len > 0);
        for (i, file) in files.iter().enumerate() {
            planner.add(file)?;
            if version == Version::Hybrid && file.len > 0 && Some(i) < last {
                planner.pad()?;
            }
        }
        let mut list = FileList { files: planner.files, single };
        refuse_collisions(&mut list.files)?;
        let layout = if version.has_v1() {
            info::layout_v1(&list, piece_len)
        } else {
            info::layout_v2(&list, piece_len)
        };
        let layout = layout.map_err(CreateError::Limits)?;
        Ok(Self { name: name.to_owned(), version, list, layout })
    }

    /// The files in order, padding included, with their offsets.
    #[must_use]
    pub fn files(&self) -> &[FileEntry] {
        &self.list.files
    }

    /// The pieces. Those of a v2 torrent never span files.
    #[must_use]
    pub const fn layout(&self) -> &PieceLayout {
        &self.layout
    }

    /// Which hashes are needed.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Writes the `.torrent` file.
    ///
    /// # Errors
    /// If the hashes do not fit the plan, or the file would be too big.
    pub fn encode(&self, hashes: &PlanHashes, details: &Details) -> Result<Vec<u8>, CreateError> {
        self.check(hashes)?;
        let raw = Encoder::dict_bytes(|d| self.info(d, hashes, details));
        let bytes = Encoder::dict_bytes(|d| {
            let Details { trackers, web_seeds, .. } = details;
            encode::hints(d, trackers, web_seeds);
            let date = details.creation_date;
            encode::remarks(d, details.comment.as_deref(), details.created_by.as_deref(), date);
            d.raw(b"info", &raw);
            if self.version.has_v2() {
                piece_layers(d, hashes);
            }
        });
        if bytes.len() > MAX_FILE_LEN {
            return Err(CreateError::TooBig(bytes.len()));
        }
        Ok(bytes)
    }

    fn check(&self, hashes: &PlanHashes) -> Result<(), CreateError> {
        let files = &self.list.files;
        let v1 = if self.version.has_v1() { self.layout.count() as usize } else { 0 };
        let v2 = if self.version.has_v2() { files.len() } else { 0 };
        let fits = hashes.v1.len() == v1
            && hashes.v2.len() == v2
            && hashes.v2.iter().zip(files).all(|(h, f)| self.tree_fits(h.as_ref(), f));
        if fits { Ok(()) } else { Err(CreateError::Hashes) }
    }

    fn tree_fits(&self, hashes: Option<&FileHashes>, file: &FileEntry) -> bool {
        let Some(hashes) = hashes else { return file.len == 0 || file.attributes.padding };
        let pieces = file.len.div_ceil(u64::from(self.layout.piece_len()));
        let layer = if pieces > 1 { pieces } else { 0 };
        file.len > 0 && !file.attributes.padding && hashes.layer.len() as u64 == layer
    }

    fn info(&self, d: &mut DictEncoder<'_>, hashes: &PlanHashes, details: &Details) {
        d.bytes(b"name", self.name.as_bytes());
        d.int(b"piece length", i64::from(self.layout.piece_len()));
        if details.private {
            d.int(b"private", 1);
        }
        if let Some(source) = &details.source {
            d.bytes(b"source", source.as_bytes());
        }
        if self.version.has_v1() {
            d.bytes(b"pieces", hashes.v1.as_flattened());
            match &self.list.files[..] {
                [only] if self.list.single => file_fields(d, only, 0),
                files => d.list(b"files", |e| {
                    for file in files {
                        e.dict(|d| {
                            file_fields(d, file, 1);
                            path_field(d, b"path", &file.path, 1);
                        });
                    }
                }),
            }
        }
        if self.version.has_v2() {
            d.int(b"meta version", 2);
            let root = usize::from(!self.list.single);
            let files: Vec<TreeFile<'_>> = self
                .list
                .files
                .iter()
                .zip(&hashes.v2)
                .filter(|(file, _)| !file.attributes.padding)
                .map(|(file, hashes)| {
                    (file.path.iter().skip(root).collect(), file, hashes.as_ref())
                })
                .collect();
            d.dict(b"file tree", |d| tree(d, &files, 0, root));
        }
    }
}

/// Gives the files their places.
struct Planner<'a> {
    name: &'a str,
    piece_len: u32,
    version: Version,
    single: bool,
    files: Vec<FileEntry>,
}

impl Planner<'_> {
    fn add(&mut self, file: &NewFile) -> Result<(), CreateError> {
        let path = self.path(&file.path)?;
        let link_with_data = file.symlink.is_some() && (file.len > 0 || self.single);
        if file.attributes.padding || link_with_data {
            return Err(CreateError::BadFile(path.to_string()));
        }
        let symlink = file.symlink.as_ref().map(|target| self.path(target)).transpose()?;
        let mut offset = self.files.last().map_or(0, FileEntry::end);
        if self.version == Version::V2 {
            offset = self.aligned(offset)?;
        }
        // As in parsing: no later sum of offsets and lengths can overflow.
        offset
            .checked_add(file.len)
            .filter(|&end| end <= u64::MAX / 4)
            .ok_or(CreateError::Limits(MetainfoError::Length))?;
        self.files.push(FileEntry {
            path,
            len: file.len,
            offset,
            attributes: file.attributes,
            pieces_root: None,
            symlink,
        });
        Ok(())
    }

    /// Fills the piece that the last file ends in. Where others do it too: at once, before any empty file.
    fn pad(&mut self) -> Result<(), CreateError> {
        let end = self.files.last().map_or(0, FileEntry::end);
        let aligned = self.aligned(end)?;
        if aligned > end {
            self.files.push(padding_file(self.name, end, aligned - end));
        }
        Ok(())
    }

    fn aligned(&self, offset: u64) -> Result<u64, CreateError> {
        offset
            .checked_next_multiple_of(u64::from(self.piece_len))
            .ok_or(CreateError::Limits(MetainfoError::Length))
    }

    fn path(&self, elements: &[String]) -> Result<FilePath, CreateError> {
        if self.single {
            return Ok(path::single(self.name));
        }
        if elements.is_empty() {
            return Err(CreateError::BadFile(self.name.to_owned()));
        }
        let mut path = PathBuilder::new(PathRules::HOST, Some(self.name));
        for element in elements {
            check_name(element)?;
            path.push(element.as_bytes())?;
        }
        Ok(path.build()?)
    }
}

fn padding_file(name: &str, offset: u64, len: u64) -> FileEntry {
    FileEntry {
        path: path::padding(name, len),
        len,
        offset,
        attributes: FileAttributes { padding: true, ..FileAttributes::default() },
        pieces_root: None,
        symlink: None,
    }
}

/// Whether we ourselves would create `element` as it is.
fn check_name(element: &str) -> Result<(), CreateError> {
    match path::safe_element(element.as_bytes(), PathRules::HOST) {
        Ok(Some(safe)) if safe == element => Ok(()),
        _ => Err(CreateError::UnsafeName(element.to_owned())),
    }
}

fn refuse_collisions(files: &mut [FileEntry]) -> Result<(), CreateError> {
    let mut before: Option<&FilePath> = None;
    for file in files.iter().filter(|f| !f.attributes.padding) {
        if before == Some(&file.path) {
            return Err(CreateError::Duplicate(file.path.to_string()));
        }
        before = Some(&file.path);
    }
    let exact = PathRules { fold_case: false, ..PathRules::HOST };
    let stored = files.iter_mut().filter(|f| !f.attributes.padding);
    Ok(path::resolve_collisions(stored.map(|f| &mut f.path), exact)?)
}

fn piece_layers(d: &mut DictEncoder<'_>, hashes: &PlanHashes) {
    // Files with the same content share their layer.
    let mut layers: Vec<&FileHashes> =
        hashes.v2.iter().flatten().filter(|h| !h.layer.is_empty()).collect();
    layers.sort_by_key(|h| h.root);
    layers.dedup_by_key(|h| h.root);
    d.dict(b"piece layers", |d| {
        for h in layers {
            d.bytes(&h.root, h.layer.as_flattened());
        }
    });
}

/// `attr`, `length` and `symlink path`: what both formats say of a file. `skip` elements of paths are the name.
fn file_fields(d: &mut DictEncoder<'_>, file: &FileEntry, skip: usize) {
    let FileAttributes { padding, executable, hidden } = file.attributes;
    let flags = [(hidden, 'h'), (file.symlink.is_some(), 'l'), (padding, 'p'), (executable, 'x')];
    let attr: String = flags.iter().filter(|(set, _)| *set).map(|(_, letter)| letter).collect();
    if !attr.is_empty() {
        d.bytes(b"attr", attr.as_bytes());
    }
    d.int(b"length", i64::try_from(file.len).expect("offsets stay below 2^62"));
    if let Some(target) = &file.symlink {
        path_field(d, b"symlink path", target, skip);
    }
}

fn path_field(d: &mut DictEncoder<'_>, key: &[u8], path: &FilePath, skip: usize) {
    d.list(key, |e| path.iter().skip(skip).for_each(|element| e.bytes(element.as_bytes())));
}

/// A file for the tree: its elements in it, itself, its hashes.
type TreeFile<'a> = (Vec<&'a str>, &'a FileEntry, Option<&'a FileHashes>);

/// Writes the part of the tree in which all `files` share their first `depth` elements; they are in tree order.
///
/// Recursion ends at [`path::MAX_ELEMENTS`].
fn tree(d: &mut DictEncoder<'_>, files: &[TreeFile<'_>], depth: usize, skip: usize) {
    for group in files.chunk_by(|a, b| a.0[depth] == b.0[depth]) {
        let (elements, file, hashes) = &group[0];
        d.dict(elements[depth].as_bytes(), |d| {
            if elements.len() > depth + 1 {
                return tree(d, group, depth + 1, skip);
            }
            d.dict(b"", |d| {
                file_fields(d, file, skip);
                if let Some(hashes) = hashes {
                    d.bytes(b"pieces root", &hashes.root);
                }
            });
        });
    }
}

#[cfg(test)]
mod tests;
