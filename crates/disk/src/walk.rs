//! Which files of a directory go into a new torrent.
//!
//! All regular files, hidden ones too, sorted by path bytes component by component: the order of BEP 52's file tree,
//! so that the same directory gives the same torrent everywhere. Empty directories are left out, for a torrent cannot
//! name them; symbolic links and special files are left out and told.

use samara_wire::metainfo::path::MAX_ELEMENTS;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

/// What was found at a path.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Walk {
    /// Whether the path itself is a file.
    pub single_file: bool,
    /// The files, sorted.
    pub files: Vec<WalkedFile>,
    /// What was left out: symbolic links, pipes, sockets, devices. The user should be told.
    pub skipped: Vec<PathBuf>,
}

/// A file found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WalkedFile {
    /// Components below the path walked; none if that is the file itself.
    pub components: Vec<String>,
    /// Where it is.
    pub source: PathBuf,
    /// Length in bytes.
    pub len: u64,
    /// Whether its owner may execute it.
    pub executable: bool,
}

/// Why a directory could not be walked.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// Something could not be looked at.
    #[error("cannot read {}: {cause}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A name cannot stand in a torrent, which is in UTF-8.
    #[error("the name of {} is not in UTF-8: rename it", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
    },
    /// Directories are nested too deeply for any client to accept.
    #[error("{} lies more than {MAX_ELEMENTS} directories deep", path.display())]
    TooDeep {
        /// The directory.
        path: PathBuf,
    },
    /// Neither a file nor a directory.
    #[error("{} is neither a file nor a directory", path.display())]
    Special {
        /// What was to be walked.
        path: PathBuf,
    },
}

/// Lists the files at `path`, which is a directory or a file. A symbolic link is followed there, and only there.
///
/// # Errors
/// If something cannot be read, has a name that is not UTF-8, or lies too deep.
pub fn walk(path: &Path) -> Result<Walk, WalkError> {
    let meta = fs::metadata(path).map_err(|cause| WalkError::Io { path: path.into(), cause })?;
    let mut walk = Walk::default();
    if meta.is_file() {
        walk.single_file = true;
        walk.add(Vec::new(), path.into(), &meta);
        return Ok(walk);
    }
    if !meta.is_dir() {
        return Err(WalkError::Special { path: path.into() });
    }
    let mut open = vec![(path.to_owned(), Vec::new())];
    while let Some((dir, components)) = open.pop() {
        let io = |cause| WalkError::Io { path: dir.clone(), cause };
        if components.len() >= MAX_ELEMENTS {
            return Err(WalkError::TooDeep { path: dir });
        }
        for entry in fs::read_dir(&dir).map_err(io)? {
            let source = entry.map_err(io)?.path();
            let meta = fs::symlink_metadata(&source)
                .map_err(|cause| WalkError::Io { path: source.clone(), cause })?;
            if !meta.is_dir() && !meta.is_file() {
                walk.skipped.push(source);
                continue;
            }
            let Some(name) = source.file_name().and_then(|n| n.to_str()) else {
                return Err(WalkError::NotUtf8 { path: source });
            };
            let mut components: Vec<String> = components.clone();
            components.push(name.to_owned());
            if meta.is_dir() {
                open.push((source, components));
            } else {
                walk.add(components, source, &meta);
            }
        }
    }
    walk.files.sort_unstable_by(|a, b| a.components.cmp(&b.components));
    walk.skipped.sort_unstable();
    Ok(walk)
}

impl Walk {
    fn add(&mut self, components: Vec<String>, source: PathBuf, meta: &Metadata) {
        let executable = is_executable(meta);
        self.files.push(WalkedFile { components, source, len: meta.len(), executable });
    }
}

#[cfg(unix)]
fn is_executable(meta: &Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o100 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(walk: &Walk) -> Vec<String> {
        walk.files.iter().map(|f| f.components.join("/")).collect()
    }

    #[test]
    fn files_come_sorted_hidden_ones_too_and_empty_directories_not() {
        let dir = tempfile::tempdir().unwrap();
        for sub in ["b/c", "empty", "a"] {
            fs::create_dir_all(dir.path().join(sub)).unwrap();
        }
        for file in ["b/c/2", "b/1", "a.txt", "a/z", ".hidden", "Z"] {
            fs::write(dir.path().join(file), file).unwrap();
        }
        let found = walk(dir.path()).unwrap();
        assert_eq!(names(&found), [".hidden", "Z", "a/z", "a.txt", "b/1", "b/c/2"]);
        assert!(!found.single_file && found.skipped.is_empty());
        assert_eq!(found.files[5].len, 5);
    }

    #[test]
    fn a_file_is_a_torrent_of_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("one");
        fs::write(&path, b"123").unwrap();
        let found = walk(&path).unwrap();
        assert!(found.single_file);
        assert_eq!((found.files.len(), found.files[0].len), (1, 3));
        assert!(walk(&dir.path().join("none")).unwrap_err().to_string().contains("none"));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_told_not_followed_and_odd_names_refused() {
        use std::os::unix::ffi::OsStrExt;
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), b"x").unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("loop")).unwrap();
        let found = walk(dir.path()).unwrap();
        assert_eq!(names(&found), ["file"]);
        assert_eq!(found.skipped, [dir.path().join("loop")]);
        let odd = dir.path().join(std::ffi::OsStr::from_bytes(b"\xff"));
        if fs::write(&odd, b"x").is_ok() {
            assert!(matches!(walk(dir.path()), Err(WalkError::NotUtf8 { .. })));
        }
    }

    #[test]
    fn too_deep_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("d/".repeat(MAX_ELEMENTS))).unwrap();
        assert!(matches!(walk(dir.path()), Err(WalkError::TooDeep { .. })));
    }
}
