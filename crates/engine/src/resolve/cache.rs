//! Info dictionaries that were fetched, kept in the state directory so that a restart does not fetch them again.
//!
//! One file each, named by the info-hash, with the bytes as they are. The hash is the checksum: a file that does not
//! match is set aside as `NAME.damaged` and counts as not there.

use samara_swarm::metadata::is_named;
use samara_wire::id::InfoHashes;
use samara_wire::metainfo::MAX_INFO_LEN;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

fn path(state_dir: &Path, hashes: &InfoHashes) -> PathBuf {
    state_dir.join(format!("{}.info", hashes.wire()))
}

/// The info dictionary that `hashes` names, if it is there. Blocks.
pub(super) fn load(state_dir: &Path, hashes: &InfoHashes) -> Option<Vec<u8>> {
    let path = path(state_dir, hashes);
    let mut raw = Vec::new();
    let read =
        File::open(&path).and_then(|file| file.take(MAX_INFO_LEN as u64 + 1).read_to_end(&mut raw));
    match read {
        Ok(_) if is_named(hashes, &raw) => return Some(raw),
        Ok(_) => {
            tracing::warn!(path = %path.display(), "kept metadata is damaged; set aside");
            // If even that fails, the next save replaces it.
            let _ = fs::rename(&path, path.with_extension("info.damaged"));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(path = %path.display(), %error, "cannot read kept metadata"),
    }
    None
}

/// Keeps an info dictionary. Blocks.
pub(super) fn save(state_dir: &Path, hashes: &InfoHashes, raw: &[u8]) {
    let path = path(state_dir, hashes);
    let write = || {
        let fresh = path.with_extension("info.new");
        let mut file = File::create(&fresh)?;
        file.write_all(raw)?;
        file.sync_data()?;
        fs::rename(&fresh, &path)?;
        File::open(state_dir)?.sync_all()
    };
    if let Err(error) = write() {
        // It is only fetched again.
        tracing::warn!(path = %path.display(), %error, "cannot keep metadata");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use samara_wire::id::InfoHashV1;
    use sha1::{Digest, Sha1};

    #[test]
    fn what_is_kept_is_found_and_damage_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let raw = b"d4:name1:ae".to_vec();
        let hashes = InfoHashes::v1_only(InfoHashV1(Sha1::digest(&raw).into()));
        assert_eq!(load(dir.path(), &hashes), None);
        save(dir.path(), &hashes, &raw);
        assert_eq!(load(dir.path(), &hashes), Some(raw.clone()));
        let file = path(dir.path(), &hashes);
        fs::write(&file, b"d4:name1:be").unwrap();
        assert_eq!(load(dir.path(), &hashes), None);
        assert!(!file.exists() && file.with_extension("info.damaged").exists());
        save(dir.path(), &hashes, &raw);
        assert_eq!(load(dir.path(), &hashes), Some(raw));
    }
}
