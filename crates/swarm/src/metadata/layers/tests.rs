//! Message traces, and fetches among liars.

use super::*;
use crate::metadata::tests::v2_info;
use crate::rng::Rng;
use proptest::prelude::*;
use samara_wire::time::Duration;

struct Trace {
    whole: Info,
    fetch: LayerFetch,
    now: Instant,
    out: Effects,
}

impl Trace {
    fn new(files: &[u32]) -> Self {
        let whole = v2_info(files);
        let fetch = LayerFetch::new(&Info::parse(whole.raw()).unwrap()).unwrap();
        Self { whole, fetch, now: Instant::from_secs(100), out: Vec::new() }
    }

    fn joins(&mut self, key: u32) -> Effects {
        self.fetch.handle_connected(self.now, FetchKey(key), &mut self.out);
        std::mem::take(&mut self.out)
    }

    fn truth(&self, request: &HashRequest) -> Vec<Hash> {
        let (file, _) = self.whole.layered_files()[&request.root];
        self.whole.answer_hashes(file, request).unwrap()
    }

    fn gives(&mut self, key: u32, request: &HashRequest, hashes: &[Hash]) -> Effects {
        self.fetch.handle_hashes(self.now, FetchKey(key), request, hashes, &mut self.out);
        std::mem::take(&mut self.out)
    }

    fn rejects(&mut self, key: u32, request: &HashRequest) -> Effects {
        self.fetch.handle_reject(self.now, FetchKey(key), request, &mut self.out);
        std::mem::take(&mut self.out)
    }

    fn wait(&mut self, time: Duration) -> Effects {
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

fn asked(effects: &Effects, key: u32) -> Vec<HashRequest> {
    let request = |effect: &FetchEffect<PieceLayers>| match effect {
        FetchEffect::Send(to, Message::HashRequest(request)) if to.0 == key => Some(**request),
        _ => None,
    };
    effects.iter().filter_map(request).collect()
}

fn dropped(effects: &Effects) -> Vec<(u32, FetchFault)> {
    let drop = |effect: &FetchEffect<PieceLayers>| match effect {
        FetchEffect::Drop(key, fault) => Some((key.0, *fault)),
        _ => None,
    };
    effects.iter().filter_map(drop).collect()
}

fn done(effects: &Effects) -> Option<&PieceLayers> {
    effects.iter().find_map(|effect| match effect {
        FetchEffect::Done(layers) => Some(layers),
        _ => None,
    })
}

/// What is fetched makes the torrent whole.
fn assert_whole(trace: &Trace, layers: &PieceLayers) {
    let info = Info::parse(trace.whole.raw()).unwrap().with_piece_layers(layers).unwrap();
    for (file, _) in trace.whole.layered_files().into_values() {
        assert_eq!(info.piece_layer(file), trace.whole.piece_layer(file));
    }
}

#[test]
fn runs_come_from_two_peers_and_each_is_asked_of_one_first() {
    let mut t = Trace::new(&[1, 1300, 2, 0]);
    let first = asked(&t.joins(1), 1);
    let mut lens: Vec<_> = first.iter().map(|r| (r.index, r.len)).collect();
    lens.sort_unstable();
    assert_eq!(lens, [(0, 2), (0, 512), (512, 512), (1024, 512)]);
    assert_eq!(asked(&t.joins(2), 2).len(), 4, "nobody waits for the slower");
    let mut end = Vec::new();
    for (n, request) in (0..).zip(&first) {
        let truth = t.truth(request);
        end = t.gives(1 + n % 2, request, &truth);
        assert_eq!(dropped(&end), []);
        assert_eq!(t.fetch.progress(), (n as usize + 1, 4));
    }
    assert_whole(&t, done(&end).unwrap());
    let truth = t.truth(&first[0]);
    assert_eq!(t.gives(2, &first[0], &truth), [], "late, and no fault");
    assert_eq!(t.fetch.next_timeout(), None);
}

#[test]
fn one_wrong_hash_convicts_and_another_peer_is_asked() {
    let mut t = Trace::new(&[600]);
    let requests = asked(&t.joins(1), 1);
    let mut wrong = t.truth(&requests[1]);
    wrong[3][0] ^= 1;
    assert_eq!(dropped(&t.gives(1, &requests[1], &wrong)), [(1, FetchFault::Lied)]);
    assert_eq!(asked(&t.joins(2), 2).len(), 2);
    let foreign = HashRequest { root: [1; 32], ..requests[0] };
    assert_eq!(t.gives(2, &foreign, &wrong), [], "not asked for: passed over");
    let mut end = Vec::new();
    for request in &requests {
        let truth = t.truth(request);
        end = t.gives(2, request, &truth);
    }
    assert_whole(&t, done(&end).unwrap());
}

#[test]
fn silence_and_refusals_are_borne_for_a_while() {
    let mut t = Trace::new(&[600]);
    t.joins(1);
    let effects = t.wait(Duration::from_secs(120));
    assert_eq!(asked(&effects, 1).len(), 4, "three times in all");
    assert_eq!(dropped(&effects), [(1, FetchFault::Silent)]);
    let mut requests = asked(&t.joins(2), 2);
    let mut drops = Vec::new();
    for _ in 0..5 {
        assert_eq!(requests.len(), 2);
        drops.extend(dropped(&t.rejects(2, &requests[0])));
        assert_eq!(t.rejects(2, &requests[1]), [], "one refusal however many requests");
        requests = asked(&t.wait(Duration::from_secs(6)), 2);
    }
    assert_eq!(drops, [(2, FetchFault::Refuses)]);
}

#[test]
fn the_crowd_is_bounded_and_v1_needs_nothing() {
    let mut t = Trace::new(&[2]);
    for key in 0..64 {
        assert_eq!(asked(&t.joins(key), key).len(), usize::from(key < 2), "two are asked");
    }
    assert_eq!(dropped(&t.joins(64)), [(64, FetchFault::Full)]);
    assert!(LayerFetch::new(&t.whole).is_none(), "all is known");
    assert!(LayerFetch::new(&v2_info(&[1, 1])).is_none(), "one piece a file");
}

/// How a peer behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Honest,
    /// An answer is wrong with this chance in a hundred.
    Corrupts(usize),
    Silent,
    Refuses,
    /// Goes away after a few answers.
    Leaves,
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        2 => Just(Kind::Honest),
        3 => (1usize..=100).prop_map(Kind::Corrupts),
        1 => Just(Kind::Silent),
        1 => Just(Kind::Refuses),
        1 => Just(Kind::Leaves),
    ]
}

