//! Traces of packets between two endpoints, over a network that the test is.

mod batches;
mod crossing;
mod hostile;
mod network;
mod streams;

use super::*;
use network::{Network, Side, addr};
use std::format;
use std::string::String;
use std::vec::Vec;

/// What a packet is, in few words; numbers relative to those that both sides began with.
fn show(network: &Network, from: Side, datagram: &[u8]) -> String {
    let packet = Packet::parse(datagram).unwrap();
    let header = packet.header;
    let (ours, theirs) = network.first_numbers(from);
    let seq = header.seq.since(ours);
    let ack = header.ack.since(theirs);
    let sack: Vec<_> = packet.sack.iter().flat_map(|sack| sack.received()).collect();
    let sack = if sack.is_empty() { String::new() } else { format!(" sack {sack:?}") };
    let len = packet.payload.len();
    match header.kind {
        PacketType::Syn => "syn".into(),
        PacketType::State => format!("state {seq} ack {ack}{sack}"),
        PacketType::Data => format!("data {seq} ({len}) ack {ack}{sack}"),
        PacketType::Fin => format!("fin {seq} ack {ack}{sack}"),
        PacketType::Reset => "reset".into(),
    }
}

/// Delivers everything, round trip after round trip, and writes it down.
fn trace(network: &mut Network) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let flight = network.take_flight();
        if flight.is_empty() {
            return lines;
        }
        for (from, datagram) in flight {
            let arrow = if from == Side::A { '>' } else { '<' };
            lines.push(format!("{arrow} {}", show(network, from, &datagram)));
            network.deliver(from, &datagram);
        }
        network.pass(Duration::from_millis(10));
    }
}

#[test]
fn a_connection_from_beginning_to_end() {
    let mut network = Network::new();
    let a = network.connect();
    assert_eq!(trace(&mut network), ["> syn", "< state 0 ack 0"]);
    assert_eq!(network.events(Side::A), [Event::Connected(a), Event::Writable(a)]);
    // Nobody is told of a peer that has not shown to be there.
    assert_eq!(network.events(Side::B), []);
    assert_eq!(network.a.write(a, b"hello"), Ok(5));
    assert_eq!(trace(&mut network), ["> data 1 (5) ack -1"]);
    let b = network.accepted();
    assert_eq!(network.read(Side::B, b), b"hello");
    assert_eq!(network.b.write(b, b"hi"), Ok(2));
    network.b.close(network.now, b);
    assert_eq!(trace(&mut network), ["< data 0 (2) ack 1", "< fin 1 ack 1", "> state 2 ack 1"]);
    assert_eq!(network.read(Side::A, a), b"hi");
    assert_eq!(network.a.read(network.now, a, &mut [0; 9]), Ok(0), "the end");
    network.a.close(network.now, a);
    assert_eq!(trace(&mut network), ["> fin 2 ack 1", "< state 2 ack 2"]);
    assert!(network.a.is_empty() && network.b.is_empty());
}

#[test]
fn one_packet_is_acknowledged_late_and_two_at_once() {
    let mut network = Network::new();
    let (a, _) = network.open();
    network.a.write(a, b"one").unwrap();
    let [(_, one)] = &network.take_flight()[..] else { panic!("one packet") };
    network.deliver(Side::A, one);
    assert!(network.take_flight().is_empty());
    network.run_timers_for(Duration::from_millis(4));
    assert!(network.take_flight().is_empty());
    network.run_timers_for(Duration::from_millis(1));
    assert_eq!(network.take_flight().len(), 1);
    for bytes in [b"two", b"six"] {
        network.a.write(a, bytes).unwrap();
        let flight = network.take_flight();
        assert_eq!(flight.len(), 1);
        network.deliver(Side::A, &flight[0].1);
    }
    assert_eq!(network.take_flight().len(), 1);
}

#[test]
fn a_lost_packet_is_sent_again_when_three_later_ones_arrived() {
    let mut network = Network::new();
    let (a, b) = network.open();
    let payload = network.a.stats(a).unwrap().packet;
    network.a.write(a, &[7; 5 * 528]).unwrap();
    assert_eq!(payload, 528);
    let mut flight = network.take_flight();
    // One of them tried a greater length.
    assert_eq!(flight.iter().map(|(_, d)| d.len()).max(), Some(1472));
    flight.remove(1);
    for (_, datagram) in &flight {
        network.deliver(Side::A, datagram);
    }
    let told = network.take_flight();
    let [(Side::B, told)] = &told[..] else { panic!("one acknowledgement") };
    assert_eq!(show(&network, Side::B, told), "state 0 ack 2 sack [2, 3, 4]");
    network.deliver(Side::B, told);
    assert_eq!(trace(&mut network), ["> data 3 (528) ack -1", "< state 0 ack 6"]);
    assert_eq!(network.read(Side::B, b).len(), 5 * 528);
}

#[test]
fn silence_backs_off_and_ends() {
    let mut network = Network::new();
    let (a, _) = network.open();
    network.a.write(a, b"anybody?").unwrap();
    let mut times = Vec::new();
    let began = network.now;
    while network.events(Side::A).is_empty() {
        if !network.take_flight().is_empty() {
            times.push((network.now - began).as_millis());
        }
        let next = network.a.next_timeout().unwrap();
        network.run_timers_for(next - network.now);
    }
    assert_eq!(times, [0, 500, 1500, 3500, 7500, 15500, 31500]);
    assert_eq!(network.a.write(a, b"x"), Err(StreamError::Closed(CloseReason::TimedOut)));
    assert_eq!(network.a.len(), 1, "until its owner lets go");
    network.a.close(network.now, a);
    assert_eq!(network.a.len(), 0);
    assert_eq!(network.a.write(a, b"x"), Err(StreamError::Unknown));
}

