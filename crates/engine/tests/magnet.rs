//! Magnet links between sessions on loopback.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use samara_engine::create::Kind;
use samara_engine::tracker_server::{TrackerServer, TrackerServerConfig};
use samara_engine::wire::id::InfoHashes;
use samara_engine::wire::peer::extension::ExtensionHandshake;
use samara_engine::{
    AddTorrent, Existing, RateLimits, ResolveConfig, ResolveError, Resolved, Session, State,
};
use std::net::TcpListener;
use support::fake::{Fake, fake, gossip, has_metadata, link, resolve};
use support::{Sample, addr, run, session, until, up};

/// A sample whose info dictionary has several metadata pieces.
fn sample() -> Sample {
    Sample::single(40_000_000, 16 * 1024)
}

/// A file of many pieces.
fn sample_of(kind: Kind) -> Sample {
    Sample::single(20_000_000, 16 * 1024).of_kind(kind)
}

/// Downloads what was found and compares it.
async fn completes(leech: &Session, found: Resolved, sample: &Sample) {
    let dir = tempfile::tempdir().unwrap();
    let add = AddTorrent { peers: found.peers, ..AddTorrent::new(found.metainfo, dir.path()) };
    let torrent = leech.add(add).await.unwrap();
    until(&torrent, |s| s.state == State::Seeding).await;
    sample.assert_same(dir.path());
}

#[test]
fn a_link_becomes_a_torrent_and_the_torrent_a_download() {
    run(async {
        let sample = sample();
        let (seed, _torrent) = sample.seed().await;
        let leech = session(None);
        let found = resolve(&leech, link(&sample, &[addr(&seed)]), 30).await.unwrap();
        assert_eq!(found.metainfo.info.raw(), sample.metainfo.info.raw());
        assert_eq!((found.peers.as_slice(), found.from_cache), (&[addr(&seed)][..], false));
        completes(&leech, found, &sample).await;
        leech.shutdown().await;
        seed.shutdown().await;
    });
}

#[test]
fn a_tracker_alone_is_enough() {
    run(async {
        let mut sample = sample();
        let config = TrackerServerConfig {
            bind: vec!["127.0.0.1:0".parse().unwrap()],
            ..TrackerServerConfig::default()
        };
        let tracker = TrackerServer::start(config).unwrap();
        let url = format!("http://127.0.0.1:{}/announce", tracker.port());
        sample.metainfo.trackers = vec![vec![url.clone()]];
        let server = session(None);
        let add = AddTorrent {
            announce: true,
            existing: Existing::Trust,
            ..sample.add(sample.dir.path(), &[])
        };
        let torrent = server.add(add).await.unwrap();
        until(&torrent, |s| s.trackers_answered > 0).await;
        let leech = session(None);
        let mut magnet = link(&sample, &[]);
        magnet.trackers = vec![url];
        let found = resolve(&leech, magnet, 30).await.unwrap();
        assert_eq!(found.metainfo.info.raw(), sample.metainfo.info.raw());
        assert_eq!(found.peers, [addr(&server)]);
        leech.shutdown().await;
        server.shutdown().await;
        tracker.shutdown();
    });
}

#[test]
fn what_was_fetched_is_kept_and_needs_nobody_the_next_time() {
    run(async {
        let (sample, state) = (sample(), tempfile::tempdir().unwrap());
        let (seed, _torrent) = sample.seed().await;
        let first = session(Some(state.path()));
        resolve(&first, link(&sample, &[addr(&seed)]), 30).await.unwrap();
        first.shutdown().await;
        seed.shutdown().await;
        let second = session(Some(state.path()));
        let named = ["127.0.0.1:9".parse().unwrap()];
        let mut magnet = link(&sample, &named);
        magnet.trackers = vec!["http://127.0.0.1:1/announce".to_owned()];
        let found = resolve(&second, magnet.clone(), 30).await.unwrap();
        assert!(found.from_cache);
        assert_eq!(found.peers, named);
        assert_eq!(found.metainfo.info.raw(), sample.metainfo.info.raw());
        assert_eq!(found.metainfo.trackers, [magnet.trackers]);
        second.shutdown().await;
    });
}

