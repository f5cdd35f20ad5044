//! The fetch of an info dictionary from peers of whom some lie (BEP 9): only the right bytes come of it, nobody honest is convicted,
//! and nothing happens afterwards.

use crate::Script;
use samara_swarm::metadata::{FetchEffect, FetchFault, FetchKey, MetadataFetch};
use samara_wire::id::{InfoHashV1, InfoHashes};
use samara_wire::peer::extension::ExtensionHandshake;
use samara_wire::peer::message::Message;
use samara_wire::peer::ut_metadata::{
    METADATA_PIECE_LEN, MetadataMessage, len_of_piece, pieces_of,
};
use samara_wire::time::{Duration, Instant};
use sha1::{Digest, Sha1};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Three pieces, and what names them.
static TRUTH: LazyLock<(Vec<u8>, InfoHashes)> = LazyLock::new(|| {
    let raw: Vec<u8> = (0..2 * METADATA_PIECE_LEN + 100)
        .map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1])
        .collect();
    let hash = InfoHashV1(Sha1::digest(&raw).into());
    (raw, InfoHashes::v1_only(hash))
});

struct Source {
    honest: bool,
    len: u32,
    asked: Vec<u32>,
}

struct World {
    fetch: MetadataFetch,
    now: Instant,
    sources: BTreeMap<FetchKey, Source>,
    next_key: u32,
    done: bool,
}

/// Reads `input` as who comes, what they send, and time.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let mut world = World {
        fetch: MetadataFetch::new(TRUTH.1),
        now: Instant::from_secs(1000),
        sources: BTreeMap::new(),
        next_key: 0,
        done: false,
    };
    for _ in 0..400 {
        if script.is_done() {
            break;
        }
        world.step(&mut script);
    }
}

impl World {
    fn step(&mut self, script: &mut Script<'_>) {
        let mut out = Vec::new();
        match script.below(8) {
            0 => self.come(script, &mut out),
            1 => {
                let at = script.below(self.sources.len().max(1));
                if let Some(key) = self.sources.keys().nth(at).copied() {
                    self.sources.remove(&key);
                    self.fetch.handle_disconnected(self.now, key, &mut out);
                }
            }
            2 => {
                self.now += Duration::from_millis(u64::from(script.byte()) * 100);
                self.fetch.handle_timeout(self.now, &mut out);
            }
            3 => {
                if let Some(at) = self.fetch.next_timeout() {
                    self.now = self.now.max(at);
                    self.fetch.handle_timeout(self.now, &mut out);
                    self.look(std::mem::take(&mut out));
                    let next = self.fetch.next_timeout();
                    assert!(next.is_none_or(|at| at > self.now), "due at once again");
                }
            }
            _ => self.say(script, &mut out),
        }
        self.look(out);
    }

    fn come(&mut self, script: &mut Script<'_>, out: &mut Vec<FetchEffect>) {
        let key = FetchKey(self.next_key);
        self.next_key += 1;
        let how = script.byte();
        let truth = u32::try_from(TRUTH.0.len()).unwrap_or(0);
        let honest = how & 1 == 1;
        let len = if honest || how & 2 == 0 { truth } else { truth + u32::from(how >> 2) };
        let extensions = vec![("ut_metadata".to_owned(), 7)];
        let metadata_len = (honest || how & 4 == 0).then_some(len);
        let said = ExtensionHandshake { extensions, metadata_len, ..ExtensionHandshake::default() };
        self.sources.insert(key, Source { honest, len, asked: Vec::new() });
        self.fetch.handle_extensions(self.now, key, &said, out);
    }

    /// A peer answers what it was asked first, or says something else.
    fn say(&mut self, script: &mut Script<'_>, out: &mut Vec<FetchEffect>) {
        let at = script.below(self.sources.len().max(1));
        let Some((&key, source)) = self.sources.iter_mut().nth(at) else { return };
        let how = script.byte();
        let asked = (!source.asked.is_empty()).then(|| source.asked.remove(0));
        let piece = asked.unwrap_or(u32::from(how & 3));
        let begin = (piece * METADATA_PIECE_LEN) as usize;
        let mut bytes =
            vec![0; len_of_piece(source.len, piece.min(pieces_of(source.len) - 1)) as usize];
        if let Some(right) = TRUTH.0.get(begin..) {
            let common = right.len().min(bytes.len());
            bytes[..common].copy_from_slice(&right[..common]);
        }
        let message = match how >> 4 {
            0 | 1 => MetadataMessage::Reject { piece },
            2 => MetadataMessage::Request { piece },
            lie => {
                if !source.honest && lie < 8 {
                    bytes[0] ^= how;
                }
                if !source.honest && lie == 8 {
                    bytes.truncate(7);
                }
                MetadataMessage::Data { piece, total_len: Some(source.len), payload: &bytes }
            }
        };
        self.fetch.handle_message(self.now, key, &message.encode(), out);
    }

    fn look(&mut self, effects: Vec<FetchEffect>) {
        for effect in effects {
            match effect {
                FetchEffect::Done(raw) => {
                    assert!(!std::mem::replace(&mut self.done, true), "done twice");
                    assert!(raw == TRUTH.0, "the wrong bytes");
                }
                FetchEffect::Drop(key, fault) => {
                    let source = self.sources.remove(&key).expect("one who is here");
                    assert!(
                        !source.honest || fault != FetchFault::Lied,
                        "an honest one is convicted"
                    );
                }
                FetchEffect::Send(key, message) => {
                    let Message::Extended { id: 7, payload } = message else {
                        panic!("{message:?} is none of ours")
                    };
                    let source = self.sources.get_mut(&key).expect("one who is here");
                    match MetadataMessage::parse(&payload) {
                        Ok(MetadataMessage::Request { piece }) => {
                            assert!(!self.done, "asked when all is here");
                            assert!(piece < pieces_of(source.len), "a piece that it has not");
                            source.asked.push(piece);
                        }
                        Ok(MetadataMessage::Reject { .. }) => {}
                        other => panic!("{other:?} is none of ours"),
                    }
                }
            }
        }
        let status = self.fetch.status();
        assert!(status.received <= status.claimed);
        assert!(!self.done || self.fetch.next_timeout().is_none());
    }
}
