//! Message traces, and fetches among liars.

use super::*;
use crate::rng::Rng;
use alloc::string::ToString;
use alloc::vec;
use proptest::prelude::*;
use samara_wire::id::{InfoHashV1, InfoHashV2};
use samara_wire::metainfo::Info;
use samara_wire::peer::ut_metadata::pieces_of;
use sha2::Sha256;

/// The id that every peer gives out.
const THEIRS: u8 = 9;

fn raw(len: usize) -> Vec<u8> {
    let mut rng = Rng::new(len as u64);
    (0..len).map(|_| u8::try_from(rng.below(256)).unwrap()).collect()
}

fn hashes_of(raw: &[u8]) -> InfoHashes {
    InfoHashes::v1_only(InfoHashV1(Sha1::digest(raw).into()))
}

/// A v2 torrent with its layers: a file for each number of pieces of 16 KiB.
pub(crate) fn v2_info(files: &[u32]) -> Info {
    use samara_wire::bencode::Encoder;
    use samara_wire::id::BLOCK_LEN;
    use samara_wire::metainfo::Metainfo;
    use samara_wire::metainfo::merkle::FileHashes;
    let block = |file: usize, n: u32| {
        let mut hash = [u8::try_from(file).unwrap() + 1; 32];
        hash[..4].copy_from_slice(&n.to_le_bytes());
        hash
    };
    let blocks = |(file, pieces): (usize, &u32)| (0..*pieces).map(|n| block(file, n)).collect();
    let blocks: Vec<Vec<[u8; 32]>> = files.iter().enumerate().map(blocks).collect();
    let hashes: Vec<_> = blocks.iter().map(|b| FileHashes::from_blocks(b, BLOCK_LEN)).collect();
    let bytes = Encoder::dict_bytes(|d| {
        d.dict(b"info", |d| {
            d.dict(b"file tree", |d| {
                for (name, (pieces, hashes)) in files.iter().zip(&hashes).enumerate() {
                    let file = |d: &mut samara_wire::bencode::DictEncoder<'_>| {
                        d.int(b"length", i64::from(*pieces) * i64::from(BLOCK_LEN));
                        if let Some(hashes) = hashes {
                            d.bytes(b"pieces root", &hashes.root);
                        }
                    };
                    d.dict(name.to_string().as_bytes(), |d| d.dict(b"", file));
                }
            });
            d.int(b"meta version", 2);
            d.bytes(b"name", b"n");
            d.int(b"piece length", i64::from(BLOCK_LEN));
        });
        let long = hashes.iter().flatten().filter(|h| !h.layer.is_empty());
        let layers: BTreeMap<_, _> = long.map(|h| (h.root, h.layer.as_flattened())).collect();
        d.dict(b"piece layers", |d| layers.iter().for_each(|(root, l)| d.bytes(root, l)));
    });
    Metainfo::parse(&bytes).unwrap().info
}

/// A fetch with a script around it.
struct Trace {
    fetch: MetadataFetch,
    raw: Vec<u8>,
    now: Instant,
    out: Vec<FetchEffect>,
}

impl Trace {
    fn new(len: usize) -> Self {
        let raw = raw(len);
        let fetch = MetadataFetch::new(hashes_of(&raw));
        Self { fetch, raw, now: Instant::from_secs(100), out: Vec::new() }
    }

    fn joins(&mut self, key: u32, len: usize) -> Vec<FetchEffect> {
        let said = ExtensionHandshake {
            extensions: vec![(NAME.to_string(), THEIRS)],
            metadata_len: u32::try_from(len).ok(),
            ..ExtensionHandshake::default()
        };
        self.fetch.handle_extensions(self.now, FetchKey(key), &said, &mut self.out);
        std::mem::take(&mut self.out)
    }

    fn says(&mut self, key: u32, message: MetadataMessage<'_>) -> Vec<FetchEffect> {
        self.fetch.handle_message(self.now, FetchKey(key), &message.encode(), &mut self.out);
        std::mem::take(&mut self.out)
    }

    /// The peer gives a piece as it is in `of`.
    fn gives(&mut self, key: u32, piece: u32, of: &[u8]) -> Vec<FetchEffect> {
        let payload = of.chunks(METADATA_PIECE_LEN as usize).nth(piece as usize).unwrap();
        let total_len = u32::try_from(of.len()).ok();
        self.says(key, MetadataMessage::Data { piece, total_len, payload })
    }

    fn wait(&mut self, time: Duration) -> Vec<FetchEffect> {
        let end = self.now + time;
        while let Some(at) = self.fetch.next_timeout().filter(|at| *at <= end) {
            assert!(at > self.now, "a deadline that does not go away");
            self.now = at;
            self.fetch.handle_timeout(self.now, &mut self.out);
        }
        self.now = end;
        std::mem::take(&mut self.out)
    }
}

