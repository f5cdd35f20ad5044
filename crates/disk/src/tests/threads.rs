//! Who waits for whom: stalls, fairness, cancelling and shutdown, with gates instead of sleeps.

use super::{Sample, disk, later, read, wait};
use crate::{
    CheckProgress, Disk, Fault, FaultyStorage, Gate, MemoryStorage, Operation, PieceOutcome,
    StorageErrorKind, Store,
};
use samara_wire::id::{BlockRef, PieceIndex};
use std::sync::Arc;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);
const FIRST: BlockRef = BlockRef { piece: PieceIndex(0), begin: 0, len: 16_384 };

/// A store in memory with all pieces written, and the faulty layer under it.
fn full_store(sample: &Sample, disk: &Disk, volume: u64) -> (Arc<FaultyStorage>, Store) {
    let faulty = FaultyStorage::new(Arc::new(MemoryStorage::new())).on_volume(volume);
    let faulty = Arc::new(faulty);
    let store = sample.open_with(disk, Arc::clone(&faulty) as _);
    for p in 0..sample.piece_count() {
        let blocks = sample.blocks(disk, PieceIndex(p));
        let outcome = wait(|reply| store.write_piece(PieceIndex(p), blocks, false, reply));
        assert!(matches!(outcome, PieceOutcome::Verified { .. }));
    }
    (faulty, store)
}

#[test]
fn a_volume_that_stalls_leaves_a_thread_for_the_others() {
    let sample = Sample::new(&[100_000], 16_384, None);
    let disk = disk(2);
    let (stalled, one) = full_store(&sample, &disk, 1);
    let (also_stalled, two) = full_store(&sample, &disk, 1);
    let (_, well) = full_store(&sample, &disk, 2);
    let gate = Gate::new();
    for storage in [&stalled, &also_stalled] {
        storage.inject(Operation::Read, 0..u64::MAX, Fault::Wait(gate.clone()));
    }
    let waiting: Vec<_> = (0..8)
        .flat_map(|_| [later(|r| read(&one, FIRST, r)), later(|r| read(&two, FIRST, r))])
        .collect();
    gate.wait_for_arrivals(2);
    for _ in 0..10 {
        assert_eq!(wait(|r| read(&well, FIRST, r)).unwrap(), sample.block(FIRST));
    }
    assert_eq!(gate.arrivals(), 2, "the third thread stays out of the stalled volume");
    gate.open();
    assert!(waiting.into_iter().all(|reply| reply.recv().unwrap().is_ok()));
}

#[test]
fn what_is_written_does_not_wait_for_a_sync_nor_another_volume_for_two() {
    let sample = Sample::new(&[100_000], 16_384, None);
    let disk = disk(1);
    let (slow, one) = full_store(&sample, &disk, 1);
    let (_, same_volume) = full_store(&sample, &disk, 1);
    let (_, well) = full_store(&sample, &disk, 2);
    let gate = Gate::new();
    slow.inject(Operation::Sync, 0..1, Fault::Wait(gate.clone()));
    slow.inject(Operation::Read, 0..1, Fault::Wait(gate.clone()));
    let synced = later(|reply| one.sync(reply));
    gate.wait_for_arrivals(1);
    let blocks = sample.blocks(&disk, PieceIndex(1));
    let outcome = wait(|reply| one.write_piece(PieceIndex(1), blocks, false, reply));
    assert!(matches!(outcome, PieceOutcome::Verified { .. }));
    // Now all that one volume may have waits.
    let stuck = later(|reply| read(&one, FIRST, reply));
    gate.wait_for_arrivals(2);
    let also_synced = later(|reply| same_volume.sync(reply));
    assert_eq!(wait(|r| read(&well, FIRST, r)).unwrap(), sample.block(FIRST));
    gate.open();
    synced.recv().unwrap().unwrap();
    also_synced.recv().unwrap().unwrap();
    stuck.recv().unwrap().unwrap();
}

#[test]
fn uploads_flow_while_a_check_runs() {
    let sample = Sample::new(&[16_384 * 200], 16_384, None);
    let disk = disk(1);
    let (faulty, store) = full_store(&sample, &disk, 1);
    let (early, late) = (Gate::new(), Gate::new());
    faulty.inject(Operation::Read, 3..4, Fault::Wait(early.clone()));
    faulty.inject(Operation::Read, 150..151, Fault::Wait(late.clone()));
    let progress = Arc::new(CheckProgress::default());
    let checked = later(|reply| store.check(None, Arc::clone(&progress), reply));
    early.wait_for_arrivals(1);
    let read = later(|reply| read(&store, FIRST, reply));
    early.open();
    assert!(
        read.recv_timeout(LONG).unwrap().is_ok(),
        "while the check is still to meet the late gate"
    );
    late.open();
    assert!(checked.recv().unwrap().unwrap().good.is_full());
}

