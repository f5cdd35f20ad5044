//! Rate limits, connection limits and IP filters of sessions on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

mod support;

use samara_engine::{
    IpFilter, RateLimits, ResolveConfig, ResolveError, Session, SessionConfig, State,
};
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use support::fake::{gossip, link, resolve};
use support::{Sample, addr, config, down, run, session, until, up};

fn loopback() -> IpFilter {
    IpFilter::parse(b"127.0.0.0/8\n").0
}

/// Seeds both, downloads both in one session under `limits`, and gives how much of the second was there when the first was
/// complete.
async fn race(session: &Session, first: &Sample, second: &Sample) -> u64 {
    let (seed_a, _a) = first.seed().await;
    let (seed_b, _b) = second.seed().await;
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let one = session.add(first.add(dirs[0].path(), &[addr(&seed_a)])).await.unwrap();
    let other = session.add(second.add(dirs[1].path(), &[addr(&seed_b)])).await.unwrap();
    until(&one, |s| s.state == State::Seeding).await;
    let there = other.status().stats.have_bytes;
    until(&other, |s| s.state == State::Seeding).await;
    second.assert_same(dirs[1].path());
    seed_a.shutdown().await;
    seed_b.shutdown().await;
    there
}

#[test]
fn two_torrents_share_a_limit_and_it_is_kept() {
    run(async {
        let samples = [Sample::single(1_500_000, 16 * 1024), Sample::single(1_500_001, 16 * 1024)];
        let session = session(None);
        session.set_limits(down(1_500_000));
        let began = Instant::now();
        let there = race(&session, &samples[0], &samples[1]).await;
        // 3 MB and what the protocol adds, less what idleness saved up: never faster than the limit.
        assert!(began.elapsed() > Duration::from_millis(1700), "{:?}", began.elapsed());
        assert!(there > 500_000, "of the other were there {there}");
        session.shutdown().await;
    });
}

#[test]
fn a_torrent_has_a_limit_of_its_own_that_can_be_lifted() {
    run(async {
        let sample = Sample::single(3_000_000, 16 * 1024);
        let (seed, torrent) = sample.seed().await;
        // A block in two minutes, but for what idleness saved up.
        torrent.set_limits(up(128));
        let (dir, session) = (tempfile::tempdir().unwrap(), session(None));
        let download = session.add(sample.add(dir.path(), &[addr(&seed)])).await.unwrap();
        until(&download, |s| s.stats.have_bytes > 0).await;
        assert_eq!(torrent.limits(), up(128));
        assert!(download.status().stats.have_bytes < 1_000_000);
        // Who waits for that block is told.
        torrent.set_limits(RateLimits::default());
        until(&download, |s| s.state == State::Seeding).await;
        sample.assert_same(dir.path());
        session.shutdown().await;
        seed.shutdown().await;
    });
}

#[test]
fn the_local_network_is_exempt() {
    run(async {
        let sample = Sample::single(3_000_000, 64 * 1024);
        let (seed, _torrent) = sample.seed().await;
        let config = SessionConfig { limit_local: false, limits: down(1), ..config(None) };
        let session = Session::start(config).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let download = session.add(sample.add(dir.path(), &[addr(&seed)])).await.unwrap();
        until(&download, |s| s.state == State::Seeding).await;
        session.shutdown().await;
        seed.shutdown().await;
    });
}

// Elsewhere 127.0.0.1 alone is an address of the machine.
#[cfg(target_os = "linux")]
#[test]
fn who_is_blocked_is_not_dialled_and_others_are() {
    run(async {
        let sample = Sample::single(1_000_000, 16 * 1024);
        let blocked = std::net::TcpListener::bind("127.0.0.2:0").unwrap();
        blocked.set_nonblocking(true).unwrap();
        let (seed, _torrent) = sample.seed().await;
        let ip_filter = IpFilter::parse(b"127.0.0.2\n").0;
        let session = Session::start(SessionConfig { ip_filter, ..config(None) }).unwrap();
        let (dir, peers) =
            (tempfile::tempdir().unwrap(), [blocked.local_addr().unwrap(), addr(&seed)]);
        let download = session.add(sample.add(dir.path(), &peers)).await.unwrap();
        until(&download, |s| s.state == State::Seeding).await;
        let nobody = blocked.accept().unwrap_err();
        assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock);
        session.shutdown().await;
        seed.shutdown().await;
    });
}

