//! One torrent under any peers, trackers, disks and time: what it asks for, accepts, serves and says is what it may.
//!
//! The input is read as a list of steps. The world around the torrent remembers what was said both ways, and looks at every effect.

mod effects;
mod peers;

use crate::Script;
use crate::messages;
use samara_swarm::announcer::MAX_TRACKERS;
use samara_swarm::outbox::AnnounceId;
use samara_swarm::torrent::{BlockVerdict, Direction, NewPeer, PeerKey, PeerSource};
use samara_swarm::{Outbox, Torrent, TorrentConfig};
use samara_wire::bitfield::Bitfield;
use samara_wire::id::{BLOCK_LEN, BlockRef, InfoHashV1, InfoHashes, PeerId, PieceIndex};
use samara_wire::layout::PieceLayout;
use samara_wire::peer::handshake::Reserved;
use samara_wire::time::{Duration, Instant};
use samara_wire::tracker::AnnounceResponse;
use samara_wire::tracker::http::Retry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// Steps of one input. A longer one is cut, so that a run takes no more than some milliseconds.
const MAX_STEPS: usize = 600;

/// Effects of one input to the torrent. The most come of a peer that is asked for all at once.
const MAX_EFFECTS: usize = 20_000;

/// A connected peer, as the world sees it.
struct FakePeer {
    key: PeerKey,
    fast: bool,
    /// What the torrent waits for.
    asked: BTreeSet<BlockRef>,
    /// What it once asked for.
    once_asked: BTreeSet<BlockRef>,
    /// The pieces that the peer told of, as far as the torrent can have understood.
    told: BTreeSet<PieceIndex>,
}

struct World {
    torrent: Torrent,
    layout: PieceLayout,
    now: Instant,
    out: Outbox,
    private: bool,
    peers: Vec<FakePeer>,
    /// Payload of which only the header was read.
    reading: Vec<(PeerKey, BlockRef)>,
    /// Blocks that a piece has in its buffers.
    received: BTreeSet<BlockRef>,
    verifying: BTreeMap<PieceIndex, bool>,
    dialling: Vec<SocketAddr>,
    announces: Vec<AnnounceId>,
    sought: bool,
}

/// Reads `input` as a kind of torrent and steps.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let mut world = World::new(&mut script);
    for _ in 0..MAX_STEPS {
        if script.is_done() {
            break;
        }
        world.step(&mut script);
        world.look();
    }
    world.stop();
}

impl World {
    fn new(script: &mut Script<'_>) -> Self {
        let [shape, flags, had, seed] = script.array();
        let pieces = u32::from(shape & 0x1f) + 1;
        let piece_len = BLOCK_LEN << (shape >> 5 & 1);
        let tail = if shape >> 6 & 1 == 1 { 5 } else { 0 };
        let layout = PieceLayout::contiguous(u64::from(pieces * piece_len - tail), piece_len);
        let mut have = Bitfield::empty(pieces);
        for piece in layout.pieces().filter(|piece| had == 255 || had >> (piece.0 % 8) & 1 == 1) {
            have.insert(piece);
        }
        let private = flags & 7 == 0;
        let config = TorrentConfig {
            seed: seed.into(),
            listen_port: 6881,
            max_peers: if flags & 8 == 0 { 8 } else { 3 },
            upload_slots: 2,
            private,
            super_seeding: flags & 0x30 == 0x30,
            sequential: flags & 0x40 != 0,
            trackers: vec![vec!["http://a/announce".to_owned()], vec!["udp://b:1".to_owned()]],
            dht_port: Some(6881),
            holepunch: flags & 0x80 != 0,
            ..TorrentConfig::default()
        };
        let hashes = InfoHashes::v1_only(InfoHashV1([9; 20]));
        let now = Instant::from_secs(1000);
        let torrent = Torrent::new(now, config, hashes, layout.clone(), have);
        let mut world = Self {
            torrent,
            layout,
            now,
            out: Outbox::new(),
            private,
            peers: Vec::new(),
            reading: Vec::new(),
            received: BTreeSet::new(),
            verifying: BTreeMap::new(),
            dialling: Vec::new(),
            announces: Vec::new(),
            sought: false,
        };
        for _ in 0..script.below(4) {
            world.found_on_disk(script);
        }
        world.torrent.handle_start(now, &mut world.out);
        world.look();
        world
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.below(32) {
            0 | 1 => self.connect(script),
            2..=7 => self.message(script),
            8..=13 => self.block(script),
            14 => self.finish_reading(script),
            15..=17 => self.checked(script),
            18 => self.lose(script),
            19 | 20 => self.pass(script),
            21 => self.answer_announce(script),
            22 => self.dialled(script),
            23 | 24 => self.serve(script),
            25 => self.learn(script),
            26 => self.prefer(script),
            27 => self.hang_up(script),
            28 => {
                let credit = u64::from(script.byte()) * u64::from(BLOCK_LEN) / 4;
                self.torrent.handle_write_credit(self.now, credit, &mut self.out);
            }
            29 => self.edit_trackers(script),
            30 => self.restart(),
            _ => self.whole_piece(script),
        }
    }

