//! What goes wrong below is told truthfully and leaves nothing claimed.

use super::{Sample, disk, later, read, wait};
use crate::{
    CheckProgress, Fault, FaultyStorage, Gate, MemoryStorage, Operation, PieceOutcome,
    StorageErrorKind,
};
use samara_wire::id::{BlockRef, FileIndex, PieceIndex};
use std::io::ErrorKind;
use std::sync::Arc;

fn faulty() -> (Arc<MemoryStorage>, Arc<FaultyStorage>) {
    let memory = Arc::new(MemoryStorage::new());
    let faulty = Arc::new(FaultyStorage::new(Arc::clone(&memory) as _));
    (memory, faulty)
}

#[test]
fn short_and_interrupted_transfers_go_on_where_they_stopped() {
    let sample = Sample::new(&[40_000, 25_000], 32_768, None);
    let (memory, faulty) = faulty();
    faulty.inject(Operation::Write, 0..u64::MAX, Fault::Short(5_001));
    faulty.inject(Operation::Write, 2..3, Fault::Error(ErrorKind::Interrupted));
    faulty.inject(Operation::Read, 0..u64::MAX, Fault::Short(777));
    faulty.inject(Operation::Read, 5..6, Fault::Error(ErrorKind::Interrupted));
    let disk = disk(1);
    let store = sample.open_with(&disk, faulty);
    for p in 0..2 {
        let blocks = sample.blocks(&disk, PieceIndex(p));
        let outcome = wait(|reply| store.write_piece(PieceIndex(p), blocks, false, reply));
        assert!(matches!(outcome, PieceOutcome::Verified { .. }));
    }
    assert!(memory.content(FileIndex(0)).unwrap() == sample.bytes[..40_000]);
    assert!(memory.content(FileIndex(1)).unwrap() == sample.bytes[40_000..]);
    let block = BlockRef { piece: PieceIndex(1), begin: 1_000, len: 20_000 };
    assert_eq!(wait(|reply| read(&store, block, reply)).unwrap(), sample.block(block));
    let checked = wait(|reply| store.check(None, Arc::default(), reply)).unwrap();
    assert!(checked.good.is_full());
}

