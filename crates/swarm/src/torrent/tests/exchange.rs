//! Metadata and peer exchange (BEP 9, 11), and the silence of private torrents about both (BEP 27).

use super::*;
use alloc::string::ToString;
use alloc::vec::Vec;
use samara_wire::bencode::Encoder;
use samara_wire::metainfo::Info;
use samara_wire::peer::extension::ExtensionHandshake;
use samara_wire::peer::ut_metadata::MetadataMessage;
use samara_wire::peer::ut_pex::{PexFlags, PexMessage};

/// The ids under which the other ends want messages.
const PEX: u8 = 41;
const METADATA: u8 = 42;

/// The info dictionary of a torrent of the usual layout, more than two metadata pieces long.
fn info() -> Info {
    let raw = Encoder::dict_bytes(|dict| {
        dict.int(b"length", i64::from(PIECES * PIECE_LEN));
        dict.bytes(b"name", b"n");
        dict.int(b"piece length", i64::from(PIECE_LEN));
        dict.bytes(b"pieces", &[7; 20 * PIECES as usize]);
        dict.bytes(b"padding", &[b'x'; 33_000]);
    });
    Info::parse(&raw).unwrap()
}

fn seed_with(info: &Info, private: bool) -> Trace {
    let config = TorrentConfig { private, ..TorrentConfig::default() };
    let now = Instant::from_secs(1000);
    let have = Bitfield::full(PIECES);
    let mut torrent = Torrent::new(now, config, info.hashes(), info.layout().clone(), have);
    torrent.set_metadata(info.clone());
    let mut trace = Trace { torrent, now, out: Outbox::new(), peers: 0 };
    trace.torrent.handle_start(now, &mut trace.out);
    trace.effects();
    trace
}

/// A peer with the extension protocol connects; also gives what we say of ourselves.
fn extended(t: &mut Trace, direction: Direction) -> (PeerKey, ExtensionHandshake) {
    let new = NewPeer { direction, ..t.new_peer(Reserved([0, 0, 0, 0, 0, 0x10, 0, 0])) };
    let key = t.torrent.handle_peer_connected(t.now, new, &mut t.out).unwrap();
    let effects = t.effects();
    let ours = sent(&effects, key).into_iter().find_map(|message| match message {
        Message::Extended { id: 0, payload } => Some(ExtensionHandshake::parse(&payload).unwrap()),
        _ => None,
    });
    (key, ours.unwrap())
}

/// What the other end says of itself, with the port it listens on.
fn introduces(t: &mut Trace, peer: PeerKey, port: u16) -> Vec<Effect> {
    let handshake = ExtensionHandshake {
        extensions: vec![("ut_metadata".to_string(), METADATA), ("ut_pex".to_string(), PEX)],
        port: Some(port),
        ..ExtensionHandshake::default()
    };
    t.says(peer, Message::Extended { id: 0, payload: handshake.encode().into() })
}

fn ask(t: &mut Trace, peer: PeerKey, piece: u32) -> Vec<Effect> {
    let payload = MetadataMessage::Request { piece }.encode().into();
    t.says(peer, Message::Extended { id: metadata::UT_METADATA_ID, payload })
}

fn tell(t: &mut Trace, peer: PeerKey, addrs: impl IntoIterator<Item = SocketAddr>) -> Vec<Effect> {
    let added = addrs.into_iter().map(|addr| (addr, PexFlags::default())).collect();
    let payload = PexMessage { added, dropped: Vec::new() }.encode().into();
    t.says(peer, Message::Extended { id: crate::pex::UT_PEX_ID, payload })
}

/// The messages of peer exchange among `effects`, with whom they are for.
fn exchanged(effects: &[Effect]) -> Vec<(PeerKey, PexMessage)> {
    let pex = |effect: &Effect| match effect {
        Effect::Send(key, Message::Extended { id: PEX, payload }) => {
            Some((*key, PexMessage::parse(payload).unwrap()))
        }
        _ => None,
    };
    effects.iter().filter_map(pex).collect()
}

fn dialled(effects: &[Effect]) -> Vec<SocketAddr> {
    let dial = |effect: &Effect| match effect {
        Effect::Dial(addr) => Some(*addr),
        _ => None,
    };
    effects.iter().filter_map(dial).collect()
}

fn rejects(effects: &[Effect], peer: PeerKey) -> usize {
    let reject = |message: &Message| {
        matches!(message, Message::Extended { id: METADATA, payload }
        if matches!(MetadataMessage::parse(payload), Ok(MetadataMessage::Reject { .. })))
    };
    sent(effects, peer).iter().filter(|message| reject(message)).count()
}

