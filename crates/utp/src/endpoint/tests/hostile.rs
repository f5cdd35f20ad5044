//! What strangers send.

use super::network::{Network, Side, addr};
use super::{show, trace};
use crate::connection::StreamError;
use crate::endpoint::{Endpoint, Event, Outbox, UtpConfig};
use core::net::{Ipv4Addr, SocketAddr};
use proptest::prelude::*;
use samara_wire::time::{Duration, Instant};
use samara_wire::utp::{ConnectionId, Header, Packet, PacketType, SeqNr};
use std::vec::Vec;

fn header(datagram: &[u8]) -> Header {
    Packet::parse(datagram).unwrap().header
}

#[test]
fn a_reset_with_wrong_numbers_kills_nothing() {
    let mut network = Network::new();
    let (a, b) = network.open();
    network.a.write(a, &[1; 2000]).unwrap();
    let flight = network.take_flight();
    let last = header(&flight.last().unwrap().1);
    let forged = |connection: u16, ack: SeqNr| {
        Header { kind: PacketType::Reset, connection: ConnectionId(connection), ack, ..last }
            .encode()
    };
    // The id is right, either one; the number is not one of what we sent.
    for id in [last.connection.0, last.connection.0.wrapping_sub(1)] {
        for off in [2, 300, 0x8000, 0xfff0] {
            network.deliver(Side::B, &forged(id, last.seq.plus(off)));
        }
    }
    // The number is right; the id is not.
    for off in [1, 2, 0x7fff, 0xfffe] {
        network.deliver(Side::B, &forged(last.connection.0.wrapping_add(off), last.seq));
    }
    assert_eq!(network.events(Side::A), []);
    for (_, datagram) in flight {
        network.deliver(Side::A, &datagram);
    }
    trace(&mut network);
    assert_eq!(network.read(Side::B, b).len(), 2000);
    // The real one names our id, and the number of a packet of ours.
    network.a.write(a, b"x").unwrap();
    let flight = network.take_flight();
    let last = header(&flight[0].1);
    let real = Header { kind: PacketType::Reset, ack: last.seq, ..last }.encode();
    network.deliver(Side::B, &real);
    assert!(matches!(network.events(Side::A)[..], [Event::Closed(key, _)] if key == a));
}

#[test]
fn packets_with_numbers_out_of_the_window_do_nothing() {
    let mut network = Network::new();
    let (a, b) = network.open();
    network.b.write(b, b"real").unwrap();
    let flight = network.take_flight();
    let real = header(&flight[0].1);
    let mut forged = |kind, seq: SeqNr, ack: SeqNr| {
        let mut bytes = Header { kind, seq, ack, window: 0, ..real }.encode().to_vec();
        bytes.extend(b"fake");
        network.deliver(Side::B, &bytes);
    };
    for kind in [PacketType::Data, PacketType::Fin, PacketType::State] {
        // It acknowledges what was never sent, or was sent long ago.
        forged(kind, real.seq, real.ack.plus(1));
        forged(kind, real.seq, real.ack.minus(513));
    }
    // It is of a stream far away.
    forged(PacketType::Data, real.seq.plus(600), real.ack);
    forged(PacketType::Data, real.seq.minus(1), real.ack);
    assert_eq!(network.events(Side::A), []);
    network.deliver(Side::B, &flight[0].1);
    assert_eq!(network.read(Side::A, a), b"real");
}

#[test]
fn who_asks_and_is_silent_is_forgotten_and_cannot_fill_the_table() {
    let config = UtpConfig { max_half_open: 8, max_connections: 20, ..UtpConfig::new([8; 32]) };
    let mut network = Network::with(UtpConfig::new([7; 32]), config);
    let (a, b) = network.open();
    let syn = Header {
        kind: PacketType::Syn,
        connection: ConnectionId(0),
        timestamp: 1,
        timestamp_difference: 0,
        window: 1000,
        seq: SeqNr(1),
        ack: SeqNr(0),
    };
    let mut out = Outbox::new();
    let mut answers = 0;
    for port in 1..1000 {
        let from = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), port));
        network.b.handle_datagram(network.now, from, &syn.encode(), &mut out);
        while let Some(transmit) = network.b.poll_transmit(network.now, 8) {
            assert!(transmit.contents.len() <= 20, "no more than what came");
            answers += 1;
        }
    }
    assert_eq!(answers, 999);
    assert_eq!(network.b.len(), 1 + 8);
    assert_eq!(out.drain().count(), 0);
    network.run_timers_for(Duration::from_secs(11));
    assert_eq!(network.b.len(), 1);
    // Who was there before has noticed nothing.
    network.a.write(a, b"still here").unwrap();
    trace(&mut network);
    assert_eq!(network.read(Side::B, b), b"still here");
}

