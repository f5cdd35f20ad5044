//! A node of the DHT under any packets and time: nobody unproven is sent more than three times what he sent, answers count only from who was
//! asked, and every lookup ends.

use crate::Script;
use samara_dht::node::Family;
use samara_dht::signature::SecretKey;
use samara_dht::{Dht, DhtConfig, Effect, Event, LookupId, Outbox};
use samara_wire::id::WireHash;
use samara_wire::krpc::{
    AnnouncedPort, Body, ErrorCode, ErrorReply, Item, Method, NodeId, NodeInfo, Packet, Put, Query,
    Response, Token, TransactionId, Want,
};
use samara_wire::time::{Duration, Instant};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// Questions of the node that wait for an answer.
const MAX_WAITING: usize = 400;

struct World {
    node: Dht,
    now: Instant,
    out: Outbox,
    /// Questions of the node, oldest first.
    waiting: Vec<(SocketAddr, Packet)>,
    /// Who has answered, or was given a token.
    proven: BTreeSet<SocketAddr>,
    tokens: BTreeMap<IpAddr, Token>,
    lookups: BTreeSet<LookupId>,
    watched: BTreeSet<LookupId>,
    done: BTreeSet<LookupId>,
}

/// Reads `input` as packets, wishes and time.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let shape = script.byte();
    let now = Instant::from_secs(1000);
    let config = DhtConfig {
        read_only: shape & 7 == 0,
        external_ip: (shape & 8 == 0).then_some(IpAddr::from([80, 9, 9, 9])),
        routers: vec![addr(1), addr(2)],
        want_other_family: shape & 16 != 0,
        ..DhtConfig::new(Family::V4, [shape; 32])
    };
    let mut world = World {
        node: Dht::new(now, config),
        now,
        out: Outbox::new(),
        waiting: Vec::new(),
        proven: BTreeSet::new(),
        tokens: BTreeMap::new(),
        lookups: BTreeSet::new(),
        watched: BTreeSet::new(),
        done: BTreeSet::new(),
    };
    world.node.handle_start(now, &mut world.out);
    world.look(None);
    for _ in 0..300 {
        if script.is_done() {
            break;
        }
        world.step(&mut script);
    }
    world.end();
}

/// Nodes live in networks of their own, a few of them local.
fn addr(who: u8) -> SocketAddr {
    match who {
        250.. => SocketAddr::from(([10, 0, 0, who], 6881)),
        who => SocketAddr::from(([80, who, 1, 1], 6881)),
    }
}

fn id(script: &mut Script<'_>) -> NodeId {
    let [first, second] = script.array();
    let mut id = [second; 20];
    id[0] = first;
    NodeId(id)
}

impl World {
    fn step(&mut self, script: &mut Script<'_>) {
        match script.below(16) {
            0 => {
                let from = addr(script.byte());
                let datagram = script.bytes(200).to_vec();
                self.hear(from, &datagram);
            }
            1..5 => self.question(script),
            5..11 => self.answer(script),
            11 => {
                self.now += Duration::from_millis(u64::from(script.byte()) * 40);
                self.node.handle_timeout(self.now, &mut self.out);
                self.look(None);
            }
            12 => self.tick(),
            _ => self.wish(script),
        }
    }

    fn tick(&mut self) {
        let Some(at) = self.node.next_timeout() else { return };
        self.now = self.now.max(at);
        self.node.handle_timeout(self.now, &mut self.out);
        self.look(None);
        let next = self.node.next_timeout();
        assert!(next.is_none_or(|at| at > self.now), "due at once again");
    }

    fn hear(&mut self, from: SocketAddr, datagram: &[u8]) {
        self.node.handle_packet(self.now, from, datagram, &mut self.out);
        self.look(Some((from, datagram.len())));
    }

    /// Somebody asks the node something.
    fn question(&mut self, script: &mut Script<'_>) {
        let from = addr(script.byte());
        let torrent = WireHash([script.byte() & 3; 20]);
        let token = self.tokens.get(&from.ip()).filter(|_| script.byte() < 230).cloned();
        let token = token.unwrap_or_else(|| Token::new(&[script.byte(); 8]).expect("a token"));
        let method = match script.below(8) {
            0 => Method::Ping,
            1 => Method::FindNode { target: id(script) },
            2 => Method::GetPeers {
                info_hash: torrent,
                no_seeds: script.flag(),
                scrape: script.flag(),
            },
            3 => {
                let port =
                    if script.flag() { AnnouncedPort::Implied } else { AnnouncedPort::Explicit(7) };
                Method::AnnouncePeer { info_hash: torrent, port, token, seed: script.flag() }
            }
            4 => {
                Method::Get { target: id(script), seq: script.flag().then(|| script.byte().into()) }
            }
            5 => Method::Put(self.put(script, token).into()),
            6 => Method::SampleInfohashes { target: id(script) },
            _ => Method::Unknown { target: script.flag().then(|| id(script)) },
        };
        let want = Want { v4: script.flag(), v6: script.flag() };
        let body = Body::Query(Query { id: id(script), want, method });
        self.hear(from, &packet(b"qq", script.flag(), body).encode());
    }

    fn put(&self, script: &mut Script<'_>, token: Token) -> Put {
        let value = [b"20:".as_slice(), &[script.byte(); 20]].concat();
        let salt = vec![script.byte() & 1; usize::from(script.byte() & 1)];
        let item = match script.below(3) {
            0 => Item { value, signed: None },
            1 => SecretKey::from_seed(&[1; 32]).sign(&salt, script.byte().into(), &value),
            _ => {
                let mut item = SecretKey::from_seed(&[1; 32]).sign(&salt, 5, &value);
                item.value[4] ^= 1;
                item
            }
        };
        Put { token, item, cas: script.flag().then(|| script.byte().into()), salt }
    }

