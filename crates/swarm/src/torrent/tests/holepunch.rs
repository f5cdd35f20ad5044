//! Hole punching (BEP 55), in all three parts.

use super::super::holepunch::UT_HOLEPUNCH_ID;
use super::*;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use samara_wire::peer::extension::ExtensionHandshake;
use samara_wire::peer::ut_holepunch::{HolepunchError, HolepunchMessage};
use samara_wire::peer::ut_pex::{PexFlags, PexMessage};

/// The id under which the other ends want messages.
const THEIRS: u8 = 55;

fn leech(private: bool) -> Trace {
    let config = TorrentConfig { holepunch: true, private, ..TorrentConfig::default() };
    Trace::with(config, Bitfield::empty(PIECES))
}

/// A peer connects that supports hole punching, or not; by uTP or not; and tells the port it listens on.
fn joins(t: &mut Trace, direction: Direction, utp: bool, supports: bool) -> (PeerKey, SocketAddr) {
    let new = NewPeer { direction, utp, ..t.new_peer(Reserved([0, 0, 0, 0, 0, 0x10, 0, 0])) };
    let key = t.torrent.handle_peer_connected(t.now, new, &mut t.out).unwrap();
    t.effects();
    let mut extensions = vec![("ut_pex".to_string(), 41)];
    if supports {
        extensions.push(("ut_holepunch".to_string(), THEIRS));
    }
    let said = ExtensionHandshake { extensions, port: Some(7000), ..Default::default() };
    t.says(key, Message::Extended { id: 0, payload: said.encode().into() });
    (key, new.addr)
}

fn tells(t: &mut Trace, peer: PeerKey, message: HolepunchMessage) -> Vec<Effect> {
    t.says(peer, Message::Extended { id: UT_HOLEPUNCH_ID, payload: message.encode().into() })
}

