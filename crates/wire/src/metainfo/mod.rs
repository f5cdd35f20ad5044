//! Metainfo: what a `.torrent` file says (BEP 3, 5, 12, 17, 19, 27, 47, 52).
//!
//! [`Metainfo::parse`] reads a whole file, [`Info::parse`] an info dictionary that came from peers (BEP 9). What
//! they return is valid by construction: counts fit lengths, all arithmetic is within bounds, paths are safe (see
//! [`path`]), the halves of a hybrid torrent describe the same files, and piece layers hash to their roots.
//! Info-hashes are taken over the bytes as they stood in the file, never over a re-encoding.
//!
//! The encoding of files in the wild is read leniently (see [`Strictness::Lenient`](crate::bencode::Strictness));
//! their meaning is not.

pub mod create;
mod encode;
mod error;
mod files;
mod info;
mod layers;
pub mod merkle;
mod parse;
pub mod path;
#[cfg(test)]
mod tests;

pub use error::MetainfoError;
pub use path::FilePath;

use crate::id::{FileIndex, InfoHashes, PieceIndex};
use crate::layout::PieceLayout;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

/// Most bytes of a `.torrent` file.
pub const MAX_FILE_LEN: usize = 32 << 20;

/// Most bytes of an info dictionary fetched from peers.
pub const MAX_INFO_LEN: usize = 16 << 20;

/// Most bytes in a piece.
pub const MAX_PIECE_LEN: u32 = 256 << 20;

/// Most pieces in a torrent.
pub const MAX_PIECES: u32 = 1 << 21;

/// A `.torrent` file, valid and safe to act on.
#[derive(Clone, Debug)]
pub struct Metainfo {
    /// What is shared; the part the info-hash names.
    pub info: Info,
    /// Tracker URLs in tiers (BEP 12); `announce` alone is one tier of one. Not shuffled.
    pub trackers: Vec<Vec<String>>,
    /// Web seeds (BEP 19, `url-list`).
    pub web_seeds: Vec<String>,
    /// HTTP seeds (BEP 17, `httpseeds`).
    pub http_seeds: Vec<String>,
    /// DHT nodes as host and port (BEP 5).
    pub nodes: Vec<(String, u16)>,
    /// Seconds since 1970.
    pub creation_date: Option<i64>,
    /// The program that made the file.
    pub created_by: Option<String>,
    /// Free text.
    pub comment: Option<String>,
}

/// The info dictionary. Cheap to clone: the bulk is shared.
#[derive(Clone)]
pub struct Info(Arc<InfoInner>);

/// Kept small, since a seedbox holds thousands: the v1 piece hashes are not copied out of `raw`.
#[derive(Clone)]
struct InfoInner {
    raw: Box<[u8]>,
    hashes: InfoHashes,
    name: Box<str>,
    layout: PieceLayout,
    files: Box<[FileEntry]>,
    single_file: bool,
    private: bool,
    source: Option<Box<str>>,
    /// Payload bytes, padding left out.
    total_len: u64,
    /// Where the v1 hashes stand in `raw`; empty for a v2 torrent.
    pieces_v1: Range<usize>,
    layers: info::PieceLayers,
}

/// What one piece must hash to: the seam between v1 and v2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PieceHash {
    /// SHA-1 over the whole piece (BEP 3), padding included.
    V1([u8; 20]),
    /// Root of the SHA-256 tree over the piece's 16 KiB blocks (BEP 52).
    V2 {
        /// The root.
        root: [u8; 32],
        /// Number of leaves of the tree, a power of two; leaves beyond the data are 32 zero bytes.
        leaves: u32,
    },
}

/// A file of a torrent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileEntry {
    /// Safe relative path, the torrent's own name first for a multi-file torrent.
    pub path: FilePath,
    /// Length in bytes.
    pub len: u64,
    /// Offset of the first byte in the torrent's linear space (see [`PieceLayout`]).
    pub offset: u64,
    /// Attributes (BEP 47).
    pub attributes: FileAttributes,
    /// Root of the file's SHA-256 tree (BEP 52); absent in v1 torrents and for empty files.
    pub pieces_root: Option<[u8; 32]>,
    /// Target of a symbolic link, from the same directory as `path` (BEP 47). It stays inside the torrent.
    pub symlink: Option<FilePath>,
}

