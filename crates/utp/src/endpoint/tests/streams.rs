//! Whatever the network does to datagrams, streams come out as they went in.

use super::network::{Network, Side};
use crate::endpoint::{ConnectionKey, UtpConfig};
use proptest::prelude::*;
use samara_wire::time::Duration;
use std::vec::Vec;

/// What a network does to one datagram.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Arrives,
    Lost,
    Twice,
    /// It comes this many datagrams later.
    Late(usize),
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        12 => Just(Fate::Arrives),
        2 => Just(Fate::Lost),
        1 => Just(Fate::Twice),
        2 => (1_usize..12).prop_map(Fate::Late),
    ];
    prop::collection::vec(fate, 1..200)
}

/// One direction of a stream.
struct Flow {
    from: Side,
    keys: [ConnectionKey; 2],
    bytes: Vec<u8>,
    written: usize,
    read: Vec<u8>,
    step: usize,
}

impl Flow {
    fn new(from: Side, keys: [ConnectionKey; 2], len: usize, step: usize) -> Self {
        let bytes = (0..len).map(|i| u8::try_from(i * 31 % 251).unwrap()).collect();
        Self { from, keys, bytes, written: 0, read: Vec::new(), step }
    }

    fn pump(&mut self, network: &mut Network) {
        let [sender, receiver] = self.keys;
        let to = if self.from == Side::A { Side::B } else { Side::A };
        let end = self.bytes.len().min(self.written + self.step);
        let part = &self.bytes[self.written..end];
        self.written += network.side(self.from).write(sender, part).unwrap_or(0);
        let now = network.now;
        let mut buffer = std::vec![0; self.step];
        if let Ok(read) = network.side(to).read(now, receiver, &mut buffer) {
            self.read.extend(&buffer[..read]);
        }
    }
}

/// Moves both streams through the network; gives the time it took.
fn run(network: &mut Network, flows: &mut [Flow], fates: &[Fate], longest: usize) -> Duration {
    let began = network.now;
    let mut fates = fates.iter().copied().cycle();
    let mut late: Vec<(usize, Side, Vec<u8>)> = Vec::new();
    let mut count = 0;
    while flows.iter().any(|flow| flow.read.len() < flow.bytes.len()) {
        flows.iter_mut().for_each(|flow| flow.pump(network));
        for (from, datagram) in network.take_flight() {
            count += 1;
            let fate = if datagram.len() > longest { Fate::Lost } else { fates.next().unwrap() };
            match fate {
                Fate::Arrives => network.deliver(from, &datagram),
                Fate::Lost => {}
                Fate::Twice => (0..2).for_each(|_| network.deliver(from, &datagram)),
                Fate::Late(by) => late.push((count + by, from, datagram)),
            }
            let due = late.extract_if(.., |(at, ..)| *at <= count).collect::<Vec<_>>();
            due.iter().for_each(|(_, from, datagram)| network.deliver(*from, datagram));
        }
        network.run_timers_for(Duration::from_millis(10));
        // What is late waits for datagrams, not for time, so that a round trip may well come to seconds.
        assert!(network.now - began < Duration::from_secs(20_000), "it stands still");
    }
    network.now - began
}

fn check(
    mut network: Network,
    lens: [usize; 2],
    step: usize,
    fates: &[Fate],
    longest: usize,
) -> Duration {
    let (a, b) = network.open();
    let mut flows =
        [Flow::new(Side::A, [a, b], lens[0], step), Flow::new(Side::B, [b, a], lens[1], step)];
    let took = run(&mut network, &mut flows, fates, longest);
    for flow in flows {
        assert!(flow.read == flow.bytes);
    }
    took
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn streams_come_out_as_they_went_in(
        seed: [u8; 2],
        lens in [0_usize..300_000, 0_usize..100_000],
        step in 1000_usize..40_000,
        fates in fates(),
        longest in 548_usize..2000,
    ) {
        // At least one datagram of a round gets through, or nothing ever would.
        let fates: Vec<_> = fates.into_iter().chain([Fate::Arrives; 3]).collect();
        let network = Network::with(UtpConfig::new([seed[0]; 32]), UtpConfig::new([seed[1]; 32]));
        check(network, lens, step, &fates, longest);
    }

    #[test]
    fn tiny_receive_windows_only_make_it_slow(seed: u8, capacity in 600_usize..5000, fates in fates()) {
        let fates: Vec<_> = fates.into_iter().chain([Fate::Arrives; 3]).collect();
        let tiny = |seed| UtpConfig { receive_buffer: (capacity, capacity), ..UtpConfig::new([seed; 32]) };
        check(Network::with(tiny(seed), tiny(seed ^ 1)), [20_000, 9_000], 3_000, &fates, 2000);
    }
}

#[test]
fn sequence_numbers_wrap_more_than_once() {
    let short = |seed| UtpConfig { datagram_v4: (120, 120), ..UtpConfig::new([seed; 32]) };
    // 100 bytes a packet: 150,000 packets.
    let fates =
        [Fate::Arrives; 50].into_iter().chain([Fate::Lost, Fate::Late(3)]).collect::<Vec<_>>();
    check(Network::with(short(1), short(2)), [15_000_000, 1_000], 200_000, &fates, 2000);
}