/// The messages of hole punching among `effects`, with whom they are for.
fn said(effects: &[Effect]) -> Vec<(PeerKey, HolepunchMessage)> {
    let of = |effect: &Effect| match effect {
        Effect::Send(key, Message::Extended { id: THEIRS, payload }) => {
            Some((*key, HolepunchMessage::parse(payload).unwrap()))
        }
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

fn punched(effects: &[Effect]) -> Vec<SocketAddr> {
    let of = |effect: &Effect| match effect {
        Effect::Punch(addr) => Some(*addr),
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

/// `peer` tells of `addr`, which is then dialled.
fn introduces(t: &mut Trace, peer: PeerKey, addr: SocketAddr) {
    let added = vec![(addr, PexFlags::default())];
    let payload = PexMessage { added, dropped: Vec::new() }.encode().into();
    let effects = t.says(peer, Message::Extended { id: crate::pex::UT_PEX_ID, payload });
    assert!(effects.contains(&Effect::Dial(addr)), "{effects:?}");
}

fn fails(t: &mut Trace, addr: SocketAddr) -> Vec<Effect> {
    t.torrent.handle_dial_failed(t.now, addr, &mut t.out);
    t.effects()
}

const FAR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)), 9999);

#[test]
fn whoever_told_of_a_peer_that_cannot_be_dialled_is_asked_once() {
    let mut t = leech(false);
    let (third, _) = joins(&mut t, Direction::Outgoing, true, true);
    introduces(&mut t, third, FAR);
    let asked = fails(&mut t, FAR);
    assert_eq!(said(&asked), [(third, HolepunchMessage::Rendezvous(FAR))]);
    // The third has told both; here that comes to nothing, and the matter rests for a while.
    assert_eq!(punched(&tells(&mut t, third, HolepunchMessage::Connect(FAR))), [FAR]);
    assert_eq!(said(&fails(&mut t, FAR)), []);
    let later = t.wait(Duration::from_secs(130));
    assert!(later.contains(&Effect::Dial(FAR)));
    assert_eq!(said(&fails(&mut t, FAR)), [(third, HolepunchMessage::Rendezvous(FAR))]);
}

#[test]
fn nobody_is_asked_who_cannot_help_or_is_gone() {
    let mut t = leech(false);
    let (plain, _) = joins(&mut t, Direction::Outgoing, false, false);
    introduces(&mut t, plain, FAR);
    assert_eq!(said(&fails(&mut t, FAR)), []);

    let mut t = leech(false);
    let (third, _) = joins(&mut t, Direction::Outgoing, true, true);
    introduces(&mut t, third, FAR);
    t.torrent.handle_disconnected(t.now, third, &mut t.out);
    t.effects();
    assert_eq!(said(&fails(&mut t, FAR)), []);
}

#[test]
fn the_third_tells_both_how_it_sees_the_other() {
    let mut t = leech(false);
    let (asking, asking_addr) = joins(&mut t, Direction::Incoming, true, true);
    let (dialled, dialled_addr) = joins(&mut t, Direction::Outgoing, false, true);
    // By TCP its port is one of the moment; by uTP it would be that on which it listens.
    let (came_by_tcp, tcp_addr) = joins(&mut t, Direction::Incoming, false, true);
    let listens = SocketAddr::new(tcp_addr.ip(), 7000);
    for (meant, known_as, reached_at) in
        [(dialled, dialled_addr, dialled_addr), (came_by_tcp, listens, listens)]
    {
        let effects = tells(&mut t, asking, HolepunchMessage::Rendezvous(known_as));
        let expected = [
            (asking, HolepunchMessage::Connect(reached_at)),
            (meant, HolepunchMessage::Connect(asking_addr)),
        ];
        assert_eq!(said(&effects), expected);
    }
}

#[test]
fn the_third_says_why_not() {
    let mut t = leech(false);
    let (asking, own) = joins(&mut t, Direction::Outgoing, true, true);
    let (_, deaf) = joins(&mut t, Direction::Outgoing, true, false);
    for (addr, why) in [
        (FAR, HolepunchError::NotConnected),
        (deaf, HolepunchError::NoSupport),
        (own, HolepunchError::NoSuchPeer),
        (SocketAddr::new(FAR.ip(), 0), HolepunchError::NoSuchPeer),
    ] {
        let effects = tells(&mut t, asking, HolepunchMessage::Rendezvous(addr));
        assert_eq!(said(&effects), [(asking, HolepunchMessage::Error(addr, why))]);
    }
}

#[test]
fn a_peer_is_heeded_a_few_times_a_minute() {
    let mut t = leech(false);
    let (peer, _) = joins(&mut t, Direction::Outgoing, true, true);
    let mut addr = FAR;
    let mut begun = 0;
    for port in 1000..1100 {
        addr.set_port(port);
        begun += punched(&tells(&mut t, peer, HolepunchMessage::Connect(addr))).len();
    }
    assert_eq!(begun, 12);
    t.wait(Duration::from_secs(61));
    addr.set_port(2000);
    assert_eq!(punched(&tells(&mut t, peer, HolepunchMessage::Connect(addr))), [addr]);
}

#[test]
fn strangers_name_nobody_in_our_network_and_nobody_who_is_connected() {
    let mut t = leech(false);
    let (peer, _) = joins(&mut t, Direction::Outgoing, true, true);
    let (_, here) = joins(&mut t, Direction::Outgoing, true, true);
    let inside = SocketAddr::from(([192, 168, 1, 1], 80));
    let nowhere = SocketAddr::new(FAR.ip(), 0);
    for addr in [inside, here, nowhere] {
        assert_eq!(tells(&mut t, peer, HolepunchMessage::Connect(addr)), [], "{addr}");
    }
}

#[test]
fn a_private_torrent_and_one_without_utp_take_no_part() {
    let mut t = leech(true);
    let (peer, _) = joins(&mut t, Direction::Outgoing, true, true);
    let (_, other) = joins(&mut t, Direction::Outgoing, true, true);
    assert_eq!(tells(&mut t, peer, HolepunchMessage::Rendezvous(other)), []);
    assert_eq!(tells(&mut t, peer, HolepunchMessage::Connect(FAR)), []);
    for (holepunch, private) in [(true, true), (false, false)] {
        let config = TorrentConfig { holepunch, private, ..TorrentConfig::default() };
        let mut t = Trace::with(config, Bitfield::empty(PIECES));
        let new = t.new_peer(Reserved([0, 0, 0, 0, 0, 0x10, 0, 0]));
        let key = t.torrent.handle_peer_connected(t.now, new, &mut t.out).unwrap();
        let offered = t.effects().into_iter().any(|effect| match effect {
            Effect::Send(to, Message::Extended { id: 0, payload }) if to == key => {
                ExtensionHandshake::parse(&payload).unwrap().id_of("ut_holepunch").is_some()
            }
            _ => false,
        });
        assert!(!offered);
    }
}
