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
