//! Two endpoints, and datagrams that go from one to the other only when the test says so.

use crate::endpoint::{ConnectionKey, Endpoint, Event, Outbox, UtpConfig};
use core::net::{Ipv4Addr, SocketAddr};
use samara_wire::time::{Duration, Instant};
use samara_wire::utp::{Packet, PacketType, SeqNr};
use std::vec;
use std::vec::Vec;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    A,
    B,
}

pub(super) fn addr(side: Side) -> SocketAddr {
    let last = if side == Side::A { 1 } else { 2 };
    (Ipv4Addr::new(10, 0, 0, last), 6881).into()
}

pub(super) struct Network {
    pub(super) now: Instant,
    pub(super) a: Endpoint,
    pub(super) b: Endpoint,
    out: [Outbox; 2],
    events: [Vec<Event>; 2],
    /// Numbers of the SYN of the last connection and of its answer.
    first: [SeqNr; 2],
}

impl Network {
    pub(super) fn new() -> Self {
        Self::with(UtpConfig::new([7; 32]), UtpConfig::new([8; 32]))
    }

    pub(super) fn with(a: UtpConfig, b: UtpConfig) -> Self {
        Self {
            now: Instant::from_secs(10),
            a: Endpoint::new(a),
            b: Endpoint::new(b),
            out: Default::default(),
            events: Default::default(),
            first: Default::default(),
        }
    }

    pub(super) fn side(&mut self, side: Side) -> &mut Endpoint {
        if side == Side::A { &mut self.a } else { &mut self.b }
    }

    pub(super) fn connect(&mut self) -> ConnectionKey {
        self.a.connect(self.now, addr(Side::B)).unwrap()
    }

    /// A connection whose both ends are known.
    pub(super) fn open(&mut self) -> (ConnectionKey, ConnectionKey) {
        let a = self.connect();
        super::trace(self);
        self.a.write(a, b"!").unwrap();
        super::trace(self);
        let b = self.accepted();
        assert_eq!(self.read(Side::B, b), b"!");
        self.events(Side::A);
        // The acknowledgement of the one packet is late.
        self.run_timers_for(Duration::from_millis(5));
        super::trace(self);
        (a, b)
    }

    pub(super) fn accepted(&mut self) -> ConnectionKey {
        let events = self.events(Side::B);
        let accepted = events.iter().find_map(|event| match event {
            Event::Accepted(key, from) if *from == addr(Side::A) => Some(*key),
            _ => None,
        });
        accepted.unwrap()
    }

    pub(super) fn events(&mut self, side: Side) -> Vec<Event> {
        std::mem::take(&mut self.events[side as usize])
    }

    /// All that both sides want sent.
    pub(super) fn take_flight(&mut self) -> Vec<(Side, Vec<u8>)> {
        let mut flight = Vec::new();
        let now = self.now;
        for from in [Side::A, Side::B] {
            while let Some(transmit) = self.side(from).poll_transmit(now, 8) {
                for datagram in transmit.contents.chunks(transmit.segment) {
                    flight.push((from, datagram.to_vec()));
                }
            }
        }
        for (from, datagram) in &flight {
            let header = Packet::parse(datagram).unwrap().header;
            match (from, header.kind) {
                (Side::A, PacketType::Syn) => self.first[0] = header.seq,
                (Side::B, PacketType::State) if header.ack == self.first[0] => {
                    self.first[1] = header.seq;
                }
                _ => {}
            }
        }
        flight
    }

    pub(super) fn first_numbers(&self, from: Side) -> (SeqNr, SeqNr) {
        let [a, b] = self.first;
        if from == Side::A { (a, b) } else { (b, a) }
    }

    pub(super) fn deliver(&mut self, from: Side, datagram: &[u8]) {
        let to = if from == Side::A { Side::B } else { Side::A };
        let now = self.now;
        let mut out = std::mem::take(&mut self.out[to as usize]);
        self.side(to).handle_datagram(now, addr(from), datagram, &mut out);
        self.events[to as usize].extend(out.drain());
        self.out[to as usize] = out;
    }

    /// Lets time pass in which nobody is called.
    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// Lets time pass, calling who wants to be called.
    pub(super) fn run_timers_for(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let next = [self.a.next_timeout(), self.b.next_timeout()].into_iter().flatten().min();
            let at = next.filter(|at| *at <= end);
            self.now = self.now.max(at.unwrap_or(end));
            let now = self.now;
            for side in [Side::A, Side::B] {
                let mut out = Outbox::new();
                self.side(side).handle_timeout(now, &mut out);
                self.events[side as usize].extend(out.drain());
            }
            if at.is_none() {
                return;
            }
        }
    }

    /// Reads all there is.
    pub(super) fn read(&mut self, side: Side, key: ConnectionKey) -> Vec<u8> {
        let now = self.now;
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 5000];
        while let Ok(read @ 1..) = self.side(side).read(now, key, &mut buffer) {
            bytes.extend(&buffer[..read]);
        }
        bytes
    }
}
