//! The form for systems without directory descriptors: paths, checked for links before use. Weaker than the Unix
//! form, since a link may appear between the check and the use.

use super::{Access, check, parents, symlink_in_the_way};
use crate::storage::FileIdentity;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The directory everything lies below.
pub(crate) struct Root(PathBuf);

/// Notes a directory that the user named, which must be there.
pub(crate) fn open_root(dir: &Path) -> io::Result<Root> {
    if std::fs::metadata(dir)?.is_dir() {
        Ok(Root(dir.to_owned()))
    } else {
        Err(io::ErrorKind::NotADirectory.into())
    }
}

/// Opens the file at `path` below `root`.
pub(crate) fn open(root: &Root, path: &str, access: Access) -> io::Result<File> {
    let full = resolve(root, path)?;
    let mut options = OpenOptions::new();
    options.read(true).write(access != Access::Read);
    options.create(matches!(access, Access::Create { .. }));
    let file = options.open(full)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(file)
}

/// Whether the directory is still there.
pub(crate) fn still_linked(root: &Root) -> io::Result<()> {
    std::fs::metadata(&root.0).map(drop)
}

/// Creates the directory `dirs` and those above it; which directories grew does not matter here.
pub(crate) fn make_dirs(root: &Root, dirs: &str, _: impl FnMut(&str)) -> io::Result<()> {
    if dirs.is_empty() { Ok(()) } else { std::fs::create_dir_all(resolve(root, dirs)?) }
}

/// Directories cannot be made durable here.
pub(crate) fn sync_dir(_: &Root, _: &str) -> io::Result<()> {
    Ok(())
}

/// What is at `path`; `None` if nothing is.
pub(crate) fn identity(root: &Root, path: &str) -> io::Result<Option<FileIdentity>> {
    let meta = match std::fs::symlink_metadata(resolve(root, path)?) {
        Ok(meta) => meta,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(e),
    };
    Ok(meta.is_file().then(|| identity_of(&meta)))
}

/// What an open file is like.
pub(crate) fn look(file: &File) -> io::Result<FileIdentity> {
    Ok(identity_of(&file.metadata()?))
}

/// Nothing is known of that here.
pub(crate) fn has_exact_times(_: &File) -> bool {
    false
}

fn identity_of(meta: &std::fs::Metadata) -> FileIdentity {
    let since = meta.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
    let mtime_ns = since.and_then(|d| i128::try_from(d.as_nanos()).ok()).unwrap_or(0);
    FileIdentity { len: meta.len(), mtime_ns, inode: 0, exists: true }
}

/// Removes the file at `path`, then the directories above it that are empty. Nothing there is fine.
pub(crate) fn remove(root: &Root, path: &str) -> io::Result<()> {
    match std::fs::remove_file(resolve(root, path)?) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    for dir in parents(path) {
        if std::fs::remove_dir(resolve(root, dir)?).is_err() {
            break;
        }
    }
    Ok(())
}

/// Gives the file at `from` the name `to`, which nothing has yet.
pub(crate) fn rename(root: &Root, from: &str, to: &str) -> io::Result<()> {
    std::fs::rename(resolve(root, from)?, resolve(root, to)?)
}

/// Symbolic links are not created here.
pub(crate) fn symlink(_: &Root, _: &str, _: &str) -> io::Result<()> {
    Ok(())
}

/// There is no executable bit here.
pub(crate) fn make_executable(_: &File) -> io::Result<()> {
    Ok(())
}

/// Volumes are not told apart here.
pub(crate) fn device(_: &Path) -> Option<u64> {
    None
}

/// The path below the root, none of whose components is a link.
fn resolve(root: &Root, path: &str) -> io::Result<PathBuf> {
    check(path)?;
    let mut full = root.0.clone();
    for component in path.split('/') {
        full.push(component);
        if std::fs::symlink_metadata(&full).is_ok_and(|m| m.is_symlink()) {
            return Err(symlink_in_the_way());
        }
    }
    Ok(full)
}
