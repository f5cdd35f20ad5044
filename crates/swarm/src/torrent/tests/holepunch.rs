//! Hole punching (BEP 55), in all three parts.

use super::super::holepunch::UT_HOLEPUNCH_ID;
use super::*;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use samara_wire::peer::extension::ExtensionHandshake;
use samara_wire::peer::ut_holepunch::{HolepunchError, HolepunchMessage};
use samara_wire::peer::ut_pex::{PexFlags, PexMessage};

/// The ids under which the other ends want messages.
const THEIRS: u8 = 55;
const THEIR_PEX: u8 = 41;

const EXTENDED: Reserved = Reserved([0, 0, 0, 0, 0, 0x10, 0, 0]);
const FAR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)), 9999);
const WILLING: PexFlags = PexFlags(PexFlags::HOLEPUNCH | PexFlags::UTP);

fn leech(private: bool) -> Trace {
    let config = TorrentConfig { holepunch: true, private, ..TorrentConfig::default() };
    Trace::with(config, Bitfield::empty(PIECES))
}

/// A peer connects that supports hole punching, or not, and tells that it listens on port 7000.
fn meets(t: &mut Trace, new: NewPeer, supports: bool) -> PeerKey {
    let key = t.torrent.handle_peer_connected(t.now, new, &mut t.out).unwrap();
    t.effects();
    let mut extensions = vec![("ut_pex".to_string(), THEIR_PEX)];
    if supports {
        extensions.push(("ut_holepunch".to_string(), THEIRS));
    }
    let said = ExtensionHandshake { extensions, port: Some(7000), ..Default::default() };
    t.says(key, Message::Extended { id: 0, payload: said.encode().into() });
    key
}

fn joins(t: &mut Trace, direction: Direction, utp: bool, supports: bool) -> (PeerKey, SocketAddr) {
    let new = NewPeer { direction, utp, ..t.new_peer(EXTENDED) };
    (meets(t, new, supports), new.addr)
}

/// One that can help comes.
fn third(t: &mut Trace) -> PeerKey {
    joins(t, Direction::Outgoing, true, true).0
}

/// One comes from `addr`, by uTP.
fn comes_from(t: &mut Trace, addr: &str) -> (PeerKey, SocketAddr) {
    let addr = addr.parse().unwrap();
    let new = NewPeer { addr, direction: Direction::Incoming, utp: true, ..t.new_peer(EXTENDED) };
    (meets(t, new, true), addr)
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

/// `peer` tells of `addr`, with these flags.
fn names(t: &mut Trace, peer: PeerKey, addr: SocketAddr, flags: PexFlags) -> Vec<Effect> {
    let added = vec![(addr, flags)];
    let payload = PexMessage { added, dropped: Vec::new() }.encode().into();
    t.says(peer, Message::Extended { id: crate::pex::UT_PEX_ID, payload })
}

/// `peer` tells of `addr`, which is then dialled.
fn introduces(t: &mut Trace, peer: PeerKey, addr: SocketAddr) {
    let effects = names(t, peer, addr, WILLING);
    assert!(effects.contains(&Effect::Dial(addr)), "{effects:?}");
}

fn fails(t: &mut Trace, addr: SocketAddr) -> Vec<Effect> {
    t.torrent.handle_dial_failed(t.now, addr, &mut t.out);
    t.effects()
}

fn takes_long(t: &mut Trace, addr: SocketAddr) -> Vec<Effect> {
    t.torrent.handle_dial_slow(t.now, addr, &mut t.out);
    t.effects()
}

fn punch_fails(t: &mut Trace, addr: SocketAddr) -> Vec<Effect> {
    t.torrent.handle_punch_failed(t.now, addr, &mut t.out);
    t.effects()
}

/// Until `addr` is dialled again; `peer` is there all the time.
fn dialled_again(t: &mut Trace, peer: PeerKey, addr: SocketAddr) -> Vec<Effect> {
    for _ in 0..3600 {
        let mut effects = t.wait(Duration::from_secs(1));
        effects.extend(t.says(peer, Message::KeepAlive));
        if effects.contains(&Effect::Dial(addr)) {
            return effects;
        }
    }
    panic!("{addr} is not dialled within an hour");
}

#[test]
fn whoever_told_of_a_peer_that_cannot_be_dialled_is_asked_once_in_a_while() {
    let mut t = leech(false);
    let third = third(&mut t);
    introduces(&mut t, third, FAR);
    let asked = fails(&mut t, FAR);
    assert_eq!(said(&asked), [(third, HolepunchMessage::Rendezvous(FAR))]);
    // The third has told both; here that comes to nothing, and the matter rests for a while.
    assert_eq!(punched(&tells(&mut t, third, HolepunchMessage::Connect(FAR))), [FAR]);
    assert_eq!(punched(&tells(&mut t, third, HolepunchMessage::Connect(FAR))), [], "once");
    assert_eq!(said(&punch_fails(&mut t, FAR)), []);
    // Then it is known that the dial will not do: the third is asked at the same time.
    let (mut asked, mut with_the_dial) = (vec![t.now], 0);
    for _ in 0..8 {
        for (dial, effects) in
            [(true, dialled_again(&mut t, third, FAR)), (false, fails(&mut t, FAR))]
        {
            for message in said(&effects) {
                assert_eq!(message, (third, HolepunchMessage::Rendezvous(FAR)));
                asked.push(t.now);
                with_the_dial += usize::from(dial);
            }
        }
    }
    assert!(asked.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_secs(120)));
    assert_eq!((with_the_dial, asked.len() > 3), (asked.len() - 1, true));
}