    /// Blocks that an earlier run left, whatever the record says.
    fn found_on_disk(&mut self, script: &mut Script<'_>) {
        let piece = PieceIndex(u32::from(script.byte()) % self.layout.count());
        let mut blocks = Bitfield::empty(self.layout.blocks_in(piece));
        let bits = script.byte();
        for index in (0..blocks.len()).filter(|index| bits >> (index % 8) & 1 == 1) {
            blocks.insert(PieceIndex(index));
        }
        let news = self.torrent.partial_pieces().iter().all(|(known, _)| *known != piece);
        if news && !self.torrent.have().has(piece) {
            let found = blocks.iter().filter_map(|at| self.layout.block(piece, at.0));
            self.received.extend(found);
        }
        self.torrent.handle_partial_found(piece, &blocks, &mut self.out);
    }

    fn connect(&mut self, script: &mut Script<'_>) {
        let [how, id] = script.array();
        let addr = messages::address(script);
        // Only what was dialled can be outgoing.
        self.meet(addr, how & !1, id);
    }

    fn meet(&mut self, addr: SocketAddr, how: u8, id: u8) {
        let outgoing = how & 1 == 1;
        // Extended, fast, the DHT.
        let reserved = Reserved([0, 0, 0, 0, 0, how & 0x10, 0, (how & 4) | (how >> 7)]);
        let new = NewPeer {
            addr,
            direction: if outgoing { Direction::Outgoing } else { Direction::Incoming },
            utp: how & 2 != 0,
            peer_id: PeerId([id & 0xf; 20]),
            reserved,
        };
        self.dialling.retain(|dialled| *dialled != addr);
        let met = self.torrent.handle_peer_connected(self.now, new, &mut self.out);
        if let Ok(key) = met {
            assert!(self.peers.iter().all(|peer| peer.key != key), "a key for two");
            self.peers.push(FakePeer {
                key,
                fast: reserved.fast(),
                asked: BTreeSet::new(),
                once_asked: BTreeSet::new(),
                told: BTreeSet::new(),
            });
        }
    }

    /// Every block that is owed of a piece that anybody is asked for arrives.
    fn whole_piece(&mut self, script: &mut Script<'_>) {
        let Some(at) = self.some_peer(script) else { return };
        let owed: Vec<BlockRef> = self.peers[at].asked.iter().copied().take(8).collect();
        let key = self.peers[at].key;
        self.read_on(key);
        for block in owed {
            if self.header(key, block) == BlockVerdict::Wanted {
                self.payload(key, block);
            }
            self.look();
        }
    }

