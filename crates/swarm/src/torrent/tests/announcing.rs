//! What trackers say, and what the user hears of it.

use super::*;
use crate::outbox::Announce;
use alloc::borrow::ToOwned;
use alloc::string::String;
use samara_wire::tracker::{AnnounceEvent, AnnounceResponse};

fn tiers(urls: &[&str]) -> Vec<Vec<String>> {
    urls.iter().map(|&url| vec![url.to_owned()]).collect()
}

/// A leech that is about to announce `started` to each of `urls`.
fn leech(urls: &[&str]) -> (Trace, Vec<Announce>) {
    let config = TorrentConfig { trackers: tiers(urls), ..TorrentConfig::default() };
    let layout = PieceLayout::contiguous(u64::from(PIECES * PIECE_LEN), PIECE_LEN);
    let hashes = InfoHashes::v1_only(InfoHashV1([9; 20]));
    let now = Instant::from_secs(1000);
    let torrent = Torrent::new(now, config, hashes, layout, Bitfield::empty(PIECES));
    let mut trace = Trace { torrent, now, out: Outbox::new(), peers: 0 };
    trace.torrent.handle_start(now, &mut trace.out);
    let announces = announces(&trace.effects());
    (trace, announces)
}

fn announces(effects: &[Effect]) -> Vec<Announce> {
    let announce = |effect: &Effect| match effect {
        Effect::Announce(announce) => Some((**announce).clone()),
        _ => None,
    };
    effects.iter().filter_map(announce).collect()
}

fn events(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::Event(_))).count()
}

fn answers(t: &mut Trace, announce: &Announce) -> Vec<Effect> {
    let response = AnnounceResponse {
        interval: Duration::from_secs(1800),
        peers: vec![SocketAddr::from(([80, 2, 0, 1], 6881))],
        ..AnnounceResponse::default()
    };
    t.torrent.handle_announced(t.now, announce.id, response, &mut t.out);
    t.effects()
}

#[test]
fn a_tracker_that_was_removed_is_told_so_and_not_heard_of_again() {
    let (mut t, started) = leech(&["http://a", "http://b"]);
    for announce in &started {
        assert_eq!(events(&answers(&mut t, announce)), 1);
    }
    t.torrent.handle_set_trackers(t.now, &[], &mut t.out);
    let effects = t.effects();
    let goodbyes = announces(&effects);
    assert!(goodbyes.iter().all(|a| a.request.event == AnnounceEvent::Stopped));
    assert_eq!(goodbyes.len(), 2);
    let told = answers(&mut t, &goodbyes[0]);
    let mut out = Outbox::new();
    t.torrent.handle_announce_failed(t.now, goodbyes[1].id, "gone".into(), None, &mut out);
    let failed: Vec<_> = out.drain().collect();
    assert_eq!((told, failed), (vec![], vec![]));
}

#[test]
fn the_answer_over_another_family_brings_peers_and_nothing_else() {
    let (mut t, started) = leech(&["http://a"]);
    answers(&mut t, &started[0]);
    let more = AnnounceResponse {
        interval: Duration::from_secs(1),
        peers: vec![SocketAddr::from(([80, 3, 0, 1], 6881))],
        ..AnnounceResponse::default()
    };
    let next = t.torrent.trackers().next().unwrap().next_announce;
    t.torrent.handle_more_announced(t.now, more.clone(), &mut t.out);
    assert_eq!(t.effects(), [Effect::Dial(more.peers[0])]);
    assert_eq!(t.torrent.trackers().next().unwrap().next_announce, next);
    assert!(!t.torrent.awaits_announce(started[0].id));
    t.torrent.handle_stop(t.now, &mut t.out);
    let goodbye = announces(&t.effects());
    answers(&mut t, &goodbye[0]);
    t.torrent.handle_more_announced(t.now, more, &mut t.out);
    assert_eq!(t.effects(), [], "too late");
}

