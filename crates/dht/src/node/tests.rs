//! Small networks of nodes, and single nodes that are talked to packet by packet.

mod hostile;
mod items;

use super::*;
use crate::outbox::{Event, LookupOutcome};
use crate::signature::SecretKey;
use alloc::vec;
use proptest::prelude::*;
use samara_wire::id::WireHash;
use samara_wire::krpc::{
    AnnouncedPort, ErrorCode, ErrorReply, Item, Put, Response, Token, immutable_target,
    mutable_target,
};
use std::collections::BinaryHeap;

const START: Instant = Instant::from_secs(100);
const DELAY: Duration = Duration::from_millis(20);
const HASH: WireHash = WireHash([0x5a; 20]);

/// Arrival, number, from, to, datagram; the earliest is the greatest.
type Flying = core::cmp::Reverse<(Instant, u64, usize, SocketAddr, Vec<u8>)>;

/// Nodes at 20.0.n.1, a network between them that loses nothing, and what they told.
struct Net {
    now: Instant,
    nodes: Vec<Dht>,
    flying: BinaryHeap<Flying>,
    sent: u64,
    events: Vec<(usize, Event)>,
    out: Outbox,
}

fn addr(n: usize) -> SocketAddr {
    SocketAddr::from(([20, 0, u8::try_from(n).unwrap(), 1], 6881))
}

fn config(n: usize) -> DhtConfig {
    let mut seed = [7; 32];
    seed[0] = u8::try_from(n).unwrap();
    DhtConfig {
        external_ip: Some(addr(n).ip()),
        routers: vec![addr(0)],
        ..DhtConfig::new(Family::V4, seed)
    }
}

impl Net {
    fn new(nodes: usize) -> Self {
        Self::with((0..nodes).map(config))
    }

    fn with(configs: impl IntoIterator<Item = DhtConfig>) -> Self {
        let mut net = Self {
            now: START,
            nodes: configs.into_iter().map(|config| Dht::new(START, config)).collect(),
            flying: BinaryHeap::new(),
            sent: 0,
            events: Vec::new(),
            out: Outbox::new(),
        };
        for n in 0..net.nodes.len() {
            net.call(n, |node, now, out| node.handle_start(now, out));
        }
        net.run(Duration::from_secs(60));
        net.events.clear();
        net
    }

    fn call<T>(&mut self, n: usize, f: impl FnOnce(&mut Dht, Instant, &mut Outbox) -> T) -> T {
        let result = f(&mut self.nodes[n], self.now, &mut self.out);
        for effect in self.out.drain() {
            match effect {
                Effect::Send(to, datagram) => {
                    self.sent += 1;
                    let arrival = self.now + DELAY;
                    self.flying.push(core::cmp::Reverse((arrival, self.sent, n, to, datagram)));
                }
                Effect::Event(event) => self.events.push((n, event)),
            }
        }
        result
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let arrival = self.flying.peek().map(|next| next.0.0);
            let timer = self.nodes.iter().filter_map(Dht::next_timeout).min();
            let next = arrival.into_iter().chain(timer).min().unwrap_or(end);
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            if arrival == Some(next) {
                let Some(core::cmp::Reverse((_, _, from, to, datagram))) = self.flying.pop() else {
                    continue;
                };
                let to = (0..self.nodes.len()).find(|&n| addr(n) == to);
                if let Some(to) = to {
                    self.call(to, |node, now, out| {
                        node.handle_packet(now, addr(from), &datagram, out);
                    });
                }
                continue;
            }
            for n in 0..self.nodes.len() {
                if self.nodes[n].next_timeout().is_some_and(|at| at <= next) {
                    self.call(n, |node, now, out| node.handle_timeout(now, out));
                    let again = self.nodes[n].next_timeout();
                    assert!(again.is_some_and(|at| at > next), "node {n} spins");
                }
            }
        }
    }

    fn outcome(&self, n: usize, lookup: LookupId) -> LookupOutcome {
        let done = self.events.iter().find_map(|(node, event)| match event {
            Event::LookupDone { lookup: id, outcome } if (*node, *id) == (n, lookup) => {
                Some(outcome.clone())
            }
            _ => None,
        });
        done.expect("the lookup has ended")
    }

    fn peers(&self, n: usize) -> Vec<SocketAddr> {
        let peers = self.events.iter().filter_map(|(node, event)| match event {
            Event::PeersFound { peers, .. } if *node == n => Some(peers.clone()),
            _ => None,
        });
        peers.flatten().collect()
    }

    fn items(&self, n: usize) -> Vec<Item> {
        let items = self.events.iter().filter_map(|(node, event)| match event {
            Event::ItemFound { item, .. } if *node == n => Some(Item::clone(item)),
            _ => None,
        });
        items.collect()
    }
}