#[test]
fn a_link_that_leads_nowhere_says_so_in_time() {
    run(async {
        let sample = Sample::single(100_000, 16 * 1024);
        let leech = session(None);
        let nobody = resolve(&leech, link(&sample, &[]), 30).await.unwrap_err();
        assert!(matches!(nobody, ResolveError::NobodyToAsk));
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let late = resolve(&leech, link(&sample, &[closed]), 1).await.unwrap_err().to_string();
        assert_eq!(late, "no metadata within 1 s: 1 peer known, 1 not reached, 0 asked");
        let mut magnet = link(&sample, &[]);
        magnet.trackers = vec![format!("http://{closed}/announce")];
        let late = resolve(&leech, magnet, 1).await.unwrap_err().to_string();
        assert!(late.contains("no peer is known (127.0.0.1:"), "{late}");
        let mut waiting = leech.resolve(link(&sample, &[closed]), ResolveConfig::default());
        leech.shutdown().await;
        assert!(matches!(waiting.outcome().await, Err(ResolveError::ShutDown)));
    });
}

#[test]
fn a_private_torrent_is_not_given_away() {
    run(async {
        let sample = Sample::private(100_000);
        let (seed, _torrent) = sample.seed().await;
        let leech = session(None);
        let none = resolve(&leech, link(&sample, &[addr(&seed)]), 2).await.unwrap_err();
        let ResolveError::Timeout { status, .. } = &none else { panic!("{none}") };
        assert_eq!((status.fetch.asked, status.fetch.without), (0, 1), "{none}");
        leech.shutdown().await;
        seed.shutdown().await;
    });
}

#[test]
fn a_peer_learns_of_the_seed_from_the_only_peer_it_knows() {
    run(async {
        let sample = Sample::single(2_000_000, 32 * 1024);
        let (seed, _torrent) = sample.seed().await;
        // It has nothing yet and gets nothing for now, so that it can only point to the seed.
        seed.set_limits(up(1));
        let (middle, last) = (session(None), session(None));
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let add = sample.add(dirs[0].path(), &[addr(&seed)]);
        let _middle = middle.add(add).await.unwrap();
        let torrent = last.add(sample.add(dirs[1].path(), &[addr(&middle)])).await.unwrap();
        until(&torrent, |s| s.stats.seeds == 1).await;
        seed.set_limits(RateLimits::default());
        until(&torrent, |s| s.state == State::Seeding).await;
        sample.assert_same(dirs[1].path());
        for session in [seed, middle, last] {
            session.shutdown().await;
        }
    });
}

#[test]
fn a_v2_link_becomes_a_download_piece_layers_and_all() {
    run(async {
        // 1221 pieces: three requests.
        let sample = sample_of(Kind::V2);
        let (seed, _torrent) = sample.seed().await;
        let leech = session(None);
        let found = resolve(&leech, link(&sample, &[addr(&seed)]), 30).await.unwrap();
        assert!(found.metainfo.info.has_piece_layers());
        assert_eq!(found.metainfo.to_bytes(), sample.metainfo.to_bytes());
        completes(&leech, found, &sample).await;
        leech.shutdown().await;
        seed.shutdown().await;
    });
}

