//! A virtual DHT: hundreds of real nodes ([`samara_dht::Dht`]) with a network between them that delays and loses
//! datagrams, nodes behind NATs, nodes that come and go, and nodes that lie.
//!
//! [`DhtWorld::run`] lets the nodes join, has some of them announce a torrent each, and then, while nodes leave
//! and others come, has random nodes look for random ones of those torrents. [`DhtReport`] says how often they found the one
//! who announced, in how many steps and with how many datagrams.
//!
//! What is modelled of a NAT: a datagram reaches the node behind it only from an address to which it has
//! sent something in the last two minutes. What is not: address translation itself, fragmentation, bandwidth.

use crate::dht_liar::lie;
use crate::dht_report::{AnnounceRecord, DhtReport, LookupRecord};
use crate::door::Door;
use samara_dht::table::BUCKET;
use samara_dht::{Dht, DhtConfig, Effect, Event, Family, LookupId, LookupOutcome, Outbox};
use samara_swarm::rng::Rng;
use samara_wire::id::WireHash;
use samara_wire::krpc::{AnnouncedPort, Body, Method, Packet};
use samara_wire::time::{Duration, Instant};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Nodes that are always there and by which the others join.
const ROUTERS: usize = 3;

/// What a virtual DHT is like. `Default` is the one the project's goal speaks of.
#[derive(Clone, Debug)]
pub struct DhtWorldConfig {
    /// Seeds everything random.
    pub seed: u64,
    /// Nodes at any time.
    pub nodes: usize,
    /// Shortest and longest delay of a datagram.
    pub delay: (Duration, Duration),
    /// Datagrams lost, of a hundred.
    pub loss_percent: usize,
    /// Nodes that leave within an hour without a word, of a hundred. For each a new one comes.
    pub churn_percent_per_hour: usize,
    /// Nodes behind a NAT, of a hundred.
    pub nat_percent: usize,
    /// Nodes that answer pings and tell nodes, and are silent when it matters, of a hundred.
    pub silent_percent: usize,
    /// Nodes that answer everything with lies, of a hundred.
    pub liar_percent: usize,
    /// Torrents announced, each by a node of its own.
    pub torrents: usize,
    /// Lookups, spread over `duration`.
    pub lookups: usize,
    /// Time of lookups and churn, after the network has formed.
    pub duration: Duration,
}

impl Default for DhtWorldConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            nodes: 250,
            delay: (Duration::from_millis(10), Duration::from_millis(150)),
            loss_percent: 5,
            churn_percent_per_hour: 10,
            nat_percent: 30,
            silent_percent: 10,
            liar_percent: 10,
            torrents: 40,
            lookups: 400,
            duration: Duration::from_secs(3600),
        }
    }
}

/// Time for the network to form before anything is announced.
const FORMING: Duration = Duration::from_secs(300);

/// Time from the announces to the first lookup, so that they have reached their places.
const SETTLING: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Nature {
    Honest,
    Silent,
    Liar,
}

#[derive(Debug)]
struct Machine {
    addr: SocketAddr,
    dht: Dht,
    nature: Nature,
    /// Behind a NAT.
    door: Option<Door>,
    /// When it is to be looked at next; it may be too soon, never too late.
    timer: Option<Instant>,
}

#[derive(Debug)]
enum Happening {
    Start(usize),
    Timer(usize),
    Deliver { from: SocketAddr, to: SocketAddr, datagram: Vec<u8> },
    Announce(usize),
    Lookup,
    Churn,
}

/// A lookup under way.
#[derive(Debug)]
struct Open {
    /// Who is to be found.
    announcer: SocketAddr,
    begun: Instant,
    found: Option<Instant>,
}

/// The virtual DHT. See the module's head.
#[derive(Debug)]
pub struct DhtWorld {
    config: DhtWorldConfig,
    rng: Rng,
    now: Instant,
    /// Those that have left are `None`; a place is never taken again.
    machines: Vec<Option<Machine>>,
    /// Never walked through, so its order decides nothing.
    by_addr: HashMap<SocketAddr, usize>,
    routers: Vec<SocketAddr>,
    /// When, in which order, and where among the happenings.
    queue: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    happenings: Vec<Option<Happening>>,
    /// Places in `happenings` that can be taken again.
    vacant: Vec<usize>,
    scheduled: u64,
    /// Who announced which torrent.
    announced: Vec<(WireHash, SocketAddr)>,
    open: BTreeMap<(usize, LookupId), Open>,
    report: DhtReport,
    out: Outbox,
}