fn asked(effects: &[FetchEffect], key: u32) -> Vec<u32> {
    let request = |effect: &FetchEffect| match effect {
        FetchEffect::Send(to, Message::Extended { id: THEIRS, payload }) if to.0 == key => {
            match MetadataMessage::parse(payload) {
                Ok(MetadataMessage::Request { piece }) => Some(piece),
                _ => None,
            }
        }
        _ => None,
    };
    effects.iter().filter_map(request).collect()
}

fn dropped(effects: &[FetchEffect]) -> Vec<(u32, FetchFault)> {
    let drop = |effect: &FetchEffect| match effect {
        FetchEffect::Drop(key, fault) => Some((key.0, *fault)),
        _ => None,
    };
    effects.iter().filter_map(drop).collect()
}

fn done(effects: &[FetchEffect]) -> Option<&[u8]> {
    effects.iter().find_map(|effect| match effect {
        FetchEffect::Done(raw) => Some(raw.as_slice()),
        _ => None,
    })
}

#[test]
fn pieces_come_from_two_peers_and_are_put_together() {
    let mut t = Trace::new(40_000);
    let whole = t.raw.clone();
    assert_eq!(asked(&t.joins(1, whole.len()), 1), [0, 1, 2]);
    assert_eq!(asked(&t.joins(2, whole.len()), 2), [0, 1, 2], "nobody waits for the slower");
    t.gives(1, 0, &whole);
    t.gives(2, 2, &whole);
    assert_eq!(t.fetch.status().received, 2 * METADATA_PIECE_LEN);
    let effects = t.gives(1, 1, &whole);
    assert_eq!(done(&effects), Some(whole.as_slice()));
    assert_eq!(dropped(&effects), []);
    assert_eq!(t.fetch.next_timeout(), None);
    assert!(t.gives(2, 0, &whole).is_empty(), "late, and no fault");
}

#[test]
fn a_peer_without_metadata_is_counted_and_let_go() {
    let mut t = Trace::new(100);
    let none = ExtensionHandshake::default();
    t.fetch.handle_extensions(t.now, FetchKey(1), &none, &mut t.out);
    assert_eq!(dropped(&t.out), [(1, FetchFault::NoMetadata)]);
    t.out.clear();
    assert_eq!(asked(&t.joins(2, 100), 2), [0]);
    let status = t.fetch.status();
    assert_eq!((status.asked, status.without, status.claimed), (1, 1, 100));
}

#[test]
fn a_peer_that_sends_all_of_it_wrong_is_convicted_at_once() {
    let mut t = Trace::new(100);
    let wrong = vec![0; 100];
    t.joins(1, 100);
    assert_eq!(dropped(&t.gives(1, 0, &wrong)), [(1, FetchFault::Lied)]);
    let whole = t.raw.clone();
    t.joins(2, 100);
    assert!(done(&t.gives(2, 0, &whole)).is_some());
}

#[test]
fn of_several_senders_each_is_asked_alone_until_the_liar_is_found() {
    let mut t = Trace::new(40_000);
    let whole = t.raw.clone();
    let wrong = vec![0; 40_000];
    for key in 1..=3 {
        t.joins(key, 40_000);
    }
    t.gives(1, 0, &wrong);
    t.gives(2, 1, &whole);
    let effects = t.gives(2, 2, &whole);
    assert_eq!(dropped(&effects), [], "it may have been either");
    assert_eq!((asked(&effects, 1).len(), asked(&effects, 2).len()), (3, 3));
    assert_eq!(asked(&effects, 3), [], "two at a time");
    t.gives(1, 0, &wrong);
    t.gives(1, 1, &wrong);
    let effects = t.gives(1, 2, &wrong);
    assert_eq!(dropped(&effects), [(1, FetchFault::Lied)]);
    assert_eq!(asked(&effects, 3).len(), 3);
    for piece in 0..2 {
        t.gives(2, piece, &whole);
    }
    let effects = t.gives(2, 2, &whole);
    assert_eq!(done(&effects), Some(whole.as_slice()));
    assert_eq!(dropped(&effects), []);
}

#[test]
fn what_was_sent_before_convicts_when_the_truth_is_known() {
    let mut t = Trace::new(40_000);
    let (whole, wrong) = (t.raw.clone(), vec![0; 40_000]);
    t.joins(1, 40_000);
    t.joins(2, 40_000);
    t.joins(3, 50_000);
    t.gives(1, 0, &wrong);
    t.gives(1, 1, &whole);
    t.gives(2, 2, &whole);
    for piece in 0..2 {
        t.gives(2, piece, &whole);
    }
    let effects = t.gives(2, 2, &whole);
    assert!(done(&effects).is_some());
    let lied = [(1, FetchFault::Lied), (3, FetchFault::Lied)];
    assert_eq!(dropped(&effects), lied, "one by its piece, one by its length");
    assert_eq!(t.fetch.status().liars, 2);
}

