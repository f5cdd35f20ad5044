//! Two homes, each behind a box that translates addresses ([`Nat`]), and a third peer outside: do they come together?
//!
//! All three are real: a [`Torrent`] over a [`samara_utp::Endpoint`], of which every datagram passes the boxes. One home has all
//! pieces, the other none. Both dial the third, who is served nothing, tells each of the other (BEP 11), and brings them together if they
//! cannot dial each other (BEP 55). There is no TCP.

use crate::nat::{Nat, NatConfig, NatKind};
use samara_swarm::rng::Rng;
use samara_swarm::torrent::{
    BlockVerdict, Direction, NewPeer, PeerKey, PeerSource, Torrent, TorrentConfig,
};
use samara_swarm::{Effect, Outbox};
use samara_utp::{ConnectionKey, Endpoint, Event, UtpConfig};
use samara_wire::bitfield::Bitfield;
use samara_wire::id::{BLOCK_LEN, BlockRef, InfoHashV1, InfoHashes, PeerId};
use samara_wire::layout::PieceLayout;
use samara_wire::peer::frame::{Decoded, Frame, FrameDecoder};
use samara_wire::peer::handshake::{HANDSHAKE_LEN, Handshake, Reserved};
use samara_wire::peer::message::{Message, encode_piece_header};
use samara_wire::time::{Duration, Instant};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Pieces of the torrent, of one block each.
const PIECES: u32 = 8;

/// The home that has all pieces, the one that wants them, and the third.
const SEED: usize = 0;
const LEECH: usize = 1;
const THIRD: usize = 2;

/// Time after which a dial is called slow, as the engine has it.
const SLOW: Duration = Duration::from_secs(3);

/// What is simulated.
#[derive(Clone, Debug)]
pub struct PunchWorldConfig {
    /// The boxes of the seed and of the leech; `None`: there is none.
    pub homes: [Option<NatKind>; 2],
    /// Whether boxes keep the ports of those inside where they can.
    pub keeps_ports: bool,
    /// How long mappings live.
    pub lifetime: Duration,
    /// The leech begins so much later than the others.
    pub later: Duration,
    /// Time from any box to any other.
    pub delay: Duration,
    /// Datagrams of a million that get lost by chance.
    pub loss_ppm: usize,
    /// Whether the three take part in hole punching.
    pub punching: bool,
    /// The run ends here at the latest, counted from when the leech begins.
    pub limit: Duration,
    /// All that is left to chance.
    pub seed: u8,
}

impl Default for PunchWorldConfig {
    fn default() -> Self {
        Self {
            homes: [None; 2],
            keeps_ports: false,
            lifetime: Duration::from_secs(60),
            later: Duration::from_secs(5),
            delay: Duration::from_millis(20),
            loss_ppm: 0,
            punching: true,
            limit: Duration::from_secs(600),
            seed: 1,
        }
    }
}

/// How two came together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meeting {
    /// One dialled the other.
    Dialled,
    /// Both began at once, with the help of the third.
    Punched,
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PunchReport {
    /// How the homes came together, if they did, and when the leech had all pieces.
    pub met: Option<(Meeting, Duration)>,
    /// Attempts to begin a connection from both ends, over both homes.
    pub punches: u32,
    /// Messages of hole punching that the third sent.
    pub relayed: u32,
}

/// A stream of uTP with what is known of it.
struct Link {
    addr: SocketAddr,
    direction: Direction,
    punched: bool,
    /// Once the handshake is done.
    peer: Option<(PeerKey, PeerId)>,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
}

/// A peer.
struct Node {
    addr: SocketAddr,
    id: PeerId,
    nat: Option<Nat>,
    torrent: Torrent,
    utp: Endpoint,
    links: BTreeMap<ConnectionKey, Link>,
    /// With whom a connection of its own making came about, and how.
    dialled: BTreeMap<PeerId, Meeting>,
    events: samara_utp::Outbox,
    out: Outbox,
}