impl DhtWorld {
    /// Runs a virtual DHT from its birth to its end.
    #[must_use]
    pub fn run(config: DhtWorldConfig) -> DhtReport {
        let mut world = Self {
            rng: Rng::new(config.seed),
            now: Instant::from_secs(1),
            machines: Vec::new(),
            by_addr: HashMap::new(),
            routers: Vec::new(),
            queue: BinaryHeap::new(),
            happenings: Vec::new(),
            vacant: Vec::new(),
            scheduled: 0,
            announced: Vec::new(),
            open: BTreeMap::new(),
            report: DhtReport::new(config.nodes),
            out: Outbox::new(),
            config,
        };
        world.plan();
        world.drive();
        world.report.finish(world.now);
        world.report
    }

    /// Puts everything that will happen by itself in the queue.
    fn plan(&mut self) {
        let start = self.now;
        for n in 0..self.config.nodes {
            let machine = self.add_machine(n < ROUTERS);
            let wait = self.between(Duration::ZERO, FORMING / 2);
            let wait = if n < ROUTERS { Duration::ZERO } else { wait };
            self.schedule(start + wait, Happening::Start(machine));
        }
        let formed = start + FORMING;
        for torrent in 0..self.config.torrents {
            let wait = self.between(Duration::ZERO, SETTLING / 2);
            self.schedule(formed + wait, Happening::Announce(torrent));
        }
        let ready = formed + SETTLING;
        for _ in 0..self.config.lookups {
            let wait = self.between(Duration::ZERO, self.config.duration);
            self.schedule(ready + wait, Happening::Lookup);
        }
        let hours = self.config.duration.as_secs_f64() / 3600.0;
        let leaving = self.config.nodes * self.config.churn_percent_per_hour;
        // Whole nodes; the fraction is far below one of a hundred.
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "small numbers"
        )]
        let leaving = (leaving as f64 * hours / 100.0).round() as usize;
        for _ in 0..leaving {
            let wait = self.between(Duration::ZERO, self.config.duration);
            self.schedule(ready + wait, Happening::Churn);
        }
    }

    fn drive(&mut self) {
        let end = self.now + FORMING + SETTLING + self.config.duration + Duration::from_secs(90);
        while let Some(Reverse((at, _, place))) = self.queue.pop() {
            if at > end {
                return;
            }
            self.now = at;
            self.vacant.push(place);
            if let Some(happening) = self.happenings[place].take() {
                self.happen(happening);
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Start(n) => self.call(n, |dht, now, out| dht.handle_start(now, out)),
            Happening::Timer(n) => {
                let Some(machine) = &mut self.machines[n] else { return };
                if machine.timer == Some(self.now) {
                    machine.timer = None;
                    let due = machine.dht.next_timeout().is_some_and(|at| at <= self.now);
                    self.call(n, |dht, now, out| {
                        if due {
                            dht.handle_timeout(now, out);
                        }
                    });
                }
            }
            Happening::Deliver { from, to, datagram } => self.deliver(from, to, &datagram),
            Happening::Announce(torrent) => self.announce(torrent),
            Happening::Lookup => self.look_up(),
            Happening::Churn => self.churn(),
        }
    }

    fn schedule(&mut self, at: Instant, happening: Happening) {
        self.scheduled += 1;
        let place = self.vacant.pop().unwrap_or_else(|| {
            self.happenings.push(None);
            self.happenings.len() - 1
        });
        self.happenings[place] = Some(happening);
        self.queue.push(Reverse((at, self.scheduled, place)));
    }

    fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = usize::try_from((most - least).as_micros()).unwrap_or(usize::MAX);
        least + Duration::from_micros(self.rng.below(span) as u64)
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.rng.below(100) < percent
    }

    fn add_machine(&mut self, router: bool) -> usize {
        let addr = fresh_addr(&mut self.rng, &self.by_addr);
        let roll = self.rng.below(100);
        let nature = match roll {
            _ if router => Nature::Honest,
            _ if roll < self.config.silent_percent => Nature::Silent,
            _ if roll < self.config.silent_percent + self.config.liar_percent => Nature::Liar,
            _ => Nature::Honest,
        };
        let natted = self.chance(self.config.nat_percent) && !router;
        if router {
            self.routers.push(addr);
        }
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.rng.next_u64().to_le_bytes());
        let config = DhtConfig {
            external_ip: Some(addr.ip()),
            routers: self.routers.clone(),
            ..DhtConfig::new(Family::V4, seed)
        };
        let n = self.machines.len();
        self.by_addr.insert(addr, n);
        let dht = Dht::new(self.now, config);
        let door = natted.then(Door::default);
        self.machines.push(Some(Machine { addr, dht, nature, door, timer: None }));
        n
    }

    fn call(&mut self, n: usize, f: impl FnOnce(&mut Dht, Instant, &mut Outbox)) {
        self.call_then(n, f, |_, ()| {});
    }

    /// Calls a node, and `then` does something with the result before what the node said is heard.
    fn call_then<T>(
        &mut self,
        n: usize,
        f: impl FnOnce(&mut Dht, Instant, &mut Outbox) -> T,
        then: impl FnOnce(&mut Self, T),
    ) {
        let Some(machine) = self.machines[n].as_mut() else { return };
        let mut out = std::mem::take(&mut self.out);
        let result = f(&mut machine.dht, self.now, &mut out);
        let from = machine.addr;
        // Never in this very instant again: a node that spins would stop the world.
        let soonest = self.now + Duration::from_micros(1);
        let at = machine.dht.next_timeout().map(|at| at.max(soonest));
        // A timer that is already set and comes sooner looks again when it comes.
        if let Some(at) = at.filter(|&at| machine.timer.is_none_or(|set| at < set)) {
            machine.timer = Some(at);
            self.schedule(at, Happening::Timer(n));
        }
        then(self, result);
        for effect in out.drain() {
            match effect {
                Effect::Send(to, datagram) => self.send(from, to, datagram),
                Effect::Event(event) => self.on_event(n, event),
            }
        }
        self.out = out;
    }

    fn send(&mut self, from: SocketAddr, to: SocketAddr, datagram: Vec<u8>) {
        self.report.datagrams += 1;
        self.report.bytes += datagram.len() as u64;
        let machine = self.by_addr.get(&from).and_then(|&n| self.machines[n].as_mut());
        if let Some(door) = machine.and_then(|machine| machine.door.as_mut()) {
            door.goes_out(self.now, to);
        }
        if self.chance(self.config.loss_percent) {
            return;
        }
        let delay = self.between(self.config.delay.0, self.config.delay.1);
        self.schedule(self.now + delay, Happening::Deliver { from, to, datagram });
    }

    fn deliver(&mut self, from: SocketAddr, to: SocketAddr, datagram: &[u8]) {
        let Some(&n) = self.by_addr.get(&to) else { return };
        let Some(machine) = self.machines[n].as_mut() else { return };
        if machine.door.as_mut().is_some_and(|door| !door.lets_in(self.now, from)) {
            return;
        }
        let (nature, id) = (machine.nature, machine.dht.id());
        if nature != Nature::Honest
            && let Ok(packet) = Packet::parse(datagram)
            && let Body::Query(query) = &packet.body
        {
            let harmless = matches!(query.method, Method::Ping | Method::FindNode { .. });
            match nature {
                Nature::Silent if !harmless => return,
                Nature::Liar => {
                    let by_addr = &self.by_addr;
                    let nowhere = |rng: &mut Rng| fresh_addr(rng, by_addr);
                    if let Some(lie) = lie(id, from, packet, &mut self.rng, nowhere) {
                        self.send(to, from, lie);
                    }
                    return;
                }
                _ => {}
            }
        }
        self.call(n, |dht, now, out| dht.handle_packet(now, from, datagram, out));
    }

    /// A node that is honest, has not left and is no router.
    fn someone(&mut self) -> Option<usize> {
        for _ in 0..1000 {
            let n = self.rng.below(self.machines.len());
            let honest = self.machines[n].as_ref().is_some_and(|m| m.nature == Nature::Honest);
            if honest && n >= ROUTERS {
                return Some(n);
            }
        }
        None
    }

    fn addr_of(&self, n: usize) -> Option<SocketAddr> {
        self.machines[n].as_ref().map(|machine| machine.addr)
    }

    fn announce(&mut self, torrent: usize) {
        let mut hash = [0; 20];
        hash[..8].copy_from_slice(&self.rng.next_u64().to_be_bytes());
        hash[12..].copy_from_slice(&(torrent as u64).to_be_bytes());
        let hash = WireHash(hash);
        let Some(n) = self.someone() else { return };
        let Some(addr) = self.addr_of(n) else { return };
        self.announced.push((hash, addr));
        self.call(n, |dht, now, out| dht.announce(now, hash, AnnouncedPort::Implied, false, out));
    }

    fn look_up(&mut self) {
        if self.announced.is_empty() {
            return;
        }
        let at = self.rng.below(self.announced.len());
        let (hash, announcer) = self.announced[at];
        let Some(n) = self.someone().filter(|&n| self.addr_of(n) != Some(announcer)) else {
            return;
        };
        let ask = |dht: &mut Dht, now: Instant, out: &mut Outbox| dht.lookup_peers(now, hash, out);
        // What is stored with the one who looks is found at once.
        self.call_then(n, ask, |world, id| {
            world.open.insert((n, id), Open { announcer, begun: world.now, found: None });
            world.report.begun += 1;
        });
    }

    /// Somebody leaves without a word, and somebody else comes. Those who announced stay: what they announced would
    /// rightly be forgotten.
    fn churn(&mut self) {
        for _ in 0..1000 {
            let n = self.rng.below(self.machines.len());
            let Some(addr) = self.addr_of(n) else { continue };
            let looking = self.open.keys().any(|(node, _)| *node == n);
            let stays = n < ROUTERS || looking || self.announced.iter().any(|a| a.1 == addr);
            if !stays {
                self.machines[n] = None;
                self.report.left += 1;
                break;
            }
        }
        let n = self.add_machine(false);
        self.schedule(self.now, Happening::Start(n));
    }

    /// Where an announce has got to: not where it is said to be, but where it can be found.
    fn announce_record(&self, outcome: &LookupOutcome) -> Option<AnnounceRecord> {
        let announced = self.announced.iter().find(|(hash, _)| hash.0 == outcome.target.0);
        let &(hash, announcer) = announced?;
        let there = self.machines.iter().flatten();
        let mut reachable: Vec<&Machine> =
            there.filter(|m| m.nature == Nature::Honest && m.door.is_none()).collect();
        let holds = |machine: &&&Machine| machine.dht.has_peer(&hash, announcer);
        let holders = reachable.iter().filter(holds).count();
        let distance = |machine: &&Machine| machine.dht.id().distance(&outcome.target);
        if reachable.len() > BUCKET {
            reachable.select_nth_unstable_by_key(BUCKET, distance);
        }
        let nearest = reachable.iter().take(BUCKET).filter(holds).count();
        let LookupOutcome { stored, depth, asked, took, .. } = *outcome;
        Some(AnnounceRecord { stored, reachable: holders, nearest, depth, asked, took })
    }

    fn on_event(&mut self, n: usize, event: Event) {
        match event {
            Event::PeersFound { lookup, peers, .. } => {
                if let Some(open) = self.open.get_mut(&(n, lookup))
                    && peers.contains(&open.announcer)
                {
                    open.found.get_or_insert(self.now);
                }
            }
            Event::LookupDone { lookup, outcome } => {
                if let Some(open) = self.open.remove(&(n, lookup)) {
                    let record = LookupRecord {
                        found_after: open.found.map(|at| at - open.begun),
                        hops: outcome.hops,
                        asked: outcome.asked,
                        took: outcome.took,
                    };
                    self.report.lookups.push(record);
                } else {
                    let record = self.announce_record(&outcome);
                    self.report.announces.extend(record);
                }
            }
            _ => {}
        }
    }
}

/// An address at which nobody lives.
fn fresh_addr(rng: &mut Rng, taken: &HashMap<SocketAddr, usize>) -> SocketAddr {
    loop {
        let bits = u32::try_from(rng.next_u64() >> 32).unwrap_or(0);
        let ip = Ipv4Addr::from_bits(bits);
        let public = (11..=126).contains(&ip.octets()[0]);
        let addr = SocketAddr::new(IpAddr::V4(ip), 6881);
        if public && !taken.contains_key(&addr) {
            return addr;
        }
    }
}
