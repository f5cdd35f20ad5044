//! Several sessions at once, on loopback.

mod support;

use samara_engine::{Egress, Event, RateLimits, State};
use support::{Sample, addr, down, run, session, until, up};

#[test]
fn three_leeches_two_seeds_and_one_seed_dies() {
    run(async {
        let sample = Sample::single(8_000_000, 128 * 1024);
        let (first, _a) = sample.seed().await;
        let (second, _b) = sample.seed().await;
        first.set_limits(up(4_000_000));
        let seeds = [addr(&first), addr(&second)];
        let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
        let sessions: Vec<_> = dirs.iter().map(|_| session(None)).collect();
        let mut torrents = Vec::new();
        for (i, session) in sessions.iter().enumerate() {
            // Each knows the seeds and the leeches before it.
            let mut peers: Vec<_> = sessions[..i].iter().map(addr).collect();
            peers.extend(seeds);
            torrents.push(session.add(sample.add(dirs[i].path(), &peers)).await.unwrap());
        }
        until(&torrents[2], |s| s.stats.have_bytes > 0).await;
        second.shutdown().await;
        for (torrent, dir) in torrents.iter().zip(&dirs) {
            let status = until(torrent, |s| s.state == State::Seeding).await;
            assert_eq!(status.stats.corrupt, 0);
            sample.assert_same(dir.path());
        }
        for session in sessions.iter().chain([&first]) {
            session.shutdown().await;
        }
    });
}

#[test]
fn only_the_wanted_files_are_fetched() {
    run(async {
        let sample = Sample::multi(&[("a", 200_000), ("b", 300_000), ("c", 100_000)], 32 * 1024);
        let (seed, _torrent) = sample.seed().await;
        let dir = tempfile::tempdir().unwrap();
        let leech = session(None);
        let mut add = sample.add(dir.path(), &[addr(&seed)]);
        add.files = Some(vec![1]);
        let torrent = leech.add(add).await.unwrap();
        let status = until(&torrent, |s| s.state == State::Seeding).await;
        assert!(status.stats.downloaded < 400_000, "{}", status.stats.downloaded);
        let progress = torrent.file_progress().await;
        assert_eq!(progress[1], 300_000);
        assert!(progress[0] < 200_000 && progress[2] < 100_000, "{progress:?}");
        leech.shutdown().await;
        seed.shutdown().await;
    });
}

#[test]
fn pausing_closes_connections_and_resuming_goes_on() {
    run(async {
        let sample = Sample::single(4_000_000, 64 * 1024);
        let (seed, _torrent) = sample.seed().await;
        seed.set_limits(up(2_000_000));
        let dir = tempfile::tempdir().unwrap();
        let leech = session(None);
        let torrent = leech.add(sample.add(dir.path(), &[addr(&seed)])).await.unwrap();
        let mut events = torrent.events();
        until(&torrent, |s| s.stats.have_bytes > 0).await;
        torrent.pause();
        let status = until(&torrent, |s| s.state == State::Paused && s.stats.peers == 0).await;
        assert!(status.stats.have_bytes < 4_000_000);
        seed.set_limits(RateLimits::default());
        torrent.resume();
        torrent.add_peers(vec![addr(&seed)]);
        until(&torrent, |s| s.state == State::Seeding).await;
        sample.assert_same(dir.path());
        let mut seen = Vec::new();
        while seen.last() != Some(&State::Seeding) {
            if let Some(Event::StateChanged(state)) = events.next().await {
                seen.push(state);
            }
        }
        assert!(seen.contains(&State::Paused), "{seen:?}");
        torrent.remove(true).await;
        assert!(leech.torrents().is_empty());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        leech.shutdown().await;
        seed.shutdown().await;
    });
}

#[test]
fn a_torrent_is_added_once_and_wants_files_it_has() {
    run(async {
        let sample = Sample::single(100, 16 * 1024);
        let dir = tempfile::tempdir().unwrap();
        let session = session(None);
        let mut add = sample.add(dir.path(), &[]);
        add.files = Some(vec![1]);
        assert!(session.add(add).await.unwrap_err().to_string().contains("file 1"));
        session.add(sample.add(dir.path(), &[])).await.unwrap();
        let twice = session.add(sample.add(dir.path(), &[])).await.unwrap_err();
        assert!(twice.to_string().contains("already"), "{twice}");
        session.shutdown().await;
        assert!(session.add(sample.add(dir.path(), &[])).await.is_err());
    });
}

#[test]
fn a_limit_is_kept() {
    run(async {
        let sample = Sample::single(3_000_000, 64 * 1024);
        let (seed, _torrent) = sample.seed().await;
        seed.set_limits(up(1_500_000));
        let start = std::time::Instant::now();
        sample.download(&[addr(&seed)]).await;
        let took = start.elapsed().as_secs_f64();
        assert!(took > 1.7, "3 MB at 1.5 MB/s took {took} s");
        let leech = session(None);
        leech.set_limits(down(1_500_000));
        seed.set_limits(RateLimits::default());
        let dir = tempfile::tempdir().unwrap();
        let start = std::time::Instant::now();
        let torrent = leech.add(sample.add(dir.path(), &[addr(&seed)])).await.unwrap();
        until(&torrent, |s| s.state == State::Seeding).await;
        let took = start.elapsed().as_secs_f64();
        assert!(took > 1.7, "3 MB at 1.5 MB/s took {took} s");
        leech.shutdown().await;
        seed.shutdown().await;
    });
}

