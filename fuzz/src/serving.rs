//! A seed and those who ask it: each request has one answer, of metadata and hash trees as of blocks, and what is given is right.

use crate::Script;
use crate::messages;
use samara_swarm::torrent::{Direction, NewPeer, PeerKey};
use samara_swarm::{Effect, Outbox, Torrent, TorrentConfig};
use samara_wire::bencode::Encoder;
use samara_wire::bitfield::Bitfield;
use samara_wire::id::{BlockRef, PeerId, PieceIndex};
use samara_wire::metainfo::Info;
use samara_wire::metainfo::merkle::{Hash, proven, root_of_layer};
use samara_wire::peer::extension::ExtensionHandshake;
use samara_wire::peer::handshake::Reserved;
use samara_wire::peer::hashes::HashRequest;
use samara_wire::peer::message::Message;
use samara_wire::peer::ut_metadata::{METADATA_PIECE_LEN, MetadataMessage, pieces_of};
use samara_wire::time::{Duration, Instant};
use std::collections::BTreeMap;

const PIECE_LEN: u32 = 16 << 10;
const PIECES: u32 = 40;
/// The ids under which the torrent wants `ut_metadata`, and our peers do.
const OURS: u8 = 2;
const THEIRS: u8 = 9;

/// What waits for an answer.
struct Asker {
    key: PeerKey,
    fast: bool,
    blocks: BTreeMap<BlockRef, usize>,
    metadata: BTreeMap<u32, usize>,
    hashes: BTreeMap<HashRequest, usize>,
}

struct World {
    torrent: Torrent,
    info: Info,
    now: Instant,
    out: Outbox,
    askers: Vec<Asker>,
}

/// Reads `input` as what peers ask, and when their streams have room.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let info = torrent();
    let now = Instant::from_secs(1000);
    let config = TorrentConfig { max_peers: 6, upload_slots: 2, ..TorrentConfig::default() };
    let have = Bitfield::full(PIECES);
    let mut core = Torrent::new(now, config, info.hashes(), info.layout().clone(), have);
    core.set_metadata(info.clone());
    let mut world = World { torrent: core, info, now, out: Outbox::new(), askers: Vec::new() };
    world.torrent.handle_start(now, &mut world.out);
    world.look();
    for _ in 0..500 {
        if script.is_done() {
            break;
        }
        world.step(&mut script);
        world.look();
    }
    world.settle();
}

/// A v2 torrent of one file, with an info dictionary of three pieces.
fn torrent() -> Info {
    let layer: Vec<Hash> =
        (0..PIECES).map(|piece| [u8::try_from(piece).unwrap_or(0) + 1; 32]).collect();
    let root = root_of_layer(&layer, PIECE_LEN);
    let raw = Encoder::dict_bytes(|dict| {
        dict.dict(b"file tree", |tree| {
            tree.dict(b"f", |file| {
                file.dict(b"", |leaf| {
                    leaf.int(b"length", i64::from(PIECES * PIECE_LEN));
                    leaf.bytes(b"pieces root", &root);
                });
            });
        });
        dict.int(b"meta version", 2);
        dict.bytes(b"name", b"f");
        dict.int(b"piece length", PIECE_LEN.into());
        dict.bytes(b"x", &[b'x'; 2 * METADATA_PIECE_LEN as usize + 5]);
    });
    let info = Info::parse(&raw).expect("a torrent");
    info.with_piece_layers(&[(root, layer)].into()).expect("its own layers")
}

impl World {
    fn step(&mut self, script: &mut Script<'_>) {
        match script.below(16) {
            0 => self.connect(script),
            1 => {
                if let Some(at) = self.some(script) {
                    let asker = self.askers.swap_remove(at);
                    self.torrent.handle_disconnected(self.now, asker.key, &mut self.out);
                }
            }
            2 => {
                self.now += Duration::from_millis(u64::from(script.byte()) * 100);
                self.torrent.handle_timeout(self.now, &mut self.out);
            }
            3 => {
                let piece = PieceIndex(u32::from(script.byte()) % PIECES);
                self.torrent.handle_piece_lost(self.now, piece, &mut self.out);
            }
            4..7 => self.pull(script),
            _ => self.ask(script),
        }
    }

    fn some(&self, script: &mut Script<'_>) -> Option<usize> {
        (!self.askers.is_empty()).then(|| script.below(self.askers.len()))
    }

    fn connect(&mut self, script: &mut Script<'_>) {
        let [how, id] = script.array();
        let reserved = Reserved([0, 0, 0, 0, 0, 0x10, 0, if how & 1 == 1 { 4 } else { 0 }]);
        let new = NewPeer {
            addr: messages::address(script),
            direction: Direction::Incoming,
            utp: false,
            peer_id: PeerId([id; 20]),
            reserved,
        };
        if let Ok(key) = self.torrent.handle_peer_connected(self.now, new, &mut self.out) {
            let fast = reserved.fast();
            let (blocks, metadata, hashes) = Default::default();
            self.askers.push(Asker { key, fast, blocks, metadata, hashes });
            let extensions = vec![("ut_metadata".to_owned(), THEIRS)];
            let said = ExtensionHandshake { extensions, ..ExtensionHandshake::default() };
            self.say(key, Message::Extended { id: 0, payload: said.encode().into() });
        }
    }

    fn say(&mut self, key: PeerKey, message: Message) {
        self.look();
        self.torrent.handle_message(self.now, key, message, &mut self.out);
    }