#[test]
fn nodes_join_by_one_of_them_and_find_what_is_announced() {
    let mut net = Net::new(40);
    assert!(net.nodes.iter().all(|node| node.node_count() >= 8));
    let port = AnnouncedPort::Explicit(7000);
    net.call(3, |node, now, out| node.announce(now, HASH, port, false, out));
    net.run(Duration::from_secs(10));
    let stored = net.events.iter().find_map(|(n, event)| match event {
        Event::LookupDone { outcome, .. } if *n == 3 => Some(outcome.stored),
        _ => None,
    });
    assert_eq!(stored, Some(8));
    let lookup = net.call(30, |node, now, out| node.lookup_peers(now, HASH, out));
    net.run(Duration::from_secs(10));
    assert_eq!(net.peers(30), [SocketAddr::new(addr(3).ip(), 7000)]);
    let outcome = net.outcome(30, lookup);
    assert!(outcome.hops >= 1 && outcome.peers == 1 && outcome.took < Duration::from_secs(2));
}

#[test]
fn in_a_network_of_two_what_was_stored_with_us_is_found_by_us() {
    let mut net = Net::new(2);
    net.call(0, |node, now, out| {
        node.announce(now, HASH, AnnouncedPort::Explicit(7000), true, out);
    });
    net.run(Duration::from_secs(10));
    let id = net.call(1, |node, now, out| node.lookup_peers(now, HASH, out));
    net.run(Duration::from_secs(10));
    assert_eq!(net.outcome(1, id).peers, 1);
    let found = SocketAddr::new(addr(0).ip(), 7000);
    let named = |(n, event): &(usize, Event)| {
        *n == 1 && matches!(event, Event::PeersFound { peers, .. } if *peers == [found])
    };
    assert!(net.events.iter().any(named));

    let value = b"4:here".to_vec();
    let item = Item { value: value.clone(), signed: None };
    let put = net.call(0, |node, now, out| node.put_item(now, item, Vec::new(), None, out));
    net.run(Duration::from_secs(10));
    assert_eq!(net.outcome(0, put.unwrap()).stored, 1);
    let target = immutable_target(&value);
    let id = net.call(1, |node, now, out| node.get_item(now, target, Vec::new(), out));
    let named = |(_, event): &(usize, Event)| matches!(event, Event::ItemFound { lookup, item } if *lookup == id && item.value == value);
    assert!(net.events.iter().any(named), "at once: nobody needs to be asked");
}

#[test]
fn who_has_just_come_finds_peers_before_it_has_joined() {
    let mut net = Net::new(40);
    let port = AnnouncedPort::Explicit(7000);
    net.call(3, |node, now, out| node.announce(now, HASH, port, true, out));
    net.run(Duration::from_secs(10));
    // Most of those it knew are gone, and waiting for them takes longer than a user likes to.
    let gone = |n: u8| NodeInfo { id: NodeId([n; 20]), addr: addr(usize::from(n)) };
    let nodes = (100..130).map(gone).collect();
    let saved = Some(SavedTable { id: NodeId([1; 20]), nodes });
    net.nodes.push(Dht::new(net.now, DhtConfig { saved, ..config(40) }));
    net.events.clear();
    net.call(40, |node, now, out| node.lookup_peers(now, HASH, out));
    net.call(40, |node, now, out| node.handle_start(now, out));
    let there = [addr(1), addr(2), addr(4)];
    net.call(40, |node, now, out| node.handle_endpoints(now, &there, out));
    net.run(Duration::from_secs(3));
    assert_eq!(net.peers(40), [SocketAddr::new(addr(3).ip(), 7000)]);
    net.run(Duration::from_secs(30));
    let first = |which: fn(&Event) -> bool| {
        net.events.iter().position(|(n, event)| *n == 40 && which(event)).expect("it happens")
    };
    let found = first(|event| matches!(event, Event::PeersFound { .. }));
    assert!(found < first(|event| matches!(event, Event::Bootstrapped(_))));
}

