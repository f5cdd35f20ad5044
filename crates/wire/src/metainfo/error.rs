//! Why some bytes are not a torrent: in words for the person who has the file.

use super::path::PathError;
use super::{MAX_FILE_LEN, MAX_PIECE_LEN, MAX_PIECES};
use crate::bencode::BencodeError;
use alloc::string::String;

/// Why a `.torrent` file or an info dictionary is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MetainfoError {
    /// No bytes.
    #[error("the torrent file is empty")]
    Empty,
    /// A web page.
    #[error(
        "this is a web page, not a torrent file; the download link may have expired or needs a login"
    )]
    Html,
    /// A gzip file.
    #[error("this is a gzip-compressed file, not a torrent file; unpack it first")]
    Gzip,
    /// A magnet link saved as a file.
    #[error("this is a magnet link, not a torrent file")]
    Magnet,
    /// Beyond 32 MiB.
    #[error("the torrent file has {0} bytes; at most {MAX_FILE_LEN} are accepted")]
    TooBig(usize),
    /// Not bencode.
    #[error("not a torrent file: {0}")]
    Bencode(#[from] BencodeError),
    /// A field that must be there is not, or is of another type.
    #[error("not a valid torrent: `{0}` is missing or of the wrong type")]
    Field(&'static str),
    /// A version of the format that does not exist yet.
    #[error("this torrent is of version {0}; versions 1 and 2 are supported")]
    Version(i64),
    /// Piece length out of range.
    #[error("not a valid torrent: a piece length of {0} bytes is outside 1..={MAX_PIECE_LEN}")]
    PieceLen(i64),
    /// Piece length that BEP 52 does not allow.
    #[error(
        "not a valid v2 torrent: a piece length of {0} bytes is not a power of two of at least 16 KiB"
    )]
    PieceLenV2(u32),
    /// `pieces` is not a whole number of hashes.
    #[error("not a valid torrent: `pieces` has {0} bytes, which is not a multiple of 20")]
    PiecesLen(usize),
    /// The number of hashes does not fit the files.
    #[error("not a valid torrent: {got} piece hashes for {expected} pieces")]
    PieceCount {
        /// Pieces that the files and the piece length ask for.
        expected: u64,
        /// Hashes in `pieces`.
        got: u64,
    },
    /// Beyond 2^21 pieces.
    #[error("the torrent has {0} pieces; at most {MAX_PIECES} are accepted")]
    TooManyPieces(u64),
    /// Lengths that are negative or beyond what arithmetic holds.
    #[error("not a valid torrent: file lengths are negative or add up to too much")]
    Length,
    /// No files at all.
    #[error("not a valid torrent: it has no files")]
    NoFiles,
    /// A path that is not safe.
    #[error("the torrent is refused: {0}")]
    Path(#[from] PathError),
    /// Paths that together would take too much memory.
    #[error("the torrent is refused: its paths are too long in total")]
    PathsTooLong,
    /// A symbolic link without a target, or with a length.
    #[error("not a valid torrent: the symbolic link `{0}` has no target or has a length")]
    Symlink(String),
    /// A file tree that BEP 52 does not allow.
    #[error("not a valid v2 torrent: the file tree is malformed at `{0}`")]
    FileTree(String),
    /// A file that is not empty has no root hash.
    #[error("not a valid v2 torrent: `{0}` has no `pieces root` of 32 bytes")]
    PiecesRoot(String),
    /// The two halves of a hybrid torrent describe different files.
    #[error("not a valid hybrid torrent: its v1 and v2 file lists differ at `{0}`")]
    HybridMismatch(String),
    /// A file of several pieces has no layer of hashes, one of the wrong length, or one that is not its own.
    #[error("not a valid v2 torrent: the piece layer of `{0}` is missing or wrong")]
    PieceLayer(String),
}
