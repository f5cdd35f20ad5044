//! Connections in virtual time, each with a meter.

use super::*;
use std::time::Duration;

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn down(rate: u64) -> RateLimits {
    RateLimits { down: Some(rate), up: None }
}

fn session(limits: RateLimits) -> Arc<SessionLimits> {
    let config = SessionConfig { limits, ..SessionConfig::default() };
    SessionLimits::new(&config, Clock::new())
}

fn torrent(session: &Arc<SessionLimits>) -> Arc<TorrentLimits> {
    TorrentLimits::new(session, RateLimits::default())
}

/// Connections that always have something to read, from `start` for so many seconds, with timers a millisecond late. Each
/// reads up to 64 KiB at a time. What each has read.
fn run(meters: &[Meter], start: Instant, secs: u64) -> Vec<u64> {
    let mut moved = vec![0; meters.len()];
    for step in 0..secs * 1000 {
        let now = start + Duration::from_millis(step);
        for (meter, moved) in meters.iter().zip(&mut moved) {
            while let Some(granted) = meter.ask(now, 0) {
                let bytes = granted.min(64 << 10);
                meter.moved(bytes);
                *moved += bytes as u64;
            }
        }
    }
    moved
}

fn near(got: u64, want: u64) -> bool {
    got.abs_diff(want) * 100 <= want * 3
}

#[test]
fn two_torrents_share_the_limit_of_the_session() {
    let session = session(down(1_000_000));
    let meters = [torrent(&session), torrent(&session)].map(|torrent| torrent.meters(PEER).down);
    let moved = run(&meters, session.clock.now(), 10);
    assert!(moved.iter().all(|moved| near(*moved, 5_000_000)), "{moved:?}");
}

#[test]
fn a_torrent_keeps_to_its_own_limit_and_leaves_the_rest_to_others() {
    let session = session(down(1_000_000));
    let (slow, quick) = (torrent(&session), torrent(&session));
    slow.set(down(200_000));
    let meters = [&slow, &slow, &quick].map(|torrent| torrent.meters(PEER).down);
    let moved = run(&meters, session.clock.now(), 10);
    assert!(near(moved[0] + moved[1], 2_000_000) && near(moved[2], 8_000_000), "{moved:?}");
    assert!(near(moved[0], moved[1]), "{moved:?}");
}

#[test]
fn a_change_holds_at_once_for_those_who_wait_too() {
    let session = session(down(10));
    let meters = [torrent(&session), torrent(&session)].map(|torrent| torrent.meters(PEER).down);
    let now = session.clock.now();
    assert!(run(&meters, now, 1).iter().sum::<u64>() < 5000);
    assert!(meters.iter().all(|meter| meter.next_turn().is_some()));
    session.change(Minute::now(), |wanted| wanted.usual = down(1_000_000));
    let later = now + Duration::from_secs(1);
    let moved = run(&meters, later, 10);
    assert!(near(moved.iter().sum(), 10_000_000), "{moved:?}");
    session.change(Minute::now(), |wanted| wanted.usual = RateLimits::default());
    assert!(meters.iter().all(|meter| meter.ask(later, 0) == Some(usize::MAX)));
}

#[test]
fn the_local_network_is_exempt_unless_the_user_says_otherwise() {
    let exempt = torrent(&session(down(10)));
    exempt.set(down(10));
    let config = SessionConfig { limits: down(10), limit_local: true, ..SessionConfig::default() };
    let bound = torrent(&SessionLimits::new(&config, Clock::new()));
    for ip in [LOCAL, "192.168.1.7".parse().unwrap(), "fd00::1".parse().unwrap()] {
        assert!(!exempt.meters(ip).down.binds(), "{ip}");
        assert!(bound.meters(ip).down.binds(), "{ip}");
    }
    assert!(exempt.meters(PEER).down.binds());
    // Only one way is limited.
    assert!(!exempt.meters(PEER).up.binds());
}

#[test]
fn what_is_moved_out_of_turn_is_paid_for_and_what_is_left_is_given_back() {
    let session = session(down(100_000));
    let torrent = torrent(&session);
    let (talker, reader) = (torrent.meters(PEER).down, torrent.meters(PEER).down);
    let start = session.clock.now();
    // What idleness saved up.
    assert!(talker.ask(start, 10_000).is_some());
    talker.moved(10_000);
    talker.moved(50_000);
    assert_eq!(reader.ask(start, 0), None);
    assert_eq!(reader.next_turn(), Some(start + Duration::from_millis(500)));
    drop(reader);
    let next = torrent.meters(PEER).down;
    assert_eq!(next.ask(start, 0), None);
    assert_eq!(next.next_turn(), Some(start + Duration::from_millis(500)));
}

#[test]
fn headers_count_if_they_are_to() {
    let config =
        SessionConfig { limits: down(1_000_000), limit_overhead: true, ..SessionConfig::default() };
    let session = SessionLimits::new(&config, Clock::new());
    let meters = [torrent(&session).meters(PEER).down];
    let moved = run(&meters, session.clock.now(), 10);
    // 1448 of 1500 bytes are payload; a part of a packet has all of its headers.
    assert!(moved[0] < 9_750_000 && moved[0] > 9_500_000, "{moved:?}");
}