    fn ask(&mut self, script: &mut Script<'_>) {
        let Some(at) = self.some(script) else { return };
        let layout = self.info.layout().clone();
        let asker = &mut self.askers[at];
        let message = match script.below(8) {
            0 => Message::Interested,
            1 => Message::NotInterested,
            2 => Message::Cancel(messages::block(script, &layout)),
            3 | 4 => {
                let piece = u32::from(script.byte() % 5);
                *asker.metadata.entry(piece).or_default() += 1;
                let payload = MetadataMessage::Request { piece }.encode().into();
                Message::Extended { id: OURS, payload }
            }
            5 => {
                let request = self.hash_request(script);
                *self.askers[at].hashes.entry(request).or_default() += 1;
                Message::HashRequest(request.into())
            }
            _ => {
                let block = messages::block(script, &layout);
                if layout.contains(&block) && block.len <= 128 << 10 {
                    *asker.blocks.entry(block).or_default() += 1;
                }
                Message::Request(block)
            }
        };
        self.say(self.askers[at].key, message);
    }

    fn hash_request(&self, script: &mut Script<'_>) -> HashRequest {
        let root = *self.info.layered_files().keys().next().expect("a layered file");
        let [base, index, len, proof_layers] = script.array::<4>().map(u32::from);
        let root = if base == 255 { [1; 32] } else { root };
        HashRequest {
            root,
            base: base & 7,
            index: index & 63,
            len: len & 63,
            proof_layers: proof_layers & 7,
        }
    }

    /// The stream of a peer has room.
    fn pull(&mut self, script: &mut Script<'_>) {
        if let Some(at) = self.some(script) {
            let key = self.askers[at].key;
            for _ in 0..=script.below(4) {
                self.pull_from(key);
            }
        }
    }

    /// Whether anything was given.
    fn pull_from(&mut self, key: PeerKey) -> bool {
        let metadata = self.torrent.poll_metadata(self.now, key);
        let hashes = self.torrent.poll_hashes(self.now, key);
        let given = metadata.is_some() || hashes.is_some();
        for message in metadata.into_iter().chain(hashes) {
            self.answered(key, message);
        }
        let Some(block) = self.torrent.poll_serve(key) else { return given };
        assert!(self.torrent.have().has(block.piece), "{block:?} is not here");
        settle(&mut self.asker(key).blocks, block);
        self.torrent.handle_served(self.now, key, block);
        true
    }

    fn asker(&mut self, key: PeerKey) -> &mut Asker {
        self.askers.iter_mut().find(|asker| asker.key == key).expect("a peer that is here")
    }

    fn look(&mut self) {
        let effects: Vec<Effect> = self.out.drain().collect();
        for effect in effects {
            match effect {
                Effect::Send(key, message) => self.answered(key, message),
                Effect::Disconnect(key, _) => self.askers.retain(|asker| asker.key != key),
                _ => {}
            }
        }
        self.torrent.check_invariants();
    }

    /// Something was sent: if it is an answer, that was asked for and is right.
    fn answered(&mut self, key: PeerKey, message: Message) {
        let info = self.info.clone();
        let asker = self.asker(key);
        match message {
            Message::Reject(block) => {
                assert!(asker.fast, "a reject without the fast extension");
                settle(&mut asker.blocks, block);
            }
            // Without the fast extension what is dropped is dropped in silence.
            Message::Choke if !asker.fast => asker.blocks.clear(),
            Message::HashReject(request) => settle(&mut asker.hashes, *request),
            Message::Hashes { request, hashes } => {
                settle(&mut asker.hashes, *request);
                let file = info.layered_files()[&request.root].0;
                assert_eq!(info.answer_hashes(file, &request).as_deref(), Some(&hashes[..]));
                // Forty pieces are six layers, so a proof of five reaches up to the root.
                if request.base == 0 && request.proof_layers == 5 && request.len.is_power_of_two() {
                    assert_eq!(proven(&request, &hashes).is_some(), request.len > 1);
                }
            }
            Message::Extended { id: THEIRS, payload } => match MetadataMessage::parse(&payload) {
                Ok(MetadataMessage::Reject { piece }) => settle(&mut asker.metadata, piece),
                Ok(MetadataMessage::Data { piece, payload, total_len }) => {
                    settle(&mut asker.metadata, piece);
                    let begin = (piece * METADATA_PIECE_LEN) as usize;
                    assert!(info.raw()[begin..].starts_with(payload));
                    let len = u32::try_from(info.raw().len()).ok();
                    assert_eq!(total_len, len);
                    assert!(piece < pieces_of(len.unwrap_or(0)));
                }
                other => panic!("{other:?} is no answer"),
            },
            _ => {}
        }
    }

    /// In the end every request that demands an answer has one.
    fn settle(mut self) {
        for key in self.askers.iter().map(|asker| asker.key).collect::<Vec<_>>() {
            while self.pull_from(key) {}
            let asker = self.asker(key);
            assert!(asker.metadata.is_empty() && asker.hashes.is_empty(), "no answer");
            assert!(!asker.fast || asker.blocks.is_empty(), "no answer to {:?}", asker.blocks);
        }
    }
}

/// Takes one of `what` off what waits.
fn settle<T: Ord + std::fmt::Debug>(waiting: &mut BTreeMap<T, usize>, what: T) {
    let count = waiting.get_mut(&what);
    let count = count.unwrap_or_else(|| panic!("{what:?} was answered and not asked for"));
    *count -= 1;
    if *count == 0 {
        waiting.remove(&what);
    }
}
