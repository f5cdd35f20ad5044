//! What was fetched of torrents, kept in the state directory so that a restart does not fetch it again.
//!
//! Two files each, named by the info-hash: `HASH.info`, the info dictionary as it is, and `HASH.layers`, the piece
//! layers of its files of more than one piece, end to end in the order of their roots. The hashes are the checksum: a
//! file that does not match is set aside as `NAME.damaged` and counts as not there.

use samara_swarm::metadata::{PieceLayers, is_named};
use samara_wire::id::InfoHashes;
use samara_wire::metainfo::{Info, MAX_INFO_LEN, MAX_PIECES};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

fn path(state_dir: &Path, hashes: &InfoHashes, kind: &str) -> PathBuf {
    state_dir.join(format!("{}.{kind}", hashes.wire()))
}

/// The info dictionary that `hashes` names, if it is there. Blocks.
pub(super) fn load(state_dir: &Path, hashes: &InfoHashes) -> Option<Vec<u8>> {
    let path = path(state_dir, hashes, "info");
    let raw = read(&path, MAX_INFO_LEN)?;
    if is_named(hashes, &raw) {
        return Some(raw);
    }
    set_aside(&path);
    None
}

/// `info` with its piece layers, if they are there. Blocks.
pub(super) fn load_layers(state_dir: &Path, info: &Info) -> Option<Info> {
    let path = path(state_dir, &info.hashes(), "layers");
    let raw = read(&path, MAX_PIECES as usize * 32)?;
    let whole = layers_of(&raw, info);
    if whole.is_none() {
        set_aside(&path);
    }
    whole
}

/// `info` with the piece layers that stand end to end in `raw`, if they are its own.
pub(super) fn layers_of(raw: &[u8], info: &Info) -> Option<Info> {
    let mut rest = raw.as_chunks::<32>().0;
    let mut layers = PieceLayers::new();
    for (root, (_, pieces)) in info.layered_files() {
        let (layer, behind) = rest.split_at(rest.len().min(pieces as usize));
        layers.insert(root, layer.to_vec());
        rest = behind;
    }
    info.with_piece_layers(&layers).ok()
}

/// Keeps an info dictionary. Blocks.
pub(super) fn save(state_dir: &Path, hashes: &InfoHashes, raw: &[u8]) {
    write(state_dir, &path(state_dir, hashes, "info"), raw);
}

/// Keeps the piece layers of `info`, which are known. Blocks.
pub(super) fn save_layers(state_dir: &Path, info: &Info) {
    let files = info.layered_files().into_values();
    let layers: Vec<u8> = files
        .filter_map(|(file, _)| info.piece_layer(file))
        .flat_map(|layer| layer.as_flattened())
        .copied()
        .collect();
    write(state_dir, &path(state_dir, &info.hashes(), "layers"), &layers);
}

/// What is in a file, up to a byte more than `most`; `None` if it is not there.
fn read(path: &Path, most: usize) -> Option<Vec<u8>> {
    let mut raw = Vec::new();
    let read = File::open(path).and_then(|file| file.take(most as u64 + 1).read_to_end(&mut raw));
    match read {
        Ok(_) => return Some(raw),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(path = %path.display(), %error, "cannot read kept metadata"),
    }
    None
}

fn set_aside(path: &Path) {
    tracing::warn!(path = %path.display(), "kept metadata is damaged; set aside");
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    // If even that fails, the next save replaces it.
    let _ = fs::rename(path, aside);
}

fn write(state_dir: &Path, path: &Path, raw: &[u8]) {
    let write = || {
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(".new");
        let mut file = File::create(&fresh)?;
        file.write_all(raw)?;
        file.sync_data()?;
        fs::rename(&fresh, path)?;
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
    use crate::create::{CreateConfig, CreateProgress, Kind, create};
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
        let file = path(dir.path(), &hashes, "info");
        fs::write(&file, b"d4:name1:be").unwrap();
        assert_eq!(load(dir.path(), &hashes), None);
        assert!(!file.exists() && file.with_extension("info.damaged").exists());
        save(dir.path(), &hashes, &raw);
        assert_eq!(load(dir.path(), &hashes), Some(raw));
    }

    #[test]
    fn piece_layers_are_kept_beside_it() {
        let (dir, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (name, len) in [("a", 100_000), ("b", 70_000), ("c", 5)] {
            fs::write(source.path().join(name), vec![name.as_bytes()[0]; len]).unwrap();
        }
        let config =
            CreateConfig { kind: Kind::V2, piece_len: Some(16 * 1024), ..CreateConfig::default() };
        let made = create(source.path(), &config, &CreateProgress::default()).unwrap();
        let whole = made.metainfo.info;
        let info = Info::parse(whole.raw()).unwrap();
        assert!(load_layers(dir.path(), &info).is_none());
        save_layers(dir.path(), &whole);
        let loaded = load_layers(dir.path(), &info).unwrap();
        for (file, _) in whole.layered_files().into_values() {
            assert!(loaded.piece_layer(file).is_some());
            assert_eq!(loaded.piece_layer(file), whole.piece_layer(file));
        }
        let file = path(dir.path(), &info.hashes(), "layers");
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
        assert!(load_layers(dir.path(), &info).is_none());
        assert!(!file.exists() && file.with_extension("layers.damaged").exists());
    }
}
