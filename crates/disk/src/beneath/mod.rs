//! Files below a directory, reached without following symbolic links.
//!
//! A torrent names its own paths. They are safe when they come here (no `..`, no separators), but what already lies
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

/// Refuses components that could leave the root; the second lock after the parser's.
fn check(path: &[String]) -> io::Result<()> {
    let bad = |c: &String| {
        c.is_empty() || c == "." || c == ".." || c.contains(['/', '\0', std::path::MAIN_SEPARATOR])
    };
    if path.is_empty() || path.iter().any(bad) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a safe relative path"));
    }
    Ok(())
}

fn symlink_in_the_way() -> io::Error {
    io::Error::new(
        io::ErrorKind::PermissionDenied,
        "a symbolic link stands in the path and is not followed",
    )
}
