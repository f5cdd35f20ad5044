//! What survives the end of a session, orderly or not.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use samara_engine::{AddTorrent, Event, RateLimits, State};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use support::{Sample, addr, config, run, session, until, up};

const LEN: u64 = 6_000_000;

/// This very test again, as the process that is killed.
const CHILD: &str = "SAMARA_TEST_CHILD";

/// What the child downloads is known to both: the content of samples is always the same.
fn sample() -> Sample {
    Sample::single(usize::try_from(LEN).unwrap(), 64 * 1024)
}

/// Downloads until killed, and says which pieces are verified.
async fn child(args: &str) {
    let (dir, peer) = args.split_once('|').unwrap();
    let dir = Path::new(dir);
    let session = session(Some(&dir.join("state")));
    let add = sample().add(&dir.join("data"), &[peer.parse().unwrap()]);
    let torrent = session.add(add).await.unwrap();
    let mut events = torrent.events();
    loop {
        if let Some(Event::Swarm(samara_swarm::Event::PieceVerified(_))) = events.next().await {
            println!("\nverified");
        }
    }
}

#[test]
fn after_a_kill_no_verified_byte_is_fetched_again() {
    if let Ok(args) = std::env::var(CHILD) {
        return run(async move { child(&args).await });
    }
    run(async {
        let sample = sample();
        let (seed, _torrent) = sample.seed().await;
        seed.set_limits(up(4_000_000));
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "after_a_kill_no_verified_byte_is_fetched_again", "--nocapture"])
            .env(CHILD, format!("{}|{}", dir.path().display(), addr(&seed)))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        let verified = lines.by_ref().filter(|line| line.as_ref().unwrap() == "verified");
        assert_eq!(verified.take(40).count(), 40);
        victim.kill().unwrap();
        victim.wait().unwrap();
        seed.set_limits(RateLimits::default());

        let again = session(Some(&dir.path().join("state")));
        let mut add = sample.add(&dir.path().join("data"), &[]);
        add.paused = true;
        let torrent = again.add(add).await.unwrap();
        let status = until(&torrent, |s| s.state == State::Paused).await;
        assert!(status.stats.pieces_have >= 40, "{} pieces", status.stats.pieces_have);
        torrent.resume();
        torrent.add_peers(vec![addr(&seed)]);
        let done = until(&torrent, |s| s.state == State::Seeding).await;
        assert_eq!(done.stats.downloaded, LEN - status.stats.have_bytes);
        sample.assert_same(&dir.path().join("data"));
        again.shutdown().await;
        seed.shutdown().await;
    });
}

#[test]
fn after_an_orderly_end_nothing_is_checked_and_blocks_are_kept() {
    run(async {
        // Pieces so long that the end comes in the middle of some.
        let sample = Sample::single(6_000_000, 1024 * 1024);
        let (seed, _torrent) = sample.seed().await;
        seed.set_limits(up(4_000_000));
        let (dir, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = session(Some(state.path()));
        let torrent = first.add(sample.add(dir.path(), &[addr(&seed)])).await.unwrap();
        until(&torrent, |s| s.stats.pieces_have >= 2).await;
        first.shutdown().await;
        let before = torrent.status();
        assert_eq!(before.state, State::Stopped);
        seed.set_limits(RateLimits::default());

        let second = session(Some(state.path()));
        let torrent = second.add(sample.add(dir.path(), &[addr(&seed)])).await.unwrap();
        let done = until(&torrent, |s| s.state == State::Seeding).await;
        assert_eq!(done.check_total_bytes, 0, "nothing was hashed");
        let received = before.stats.downloaded + done.stats.downloaded;
        assert_eq!(received, LEN, "every block once, those of unfinished pieces too");
        sample.assert_same(dir.path());
        second.shutdown().await;
        seed.shutdown().await;
    });
}

#[test]
fn damaged_resume_data_is_set_aside_and_all_is_checked() {
    run(async {
        let sample = sample();
        let state = tempfile::tempdir().unwrap();
        for round in 0..2 {
            let session = session(Some(state.path()));
            let torrent = session.add(sample.add(sample.dir.path(), &[])).await.unwrap();
            let status = until(&torrent, |s| s.state == State::Seeding).await;
            assert_eq!(status.stats.have_bytes, LEN);
            assert_eq!(status.check_total_bytes, LEN, "round {round}");
            session.shutdown().await;
            let names: Vec<_> =
                std::fs::read_dir(state.path()).unwrap().map(|e| e.unwrap().path()).collect();
            assert_eq!(names.len(), 1 + round, "{names:?}");
            let record = names.iter().find(|p| p.extension().unwrap() == "resume").unwrap();
            let mut bytes = std::fs::read(record).unwrap();
            bytes[100] ^= 1;
            std::fs::write(record, bytes).unwrap();
        }
    });
}

#[test]
fn unknown_data_is_checked_and_what_is_right_is_kept() {
    run(async {
        let sample = sample();
        let (seed, _torrent) = sample.seed().await;
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = sample.bytes().to_vec();
        bytes[3_000_000..].fill(7);
        std::fs::write(dir.path().join("data.bin"), bytes).unwrap();
        let session = support::session(None);
        let torrent = session.add(sample.add(dir.path(), &[addr(&seed)])).await.unwrap();
        let status = until(&torrent, |s| s.state == State::Seeding).await;
        assert!(status.stats.downloaded < LEN - 3_000_000 + 65536, "{:?}", status.stats);
        sample.assert_same(dir.path());
        session.shutdown().await;
        seed.shutdown().await;
    });
}

#[test]
fn trusted_data_is_not_looked_at() {
    run(async {
        let sample = sample();
        let session = session(None);
        let add = sample.add(Path::new("/nowhere"), &[]);
        let add = AddTorrent { existing: samara_engine::Existing::Trust, ..add };
        let torrent = session.add(add).await.unwrap();
        let status = until(&torrent, |s| s.state == State::Seeding).await;
        assert_eq!((status.check_total_bytes, status.stats.have_bytes), (0, LEN));
        // Who asks for it gets nothing, and it is found out.
        let leech = samara_engine::Session::start(config(None)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let _leeching = leech.add(sample.add(dir.path(), &[addr(&session)])).await.unwrap();
        until(&torrent, |s| s.stats.have_bytes < LEN).await;
        leech.shutdown().await;
        session.shutdown().await;
    });
}
