//! What a torrent and its peers ask of the shell while nothing happens.

use super::*;

/// How often a torrent wants to be called in an hour, with so many peers that keep alive and do nothing else.
fn calls_in_an_hour(peers: usize) -> usize {
    let mut t = Trace::seed();
    let keys: Vec<_> = (0..peers).map(|_| t.plain_peer()).collect();
    let mut calls = 0;
    for _ in 0..36 {
        for &key in &keys {
            t.says(key, Message::KeepAlive);
        }
        let end = t.now + Duration::from_secs(100);
        while let Some(at) = t.torrent.next_timeout().filter(|at| *at <= end) {
            t.now = at.max(t.now);
            t.torrent.handle_timeout(t.now, &mut t.out);
            calls += 1;
            t.effects();
        }
        t.now = end;
    }
    assert_eq!(t.torrent.peer_count(), peers, "nobody was dropped");
    calls
}

#[test]
fn a_torrent_without_peers_and_trackers_has_no_deadline() {
    for have in [Bitfield::empty(PIECES), Bitfield::full(PIECES)] {
        let mut t = Trace::new(have);
        assert_eq!(t.torrent.next_timeout(), None);
        let newcomer = NewPeer { direction: Direction::Incoming, ..t.new_peer(Reserved::OURS) };
        let key = t.torrent.handle_peer_connected(t.now, newcomer, &mut t.out).unwrap();
        assert!(t.torrent.next_timeout().is_some());
        t.torrent.handle_disconnected(t.now, key, &mut t.out);
        t.effects();
        assert_eq!(t.torrent.next_timeout(), None);
    }
}

#[test]
fn silent_peers_cost_one_timer_together() {
    let one = calls_in_an_hour(1);
    assert!(one <= 180, "{one} calls, more than one in 20 s");
    assert!(calls_in_an_hour(50) <= one);
}
