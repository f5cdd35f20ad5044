//! An endpoint of uTP under any packets at any time: it never panics, and its bounds hold.
//!
//! The input is read as a list of steps. Beside strangers' datagrams the endpoint meets real ones of another endpoint, some of
//! them changed, so that what lies behind the handshake is reached as well.

use samara_utp::{ConnectionKey, Endpoint, Event, Outbox, UtpConfig};
use samara_wire::time::{Duration, Instant};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

/// Packets kept by the network, to be delivered late or twice.
const MAX_KEPT: usize = 32;

struct World {
    now: Instant,
    ends: [Endpoint; 2],
    keys: [Vec<ConnectionKey>; 2],
    kept: Vec<(usize, Vec<u8>)>,
    arrived: usize,
    /// The widest window of each connection.
    widest: BTreeMap<(usize, ConnectionKey), usize>,
}

/// Reads `input` as steps, and takes them. Returns how many bytes of streams arrived.
pub fn run(input: &[u8]) -> usize {
    let end = |seed| {
        Endpoint::new(UtpConfig {
            max_connections: 8,
            max_half_open: 3,
            receive_buffer: (4096, 16384),
            receive_budget: 20_000,
            ..UtpConfig::new([seed; 32])
        })
    };
    let mut world = World {
        now: Instant::from_secs(1),
        ends: [end(1), end(2)],
        keys: [vec![], vec![]],
        kept: vec![],
        arrived: 0,
        widest: BTreeMap::new(),
    };
    let mut rest = input;
    while let Some((&[step, value], after)) = rest.split_first_chunk() {
        rest = after;
        let side = usize::from(step & 1);
        match step >> 1 & 7 {
            0 => world.connect(side),
            1 => world.write(side, value),
            2 => world.read(side, value),
            3 => world.close(side, value),
            4 => world.pass(Duration::from_millis(u64::from(value) * 4)),
            5 => {
                let (datagram, after) = rest.split_at(rest.len().min(value.into()));
                rest = after;
                world.deliver(side, datagram);
            }
            6 => world.mutate(side, value),
            _ => world.pass(Duration::from_secs(value.into())),
        }
        world.exchange(step >> 4);
    }
    world.arrived
}

fn addr(side: usize) -> SocketAddr {
    let last = if side == 0 { 1 } else { 2 };
    (Ipv4Addr::new(10, 0, 0, last), 6881).into()
}

impl World {
    fn connect(&mut self, side: usize) {
        if let Ok(key) = self.ends[side].connect(self.now, addr(1 - side)) {
            self.keys[side].push(key);
        }
    }

    fn key(&self, side: usize, value: u8) -> Option<ConnectionKey> {
        let keys = &self.keys[side];
        (!keys.is_empty()).then(|| keys[usize::from(value) % keys.len()])
    }

    fn write(&mut self, side: usize, value: u8) {
        if let Some(key) = self.key(side, value) {
            let bytes = vec![value; usize::from(value) * 40];
            let _ = self.ends[side].write(key, &bytes);
        }
    }

    fn read(&mut self, side: usize, value: u8) {
        if let Some(key) = self.key(side, value) {
            self.arrived += self.ends[side].read(self.now, key, &mut [0; 3000]).unwrap_or(0);
        }
    }

    fn close(&mut self, side: usize, value: u8) {
        let Some(key) = self.key(side, value) else { return };
        if value & 0x80 == 0 {
            self.ends[side].close(self.now, key);
        } else {
            self.ends[side].abort(key);
        }
        self.keys[side].retain(|kept| *kept != key);
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

    /// Delivers a packet that was seen before, with one byte changed.
    fn mutate(&mut self, side: usize, value: u8) {
        if self.kept.is_empty() {
            return;
        }
        let (_, mut datagram) = self.kept.swap_remove(usize::from(value) % self.kept.len());
        let at = usize::from(value) % datagram.len().max(1);
        if let Some(byte) = datagram.get_mut(at) {
            *byte ^= value.rotate_left(3) | 1;
        }
        self.deliver(side, &datagram);
    }

    fn deliver(&mut self, to: usize, datagram: &[u8]) {
        let mut out = Outbox::new();
        self.ends[to].handle_datagram(self.now, addr(1 - to), datagram, &mut out);
        self.note(to, &mut out);
    }

    fn note(&mut self, side: usize, out: &mut Outbox) {
        for event in out.drain() {
            if let Event::Accepted(key, _) = event {
                self.keys[side].push(key);
            }
        }
    }

    /// Takes what both want sent: each eighth datagram as `fate` has it, the others arrive.
    fn exchange(&mut self, fate: u8) {
        let mut sent = Vec::new();
        for side in 0..2 {
            while let Some(transmit) = self.ends[side].poll_transmit(self.now, 8) {
                assert!(transmit.segment > 0 && transmit.contents.len() <= 8 * transmit.segment);
                sent.extend(transmit.contents.chunks(transmit.segment).map(|d| (side, d.to_vec())));
            }
        }
        for (i, (from, datagram)) in (0_u8..=255).cycle().zip(sent) {
            if i & 7 != fate & 7 {
                self.deliver(1 - from, &datagram);
            }
            if self.kept.len() < MAX_KEPT {
                self.kept.push((from, datagram));
            }
        }
        for side in 0..2 {
            assert!(self.ends[side].len() <= 8);
            for key in &self.keys[side] {
                if let Some(stats) = self.ends[side].stats(*key) {
                    assert!(stats.receive_window <= 16384);
                    // What was sent while the window was wider may be on its way still.
                    let widest = self.widest.entry((side, *key)).or_default();
                    *widest = (*widest).max(stats.window);
                    assert!(stats.in_flight <= (*widest).max(2 * 1472) + 2 * 1472);
                }
            }
        }
    }
}
