//! Why a disk job failed, in words for the user and in classes for the engine.

use std::fmt;
use std::io;

/// Why a job failed. Displayed it names the operation, the file and the cause, and what to do about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StorageError {
    /// The class, on which the engine decides.
    pub kind: StorageErrorKind,
    message: String,
}

/// Classes of trouble with storage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StorageErrorKind {
    /// The disk or the user's quota is full.
    NoSpace,
    /// Not allowed; also when a symbolic link stands in a path.
    Permission,
    /// The file system is mounted read-only.
    ReadOnly,
    /// A file that should be there is missing or too short.
    NotFound,
    /// The disk subsystem is shut down or overrun; nothing was done.
    Closed,
    /// The process has no file descriptor left.
    TooManyOpen,
    /// Another program changed the file: what is in it has to be checked anew. Nothing was written.
    Changed,
    /// Anything else: a failing disk, most often.
    Io,
}

impl StorageError {
    /// The error `cause` of `operation` ("write", "open", ...) on `place`.
    #[must_use]
    pub fn new(operation: &str, place: &dyn fmt::Display, cause: &io::Error) -> Self {
        let kind = StorageErrorKind::of(cause);
        let hint = match kind {
            StorageErrorKind::NoSpace => " (free some space, or choose another directory)",
            StorageErrorKind::Permission => {
                " (check the owner and mode of the file and its directories)"
            }
            StorageErrorKind::ReadOnly => " (mount it writable, or choose another directory)",
            StorageErrorKind::TooManyOpen => " (allow more open files: ulimit -n)",
            StorageErrorKind::NotFound
            | StorageErrorKind::Closed
            | StorageErrorKind::Changed
            | StorageErrorKind::Io => "",
        };
        Self { kind, message: format!("cannot {operation} {place}: {cause}{hint}") }
    }

    /// The error of a file that ends before the bytes asked for.
    pub(crate) fn too_short(place: &dyn fmt::Display) -> Self {
        let message = format!("cannot read {place}: the file is missing or shorter than it was");
        Self { kind: StorageErrorKind::NotFound, message }
    }

    pub(crate) fn changed(place: &dyn fmt::Display) -> Self {
        Self::new("use", place, &io::Error::other(ChangedByOther))
    }

    pub(crate) fn closed(why: &str) -> Self {
        Self { kind: StorageErrorKind::Closed, message: format!("storage not reached: {why}") }
    }

    pub(crate) fn misuse(what: &str) -> Self {
        Self { kind: StorageErrorKind::Io, message: format!("storage used wrongly: {what}") }
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StorageError {}

/// The cause of [`StorageErrorKind::Changed`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChangedByOther;

impl fmt::Display for ChangedByOther {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another program changed it")
    }
}

impl std::error::Error for ChangedByOther {}

impl StorageErrorKind {
    /// The class of a system error.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        if error.get_ref().is_some_and(|cause| cause.is::<ChangedByOther>()) {
            return Self::Changed;
        }
        if is_exhausted(error) {
            return Self::TooManyOpen;
        }
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            io::ErrorKind::PermissionDenied => Self::Permission,
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            io::ErrorKind::NotFound => Self::NotFound,
            _ => Self::Io,
        }
    }
}

/// Whether nothing can be opened until something is closed.
#[cfg(unix)]
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let exhausted = [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| exhausted.contains(&code))
}

/// Whether nothing can be opened until something is closed: not told here.
#[cfg(not(unix))]
pub(crate) fn is_exhausted(_: &io::Error) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_where_why_and_what_to_do() {
        let error = StorageError::new("write", &"/data/a.iso", &io::ErrorKind::StorageFull.into());
        assert_eq!(error.kind, StorageErrorKind::NoSpace);
        let text = error.to_string();
        for part in ["write", "/data/a.iso", "space", "free some"] {
            assert!(text.contains(part), "{text:?} lacks {part:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn classes_of_system_errors() {
        use StorageErrorKind::*;
        let classes = [
            (28, NoSpace),
            (122, NoSpace),
            (13, Permission),
            (1, Permission),
            (30, ReadOnly),
            (5, Io),
            (24, TooManyOpen),
        ];
        for (errno, kind) in classes {
            assert_eq!(StorageErrorKind::of(&io::Error::from_raw_os_error(errno)), kind, "{errno}");
        }
    }
}