#[test]
fn a_dial_that_takes_long_is_given_up_for_a_connection_from_both_ends() {
    let mut t = leech(false);
    let third = third(&mut t);
    introduces(&mut t, third, FAR);
    assert_eq!(said(&takes_long(&mut t, FAR)), [(third, HolepunchMessage::Rendezvous(FAR))]);
    assert_eq!(punched(&tells(&mut t, third, HolepunchMessage::Connect(FAR))), [FAR]);
    assert_eq!(said(&takes_long(&mut t, FAR)), []);
    // The dial is not heard of again; it counts as failed with the other one.
    punch_fails(&mut t, FAR);
    assert_eq!(punch_fails(&mut t, FAR), [], "there is none any more");
    dialled_again(&mut t, third, FAR);
}

#[test]
fn a_connection_from_both_ends_is_one_like_any_other_but_does_not_show_that_the_peer_can_be_dialled()
 {
    let mut t = leech(false);
    let third = third(&mut t);
    introduces(&mut t, third, FAR);
    takes_long(&mut t, FAR);
    tells(&mut t, third, HolepunchMessage::Connect(FAR));
    let met = NewPeer { addr: FAR, utp: true, ..t.new_peer(EXTENDED) };
    let key = meets(&mut t, met, true);
    let told = t.wait(Duration::from_secs(100));
    let flags = told.iter().find_map(|effect| match effect {
        Effect::Send(to, Message::Extended { id: THEIR_PEX, payload }) if *to == third => {
            let message = PexMessage::parse(payload).unwrap();
            message.added.iter().find(|(addr, _)| *addr == FAR).map(|(_, flags)| *flags)
        }
        _ => None,
    });
    assert_eq!(flags, Some(WILLING), "neither a seed nor reachable");
    // When it is lost, nobody wastes time on a dial.
    t.torrent.handle_disconnected(t.now, key, &mut t.out);
    t.effects();
    dialled_again(&mut t, third, FAR);
    fails(&mut t, FAR);
    let effects = dialled_again(&mut t, third, FAR);
    assert_eq!(said(&effects), [(third, HolepunchMessage::Rendezvous(FAR))]);
}

#[test]
fn nobody_is_asked_who_cannot_help_or_is_gone_or_for_a_peer_that_does_not_do_it() {
    let mut t = leech(false);
    let (plain, _) = joins(&mut t, Direction::Outgoing, false, false);
    introduces(&mut t, plain, FAR);
    assert_eq!(said(&fails(&mut t, FAR)), []);

    let mut t = leech(false);
    let gone = third(&mut t);
    introduces(&mut t, gone, FAR);
    t.torrent.handle_disconnected(t.now, gone, &mut t.out);
    t.effects();
    assert_eq!(said(&fails(&mut t, FAR)), []);

    let mut t = leech(false);
    let third = third(&mut t);
    names(&mut t, third, FAR, PexFlags(PexFlags::UTP));
    assert_eq!(said(&fails(&mut t, FAR)), []);
    assert_eq!(said(&takes_long(&mut t, FAR)), [], "it is not dialled any more");
}

#[test]
fn a_peer_that_somebody_else_named_is_reached_with_the_help_of_who_names_it_later() {
    let mut t = leech(false);
    t.torrent.handle_peers(t.now, PeerSource::Tracker, &[FAR], &mut t.out);
    t.effects();
    fails(&mut t, FAR);
    let third = third(&mut t);
    let effects = names(&mut t, third, FAR, WILLING);
    assert_eq!(said(&effects), [(third, HolepunchMessage::Rendezvous(FAR))]);
}

