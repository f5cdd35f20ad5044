//! Files below a directory, reached without following symbolic links.
//!
//! Paths are relative, with `/` between components. A torrent names its own. They are safe when they come here (no `..`, no separators), but what already lies
//! on disk need not be: a symbolic link in the way could lead a write anywhere. On Linux the kernel keeps the path
//! below the root (`openat2`); elsewhere on Unix, and on kernels without it, the path is walked one component at a
//! time. Every descriptor is closed on exec.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(crate) use unix::*;

#[cfg(not(unix))]
mod portable;
#[cfg(not(unix))]
pub(crate) use portable::*;

use std::io;

/// How to open a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    /// For reading; it must be there.
    Read,
    /// For reading and writing; it must be there. Never truncates.
    Write,
    /// As `Write`, but a new file, which must not be there yet or is taken as it is.
    Create {
        /// With the executable bits that the umask leaves.
        executable: bool,
    },
}

/// Refuses paths that could leave the root; the second lock after the parser's.
fn check(path: &str) -> io::Result<()> {
    let bad = |c: &str| matches!(c, "" | "." | "..") || (cfg!(windows) && c.contains(['\\', ':']));
    if path.contains('\0') || path.split('/').any(bad) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a safe relative path"));
    }
    Ok(())
}

/// The directory of a path and its last component; the directory is empty for the root.
#[cfg(unix)]
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// The directories above a path, the innermost first, the root not among them.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |p| p.rsplit_once('/').map(|(dir, _)| dir)).skip(1)
}

fn symlink_in_the_way() -> io::Error {
    io::Error::new(
        io::ErrorKind::PermissionDenied,
        "a symbolic link stands in the path and is not followed",
    )
}