#[test]
fn who_is_blocked_is_turned_away_before_a_word() {
    run(async {
        let sample = Sample::single(100_000, 16 * 1024);
        let (seed, _torrent) = sample.seed().await;
        seed.set_ip_filter(loopback());
        // Nothing was sent, and the connection ends all the same.
        assert_eq!(ended(addr(&seed)), 0);
        seed.shutdown().await;
    });
}

#[test]
fn a_filter_ends_the_connections_that_there_are() {
    run(async {
        let sample = Sample::single(3_000_000, 16 * 1024);
        let (seed, torrent) = sample.seed().await;
        torrent.set_limits(up(128));
        let (dir, session) = (tempfile::tempdir().unwrap(), session(None));
        let download = session.add(sample.add(dir.path(), &[addr(&seed)])).await.unwrap();
        until(&download, |s| s.stats.peers == 1).await;
        until(&torrent, |s| s.stats.peers == 1).await;
        session.set_ip_filter(loopback());
        until(&download, |s| s.stats.peers == 0).await;
        until(&torrent, |s| s.stats.peers == 0).await;
        session.shutdown().await;
        seed.shutdown().await;
    });
}

#[test]
fn a_filter_ends_the_connections_by_which_a_link_is_resolved() {
    run(async {
        let sample = Sample::single(100_000, 16 * 1024);
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        // One who has no metadata and names others may stay for 80 s.
        let (at, left) = gossip(other.local_addr().unwrap(), 1);
        let session = session(None);
        let config = ResolveConfig { peers: vec![at], ..ResolveConfig::default() };
        let resolving = session.resolve(link(&sample, &[]), config);
        // Whom it named is dialled.
        tokio::task::spawn_blocking(move || other.accept().unwrap()).await.unwrap();
        session.set_ip_filter(loopback());
        let left = move || left.recv_timeout(Duration::from_secs(60)).expect("it is left");
        tokio::task::spawn_blocking(left).await.unwrap();
        drop(resolving);
        session.shutdown().await;
    });
}

#[test]
fn a_link_is_resolved_within_the_limits() {
    run(async {
        let sample = Sample::single(8_000_000, 16 * 1024);
        let (seed, _torrent) = sample.seed().await;
        let session = session(None);
        // A KiB in a quarter of an hour.
        session.set_limits(down(1));
        let late = resolve(&session, link(&sample, &[addr(&seed)]), 2).await.unwrap_err();
        assert!(matches!(late, ResolveError::Timeout { .. }), "{late}");
        session.set_limits(RateLimits::default());
        resolve(&session, link(&sample, &[addr(&seed)]), 30).await.unwrap();
        session.shutdown().await;
        seed.shutdown().await;
    });
}

#[test]
fn the_last_place_is_taken_and_the_next_peer_turned_away() {
    run(async {
        let sample = Sample::single(3_000_000, 16 * 1024);
        let (seed, _torrent) = sample.seed().await;
        let other = Session::start(SessionConfig { max_peers: 1, ..config(None) }).unwrap();
        other.set_limits(RateLimits { down: Some(1), up: Some(1) });
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let first = other.add(sample.add(dirs[0].path(), &[addr(&seed)])).await.unwrap();
        until(&first, |s| s.stats.peers == 1).await;
        let late = session(None);
        let second = late.add(sample.add(dirs[1].path(), &[addr(&other)])).await.unwrap();
        until(&second, |s| s.state == State::Downloading).await;
        // It hangs up on a handshake that is right.
        assert_eq!(shaken(addr(&other), &sample), 0);
        assert_eq!((first.status().stats.peers, second.status().stats.peers), (1, 0));
        for session in [late, other, seed] {
            session.shutdown().await;
        }
    });
}

/// Bytes that come from `addr` until it ends the connection, to somebody who says nothing.
fn ended(addr: SocketAddr) -> usize {
    let stream = TcpStream::connect(addr).unwrap();
    rest(stream)
}

/// The same, to somebody who shakes hands.
fn shaken(addr: SocketAddr, sample: &Sample) -> usize {
    use samara_engine::wire::id::PeerId;
    use samara_engine::wire::peer::handshake::{Handshake, Reserved};
    let hash = sample.metainfo.info.hashes().wire();
    let ours = Handshake { reserved: Reserved::OURS, info_hash: hash, peer_id: PeerId([7; 20]) };
    let mut stream = TcpStream::connect(addr).unwrap();
    std::io::Write::write_all(&mut stream, &ours.encode()).unwrap();
    rest(stream)
}

fn rest(mut stream: TcpStream) -> usize {
    // Longer than any test may take.
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => bytes.len(),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => bytes.len(),
        Err(error) => panic!("it does not end the connection: {error}"),
    }
}