#[test]
fn an_announce_is_repeated_until_it_is_withdrawn_and_then_forgotten() {
    let mut net = Net::new(12);
    net.call(1, |node, now, out| node.announce(now, HASH, AnnouncedPort::Implied, true, out));
    net.run(Duration::from_secs(50 * 60));
    net.call(2, |node, now, out| node.lookup_peers(now, HASH, out));
    net.run(Duration::from_secs(10));
    assert_eq!(net.peers(2), [addr(1)], "the port it came from");
    net.nodes[1].withdraw(&HASH);
    net.run(Duration::from_secs(35 * 60));
    net.events.clear();
    net.call(2, |node, now, out| node.lookup_peers(now, HASH, out));
    net.run(Duration::from_secs(10));
    assert!(net.peers(2).is_empty());
}

#[test]
fn swarms_are_counted_and_sampled() {
    let mut net = Net::new(30);
    for n in 1..11 {
        net.call(n, |node, now, out| {
            node.announce(now, HASH, AnnouncedPort::Implied, n <= 4, out);
        });
    }
    net.run(Duration::from_secs(20));
    let scrape = net.call(20, |node, now, out| node.scrape(now, HASH, out));
    net.call(21, |node, now, out| node.sample_infohashes(now, NodeId(HASH.0), out));
    net.run(Duration::from_secs(20));
    let (seeds, others) = net.outcome(20, scrape).swarm.unwrap();
    assert!((seeds - 4.0).abs() < 1.0 && (others - 6.0).abs() < 1.0, "{seeds} {others}");
    let sampled = net.events.iter().any(|(n, event)| {
        matches!(event, Event::SamplesFound { hashes, .. } if *n == 21 && hashes.contains(&HASH))
    });
    assert!(sampled);
}

#[test]
fn a_read_only_node_uses_the_network_and_is_not_known_to_it() {
    let shy = DhtConfig { read_only: true, ..config(15) };
    let mut net = Net::with((0..15).map(config).chain([shy]));
    assert!(net.nodes[15].node_count() >= 8);
    assert!(net.nodes.iter().all(|node| node.table.live().all(|e| e.info.addr != addr(15))));
    net.call(1, |node, now, out| node.announce(now, HASH, AnnouncedPort::Implied, true, out));
    net.run(Duration::from_secs(10));
    net.call(15, |node, now, out| node.lookup_peers(now, HASH, out));
    net.run(Duration::from_secs(10));
    assert_eq!(net.peers(15), [addr(1)]);
    let mut out = Outbox::new();
    let ping = query(Method::Ping);
    net.nodes[15].handle_packet(net.now, addr(1), &ping, &mut out);
    assert!(out.is_empty());
}

#[test]
fn a_node_finds_its_way_back_by_what_it_saved() {
    let mut net = Net::new(12);
    let saved = SavedTable::parse(&net.nodes[5].save(net.now).encode());
    let id = net.nodes[5].id();
    let again = DhtConfig { saved, routers: vec![], ..config(5) };
    net.nodes[5] = Dht::new(net.now, again);
    net.call(5, |node, now, out| node.handle_start(now, out));
    net.run(Duration::from_secs(10));
    assert_eq!(net.nodes[5].id(), id);
    assert!(net.nodes[5].node_count() >= 8);
}

