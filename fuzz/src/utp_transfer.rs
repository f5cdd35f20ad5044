//! Two ends of uTP with a network between them that loses, delays, repeats and reorders, and changes nothing: what one side writes the other
//! reads, byte for byte, as far as it gets; and when the network is well again, all of it.

use crate::Script;
use samara_utp::{ConnectionKey, Endpoint, Event, Outbox, UtpConfig};
use samara_wire::time::{Duration, Instant};
use std::net::SocketAddr;

/// Bytes that one side writes at most.
const MAX_BYTES: usize = 60_000;

/// Datagrams that the network holds.
const MAX_HELD: usize = 64;

struct World {
    now: Instant,
    ends: [Endpoint; 2],
    /// Of the one connection, on each side once it is there.
    keys: [Option<ConnectionKey>; 2],
    written: [usize; 2],
    read: [usize; 2],
    held: Vec<(usize, Vec<u8>)>,
    closed: bool,
}

/// Reads `input` as writes, reads, time and the fate of datagrams.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let end = |seed| {
        Endpoint::new(UtpConfig {
            receive_buffer: (6000, 12_000),
            receive_budget: 10_000,
            ..UtpConfig::new([seed; 32])
        })
    };
    let mut world = World {
        now: Instant::from_secs(1),
        ends: [end(1), end(2)],
        keys: [None; 2],
        written: [0; 2],
        read: [0; 2],
        held: Vec::new(),
        closed: false,
    };
    world.keys[0] = world.ends[0].connect(world.now, addr(1)).ok();
    for _ in 0..250 {
        if script.is_done() {
            break;
        }
        world.step(&mut script);
    }
    world.heal();
}

fn addr(side: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, if side == 0 { 1 } else { 2 }], 6881))
}

/// What stands at `at` in the stream of a side.
fn byte(side: usize, at: usize) -> u8 {
    let [low, high, ..] = (at + side * 7919).to_le_bytes();
    low ^ high.wrapping_mul(31)
}

impl World {
    fn step(&mut self, script: &mut Script<'_>) {
        let [what, value] = script.array();
        let side = usize::from(what & 1);
        match what >> 1 & 7 {
            0 | 1 => self.write(side, usize::from(value) * 24),
            2 | 3 => self.read(side, usize::from(value) * 48),
            4 => self.pass(Duration::from_millis(value.into())),
            5 => self.pass(Duration::from_millis(u64::from(value) * 20)),
            // What was held back arrives now, perhaps again.
            6 if !self.held.is_empty() => {
                let at = usize::from(value) % self.held.len();
                let (to, datagram) = match value & 0x80 {
                    0 => self.held.swap_remove(at),
                    _ => self.held[at].clone(),
                };
                self.deliver(to, &datagram);
            }
            _ => {}
        }
        self.exchange(what >> 4, script);
    }

    fn write(&mut self, side: usize, count: usize) {
        let Some(key) = self.keys[side] else { return };
        let at = self.written[side];
        let count = count.min(MAX_BYTES - at);
        let bytes: Vec<u8> = (at..at + count).map(|at| byte(side, at)).collect();
        if let Ok(taken) = self.ends[side].write(key, &bytes) {
            assert!(taken <= count);
            self.written[side] += taken;
        }
    }

    fn read(&mut self, side: usize, most: usize) {
        let Some(key) = self.keys[side] else { return };
        let mut buf = vec![0; most];
        let Ok(count) = self.ends[side].read(self.now, key, &mut buf) else { return };
        let from = 1 - side;
        for got in &buf[..count] {
            assert_eq!(*got, byte(from, self.read[side]), "byte {} of {from}", self.read[side]);
            self.read[side] += 1;
        }
        assert!(self.read[side] <= self.written[from], "more than was written");
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        for side in 0..2 {
            let mut out = Outbox::new();
            self.ends[side].handle_timeout(self.now, &mut out);
            self.note(side, &mut out);
            let next = self.ends[side].next_timeout();
            assert!(next.is_none_or(|at| at > self.now), "due at once again");
        }
    }

    fn deliver(&mut self, to: usize, datagram: &[u8]) {
        let mut out = Outbox::new();
        self.ends[to].handle_datagram(self.now, addr(1 - to), datagram, &mut out);
        self.note(to, &mut out);
    }

    fn note(&mut self, side: usize, out: &mut Outbox) {
        for event in out.drain() {
            match event {
                Event::Accepted(key, from) => {
                    assert_eq!(from, addr(1 - side));
                    // A repeated opening packet makes no second connection of one that is open.
                    self.keys[side].get_or_insert(key);
                }
                Event::Closed(key, _) if self.keys[side] == Some(key) => self.closed = true,
                _ => {}
            }
        }
    }

    /// What both want sent goes as `fate` and the script have it.
    fn exchange(&mut self, fate: u8, script: &mut Script<'_>) {
        for (to, datagram) in self.sent() {
            match if fate == 0 { 0 } else { script.byte() & fate } {
                1 => {}
                2 if self.held.len() < MAX_HELD => self.held.push((to, datagram)),
                4 => {
                    self.deliver(to, &datagram);
                    self.deliver(to, &datagram);
                }
                _ => self.deliver(to, &datagram),
            }
        }
    }

    fn sent(&mut self) -> Vec<(usize, Vec<u8>)> {
        let mut sent = Vec::new();
        for side in 0..2 {
            while let Some(transmit) = self.ends[side].poll_transmit(self.now, 8) {
                assert_eq!(transmit.to, addr(1 - side));
                let parts = transmit.contents.chunks(transmit.segment);
                sent.extend(parts.map(|datagram| (1 - side, datagram.to_vec())));
            }
        }
        sent
    }

    /// From now on all arrives, and both sides read.
    fn heal(&mut self) {
        for _ in 0..4000 {
            if self.closed || (0..2).all(|side| self.read[1 - side] == self.written[side]) {
                return;
            }
            for (to, datagram) in self.sent() {
                self.deliver(to, &datagram);
            }
            for side in 0..2 {
                self.read(side, 12_000);
            }
            let next = (0..2).filter_map(|side| self.ends[side].next_timeout()).min();
            let wait = next.map_or(Duration::from_millis(20), |at| at.since(self.now));
            self.pass(wait.clamp(Duration::from_millis(1), Duration::from_millis(500)));
        }
        panic!("{:?} of {:?} arrived, and no end", self.read, self.written);
    }
}
