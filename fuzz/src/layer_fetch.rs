//! The fetch of piece layers from peers of whom some lie (BEP 52): only the right ones come of it, each lie convicts its teller, and
//! nothing happens afterwards.

use crate::Script;
use samara_swarm::metadata::{FetchEffect, FetchFault, FetchKey, LayerFetch, PieceLayers};
use samara_wire::bencode::Encoder;
use samara_wire::metainfo::Info;
use samara_wire::metainfo::merkle::{Hash, root_of_layer};
use samara_wire::peer::hashes::HashRequest;
use samara_wire::peer::message::Message;
use samara_wire::time::{Duration, Instant};
use std::collections::BTreeMap;
use std::sync::LazyLock;

const PIECE_LEN: u32 = 16 << 10;

/// Pieces of the two files: one layer of three requests, and one of one.
const PIECES: [u32; 2] = [1100, 5];

/// The torrent with its layers, and without.
static TRUTH: LazyLock<(Info, Info)> = LazyLock::new(|| {
    let layers =
        PIECES.map(|pieces| (0..pieces).map(|piece| node(pieces, piece)).collect::<Vec<Hash>>());
    let raw = Encoder::dict_bytes(|dict| {
        dict.dict(b"file tree", |tree| {
            for (name, (layer, pieces)) in [b"a", b"b"].into_iter().zip(layers.iter().zip(PIECES)) {
                tree.dict(name, |file| {
                    file.dict(b"", |leaf| {
                        leaf.int(b"length", i64::from(pieces * PIECE_LEN));
                        leaf.bytes(b"pieces root", &root_of_layer(layer, PIECE_LEN));
                    });
                });
            }
        });
        dict.int(b"meta version", 2);
        dict.bytes(b"name", b"f");
        dict.int(b"piece length", PIECE_LEN.into());
    });
    let bare = Info::parse(&raw).expect("a torrent");
    let by_root =
        layers.into_iter().map(|layer| (root_of_layer(&layer, PIECE_LEN), layer)).collect();
    (bare.with_piece_layers(&by_root).expect("its own layers"), bare)
});

fn node(pieces: u32, piece: u32) -> Hash {
    let mut node = [7; 32];
    node[..4].copy_from_slice(&piece.to_le_bytes());
    node[4..8].copy_from_slice(&pieces.to_le_bytes());
    node
}

struct World {
    fetch: LayerFetch,
    now: Instant,
    /// Who is here, whether it is honest, and what it was asked for.
    sources: BTreeMap<FetchKey, (bool, Vec<HashRequest>)>,
    next_key: u32,
    done: bool,
}

/// Reads `input` as who comes, what they send, and time.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let mut world = World {
        fetch: LayerFetch::new(&TRUTH.1).expect("layers are lacking"),
        now: Instant::from_secs(1000),
        sources: BTreeMap::new(),
        next_key: 0,
        done: false,
    };
    for _ in 0..300 {
        if script.is_done() {
            break;
        }
        world.step(&mut script);
    }
}

impl World {
    fn step(&mut self, script: &mut Script<'_>) {
        let mut out = Vec::new();
        let at = script.below(self.sources.len().max(1));
        let some = self.sources.keys().nth(at).copied();
        match (script.below(8), some) {
            (0, _) => {
                let key = FetchKey(self.next_key);
                self.next_key += 1;
                self.sources.insert(key, (script.flag(), Vec::new()));
                self.fetch.handle_connected(self.now, key, &mut out);
            }
            (1, Some(key)) => {
                self.sources.remove(&key);
                self.fetch.handle_disconnected(self.now, key, &mut out);
            }
            (2, _) => {
                self.now += Duration::from_millis(u64::from(script.byte()) * 100);
                self.fetch.handle_timeout(self.now, &mut out);
            }
            (3, Some(key)) => {
                if let Some(request) = self.taken(key, script) {
                    self.fetch.handle_reject(self.now, key, &request, &mut out);
                }
            }
            (_, Some(key)) => self.answer(key, script, &mut out),
            (_, None) => {}
        }
        self.look(out);
    }

    /// A request of `key` that it answers now.
    fn taken(&mut self, key: FetchKey, script: &mut Script<'_>) -> Option<HashRequest> {
        let (_, asked) = self.sources.get_mut(&key)?;
        let at = script.below(asked.len().max(1));
        (at < asked.len()).then(|| asked.swap_remove(at))
    }

    fn answer(
        &mut self,
        key: FetchKey,
        script: &mut Script<'_>,
        out: &mut Vec<FetchEffect<PieceLayers>>,
    ) {
        let Some(mut request) = self.taken(key, script) else { return };
        let file = TRUTH.0.layered_files()[&request.root].0;
        let mut hashes = TRUTH.0.answer_hashes(file, &request).expect("what is asked can be given");
        let how = script.byte();
        if !self.sources[&key].0 {
            match how & 7 {
                0 => hashes.truncate(usize::from(how)),
                1 => {
                    let at = usize::from(script.short()) % hashes.len();
                    hashes[at][3] ^= how | 1;
                }
                2 => request.index ^= 512,
                3 => hashes.push([how; 32]),
                _ => {}
            }
        }
        self.fetch.handle_hashes(self.now, key, &request, &hashes, out);
    }

    fn look(&mut self, effects: Vec<FetchEffect<PieceLayers>>) {
        for effect in effects {
            match effect {
                FetchEffect::Done(layers) => {
                    assert!(!std::mem::replace(&mut self.done, true), "done twice");
                    let whole = TRUTH.1.with_piece_layers(&layers).expect("the right layers");
                    assert!(whole.has_all_hashes());
                }
                FetchEffect::Drop(key, fault) => {
                    let (honest, _) = self.sources.remove(&key).expect("one who is here");
                    assert!(!honest || fault != FetchFault::Lied, "an honest one is convicted");
                }
                FetchEffect::Send(key, Message::HashRequest(request)) => {
                    assert!(!self.done, "asked when all is here");
                    let (_, asked) = self.sources.get_mut(&key).expect("one who is here");
                    asked.push(*request);
                }
                FetchEffect::Send(_, other) => panic!("{other:?} is none of ours"),
            }
        }
        let (here, all) = self.fetch.progress();
        assert!(here <= all && (!self.done || here == all));
    }
}