#[test]
fn endpoints_are_enough_to_join_and_a_wrong_id_is_changed() {
    let lost = DhtConfig { routers: vec![], external_ip: None, ..config(12) };
    let mut net = Net::with((0..12).map(config).chain([lost]));
    assert_eq!(net.nodes[12].node_count(), 0);
    let before = net.nodes[12].id();
    net.call(12, |node, now, out| node.handle_endpoints(now, &[addr(4)], out));
    net.run(Duration::from_secs(30));
    assert!(net.nodes[12].node_count() >= 8);
    assert_eq!(net.nodes[12].external_ip(), Some(addr(12).ip()));
    let after = net.nodes[12].id();
    assert!(after != before && after.is_valid_for(addr(12).ip()));
    assert!(net.events.contains(&(12, Event::ExternalAddress(addr(12).ip()))));
}

fn packet(transaction: &[u8], body: Body) -> Vec<u8> {
    let transaction = TransactionId::new(transaction).unwrap();
    Packet { transaction, client: None, read_only: false, your_addr: None, body }.encode()
}

fn query(method: Method) -> Vec<u8> {
    let query = Query { id: NodeId([3; 20]), want: Want::default(), method };
    packet(b"aa", Body::Query(query))
}

/// What one node sends when it hears `datagram` from `from`.
fn replies(node: &mut Dht, now: Instant, from: SocketAddr, datagram: &[u8]) -> Vec<Packet> {
    let mut out = Outbox::new();
    node.handle_packet(now, from, datagram, &mut out);
    let sent = out.drain().filter_map(|effect| match effect {
        Effect::Send(to, datagram) if to == from => Some(Packet::parse(&datagram).unwrap()),
        _ => None,
    });
    sent.collect()
}

fn response(packets: &[Packet]) -> Response {
    let found = packets.iter().find_map(|packet| match &packet.body {
        Body::Response(response) => Some(Response::clone(response)),
        _ => None,
    });
    found.expect("a response")
}

fn refusal(packets: &[Packet]) -> i64 {
    let found = packets.iter().find_map(|packet| match &packet.body {
        Body::Error(ErrorReply { code, .. }) => Some(*code),
        _ => None,
    });
    found.expect("a refusal")
}

fn started() -> Dht {
    let mut node = Dht::new(START, DhtConfig { routers: vec![], ..config(1) });
    node.handle_start(START, &mut Outbox::new());
    node
}

#[test]
fn a_stranger_who_asks_for_samples_gets_some() {
    let mut net = Net::new(30);
    net.call(1, |node, now, out| node.announce(now, HASH, AnnouncedPort::Implied, false, out));
    net.run(Duration::from_secs(10));
    let question = query(Method::SampleInfohashes { target: NodeId(HASH.0) });
    let stranger = SocketAddr::from(([99, 1, 1, 1], 1));
    let now = net.now;
    let sampled = (0..30).filter(|&n| {
        let answer = response(&replies(&mut net.nodes[n], now, stranger, &question));
        answer.samples.is_some_and(|samples| samples.hashes == [HASH])
    });
    assert_eq!(sampled.count(), 8);
}

#[test]
fn a_node_of_the_other_family_speaks_its_own() {
    let v6 = |n: u16| SocketAddr::from(([0x2600, n, 1, 0, 0, 0, 0, 1], 6881));
    let mut node = Dht::new(START, DhtConfig::new(Family::V6, [1; 32]));
    let mut out = Outbox::new();
    node.handle_start(START, &mut out);
    node.handle_endpoints(START, &[v6(1), addr(1)], &mut out);
    let sent: Vec<Effect> = out.drain().collect();
    let [Effect::Send(to, ping)] = &sent[..] else { panic!("one ping: {sent:?}") };
    assert_eq!(*to, v6(1));
    let number = Packet::parse(ping).unwrap().transaction;
    let known = NodeInfo { id: NodeId::for_ip(v6(1).ip(), [2; 20]), addr: v6(1) };
    let answer = Response { id: known.id, ..Response::default() };
    let answer = packet(number.as_bytes(), Body::Response(answer.into()));
    node.handle_packet(START, v6(1), &answer, &mut out);
    let find = query(Method::FindNode { target: NodeId([9; 20]) });
    let told = response(&replies(&mut node, START, v6(2), &find));
    assert_eq!((told.nodes4, told.nodes6), (None, Some(vec![known])));
    let want = Want { v4: true, v6: false };
    let method = Method::FindNode { target: NodeId([9; 20]) };
    let body = Body::Query(Query { id: NodeId([3; 20]), want, method });
    let told = response(&replies(&mut node, START, v6(3), &packet(b"bb", body)));
    assert_eq!((told.nodes4, told.nodes6), (None, None), "only the other family was wanted");
}