#[test]
fn a_handshake_tells_who_is_there() {
    run(async {
        let sample = Sample::single(100_000, 16 * 1024);
        let (seed, torrent) = sample.seed().await;
        let limit = std::time::Duration::from_secs(5);
        let hash = torrent.hashes().wire();
        let info = samara_engine::probe::handshake(addr(&seed), hash, &Egress::default(), limit)
            .await
            .unwrap();
        assert_eq!(info.peer_id, seed.peer_id());
        assert!(info.has_all || info.pieces == Some(7), "{info:?}");
        assert!(info.client.is_some_and(|client| client.starts_with("samara")));
        let other = samara_engine::wire::id::WireHash([1; 20]);
        let error = samara_engine::probe::handshake(addr(&seed), other, &Egress::default(), limit)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("may not have this torrent"), "{error}");
        seed.shutdown().await;
    });
}

#[test]
fn pieces_longer_than_all_buffers_go_by_way_of_the_disk() {
    run(async {
        let sample = Sample::single(10_000_000, 2 * 1024 * 1024);
        let (first, _a) = sample.seed().await;
        let (second, _b) = sample.seed().await;
        let mut config = support::config(None);
        config.buffer_bytes = 512 * 1024;
        let leech = samara_engine::Session::start(config).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let peers = [addr(&first), addr(&second)];
        let torrent = leech.add(sample.add(dir.path(), &peers)).await.unwrap();
        let status = until(&torrent, |s| s.state == State::Seeding).await;
        assert_eq!(status.stats.corrupt, 0);
        sample.assert_same(dir.path());
        for session in [&leech, &first, &second] {
            session.shutdown().await;
        }
    });
}

#[test]
fn ipv6_peers_are_peers() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        // A machine without IPv6 has nothing to show here.
        return;
    }
    run(async {
        let sample = Sample::single(100_000, 16 * 1024);
        let on_all = || {
            let mut config = support::config(None);
            config.bind = Vec::new();
            samara_engine::Session::start(config).unwrap()
        };
        let (seed, leech) = (on_all(), on_all());
        let torrent = seed.add(sample.add(sample.dir.path(), &[])).await.unwrap();
        until(&torrent, |s| s.state == State::Seeding).await;
        let dir = tempfile::tempdir().unwrap();
        let at = (std::net::Ipv6Addr::LOCALHOST, seed.port()).into();
        let torrent = leech.add(sample.add(dir.path(), &[at])).await.unwrap();
        until(&torrent, |s| s.state == State::Seeding).await;
        sample.assert_same(dir.path());
        leech.shutdown().await;
        seed.shutdown().await;
    });
}

#[test]
fn peers_find_each_other_through_a_tracker_and_take_their_leave() {
    run(async {
        use samara_engine::tracker_server::{TrackerServer, TrackerServerConfig};
        let bind = vec![(std::net::Ipv4Addr::LOCALHOST, 0).into()];
        let tracker =
            TrackerServer::start(TrackerServerConfig { bind, ..TrackerServerConfig::default() })
                .unwrap();
        for scheme in ["http", "udp"] {
            let mut sample = Sample::single(300_000, 32 * 1024);
            let url = format!("{scheme}://127.0.0.1:{}/announce", tracker.port());
            sample.metainfo.trackers = vec![vec![url]];
            let announcing = |dir: &std::path::Path| {
                let mut add = sample.add(dir, &[]);
                add.announce = true;
                add
            };
            let (seed, leech) = (session(None), session(None));
            let seeding = seed.add(announcing(sample.dir.path())).await.unwrap();
            until(&seeding, |s| s.state == State::Seeding && s.trackers_answered > 0).await;
            let dir = tempfile::tempdir().unwrap();
            let torrent = leech.add(announcing(dir.path())).await.unwrap();
            until(&torrent, |s| s.state == State::Seeding).await;
            sample.assert_same(dir.path());
            let asked = std::time::Instant::now();
            leech.shutdown().await;
            seed.shutdown().await;
            assert!(asked.elapsed().as_secs() < 2, "{:?}", asked.elapsed());
            // Both said `stopped`: nobody is left to be named.
            let limit = std::time::Duration::from_secs(5);
            let answers =
                samara_engine::probe::announce_all(&sample.metainfo, &Egress::default(), limit)
                    .await;
            let (_, answer) = &answers[0];
            assert_eq!(answer.as_ref().unwrap().peers, [], "{scheme}");
        }
        tracker.shutdown();
    });
}
