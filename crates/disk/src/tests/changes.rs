//! Files that somebody else changes under us (N2): nothing of them is given away or overwritten until it is checked.

use super::stores::{check, write_all};
use super::{Sample, disk, read, wait};
use crate::{PieceOutcome, StorageErrorKind, Store};
use samara_wire::id::{BlockRef, FileIndex, PieceIndex};
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

type Change = fn(&Path);

/// Sets the time apart from the one before, whatever the steps of the file system's clock.
fn set_late(file: &File) {
    file.set_modified(SystemTime::now() + Duration::from_secs(3)).unwrap();
}

fn overwrite(path: &Path) {
    let mut file = File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(17)).unwrap();
    file.write_all(b"somebody else").unwrap();
    set_late(&file);
}

fn truncate(path: &Path) {
    File::options().write(true).open(path).unwrap().set_len(9_000).unwrap();
}

fn grow(path: &Path) {
    File::options().append(true).open(path).unwrap().write_all(b"more").unwrap();
}

/// By a file that is the same but for its inode.
fn replace(path: &Path) {
    let fresh = path.with_extension("fresh");
    fs::copy(path, &fresh).unwrap();
    fs::rename(fresh, path).unwrap();
}

fn delete(path: &Path) {
    fs::remove_file(path).unwrap();
}

const CHANGES: [(&str, Change, bool); 5] = [
    ("overwritten", overwrite, false),
    ("truncated", truncate, false),
    ("grown", grow, true),
    ("replaced", replace, true),
    ("deleted", delete, false),
];

/// A block of the first file, and one of the second.
fn blocks() -> [BlockRef; 2] {
    let block = |piece| BlockRef { piece: PieceIndex(piece), begin: 0, len: 16_384 };
    [block(0), block(2)]
}

fn try_read(store: &Store) -> Vec<bool> {
    store.try_read(&blocks()).iter().map(Option::is_some).collect()
}

#[test]
fn what_others_changed_is_not_given_away_until_it_is_taken_as_it_is() {
    let sample = Sample::new(&[32_768, 32_768], 16_384, None);
    for (what, change, is_right) in CHANGES {
        let dir = tempfile::tempdir().unwrap();
        let disk = disk(1);
        let store = sample.open(&disk, dir.path());
        wait(|reply| store.identities(reply)).unwrap();
        write_all(&sample, &disk, &store, &[0, 1, 2, 3]);
        assert_eq!(try_read(&store), [true, true], "{what}: our own writes are ours");
        assert_eq!(wait(|reply| store.sync(reply)).unwrap().changed, [], "{what}");

        change(&dir.path().join("torrent/file0"));
        assert_eq!(try_read(&store), [false, true], "{what}");
        let [first, second] = blocks();
        let error = wait(|reply| read(&store, first, reply)).unwrap_err();
        assert_eq!(error.kind, StorageErrorKind::Changed, "{what}: {error}");
        assert!(error.to_string().contains("torrent/file0"), "{error}");
        assert_eq!(wait(|reply| read(&store, second, reply)).unwrap(), sample.block(second));
        assert_eq!(wait(|reply| store.sync(reply)).unwrap().changed, [FileIndex(0)], "{what}");

        assert_eq!(wait(|reply| store.take_changed(reply)).unwrap(), [FileIndex(0)]);
        assert_eq!(wait(|reply| store.take_changed(reply)).unwrap(), []);
        assert_eq!(check(&store).has(PieceIndex(0)), is_right, "{what}");
        if is_right {
            assert_eq!(wait(|reply| read(&store, first, reply)).unwrap(), sample.block(first));
        }
        write_all(&sample, &disk, &store, &[0, 1]);
        assert!(check(&store).is_full(), "{what}: it can be mended");
    }
}

#[test]
fn what_others_changed_is_not_overwritten_until_it_is_taken_as_it_is() {
    let sample = Sample::new(&[32_768, 32_768], 16_384, None);
    for (what, change, _) in CHANGES {
        let dir = tempfile::tempdir().unwrap();
        let disk = disk(1);
        let store = sample.open(&disk, dir.path());
        let path = dir.path().join("torrent/file0");
        write_all(&sample, &disk, &store, &[0, 1, 2]);
        change(&path);
        let before = fs::read(&path).ok();
        for known in [false, true] {
            let given = sample.blocks(&disk, PieceIndex(1));
            let outcome = wait(|reply| store.write_piece(PieceIndex(1), given, false, reply));
            if known {
                assert!(matches!(outcome, PieceOutcome::Verified { .. }), "{what}: {outcome:?}");
                break;
            }
            let PieceOutcome::Failed(error) = outcome else { panic!("{what}: {outcome:?}") };
            assert_eq!(error.kind, StorageErrorKind::Changed);
            assert_eq!(fs::read(&path).ok(), before, "{what}");
            assert_eq!(wait(|reply| store.take_changed(reply)).unwrap(), [FileIndex(0)]);
        }
    }
}

#[test]
fn a_file_that_somebody_puts_where_there_was_none_is_not_overwritten_unseen() {
    let sample = Sample::new(&[32_768], 16_384, None);
    let dir = tempfile::tempdir().unwrap();
    let disk = disk(1);
    let store = sample.open(&disk, dir.path());
    wait(|reply| store.identities(reply)).unwrap();
    fs::create_dir(dir.path().join("torrent")).unwrap();
    let path = dir.path().join("torrent/file0");
    fs::write(&path, &sample.bytes).unwrap();
    let given = sample.blocks(&disk, PieceIndex(1));
    let outcome = wait(|reply| store.write_piece(PieceIndex(1), given, false, reply));
    assert!(matches!(outcome, PieceOutcome::Failed(e) if e.kind == StorageErrorKind::Changed));
    assert_eq!(wait(|reply| store.take_changed(reply)).unwrap(), [FileIndex(0)]);
    assert!(check(&store).is_full());
}
