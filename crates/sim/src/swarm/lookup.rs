//! Finding peers by a DHT of real nodes ([`samara_dht::Dht`]), without a tracker.
//!
//! Each node of the swarm has a node of the DHT at the same address and port, and beside them there are nodes of the DHT that have no
//! torrent: a router, by which all join, and bystanders, some of them liars. The bystanders know each other before the swarm begins.
//! Who wants peers announces the torrent, and looks again after a while if few were found, as the engine does.

use super::config::NodeId;
use super::node::{INFO_HASH, PORT};
use super::packets::Place;
use super::world::{Happening, World};
use crate::adversary::{self, Behaviour};
use crate::dht_liar::lie;
use samara_dht::{Dht, DhtConfig, Effect, Event, Family, Outbox};
use samara_swarm::rng::Rng;
use samara_swarm::torrent::PeerSource;
use samara_wire::krpc::{AnnouncedPort, Packet};
use samara_wire::time::{Duration, Instant};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What DHT a swarm lives in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DhtCrowd {
    /// Nodes without a torrent, the router beside them.
    pub bystanders: u32,
    /// Of a hundred of them so many answer everything with lies.
    pub liar_percent: u32,
}

impl Default for DhtCrowd {
    fn default() -> Self {
        Self { bystanders: 50, liar_percent: 30 }
    }
}

/// The bystanders have this long before the swarm begins.
const FORMING: Duration = Duration::from_secs(60);

/// So many peers are enough to begin with: they know of others.
const ENOUGH: usize = 10;

/// Pause before the first look-up is repeated, and the longest, in microseconds.
const PAUSE: (u64, u64) = (5_000_000, 300_000_000);

/// After joining, for what has found nothing, in microseconds: the announce that waited for it comes first.
const AFTER_JOINING: u64 = 1_000_000;

/// Looking for peers.
#[derive(Debug)]
struct Seeking {
    seed: bool,
    found: BTreeSet<SocketAddr>,
    pause: u64,
    /// When it is looked again, in microseconds.
    again: u64,
}

#[derive(Debug)]
struct Member {
    dht: Dht,
    liar: bool,
    timer: Option<u64>,
    seeking: Option<Seeking>,
}

/// What became of the DHT.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DhtFigures {
    /// Datagrams sent, and their bytes.
    pub datagrams: u64,
    /// See [`DhtFigures::datagrams`].
    pub bytes: u64,
    /// Answers that were lies.
    pub lies: u64,
    /// Addresses of peers that nodes of the swarm were told, and how many of them nobody lives at.
    pub told: u64,
    /// See [`DhtFigures::told`].
    pub phantoms: u64,
}

/// All nodes of the DHT.
#[derive(Debug)]
pub(super) struct DhtNodes {
    crowd: DhtCrowd,
    members: BTreeMap<Place, Member>,
    out: Outbox,
    pub(super) figures: DhtFigures,
}

/// What can happen.
#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    Start(Place),
    Timer(Place),
    Again(NodeId),
}

/// Where a bystander lives; the router is the first.
pub(super) fn bystander_addr(number: u32) -> SocketAddr {
    let [_, a, b, c] = number.to_be_bytes();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(80u8.wrapping_add(a), b, c, 1)), PORT)
}

impl DhtNodes {
    pub(super) fn new(crowd: DhtCrowd) -> Self {
        let figures = DhtFigures::default();
        Self { crowd, members: BTreeMap::new(), out: Outbox::new(), figures }
    }
}

impl World {
    /// The bystanders come together.
    pub(super) fn form_dht(&mut self) {
        let Some(nodes) = &self.dht_nodes else { return };
        let (count, liars) = (nodes.crowd.bystanders + 1, nodes.crowd.liar_percent);
        for number in 0..count {
            // Spread evenly, and never the router.
            let liar = number > 0 && number * liars / 100 != (number - 1) * liars / 100;
            self.add_member(Place::Bystander(number), liar, 0);
            let at = self.now + u64::from(number) * 100_000;
            self.queue.push(at, Happening::Dht(Due::Start(Place::Bystander(number))));
        }
        self.run_for(FORMING);
    }