#[test]
fn nodes_of_the_other_family_are_told_to_those_who_want_them() {
    let v6 = |n: u16| NodeInfo {
        id: NodeId([u8::try_from(n).unwrap(); 20]),
        addr: SocketAddr::from(([0x2600, n, 1, 0, 0, 0, 0, 1], 6881)),
    };
    let mut net = Net::new(12);
    let ours = net.nodes[1].good_nodes(net.now);
    assert!(ours.len() >= 8 && ours.iter().all(|node| node.addr.is_ipv4()));
    let (now, node) = (net.now, &mut net.nodes[1]);
    let fed: Vec<NodeInfo> = (0..40).map(v6).chain(ours).collect();
    node.handle_other_family(now, &fed);
    let target = NodeId([9; 20]);
    let mut told = |from: SocketAddr, now: Instant, v4: bool, v6: bool| {
        let want = Want { v4, v6 };
        let body =
            Body::Query(Query { id: NodeId([3; 20]), want, method: Method::FindNode { target } });
        let datagram = packet(b"bb", body);
        let mut out = Outbox::new();
        node.handle_packet(now, from, &datagram, &mut out);
        let sent = out.drain().find_map(|effect| match effect {
            Effect::Send(_, sent) => Some(sent),
            Effect::Event(_) => None,
        });
        let sent = sent.unwrap();
        let told = response(&[Packet::parse(&sent).unwrap()]);
        let count = |nodes: Option<Vec<NodeInfo>>| nodes.map(|nodes| nodes.len());
        let nearest = told.nodes6.as_ref().map(|nodes| nodes[0]);
        (count(told.nodes4), count(told.nodes6), nearest, sent.len() <= 3 * datagram.len())
    };
    let (v4, other, nearest, _) = told(addr(0), now, true, true);
    assert_eq!((v4, other, nearest), (Some(8), Some(8), Some(v6(9))));
    let (v4, other, ..) = told(addr(0), now, false, true);
    assert_eq!((v4, other), (None, Some(8)), "only the other family was wanted");
    let (v4, other, ..) = told(addr(0), now, false, false);
    assert_eq!((v4, other), (Some(8), None), "nothing was wanted but what is usual");
    let stranger = SocketAddr::from(([99, 1, 1, 1], 1));
    let (v4, other, _, bounded) = told(stranger, now, true, true);
    assert!(bounded && v4 >= Some(2) && other >= Some(2), "{v4:?} {other:?}");
    let later = now + crate::other_family::LIFE;
    let (v4, other, ..) = told(addr(0), later, true, true);
    assert_eq!((v4, other), (Some(8), None), "forgotten");
}

#[test]
fn an_address_that_a_gateway_told_makes_a_fitting_id_at_once() {
    let lost = DhtConfig { routers: vec![], external_ip: None, ..config(12) };
    let mut net = Net::with((0..12).map(config).chain([lost]));
    let (before, told) = (net.nodes[12].id(), addr(12).ip());
    for other in ["::1".parse().unwrap(), "0.0.0.0".parse().unwrap()] {
        net.call(12, |node, now, out| node.handle_external_ip(now, other, out));
    }
    assert_eq!((net.nodes[12].id(), net.nodes[12].external_ip()), (before, None));
    net.call(12, |node, now, out| node.handle_external_ip(now, told, out));
    let after = net.nodes[12].id();
    assert!(after != before && after.is_valid_for(told));
    net.call(12, |node, now, out| node.handle_external_ip(now, told, out));
    assert_eq!(net.nodes[12].id(), after, "no news");
    assert!(net.events.contains(&(12, Event::ExternalAddress(told))));
}