#[test]
fn the_info_dictionary_is_given_piece_by_piece() {
    let info = info();
    let mut t = seed_with(&info, false);
    let (p, ours) = extended(&mut t, Direction::Incoming);
    assert_eq!(ours.id_of("ut_metadata"), Some(metadata::UT_METADATA_ID));
    assert_eq!(ours.metadata_len, u32::try_from(info.raw().len()).ok());
    assert!(ask(&mut t, p, 0).is_empty(), "it has not said under which id it wants the answer");
    introduces(&mut t, p, 1);
    let mut got = Vec::new();
    for piece in 0..3 {
        assert_eq!(ask(&mut t, p, piece), [Effect::ServeReady(p)]);
        let message = t.torrent.poll_metadata(t.now, p).unwrap();
        let Message::Extended { id: METADATA, payload } = message else { panic!("{message:?}") };
        let Ok(MetadataMessage::Data { piece: which, total_len, payload }) =
            MetadataMessage::parse(&payload)
        else {
            panic!("no data")
        };
        assert_eq!((which, total_len), (piece, ours.metadata_len));
        got.extend_from_slice(payload);
        assert_eq!(t.torrent.poll_metadata(t.now, p), None);
    }
    assert_eq!(got, info.raw());
    assert_eq!(rejects(&ask(&mut t, p, 3), p), 1, "there is no fourth piece");
}

#[test]
fn a_peer_that_asks_without_end_gets_four_copies_and_a_bounded_queue() {
    let mut t = seed_with(&info(), false);
    let (p, _) = extended(&mut t, Direction::Incoming);
    introduces(&mut t, p, 1);
    let mut given = 0;
    for _ in 0..1000 {
        ask(&mut t, p, 1);
        given += u32::from(t.torrent.poll_metadata(t.now, p).is_some());
    }
    assert_eq!(given, 12);
    let long = Encoder::dict_bytes(|dict| {
        dict.int(b"length", i64::from(PIECES * PIECE_LEN));
        dict.bytes(b"name", b"n");
        dict.int(b"piece length", i64::from(PIECE_LEN));
        dict.bytes(b"pieces", &[7; 20 * PIECES as usize]);
        dict.bytes(b"padding", &vec![b'x'; 100 * 16384]);
    });
    let mut t = seed_with(&Info::parse(&long).unwrap(), false);
    let (p, _) = extended(&mut t, Direction::Incoming);
    introduces(&mut t, p, 1);
    let refused: usize = (0..100).map(|piece| rejects(&ask(&mut t, p, piece), p)).sum();
    assert_eq!(refused, 100 - 64);
}

#[test]
fn peers_are_told_of_each_other_once_a_minute_and_only_what_changed() {
    let mut t = Trace::leech();
    let (a, _) = extended(&mut t, Direction::Outgoing);
    let (b, _) = extended(&mut t, Direction::Incoming);
    introduces(&mut t, a, 7001);
    introduces(&mut t, b, 7002);
    let told = exchanged(&t.wait(Duration::from_secs(5)));
    let addr = |n: u8, port| SocketAddr::from(([80, 1, n, 1], port));
    let of = |told: &[(PeerKey, PexMessage)], key| {
        told.iter().filter(|(k, _)| *k == key).map(|(_, m)| m.clone()).collect::<Vec<_>>()
    };
    let added = |addr, flags| vec![(addr, PexFlags(flags))];
    assert_eq!(of(&told, a)[0].added, added(addr(2, 7002), 0));
    // The one that we dialled is named by the address at which we did.
    assert_eq!(of(&told, b)[0].added, added(addr(1, 6881), PexFlags::REACHABLE));
    assert_eq!(told.len(), 2);

    let (c, _) = extended(&mut t, Direction::Incoming);
    introduces(&mut t, c, 7003);
    let soon = exchanged(&t.wait(Duration::from_secs(20)));
    assert_eq!(soon.len(), 1, "only the newcomer may be told before the minute is over");
    assert_eq!(of(&soon, c)[0].added.len(), 2);
    t.torrent.handle_disconnected(t.now, b, &mut t.out);
    t.effects();
    let later = exchanged(&t.wait(Duration::from_secs(300)));
    let want = PexMessage { added: added(addr(3, 7003), 0), dropped: vec![addr(2, 7002)] };
    assert_eq!(of(&later, a), [want]);
    let want = PexMessage { added: Vec::new(), dropped: vec![addr(2, 7002)] };
    assert_eq!(of(&later, c), [want]);
}