    fn block(&mut self, script: &mut Script<'_>) {
        let Some(at) = self.some_peer(script) else { return };
        let (shape, which) = (script.byte(), script.byte());
        let key = self.peers[at].key;
        self.read_on(key);
        let Some(peer) = self.peer(key) else { return };
        let known = if shape & 4 == 0 { &peer.asked } else { &peer.once_asked };
        let known = known.iter().nth(usize::from(which) % known.len().max(1)).copied();
        let block = match known {
            Some(block) if shape < 250 => block,
            _ => messages::block(script, &self.layout),
        };
        if self.header(key, block) == BlockVerdict::Wanted {
            if shape & 3 == 3 {
                self.reading.push((key, block));
            } else {
                self.look();
                self.payload(key, block);
            }
        }
    }

    fn header(&mut self, key: PeerKey, block: BlockRef) -> BlockVerdict {
        let asked = self.peer(key).is_some_and(|peer| peer.once_asked.contains(&block));
        let verdict = self.torrent.handle_block_header(self.now, key, block, &mut self.out);
        let Some(peer) = self.peers.iter_mut().find(|peer| peer.key == key) else { return verdict };
        match verdict {
            BlockVerdict::Fault => assert!(!peer.asked.contains(&block), "{block:?} was asked for"),
            BlockVerdict::Wanted => assert!(asked, "{block:?} was never asked for"),
            BlockVerdict::Unwanted => {
                assert!(asked, "{block:?} was never asked for");
                peer.asked.remove(&block);
            }
        }
        verdict
    }

    /// What stands in a stream is read before what follows it.
    fn read_on(&mut self, key: PeerKey) {
        if let Some(at) = self.reading.iter().position(|(of, _)| *of == key) {
            let (key, block) = self.reading.swap_remove(at);
            self.payload(key, block);
            self.look();
        }
    }

    /// The payload is here, unless the connection ended meanwhile.
    fn payload(&mut self, key: PeerKey, block: BlockRef) {
        let Some(peer) = self.peers.iter_mut().find(|peer| peer.key == key) else { return };
        peer.asked.remove(&block);
        self.torrent.handle_progress(self.now, key, block.len);
        if self.torrent.handle_block(self.now, key, block, &mut self.out) {
            assert!(!self.torrent.have().has(block.piece), "{block:?} is kept and was verified");
            assert!(self.received.insert(block), "{block:?} is kept twice");
        }
    }

    fn finish_reading(&mut self, script: &mut Script<'_>) {
        if !self.reading.is_empty() {
            let at = script.below(self.reading.len());
            let (key, block) = self.reading.swap_remove(at);
            self.payload(key, block);
        }
    }

    /// A disk thread is done with a piece.
    fn checked(&mut self, script: &mut Script<'_>) {
        let Some((&piece, &want_digests)) = self.verifying.iter().next() else { return };
        self.verifying.remove(&piece);
        let blocks = self.layout.blocks_in(piece) as usize;
        let digests: Box<[[u8; 20]]> = (0..blocks).map(|_| [script.byte() & 3; 20]).collect();
        match script.below(8) {
            0 | 1 => {
                self.received.retain(|block| block.piece != piece);
                self.torrent.handle_piece_failed(self.now, piece, &digests, &mut self.out);
            }
            2 => {
                self.received.retain(|block| block.piece != piece);
                self.torrent.handle_write_failed(self.now, piece, &mut self.out);
            }
            _ => {
                self.received.retain(|block| block.piece != piece);
                let digests = want_digests.then_some(digests);
                self.torrent.handle_piece_verified(self.now, piece, digests, &mut self.out);
                assert!(self.torrent.have().has(piece));
            }
        }
    }

    fn lose(&mut self, script: &mut Script<'_>) {
        let piece = PieceIndex(u32::from(script.byte()) % self.layout.count());
        if self.torrent.have().has(piece) {
            self.torrent.handle_piece_lost(self.now, piece, &mut self.out);
            assert!(!self.torrent.have().has(piece));
        }
    }

    fn pass(&mut self, script: &mut Script<'_>) {
        let next = self.torrent.next_timeout();
        self.now = match (script.byte(), next) {
            (0..128, Some(at)) => at.max(self.now),
            (byte, _) => self.now + Duration::from_millis(u64::from(byte) * 100),
        };
        self.torrent.handle_timeout(self.now, &mut self.out);
    }