enum Happening {
    Start(usize),
    /// A datagram reaches an address outside.
    Datagram {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    /// A dial of a node has taken long, if it is still under way.
    Slow(usize, ConnectionKey),
}

struct World {
    config: PunchWorldConfig,
    now: Instant,
    rng: Rng,
    nodes: Vec<Node>,
    happenings: BTreeMap<(Instant, u64), Happening>,
    scheduled: u64,
    report: PunchReport,
}

/// Runs a world until the leech has all pieces, or to its end.
#[must_use]
pub fn run_punch(config: PunchWorldConfig) -> PunchReport {
    let mut world = World::new(config);
    let begins = world.now + world.config.later;
    world.schedule(world.now, Happening::Start(THIRD));
    world.schedule(world.now, Happening::Start(SEED));
    world.schedule(begins, Happening::Start(LEECH));
    let end = begins + world.config.limit;
    while world.step(end) {
        if world.nodes[LEECH].torrent.is_complete() {
            world.report.met = Some((world.meeting(), world.now - begins));
            break;
        }
    }
    world.report
}

impl World {
    fn new(config: PunchWorldConfig) -> Self {
        let layout = PieceLayout::contiguous(u64::from(PIECES * BLOCK_LEN), BLOCK_LEN);
        let now = Instant::from_secs(100);
        let nodes = (0..3).map(|index| Node::new(now, index, &config, &layout)).collect();
        Self {
            now,
            rng: Rng::new(u64::from(config.seed) << 8),
            nodes,
            happenings: BTreeMap::new(),
            scheduled: 0,
            report: PunchReport { met: None, punches: 0, relayed: 0 },
            config,
        }
    }

    fn schedule(&mut self, at: Instant, what: Happening) {
        self.scheduled += 1;
        self.happenings.insert((at, self.scheduled), what);
    }

    /// Lets the next thing happen, unless it lies beyond `end`.
    fn step(&mut self, end: Instant) -> bool {
        let timers = self
            .nodes
            .iter()
            .flat_map(|node| [node.torrent.next_timeout(), node.utp.next_timeout()]);
        let queued = self.happenings.first_key_value().map(|((at, _), _)| *at);
        let Some(next) = timers.flatten().chain(queued).min().filter(|at| *at <= end) else {
            return false;
        };
        // What wants to be called at once, again and again, must not stop the clock.
        self.now = self.now.max(next);
        let mut moved = false;
        while let Some(entry) = self.happenings.first_entry()
            && entry.key().0 <= self.now
        {
            let what = entry.remove();
            self.happen(what);
            moved = true;
        }
        for index in 0..self.nodes.len() {
            let (now, node) = (self.now, &mut self.nodes[index]);
            if node.torrent.next_timeout().is_some_and(|at| at <= now) {
                node.torrent.handle_timeout(now, &mut node.out);
            }
            if node.utp.next_timeout().is_some_and(|at| at <= now) {
                node.utp.handle_timeout(now, &mut node.events);
            }
            self.settle(index);
        }
        if !moved {
            self.now += Duration::from_micros(1);
        }
        true
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Start(index) => {
                let third = self.nodes[THIRD].addr;
                let (now, node) = (self.now, &mut self.nodes[index]);
                node.torrent.handle_start(now, &mut node.out);
                if index != THIRD {
                    node.torrent.handle_peers(now, PeerSource::User, &[third], &mut node.out);
                }
                self.settle(index);
            }
            Happening::Datagram { from, to, bytes } => {
                let now = self.now;
                let inside = |node: &Node| match &node.nat {
                    None => node.addr == to,
                    Some(nat) => {
                        nat.outside() == to.ip()
                            && nat.inbound(now, from, to.port()) == Some(node.addr)
                    }
                };
                if let Some(index) = self.nodes.iter().position(inside) {
                    let node = &mut self.nodes[index];
                    node.utp.handle_datagram(now, from, &bytes, &mut node.events);
                    self.settle(index);
                }
            }
            Happening::Slow(index, key) => {
                let (now, node) = (self.now, &mut self.nodes[index]);
                if let Some(link) = node.links.get(&key).filter(|link| link.peer.is_none()) {
                    node.torrent.handle_dial_slow(now, link.addr, &mut node.out);
                    self.settle(index);
                }
            }
        }
    }