#[test]
fn of_several_who_told_each_is_asked_in_turn_and_at_once_where_one_cannot() {
    let mut t = leech(false);
    let thirds = [third(&mut t), third(&mut t), third(&mut t)];
    introduces(&mut t, thirds[0], FAR);
    for other in &thirds[1..] {
        names(&mut t, *other, FAR, WILLING);
    }
    let asked = said(&takes_long(&mut t, FAR));
    let [(first, HolepunchMessage::Rendezvous(FAR))] = asked[..] else { panic!("{asked:?}") };
    let lost = HolepunchMessage::Error(FAR, HolepunchError::NotConnected);
    let asked = said(&tells(&mut t, first, lost));
    let [(second, HolepunchMessage::Rendezvous(FAR))] = asked[..] else { panic!("{asked:?}") };
    assert_ne!(first, second);
    // One that never told of it has nothing to say of it, nor has the first any more.
    let stranger = third(&mut t);
    for other in [stranger, first] {
        assert_eq!(said(&tells(&mut t, other, lost)), []);
    }
    t.wait(Duration::from_secs(130));
    let asked = said(&fails(&mut t, FAR));
    let [(last, HolepunchMessage::Rendezvous(FAR))] = asked[..] else { panic!("{asked:?}") };
    assert!(last != first && last != second);
}

#[test]
fn the_third_tells_both_how_it_sees_the_other() {
    let mut t = leech(false);
    let (asking, asking_addr) = joins(&mut t, Direction::Incoming, true, true);
    let (dialled, dialled_addr) = joins(&mut t, Direction::Outgoing, false, true);
    // By TCP its port is one of the moment; by uTP it would be that on which it listens.
    let (came_by_tcp, tcp_addr) = joins(&mut t, Direction::Incoming, false, true);
    let listens = SocketAddr::new(tcp_addr.ip(), 7000);
    // Behind a NAT that gives other ports, it is known by the one that it told, and found at the one that is seen.
    let (came_by_utp, utp_addr) = joins(&mut t, Direction::Incoming, true, true);
    let believed = SocketAddr::new(utp_addr.ip(), 7000);
    for (meant, known_as, reached_at) in [
        (dialled, dialled_addr, dialled_addr),
        (came_by_tcp, listens, listens),
        (came_by_utp, believed, utp_addr),
    ] {
        let effects = tells(&mut t, asking, HolepunchMessage::Rendezvous(known_as));
        let expected = [
            (asking, HolepunchMessage::Connect(reached_at)),
            (meant, HolepunchMessage::Connect(asking_addr)),
        ];
        assert_eq!(said(&effects), expected);
    }
}

#[test]
fn the_third_does_the_same_with_ipv6_and_not_across_families() {
    let mut t = leech(false);
    let (one, one_addr) = comes_from(&mut t, "[2001:db8:1::1]:6881");
    let (two, two_addr) = comes_from(&mut t, "[2001:db8:2::1]:6881");
    let (old, old_addr) = comes_from(&mut t, "80.2.2.2:6881");
    let effects = tells(&mut t, one, HolepunchMessage::Rendezvous(two_addr));
    let expected =
        [(one, HolepunchMessage::Connect(two_addr)), (two, HolepunchMessage::Connect(one_addr))];
    assert_eq!(said(&effects), expected);
    for (asking, addr) in [(one, old_addr), (old, two_addr)] {
        let effects = tells(&mut t, asking, HolepunchMessage::Rendezvous(addr));
        let why = HolepunchError::NoSuchPeer;
        assert_eq!(said(&effects), [(asking, HolepunchMessage::Error(addr, why))]);
    }
}

#[test]
fn the_third_says_why_not() {
    let mut t = leech(false);
    let (asking, own) = joins(&mut t, Direction::Outgoing, true, true);
    let (_, deaf) = joins(&mut t, Direction::Outgoing, true, false);
    let ours = SocketAddr::from(([198, 51, 100, 4], 0));
    t.torrent.handle_outside(t.now, 6881, Some(ours.ip()), &mut t.out);
    t.effects();
    for (addr, why) in [
        (FAR, HolepunchError::NotConnected),
        (deaf, HolepunchError::NoSupport),
        (own, HolepunchError::NoSuchPeer),
        (SocketAddr::new(FAR.ip(), 0), HolepunchError::NoSuchPeer),
        (SocketAddr::from(([224, 0, 0, 1], 5000)), HolepunchError::NoSuchPeer),
        (SocketAddr::new(ours.ip(), 6881), HolepunchError::NoSelf),
    ] {
        let effects = tells(&mut t, asking, HolepunchMessage::Rendezvous(addr));
        assert_eq!(said(&effects), [(asking, HolepunchMessage::Error(addr, why))]);
    }
}

