//! Both ends ask for a connection at the same time, as they do when holes are punched through NATs (BEP 55).

use super::*;

/// Both ask, and the requests pass each other.
fn crossed(network: &mut Network) -> (ConnectionKey, ConnectionKey) {
    let a = network.connect();
    let now = network.now;
    let b = network.b.connect(now, addr(Side::A)).unwrap();
    let flight = network.take_flight();
    assert_eq!(flight.len(), 2);
    for (from, syn) in &flight {
        network.deliver(*from, syn);
    }
    trace(network);
    (a, b)
}

#[test]
fn two_connections_come_of_it_and_either_does_without_the_other() {
    // With the same seed both choose the same ids and numbers.
    for seeds in [[7, 8], [7, 7]] {
        for first_goes in [true, false] {
            let [one, two] = seeds.map(|seed| UtpConfig::new([seed; 32]));
            let mut network = Network::with(one, two);
            let (a, b) = crossed(&mut network);
            assert_eq!(network.events(Side::A), [Event::Connected(a), Event::Writable(a)]);
            assert_eq!(network.events(Side::B), [Event::Connected(b), Event::Writable(b)]);
            network.a.write(a, b"from a").unwrap();
            network.b.write(b, b"from b").unwrap();
            trace(&mut network);
            let at_b = network.accepted();
            let accepted = network.events(Side::A).into_iter().find_map(|event| match event {
                Event::Accepted(key, from) => (from == addr(Side::B)).then_some(key),
                _ => None,
            });
            let at_a = accepted.unwrap();
            assert_eq!(network.read(Side::B, at_b), b"from a");
            assert_eq!(network.read(Side::A, at_a), b"from b");
            // One of the two goes, at both ends.
            let now = network.now;
            let (gone, left) =
                if first_goes { ((a, at_b), (at_a, b)) } else { ((at_a, b), (a, at_b)) };
            network.a.close(now, gone.0);
            network.b.close(now, gone.1);
            trace(&mut network);
            assert_eq!((network.a.len(), network.b.len()), (1, 1));
            network.a.write(left.0, b"still here").unwrap();
            trace(&mut network);
            assert_eq!(network.read(Side::B, left.1), b"still here");
        }
    }
}

#[test]
fn one_request_that_is_lost_at_a_nat_is_made_up_for_by_the_other() {
    let mut network = Network::new();
    network.connect();
    let now = network.now;
    let b = network.b.connect(now, addr(Side::A)).unwrap();
    // The first one to come finds the way shut.
    let flight = network.take_flight();
    for (from, syn) in flight.iter().filter(|(from, _)| *from == Side::B) {
        network.deliver(*from, syn);
    }
    trace(&mut network);
    assert_eq!(network.events(Side::B), [Event::Connected(b), Event::Writable(b)]);
}

#[test]
fn a_request_whose_id_is_taken_by_our_own_is_passed_over() {
    let mut network = Network::new();
    let a = network.connect();
    let [(_, ours)] = &network.take_flight()[..] else { panic!("one packet") };
    let mut theirs = Packet::parse(ours).unwrap().header;
    theirs.connection = ConnectionId(theirs.connection.0.wrapping_sub(1));
    theirs.seq = SeqNr(1234);
    network.deliver(Side::B, &theirs.encode());
    assert_eq!((network.take_flight(), network.a.len()), (vec![], 1));
    network.deliver(Side::A, ours);
    trace(&mut network);
    assert_eq!(network.events(Side::A), [Event::Connected(a), Event::Writable(a)]);
}
