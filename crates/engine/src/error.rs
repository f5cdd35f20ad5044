//! What can go wrong, one type per operation, in words that say what, where and what to do.

use samara_wire::id::WireHash;
use std::io;
use std::net::SocketAddr;

/// Why a session could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// Another program listens there.
    #[error("port {} is in use ({protocol} {addr}): choose another port, or 0 to let the system choose", addr.port())]
    PortInUse {
        /// The address tried.
        addr: SocketAddr,
        /// `TCP` or `UDP`: both take the same port.
        protocol: &'static str,
    },
    /// Listening failed for another reason.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address tried.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The directory for resume data could not be made.
    #[error("cannot use the state directory {}: {source}", path.display())]
    StateDir {
        /// The directory.
        path: std::path::PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A thread or its event loop could not be started.
    #[error("cannot start {what}: {source}")]
    Start {
        /// What was to be started.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a torrent was not added.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// The session has it already.
    #[error("torrent {0} is in this session already")]
    Duplicate(WireHash),
    /// A file index is beyond the torrent's files.
    #[error("file {index} was chosen, but the torrent has {files} files, counted from 0")]
    NoSuchFile {
        /// The index asked for.
        index: usize,
        /// Number of files in the torrent.
        files: usize,
    },
    /// The session was shut down.
    #[error("the session has been shut down")]
    ShutDown,
}

/// Trouble that stopped a torrent for a while; it tries again by itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TorrentError {
    /// Which class of trouble.
    pub kind: ErrorKind,
    /// What happened, where, in words for a user.
    pub message: String,
}

/// Classes of trouble with storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The disk is full, or a quota is reached.
    NoSpace,
    /// Access was denied.
    Permission,
    /// The file system is mounted read-only.
    ReadOnly,
    /// Anything else.
    Io,
}