    /// Carries out what a node wants, until it wants nothing more, and sends what it has to send.
    fn settle(&mut self, index: usize) {
        loop {
            let node = &mut self.nodes[index];
            let events: Vec<_> = node.events.drain().collect();
            let effects: Vec<_> = node.out.drain().collect();
            if events.is_empty() && effects.is_empty() {
                break;
            }
            for event in events {
                self.nodes[index].on_event(self.now, event);
            }
            for effect in effects {
                self.carry_out(index, effect);
            }
        }
        self.nodes[index].flush();
        let mut sent = Vec::new();
        let node = &mut self.nodes[index];
        while let Some(transmit) = node.utp.poll_transmit(self.now, 44) {
            let datagrams = transmit.contents.chunks(transmit.segment);
            sent.extend(datagrams.map(|bytes| (transmit.to, bytes.to_vec())));
        }
        for (to, bytes) in sent {
            let node = &mut self.nodes[index];
            let seen = match &mut node.nat {
                None => Some(node.addr),
                Some(nat) => nat.outbound(self.now, node.addr, to),
            };
            let lost = self.rng.below(1_000_000) < self.config.loss_ppm;
            if let Some(from) = seen.filter(|_| !lost) {
                let at = self.now + self.config.delay;
                self.schedule(at, Happening::Datagram { from, to, bytes });
            }
        }
    }

    fn carry_out(&mut self, index: usize, effect: Effect) {
        let (now, third) = (self.now, self.nodes[THIRD].id);
        let node = &mut self.nodes[index];
        match effect {
            Effect::Send(key, message) => {
                if index == THIRD && is_holepunch(&message) {
                    self.report.relayed += 1;
                }
                if let Some(link) = node.link(key) {
                    message.encode(&mut link.outbox);
                }
            }
            Effect::ServeReady(key) => {
                // The pieces are to go from one home to the other and no other way.
                if node.link(key).is_some_and(|link| link.peer.is_some_and(|(_, id)| id != third)) {
                    node.serve(now, key);
                }
            }
            Effect::Disconnect(key, _) => node.close(now, key),
            Effect::Dial(addr) => {
                if let Some(key) = node.begin(now, addr, false) {
                    self.schedule(now + SLOW, Happening::Slow(index, key));
                }
            }
            Effect::Punch(addr) => {
                self.report.punches += 1;
                node.give_up_dial(addr);
                node.begin(now, addr, true);
            }
            Effect::VerifyPiece { piece, .. } => {
                node.torrent.handle_piece_verified(now, piece, None, &mut node.out);
            }
            Effect::Announce(_)
            | Effect::Seek { .. }
            | Effect::Withdraw
            | Effect::DhtNode(_)
            | Effect::Event(_) => {}
        }
    }

    /// How the homes, of which one has got everything from the other, came together.
    fn meeting(&self) -> Meeting {
        let punched = |index: usize, other: usize| {
            let how = self.nodes[index].dialled.get(&self.nodes[other].id);
            how == Some(&Meeting::Punched)
        };
        if punched(SEED, LEECH) || punched(LEECH, SEED) {
            Meeting::Punched
        } else {
            Meeting::Dialled
        }
    }
}

fn is_holepunch(message: &Message) -> bool {
    // All three are of our own make, and want it under this id.
    matches!(message, Message::Extended { id: 4, .. })
}

