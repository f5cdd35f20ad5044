//! One bottleneck, and what goes through it: streams of uTP ([`samara_utp::Endpoint`]) and a flow like TCP's.
//!
//! All streams go the same way, from one endpoint to another, over a link with a rate, a delay, a buffer that drops what does not
//! fit, and losses and lateness by chance. What goes back meets the delay alone. The two ends' clocks have nothing to do with each other.
//!
//! The flow like TCP's ([`Reno`]) is no more than slow start, additive increase, and half of the window for each
//! round trip with a loss: what a flow that yields has to yield to.

mod reno;

use reno::Reno;
use samara_swarm::rng::Rng;
use samara_utp::{ConnectionKey, Endpoint, Event, Outbox, UtpConfig};
use samara_wire::time::{Duration, Instant};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

/// Bytes of headers below uTP: IPv4 and UDP.
const OVERHEAD: usize = 28;

/// Read and written at a time, in bytes.
const STEP: usize = 64 << 10;

/// What is simulated.
#[derive(Clone, Debug)]
pub struct UtpWorldConfig {
    /// Bytes per second that the link carries.
    pub rate: u64,
    /// Shortest round trip.
    pub rtt: Duration,
    /// Bytes that may wait in front of the link.
    pub buffer: u64,
    /// Datagrams of a million that get lost by chance.
    pub loss_ppm: usize,
    /// Datagrams may be late by up to this, each by its own lot: they overtake each other.
    pub jitter: Duration,
    /// Streams of uTP.
    pub streams: usize,
    /// When a flow like TCP's begins, if one does, counted from the beginning.
    pub tcp_from: Option<Duration>,
    /// Time that is not measured, and time that is.
    pub duration: (Duration, Duration),
    /// How endpoints behave; the seed is replaced.
    pub endpoint: UtpConfig,
    /// All that is left to chance.
    pub seed: u8,
}

impl Default for UtpWorldConfig {
    fn default() -> Self {
        Self {
            rate: 1 << 20,
            rtt: Duration::from_millis(50),
            buffer: 1 << 20,
            loss_ppm: 0,
            jitter: Duration::ZERO,
            streams: 1,
            tcp_from: None,
            duration: (Duration::from_secs(5), Duration::from_secs(20)),
            endpoint: UtpConfig::new([0; 32]),
            seed: 1,
        }
    }
}

/// What was measured.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct UtpReport {
    /// Bytes that each stream of uTP delivered.
    pub delivered: Vec<u64>,
    /// Bytes that the flow like TCP's delivered.
    pub tcp: u64,
    /// Time in the queue of the link: the mean of all datagrams, and the most.
    pub queueing: (Duration, Duration),
    /// Datagrams lost, by chance or for want of room.
    pub lost: u64,
    /// Time measured.
    pub time: Duration,
}

impl UtpReport {
    /// Bytes per second of all streams of uTP.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.delivered.iter().map(|bytes| *bytes as f64).sum::<f64>() / self.time.as_secs_f64()
    }
}

/// What happens at some time.
enum Happening {
    /// A datagram arrives at an end.
    Datagram { to: usize, bytes: Vec<u8> },
    /// A segment of the flow like TCP's arrives at its receiver.
    Segment(u64),
    /// Its acknowledgement arrives.
    Acknowledgement(u64),
    /// It begins.
    TcpBegins,
    /// From here on it is measured.
    MeasureBegins,
}

struct World {
    config: UtpWorldConfig,
    now: Instant,
    rng: Rng,
    ends: [Endpoint; 2],
    senders: Vec<ConnectionKey>,
    /// By stream; those of one endpoint are accepted in the order they arrive, and told apart by what is written first.
    receivers: Vec<ConnectionKey>,
    happenings: BTreeMap<Reverse<(Instant, u64)>, Happening>,
    next_happening: u64,
    /// When the link will have carried all that waits.
    busy_until: Instant,
    tcp: Option<Reno>,
    measuring: bool,
    report: UtpReport,
    datagrams: u64,
    waited: Duration,
}

fn addr(end: usize) -> SocketAddr {
    let last = if end == 0 { 1 } else { 2 };
    (Ipv4Addr::new(10, 0, 0, last), 6881).into()
}

/// Runs a world to its end.
#[must_use]
pub fn run_utp(config: UtpWorldConfig) -> UtpReport {
    let (warm_up, measured) = config.duration;
    let mut world = World::new(config);
    let begin = world.now;
    world.at(begin + warm_up, Happening::MeasureBegins);
    if let Some(from) = world.config.tcp_from {
        world.at(begin + from, Happening::TcpBegins);
    }
    world.run_until(begin + warm_up + measured);
    world.report.time = measured;
    let count = u32::try_from(world.datagrams.max(1)).unwrap_or(u32::MAX);
    world.report.queueing.0 = world.waited / count;
    world.report
}

impl World {
    fn new(config: UtpWorldConfig) -> Self {
        let seed = config.seed;
        let end = |which| {
            Endpoint::new(UtpConfig { seed: [which ^ seed; 32], ..config.endpoint.clone() })
        };
        let mut world = Self {
            now: Instant::from_secs(100),
            rng: Rng::new(seed.into()),
            ends: [end(0x55), end(0xaa)],
            senders: Vec::new(),
            receivers: Vec::new(),
            happenings: BTreeMap::new(),
            next_happening: 0,
            busy_until: Instant::ZERO,
            tcp: None,
            measuring: false,
            report: UtpReport::default(),
            datagrams: 0,
            waited: Duration::ZERO,
            config,
        };
        let now = world.local(0);
        for _ in 0..world.config.streams {
            world.senders.extend(world.ends[0].connect(now, addr(1)));
        }
        world.pump(0);
        world
    }