#[test]
fn nobody_answers_a_syn() {
    let mut network = Network::new();
    let a = network.connect();
    let mut syns = 0;
    let began = network.now;
    let events = loop {
        syns += network.take_flight().len();
        let events = network.events(Side::A);
        if !events.is_empty() {
            break events;
        }
        let next = network.a.next_timeout().unwrap();
        network.run_timers_for(next - network.now);
    };
    assert_eq!(events, [Event::Closed(a, CloseReason::TimedOut)]);
    assert_eq!((syns, (network.now - began).as_secs()), (3, 7));
}

#[test]
fn an_answer_that_was_lost_is_given_again() {
    let mut network = Network::new();
    network.connect();
    for round in 0..2 {
        let syn = network.take_flight();
        network.deliver(Side::A, &syn[0].1);
        let answer = network.take_flight();
        assert_eq!(show(&network, Side::B, &answer[0].1), "state 0 ack 0");
        if round == 1 {
            network.deliver(Side::B, &answer[0].1);
        } else {
            network.run_timers_for(Duration::from_secs(1));
        }
    }
    assert_eq!(network.events(Side::A).len(), 2);
}

#[test]
fn a_closed_window_is_looked_at_and_opens() {
    let mut network = Network::new();
    let (a, b) = network.open();
    let capacity = network.b.stats(b).unwrap().receive_window;
    // Nobody reads.
    let mut sent = 0;
    for _ in 0..3000 {
        sent += network.a.write(a, &[1; 10_000]).unwrap_or(0);
        trace(&mut network);
        if sent > capacity * 2 {
            break;
        }
        network.run_timers_for(Duration::from_millis(20));
    }
    assert!(sent > capacity && sent <= capacity + (1 << 20), "{sent}");
    // What finds out whether the window is open comes ever less often.
    let probes: usize = (0..20)
        .map(|_| {
            network.run_timers_for(Duration::from_secs(3));
            trace(&mut network).iter().filter(|line| line.starts_with("> data")).count()
        })
        .sum();
    assert!((2..=20).contains(&probes), "{probes} in a minute");
    let mut read = 0;
    while read < sent {
        read += network.read(Side::B, b).len();
        trace(&mut network);
        network.run_timers_for(Duration::from_millis(20));
    }
    assert_eq!(network.events(Side::A).last(), Some(&Event::Writable(a)));
}

#[test]
fn an_idle_connection_is_kept_alive() {
    let mut network = Network::new();
    let (_, _) = network.open();
    let mut sent = 0;
    for _ in 0..120 {
        network.run_timers_for(Duration::from_secs(1));
        sent += trace(&mut network).len();
    }
    assert!((6..=10).contains(&sent), "{sent} in two minutes, both ways");
}

#[test]
fn what_was_written_goes_out_after_the_owner_has_let_go_but_not_for_ever() {
    let mut network = Network::new();
    let (a, b) = network.open();
    network.a.write(a, &[3; 30_000]).unwrap();
    network.a.close(network.now, a);
    trace(&mut network);
    assert_eq!(network.read(Side::B, b).len(), 30_000);
    assert_eq!(network.b.read(network.now, b, &mut [0]), Ok(0));
    // The other side does not close.
    network.run_timers_for(Duration::from_secs(21));
    assert_eq!((network.a.len(), network.b.len()), (0, 1));
    // It finds out when it writes.
    network.events(Side::B);
    network.b.write(b, b"still there?").unwrap();
    assert_eq!(trace(&mut network).last().unwrap(), "> reset");
    assert_eq!(network.events(Side::B), [Event::Closed(b, CloseReason::Reset)]);
}

#[test]
fn an_abort_tells_the_peer() {
    let mut network = Network::new();
    let (a, b) = network.open();
    network.a.abort(a);
    assert_eq!(trace(&mut network), ["> reset"]);
    assert_eq!(network.events(Side::B), [Event::Closed(b, CloseReason::Reset)]);
    network.b.close(network.now, b);
    assert!(network.a.is_empty() && network.b.is_empty());
}

#[test]
fn many_connections_take_turns() {
    let mut network = Network::new();
    let (one, _) = network.open();
    let (two, _) = network.open();
    for key in [one, two] {
        network.a.write(key, &[0; 20_000]).unwrap();
    }
    let mut order = Vec::new();
    while let Some(transmit) = network.a.poll_transmit(network.now, 4) {
        order.push(Packet::parse(transmit.contents).unwrap().header.connection);
    }
    let changes = order.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(changes >= 3, "{order:?}");
}

#[test]
fn numbers_and_keys_are_not_used_twice() {
    let config = UtpConfig { max_connections: 3, ..UtpConfig::new([1; 32]) };
    let mut endpoint = Endpoint::new(config);
    let now = Instant::from_secs(1);
    let keys: Vec<_> = (0..3).map(|_| endpoint.connect(now, addr(Side::B)).unwrap()).collect();
    assert_eq!(endpoint.connect(now, addr(Side::B)), Err(ConnectError::TooMany));
    endpoint.abort(keys[1]);
    while endpoint.poll_transmit(now, 1).is_some() {}
    let again = endpoint.connect(now, addr(Side::B)).unwrap();
    assert!(!keys.contains(&again));
    assert_eq!(endpoint.stats(keys[1]), None);
}