#[test]
fn silence_and_refusals_are_borne_for_a_while() {
    let mut t = Trace::new(100);
    t.joins(1, 100);
    let effects = t.wait(Duration::from_secs(120));
    assert_eq!(asked(&effects, 1).len(), 2, "three times in all");
    assert_eq!(dropped(&effects), [(1, FetchFault::Silent)]);
    t.joins(2, 100);
    let mut effects = Vec::new();
    for _ in 0..5 {
        effects = t.says(2, MetadataMessage::Reject { piece: 0 });
        t.wait(Duration::from_secs(6));
    }
    assert_eq!(dropped(&effects), [(2, FetchFault::Refuses)]);
    assert_eq!(t.fetch.status().unwilling, 2);
}

#[test]
fn a_piece_of_another_length_than_claimed_is_a_lie() {
    let mut t = Trace::new(100);
    t.joins(1, 100);
    let short = MetadataMessage::Data { piece: 0, total_len: None, payload: b"x" };
    assert_eq!(dropped(&t.says(1, short)), [(1, FetchFault::Lied)]);
}

#[test]
fn lengths_that_lead_nowhere_make_room() {
    let mut t = Trace::new(100);
    let whole = t.raw.clone();
    for (key, len) in [(1, 16 << 20), (2, 16 << 20), (3, 90_000), (4, 90_000)] {
        assert!(!asked(&t.joins(key, len), key).is_empty());
    }
    assert_eq!(asked(&t.joins(5, 100), 5), [], "two lengths are under way");
    // They drip: a piece now and then, for ever.
    let mut piece = 0;
    let effects = loop {
        let effects = t.wait(Duration::from_secs(1));
        if !asked(&effects, 5).is_empty() {
            break effects;
        }
        for key in 1..=2 {
            t.gives(key, piece, &vec![0; 16 << 20]);
        }
        piece += 1;
        assert!(piece < 60, "its turn never comes");
    };
    assert_eq!(dropped(&effects), []);
    assert!(done(&t.gives(5, 0, &whole)).is_some());
}

#[test]
fn requests_of_others_are_rejected_and_the_crowd_is_bounded() {
    let mut t = Trace::new(100);
    t.joins(0, 100);
    let effects = t.says(0, MetadataMessage::Request { piece: 0 });
    let reject = MetadataMessage::Reject { piece: 0 }.encode().into();
    let want = FetchEffect::Send(FetchKey(0), Message::Extended { id: THEIRS, payload: reject });
    assert_eq!(effects, [want]);
    for key in 1..64 {
        t.joins(key, 100);
    }
    assert_eq!(dropped(&t.joins(64, 100)), [(64, FetchFault::Full)]);
}

#[test]
fn a_hybrid_needs_both_hashes() {
    let raw = raw(200);
    let v1 = InfoHashV1(Sha1::digest(&raw).into());
    let v2 = InfoHashV2(Sha256::digest(&raw).into());
    assert!(is_named(&InfoHashes::hybrid(v1, v2), &raw));
    assert!(is_named(&InfoHashes::v2_only(v2), &raw));
    assert!(!is_named(&InfoHashes::hybrid(v1, InfoHashV2([0; 32])), &raw));
    assert!(!is_named(&InfoHashes::hybrid(InfoHashV1([0; 20]), v2), &raw));
}

/// How a peer behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Honest,
    /// Each piece is wrong with this chance in a hundred.
    Corrupts(usize),
    /// Claims this length and sends noise.
    WrongLen(u32),
    Silent,
    Refuses,
    /// Goes away after a few pieces.
    Leaves,
}

fn kinds() -> impl Strategy<Value = Vec<Kind>> {
    let kind = prop_oneof![
        2 => Just(Kind::Honest),
        3 => (1usize..=100).prop_map(Kind::Corrupts),
        2 => (1u32..200_000).prop_map(Kind::WrongLen),
        1 => Just(Kind::Silent),
        1 => Just(Kind::Refuses),
        1 => Just(Kind::Leaves),
    ];
    prop::collection::vec(kind, 0..14)
}

/// A world of peers that answer after a while, in any order.
struct World {
    trace: Trace,
    kinds: Vec<Kind>,
    rng: Rng,
    /// Requests under way: when they are answered, by whom, which piece.
    under_way: Vec<(Instant, u32, u32)>,
    faults: Vec<(u32, FetchFault)>,
    result: Option<Vec<u8>>,
    requests: usize,
}