    /// What the clock of an end shows.
    fn local(&self, end: usize) -> Instant {
        self.now + Duration::from_micros(if end == 0 { 0 } else { 3_456_789_012 })
    }

    fn at(&mut self, at: Instant, what: Happening) {
        self.next_happening += 1;
        self.happenings.insert(Reverse((at, self.next_happening)), what);
    }

    fn run_until(&mut self, end: Instant) {
        loop {
            let offset = self.local(1) - self.now;
            let due = [
                self.ends[0].next_timeout(),
                self.ends[1]
                    .next_timeout()
                    .map(|at| Instant::ZERO + (at - (Instant::ZERO + offset))),
                self.tcp.as_ref().and_then(Reno::next_timeout),
                self.happenings.last_key_value().map(|(Reverse((at, _)), _)| *at),
            ];
            let Some(next) = due.into_iter().flatten().min().filter(|at| *at <= end) else {
                return;
            };
            self.now = self.now.max(next);
            while let Some(entry) = self.happenings.last_entry()
                && entry.key().0.0 <= self.now
            {
                let what = entry.remove();
                self.happen(what);
            }
            for end in 0..2 {
                let (now, mut out) = (self.local(end), Outbox::new());
                if self.ends[end].next_timeout().is_some_and(|at| at <= now) {
                    self.ends[end].handle_timeout(now, &mut out);
                    self.note(end, &mut out);
                    self.pump(end);
                }
            }
            if let Some(tcp) = &mut self.tcp {
                tcp.handle_timeout(self.now);
                self.pump_tcp();
            }
        }
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Datagram { to, bytes } => {
                let (now, mut out) = (self.local(to), Outbox::new());
                self.ends[to].handle_datagram(now, addr(1 - to), &bytes, &mut out);
                self.note(to, &mut out);
                self.pump(to);
            }
            Happening::Segment(seq) => {
                self.report.tcp += if self.measuring { reno::SEGMENT } else { 0 };
                self.at(self.now + self.config.rtt / 2, Happening::Acknowledgement(seq));
            }
            Happening::Acknowledgement(seq) => {
                if let Some(tcp) = &mut self.tcp {
                    tcp.handle_ack(self.now, seq);
                }
            }
            Happening::TcpBegins => self.tcp = Some(Reno::new(self.config.rtt)),
            Happening::MeasureBegins => {
                self.measuring = true;
                self.report.delivered = vec![0; self.config.streams];
            }
        }
    }

    /// The receiver reads whatever comes.
    fn note(&mut self, end: usize, out: &mut Outbox) {
        let events: Vec<_> = out.drain().collect();
        let now = self.local(end);
        for event in events {
            match event {
                Event::Accepted(key, _) => self.receivers.push(key),
                Event::Readable(key) if end == 1 => {
                    let Some(stream) = self.receivers.iter().position(|known| *known == key) else {
                        continue;
                    };
                    let mut buffer = vec![0; STEP];
                    while let Ok(read @ 1..) = self.ends[1].read(now, key, &mut buffer) {
                        if self.measuring {
                            self.report.delivered[stream] += read as u64;
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// The sender writes whatever there is room for; both send what they want sent.
    fn pump(&mut self, end: usize) {
        let now = self.local(end);
        if end == 0 {
            for key in &self.senders {
                while self.ends[0].write(*key, &[7; STEP]).is_ok_and(|written| written == STEP) {}
            }
        }
        let mut sent = Vec::new();
        while let Some(transmit) = self.ends[end].poll_transmit(now, 44) {
            sent.extend(transmit.contents.chunks(transmit.segment).map(<[u8]>::to_vec));
        }
        for bytes in sent {
            let arrives = if end == 0 {
                self.carry(bytes.len() + OVERHEAD)
            } else {
                Some(self.now + self.config.rtt / 2)
            };
            if let Some(at) = arrives {
                self.at(at, Happening::Datagram { to: 1 - end, bytes });
            }
        }
    }

    fn pump_tcp(&mut self) {
        while let Some(seq) = self.tcp.as_mut().and_then(|tcp| tcp.poll(self.now)) {
            let len = usize::try_from(reno::SEGMENT).unwrap_or(usize::MAX) + 52;
            if let Some(at) = self.carry(len) {
                self.at(at, Happening::Segment(seq));
            }
        }
    }

    /// Puts a datagram on the link; gives when it arrives, if it does.
    fn carry(&mut self, len: usize) -> Option<Instant> {
        let wait = self.busy_until - self.now;
        let waiting = wait.as_secs_f64() * self.config.rate as f64;
        let full = waiting + len as f64 > self.config.buffer as f64;
        if full || self.rng.below(1_000_000) < self.config.loss_ppm {
            self.report.lost += u64::from(self.measuring);
            return None;
        }
        let took = Duration::from_secs_f64(len as f64 / self.config.rate as f64);
        self.busy_until = self.now + wait + took;
        if self.measuring {
            self.datagrams += 1;
            self.waited += wait;
            self.report.queueing.1 = self.report.queueing.1.max(wait);
        }
        let late = if self.config.jitter.is_zero() {
            Duration::ZERO
        } else {
            let most = usize::try_from(self.config.jitter.as_micros()).unwrap_or(usize::MAX);
            Duration::from_micros(self.rng.below(most) as u64)
        };
        Some(self.busy_until + self.config.rtt / 2 + late)
    }
}
