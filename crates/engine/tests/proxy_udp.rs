//! Datagrams by way of a SOCKS5 proxy: uTP, UDP trackers and the DHT go by its relay and by nothing else, whatever it does.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

mod support;

use samara_engine::probe::{announce_all, scrape_all};
use samara_engine::tracker_server::{TrackerServer, TrackerServerConfig};
use samara_engine::wire::magnet::Magnet;
use samara_engine::wire::metainfo::Metainfo;
use samara_engine::{
    AddTorrent, DhtConfig, Egress, Existing, RateLimits, ResolveConfig, ResolveError, Session,
    SessionConfig, State, Torrent,
};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::proxy::{Manner, PASSWORD, Proxy, Relay, USER, wrapped};
use support::{Sample, addr, config, run, until, up};

/// Longer than any test may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn by(login: &str, proxy: &Proxy) -> Egress {
    let url = format!("socks5://{login}{}", proxy.addr);
    Egress { proxy: Some(url.parse().unwrap()), ..Egress::default() }
}

/// A session whose only way is `proxy`, in the DHT of these routers.
fn session(login: &str, proxy: &Proxy, routers: &[String]) -> Session {
    let dht = Some(DhtConfig { routers: routers.to_vec(), ..DhtConfig::default() });
    let proxy = by(login, proxy).proxy;
    Session::start(SessionConfig { dht, proxy, bind: Vec::new(), ..config(None) }).unwrap()
}

/// The same, speaking with peers by uTP alone.
fn by_utp(proxy: &Proxy) -> Session {
    let proxy = by("", proxy).proxy;
    Session::start(SessionConfig { tcp: false, proxy, bind: Vec::new(), ..config(None) }).unwrap()
}

/// Seeds by uTP alone, without a proxy.
async fn utp_seed(sample: &Sample) -> (Session, Torrent) {
    let session = Session::start(SessionConfig { tcp: false, ..config(None) }).unwrap();
    let add = AddTorrent { existing: Existing::Check, ..sample.add(sample.dir.path(), &[]) };
    let torrent = session.add(add).await.unwrap();
    until(&torrent, |s| s.state == State::Seeding).await;
    (session, torrent)
}

fn announced_to(sample: &Sample, url: String) -> AddTorrent {
    let metainfo = Metainfo { trackers: vec![vec![url]], ..sample.metainfo.clone() };
    AddTorrent { metainfo, announce: true, ..sample.add(sample.dir.path(), &[]) }
}

fn tracker(sample: &Sample) -> TrackerServer {
    TrackerServer::start(TrackerServerConfig {
        bind: vec![(Ipv4Addr::LOCALHOST, 0).into()],
        interval: Duration::from_secs(60),
        allow: vec![sample.metainfo.info.hashes().wire()],
        files: Vec::new(),
    })
    .unwrap()
}

fn socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