#[test]
fn layers_of_a_hybrid_are_fetched_where_they_are_wanted_and_kept() {
    run(async {
        let (sample, state) = (sample_of(Kind::Hybrid), tempfile::tempdir().unwrap());
        let (seed, _torrent) = sample.seed().await;
        let leech = session(Some(state.path()));
        // As most links are: nobody knows yet that there is a v2 hash.
        let mut magnet = link(&sample, &[addr(&seed)]);
        magnet.hashes = InfoHashes::v1_only(sample.metainfo.info.hashes().v1().unwrap());
        let found = resolve(&leech, magnet.clone(), 30).await.unwrap();
        assert!(found.metainfo.info.has_all_hashes() && !found.metainfo.info.has_piece_layers());
        let whole = ResolveConfig { layers: true, ..ResolveConfig::default() };
        let found = leech.resolve(magnet.clone(), whole.clone()).outcome().await.unwrap();
        assert_eq!(found.metainfo.to_bytes(), sample.metainfo.to_bytes());
        leech.shutdown().await;
        seed.shutdown().await;
        let again = session(Some(state.path()));
        let found = again.resolve(magnet, whole).outcome().await.unwrap();
        assert!(found.from_cache, "nobody is there any more");
        assert_eq!(found.metainfo.to_bytes(), sample.metainfo.to_bytes());
        again.shutdown().await;
    });
}

#[test]
fn a_peer_without_metadata_names_one_that_has_it() {
    run(async {
        let sample = sample();
        let (seed, _torrent) = sample.seed().await;
        let (gossip, _left) = gossip(addr(&seed), 1);
        let leech = session(None);
        let found = resolve(&leech, link(&sample, &[gossip]), 30).await.unwrap();
        assert_eq!(found.metainfo.info.raw(), sample.metainfo.info.raw());
        assert!(found.peers.contains(&addr(&seed)), "{:?}", found.peers);
        leech.shutdown().await;
        seed.shutdown().await;
    });
}

#[test]
fn a_seed_that_dials_us_is_enough() {
    run(async {
        let sample = sample();
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let leech = session(None);
        let mut waiting = leech.resolve(link(&sample, &[closed]), ResolveConfig::default());
        let seed = session(None);
        let add = AddTorrent {
            existing: Existing::Trust,
            ..sample.add(sample.dir.path(), &[addr(&leech)])
        };
        let _torrent = seed.add(add).await.unwrap();
        let found = waiting.outcome().await.unwrap();
        assert_eq!(found.metainfo.info.raw(), sample.metainfo.info.raw());
        assert_eq!(found.peers, [addr(&seed)], "where it listens, not where it dialled from");
        leech.shutdown().await;
        seed.shutdown().await;
    });
}

#[test]
fn a_peer_that_answers_with_the_other_hash_of_a_hybrid_is_heard() {
    run(async {
        let sample = sample_of(Kind::Hybrid);
        let info = sample.metainfo.info.clone();
        let hashes = info.hashes();
        let other = hashes.v2().unwrap().truncated();
        let peer = move |stream| {
            let len = u32::try_from(info.raw().len()).unwrap();
            let mut peer = Fake::meet(stream, &has_metadata(len), Some(other))?;
            loop {
                peer.give(info.raw())?;
            }
        };
        for known in [hashes, InfoHashes::v1_only(hashes.v1().unwrap())] {
            let leech = session(None);
            let mut magnet = link(&sample, &[fake(peer.clone())]);
            magnet.hashes = known;
            let found = resolve(&leech, magnet, 20).await.unwrap();
            assert_eq!(found.metainfo.info.raw(), sample.metainfo.info.raw());
            leech.shutdown().await;
        }
    });
}

#[test]
fn a_download_goes_on_with_a_peer_that_answers_with_the_other_hash_of_a_hybrid() {
    run(async {
        let sample = sample_of(Kind::Hybrid);
        let other = sample.metainfo.info.hashes().v2().unwrap().truncated();
        let (heard, wait) = tokio::sync::oneshot::channel();
        let peer = fake(move |stream| {
            let mut peer = Fake::meet(stream, &ExtensionHandshake::default(), Some(other))?;
            let first = peer.hear()?;
            // Fails only if the test is over.
            let _ = heard.send(first);
            Ok(())
        });
        let (leech, dir) = (session(None), tempfile::tempdir().unwrap());
        let _torrent = leech.add(sample.add(dir.path(), &[peer])).await.unwrap();
        // Dropped without a word if the handshake is not taken for one.
        wait.await.unwrap();
        leech.shutdown().await;
    });
}