    fn answer_announce(&mut self, script: &mut Script<'_>) {
        if self.announces.is_empty() {
            return;
        }
        let at = script.below(self.announces.len());
        let id = self.announces.swap_remove(at);
        if script.flag() {
            let retry = script.pick(&[
                None,
                Some(Retry::Never),
                Some(Retry::After(Duration::from_secs(5))),
            ]);
            self.torrent.handle_announce_failed(
                self.now,
                id,
                "no".to_owned(),
                retry,
                &mut self.out,
            );
            return;
        }
        let response = AnnounceResponse {
            interval: Duration::from_secs(script.short().into()),
            min_interval: script.flag().then(|| Duration::from_secs(script.short().into())),
            peers: (0..script.below(8)).map(|_| messages::address(script)).collect(),
            external_ip: script.flag().then(|| messages::address(script).ip()),
            ..AnnounceResponse::default()
        };
        if script.byte() < 32 {
            self.torrent.handle_more_announced(self.now, response.clone(), &mut self.out);
        }
        self.torrent.handle_announced(self.now, id, response, &mut self.out);
    }

    fn learn(&mut self, script: &mut Script<'_>) {
        let source = script.pick(&[PeerSource::User, PeerSource::Dht, PeerSource::Local]);
        let addrs: Vec<_> = (0..script.below(8)).map(|_| messages::address(script)).collect();
        self.torrent.handle_peers(self.now, source, &addrs, &mut self.out);
    }

    fn dialled(&mut self, script: &mut Script<'_>) {
        if self.dialling.is_empty() {
            return;
        }
        let at = script.below(self.dialling.len());
        let addr = self.dialling.swap_remove(at);
        let [how, id] = script.array();
        if how < 64 {
            self.torrent.handle_dial_failed(self.now, addr, &mut self.out);
        } else {
            self.meet(addr, how | 1, id);
        }
    }

    /// The user changes what is wanted.
    fn prefer(&mut self, script: &mut Script<'_>) {
        match script.below(3) {
            0 => {
                let priorities: Vec<u8> = self.layout.pieces().map(|_| script.byte() & 7).collect();
                self.torrent.set_priorities(self.now, &priorities, &mut self.out);
            }
            1 => self.torrent.set_sequential(script.flag()),
            _ => {
                let piece = PieceIndex(u32::from(script.byte()) % self.layout.count());
                let order = script.flag().then(|| script.byte().into());
                self.torrent.set_deadline(piece, order);
            }
        }
    }

    fn edit_trackers(&mut self, script: &mut Script<'_>) {
        match script.below(3) {
            0 => {
                let tier = |script: &mut Script<'_>| {
                    (0..script.below(3)).map(|_| format!("http://{}/", script.byte() & 3)).collect()
                };
                let tiers: Vec<Vec<String>> = (0..script.below(3)).map(|_| tier(script)).collect();
                self.torrent.handle_set_trackers(self.now, &tiers, &mut self.out);
                assert!(self.torrent.trackers().count() <= MAX_TRACKERS);
            }
            1 => self.torrent.handle_announce_now(self.now, &mut self.out),
            _ => {
                let port = script.short();
                let ip = script.flag().then(|| messages::address(script).ip());
                self.torrent.handle_outside(self.now, port, ip, &mut self.out);
            }
        }
    }

    fn restart(&mut self) {
        self.torrent.handle_stop(self.now, &mut self.out);
        self.look();
        assert!(self.peers.is_empty(), "a peer outlives the stop");
        self.torrent.handle_start(self.now, &mut self.out);
    }

    /// A stop ends all connections, and is through when the trackers know.
    fn stop(mut self) {
        self.torrent.handle_stop(self.now, &mut self.out);
        self.look();
        assert_eq!((self.peers.len(), self.torrent.peer_count()), (0, 0));
        while let Some(id) = self.announces.pop() {
            let response = AnnounceResponse::default();
            self.torrent.handle_announced(self.now, id, response, &mut self.out);
            self.look();
        }
        assert!(self.torrent.is_stopped());
    }
}