#[test]
fn a_cancelled_check_ends_early_and_says_so() {
    let sample = Sample::new(&[16_384 * 200], 16_384, None);
    let disk = disk(1);
    let (faulty, store) = full_store(&sample, &disk, 1);
    let gate = Gate::new();
    faulty.inject(Operation::Read, 10..11, Fault::Wait(gate.clone()));
    let progress = Arc::new(CheckProgress::default());
    let checked = later(|reply| store.check(None, Arc::clone(&progress), reply));
    gate.wait_for_arrivals(1);
    progress.cancel();
    gate.open();
    let outcome = checked.recv().unwrap().unwrap();
    assert!(!outcome.finished);
    let batch = u32::try_from(crate::hash::lanes()).unwrap();
    let begun = 10 / batch * batch + batch;
    assert_eq!(outcome.good.count(), begun, "the pieces under way are finished, no other begun");
}

#[test]
fn shutdown_finishes_writes_and_refuses_the_rest() {
    let sample = Sample::new(&[16_384 * 20], 16_384, None);
    let disk = disk(1);
    let (faulty, store) = full_store(&sample, &disk, 1);
    let gate = Gate::new();
    faulty.inject(Operation::Read, 0..1, Fault::Wait(gate.clone()));
    let first = later(|reply| read(&store, FIRST, reply));
    gate.wait_for_arrivals(1);
    let writes: Vec<_> = (0..20)
        .map(|p| {
            let blocks = sample.blocks(&disk, PieceIndex(p));
            later(|reply| store.write_piece(PieceIndex(p), blocks, false, reply))
        })
        .collect();
    let read = later(|reply| read(&store, FIRST, reply));
    let checked = later(|reply| store.check(None, Arc::default(), reply));
    assert!(!disk.shutdown(Duration::ZERO), "a read hangs and writes wait");
    assert_eq!(read.recv().unwrap().unwrap_err().kind, StorageErrorKind::Closed);
    assert_eq!(checked.recv().unwrap().unwrap_err().kind, StorageErrorKind::Closed);
    gate.open();
    assert!(disk.shutdown(LONG));
    assert!(first.recv().unwrap().is_ok());
    for write in writes {
        assert!(matches!(write.recv().unwrap(), PieceOutcome::Verified { .. }));
    }
    let late = wait(|reply| store.sync(reply)).unwrap_err();
    assert_eq!(late.kind, StorageErrorKind::Closed);
}

#[test]
fn dropping_everything_still_writes_what_was_queued() {
    let sample = Sample::new(&[16_384 * 20], 16_384, None);
    let disk = disk(1);
    let memory = Arc::new(MemoryStorage::new());
    let store = sample.open_with(&disk, Arc::clone(&memory) as _);
    let writes: Vec<_> = (0..20)
        .map(|p| {
            let blocks = sample.blocks(&disk, PieceIndex(p));
            later(|reply| store.write_piece(PieceIndex(p), blocks, false, reply))
        })
        .collect();
    drop((store, disk));
    for write in writes {
        assert!(matches!(write.recv().unwrap(), PieceOutcome::Verified { .. }));
    }
    assert!(memory.content(samara_wire::id::FileIndex(0)).unwrap() == sample.bytes);
}

#[test]
fn a_reply_that_panics_costs_no_thread() {
    let sample = Sample::new(&[100_000], 16_384, None);
    let disk = disk(1);
    let (_, store) = full_store(&sample, &disk, 1);
    for _ in 0..4 {
        let panics = |_| std::panic::resume_unwind(Box::new("a test's panic"));
        read(&store, FIRST, Box::new(panics));
    }
    assert!(wait(|reply| read(&store, FIRST, reply)).is_ok());
}

#[test]
fn many_stores_on_few_volumes_all_get_done() {
    let sample = Sample::new(&[16_384 * 6], 16_384, None);
    let disk = disk(2);
    let stores: Vec<_> = (0..12).map(|i| full_store(&sample, &disk, i % 3).1).collect();
    let mut reads = Vec::new();
    let mut checks = Vec::new();
    for round in 0..20 {
        for store in &stores {
            reads.push(later(|reply| read(store, FIRST, reply)));
            if round % 5 == 0 {
                checks.push(later(|reply| store.check(None, Arc::default(), reply)));
            }
        }
    }
    for read in reads {
        assert!(read.recv_timeout(LONG).unwrap().is_ok());
    }
    for check in checks {
        assert!(check.recv_timeout(LONG).unwrap().unwrap().good.is_full());
    }
}

#[test]
fn a_store_dropped_while_its_check_is_cancelled_goes_away() {
    let sample = Sample::new(&[16_384 * 200], 16_384, None);
    let disk = disk(1);
    let (faulty, store) = full_store(&sample, &disk, 1);
    let gate = Gate::new();
    faulty.inject(Operation::Read, 5..6, Fault::Wait(gate.clone()));
    let progress = Arc::new(CheckProgress::default());
    let checked = later(|reply| store.check(None, Arc::clone(&progress), reply));
    gate.wait_for_arrivals(1);
    let storage = Arc::downgrade(&faulty);
    drop((store, faulty));
    progress.cancel();
    gate.open();
    assert!(!checked.recv_timeout(LONG).unwrap().unwrap().finished);
    assert!(disk.shutdown(LONG));
    drop(disk);
    let deadline = Instant::now() + LONG;
    while storage.strong_count() > 0 {
        assert!(Instant::now() < deadline, "something still holds the storage");
        std::thread::yield_now();
    }
}
