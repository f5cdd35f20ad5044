//! Creating torrents: which files, hashed by all cores, written as v1, v2 or both (BEP 3, 47, 52).
//!
//! The same files and options give the same bytes: files are taken in the order of their path elements, which is the
//! order that the file tree of BEP 52 asks for, and nothing else of the file system (times, owners, modes) goes in.
//! What is made is read back by [`Metainfo::parse`], so a torrent that we would refuse ourselves is never handed out.

mod encode;
mod files;
mod hash;

use samara_wire::metainfo::{MAX_PIECE_LEN, MAX_PIECES, Metainfo, MetainfoError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Smallest piece length that is made, in bytes: one block.
pub const MIN_PIECE_LEN: u32 = 16 * 1024;

/// Which version of the format to write.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Kind {
    /// BEP 3, which every client reads.
    #[default]
    V1,
    /// BEP 52.
    V2,
    /// Both in one; files are aligned to pieces with padding files (BEP 47).
    Hybrid,
}

impl Kind {
    pub(crate) const fn has_v1(self) -> bool {
        matches!(self, Self::V1 | Self::Hybrid)
    }

    pub(crate) const fn has_v2(self) -> bool {
        matches!(self, Self::V2 | Self::Hybrid)
    }
}

/// What to create. Plain data; `Default` is a v1 torrent without trackers.
#[derive(Clone, Debug, Default)]
pub struct CreateConfig {
    /// Version of the format.
    pub kind: Kind,
    /// Bytes in a piece, a power of two from [`MIN_PIECE_LEN`]; `None`: chosen by the total size.
    pub piece_len: Option<u32>,
    /// The torrent's name; `None`: that of the file or directory.
    pub name: Option<String>,
    /// Trackers, each in a tier of its own.
    pub trackers: Vec<String>,
    /// Web seeds (BEP 19).
    pub web_seeds: Vec<String>,
    /// Peers from the trackers alone (BEP 27).
    pub private: bool,
    /// Makes the info-hash a tracker's own.
    pub source: Option<String>,
    /// Free text.
    pub comment: Option<String>,
    /// The program that made it.
    pub created_by: Option<String>,
    /// Seconds since 1970.
    pub creation_date: Option<i64>,
}

/// How far a creation is; shared with whoever watches it.
#[derive(Debug, Default)]
pub struct CreateProgress {
    hashed: AtomicU64,
    total: AtomicU64,
    cancelled: AtomicBool,
}

impl CreateProgress {
    /// Bytes hashed so far.
    #[must_use]
    pub fn hashed_bytes(&self) -> u64 {
        self.hashed.load(Ordering::Acquire)
    }

    /// Bytes to hash in all; 0 until the files have been found.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.total.load(Ordering::Acquire)
    }

    /// Ends the creation early, with [`CreateError::Cancelled`].
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }
}

/// A torrent that was created.
#[derive(Clone, Debug)]
pub struct Created {
    /// The `.torrent` file.
    pub bytes: Vec<u8>,
    /// The same, parsed.
    pub metainfo: Metainfo,
    /// What was left out below the directory: symbolic links, sockets and the like.
    pub skipped: Vec<PathBuf>,
}

/// Why a torrent could not be created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// A file or directory could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file became shorter while it was read.
    #[error("{} changed while it was hashed: try again when nothing writes to it", .0.display())]
    Changed(PathBuf),
    /// Neither a file nor a directory.
    #[error("{} is neither a file nor a directory", .0.display())]
    NotAFile(PathBuf),
    /// A directory without files.
    #[error("there are no files in {}", .0.display())]
    NoFiles(PathBuf),
    /// A name that a torrent cannot hold, or that other systems would change.
    #[error("the name of {} cannot stand in a torrent: rename it", .0.display())]
    Name(PathBuf),
    /// A piece length that is not allowed.
    #[error(
        "a piece length of {0} bytes is not a power of two from {MIN_PIECE_LEN} to {MAX_PIECE_LEN}"
    )]
    PieceLen(u32),
    /// More than 2^21 pieces.
    #[error(
        "pieces of {piece_len} bytes would be {pieces}, more than {MAX_PIECES}: choose larger ones"
    )]
    TooManyPieces {
        /// Length asked for, in bytes.
        piece_len: u32,
        /// Number of pieces.
        pieces: u64,
    },
    /// The result is no valid torrent.
    #[error("the torrent would not be valid: {0}")]
    Invalid(#[from] MetainfoError),
    /// [`CreateProgress::cancel`] was called.
    #[error("cancelled")]
    Cancelled,
}

/// Creates a torrent of the file or directory at `path`. Blocks, and uses all cores.
///
/// # Errors
/// If a file cannot be read or named in a torrent, or the options make no valid torrent.
pub fn create(
    path: &Path,
    config: &CreateConfig,
    progress: &CreateProgress,
) -> Result<Created, CreateError> {
    if let Some(len) = config.piece_len.filter(|&len| !is_piece_len(len)) {
        return Err(CreateError::PieceLen(len));
    }
    let mut found = files::find(path)?;
    let total: u64 = found.files.iter().map(|f| f.len).sum();
    let piece_len = config.piece_len.unwrap_or_else(|| piece_len_for(total));
    let end = found.place(if config.kind.has_v2() { u64::from(piece_len) } else { 1 });
    let pieces = end.div_ceil(u64::from(piece_len));
    let pieces = u32::try_from(pieces)
        .ok()
        .filter(|&n| n <= MAX_PIECES)
        .ok_or(CreateError::TooManyPieces { piece_len, pieces })?;
    progress.total.store(total, Ordering::Release);

    let hashes = hash::all(&found.files, config.kind, piece_len, pieces, progress)?;
    let name = config.name.as_deref().unwrap_or(&found.name);
    let bytes = encode::torrent(config, name, &found, piece_len, &hashes);
    let metainfo = Metainfo::parse(&bytes)?;
    found.compare(name, &metainfo)?;
    Ok(Created { bytes, metainfo, skipped: found.skipped })
}

const fn is_piece_len(len: u32) -> bool {
    len.is_power_of_two() && len >= MIN_PIECE_LEN && len <= MAX_PIECE_LEN
}

/// Up to some 2,000 pieces, of 32 KiB at least; beyond 16 MiB only where there would be too many otherwise.
fn piece_len_for(total: u64) -> u32 {
    let mut len: u32 = 32 * 1024;
    while u64::from(len) * 2048 < total && len < 16 << 20 {
        len *= 2;
    }
    while u64::from(len) * u64::from(MAX_PIECES / 2) < total && len < MAX_PIECE_LEN {
        len *= 2;
    }
    len
}

#[cfg(test)]
mod tests;