#[test]
fn who_is_on_our_own_network_is_nothing_that_others_learn() {
    let mut t = leech(false);
    let (stranger, stranger_addr) = comes_from(&mut t, "80.2.2.2:6881");
    let (neighbour, neighbour_addr) = comes_from(&mut t, "192.168.1.7:6881");
    let (other, other_addr) = comes_from(&mut t, "192.168.1.8:6881");
    for (asking, addr) in [(stranger, neighbour_addr), (neighbour, stranger_addr)] {
        let effects = tells(&mut t, asking, HolepunchMessage::Rendezvous(addr));
        let why = HolepunchError::NoSuchPeer;
        assert_eq!(said(&effects), [(asking, HolepunchMessage::Error(addr, why))]);
    }
    let effects = tells(&mut t, neighbour, HolepunchMessage::Rendezvous(other_addr));
    let told = [
        (neighbour, HolepunchMessage::Connect(other_addr)),
        (other, HolepunchMessage::Connect(neighbour_addr)),
    ];
    assert_eq!(said(&effects), told);
}

#[test]
fn a_peer_is_heeded_a_number_of_times_a_minute() {
    let mut t = leech(false);
    let peer = third(&mut t);
    let mut begun = 0;
    for port in 1000..1100 {
        let addr = SocketAddr::new(FAR.ip(), port);
        let addrs = punched(&tells(&mut t, peer, HolepunchMessage::Connect(addr)));
        begun += addrs.len();
        addrs.into_iter().for_each(|addr| drop(punch_fails(&mut t, addr)));
    }
    assert_eq!(begun, 24);
    t.wait(Duration::from_secs(61));
    assert_eq!(punched(&tells(&mut t, peer, HolepunchMessage::Connect(FAR))), [FAR]);
}

#[test]
fn few_connections_are_begun_at_a_time_and_none_where_there_is_no_room() {
    let mut t = leech(false);
    let peers = [third(&mut t), third(&mut t)];
    let begins = |t: &mut Trace, n: u8| {
        let addr = SocketAddr::from(([90, n, 1, 1], 6881));
        let peer = peers[usize::from(n) % 2];
        !punched(&tells(t, peer, HolepunchMessage::Connect(addr))).is_empty()
    };
    assert_eq!((0..20).filter(|n| begins(&mut t, *n)).count(), 8);

    let config = TorrentConfig { holepunch: true, max_peers: 2, ..TorrentConfig::default() };
    let mut t = Trace::with(config, Bitfield::empty(PIECES));
    let peer = third(&mut t);
    assert_eq!(punched(&tells(&mut t, peer, HolepunchMessage::Connect(FAR))), [FAR]);
    let other = SocketAddr::new([203, 0, 114, 9].into(), 9999);
    assert_eq!(punched(&tells(&mut t, peer, HolepunchMessage::Connect(other))), []);
    // What is under way counts where others are dialled, too.
    t.torrent.handle_peers(t.now, PeerSource::Tracker, &[other], &mut t.out);
    assert_eq!(t.effects(), []);
    assert!(punch_fails(&mut t, FAR).contains(&Effect::Dial(other)));
}

#[test]
fn nobody_is_told_to_connect_more_often_than_we_would_heed() {
    let mut t = leech(false);
    let (target, addr) = joins(&mut t, Direction::Outgoing, true, true);
    let mut told = 0;
    for _ in 0..20 {
        let asking = third(&mut t);
        for _ in 0..3 {
            let effects = tells(&mut t, asking, HolepunchMessage::Rendezvous(addr));
            told += said(&effects).iter().filter(|(to, _)| *to == target).count();
        }
    }
    assert_eq!(told, 12);
}

#[test]
fn strangers_name_nobody_in_our_network_and_nobody_who_is_connected() {
    let mut t = leech(false);
    let peer = third(&mut t);
    let (_, here) = joins(&mut t, Direction::Outgoing, true, true);
    let listens = SocketAddr::new(here.ip(), 7000);
    let inside = SocketAddr::from(([192, 168, 1, 1], 80));
    let nowhere = SocketAddr::new(FAR.ip(), 0);
    let many = SocketAddr::from(([239, 1, 2, 3], 5000));
    for addr in [inside, here, listens, nowhere, many] {
        assert_eq!(tells(&mut t, peer, HolepunchMessage::Connect(addr)), [], "{addr}");
    }
}

#[test]
fn a_torrent_that_stands_still_takes_no_part() {
    let mut t = leech(false);
    let third = third(&mut t);
    introduces(&mut t, third, FAR);
    t.torrent.handle_stop(t.now, &mut t.out);
    t.effects();
    assert_eq!(takes_long(&mut t, FAR), []);
    assert_eq!(fails(&mut t, FAR), []);
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
        let new = t.new_peer(EXTENDED);
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
