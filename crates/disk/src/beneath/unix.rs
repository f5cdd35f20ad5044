//! The Unix form: everything relative to an open directory.

use super::{Access, check, parents, split, symlink_in_the_way};
use crate::storage::FileIdentity;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The open directory everything lies below.
pub(crate) type Root = File;

/// Opens a directory that the user named; symbolic links in it are the user's and followed.
pub(crate) fn open_root(dir: &Path) -> io::Result<Root> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(CWD, dir, flags, Mode::empty())?))
}

/// Opens the file at `path` below `root`.
pub(crate) fn open(root: &Root, path: &str, access: Access) -> io::Result<File> {
    check(path)?;
    let (flags, mode) = match access {
        Access::Read => (OFlags::RDONLY, Mode::empty()),
        Access::Write => (OFlags::RDWR, Mode::empty()),
        Access::Create { executable: false } => {
            (OFlags::RDWR | OFlags::CREATE, Mode::from_raw_mode(0o666))
        }
        Access::Create { executable: true } => {
            (OFlags::RDWR | OFlags::CREATE, Mode::from_raw_mode(0o777))
        }
    };
    // Not to hang on a FIFO that somebody put there.
    let file = File::from(open_at(root.as_fd(), path, flags | OFlags::NONBLOCK, mode)?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(file)
}

/// Whether the directory still has a name; a removed one can be held open, but nothing be made in it.
pub(crate) fn still_linked(root: &Root) -> io::Result<()> {
    let linked = rustix::fs::fstat(root)?.st_nlink > 0;
    if linked { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// Creates the directory `dirs` and those above it; `grown` is told which directories got a new entry.
pub(crate) fn make_dirs(root: &Root, dirs: &str, mut grown: impl FnMut(&str)) -> io::Result<()> {
    if dirs.is_empty() {
        return Ok(());
    }
    check(dirs)?;
    let mut parent: Option<OwnedFd> = None;
    let mut above = "";
    for name in dirs.split('/') {
        let at = parent.as_ref().map_or(root.as_fd(), AsFd::as_fd);
        match rustix::fs::mkdirat(at, name, Mode::from_raw_mode(0o777)) {
            Ok(()) => grown(above),
            Err(Errno::EXIST) => {}
            Err(e) => return Err(e.into()),
        }
        parent = Some(step_into(at, name)?);
        let start = if above.is_empty() { 0 } else { above.len() + 1 };
        above = &dirs[..start + name.len()];
    }
    Ok(())
}

/// Makes the entries of the directory `dirs` durable.
pub(crate) fn sync_dir(root: &Root, dirs: &str) -> io::Result<()> {
    let result = if dirs.is_empty() {
        rustix::fs::fsync(root)
    } else {
        check(dirs)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        rustix::fs::fsync(open_at(root.as_fd(), dirs, flags, Mode::empty())?)
    };
    match result {
        // Not every file system can; then there is nothing to be done.
        Ok(()) | Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// What is at `path`, not following a link there; `None` if nothing is.
pub(crate) fn identity(root: &Root, path: &str) -> io::Result<Option<FileIdentity>> {
    let stat =
        in_parent(root, path, |dir, name| rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW));
    let stat = match stat {
        Ok(stat) => stat,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(e),
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    Ok(Some(identity_of(&stat)))
}

/// What an open file is like, as far as that can be told without asking a server. One without a name does not exist.
pub(crate) fn look(file: &File) -> io::Result<FileIdentity> {
    #[cfg(target_os = "linux")]
    if let Some(identity) = linux::look(file)? {
        return Ok(identity);
    }
    let stat = rustix::fs::fstat(file)?;
    if stat.st_nlink == 0 {
        return Ok(FileIdentity::default());
    }
    Ok(identity_of(&stat))
}

/// Whether the file system sets the time of a change before the change is made. Those over a network set it when the server
/// has the data, or when they like; what is not known to be exact is not.
pub(crate) fn has_exact_times(file: &File) -> bool {
    #[cfg(target_os = "linux")]
    return linux::has_exact_times(file);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = file;
        false
    }
}

fn identity_of(stat: &rustix::fs::Stat) -> FileIdentity {
    FileIdentity {
        len: u64::try_from(stat.st_size).unwrap_or(0),
        mtime_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
        inode: stat.st_ino,
        exists: true,
    }
}

fn nanoseconds(seconds: impl Into<i128>, rest: impl Into<i128>) -> i128 {
    seconds.into() * 1_000_000_000 + rest.into()
}

/// Removes the file at `path`, then the directories above it that are empty. Nothing there is fine.
pub(crate) fn remove(root: &Root, path: &str) -> io::Result<()> {
    match in_parent(root, path, |dir, name| rustix::fs::unlinkat(dir, name, AtFlags::empty())) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    for dir in parents(path) {
        let removed =
            in_parent(root, dir, |dir, name| rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR));
        // Not empty, most often: then neither are those above.
        if removed.is_err() {
            break;
        }
    }
    Ok(())
}

/// Gives the file at `from` the name `to`, which nothing has yet.
pub(crate) fn rename(root: &Root, from: &str, to: &str) -> io::Result<()> {
    in_parent(root, from, |from_dir, from| {
        Ok(in_parent(root, to, |to_dir, to| rename_at(from_dir, from, to_dir, to)))
    })?
}

fn rename_at(
    from_dir: BorrowedFd<'_>,
    from: &str,
    to_dir: BorrowedFd<'_>,
    to: &str,
) -> Result<(), Errno> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{RenameFlags, renameat_with};
        match renameat_with(from_dir, from, to_dir, to, RenameFlags::NOREPLACE) {
            // Not every file system can promise that.
            Err(Errno::INVAL | Errno::NOSYS) => {}
            result => return result,
        }
    }
    rustix::fs::renameat(from_dir, from, to_dir, to)
}

/// Creates a symbolic link at `path` to `target`; what is there already stays.
pub(crate) fn symlink(root: &Root, path: &str, target: &str) -> io::Result<()> {
    match in_parent(root, path, |dir, name| rustix::fs::symlinkat(target, dir, name)) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Lets those execute the file who may read it.
pub(crate) fn make_executable(file: &File) -> io::Result<()> {
    let mode = Mode::from_raw_mode(rustix::fs::fstat(file)?.st_mode);
    let readable = mode & (Mode::RUSR | Mode::RGRP | Mode::ROTH);
    Ok(rustix::fs::fchmod(file, mode | Mode::from_raw_mode(readable.as_raw_mode() >> 2))?)
}

/// The device that holds `dir`, or would if it were created.
pub(crate) fn device(dir: &Path) -> Option<u64> {
    dir.ancestors()
        .map(|d| if d.as_os_str().is_empty() { Path::new(".") } else { d })
        .find_map(|d| std::fs::metadata(d).ok())
        .map(|meta| meta.dev())
}

/// Calls `act` with the directory of `path` and its last component.
fn in_parent<T>(
    root: &Root,
    path: &str,
    act: impl FnOnce(BorrowedFd<'_>, &str) -> Result<T, Errno>,
) -> io::Result<T> {
    check(path)?;
    let (dirs, name) = split(path);
    if dirs.is_empty() {
        return Ok(act(root.as_fd(), name)?);
    }
    let dir = open_at(root.as_fd(), dirs, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    Ok(act(dir.as_fd(), name)?)
}

fn open_at(root: BorrowedFd<'_>, path: &str, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    #[cfg(target_os = "linux")]
    if let Some(result) = linux::open_beneath(root, path, flags, mode) {
        return result;
    }
    walk(root, path, flags, mode)
}

/// The form without `openat2`: one component after another, none of them a link.
fn walk(root: BorrowedFd<'_>, path: &str, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    let (dirs, name) = split(path);
    let mut parent: Option<OwnedFd> = None;
    for dir in dirs.split('/').filter(|dir| !dir.is_empty()) {
        let at = parent.as_ref().map_or(root, AsFd::as_fd);
        parent = Some(step_into(at, dir)?);
    }
    let at = parent.as_ref().map_or(root, AsFd::as_fd);
    rustix::fs::openat(at, name, flags, mode).map_err(explain)
}

fn step_into(at: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty()).map_err(|e| {
        let is_link = e == Errno::NOTDIR
            && rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Symlink);
        if is_link { symlink_in_the_way() } else { explain(e) }
    })
}

fn explain(error: Errno) -> io::Error {
    if error == Errno::LOOP { symlink_in_the_way() } else { error.into() }
}

#[cfg(target_os = "linux")]
mod linux {
    use super::{BorrowedFd, Errno, File, Mode, OFlags, OwnedFd, explain, io, nanoseconds};
    use crate::storage::FileIdentity;
    use rustix::fs::{AtFlags, ResolveFlags, StatxFlags};
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Tries again when a rename elsewhere made the kernel unsure whether the path stays below the root.
    const ATTEMPTS: usize = 16;

    static LACKING: AtomicBool = AtomicBool::new(false);

    /// File systems of this machine's own disks and memory (`statfs(2)`): ext, XFS, Btrfs, tmpfs, ramfs, F2FS, overlay, ZFS, bcachefs,
    /// FAT, exFAT, NTFS, JFS.
    const EXACT: [u32; 13] = [
        0xEF53,
        0x5846_5342,
        0x9123_683E,
        0x0102_1994,
        0x8584_58F6,
        0xF2F5_2010,
        0x794C_7630,
        0x2FC1_2FC1,
        0xCA45_1A4E,
        0x4D44,
        0x2011_BAB0,
        0x7366_746E,
        0x3153_464A,
    ];

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "32 bits on every architecture"
    )]
    pub(super) fn has_exact_times(file: &File) -> bool {
        rustix::fs::fstatfs(file).is_ok_and(|fs| EXACT.contains(&(fs.f_type as u32)))
    }

    /// `None` where the kernel (before 4.11) or a sandbox does not have `statx`.
    pub(super) fn look(file: &File) -> io::Result<Option<FileIdentity>> {
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let wanted = StatxFlags::NLINK | StatxFlags::INO | StatxFlags::SIZE | StatxFlags::MTIME;
        let stat = match rustix::fs::statx(file, "", flags, wanted) {
            Err(Errno::NOSYS | Errno::PERM) => return Ok(None),
            other => other?,
        };
        if stat.stx_nlink == 0 {
            return Ok(Some(FileIdentity::default()));
        }
        Ok(Some(FileIdentity {
            len: stat.stx_size,
            mtime_ns: nanoseconds(stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
            inode: stat.stx_ino,
            exists: true,
        }))
    }

    /// `None` where the kernel (before 5.6) or a sandbox does not have `openat2`.
    pub(super) fn open_beneath(
        root: BorrowedFd<'_>,
        path: &str,
        flags: OFlags,
        mode: Mode,
    ) -> Option<io::Result<OwnedFd>> {
        if LACKING.load(Ordering::Relaxed) {
            return None;
        }
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..ATTEMPTS {
            match rustix::fs::openat2(root, path, flags, mode, resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(Errno::NOSYS) => {
                    LACKING.store(true, Ordering::Relaxed);
                    return None;
                }
                // Some sandboxes answer so to calls they do not know.
                Err(Errno::PERM) => return None,
                result => return Some(result.map_err(explain)),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_not_followed_by_either_way() {
        let outside = tempfile::tempdir().unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), b"x").unwrap();
        std::fs::create_dir(dir.path().join("real")).unwrap();
        std::fs::write(dir.path().join("real/file"), b"y").unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("real/file"), dir.path().join("leaf")).unwrap();
        let root = open_root(dir.path()).unwrap();
        let walked =
            |p: &str| walk(root.as_fd(), p, OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty());
        for bad in ["link/secret", "leaf"] {
            let error = open(&root, bad, Access::Read).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{bad}: {error}");
            let error = walked(bad).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{bad}: {error}");
        }
        assert!(open(&root, "real/file", Access::Read).is_ok() && walked("real/file").is_ok());
        assert!(make_dirs(&root, "link/new", |_| ()).is_err());
        assert!(remove(&root, "link/secret").is_err());
        assert!(outside.path().join("secret").exists() && !outside.path().join("new").exists());
        assert_eq!(identity(&root, "leaf").unwrap(), None);
    }

    #[test]
    fn unsafe_components_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = open_root(dir.path()).unwrap();
        for bad in ["../x", "a/../b", "", ".", "a//b", "/a", "a/", "a\0b"] {
            let error = open(&root, bad, Access::Create { executable: false }).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_fifo_or_directory_in_place_of_a_file_is_an_error_not_a_hang() {
        let dir = tempfile::tempdir().unwrap();
        let root = open_root(dir.path()).unwrap();
        rustix::fs::mkfifoat(&root, "fifo", Mode::from_raw_mode(0o600)).unwrap();
        std::fs::create_dir(dir.path().join("dir")).unwrap();
        for name in ["fifo", "dir"] {
            assert!(open(&root, name, Access::Read).is_err(), "{name}");
            assert!(open(&root, name, Access::Write).is_err(), "{name}");
            assert_eq!(identity(&root, name).unwrap(), None);
        }
    }

    #[test]
    fn removing_takes_empty_directories_along() {
        let dir = tempfile::tempdir().unwrap();
        let root = open_root(dir.path()).unwrap();
        let mut created = Vec::new();
        make_dirs(&root, "a/b/c", |dir| created.push(dir.to_owned())).unwrap();
        assert_eq!(created, ["", "a", "a/b"]);
        for file in ["a/b/c/1", "a/b/2"] {
            open(&root, file, Access::Create { executable: true }).unwrap();
        }
        remove(&root, "a/b/c/1").unwrap();
        remove(&root, "a/b/c/1").unwrap();
        assert!(!dir.path().join("a/b/c").exists() && dir.path().join("a/b/2").exists());
        remove(&root, "a/b/2").unwrap();
        assert!(!dir.path().join("a").exists());
    }
}
