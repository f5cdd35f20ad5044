//! Sessions whose only way is a proxy: what works through it, and that nothing passes beside it, whatever it does.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use samara_engine::probe::{check_proxy, fetch_piece, fetch_torrent, handshake};
use samara_engine::tracker_server::{TrackerServer, TrackerServerConfig};
use samara_engine::wire::id::PieceIndex;
use samara_engine::wire::metainfo::Metainfo;
use samara_engine::{AddTorrent, DhtConfig, Egress, RateLimits, Session, SessionConfig, State};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;
use support::proxy::{Manner, PASSWORD, Proxy, USER};
use support::{Sample, addr, config, run, until, up};

/// Longer than any test may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A way that is `proxy` alone.
fn by(scheme: &str, login: &str, proxy: SocketAddr) -> Egress {
    Egress {
        proxy: Some(format!("{scheme}://{login}{proxy}").parse().unwrap()),
        ..Egress::default()
    }
}

/// A session by that way, with everything turned on that would pass beside it.
fn session(egress: Egress) -> Session {
    let dht = Some(DhtConfig { routers: vec!["127.0.0.1:9".to_owned()], read_only: false });
    let on = SessionConfig { dht, local_discovery: true, port_mapping: true, ..config(None) };
    Session::start(SessionConfig { bind: egress.bind, proxy: egress.proxy, ..on }).unwrap()
}

/// Somebody whom nobody is to connect to.
fn canary() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

fn assert_untouched(canary: &TcpListener) {
    let error = canary.accept().expect_err("somebody came past the proxy");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}

fn announced_to(sample: &Sample, url: String) -> AddTorrent {
    let metainfo = Metainfo { trackers: vec![vec![url]], ..sample.metainfo.clone() };
    AddTorrent { metainfo, announce: true, ..sample.add(sample.dir.path(), &[]) }
}

async fn download_by(scheme: &str) {
    let sample = Sample::single(3_000_000, 64 * 1024);
    let (seed, seeding) = sample.seed().await;
    let mut proxy = Proxy::new(Manner::Guarded);
    let leech = session(by(scheme, &format!("{USER}:{PASSWORD}@"), proxy.addr));
    assert_eq!(leech.dht().is_some(), scheme == "socks5", "an HTTP proxy carries no datagrams");
    let dir = tempfile::tempdir().unwrap();
    let torrent = leech.add(sample.add(dir.path(), &[addr(&seed)])).await.unwrap();
    until(&torrent, |s| s.state == State::Seeding).await;
    sample.assert_same(dir.path());
    assert_eq!(proxy.asked.recv().await.unwrap(), addr(&seed).to_string());
    let peers = seeding.peers().await;
    assert!(peers.iter().all(|peer| proxy.was_at(peer.addr)), "the seed sees only the proxy");
    leech.shutdown().await;
    seed.shutdown().await;
}

#[test]
fn a_download_through_socks_with_a_password() {
    run(download_by("socks5"));
}

#[test]
fn a_download_through_http_with_a_password() {
    run(download_by("http"));
}

#[test]
fn trackers_and_torrents_are_asked_by_names_that_the_proxy_resolves() {
    run(async {
        let sample = Sample::single(100_000, 16 * 1024);
        let (seed, _torrent) = sample.seed().await;
        let tracker = TrackerServer::start(TrackerServerConfig {
            bind: vec![(Ipv4Addr::LOCALHOST, 0).into()],
            interval: Duration::from_secs(60),
            allow: vec![sample.metainfo.info.hashes().wire()],
            files: vec![("a.torrent".to_owned(), sample.metainfo.to_bytes())],
        })
        .unwrap();
        let mut proxy = Proxy::new(Manner::Open);
        let egress = by("socks5", "", proxy.addr);
        let name = format!("tracker.invalid:{}", tracker.port());
        let got = fetch_torrent(&format!("http://{name}/a.torrent"), &egress, PATIENCE).await;
        assert_eq!(got.unwrap(), sample.metainfo.to_bytes());
        assert_eq!(proxy.asked.recv().await.unwrap(), name);
        let leech = session(egress);
        let add = announced_to(&sample, format!("http://{name}/announce"));
        let torrent = leech.add(add).await.unwrap();
        until(&torrent, |s| s.trackers_answered == 1).await;
        assert_eq!(proxy.asked.recv().await.unwrap(), name);
        leech.shutdown().await;
        seed.shutdown().await;
        tracker.shutdown();
    });
}

