//! Finding peers without trackers, and that private torrents keep silent.

use super::*;

const DHT: Reserved = Reserved([0, 0, 0, 0, 0, 0, 0, 5]);

fn with(private: bool, have: Bitfield) -> (Torrent, Outbox, Instant) {
    let config = TorrentConfig { private, dht_port: Some(6881), ..TorrentConfig::default() };
    let layout = PieceLayout::contiguous(u64::from(PIECES * PIECE_LEN), PIECE_LEN);
    let hashes = InfoHashes::v1_only(InfoHashV1([9; 20]));
    let now = Instant::from_secs(1000);
    (Torrent::new(now, config, hashes, layout, have), Outbox::new(), now)
}

fn effects(out: &mut Outbox) -> Vec<Effect> {
    out.drain().collect()
}

#[test]
fn a_torrent_is_sought_from_start_to_stop() {
    let (mut torrent, mut out, now) = with(false, Bitfield::empty(PIECES));
    torrent.handle_start(now, &mut out);
    assert_eq!(effects(&mut out), [Effect::Seek { seed: false }]);
    let found = SocketAddr::from(([80, 1, 1, 1], 6881));
    torrent.handle_peers(now, PeerSource::Dht, &[found], &mut out);
    assert_eq!(effects(&mut out), [Effect::Dial(found)]);
    torrent.handle_stop(now, &mut out);
    assert_eq!(effects(&mut out), [Effect::Withdraw]);
    torrent.handle_start(now, &mut out);
    assert_eq!(effects(&mut out).first(), Some(&Effect::Seek { seed: false }));

    let (mut seed, mut out, now) = with(false, Bitfield::full(PIECES));
    seed.handle_start(now, &mut out);
    assert_eq!(effects(&mut out), [Effect::Seek { seed: true }]);
}

#[test]
fn a_finished_download_says_that_it_is_a_seed_now() {
    let mut have = Bitfield::full(PIECES);
    have.remove(PieceIndex(3));
    let (mut torrent, mut out, now) = with(false, have);
    torrent.handle_start(now, &mut out);
    assert_eq!(effects(&mut out), [Effect::Seek { seed: false }]);
    torrent.handle_partial_found(PieceIndex(3), &Bitfield::full(2), &mut out);
    torrent.handle_piece_verified(now, PieceIndex(3), None, &mut out);
    assert!(effects(&mut out).contains(&Effect::Seek { seed: true }));
}

#[test]
fn nodes_are_told_of_between_peers_that_have_one() {
    let config = TorrentConfig { dht_port: Some(6881), ..TorrentConfig::default() };
    let mut t = Trace::with(config, Bitfield::empty(PIECES));
    let new = t.new_peer(DHT);
    let addr = new.addr;
    let p = t.torrent.handle_peer_connected(t.now, new, &mut t.out).unwrap();
    assert!(effects(&mut t.out).contains(&Effect::Send(p, Message::Port(6881))));
    for port in [0, 700, 701] {
        t.torrent.handle_message(t.now, p, Message::Port(port), &mut t.out);
    }
    let node = SocketAddr::new(addr.ip(), 700);
    assert_eq!(effects(&mut t.out), [Effect::DhtNode(node)]);
    let new = t.new_peer(Reserved::OURS);
    let p = t.torrent.handle_peer_connected(t.now, new, &mut t.out).unwrap();
    let told = effects(&mut t.out);
    assert!(!told.iter().any(|e| matches!(e, Effect::Send(k, Message::Port(_)) if *k == p)));
}

#[test]
fn a_private_torrent_is_never_sought_and_learns_nothing_from_outside() {
    let (mut torrent, mut out, now) = with(true, Bitfield::empty(PIECES));
    torrent.handle_start(now, &mut out);
    let stranger = SocketAddr::from(([80, 1, 1, 1], 6881));
    for source in [PeerSource::Dht, PeerSource::Local, PeerSource::Pex] {
        torrent.handle_peers(now, source, &[stranger], &mut out);
    }
    assert_eq!(effects(&mut out), []);
    let new = NewPeer {
        addr: SocketAddr::from(([80, 2, 1, 1], 6881)),
        direction: Direction::Incoming,
        utp: false,
        peer_id: PeerId([7; 20]),
        reserved: DHT,
    };
    let p = torrent.handle_peer_connected(now, new, &mut out).unwrap();
    torrent.handle_message(now, p, Message::Port(700), &mut out);
    torrent.handle_stop(now, &mut out);
    let spoken = |e: &Effect| {
        matches!(
            e,
            Effect::Seek { .. }
                | Effect::Withdraw
                | Effect::DhtNode(_)
                | Effect::Send(_, Message::Port(_))
        )
    };
    assert!(!effects(&mut out).iter().any(spoken));
}
