//! Creating torrents: which files, hashed by all cores, written as v1, v2 or both (BEP 3, 47, 52).
//!
//! [`samara_disk::walk`] finds the files, [`Plan`] says what stands where, [`samara_disk::hash_files`] hashes it and
//! the plan writes it; here the three are put together, and their errors told with the place on disk.
//!
//! The same files and options give the same bytes: files are taken in the order of their path elements, which is the
//! order that the file tree of BEP 52 asks for. Of what the file system knows besides names, lengths and contents only
//! the owner's executable bit goes in, as the attribute `x` of BEP 47, as with libtorrent. What is made is read back by
//! [`Metainfo::parse`], so a torrent that we would refuse ourselves is never handed out.

use samara_disk::{CheckProgress, HashError, Walk, WalkError, hash_files, walk};
use samara_wire::metainfo::create::{self as plan, Details, NewFile, Plan, piece_len_for};
use samara_wire::metainfo::{FileAttributes, MAX_PIECE_LEN, MAX_PIECES, Metainfo, MetainfoError};
use std::io;
use std::path::{Path, PathBuf};

pub use plan::Version as Kind;

/// Smallest piece length that is made, in bytes: one block.
pub const MIN_PIECE_LEN: u32 = 16 * 1024;

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

/// How far a creation is; shared with whoever watches it. Padding files count as bytes to hash.
pub type CreateProgress = CheckProgress;

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
    /// A file changed its length after it was found.
    #[error("{} changed while it was hashed: try again when nothing writes to it", .0.display())]
    Changed(PathBuf),
    /// Neither a file nor a directory.
    #[error("{} is neither a file nor a directory", .0.display())]
    NotAFile(PathBuf),
    /// A directory without files.
    #[error("there are no files in {}", .0.display())]
    NoFiles(PathBuf),
    /// The only file of a directory, which a v2 torrent cannot tell from the file alone (BEP 52).
    #[error(
        "{} is alone in its directory, which a v2 torrent cannot say: share the file itself, or make a hybrid",
        .0.display()
    )]
    LoneFile(PathBuf),
    /// A name that a torrent cannot hold, or that other systems would change.
    #[error("the name of {} cannot stand in a torrent: rename it", .0.display())]
    Name(PathBuf),
    /// A directory nested more deeply than clients accept.
    #[error("{} is nested too deeply for other clients: move it up", .0.display())]
    TooDeep(PathBuf),
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
    /// The options and files make no torrent for another reason, such as the name that was chosen for it.
    #[error(transparent)]
    Plan(plan::CreateError),
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
    let found = walk(path)?;
    if found.files.is_empty() {
        return Err(CreateError::NoFiles(path.to_owned()));
    }
    let plan = plan_of(path, &found, config)?;
    // The plan's order is that of the walk: by path elements.
    let sources: Vec<PathBuf> = found.files.into_iter().map(|f| f.source).collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let hashes = hash_files(&plan, &sources, cores, progress)?;
    let bytes = plan.encode(&hashes, &details(config)).map_err(CreateError::Plan)?;
    let metainfo = Metainfo::parse(&bytes)?;
    Ok(Created { bytes, metainfo, skipped: found.skipped })
}

const fn is_piece_len(len: u32) -> bool {
    len.is_power_of_two() && len >= MIN_PIECE_LEN && len <= MAX_PIECE_LEN
}

fn plan_of(path: &Path, found: &Walk, config: &CreateConfig) -> Result<Plan, CreateError> {
    let name = config.name.clone().map_or_else(|| name_of(path), Ok)?;
    let piece_len =
        config.piece_len.unwrap_or_else(|| piece_len_for(found.files.iter().map(|f| f.len).sum()));
    let files = found.files.iter().map(|file| NewFile {
        path: file.components.clone(),
        len: file.len,
        attributes: FileAttributes { executable: file.executable, ..FileAttributes::default() },
        symlink: None,
    });
    let files = files.collect();
    Plan::new(&name, files, piece_len, config.kind).map_err(|error| match error {
        // The torrent's own name is looked at first.
        plan::CreateError::UnsafeName(bad) if bad != name => {
            CreateError::Name(place_of(&bad, found).unwrap_or_else(|| path.to_owned()))
        }
        plan::CreateError::UnsafeName(_) if config.name.is_none() => {
            CreateError::Name(path.to_owned())
        }
        plan::CreateError::LoneFile(_) => CreateError::LoneFile(found.files[0].source.clone()),
        plan::CreateError::Limits(MetainfoError::TooManyPieces(pieces)) => {
            CreateError::TooManyPieces { piece_len, pieces }
        }
        other => CreateError::Plan(other),
    })
}

/// The name of a file or directory, also of `.` and `..`.
fn name_of(path: &Path) -> Result<String, CreateError> {
    let full = path
        .canonicalize()
        .map_err(|source| CreateError::Read { path: path.to_owned(), source })?;
    let named = if path.file_name().is_some() { path } else { &full };
    let name = named.file_name().and_then(|n| n.to_str()).map(str::to_owned);
    name.ok_or_else(|| CreateError::Name(path.to_owned()))
}

/// The first file or directory found that is called `name`.
fn place_of(name: &str, found: &Walk) -> Option<PathBuf> {
    found.files.iter().find_map(|file| {
        let below = file.components.iter().rev().position(|c| c == name)?;
        file.source.ancestors().nth(below).map(Path::to_owned)
    })
}

fn details(config: &CreateConfig) -> Details {
    Details {
        trackers: config.trackers.iter().map(|url| vec![url.clone()]).collect(),
        web_seeds: config.web_seeds.clone(),
        private: config.private,
        source: config.source.clone(),
        comment: config.comment.clone(),
        creation_date: config.creation_date,
        created_by: config.created_by.clone(),
    }
}

impl From<WalkError> for CreateError {
    fn from(error: WalkError) -> Self {
        match error {
            WalkError::Io { path, cause } => Self::Read { path, source: cause },
            WalkError::NotUtf8 { path } => Self::Name(path),
            WalkError::TooDeep { path } => Self::TooDeep(path),
            WalkError::Special { path } => Self::NotAFile(path),
        }
    }
}

impl From<HashError> for CreateError {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Io { path, cause } => Self::Read { path, source: cause },
            HashError::Changed { path } => Self::Changed(path),
            HashError::Cancelled => Self::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests;