    fn add_member(&mut self, place: Place, liar: bool, life: u16) {
        let addr = match place {
            Place::Node(id) => self.nodes[id.at()].addr,
            Place::Bystander(number) => bystander_addr(number),
        };
        let name = match place {
            Place::Node(id) => u64::from(id.0) << 16 | u64::from(life),
            Place::Bystander(number) => 1 << 60 | u64::from(number),
        };
        let mut rng = Rng::new(self.config.seed.rotate_left(17) ^ name);
        let mut seed = [0; 32];
        for part in seed.chunks_exact_mut(8) {
            part.copy_from_slice(&rng.next_u64().to_le_bytes());
        }
        let config = DhtConfig {
            external_ip: Some(addr.ip()),
            routers: vec![bystander_addr(0)],
            ..DhtConfig::new(Family::V4, seed)
        };
        let dht = Dht::new(Instant::from_micros(self.now), config);
        if let Some(nodes) = &mut self.dht_nodes {
            nodes.members.insert(place, Member { dht, liar, timer: None, seeking: None });
        }
    }

    /// A node of the swarm begins a life.
    pub(super) fn join_dht(&mut self, id: NodeId) {
        let node = &self.nodes[id.at()];
        let liar = node.config.behaviour == Behaviour::DhtPoisoner;
        if self.dht_nodes.is_some() {
            if node.config.unreachable {
                self.wire.shut(Place::Node(id));
            }
            let life = self.nodes[id.at()].epoch;
            self.add_member(Place::Node(id), liar, life);
            self.call_dht(Place::Node(id), |dht, now, out| dht.handle_start(now, out));
        }
    }

    /// A node of the swarm is gone.
    pub(super) fn leave_dht(&mut self, id: NodeId) {
        if let Some(nodes) = &mut self.dht_nodes {
            nodes.members.remove(&Place::Node(id));
        }
    }

    /// A torrent wants to be found, and to find.
    pub(super) fn seek(&mut self, id: NodeId, seed: bool) {
        let again = self.now + PAUSE.0;
        let Some(member) = self.member(Place::Node(id)) else { return };
        let found = BTreeSet::new();
        let seeking = member.seeking.get_or_insert(Seeking { seed, found, pause: PAUSE.0, again });
        seeking.seed = seed;
        self.queue.push(again, Happening::Dht(Due::Again(id)));
        self.call_dht(Place::Node(id), |dht, now, out| {
            dht.announce(now, INFO_HASH, AnnouncedPort::Explicit(PORT), seed, out);
        });
    }

    /// It wants neither any more.
    pub(super) fn withdraw(&mut self, id: NodeId) {
        if let Some(member) = self.member(Place::Node(id)) {
            member.seeking = None;
            member.dht.withdraw(&INFO_HASH);
        }
    }

    /// A peer has told of a node.
    pub(super) fn try_dht_node(&mut self, id: NodeId, addr: SocketAddr) {
        self.call_dht(Place::Node(id), |dht, now, out| dht.handle_endpoints(now, &[addr], out));
    }

    pub(super) fn on_dht(&mut self, due: Due) {
        let at = self.now;
        match due {
            Due::Start(place) => self.call_dht(place, |dht, now, out| dht.handle_start(now, out)),
            Due::Timer(place) => {
                if let Some(member) = self.member(place).filter(|member| member.timer == Some(at)) {
                    member.timer = None;
                    self.call_dht(place, |dht, now, out| {
                        if dht.next_timeout().is_some_and(|at| at <= now) {
                            dht.handle_timeout(now, out);
                        }
                    });
                }
            }
            Due::Again(id) => {
                let Some(member) = self.member(Place::Node(id)) else { return };
                let Some(seeking) = &mut member.seeking else { return };
                if seeking.again != at || seeking.seed || seeking.found.len() >= ENOUGH {
                    return;
                }
                seeking.pause = (seeking.pause * 2).min(PAUSE.1);
                seeking.again = at + seeking.pause;
                let again = seeking.again;
                self.queue.push(again, Happening::Dht(Due::Again(id)));
                self.call_dht(Place::Node(id), |dht, now, out| {
                    dht.lookup_peers(now, INFO_HASH, out);
                });
            }
        }
    }

    fn member(&mut self, place: Place) -> Option<&mut Member> {
        self.dht_nodes.as_mut()?.members.get_mut(&place)
    }