impl FileEntry {
    /// Offset in the linear space of the first byte behind the file.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.offset + self.len
    }
}

/// Attributes of a file (BEP 47).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FileAttributes {
    /// Zeros that align the next file; never stored.
    pub padding: bool,
    /// To be made executable.
    pub executable: bool,
    /// To be hidden where the platform can.
    pub hidden: bool,
}

impl Info {
    /// The bytes of the info dictionary as they stood in the file.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.0.raw
    }

    /// The info-hash or both.
    #[must_use]
    pub fn hashes(&self) -> InfoHashes {
        self.0.hashes
    }

    /// The torrent's name: of the file, or of the directory. Safe as a path element.
    ///
    /// A torrent that has none is called by its info-hash.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Pieces and blocks.
    #[must_use]
    pub fn layout(&self) -> &PieceLayout {
        &self.0.layout
    }

    /// All files in order, padding files included.
    #[must_use]
    pub fn files(&self) -> &[FileEntry] {
        &self.0.files
    }

    /// Whether the torrent is one file (not a directory with one file).
    #[must_use]
    pub fn is_single_file(&self) -> bool {
        self.0.single_file
    }

    /// Bytes in all files but padding.
    #[must_use]
    pub fn total_len(&self) -> u64 {
        self.0.total_len
    }

    /// Whether peers come from its trackers alone (BEP 27).
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.0.private
    }

    /// `source`, which some trackers use to make the info-hash their own.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        self.0.source.as_deref()
    }

    /// What `piece` must hash to. Hybrid torrents give the v1 hash. `None` out of range or, for a v2
    /// torrent whose piece layers were absent, when not known yet.
    #[must_use]
    pub fn piece_hash(&self, piece: PieceIndex) -> Option<PieceHash> {
        if self.0.pieces_v1.is_empty() {
            return self.piece_hash_v2(piece);
        }
        let hashes = &self.0.raw[self.0.pieces_v1.clone()];
        let (hashes, _) = hashes.as_chunks::<20>();
        hashes.get(piece.as_usize()).copied().map(PieceHash::V1)
    }

    /// What `piece` of a v2 or hybrid torrent must hash to as BEP 52 has it. `None` for a v1 torrent, out of range,
    /// and when the piece layers are not known.
    #[must_use]
    pub fn piece_hash_v2(&self, piece: PieceIndex) -> Option<PieceHash> {
        let file = self.0.files[self.files_of_piece(piece)].iter().find(|f| f.len > 0)?;
        let root = file.pieces_root?;
        let piece_len = self.0.layout.piece_len();
        match u32::try_from(file.len) {
            Ok(len) if len <= piece_len => {
                Some(PieceHash::V2 { root, leaves: merkle::leaves_of_small_file(len) })
            }
            _ => {
                let root = *self.0.layers.roots.get(piece.as_usize())?;
                Some(PieceHash::V2 { root, leaves: merkle::leaves_per_piece(piece_len) })
            }
        }
    }

    /// The files that `piece` overlaps, as a range of indices (empty files inside it included).
    #[must_use]
    pub fn files_of_piece(&self, piece: PieceIndex) -> Range<usize> {
        let start = self.0.layout.offset_of(piece);
        let end = start + u64::from(self.0.layout.len_of(piece));
        if start == end {
            return 0..0;
        }
        let files = &self.0.files;
        let first = files.partition_point(|f| {
            let begins_piece_empty = f.len == 0 && f.offset == start;
            f.end() <= start && !begins_piece_empty
        });
        let behind = files.partition_point(|f| f.offset < end);
        first..behind
    }

    /// The pieces that `file` overlaps; empty for an empty file.
    #[must_use]
    pub fn pieces_of_file(&self, file: FileIndex) -> Range<u32> {
        let Some(file) = self.0.files.get(file.as_usize()).filter(|f| f.len > 0) else {
            return 0..0;
        };
        let piece_len = u64::from(self.0.layout.piece_len());
        let index = |n: u64| u32::try_from(n).expect("pieces are counted in 32 bits");
        index(file.offset / piece_len)..index(file.end().div_ceil(piece_len))
    }
}

impl fmt::Debug for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Info")
            .field("name", &self.name())
            .field("hashes", &self.hashes())
            .field("files", &self.files().len())
            .field("total_len", &self.total_len())
            .field("pieces", &self.layout().count())
            .finish_non_exhaustive()
    }
}
