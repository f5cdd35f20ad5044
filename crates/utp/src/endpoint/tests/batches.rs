//! What comes together is dealt with together, and what may go out bit by bit goes out together.

use super::network::{Network, Side, addr};
use super::*;

/// All that one side wants sent, each datagram by itself.
fn datagrams(from: &mut Endpoint, now: Instant) -> Vec<Vec<u8>> {
    core::iter::from_fn(|| from.poll_transmit(now, 1).map(|t| t.contents.to_vec())).collect()
}

#[test]
fn datagrams_that_come_together_are_told_of_once() {
    let mut network = Network::new();
    let (a, b) = network.open();
    let (other_a, other_b) = network.open();
    let (now, mut out) = (network.now, Outbox::new());
    network.a.write(a, &[1; 3 * 528]).unwrap();
    let mut together = datagrams(&mut network.a, now);
    network.a.write(other_a, &[2; 2 * 528]).unwrap();
    together.extend(datagrams(&mut network.a, now));
    assert_eq!(together.len(), 5);
    let junk = [b"d1:q".to_vec(), together[0][..19].to_vec()];
    together.splice(1..1, junk);
    let slices = together.iter().map(Vec::as_slice);
    network.b.handle_datagrams(now, addr(Side::A), slices, &mut out);
    let told: Vec<_> = out.drain().collect();
    assert_eq!(told, [Event::Readable(b), Event::Readable(other_b)]);
    assert_eq!(network.read(Side::B, b), [1; 3 * 528]);
    assert_eq!(network.read(Side::B, other_b), [2; 2 * 528]);
    assert_eq!(datagrams(&mut network.b, now).len(), 2, "an acknowledgement for each");
}

#[test]
fn room_that_comes_bit_by_bit_is_used_in_larger_parts() {
    let mut network = Network::new();
    let (a, b) = network.open();
    // Round trips of 2 ms, in which the window grows: half of it goes out in a millisecond.
    for _ in 0..24 {
        while network.a.write(a, &[7; 50_000]).is_ok() {}
        for (from, datagram) in network.take_flight() {
            network.deliver(from, &datagram);
        }
        network.read(Side::B, b);
        network.pass(Duration::from_millis(1));
    }
    let mut flight = Vec::new();
    while flight.is_empty() {
        while network.a.write(a, &[7; 50_000]).is_ok() {}
        let (ours, theirs): (Vec<_>, Vec<_>) =
            network.take_flight().into_iter().partition(|(from, _)| *from == Side::A);
        theirs.iter().for_each(|(from, datagram)| network.deliver(*from, datagram));
        flight = ours;
    }
    assert!(flight.len() > 40, "{}", flight.len());
    let (now, mut calls, mut packets) = (network.now, 0, 0);
    for two in flight.chunks(2) {
        two.iter().for_each(|(from, datagram)| network.deliver(*from, datagram));
        network.read(Side::B, b);
        for told in datagrams(&mut network.b, now) {
            network.deliver(Side::B, &told);
        }
        while let Some(transmit) = network.a.poll_transmit(now, 44) {
            calls += 1;
            packets += transmit.contents.chunks(transmit.segment).count();
        }
    }
    assert!(packets > flight.len() / 2, "{packets} of {}", flight.len());
    assert!(packets > 8 * calls, "{packets} packets in {calls} calls");
}