    /// Calls a node of the DHT and carries out what it wants.
    fn call_dht(&mut self, place: Place, f: impl FnOnce(&mut Dht, Instant, &mut Outbox)) {
        let now = self.now;
        let Some(nodes) = &mut self.dht_nodes else { return };
        let Some(member) = nodes.members.get_mut(&place) else { return };
        let mut out = std::mem::take(&mut nodes.out);
        f(&mut member.dht, Instant::from_micros(now), &mut out);
        // Never in this very moment again: a node that spins would stop the world.
        let at = member.dht.next_timeout().map(|at| at.as_micros().max(now + 1));
        if let Some(at) = at.filter(|at| member.timer.is_none_or(|armed| *at < armed)) {
            member.timer = Some(at);
            self.queue.push(at, Happening::Dht(Due::Timer(place)));
        }
        for effect in out.drain() {
            match effect {
                Effect::Send(to, datagram) => self.cast_dht(place, to, datagram),
                Effect::Event(Event::PeersFound { peers, .. }) => {
                    self.on_peers_found(place, &peers);
                }
                Effect::Event(Event::Bootstrapped(_)) => self.on_joined(place),
                Effect::Event(_) => {}
            }
        }
        if let Some(nodes) = &mut self.dht_nodes {
            nodes.out = out;
        }
    }

    fn cast_dht(&mut self, from: Place, to: SocketAddr, datagram: Vec<u8>) {
        if let Some(nodes) = &mut self.dht_nodes {
            nodes.figures.datagrams += 1;
            nodes.figures.bytes += datagram.len() as u64;
        }
        self.cast(from, to, datagram);
    }

    /// A datagram of the DHT has come.
    pub(super) fn hear_dht(&mut self, place: Place, from: SocketAddr, bytes: &[u8]) {
        let Some(member) = self.member(place) else { return };
        if member.liar
            && let Ok(packet) = Packet::parse(bytes)
            && matches!(packet.body, samara_wire::krpc::Body::Query(_))
        {
            let id = member.dht.id();
            if let Some(lie) = lie(id, from, packet, &mut self.rng, adversary::nowhere) {
                if let Some(nodes) = &mut self.dht_nodes {
                    nodes.figures.lies += 1;
                }
                self.cast_dht(place, from, lie);
            }
            return;
        }
        self.call_dht(place, |dht, now, out| dht.handle_packet(now, from, bytes, out));
    }

    /// More nodes are known than before: who has found nothing looks again.
    fn on_joined(&mut self, place: Place) {
        let again = self.now + AFTER_JOINING;
        let seeking = self.member(place).and_then(|member| member.seeking.as_mut());
        if let (Place::Node(id), Some(seeking)) = (place, seeking)
            && seeking.found.is_empty()
            && again < seeking.again
        {
            seeking.again = again;
            seeking.pause = PAUSE.0 / 2;
            self.queue.push(again, Happening::Dht(Due::Again(id)));
        }
    }

    fn on_peers_found(&mut self, place: Place, peers: &[SocketAddr]) {
        let Place::Node(id) = place else { return };
        let lives = |addr: &&SocketAddr| self.by_ip.contains_key(&addr.ip());
        let phantoms = peers.iter().filter(|addr| !lives(addr)).count();
        if let Some(nodes) = &mut self.dht_nodes {
            nodes.figures.told += peers.len() as u64;
            nodes.figures.phantoms += phantoms as u64;
            let seeking = nodes.members.get_mut(&place).and_then(|m| m.seeking.as_mut());
            if let Some(seeking) = seeking {
                let room = ENOUGH.saturating_sub(seeking.found.len());
                seeking.found.extend(peers.iter().take(room));
            }
        }
        self.with(id, |node, now, out| {
            node.torrent.handle_peers(now, PeerSource::Dht, peers, out);
        });
    }

    /// Who of the DHT alone lives there.
    pub(super) fn bystander_at(&self, addr: SocketAddr) -> Option<Place> {
        let nodes = self.dht_nodes.as_ref()?;
        let IpAddr::V4(ip) = addr.ip() else { return None };
        let [first, b, c, _] = ip.octets();
        let number = u32::from_be_bytes([0, first.checked_sub(80)?, b, c]);
        let there = number <= nodes.crowd.bystanders && bystander_addr(number) == addr;
        there.then_some(Place::Bystander(number))
    }
}
