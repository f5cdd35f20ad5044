//! Storage that fails: the torrent says so, others go on, and it recovers by itself.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use samara_engine::disk::{Fault, FaultyStorage, Gate, MemoryStorage, Operation, Storage};
use samara_engine::wire::id::{FileIndex, PeerId, WireHash};
use samara_engine::wire::peer::handshake::{HANDSHAKE_LEN, Handshake, Reserved};
use samara_engine::{CustomStorage, State};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;
use support::{Sample, addr, run, session, until};

#[test]
fn a_full_disk_pauses_its_torrent_alone_until_there_is_room() {
    run(async {
        let unlucky = Sample::single(2_000_000, 64 * 1024);
        let lucky = Sample::multi(&[("a", 500_000)], 64 * 1024);
        let (seed, _torrent) = unlucky.seed().await;
        let (other_seed, _torrent) = lucky.seed().await;
        let memory = Arc::new(MemoryStorage::new());
        let storage = Arc::new(FaultyStorage::new(Arc::clone(&memory) as Arc<_>));
        storage.inject(Operation::Write, 5..u64::MAX, Fault::Error(ErrorKind::StorageFull));
        let (dir, leech) = (tempfile::tempdir().unwrap(), session(None));
        let mut add = unlucky.add(dir.path(), &[addr(&seed)]);
        add.storage = Some(CustomStorage(Arc::clone(&storage) as Arc<_>));
        let torrent = leech.add(add).await.unwrap();
        let status = until(&torrent, |s| matches!(s.state, State::Failed(_))).await;
        let State::Failed(error) = status.state else { unreachable!() };
        assert_eq!(error.kind, samara_engine::ErrorKind::NoSpace);
        assert!(error.message.contains("space"), "{error}");
        // What is asked for while nothing can be written is little.
        let other = leech.add(lucky.add(dir.path(), &[addr(&other_seed)])).await.unwrap();
        until(&other, |s| s.state == State::Seeding).await;
        lucky.assert_same(dir.path());
        storage.heal();
        let status = until(&torrent, |s| s.state == State::Seeding).await;
        assert_eq!((status.stats.corrupt, status.check_total_bytes), (0, 0));
        assert!(memory.content(FileIndex(0)).unwrap() == unlucky.bytes());
        // A storage that cannot tell whether it would have to wait is read on disk threads.
        unlucky.download(&[addr(&leech)]).await;
        leech.shutdown().await;
        seed.shutdown().await;
        other_seed.shutdown().await;
    });
}

#[test]
fn what_a_failed_sync_may_have_lost_is_fetched_again() {
    run(async {
        let sample = Sample::single(500_000, 64 * 1024);
        let (seed, _torrent) = sample.seed().await;
        let memory = Arc::new(MemoryStorage::new());
        let storage = Arc::new(FaultyStorage::new(Arc::clone(&memory) as Arc<_>));
        storage.inject(Operation::Sync, 0..1, Fault::Error(ErrorKind::Other));
        let (dir, leech) = (tempfile::tempdir().unwrap(), session(None));
        let mut add = sample.add(dir.path(), &[addr(&seed)]);
        add.storage = Some(CustomStorage(Arc::clone(&storage) as Arc<_>));
        let torrent = leech.add(add).await.unwrap();
        until(&torrent, |s| matches!(s.state, State::Failed(_))).await;
        torrent.add_peers(vec![addr(&seed)]);
        let status = until(&torrent, |s| s.state == State::Seeding).await;
        assert!(status.stats.downloaded > 500_000, "{:?}", status.stats);
        assert!(storage.calls(Operation::Sync) >= 2);
        assert!(memory.content(FileIndex(0)).unwrap() == sample.bytes());
        leech.shutdown().await;
        seed.shutdown().await;
    });
}

#[cfg(unix)]
#[test]
fn a_directory_that_cannot_be_made_is_named() {
    run(async {
        let sample = Sample::multi(&[("empty", 0), ("a", 100_000)], 16 * 1024);
        let (seed, _torrent) = sample.seed().await;
        let dir = tempfile::tempdir().unwrap();
        let blocked = dir.path().join("file");
        std::fs::write(&blocked, b"not a directory").unwrap();
        let leech = session(None);
        let torrent = leech.add(sample.add(&blocked.join("below"), &[addr(&seed)])).await.unwrap();
        let status = until(&torrent, |s| matches!(s.state, State::Failed(_))).await;
        let State::Failed(error) = status.state else { unreachable!() };
        assert!(error.message.contains("file"), "{error}");
        std::fs::remove_file(&blocked).unwrap();
        until(&torrent, |s| s.state == State::Seeding).await;
        sample.assert_same(&blocked.join("below"));
        leech.shutdown().await;
        seed.shutdown().await;
    });
}

#[test]
fn who_dials_while_data_is_checked_waits_for_the_end_of_the_check() {
    run(async {
        let sample = Sample::single(100_000, 16 * 1024);
        let storage = Arc::new(FaultyStorage::new(Arc::new(MemoryStorage::new()) as Arc<_>));
        let gate = Gate::new();
        storage.inject(Operation::Identity, 0..1, Fault::Wait(gate.clone()));
        let (dir, leech) = (tempfile::tempdir().unwrap(), session(None));
        let mut add = sample.add(dir.path(), &[]);
        add.storage = Some(CustomStorage(Arc::clone(&storage) as Arc<_>));
        let torrent = leech.add(add).await.unwrap();
        assert_eq!(torrent.status().state, State::Checking);
        let handshake = |info_hash| Handshake {
            reserved: Reserved::default(),
            info_hash,
            peer_id: PeerId(*b"-XX0000-early-bird--"),
        };
        let mut early = TcpStream::connect(addr(&leech)).unwrap();
        let hash = sample.metainfo.info.hashes().wire();
        early.write_all(&handshake(hash).encode()).unwrap();
        // Whoever names another torrent is turned away; by then the first has been heard.
        let mut wrong = TcpStream::connect(addr(&leech)).unwrap();
        wrong.write_all(&handshake(WireHash([9; 20])).encode()).unwrap();
        let _ = wrong.read(&mut [0; 1]);
        gate.open();
        let mut answer = [0; HANDSHAKE_LEN];
        early.read_exact(&mut answer).unwrap();
        assert_eq!(Handshake::parse(&answer).unwrap().info_hash, hash);
        leech.shutdown().await;
    });
}

#[test]
fn a_session_that_has_shut_down_holds_nothing() {
    run(async {
        let sample = Sample::single(500_000, 64 * 1024);
        let (seed, _torrent) = sample.seed().await;
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let held = Arc::downgrade(&storage);
        let (dir, leech) = (tempfile::tempdir().unwrap(), session(None));
        let mut add = sample.add(dir.path(), &[addr(&seed)]);
        add.storage = Some(CustomStorage(storage));
        let torrent = leech.add(add).await.unwrap();
        until(&torrent, |s| s.state == State::Seeding).await;
        // While it is connected with another session, and though its owner keeps the handle.
        leech.shutdown().await;
        drop(leech);
        // What the threads of the session held goes with them.
        let let_go = async {
            while held.strong_count() > 0 {
                tokio::task::yield_now().await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(60), let_go).await;
        assert!(in_time.is_ok(), "{} hold it still", held.strong_count());
        drop(torrent);
        seed.shutdown().await;
    });
}