fn assert_untouched(canary: &UdpSocket) {
    let error = canary.recv_from(&mut [0; 9]).expect_err("a datagram came past the proxy");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_download_by_utp_both_ways_with_a_password() {
    run(async {
        let sample = Sample::single(3_000_000, 64 * 1024);
        let (seed, seeding) = utp_seed(&sample).await;
        let (proxy, relay) = Proxy::carrying(Manner::Guarded);
        let proxied = by(&format!("{USER}:{PASSWORD}@"), &proxy).proxy;
        let utp = SessionConfig { tcp: false, bind: Vec::new(), ..config(None) };
        let leech = Session::start(SessionConfig { proxy: proxied, ..utp }).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let torrent = leech.add(sample.add(dir.path(), &[addr(&seed)])).await.unwrap();
        until(&torrent, |s| s.state == State::Seeding).await;
        sample.assert_same(dir.path());
        let peers = seeding.peers().await;
        assert!(peers.iter().all(|peer| peer.addr == relay.outside()), "{peers:?}");
        assert!(relay.has_sent_to(&addr(&seed).to_string()));
        // Who dials where its datagrams come from reaches it.
        let other = Session::start(SessionConfig { tcp: false, ..config(None) }).unwrap();
        let into = tempfile::tempdir().unwrap();
        let download = other.add(sample.add(into.path(), &[relay.outside()])).await.unwrap();
        until(&download, |s| s.state == State::Seeding).await;
        sample.assert_same(into.path());
        other.shutdown().await;
        leech.shutdown().await;
        seed.shutdown().await;
    });
}

#[test]
fn udp_trackers_are_asked_by_names_that_the_proxy_resolves() {
    run(async {
        let sample = Sample::single(100_000, 16 * 1024);
        let tracker = tracker(&sample);
        let (proxy, relay) = Proxy::carrying(Manner::Open);
        let name = format!("tracker.invalid:{}", tracker.port());
        let url = format!("udp://{name}/announce");
        let leech = session("", &proxy, &[]);
        let torrent = leech.add(announced_to(&sample, url.clone())).await.unwrap();
        until(&torrent, |s| s.trackers_answered == 1).await;
        assert!(relay.has_sent_to(&name));
        assert!(relay.has_sent_to(&format!("127.0.0.1:{}", tracker.port())), "once it is known");
        leech.shutdown().await;
        tracker.shutdown();
    });
}

#[test]
fn one_shot_commands_ask_udp_trackers_through_the_proxy() {
    run(async {
        let sample = Sample::single(100_000, 16 * 1024);
        let tracker = tracker(&sample);
        let (proxy, relay) = Proxy::carrying(Manner::Open);
        let name = format!("tracker.invalid:{}", tracker.port());
        let url = format!("udp://{name}/announce");
        let metainfo = Metainfo { trackers: vec![vec![url.clone()]], ..sample.metainfo.clone() };
        let answers = announce_all(&metainfo, &by("", &proxy), PATIENCE).await;
        assert!(answers.len() == 1 && answers[0].1.is_ok(), "{answers:?}");
        assert!(relay.has_sent_to(&name));
        let hash = sample.metainfo.info.hashes().wire();
        let counts = scrape_all(vec![(url.clone(), vec![hash])], &by("", &proxy), PATIENCE).await;
        assert!(matches!(&counts[..], [Ok(stats)] if stats.len() == 1), "{counts:?}");
        // They may be told not to.
        let streams = Egress { proxy_udp: false, ..by("", &proxy) };
        let error = announce_all(&metainfo, &streams, PATIENCE).await.remove(0).1.unwrap_err();
        assert!(error.contains("carries no datagrams"), "{error}");
        tracker.shutdown();
    });
}

#[test]
fn peers_are_found_by_the_dht_through_the_proxy() {
    run(async {
        let sample = Sample::single(300_000, 16 * 1024);
        let node = |routers: &[SocketAddr]| {
            let routers = routers.iter().map(ToString::to_string).collect();
            let dht = Some(DhtConfig { routers, ..DhtConfig::default() });
            Session::start(SessionConfig { dht, ..config(None) }).unwrap()
        };
        let first = node(&[]);
        let seed = node(&[addr(&first)]);
        let add = AddTorrent { existing: Existing::Check, ..sample.add(sample.dir.path(), &[]) };
        let torrent = seed.add(add).await.unwrap();
        until(&torrent, |s| s.state == State::Seeding).await;
        let (proxy, relay) = Proxy::carrying(Manner::Open);
        let router = format!("router.invalid:{}", first.port());
        let leech = session("", &proxy, std::slice::from_ref(&router));
        let magnet = Magnet::new(sample.metainfo.info.hashes());
        let resolve = ResolveConfig { timeout: PATIENCE, ..ResolveConfig::default() };
        let found = leech.resolve(magnet, resolve).outcome().await.unwrap();
        assert_eq!(found.metainfo.info.hashes(), sample.metainfo.info.hashes());
        assert!(relay.has_sent_to(&router));
        // It announces where its datagrams come from: nobody could reach it by TCP.
        let hash = sample.metainfo.info.hashes().wire();
        let dir = tempfile::tempdir().unwrap();
        let add = AddTorrent { peers: found.peers, ..AddTorrent::new(found.metainfo, dir.path()) };
        let torrent = leech.add(add).await.unwrap();
        until(&torrent, |s| s.state == State::Seeding).await;
        sample.assert_same(dir.path());
        let announced = async || {
            while !first.dht().unwrap().peers(hash).await.unwrap().contains(&relay.outside()) {}
        };
        // With another address than the seed: of one address, one peer is told.
        if relay.outside().ip() != addr(&seed).ip() {
            tokio::time::timeout(PATIENCE, announced()).await.expect("it is announced");
        }
        for session in [leech, seed, first] {
            session.shutdown().await;
        }
    });
}

#[test]
fn a_proxy_that_refuses_carries_streams_all_the_same() {
    run(async {
        let sample = Sample::single(300_000, 16 * 1024);
        let (seed, _seeding) = sample.seed().await;
        let mut proxy = Proxy::new(Manner::Open);
        let (canary, at) = socket();
        let leech = session("", &proxy, &[at.to_string()]);
        assert_eq!(proxy.associated.recv().await, Some(false));
        // Nobody is left to ask, which is said at once.
        let magnet = Magnet::new(sample.metainfo.info.hashes());
        let lost = leech.resolve(magnet, ResolveConfig::default()).outcome().await.unwrap_err();
        assert!(matches!(lost, ResolveError::NobodyToAsk), "{lost}");
        let mut add = announced_to(&sample, format!("udp://{at}/announce"));
        let dir = tempfile::tempdir().unwrap();
        (add.peers, add.dir) = (vec![addr(&seed)], dir.path().to_owned());
        let torrent = leech.add(add).await.unwrap();
        let status = until(&torrent, |s| s.tracker_error.is_some()).await;
        let error = status.tracker_error.unwrap();
        assert!(
            error.contains("carries no datagrams: the proxy refuses: it does not know"),
            "{error}"
        );
        until(&torrent, |s| s.state == State::Seeding).await;
        sample.assert_same(dir.path());
        leech.shutdown().await;
        seed.shutdown().await;
        assert_untouched(&canary);
    });
}

#[test]
fn when_the_connection_to_the_proxy_ends_nothing_is_sent_until_another_stands() {
    run(async {
        let sample = Sample::single(3_000_000, 64 * 1024);
        let (seed, _seeding) = utp_seed(&sample).await;
        seed.set_limits(up(1_000_000));
        let (mut proxy, relay) = Proxy::carrying(Manner::Open);
        let leech = by_utp(&proxy);
        let dir = tempfile::tempdir().unwrap();
        let torrent = leech.add(sample.add(dir.path(), &[addr(&seed)])).await.unwrap();
        until(&torrent, |s| s.stats.have_bytes > 0).await;
        assert_eq!(proxy.associated.recv().await, Some(true));
        relay.is_away.store(true, Ordering::Relaxed);
        proxy.drop_all();
        // That it asks again tells that it has noticed.
        assert_eq!(proxy.associated.recv().await, Some(false));
        let before = relay.carried();
        until(&torrent, |s| s.stats.peers == 0).await;
        let (other, _other_seeding) = utp_seed(&sample).await;
        torrent.add_peers(vec![addr(&other)]);
        assert_eq!(proxy.associated.recv().await, Some(false));
        assert_eq!(relay.carried(), before, "datagrams without an association");
        assert!(!relay.has_sent_to(&addr(&other).to_string()));
        relay.is_away.store(false, Ordering::Relaxed);
        assert_eq!(proxy.associated.recv().await, Some(true));
        seed.set_limits(RateLimits::default());
        until(&torrent, |s| s.state == State::Seeding).await;
        sample.assert_same(dir.path());
        for session in [leech, seed, other] {
            session.shutdown().await;
        }
    });
}

// Elsewhere 127.0.0.1 alone is an address of the machine.
#[cfg(target_os = "linux")]
#[test]
fn a_relay_elsewhere_is_not_believed() {
    run(async {
        let sample = Sample::single(300_000, 16 * 1024);
        let (seed, seeding) = utp_seed(&sample).await;
        let relay = Relay::new("127.0.0.9:0");
        relay.carry();
        let port = relay.inner.local_addr().unwrap().port();
        let canary = UdpSocket::bind(("127.0.0.9", port)).unwrap();
        canary.set_nonblocking(true).unwrap();
        let proxy = Proxy::with(Manner::Open, Some(Arc::clone(&relay)));
        let leech = by_utp(&proxy);
        let dir = tempfile::tempdir().unwrap();
        let torrent = leech.add(sample.add(dir.path(), &[addr(&seed)])).await.unwrap();
        until(&torrent, |s| s.state == State::Seeding).await;
        sample.assert_same(dir.path());
        assert!(seeding.peers().await.iter().all(|peer| peer.addr == relay.outside()));
        assert_untouched(&canary);
        leech.shutdown().await;
        seed.shutdown().await;
    });
}

#[test]
fn what_is_no_whole_datagram_of_the_relay_is_dropped() {
    run(async {
        let sample = Sample::single(100_000, 16 * 1024);
        let relay = Relay::new("0.0.0.0:0");
        let proxy = Proxy::with(Manner::Open, Some(Arc::clone(&relay)));
        let leech = by_utp(&proxy);
        let add = announced_to(&sample, "udp://tracker.invalid:7/announce".to_owned());
        let torrent = leech.add(add).await.unwrap();
        let playing = std::thread::spawn(move || play_tracker(&relay));
        let status = until(&torrent, |s| s.trackers_answered == 1).await;
        assert_eq!(status.tracker_error, None);
        playing.join().unwrap();
        leech.shutdown().await;
    });
}

/// Answers a connect and an announce, each after much that is no answer.
fn play_tracker(relay: &Relay) {
    let at: SocketAddr = "192.0.2.7:7".parse().unwrap();
    let (stranger, _) = socket();
    let (client, to, connect) = relay.next();
    assert_eq!(to, "tracker.invalid:7");
    let answer = |action: u8, asked: &[u8], rest: &[u8]| {
        [&[0, 0, 0, action][..], &asked[12..16], rest].concat()
    };
    let send = |datagram: &[u8]| relay.inner.send_to(datagram, client).unwrap();
    let wrong = wrapped(at, &answer(3, &connect, b"wrong"));
    stranger.send_to(&wrong, client).unwrap();
    send(&[&[0, 0, 1], &wrong[3..]].concat());
    send(&[&[1, 0, 0], &wrong[3..]].concat());
    send(&[&[0, 0, 0, 9], &wrong[4..]].concat());
    send(&answer(3, &connect, b"wrong"));
    (0..wrong.len().min(12)).for_each(|len| {
        send(&wrong[..len]);
    });
    send(&wrapped("192.0.2.7:0".parse().unwrap(), &answer(3, &connect, b"wrong")));
    send(&wrapped(at, &answer(0, &connect, b"connects")));
    let (_, to, announce) = relay.next();
    assert_eq!((&to[..], &announce[..8]), ("192.0.2.7:7", &b"connects"[..]));
    // Now its address is known.
    let other = "192.0.2.8:7".parse().unwrap();
    send(&wrapped(other, &answer(3, &announce, b"wrong")));
    let counts = [&1800_u32.to_be_bytes()[..], &[0; 8]].concat();
    send(&wrapped(at, &answer(1, &announce, &counts)));
}