#[test]
fn a_peer_that_cannot_be_dialled_is_not_named_and_local_ones_only_to_local_ones() {
    let mut t = Trace::leech();
    let (a, _) = extended(&mut t, Direction::Outgoing);
    introduces(&mut t, a, 1);
    let (silent, _) = extended(&mut t, Direction::Incoming);
    let local = NewPeer {
        addr: "192.168.1.5:4000".parse().unwrap(),
        ..t.new_peer(Reserved([0, 0, 0, 0, 0, 0x10, 0, 0]))
    };
    let local = t.torrent.handle_peer_connected(t.now, local, &mut t.out).unwrap();
    introduces(&mut t, local, 1);
    let told = exchanged(&t.wait(Duration::from_secs(100)));
    let keys: Vec<_> = told.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, [local], "{silent:?} and {a:?} have nobody to be told of");
    assert_eq!(told[0].1.added[0].0, "80.1.1.1:6881".parse().unwrap());
    // Nor does a stranger send us into our own network.
    let inside = "192.168.1.9:80".parse().unwrap();
    let outside = "80.9.9.9:80".parse().unwrap();
    assert_eq!(dialled(&tell(&mut t, a, [inside, outside])), [outside]);
    assert_eq!(dialled(&tell(&mut t, local, [inside])), [inside]);
}

#[test]
fn what_is_told_too_often_is_passed_over_then_ends_the_connection() {
    let mut t = Trace::leech();
    let (p, _) = extended(&mut t, Direction::Incoming);
    let addr = |n: u8| SocketAddr::from(([80, 2, n, 1], 1));
    assert_eq!(dialled(&tell(&mut t, p, [addr(1)])), [addr(1)]);
    assert_eq!(tell(&mut t, p, [addr(2)]), []);
    t.wait(Duration::from_secs(60));
    assert_eq!(dialled(&tell(&mut t, p, [addr(3)])), [addr(3)]);
    let mut ended = None;
    for n in 4..20 {
        let effects = tell(&mut t, p, [addr(n)]);
        assert_eq!(dialled(&effects), []);
        ended = ended.or(disconnected(&effects, p));
    }
    assert!(matches!(ended, Some(DisconnectReason::Protocol(_))));
}

#[test]
fn a_flood_of_addresses_holds_a_quarter_of_the_list_and_the_tracker_still_gets_in() {
    let mut t = Trace::leech();
    let (p, _) = extended(&mut t, Direction::Incoming);
    for round in 0..40u8 {
        tell(&mut t, p, (0..50).map(|n| SocketAddr::from(([80, 10 + n, round, 1], 1))));
        t.wait(Duration::from_secs(60));
        t.torrent.handle_message(t.now, p, Message::KeepAlive, &mut t.out);
    }
    assert_eq!(t.torrent.peer_list.len(), 500);
    let tracker: Vec<_> = (0..200).map(|n| SocketAddr::from(([81, n, 1, 1], 1))).collect();
    t.torrent.handle_peers(t.now, PeerSource::Tracker, &tracker, &mut t.out);
    assert_eq!(t.torrent.peer_list.len(), 700);
}

#[test]
fn a_private_torrent_gives_no_metadata_and_neither_tells_nor_learns_of_peers() {
    let info = info();
    let mut t = seed_with(&info, true);
    let mut all = Vec::new();
    let mut peers = Vec::new();
    for n in 1..=5 {
        let direction = if n % 2 == 0 { Direction::Incoming } else { Direction::Outgoing };
        let (p, ours) = extended(&mut t, direction);
        assert_eq!((ours.id_of("ut_pex"), ours.id_of("ut_metadata")), (None, None));
        assert_eq!(ours.metadata_len, None);
        all.extend(introduces(&mut t, p, 7000 + n));
        peers.push(p);
    }
    for &p in &peers {
        all.extend(ask(&mut t, p, 0));
        all.extend(tell(&mut t, p, [SocketAddr::from(([80, 2, 1, 1], 1))]));
        assert_eq!(t.torrent.poll_metadata(t.now, p), None);
    }
    all.extend(t.wait(Duration::from_secs(170)));
    let spoken = |e: &&Effect| {
        matches!(e, Effect::Dial(_) | Effect::ServeReady(_))
            || matches!(e, Effect::Send(_, Message::Extended { id, .. }) if *id != 0)
    };
    assert_eq!(all.iter().find(spoken), None);
    assert_eq!(t.torrent.peers.len(), 5);
    assert_eq!(t.torrent.next_pex(), None);
}
