//! The few files of the state directory, and what it takes that they survive a power failure.
//!
//! A seam, so that what is promised for a crash can be tried on a modelled disk (`crash`, in tests) that has payload and records
//! under one order of events.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

/// Files of the state directory. All calls block.
pub(crate) trait StateFiles: fmt::Debug + Send + Sync {
    /// The content of a file, or its first `most` bytes.
    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>>;

    /// Makes a file of `parts`, one after another, in place of what was there, and its content durable; its name is not yet.
    fn write(&self, path: &Path, parts: &[&[u8]]) -> io::Result<()>;

    /// Gives a file another name, in place of what had that. Durable once the directory is.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Durable once the directory is.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// The real ones.
#[derive(Debug)]
pub(crate) struct SystemFiles;

impl StateFiles for SystemFiles {
    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn write(&self, path: &Path, parts: &[&[u8]]) -> io::Result<()> {
        let mut file = File::create(path)?;
        parts.iter().try_for_each(|part| file.write_all(part))?;
        file.sync_data()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    #[cfg(unix)]
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    /// Directories cannot be opened, and so not be synced, here.
    #[cfg(not(unix))]
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// Creates a directory and those above it, durably.
pub(crate) fn create_dir(dir: &Path) -> io::Result<()> {
    let missing: Vec<_> = dir.ancestors().take_while(|dir| !dir.exists()).collect();
    fs::create_dir_all(dir)?;
    for above in missing.iter().filter_map(|dir| dir.parent()) {
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        SystemFiles.sync_dir(above)?;
    }
    Ok(())
}