impl World {
    fn take(&mut self, effects: Vec<FetchEffect>) {
        for effect in effects {
            match effect {
                FetchEffect::Send(key, Message::Extended { payload, .. }) => {
                    let Ok(MetadataMessage::Request { piece }) = MetadataMessage::parse(&payload)
                    else {
                        continue;
                    };
                    self.requests += 1;
                    let delay = Duration::from_millis(10 + self.rng.below(3000) as u64);
                    self.under_way.push((self.trace.now + delay, key.0, piece));
                }
                FetchEffect::Send(..) => {}
                FetchEffect::Drop(key, fault) => {
                    self.under_way.retain(|(_, to, _)| *to != key.0);
                    self.faults.push((key.0, fault));
                }
                FetchEffect::Done(raw) => self.result = Some(raw),
            }
        }
    }

    fn answer(&mut self, key: u32, piece: u32) {
        let kind = self.kinds[key as usize];
        let claimed = match kind {
            Kind::WrongLen(len) => len,
            _ => u32::try_from(self.trace.raw.len()).unwrap(),
        };
        let begin = (piece * METADATA_PIECE_LEN) as usize;
        let len = len_of_piece(claimed, piece) as usize;
        let corrupt = match kind {
            Kind::Corrupts(chance) => self.rng.below(100) < chance,
            Kind::WrongLen(_) => true,
            _ => false,
        };
        let mut payload = vec![0; len];
        if !corrupt {
            payload.copy_from_slice(&self.trace.raw[begin..begin + len]);
        }
        let effects = match kind {
            Kind::Silent => Vec::new(),
            Kind::Refuses => self.trace.says(key, MetadataMessage::Reject { piece }),
            Kind::Leaves if self.rng.below(3) == 0 => {
                self.under_way.retain(|(_, to, _)| *to != key);
                let (now, out) = (self.trace.now, &mut self.trace.out);
                self.trace.fetch.handle_disconnected(now, FetchKey(key), out);
                std::mem::take(&mut self.trace.out)
            }
            _ => {
                let data = MetadataMessage::Data { piece, total_len: None, payload: &payload };
                self.trace.says(key, data)
            }
        };
        self.take(effects);
    }

    fn run(&mut self) {
        for key in 0..u32::try_from(self.kinds.len()).unwrap() {
            let len = match self.kinds[key as usize] {
                Kind::WrongLen(len) => len as usize,
                _ => self.trace.raw.len(),
            };
            let effects = self.trace.joins(key, len);
            self.take(effects);
        }
        for _ in 0..20_000 {
            if self.result.is_some() {
                return;
            }
            let next = self.under_way.iter().copied().min();
            let timeout = self.trace.fetch.next_timeout();
            match (next, timeout) {
                (Some((at, key, piece)), timeout) if timeout.is_none_or(|t| at <= t) => {
                    self.under_way.retain(|entry| *entry != (at, key, piece));
                    self.trace.now = at;
                    self.answer(key, piece);
                }
                (_, Some(at)) => {
                    self.trace.now = at;
                    let (now, out) = (self.trace.now, &mut self.trace.out);
                    self.trace.fetch.handle_timeout(now, out);
                    let effects = std::mem::take(&mut self.trace.out);
                    self.take(effects);
                }
                (None, None) => return,
                (Some(_), None) => unreachable!("the first arm takes it"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn one_honest_peer_among_liars_is_enough_and_is_never_convicted(
        len in 1usize..150_000, mut kinds in kinds(), place: prop::sample::Index, seed: u64,
    ) {
        kinds.insert(place.index(kinds.len() + 1), Kind::Honest);
        let trace = Trace::new(len);
        let real = u32::try_from(len).unwrap();
        for kind in &mut kinds {
            if *kind == Kind::WrongLen(real) {
                *kind = Kind::Honest;
            }
        }
        let count = kinds.len();
        let mut world = World {
            trace, kinds, rng: Rng::new(seed), under_way: Vec::new(), faults: Vec::new(), result: None, requests: 0,
        };
        world.run();
        prop_assert_eq!(world.result.as_ref(), Some(&world.trace.raw));
        for (key, fault) in &world.faults {
            let kind = world.kinds[*key as usize];
            let deserved = match fault {
                FetchFault::Lied => matches!(kind, Kind::Corrupts(_) | Kind::WrongLen(_)),
                FetchFault::Silent => kind == Kind::Silent,
                FetchFault::Refuses => kind == Kind::Refuses,
                FetchFault::NoMetadata | FetchFault::Full => false,
            };
            prop_assert!(deserved, "{kind:?} was dropped: {fault:?}");
        }
        let pieces = pieces_of(200_000.max(real)) as usize;
        prop_assert!(world.requests <= count * pieces * 12, "{} requests", world.requests);
    }
}