#[test]
fn a_failed_write_claims_nothing_and_succeeds_once_healed() {
    let kinds = [
        (ErrorKind::StorageFull, StorageErrorKind::NoSpace),
        (ErrorKind::ReadOnlyFilesystem, StorageErrorKind::ReadOnly),
        (ErrorKind::PermissionDenied, StorageErrorKind::Permission),
        (ErrorKind::Other, StorageErrorKind::Io),
    ];
    let sample = Sample::new(&[10_000, 30_000], 32_768, None);
    let disk = disk(1);
    for (fault, kind) in kinds {
        let (_, faulty) = faulty();
        faulty.inject(Operation::Write, 1..u64::MAX, Fault::Error(fault));
        let store = sample.open_with(&disk, Arc::clone(&faulty) as _);
        let write = || {
            let blocks = sample.blocks(&disk, PieceIndex(0));
            wait(|reply| store.write_piece(PieceIndex(0), blocks, false, reply))
        };
        match write() {
            PieceOutcome::Failed(e) => {
                assert_eq!(e.kind, kind);
                assert!(e.to_string().starts_with("cannot write file 1 in memory: "), "{e}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(disk.pool().used_bytes(), 0, "the blocks are dropped");
        faulty.heal();
        assert!(matches!(write(), PieceOutcome::Verified { .. }));
    }
}

#[test]
fn a_storage_that_takes_nothing_is_an_error_not_a_loop() {
    let sample = Sample::new(&[10_000], 16_384, None);
    let (_, faulty) = faulty();
    faulty.inject(Operation::Write, 0..u64::MAX, Fault::Short(0));
    let disk = disk(1);
    let store = sample.open_with(&disk, faulty);
    let blocks = sample.blocks(&disk, PieceIndex(0));
    let outcome = wait(|reply| store.write_piece(PieceIndex(0), blocks, false, reply));
    assert!(matches!(outcome, PieceOutcome::Failed(_)));
}

#[test]
fn a_failed_flush_is_told_and_tried_again() {
    let sample = Sample::new(&[16_384, 16_384], 32_768, None);
    let (_, faulty) = faulty();
    faulty.inject(Operation::Sync, 0..1, Fault::Error(ErrorKind::Other));
    let disk = disk(1);
    let store = sample.open_with(&disk, Arc::clone(&faulty) as _);
    let blocks = sample.blocks(&disk, PieceIndex(0));
    wait(|reply| store.write_piece(PieceIndex(0), blocks, false, reply));
    assert!(wait(|reply| store.sync(reply)).unwrap_err().to_string().contains("flush"));
    wait(|reply| store.sync(reply)).unwrap();
    assert_eq!(faulty.calls(Operation::Sync), 3, "one that failed, then both files");
    wait(|reply| store.sync(reply)).unwrap();
    assert_eq!(faulty.calls(Operation::Sync), 3, "nothing written, nothing to flush");
}

#[test]
fn a_check_reads_nothing_of_missing_files_and_reports_what_may_not_be_read() {
    let sample = Sample::new(&[100_000, 100_000], 16_384, None);
    let (_, faulty) = faulty();
    let disk = disk(2);
    let store = sample.open_with(&disk, Arc::clone(&faulty) as _);
    let progress = Arc::new(CheckProgress::default());
    let outcome = wait(|reply| store.check(None, Arc::clone(&progress), reply)).unwrap();
    assert!(outcome.good.is_empty() && outcome.finished);
    assert_eq!((faulty.calls(Operation::Read), progress.total_bytes()), (0, 0));
    for p in 0..3 {
        let blocks = sample.blocks(&disk, PieceIndex(p));
        wait(|reply| store.write_piece(PieceIndex(p), blocks, false, reply));
    }
    let outcome = wait(|reply| store.check(None, Arc::clone(&progress), reply)).unwrap();
    assert_eq!((outcome.good.count(), progress.hashed_bytes()), (3, 3 * 16_384));
    faulty.inject(Operation::Read, 0..u64::MAX, Fault::Error(ErrorKind::PermissionDenied));
    let error = wait(|reply| store.check(None, Arc::default(), reply)).unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::Permission);
    faulty.inject(Operation::Identity, 0..u64::MAX, Fault::Error(ErrorKind::PermissionDenied));
    assert!(wait(|reply| store.check(None, Arc::default(), reply)).is_err());
}

#[test]
fn what_a_check_has_found_is_flushed_though_nobody_here_wrote_it() {
    let sample = Sample::new(&[16_384, 16_384, 16_384], 16_384, None);
    let (_, faulty) = faulty();
    let disk = disk(1);
    let writer = sample.open_with(&disk, Arc::clone(&faulty) as _);
    for p in [0, 2] {
        let blocks = sample.blocks(&disk, PieceIndex(p));
        wait(|reply| writer.write_piece(PieceIndex(p), blocks, false, reply));
    }
    // As after a kill: another one finds it.
    let store = sample.open_with(&disk, Arc::clone(&faulty) as _);
    let good = wait(|reply| store.check(None, Arc::default(), reply)).unwrap().good;
    wait(|reply| store.sync(reply)).unwrap();
    assert_eq!(faulty.calls(Operation::Sync), 0, "nothing was written by this one");
    faulty.inject(Operation::Sync, 1..2, Fault::Error(ErrorKind::Other));
    wait(|reply| store.sync_found(&good, reply)).unwrap_err();
    wait(|reply| store.sync_found(&good, reply)).unwrap();
    assert_eq!(faulty.calls(Operation::Sync), 4, "both files, of which one failed, then both");
}

#[test]
fn a_flush_waits_for_another_and_does_again_what_that_could_not() {
    let sample = Sample::new(&[16_384], 16_384, None);
    let (_, faulty) = faulty();
    let gate = Gate::new();
    faulty.inject(Operation::Sync, 0..1, Fault::Wait(gate.clone()));
    faulty.inject(Operation::Sync, 0..1, Fault::Error(ErrorKind::Other));
    let disk = disk(2);
    let store = sample.open_with(&disk, Arc::clone(&faulty) as _);
    let blocks = sample.blocks(&disk, PieceIndex(0));
    wait(|reply| store.write_piece(PieceIndex(0), blocks, false, reply));
    let first = later(|reply| store.sync(reply));
    gate.wait_for_arrivals(1);
    let second = later(|reply| store.sync(reply));
    gate.open();
    first.recv().unwrap().unwrap_err();
    second.recv().unwrap().unwrap();
    assert_eq!(faulty.calls(Operation::Sync), 2);
}