#[test]
fn a_peer_that_guesses_our_first_number_wrong_is_not_accepted() {
    let mut network = Network::new();
    network.connect();
    let syn = network.take_flight();
    network.deliver(Side::A, &syn[0].1);
    let answer = network.take_flight();
    let (ours, theirs) = (header(&answer[0].1), header(&syn[0].1));
    for off in [1, 2, 0x4000, 0xffff] {
        let data = Header {
            kind: PacketType::Data,
            connection: ConnectionId(theirs.connection.0.wrapping_add(1)),
            seq: theirs.seq.plus(1),
            ack: ours.seq.minus(1).plus(off),
            ..theirs
        };
        network.deliver(Side::A, &data.encode());
    }
    assert_eq!(network.events(Side::B), []);
}

#[test]
fn what_belongs_to_nobody_is_answered_with_a_reset_but_not_without_end() {
    let mut endpoint = Endpoint::new(UtpConfig::new([7; 32]));
    let now = Instant::from_secs(1);
    let mut out = Outbox::new();
    let data = Header {
        kind: PacketType::Data,
        connection: ConnectionId(77),
        timestamp: 1,
        timestamp_difference: 0,
        window: 1000,
        seq: SeqNr(5),
        ack: SeqNr(0),
    };
    for _ in 0..1000 {
        endpoint.handle_datagram(now, addr(Side::B), &data.encode(), &mut out);
    }
    let mut resets = 0;
    while let Some(transmit) = endpoint.poll_transmit(now, 8) {
        let reset = header(transmit.contents);
        assert_eq!((reset.kind, reset.connection), (PacketType::Reset, ConnectionId(77)));
        assert_eq!((reset.ack, transmit.contents.len()), (SeqNr(5), 20));
        resets += 1;
    }
    assert_eq!(resets, 32);
    // A reset is never answered.
    let reset = Header { kind: PacketType::Reset, ..data };
    endpoint.handle_datagram(now, addr(Side::B), &reset.encode(), &mut out);
    assert_eq!(endpoint.poll_transmit(now, 8), None);
}

#[test]
fn a_peer_that_ignores_the_window_is_held_to_it() {
    let mut network = Network::new();
    let (a, b) = network.open();
    network.a.write(a, b"x").unwrap();
    let first = header(&network.take_flight()[0].1);
    let capacity = network.b.stats(b).unwrap().receive_window;
    // It sends far more than there is room for, with a gap in front or without.
    for from in [1, 0] {
        for i in from..1000 {
            let mut bytes = Header { seq: first.seq.plus(i), ..first }.encode().to_vec();
            bytes.resize(1400, 9);
            network.deliver(Side::A, &bytes);
        }
    }
    let read = network.read(Side::B, b).len();
    assert!(read > 0 && read <= capacity, "{read}");
}

#[test]
fn a_window_of_nothing_keeps_a_connection_and_little_memory() {
    let mut network = Network::new();
    let (a, _) = network.open();
    let mut written = 0;
    for _ in 0..100 {
        match network.a.write(a, &[1; 10_000]) {
            Ok(n) => written += n,
            Err(error) => assert_eq!(error, StreamError::WouldBlock),
        }
        // The peer acknowledges, and has no room.
        for (from, datagram) in network.take_flight() {
            network.deliver(from, &datagram);
        }
        for (from, datagram) in network.take_flight() {
            let mut bytes = datagram;
            bytes[12..16].fill(0);
            network.deliver(from, &bytes);
        }
        network.pass(Duration::from_millis(10));
    }
    assert!(written < 100_000, "{written}");
    assert!(network.a.stats(a).unwrap().in_flight < 2000);
}

proptest! {
    /// Any bytes, and any mutation of packets that are real, do no worse than what losing them would.
    #[test]
    fn mutated_packets_do_no_harm(
        changes in prop::collection::vec((0_usize..24, any::<u8>(), 0_usize..60), 1..60),
        seed: u8,
    ) {
        let mut network = Network::with(UtpConfig::new([seed; 32]), UtpConfig::new([seed ^ 1; 32]));
        let (a, b) = network.open();
        for (at, value, len) in changes {
            network.a.write(a, &[1; 700]).ok();
            network.b.write(b, &[1; 70]).ok();
            for (from, datagram) in network.take_flight() {
                network.deliver(from, &datagram);
                let mut bytes = datagram;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
                bytes.truncate(bytes.len() - len.min(bytes.len()));
                network.deliver(from, &bytes);
            }
            network.run_timers_for(Duration::from_millis(20));
        }
        let stats = network.a.stats(a);
        prop_assert!(stats.is_none_or(|stats| stats.in_flight <= stats.window + 2 * stats.packet));
        prop_assert!(network.a.len() <= 2 && network.b.len() <= 60);
    }
}

#[test]
fn truncated_packets_are_passed_over() {
    let mut network = Network::new();
    let (a, b) = network.open();
    network.a.write(a, b"x").unwrap();
    let flight = network.take_flight();
    for len in 0..20 {
        network.deliver(Side::A, &flight[0].1[..len]);
    }
    assert_eq!(network.read(Side::B, b), b"");
    let shown: Vec<_> = flight.iter().map(|(from, bytes)| show(&network, *from, bytes)).collect();
    assert_eq!(shown, ["data 2 (1) ack -1"]);
}