/// A leech that listens on a port, and has a tracker.
fn listening_leech() -> (Trace, Announce) {
    let trackers = tiers(&["http://a"]);
    let config = TorrentConfig { trackers, listen_port: 6881, ..TorrentConfig::default() };
    let layout = PieceLayout::contiguous(u64::from(PIECES * PIECE_LEN), PIECE_LEN);
    let hashes = InfoHashes::v1_only(InfoHashV1([9; 20]));
    let now = Instant::from_secs(1000);
    let torrent = Torrent::new(now, config, hashes, layout, Bitfield::empty(PIECES));
    let mut trace = Trace { torrent, now, out: Outbox::new(), peers: 0 };
    trace.torrent.handle_start(now, &mut trace.out);
    let started = announces(&trace.effects()).remove(0);
    assert_eq!(started.request.port, 6881);
    (trace, started)
}

/// A tracker that asks for an announce each half hour answers.
fn answers_with(t: &mut Trace, announce: &Announce, min_interval: Option<u64>) -> Vec<Effect> {
    let response = AnnounceResponse {
        interval: Duration::from_secs(1800),
        min_interval: min_interval.map(Duration::from_secs),
        ..AnnounceResponse::default()
    };
    t.torrent.handle_announced(t.now, announce.id, response, &mut t.out);
    t.effects()
}

/// Seconds until the tracker is told, and which port.
fn told_within(t: &mut Trace, limit: u64) -> Option<(u64, u16)> {
    (0..=limit).find_map(|second| {
        let effects = if second == 0 { t.effects() } else { t.wait(Duration::from_secs(1)) };
        announces(&effects).first().map(|announce| (second, announce.request.port))
    })
}

#[test]
fn another_port_outside_is_told_to_trackers_as_soon_as_they_allow() {
    for (min_interval, wait) in [(None, 60), (Some(20), 20), (Some(900), 900)] {
        let (mut t, started) = listening_leech();
        answers_with(&mut t, &started, min_interval);
        t.torrent.handle_outside(t.now, 6881, None, &mut t.out);
        assert_eq!(announces(&t.effects()), [], "no news");
        t.torrent.handle_outside(t.now, 50_000, Some([203, 0, 113, 9].into()), &mut t.out);
        assert_eq!(told_within(&mut t, 1000), Some((wait, 50_000)));
    }
    // Of a tracker that was last asked long ago nothing has to be waited for.
    let (mut t, started) = listening_leech();
    answers_with(&mut t, &started, None);
    t.wait(Duration::from_secs(100));
    t.torrent.handle_outside(t.now, 50_000, None, &mut t.out);
    assert_eq!(told_within(&mut t, 10), Some((0, 50_000)));
}

#[test]
fn a_tracker_that_is_being_told_the_old_port_is_told_the_new_one_after_its_answer() {
    let (mut t, started) = listening_leech();
    t.torrent.handle_outside(t.now, 50_000, None, &mut t.out);
    assert_eq!(announces(&t.effects()), [], "one at a time");
    answers_with(&mut t, &started, None);
    assert_eq!(told_within(&mut t, 1000), Some((60, 50_000)));
}

#[test]
fn peers_outside_are_told_the_port_outside_and_those_without_a_gateway_between_our_own() {
    let (mut t, _) = listening_leech();
    t.torrent.handle_outside(t.now, 50_000, None, &mut t.out);
    t.effects();
    let told = |t: &mut Trace, addr: &str| {
        let addr = addr.parse().unwrap();
        let new = NewPeer { addr, ..t.new_peer(Reserved::OURS) };
        let key = t.torrent.handle_peer_connected(t.now, new, &mut t.out).unwrap();
        let said = sent(&t.effects(), key).into_iter().find_map(|message| match message {
            Message::Extended { id: 0, payload } => Some(payload),
            _ => None,
        });
        let said = samara_wire::peer::extension::ExtensionHandshake::parse(&said.unwrap()).unwrap();
        assert_eq!(said.your_ip, Some(addr.ip()), "and where they are seen");
        said.port
    };
    assert_eq!(told(&mut t, "80.9.9.9:7000"), Some(50_000));
    assert_eq!(told(&mut t, "192.168.1.9:7000"), Some(6881));
    assert_eq!(told(&mut t, "[2001:db8::9]:7000"), Some(6881), "IPv6 is not translated");
}

