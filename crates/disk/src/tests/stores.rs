//! Stores over directories: what is written is what is read and what a check finds.

use super::{Sample, disk, filled, later, path, read, wait};
use crate::{
    Allocation, CheckProgress, Disk, DiskConfig, FaultyStorage, Layout, LayoutFile, MemoryStorage,
    PieceOutcome, Storage, StorageErrorKind, Store,
};
use proptest::prelude::*;
use samara_wire::bitfield::Bitfield;
use samara_wire::id::{BLOCK_LEN, BlockRef, FileIndex, PieceIndex};
use samara_wire::layout::PieceLayout;
use samara_wire::metainfo::Info;
use sha1::Digest;
use std::io::IoSlice;
use std::sync::Arc;

pub(super) fn check(store: &Store) -> Bitfield {
    let progress = Arc::new(CheckProgress::default());
    let outcome = wait(|reply| store.check(None, Arc::clone(&progress), reply)).unwrap();
    assert!(outcome.finished);
    assert_eq!(progress.hashed_bytes(), progress.total_bytes());
    outcome.good
}

pub(super) fn write_all(sample: &Sample, disk: &Disk, store: &Store, order: &[u32]) {
    let replies: Vec<_> = order
        .iter()
        .map(|&p| {
            let blocks = sample.blocks(disk, PieceIndex(p));
            later(|reply| store.write_piece(PieceIndex(p), blocks, false, reply))
        })
        .collect();
    for reply in replies {
        let outcome = reply.recv().unwrap();
        assert!(matches!(outcome, PieceOutcome::Verified { digests: None }), "{outcome:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn pieces_written_in_any_order_make_the_files_and_one_flip_spoils_one_piece(
        lens in prop::collection::vec(
            prop_oneof![Just(0u64), Just(1), 2..2_000u64, 16_384..100_000u64, Just(65_536)], 1..12),
        piece_len in prop_oneof![Just(16_384u32), Just(32_768), Just(65_536), 1_000..40_000u32],
        v2 in any::<bool>(),
        padding in prop::option::of(2usize..5),
        shuffle in any::<prop::sample::Index>(),
        flip in any::<prop::sample::Index>(),
    ) {
        let sample = if v2 {
            Sample::new_v2(&lens, piece_len.next_power_of_two().max(16_384))
        } else {
            Sample::new(&lens, piece_len, padding)
        };
        let dir = tempfile::tempdir().unwrap();
        let disk = disk(2);
        let store = sample.open(&disk, dir.path());
        let mut order: Vec<u32> = (0..sample.piece_count()).collect();
        let len = order.len();
        order.rotate_left(shuffle.index(len.max(1)));
        order.reverse();
        write_all(&sample, &disk, &store, &order);
        sample.assert_files(dir.path());
        prop_assert!(check(&store).is_full());

        let stored: Vec<_> = sample.layout.files().iter().filter(|f| f.is_stored() && f.len > 0).collect();
        if !stored.is_empty() {
            let file = stored[flip.index(stored.len())];
            let at = flip.index(usize::try_from(file.len).unwrap());
            let path = dir.path().join(file.path.as_str());
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[at] ^= 0x40;
            std::fs::write(&path, &bytes).unwrap();
            let bad = (file.offset + at as u64) / u64::from(sample.layout.pieces().piece_len());
            let missing: Vec<_> = check(&store).iter_missing().map(|p| u64::from(p.0)).collect();
            prop_assert_eq!(missing, vec![bad]);
        }
    }
}

#[test]
fn spilled_blocks_are_read_back_and_digests_come_when_asked() {
    let sample = Sample::new(&[50_000, 100_000], 65_536, None);
    let dir = tempfile::tempdir().unwrap();
    let disk = disk(1);
    let store = sample.open(&disk, dir.path());
    let mut blocks = sample.blocks(&disk, PieceIndex(0));
    let spilled: Vec<_> = [blocks.remove(3), blocks.remove(1)]
        .into_iter()
        .map(|(begin, buf)| (BlockRef { piece: PieceIndex(0), begin, len: BLOCK_LEN }, buf))
        .collect();
    wait(|reply| store.spill(spilled, reply)).unwrap();
    match wait(|reply| store.write_piece(PieceIndex(0), blocks, true, reply)) {
        PieceOutcome::Verified { digests: Some(digests) } => {
            let want = sample.bytes[..65_536].chunks(16_384).map(crate::block_digest);
            assert!(want.eq(digests.iter().copied()));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(check(&store).iter().collect::<Vec<_>>(), [PieceIndex(0)]);
    assert_eq!(disk.pool().used_bytes(), 0, "every buffer came back");
}

#[test]
fn a_corrupt_piece_is_told_by_its_digests_and_not_written() {
    let sample = Sample::new(&[100_000], 65_536, None);
    let dir = tempfile::tempdir().unwrap();
    let disk = disk(1);
    let store = sample.open(&disk, dir.path());
    let mut blocks = sample.blocks(&disk, PieceIndex(1));
    blocks[1].1.as_mut_slice()[7] ^= 1;
    match wait(|reply| store.write_piece(PieceIndex(1), blocks, false, reply)) {
        PieceOutcome::Corrupt { digests } => {
            let right = sample.bytes[65_536..].chunks(16_384).map(crate::block_digest);
            let same: Vec<_> = right.zip(digests.iter()).map(|(a, b)| a == *b).collect();
            assert_eq!(same, [true, false, true]);
        }
        other => panic!("{other:?}"),
    }
    assert!(!dir.path().join("torrent").exists(), "nothing was created");
}

#[test]
fn a_piece_that_lacks_blocks_which_were_never_spilled_fails() {
    let sample = Sample::new(&[100_000], 65_536, None);
    let dir = tempfile::tempdir().unwrap();
    let disk = disk(1);
    let store = sample.open(&disk, dir.path());
    let mut blocks = sample.blocks(&disk, PieceIndex(0));
    blocks.pop();
    match wait(|reply| store.write_piece(PieceIndex(0), blocks, false, reply)) {
        PieceOutcome::Failed(e) => assert_eq!(e.kind, StorageErrorKind::NotFound),
        other => panic!("{other:?}"),
    }
    let odd = vec![(1, filled(&disk, &[0; 16_384]))];
    let outcome = wait(|reply| store.write_piece(PieceIndex(0), odd, false, reply));
    assert!(matches!(outcome, PieceOutcome::Failed(_)));
}

#[test]
fn blocks_are_read_by_every_way() {
    let sample = Sample::new(&[20_000, 0, 1, 50_000, 12_000], 32_768, None);
    let dir = tempfile::tempdir().unwrap();
    let disk = disk(1);
    let store = sample.open(&disk, dir.path());
    let across = BlockRef { piece: PieceIndex(0), begin: 10_000, len: 20_000 };
    let inside = BlockRef { piece: PieceIndex(1), begin: 100, len: 777 };
    let error = wait(|reply| read(&store, inside, reply)).unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::NotFound);
    assert!(error.to_string().contains("file3"), "{error}");
    assert!(store.try_read(&[inside])[0].is_none(), "not open yet");
    write_all(&sample, &disk, &store, &[0, 1, 2]);
    for block in [across, inside] {
        assert_eq!(wait(|reply| read(&store, block, reply)).unwrap(), sample.block(block));
    }
    let outside = BlockRef { piece: PieceIndex(2), begin: 16_384, len: 16_384 };
    assert!(wait(|reply| read(&store, outside, reply)).is_err());
    assert!(store.try_read(&[outside])[0].is_none());
}

#[test]
fn preparing_creates_what_no_piece_would_and_never_truncates() {
    let sample = Sample::new(&[100, 0, 30_000, 0], 16_384, None);
    let dir = tempfile::tempdir().unwrap();
    let config = DiskConfig { allocation: Allocation::Full, ..DiskConfig::default() };
    let disk = Disk::start(config).unwrap();
    let store = sample.open(&disk, dir.path());
    std::fs::create_dir(dir.path().join("torrent")).unwrap();
    let there = dir.path().join("torrent/file0");
    std::fs::write(&there, [7; 50]).unwrap();
    let mut wanted = Bitfield::full(4);
    wanted.remove(PieceIndex(3));
    wait(|reply| store.prepare(Some(wanted), reply)).unwrap();
    assert_eq!(std::fs::read(&there).unwrap()[..50], [7; 50]);
    assert!(dir.path().join("torrent/dir1/file1").exists(), "an empty file in a directory");
    assert!(!dir.path().join("torrent/file3").exists(), "not wanted");
    let identities = wait(|reply| store.sync(reply)).unwrap().files;
    let exist: Vec<_> = identities.iter().map(|i| i.exists).collect();
    assert_eq!(exist, [true, true, true, false]);
    assert!(identities[0].inode > 0 && identities[0].mtime_ns > 0);
    assert_eq!(identities, wait(|reply| store.identities(reply)).unwrap());
}

#[test]
fn deleting_takes_the_torrent_and_leaves_the_rest() {
    let sample = Sample::new(&[20_000, 20_000, 0], 16_384, None);
    let dir = tempfile::tempdir().unwrap();
    let disk = disk(1);
    let store = sample.open(&disk, dir.path());
    write_all(&sample, &disk, &store, &[0, 1, 2]);
    std::fs::write(dir.path().join("torrent/mine"), b"keep").unwrap();
    wait(|reply| store.delete(reply)).unwrap();
    wait(|reply| store.sync(reply)).expect("nothing is left to flush");
    let left: Vec<_> = std::fs::read_dir(dir.path().join("torrent")).unwrap().collect();
    assert_eq!(left.len(), 1);
    assert!(check(&store).is_empty());
    write_all(&sample, &disk, &store, &[0, 1, 2]);
    sample.assert_files(dir.path());
}

#[test]
fn a_directory_removed_under_us_is_made_again() {
    let sample = Sample::new(&[40_000], 16_384, None);
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("a/b");
    let disk = disk(1);
    let store = sample.open(&disk, &dir);
    write_all(&sample, &disk, &store, &[0]);
    wait(|reply| store.delete(reply)).unwrap();
    std::fs::remove_dir_all(parent.path().join("a")).unwrap();
    write_all(&sample, &disk, &store, &[0, 1, 2]);
    sample.assert_files(&dir);
    wait(|reply| store.sync(reply)).unwrap();
}

#[test]
fn a_file_deleted_before_the_flush_is_told_once() {
    let sample = Sample::new(&[16_384, 16_384], 16_384, None);
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::start(DiskConfig { max_open_files: 1, ..DiskConfig::default() }).unwrap();
    let store = sample.open(&disk, dir.path());
    write_all(&sample, &disk, &store, &[0]);
    write_all(&sample, &disk, &store, &[1]);
    std::fs::remove_file(dir.path().join("torrent/file0")).unwrap();
    let synced = wait(|reply| store.sync(reply)).unwrap();
    assert_eq!(synced.changed, [FileIndex(0)]);
    assert!(!synced.files[0].exists && synced.files[1].exists);
    assert_eq!(wait(|reply| store.take_changed(reply)).unwrap(), [FileIndex(0)]);
    assert_eq!(wait(|reply| store.sync(reply)).unwrap().changed, []);
}

#[test]
fn more_files_than_may_be_open() {
    let sample = Sample::new(&[3_000; 200], 16_384, None);
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::start(DiskConfig { max_open_files: 4, ..DiskConfig::default() }).unwrap();
    let store = sample.open(&disk, dir.path());
    let all: Vec<u32> = (0..sample.piece_count()).collect();
    write_all(&sample, &disk, &store, &all);
    sample.assert_files(dir.path());
    assert!(check(&store).is_full());
    assert!(wait(|reply| store.sync(reply)).is_ok());
}

#[cfg(unix)]
#[test]
fn a_link_in_the_way_is_an_error_for_the_user_and_nothing_leaves_the_directory() {
    let sample = Sample::new(&[40_000], 16_384, None);
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::os::unix::fs::symlink(outside.path(), dir.path().join("torrent")).unwrap();
    let disk = disk(1);
    let store = sample.open(&disk, dir.path());
    let blocks = sample.blocks(&disk, PieceIndex(0));
    match wait(|reply| store.write_piece(PieceIndex(0), blocks, false, reply)) {
        PieceOutcome::Failed(e) => {
            assert_eq!(e.kind, StorageErrorKind::Permission);
            assert!(e.to_string().contains("symbolic link"), "{e}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
}

/// Three files of which the middle one is wanted alone; pieces 1 and 3 reach into the others.
#[test]
fn bytes_of_unwanted_files_are_kept_aside_until_wanted() {
    let sample = Sample::new(&[20_000, 40_000, 20_000], 16_384, None);
    let dir = tempfile::tempdir().unwrap();
    let only_middle = || {
        let mut wanted = Bitfield::empty(3);
        wanted.insert(PieceIndex(1));
        Some(wanted)
    };
    let pieces: Vec<_> = [1, 2, 3].map(PieceIndex).into();
    {
        let disk = disk(1);
        let store = sample.open(&disk, dir.path());
        wait(|reply| store.prepare(only_middle(), reply)).unwrap();
        write_all(&sample, &disk, &store, &[1, 2, 3]);
        wait(|reply| store.sync(reply)).unwrap();
        assert!(!dir.path().join("torrent/file0").exists());
        assert!(!dir.path().join("torrent/file2").exists());
        assert_eq!(check(&store).iter().collect::<Vec<_>>(), pieces);
    }
    let disk = disk(1);
    let store = sample.open(&disk, dir.path());
    let before = wait(|reply| store.identities(reply)).unwrap();
    assert_eq!(check(&store).iter().collect::<Vec<_>>(), pieces, "before it is told again");
    wait(|reply| store.prepare(only_middle(), reply)).unwrap();
    assert_eq!(check(&store).iter().collect::<Vec<_>>(), pieces, "after a restart");
    assert_eq!(before, wait(|reply| store.identities(reply)).unwrap());
    let across = BlockRef { piece: PieceIndex(1), begin: 0, len: 16_384 };
    assert_eq!(wait(|reply| read(&store, across, reply)).unwrap(), sample.block(across));
    // A run that was killed on the way left a part of one of them.
    let moving = dir.path().join(".test.parts.moving");
    std::fs::write(&moving, [7; 30_000]).unwrap();
    wait(|reply| store.prepare(None, reply)).unwrap();
    assert!(!dir.path().join(".test.parts").exists() && !moving.exists(), "no longer needed");
    assert_eq!(check(&store).iter().collect::<Vec<_>>(), pieces, "in their own files now");
    write_all(&sample, &disk, &store, &[0, 4]);
    sample.assert_files(dir.path());
}

/// A run that was killed while it moved what was kept aside leaves a part of it under another name.
#[test]
fn what_was_half_moved_from_aside_is_moved_anew() {
    let sample = Sample::new(&[20_000, 40_000, 20_000], 16_384, None);
    let dir = tempfile::tempdir().unwrap();
    let mut wanted = Bitfield::empty(3);
    wanted.insert(PieceIndex(1));
    {
        let disk = disk(1);
        let store = sample.open(&disk, dir.path());
        wait(|reply| store.prepare(Some(wanted.clone()), reply)).unwrap();
        write_all(&sample, &disk, &store, &[1, 2, 3]);
    }
    let half = dir.path().join(".test.parts.moving");
    for wanted in [Some(wanted), None] {
        std::fs::write(&half, [7; 30_000]).unwrap();
        let disk = disk(1);
        let store = sample.open(&disk, dir.path());
        wait(|reply| store.prepare(wanted, reply)).unwrap();
        assert!(!half.exists());
        let there: Vec<_> = check(&store).iter().map(|piece| piece.0).collect();
        assert_eq!(there, [1, 2, 3]);
    }
    assert!(!dir.path().join(".test.parts").exists());
    assert!(std::fs::metadata(dir.path().join("torrent/file0")).unwrap().len() == 20_000);
}

#[test]
fn an_unwanted_file_that_is_there_is_used_and_deleting_takes_what_was_kept_aside() {
    let sample = Sample::new(&[20_000, 40_000, 20_000], 16_384, None);
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("torrent")).unwrap();
    std::fs::write(dir.path().join("torrent/file0"), [1; 10]).unwrap();
    let disk = disk(1);
    let store = sample.open(&disk, dir.path());
    let mut wanted = Bitfield::empty(3);
    wanted.insert(PieceIndex(1));
    wait(|reply| store.prepare(Some(wanted), reply)).unwrap();
    write_all(&sample, &disk, &store, &[1, 2, 3]);
    let first = std::fs::read(dir.path().join("torrent/file0")).unwrap();
    assert_eq!((first.len(), &first[..10]), (20_000, &[1; 10][..]));
    assert!(dir.path().join(".test.parts").exists(), "for the third file");
    wait(|reply| store.delete(reply)).unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[cfg(unix)]
#[test]
fn executables_and_links_as_the_torrent_asks() {
    use std::os::unix::fs::PermissionsExt;
    let mut files =
        vec![LayoutFile::new(path("t/bin/tool"), 10, 0), LayoutFile::new(path("t/a/link"), 0, 10)];
    files[0].executable = true;
    files[1].symlink = Some(path("t/bin/tool"));
    let sample =
        Sample::with_layout(Layout::new(files, PieceLayout::contiguous(10, 16_384)), 10, false);
    for symlinks in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::start(DiskConfig { symlinks, ..DiskConfig::default() }).unwrap();
        let store = sample.open(&disk, dir.path());
        for _ in 0..2 {
            wait(|reply| store.prepare(None, reply)).unwrap();
        }
        write_all(&sample, &disk, &store, &[0]);
        let mode = std::fs::metadata(dir.path().join("t/bin/tool")).unwrap().permissions().mode();
        assert_ne!(mode & 0o100, 0);
        let link = dir.path().join("t/a/link");
        assert_eq!(std::fs::read(&link).ok().as_deref(), symlinks.then_some(&sample.bytes[..]));
        if symlinks {
            assert_eq!(
                std::fs::read_link(&link).unwrap(),
                std::path::Path::new("../../t/bin/tool")
            );
        }
        wait(|reply| store.delete(reply)).unwrap();
        assert!(!dir.path().join("t").exists(), "the link as well");
    }
}

#[test]
fn a_parsed_torrent_is_opened() {
    let bytes = [5u8; 20_000];
    let hashes = bytes.chunks(16_384).map(|p| <[u8; 20]>::from(sha1::Sha1::digest(p)));
    let mut raw = b"d6:lengthi20000e4:name3:one12:piece lengthi16384e6:pieces40:".to_vec();
    raw.extend(hashes.flatten());
    raw.push(b'e');
    let info = Info::parse(&raw).unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("one"), bytes).unwrap();
    let disk = disk(1);
    assert!(check(&disk.open(info.clone(), dir.path().to_owned())).is_full());
    let memory = disk.open_with(info, Arc::new(MemoryStorage::new()));
    let blocks = vec![(0, filled(&disk, &bytes[16_384..]))];
    let outcome = wait(|reply| memory.write_piece(PieceIndex(1), blocks, false, reply));
    assert!(matches!(outcome, PieceOutcome::Verified { .. }));
    assert_eq!(check(&memory).iter().collect::<Vec<_>>(), [PieceIndex(1)]);
}

#[test]
fn a_write_before_it_is_told_what_is_wanted_moves_what_was_kept_aside() {
    let sample = Sample::new(&[20_000, 40_000, 60_000], 16_384, None);
    let dir = tempfile::tempdir().unwrap();
    {
        let disk = disk(1);
        let store = sample.open(&disk, dir.path());
        let mut wanted = Bitfield::empty(3);
        wanted.insert(PieceIndex(1));
        wait(|reply| store.prepare(Some(wanted), reply)).unwrap();
        write_all(&sample, &disk, &store, &[1, 2, 3]);
    }
    let disk = disk(1);
    let store = sample.open(&disk, dir.path());
    write_all(&sample, &disk, &store, &[5]);
    assert!(dir.path().join("torrent/file2").exists());
    let there: Vec<_> = check(&store).iter().map(|p| p.0).collect();
    assert_eq!(there, [1, 2, 3, 5]);
    wait(|reply| store.prepare(None, reply)).unwrap();
    write_all(&sample, &disk, &store, &[0, 4, 6, 7]);
    sample.assert_files(dir.path());
    assert!(check(&store).is_full());
}

#[test]
fn blocks_are_read_in_runs_up_to_the_first_byte_that_is_not_at_hand() {
    let sample = Sample::new(&[40_000, 60_000], 32_768, None);
    let memory = Arc::new(MemoryStorage::new());
    memory.write_at(FileIndex(0), 0, &[IoSlice::new(&sample.bytes[..40_000])]).unwrap();
    // The second file lacks its end.
    memory.write_at(FileIndex(1), 0, &[IoSlice::new(&sample.bytes[40_000..90_000])]).unwrap();
    let faulty = Arc::new(FaultyStorage::new(memory));
    let disk = disk(1);
    let store = sample.open_with(&disk, Arc::clone(&faulty) as _);
    let at = |piece, begin, len| BlockRef { piece: PieceIndex(piece), begin, len };
    let run = [at(1, 0, 20_000), at(1, 20_000, 12_768), at(2, 0, 16_384), at(2, 16_384, 16_384)];
    let apart = [at(0, 16_384, 100), at(3, 0, 1_696)];
    let blocks: Vec<_> = run.into_iter().chain(apart).collect();

    let there = [true, true, true, false, true, false];
    for (block, (bytes, there)) in blocks.iter().zip(store.try_read(&blocks).into_iter().zip(there))
    {
        let bytes = bytes.map(|bytes| bytes.parts().collect::<Vec<_>>().concat());
        assert_eq!(bytes.as_deref(), there.then(|| sample.block(*block)), "{block:?}");
    }
    assert!(faulty.take_announced().is_empty(), "that would be waiting");

    let next = [at(0, 16_484, 100), at(0, 0, 10)];
    let read = wait(|reply| store.read(blocks.clone(), &next, reply));
    assert!(read.iter().map(|(block, _)| block).eq(&blocks));
    for ((block, result), there) in read.iter().zip(there) {
        let bytes = result.as_ref().ok().map(|b| b.parts().collect::<Vec<_>>().concat());
        assert_eq!(bytes.as_deref(), there.then(|| sample.block(*block)), "{block:?}");
    }
    let announced = [(0, 32_768, 7_232), (1, 0, 58_304), (0, 16_384, 100), (1, 58_304, 1_696)];
    let announced = announced.into_iter().chain([(0, 16_484, 100), (0, 0, 10)]);
    let announced = announced.map(|(file, offset, len)| (FileIndex(file), offset, len));
    assert_eq!(faulty.take_announced(), announced.collect::<Vec<_>>());
    drop(read);
    assert_eq!(disk.pool().used_bytes(), 0, "every buffer came back");
}

#[cfg(target_os = "linux")]
#[test]
fn pieces_that_are_holes_have_no_data() {
    let sample = Sample::new(&[600_000, 200_000], 65_536, None);
    let dir = tempfile::tempdir().unwrap();
    let disk = disk(1);
    let store = sample.open(&disk, dir.path());
    write_all(&sample, &disk, &store, &[7]);
    let all = Bitfield::full(sample.piece_count());
    let found = wait(|reply| store.with_data(all, reply)).unwrap();
    assert_eq!(found.iter().collect::<Vec<_>>(), [PieceIndex(7)]);
}