    /// Somebody answers a question of the node: the one who was asked, or another.
    fn answer(&mut self, script: &mut Script<'_>) {
        if self.waiting.is_empty() {
            return;
        }
        let at = script.below(self.waiting.len());
        let (asked, question) = self.waiting.remove(at);
        let how = script.byte();
        let from = if how & 7 == 7 { addr(script.byte()) } else { asked };
        let body = match how & 0x38 {
            0 => Body::Error(ErrorReply::new(ErrorCode::Server)),
            _ => Body::Response(Box::new(response(script))),
        };
        let mut answer = packet(question.transaction.as_bytes(), false, body);
        answer.your_addr = script.flag().then(|| addr(script.byte() & 3));
        if from == asked {
            self.proven.insert(from);
        }
        self.hear(from, &answer.encode());
    }

    fn wish(&mut self, script: &mut Script<'_>) {
        let (now, torrent) = (self.now, WireHash([script.byte() & 3; 20]));
        let key = SecretKey::from_seed(&[2; 32]);
        let out = &mut self.out;
        let lookup = match script.below(9) {
            0 => Some(self.node.lookup_peers(now, torrent, out)),
            1 => Some(self.node.scrape(now, torrent, out)),
            2 => {
                self.node.announce(now, torrent, AnnouncedPort::Implied, script.flag(), out);
                None
            }
            3 => {
                self.node.withdraw(&torrent);
                None
            }
            4 => Some(self.node.get_item(now, id(script), Vec::new(), out)),
            5 => {
                let item = key.sign(b"", script.byte().into(), b"i1e");
                self.node.put_item(now, item, Vec::new(), None, out).ok()
            }
            6 => {
                let watch =
                    self.node.watch_item(now, &key.public(), vec![script.byte()], None, out);
                self.watched.extend(watch.ok());
                None
            }
            7 => Some(self.node.sample_infohashes(now, id(script), out)),
            _ => {
                let ip = addr(script.byte()).ip();
                self.node.handle_external_ip(now, ip, out);
                None
            }
        };
        self.lookups.extend(lookup);
        self.look(None);
    }

    /// Takes what the node wants done. `cause`: the datagram it comes of, by its sender and length.
    fn look(&mut self, cause: Option<(SocketAddr, usize)>) {
        let mut to_sender = 0;
        let effects: Vec<Effect> = self.out.drain().collect();
        assert!(effects.len() <= 2000, "{} effects", effects.len());
        for effect in effects {
            match effect {
                Effect::Send(to, datagram) => {
                    assert!(datagram.len() <= 1400 && to.port() != 0 && to.is_ipv4());
                    let packet = Packet::parse(&datagram).expect("our own packet");
                    if cause.is_some_and(|(from, _)| from == to) {
                        to_sender += datagram.len();
                    }
                    self.sent(to, packet);
                }
                Effect::Event(Event::LookupDone { lookup, .. }) => {
                    self.lookups.remove(&lookup);
                    // One that is watched is looked up again and again.
                    let again = !self.done.insert(lookup);
                    assert!(!again || self.watched.contains(&lookup), "{lookup:?} is done twice");
                }
                Effect::Event(Event::PeersFound { peers, .. }) => {
                    assert!(!peers.is_empty() && peers.iter().all(|peer| peer.port() != 0));
                }
                Effect::Event(_) => {}
            }
        }
        if let Some((from, len)) = cause.filter(|(from, _)| !self.proven.contains(from)) {
            assert!(to_sender <= 3 * len, "{to_sender} bytes to {from} for {len}");
        }
        assert!(self.node.node_count() <= 8 * 32);
    }

    fn sent(&mut self, to: SocketAddr, packet: Packet) {
        match &packet.body {
            Body::Query(_) if self.waiting.len() < MAX_WAITING => self.waiting.push((to, packet)),
            Body::Response(response) => {
                if let Some(token) = &response.token {
                    self.tokens.insert(to.ip(), token.clone());
                    // Whoever shows it has received it.
                    self.proven.insert(to);
                }
            }
            _ => {}
        }
    }

    /// Nobody answers any more: all lookups end.
    fn end(mut self) {
        for _ in 0..5000 {
            if self.lookups.is_empty() {
                return;
            }
            self.tick();
        }
        panic!("{:?} do not end", self.lookups);
    }
}

fn packet(transaction: &[u8], read_only: bool, body: Body) -> Packet {
    let transaction = TransactionId::new(transaction).expect("some bytes");
    Packet { transaction, client: None, read_only, your_addr: None, body }
}

fn response(script: &mut Script<'_>) -> Response {
    let node = |script: &mut Script<'_>| NodeInfo { id: id(script), addr: addr(script.byte()) };
    let parts = script.byte();
    let mut response = Response { id: id(script), ..Response::default() };
    if parts & 1 == 1 {
        response.nodes4 = Some((0..script.below(12)).map(|_| node(script)).collect());
    }
    if parts & 2 != 0 {
        response.token = Token::new(&[script.byte(); 4]);
    }
    if parts & 4 != 0 {
        response.values = Some((0..script.below(6)).map(|_| addr(script.byte())).collect());
    }
    if parts & 8 != 0 {
        let seq = script.byte().into();
        response.item = Some(SecretKey::from_seed(&[2; 32]).sign(b"", seq, b"i2e").into());
        response.seq = Some(seq);
    }
    if parts & 0x10 != 0 {
        let addr = SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, script.byte().into()], 7));
        response.nodes6 = Some(vec![NodeInfo { id: id(script), addr }]);
    }
    response
}