#[test]
fn one_shot_commands_go_through_the_proxy() {
    run(async {
        let sample = Sample::single(100_000, 16 * 1024);
        let (seed, _torrent) = sample.seed().await;
        let mut proxy = Proxy::new(Manner::Open);
        let egress = by("socks5h", "", proxy.addr);
        let hash = sample.metainfo.info.hashes().wire();
        let said = handshake(addr(&seed), hash, &egress, PATIENCE).await.unwrap();
        assert_eq!(said.peer_id, seed.peer_id());
        let info = &sample.metainfo.info;
        let got = fetch_piece(&[addr(&seed)], info, PieceIndex(1), &egress, PATIENCE).await;
        assert_eq!(got.unwrap(), sample.bytes()[16 * 1024..32 * 1024]);
        for _ in 0..2 {
            assert_eq!(proxy.asked.recv().await.unwrap(), addr(&seed).to_string());
        }
        seed.shutdown().await;
    });
}

#[test]
fn whom_the_proxy_refuses_is_not_reached_otherwise() {
    run(async {
        for scheme in ["socks5", "http"] {
            let sample = Sample::single(100_000, 16 * 1024);
            let mut proxy = Proxy::new(Manner::Refusing);
            let egress = by(scheme, "", proxy.addr);
            check_proxy(&egress, PATIENCE).await.expect("the proxy itself is well");
            proxy.asked.recv().await.unwrap();
            let (listener, canary) = canary();
            let hash = sample.metainfo.info.hashes().wire();
            let error = handshake(canary, hash, &egress, PATIENCE).await.unwrap_err().to_string();
            assert!(error.contains("the proxy refuses: "), "{error}");
            assert_eq!(proxy.asked.recv().await.unwrap(), canary.to_string());
            assert_untouched(&listener);
        }
    });
}

#[test]
fn a_wrong_password_a_dead_proxy_and_a_stranger_are_told_and_nobody_is_reached() {
    run(async {
        let sample = Sample::single(100_000, 16 * 1024);
        let guarded = Proxy::new(Manner::Guarded);
        let (_, dead) = canary();
        for (scheme, login, at, told) in [
            ("socks5", "me:wrong@", guarded.addr, "refuses the user and the password"),
            ("socks5", "", guarded.addr, "give it a user and a password"),
            ("http", "me:wrong@", guarded.addr, "wants a user and a password"),
            ("socks5", "", dead, "cannot be reached"),
            ("http", "", dead, "cannot be reached"),
        ] {
            let egress = by(scheme, login, at);
            let error = check_proxy(&egress, PATIENCE).await.unwrap_err().to_string();
            assert!(error.contains(told), "{scheme} {login}: {error}");
            let (listener, canary) = canary();
            let hash = sample.metainfo.info.hashes().wire();
            let error = handshake(canary, hash, &egress, PATIENCE).await.unwrap_err().to_string();
            assert!(error.contains(told), "{scheme} {login}: {error}");
            // A whole session: its tracker is where its peer is.
            let leech = session(egress);
            let mut add = announced_to(&sample, format!("http://{canary}/announce"));
            let dir = tempfile::tempdir().unwrap();
            (add.peers, add.dir) = (vec![canary], dir.path().to_owned());
            let torrent = leech.add(add).await.unwrap();
            let status = until(&torrent, |s| s.tracker_error.is_some()).await;
            let error = status.tracker_error.unwrap();
            assert!(error.contains("proxy"), "{scheme} {login}: {error}");
            assert_untouched(&listener);
            leech.shutdown().await;
            assert_untouched(&listener);
        }
    });
}

#[test]
fn a_proxy_that_dies_amid_a_transfer_is_the_only_way_afterwards() {
    run(async {
        let sample = Sample::single(3_000_000, 64 * 1024);
        let (seed, seeding) = sample.seed().await;
        seed.set_limits(up(1_000_000));
        let mut proxy = Proxy::new(Manner::Open);
        let leech = session(by("socks5", "", proxy.addr));
        let dir = tempfile::tempdir().unwrap();
        let torrent = leech.add(sample.add(dir.path(), &[addr(&seed)])).await.unwrap();
        until(&torrent, |s| s.stats.have_bytes > 0).await;
        proxy.asked.recv().await.unwrap();
        proxy.drop_all();
        until(&torrent, |s| s.stats.peers == 0).await;
        assert_ne!(torrent.status().state, State::Seeding);
        assert_eq!(proxy.asked.recv().await.unwrap(), addr(&seed).to_string());
        seed.set_limits(RateLimits::default());
        until(&torrent, |s| s.state == State::Seeding).await;
        sample.assert_same(dir.path());
        assert!(seeding.peers().await.iter().all(|peer| proxy.was_at(peer.addr)));
        leech.shutdown().await;
        seed.shutdown().await;
    });
}
