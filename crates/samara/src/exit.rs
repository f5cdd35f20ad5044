//! How the program ends: exit codes, and failures that say what happened, where, and what to do.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// The exit codes of the program. They are part of its interface: scripts depend on them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// Everything asked for was done.
    Done = 0,
    /// The work was done and the answer is no: data does not match, or something else failed.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// The network: nothing answered, or not in time.
    Network = 3,
    /// The torrent (or magnet link) is not valid.
    BadTorrent = 4,
    /// The disk is full.
    NoSpace = 5,
    /// A file could not be read or written, or permission was denied.
    Io = 6,
    /// The time allowed was up before everything was here; what is here is kept.
    Unfinished = 7,
    /// Stopped by Ctrl-C or a signal.
    Interrupted = 130,
}

impl Exit {
    /// The word for the code in JSON output.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Network => "network",
            Self::BadTorrent => "bad_torrent",
            Self::NoSpace => "no_space",
            Self::Io => "io",
            Self::Unfinished => "unfinished",
            Self::Interrupted => "interrupted",
        }
    }

    /// The number the process ends with.
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) struct Failure {
    /// How the process ends.
    pub(crate) exit: Exit,
    /// What happened and where: one sentence without a full stop.
    pub(crate) what: String,
    /// What the user can do about it.
    pub(crate) hint: Option<String>,
}

impl Failure {
    /// A failure that ends the process with `exit`.
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), hint: None }
    }

    /// Adds what the user can do.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A file operation failed: `doing` is a verb phrase such as `read`.
    pub(crate) fn io(doing: &str, path: &Path, error: &io::Error) -> Self {
        let exit = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Exit::NoSpace,
            _ => Exit::Io,
        };
        let failure =
            Self::new(exit, format!("cannot {doing} {}: {}", path.display(), said(error)));
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => failure.hint(
                "free some space and run the same command again: it continues where it stopped",
            ),
            io::ErrorKind::PermissionDenied => {
                failure.hint("check the permissions, or choose another place with -o")
            }
            io::ErrorKind::ReadOnlyFilesystem => {
                failure.hint("the file system is mounted read-only; choose another place with -o")
            }
            _ => failure,
        }
    }
}

/// Writing to stdout failed. A closed pipe (`samara info x | head`) is the reader's right and no failure.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Exit::Done, String::new());
        }
        Self::io("write to", Path::new("standard output"), &error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// An operating system error in lower case and without its number.
pub(crate) fn said(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), second) if second.is_none_or(char::is_lowercase) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_closed_pipe_are_told_apart_from_other_trouble() {
        let at = |kind: io::ErrorKind| Failure::io("write", Path::new("x"), &kind.into()).exit;
        assert_eq!(at(io::ErrorKind::StorageFull), Exit::NoSpace);
        assert_eq!(at(io::ErrorKind::PermissionDenied), Exit::Io);
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).exit, Exit::Done);
    }

    #[test]
    fn system_errors_read_as_part_of_a_sentence() {
        let error = io::Error::from_raw_os_error(2);
        assert_eq!(said(&error), "no such file or directory");
    }
}