/// A world of peers that answer after a while, in any order.
struct World {
    trace: Trace,
    kinds: Vec<Kind>,
    rng: Rng,
    /// Requests under way: when they are answered, and by whom.
    under_way: Vec<(Instant, u32, HashRequest)>,
    faults: Vec<(u32, FetchFault)>,
    result: Option<PieceLayers>,
    requests: usize,
}

impl World {
    fn take(&mut self, effects: Effects) {
        for effect in effects {
            match effect {
                FetchEffect::Send(key, Message::HashRequest(request)) => {
                    self.requests += 1;
                    let delay = Duration::from_millis(10 + self.rng.below(3000) as u64);
                    self.under_way.push((self.trace.now + delay, key.0, *request));
                }
                FetchEffect::Send(..) => unreachable!("nothing else is said"),
                FetchEffect::Drop(key, fault) => {
                    self.under_way.retain(|(_, to, _)| *to != key.0);
                    self.faults.push((key.0, fault));
                }
                FetchEffect::Done(layers) => self.result = Some(layers),
            }
        }
    }

    fn answer(&mut self, key: u32, request: &HashRequest) {
        let mut hashes = self.trace.truth(request);
        let effects = match self.kinds[key as usize] {
            Kind::Silent => Vec::new(),
            Kind::Refuses => self.trace.rejects(key, request),
            Kind::Leaves if self.rng.below(3) == 0 => {
                self.under_way.retain(|(_, to, _)| *to != key);
                let (now, out) = (self.trace.now, &mut self.trace.out);
                self.trace.fetch.handle_disconnected(now, FetchKey(key), out);
                std::mem::take(&mut self.trace.out)
            }
            Kind::Corrupts(chance) if self.rng.below(100) < chance => {
                let at = self.rng.below(hashes.len());
                hashes[at][self.rng.below(32)] ^= 1;
                self.trace.gives(key, request, &hashes)
            }
            _ => self.trace.gives(key, request, &hashes),
        };
        self.take(effects);
    }

    fn run(&mut self) {
        for key in 0..u32::try_from(self.kinds.len()).unwrap() {
            let effects = self.trace.joins(key);
            self.take(effects);
        }
        while self.result.is_none() && self.requests < 20_000 {
            let next = self.under_way.iter().copied().min();
            match (next, self.trace.fetch.next_timeout()) {
                (Some((at, key, request)), timeout) if timeout.is_none_or(|t| at <= t) => {
                    self.under_way.retain(|entry| *entry != (at, key, request));
                    self.trace.now = at;
                    self.answer(key, &request);
                }
                (_, Some(at)) => {
                    self.trace.now = at;
                    self.trace.fetch.handle_timeout(at, &mut self.trace.out);
                    let effects = std::mem::take(&mut self.trace.out);
                    self.take(effects);
                }
                _ => return,
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn one_honest_peer_among_liars_is_enough_and_is_never_convicted(
        files in prop::collection::vec(0u32..1100, 1..5), mut kinds in prop::collection::vec(kind(), 0..10),
        place: prop::sample::Index, seed: u64,
    ) {
        kinds.insert(place.index(kinds.len() + 1), Kind::Honest);
        let files = [&[2], &files[..]].concat();
        let mut world = World {
            trace: Trace::new(&files), kinds, rng: Rng::new(seed), under_way: Vec::new(), faults: Vec::new(), result: None,
            requests: 0,
        };
        world.run();
        assert_whole(&world.trace, world.result.as_ref().unwrap());
        for (key, fault) in &world.faults {
            let kind = world.kinds[*key as usize];
            let deserved = match fault {
                FetchFault::Lied => matches!(kind, Kind::Corrupts(_)),
                FetchFault::Silent => kind == Kind::Silent,
                FetchFault::Refuses => kind == Kind::Refuses,
                FetchFault::NoMetadata | FetchFault::Full => false,
            };
            prop_assert!(deserved, "{kind:?} was dropped: {fault:?}");
        }
    }
}
