//! Metainfo: what a `.torrent` file says (BEP 3, 12, 19, 27, 47, 52). SKELETON: types fixed, bodies to come.

use crate::id::{FileIndex, InfoHashes, PieceIndex};
use crate::layout::PieceLayout;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

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
#[derive(Clone, Debug)]
pub struct Info(Arc<InfoInner>);

#[derive(Debug)]
struct InfoInner {
    #[expect(dead_code)]
    raw: Vec<u8>,
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
    /// Safe relative path, one element a component, the torrent's own name first for a multi-file torrent.
    pub path: Vec<String>,
    /// Length in bytes.
    pub len: u64,
    /// Offset of the first byte in the torrent's linear space (see [`PieceLayout`]).
    pub offset: u64,
    /// Attributes (BEP 47).
    pub attributes: FileAttributes,
    /// Root of the file's SHA-256 tree (BEP 52); absent in v1 torrents and for empty files.
    pub pieces_root: Option<[u8; 32]>,
    /// Target of a symbolic link, relative to the torrent's root (BEP 47).
    pub symlink: Option<Vec<String>>,
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
        todo!()
    }
    /// The info-hash or both.
    #[must_use]
    pub fn hashes(&self) -> InfoHashes {
        todo!()
    }
    /// The torrent's name: of the file, or of the directory. Safe as a path element.
    #[must_use]
    pub fn name(&self) -> &str {
        todo!()
    }
    /// Pieces and blocks.
    #[must_use]
    pub fn layout(&self) -> &PieceLayout {
        todo!()
    }
    /// All files in order, padding files included.
    #[must_use]
    pub fn files(&self) -> &[FileEntry] {
        todo!()
    }
    /// Whether the torrent is one file (not a directory with one file).
    #[must_use]
    pub fn is_single_file(&self) -> bool {
        todo!()
    }
    /// Bytes in all files but padding.
    #[must_use]
    pub fn total_len(&self) -> u64 {
        todo!()
    }
    /// Whether peers come from its trackers alone (BEP 27).
    #[must_use]
    pub fn is_private(&self) -> bool {
        todo!()
    }
    /// `source`, which some trackers use to make the info-hash their own.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        todo!()
    }
    /// What `piece` must hash to. Hybrid torrents give the v1 hash. `None` out of range or, for a v2
    /// torrent whose piece layers were absent, when not known yet.
    #[must_use]
    pub fn piece_hash(&self, piece: PieceIndex) -> Option<PieceHash> {
        let _ = piece;
        todo!()
    }
    /// The files that `piece` overlaps, as a range of indices (empty files inside it included).
    #[must_use]
    pub fn files_of_piece(&self, piece: PieceIndex) -> core::ops::Range<usize> {
        let _ = piece;
        todo!()
    }
    /// The pieces that `file` overlaps; empty for an empty file.
    #[must_use]
    pub fn pieces_of_file(&self, file: FileIndex) -> core::ops::Range<u32> {
        let _ = file;
        todo!()
    }
}