impl Node {
    fn new(now: Instant, index: usize, config: &PunchWorldConfig, layout: &PieceLayout) -> Self {
        let number = u8::try_from(index).unwrap_or(u8::MAX);
        let kind = config.homes.get(index).copied().flatten();
        let outside = [9, number, 0, 1].into();
        let nat = kind.map(|kind| {
            let seed = u64::from(config.seed) + u64::from(number);
            let (lifetime, keeps_ports) = (config.lifetime, config.keeps_ports);
            Nat::new(NatConfig { kind, outside, lifetime, keeps_ports, seed })
        });
        let ip = if nat.is_some() { [192, 168, number, 2].into() } else { outside };
        let id = PeerId::ours(*b"SIM0", [number; 12]);
        let torrent_config = TorrentConfig {
            seed: u64::from(config.seed) * 31 + u64::from(number),
            peer_id: id,
            listen_port: 6881,
            holepunch: config.punching,
            ..TorrentConfig::default()
        };
        let pieces = layout.count();
        let have = if index == SEED { Bitfield::full(pieces) } else { Bitfield::empty(pieces) };
        let torrent = Torrent::new(now, torrent_config, hashes(), layout.clone(), have);
        Self {
            addr: SocketAddr::new(ip, 6881),
            id,
            nat,
            torrent,
            utp: Endpoint::new(UtpConfig::new([config.seed ^ number.wrapping_mul(85); 32])),
            links: BTreeMap::new(),
            dialled: BTreeMap::new(),
            events: samara_utp::Outbox::new(),
            out: Outbox::new(),
        }
    }

    fn handshake(&self) -> [u8; HANDSHAKE_LEN] {
        let (reserved, info_hash, peer_id) = (Reserved::OURS, hashes().wire(), self.id);
        Handshake { reserved, info_hash, peer_id }.encode()
    }

    fn link(&mut self, key: PeerKey) -> Option<&mut Link> {
        let of = |link: &&mut Link| link.peer.is_some_and(|(peer, _)| peer == key);
        self.links.values_mut().find(of)
    }

    /// Asks for a connection.
    fn begin(&mut self, now: Instant, addr: SocketAddr, punched: bool) -> Option<ConnectionKey> {
        let Ok(key) = self.utp.connect(now, addr) else {
            self.on_failed(now, addr, punched);
            return None;
        };
        let outbox = self.handshake().to_vec();
        self.insert(key, addr, Direction::Outgoing, punched, outbox);
        Some(key)
    }

    fn insert(
        &mut self,
        key: ConnectionKey,
        addr: SocketAddr,
        direction: Direction,
        punched: bool,
        outbox: Vec<u8>,
    ) {
        let link = Link { addr, direction, punched, peer: None, inbox: Vec::new(), outbox };
        self.links.insert(key, link);
    }

    fn on_failed(&mut self, now: Instant, addr: SocketAddr, punched: bool) {
        if punched {
            self.torrent.handle_punch_failed(now, addr, &mut self.out);
        } else {
            self.torrent.handle_dial_failed(now, addr, &mut self.out);
        }
    }

    /// A dial is given up without a word.
    fn give_up_dial(&mut self, addr: SocketAddr) {
        let dial = |link: &Link| {
            link.addr == addr && link.direction == Direction::Outgoing && link.peer.is_none()
        };
        let keys: Vec<_> =
            self.links.iter().filter(|(_, link)| dial(link)).map(|(key, _)| *key).collect();
        for key in keys {
            self.links.remove(&key);
            self.utp.abort(key);
        }
    }

    fn close(&mut self, now: Instant, key: PeerKey) {
        let of = |link: &Link| link.peer.is_some_and(|(peer, _)| peer == key);
        let found = self.links.iter().find(|(_, link)| of(link)).map(|(key, _)| *key);
        if let Some(key) = found {
            self.links.remove(&key);
            self.utp.close(now, key);
        }
    }