/// A peer in network `n` says that we are at `ip`.
fn sees_us_at(t: &mut Trace, n: u8, ip: [u8; 4]) {
    let addr = SocketAddr::from(([81, n, 0, 1], 7000));
    let new = NewPeer { addr, ..t.new_peer(Reserved::OURS) };
    let key = t.torrent.handle_peer_connected(t.now, new, &mut t.out).unwrap();
    let your_ip = Some(ip.into());
    let said = samara_wire::peer::extension::ExtensionHandshake { your_ip, ..Default::default() };
    t.says(key, Message::Extended { id: 0, payload: said.encode().into() });
}

/// Whether we would dial this address of ours, when a tracker names it.
fn is_dialled(t: &mut Trace, ip: [u8; 4]) -> bool {
    let ours = SocketAddr::from((ip, 6881));
    t.torrent.handle_peers(t.now, PeerSource::Tracker, &[ours], &mut t.out);
    t.effects().contains(&Effect::Dial(ours))
}

#[test]
fn one_peer_does_not_make_up_our_address_and_several_tell_it() {
    let (mut t, _) = listening_leech();
    (0..2).for_each(|n| sees_us_at(&mut t, n, [203, 0, 113, 9]));
    assert!(is_dialled(&mut t, [203, 0, 113, 9]));
    let (mut t, _) = listening_leech();
    (0..3).for_each(|n| sees_us_at(&mut t, n, [203, 0, 113, 9]));
    assert!(!is_dialled(&mut t, [203, 0, 113, 9]), "it is ourselves");
}

#[test]
fn a_tracker_tells_our_address_over_either_family() {
    let (mut t, started) = listening_leech();
    let tells = |ip: &str| AnnounceResponse {
        interval: Duration::from_secs(1800),
        external_ip: Some(ip.parse().unwrap()),
        ..AnnounceResponse::default()
    };
    t.torrent.handle_announced(t.now, started.id, tells("203.0.113.9"), &mut t.out);
    t.torrent.handle_more_announced(t.now, tells("2001:db8::9"), &mut t.out);
    t.effects();
    assert!(!is_dialled(&mut t, [203, 0, 113, 9]));
    let ours: SocketAddr = "[2001:db8::9]:6881".parse().unwrap();
    t.torrent.handle_peers(t.now, PeerSource::Tracker, &[ours], &mut t.out);
    assert_eq!(t.effects(), []);
    // Peers do not talk us out of it.
    (0..9).for_each(|n| sees_us_at(&mut t, n, [9, 9, 9, 9]));
    assert!(!is_dialled(&mut t, [203, 0, 113, 9]) && is_dialled(&mut t, [9, 9, 9, 9]));
}

#[test]
fn who_has_moved_is_announced_and_dials_again() {
    let (mut t, started) = leech(&["http://a"]);
    let effects = answers(&mut t, &started[0]);
    let peer = SocketAddr::from(([80, 2, 0, 1], 6881));
    assert!(effects.iter().any(|e| matches!(e, Effect::Dial(addr) if *addr == peer)));
    t.torrent.handle_dial_failed(t.now, peer, &mut t.out);
    t.effects();
    let other = PeerId([8; 20]);
    t.torrent.set_peer_id(other);
    t.torrent.handle_moved(t.now, &mut t.out);
    let effects = t.effects();
    assert!(effects.iter().any(|e| matches!(e, Effect::Dial(addr) if *addr == peer)));
    let told = announces(&effects);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].request.event, AnnounceEvent::Periodic);
    assert_ne!(told[0].request.peer_id, other, "the tracker knows us by the old one");
    t.torrent.check_invariants();
}
