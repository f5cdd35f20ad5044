//! What comes together is dealt with together.

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