    fn on_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Accepted(key, addr) => {
                self.insert(key, addr, Direction::Incoming, false, Vec::new());
                self.read(now, key);
            }
            Event::Readable(key) => self.read(now, key),
            // What is to be written is written with the next flush.
            Event::Connected(_) | Event::Writable(_) => {}
            Event::Closed(key, _) => self.on_end(now, key),
        }
    }

    /// The stream is no more.
    fn on_end(&mut self, now: Instant, key: ConnectionKey) {
        self.utp.close(now, key);
        let Some(link) = self.links.remove(&key) else { return };
        match link.peer {
            Some((peer, _)) => self.torrent.handle_disconnected(now, peer, &mut self.out),
            None if link.direction == Direction::Outgoing => {
                self.on_failed(now, link.addr, link.punched);
            }
            None => {}
        }
    }

    fn read(&mut self, now: Instant, key: ConnectionKey) {
        let mut buffer = [0; 4096];
        loop {
            let read = self.utp.read(now, key, &mut buffer);
            let Some(link) = self.links.get_mut(&key) else { return };
            match read {
                Ok(0) => return self.on_end(now, key),
                Ok(read) => link.inbox.extend(&buffer[..read]),
                Err(_) => break,
            }
        }
        while self.understand(now, key) {}
    }

    /// Takes the next thing out of what was read. False if there is none, or the stream is no more.
    fn understand(&mut self, now: Instant, key: ConnectionKey) -> bool {
        let Some(link) = self.links.get_mut(&key) else { return false };
        let Some((peer, _)) = link.peer else { return self.greet(now, key) };
        let decoded = FrameDecoder::new(Some(PIECES)).decode(&link.inbox).expect("our own frames");
        let Decoded::Frame { frame, consumed } = decoded else { return false };
        match frame {
            Frame::Message(message) => {
                link.inbox.drain(..consumed);
                self.torrent.handle_message(now, peer, message, &mut self.out);
            }
            Frame::PieceHeader(block) => {
                let end = consumed + block.len as usize;
                if link.inbox.len() < end {
                    return false;
                }
                link.inbox.drain(..end);
                self.take(now, peer, block);
            }
            Frame::Unknown(id) => unreachable!("nobody here sends messages of id {id}"),
        }
        true
    }

    fn take(&mut self, now: Instant, peer: PeerKey, block: BlockRef) {
        let verdict = self.torrent.handle_block_header(now, peer, block, &mut self.out);
        if verdict == BlockVerdict::Wanted {
            self.torrent.handle_progress(now, peer, block.len);
            self.torrent.handle_block(now, peer, block, &mut self.out);
        }
    }

    /// Reads the handshake, and answers it.
    fn greet(&mut self, now: Instant, key: ConnectionKey) -> bool {
        let ours = self.handshake();
        let Some(link) = self.links.get_mut(&key) else { return false };
        let Ok(theirs) = Handshake::parse(&link.inbox) else { return false };
        link.inbox.drain(..HANDSHAKE_LEN);
        if link.direction == Direction::Incoming {
            link.outbox.extend(ours);
        }
        let (addr, direction) = (link.addr, link.direction);
        let (peer_id, reserved) = (theirs.peer_id, theirs.reserved);
        let new = NewPeer { addr, direction, utp: true, peer_id, reserved };
        match self.torrent.handle_peer_connected(now, new, &mut self.out) {
            Ok(peer) => {
                link.peer = Some((peer, peer_id));
                if direction == Direction::Outgoing {
                    let how = if link.punched { Meeting::Punched } else { Meeting::Dialled };
                    self.dialled.insert(peer_id, how);
                }
            }
            Err(_) => {
                self.links.remove(&key);
                self.utp.close(now, key);
            }
        }
        true
    }

    /// Puts the blocks that a peer asked for into its stream.
    fn serve(&mut self, now: Instant, key: PeerKey) {
        while let Some(block) = self.torrent.poll_serve(key) {
            self.torrent.handle_served(now, key, block);
            let Some(link) = self.link(key) else { return };
            link.outbox.extend(encode_piece_header(block));
            link.outbox.extend(std::iter::repeat_n(0, block.len as usize));
        }
    }

    /// Writes what streams have room for.
    fn flush(&mut self) {
        for (key, link) in &mut self.links {
            while !link.outbox.is_empty()
                && let Ok(written @ 1..) = self.utp.write(*key, &link.outbox)
            {
                link.outbox.drain(..written);
            }
        }
    }
}

fn hashes() -> InfoHashes {
    InfoHashes::v1_only(InfoHashV1([7; 20]))
}
