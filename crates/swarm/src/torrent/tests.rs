//! Message traces: what goes in, what comes out, line by line.

use super::*;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;
use samara_wire::id::{BLOCK_LEN, BlockRef, InfoHashV1, PeerId};
use samara_wire::peer::handshake::Reserved;
use samara_wire::peer::message::Message;
use samara_wire::time::Duration;

mod announcing;
mod exchange;
mod hashes;
mod holepunch;
mod resting;
mod seeking;
mod suggest;

const PIECES: u32 = 20;
const PIECE_LEN: u32 = 2 * BLOCK_LEN;

/// A torrent with a script around it.
struct Trace {
    torrent: Torrent,
    now: Instant,
    out: Outbox,
    peers: u8,
}

impl Trace {
    fn new(have: Bitfield) -> Self {
        Self::with(TorrentConfig::default(), have)
    }

    fn with(config: TorrentConfig, have: Bitfield) -> Self {
        let layout = PieceLayout::contiguous(u64::from(PIECES * PIECE_LEN), PIECE_LEN);
        let hashes = InfoHashes::v1_only(InfoHashV1([9; 20]));
        let now = Instant::from_secs(1000);
        let torrent = Torrent::new(now, config, hashes, layout, have);
        let mut trace = Self { torrent, now, out: Outbox::new(), peers: 0 };
        trace.torrent.handle_start(now, &mut trace.out);
        trace.effects();
        trace
    }

    fn leech() -> Self {
        Self::new(Bitfield::empty(PIECES))
    }

    fn seed() -> Self {
        Self::new(Bitfield::full(PIECES))
    }

    fn new_peer(&mut self, reserved: Reserved) -> NewPeer {
        self.peers += 1;
        NewPeer {
            addr: SocketAddr::from(([80, 1, self.peers, 1], 6881)),
            direction: Direction::Outgoing,
            utp: false,
            peer_id: PeerId([self.peers; 20]),
            reserved,
        }
    }

    /// A peer with the fast extension and nothing else connects; what we greet it with is thrown away.
    fn fast_peer(&mut self) -> PeerKey {
        self.connect(Reserved([0, 0, 0, 0, 0, 0, 0, 4]))
    }

    /// A peer of 2003 connects.
    fn plain_peer(&mut self) -> PeerKey {
        self.connect(Reserved::default())
    }

    fn connect(&mut self, reserved: Reserved) -> PeerKey {
        let new = self.new_peer(reserved);
        let key = self.torrent.handle_peer_connected(self.now, new, &mut self.out).unwrap();
        self.effects();
        key
    }

    fn effects(&mut self) -> Vec<Effect> {
        self.out.drain().collect()
    }

    /// The peer says something; the answer, without events.
    fn says(&mut self, peer: PeerKey, message: Message) -> Vec<Effect> {
        self.torrent.handle_message(self.now, peer, message, &mut self.out);
        self.check();
        self.effects()
    }

    fn wait(&mut self, time: Duration) -> Vec<Effect> {
        let end = self.now + time;
        let mut all = Vec::new();
        while let Some(at) = self.torrent.next_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now + Duration::from_micros(1));
            self.torrent.handle_timeout(self.now, &mut self.out);
            self.check();
            all.extend(self.effects());
        }
        self.now = end;
        all
    }

    fn block(&mut self, peer: PeerKey, block: BlockRef) -> (BlockVerdict, Vec<Effect>) {
        let verdict = self.torrent.handle_block_header(self.now, peer, block, &mut self.out);
        if verdict == BlockVerdict::Wanted {
            self.torrent.handle_progress(self.now, peer, block.len);
            self.torrent.handle_block(self.now, peer, block, &mut self.out);
        }
        self.check();
        (verdict, self.effects())
    }

    fn check(&self) {
        self.torrent.check_invariants();
    }
}

fn sent(effects: &[Effect], peer: PeerKey) -> Vec<Message> {
    let to_peer = |effect: &Effect| match effect {
        Effect::Send(key, message) if *key == peer => Some(message.clone()),
        _ => None,
    };
    effects.iter().filter_map(to_peer).collect()
}

fn requests(effects: &[Effect], peer: PeerKey) -> Vec<BlockRef> {
    let request = |message| match message {
        Message::Request(block) => Some(block),
        _ => None,
    };
    sent(effects, peer).into_iter().filter_map(request).collect()
}

fn disconnected(effects: &[Effect], peer: PeerKey) -> Option<DisconnectReason> {
    effects.iter().find_map(|effect| match effect {
        Effect::Disconnect(key, reason) if *key == peer => Some(*reason),
        _ => None,
    })
}

fn at(piece: u32, block: u32) -> BlockRef {
    BlockRef { piece: PieceIndex(piece), begin: block * BLOCK_LEN, len: BLOCK_LEN }
}

#[test]
fn interest_then_unchoke_then_requests_in_order() {
    let mut t = Trace::leech();
    let p = t.plain_peer();
    let answer = t.says(p, Message::Bitfield(Bitfield::full(PIECES).as_bytes().into()));
    assert_eq!(sent(&answer, p), [Message::Interested]);
    let asked = requests(&t.says(p, Message::Unchoke), p);
    assert_eq!(asked.len(), 2, "slow start begins with two");
    assert_eq!((asked[0].begin, asked[1].begin), (0, BLOCK_LEN));
    assert_eq!(asked[0].piece, asked[1].piece);
}

#[test]
fn a_whole_piece_is_verified_and_told_to_those_who_lack_it() {
    let mut t = Trace::leech();
    let (p, other) = (t.plain_peer(), t.plain_peer());
    t.says(p, Message::Bitfield(Bitfield::full(PIECES).as_bytes().into()));
    let asked = requests(&t.says(p, Message::Unchoke), p);
    let piece = asked[0].piece;
    t.block(p, asked[0]);
    let (_, effects) = t.block(p, asked[1]);
    assert!(effects.contains(&Effect::VerifyPiece { piece, want_digests: false }));
    t.torrent.handle_piece_verified(t.now, piece, None, &mut t.out);
    let effects = t.effects();
    assert_eq!(sent(&effects, other), [Message::Have(piece)]);
    assert!(sent(&effects, p).is_empty(), "it has the piece itself");
    assert!(effects.contains(&Effect::Event(Event::PieceVerified(piece))));
    assert!(t.torrent.have().has(piece));
}

#[test]
fn messages_between_request_and_piece_shift_nothing() {
    let mut t = Trace::leech();
    let p = t.plain_peer();
    t.says(p, Message::Bitfield(Bitfield::full(PIECES).as_bytes().into()));
    let asked = requests(&t.says(p, Message::Unchoke), p);
    t.says(p, Message::KeepAlive);
    t.says(p, Message::Have(PieceIndex(3)));
    t.says(p, Message::Port(1));
    let (first, _) = t.block(p, asked[1]);
    t.says(p, Message::KeepAlive);
    let (second, effects) = t.block(p, asked[0]);
    assert_eq!((first, second), (BlockVerdict::Wanted, BlockVerdict::Wanted));
    assert!(effects.iter().any(|e| matches!(e, Effect::VerifyPiece { .. })));
}

#[test]
fn a_block_never_asked_for_ends_the_connection() {
    let mut t = Trace::leech();
    let p = t.plain_peer();
    t.says(p, Message::Bitfield(Bitfield::full(PIECES).as_bytes().into()));
    t.says(p, Message::Unchoke);
    let (verdict, effects) = t.block(p, at(0, 7));
    assert_eq!(verdict, BlockVerdict::Fault);
    assert!(matches!(disconnected(&effects, p), Some(DisconnectReason::Protocol(_))));
}

#[test]
fn a_choke_without_fast_extension_frees_the_blocks_for_others_and_late_ones_still_count() {
    let mut t = Trace::leech();
    let (p, q) = (t.plain_peer(), t.plain_peer());
    for peer in [p, q] {
        t.says(peer, Message::Bitfield(Bitfield::full(PIECES).as_bytes().into()));
    }
    let asked = requests(&t.says(p, Message::Unchoke), p);
    t.block(p, asked[0]);
    t.says(p, Message::Choke);
    let of_q = requests(&t.says(q, Message::Unchoke), q);
    assert_eq!(of_q[0], asked[1], "the piece that was begun comes first");
    let (verdict, effects) = t.block(p, asked[1]);
    assert_eq!(verdict, BlockVerdict::Wanted);
    assert_eq!(sent(&effects, q)[0], Message::Cancel(asked[1]));
}

#[test]
fn a_choke_with_fast_extension_waits_for_the_rejects() {
    let mut t = Trace::leech();
    let p = t.fast_peer();
    t.says(p, Message::HaveAll);
    let asked = requests(&t.says(p, Message::Unchoke), p);
    t.says(p, Message::Choke);
    assert_eq!(t.torrent.outstanding_bytes, 2 * u64::from(BLOCK_LEN));
    t.says(p, Message::Reject(asked[0]));
    assert_eq!(t.torrent.outstanding_bytes, u64::from(BLOCK_LEN));
    let effects = t.says(p, Message::Reject(at(5, 0)));
    assert!(disconnected(&effects, p).is_some(), "a reject of nothing");
}

#[test]
fn allowed_fast_pieces_are_asked_for_while_choked() {
    let mut t = Trace::leech();
    let p = t.fast_peer();
    t.says(p, Message::HaveAll);
    let asked = requests(&t.says(p, Message::AllowedFast(PieceIndex(4))), p);
    assert_eq!(asked, [at(4, 0), at(4, 1)]);
    t.says(p, Message::Reject(at(4, 0)));
    let again = t.says(p, Message::Reject(at(4, 1)));
    assert!(requests(&again, p).is_empty(), "not asked again at once");
}

#[test]
fn out_of_range_pieces_and_a_second_have_all_are_faults() {
    let bad = [
        Message::Have(PieceIndex(PIECES)),
        Message::Bitfield(Box::new([0xff; 9])),
        Message::Bitfield(Box::new([0xff; 3])),
        Message::HaveAll,
        Message::Request(BlockRef { piece: PieceIndex(0), begin: 0, len: 128 * 1024 + 1 }),
        Message::Request(BlockRef { piece: PieceIndex(0), begin: u32::MAX, len: 2 }),
    ];
    for message in bad {
        let mut t = Trace::seed();
        let p = t.plain_peer();
        let effects = t.says(p, message.clone());
        assert!(disconnected(&effects, p).is_some(), "{message:?}");
    }
    let mut t = Trace::leech();
    let p = t.fast_peer();
    t.says(p, Message::HaveNone);
    assert!(disconnected(&t.says(p, Message::HaveAll), p).is_some());
}

#[test]
fn a_lazy_or_absent_bitfield_is_legal() {
    let mut t = Trace::leech();
    let p = t.plain_peer();
    assert!(t.says(p, Message::Unchoke).is_empty());
    let effects = t.says(p, Message::Have(PieceIndex(2)));
    assert_eq!(sent(&effects, p)[0], Message::Interested);
    assert_eq!(requests(&effects, p).len(), 2);
}

/// aria2 sends a bitfield where it is shorter than many HAVEs.
#[test]
fn a_later_bitfield_adds_pieces_and_takes_none_away() {
    let mut t = Trace::leech();
    let p = t.plain_peer();
    t.says(p, Message::Have(PieceIndex(2)));
    let effects = t.says(p, Message::Bitfield(Box::new([0b1001_0000, 0, 0])));
    assert!(disconnected(&effects, p).is_none());
    let has = &t.torrent.peers.get(p).unwrap().has;
    let told: Vec<u32> = (0..PIECES).filter(|&i| has.has(PieceIndex(i))).collect();
    assert_eq!(told, [0, 2, 3]);
}

#[test]
fn a_seed_serves_any_legal_size_and_honours_cancel_and_choke() {
    let mut t = Trace::seed();
    let p = t.fast_peer();
    let effects = t.says(p, Message::Interested);
    assert_eq!(sent(&effects, p), [Message::Unchoke], "free slots go out at once");
    let granted = &t.torrent.peers.get(p).unwrap().granted_fast;
    let PieceIndex(n) = t.torrent.layout.pieces().find(|p| !granted.contains(p)).unwrap();
    let odd = BlockRef { piece: PieceIndex(n), begin: 3, len: 20_000 };
    assert_eq!(t.says(p, Message::Request(odd)), [Effect::ServeReady(p)]);
    t.says(p, Message::Request(at(n, 0)));
    t.says(p, Message::Request(at(n, 1)));
    assert!(t.torrent.upcoming(p).eq([odd, at(n, 0), at(n, 1)]));
    assert_eq!(t.torrent.poll_serve(p), Some(odd));
    let effects = t.says(p, Message::Cancel(odd));
    assert_eq!(sent(&effects, p), [], "it is on its way, which answers the request");
    let effects = t.says(p, Message::Cancel(at(n, 0)));
    assert_eq!(sent(&effects, p), [Message::Reject(at(n, 0))]);
    let effects = t.says(p, Message::NotInterested);
    assert_eq!(sent(&effects, p), [Message::Choke, Message::Reject(at(n, 1))]);
    assert_eq!(t.torrent.poll_serve(p), None);
    let effects = t.says(p, Message::Request(at(n, 0)));
    assert_eq!(sent(&effects, p), [Message::Reject(at(n, 0))], "choked");
}

#[test]
fn requests_for_a_lost_piece_are_rejected_whoever_made_them() {
    let mut t = Trace::seed();
    let (p, q) = (t.fast_peer(), t.fast_peer());
    for peer in [p, q] {
        t.says(peer, Message::Interested);
        t.says(peer, Message::Request(at(0, 0)));
        t.says(peer, Message::Request(at(1, 0)));
    }
    let mut out = Outbox::new();
    t.torrent.handle_piece_lost(t.now, PieceIndex(0), &mut out);
    let effects: Vec<_> = out.drain().collect();
    for peer in [p, q] {
        assert_eq!(sent(&effects, peer)[0], Message::Reject(at(0, 0)));
        assert!(t.torrent.upcoming(peer).eq([at(1, 0)]));
    }
}

#[test]
fn a_request_flood_is_bounded() {
    let mut t = Trace::seed();
    let p = t.fast_peer();
    t.says(p, Message::Interested);
    let rejected: usize =
        (0..600).map(|_| sent(&t.says(p, Message::Request(at(0, 0))), p).len()).sum();
    assert_eq!(rejected, 600 - peer::MAX_SERVE_QUEUE);
}

#[test]
fn two_seeds_part_but_an_all_zero_bitfield_is_no_seed() {
    let mut t = Trace::seed();
    let zero = t.plain_peer();
    assert!(t.says(zero, Message::Bitfield(Bitfield::empty(PIECES).as_bytes().into())).is_empty());
    let p = t.fast_peer();
    let effects = t.says(p, Message::HaveAll);
    assert_eq!(disconnected(&effects, p), Some(DisconnectReason::Redundant));
}

#[test]
fn ourselves_and_doubles_are_refused() {
    let mut t = Trace::leech();
    let mut me = t.new_peer(Reserved::OURS);
    me.peer_id = TorrentConfig::default().peer_id;
    let refused = t.torrent.handle_peer_connected(t.now, me, &mut t.out);
    assert_eq!(refused, Err(DisconnectReason::Myself));

    let twin = t.new_peer(Reserved::OURS);
    t.torrent.handle_peer_connected(t.now, twin, &mut t.out).unwrap();
    let again = t.torrent.handle_peer_connected(t.now, twin, &mut t.out);
    assert_eq!(again, Err(DisconnectReason::Spare), "which one the other end keeps is its affair");
    let imposter = NewPeer { peer_id: PeerId([99; 20]), ..twin };
    let other = t.torrent.handle_peer_connected(t.now, imposter, &mut t.out);
    assert_eq!(other, Err(DisconnectReason::Duplicate));
}

#[test]
fn who_shakes_hands_at_a_udp_port_is_who_is_there_now() {
    let mut t = Trace::leech();
    let incoming = |new| NewPeer { direction: Direction::Incoming, utp: true, ..new };
    let first = incoming(t.new_peer(Reserved::OURS));
    let key = t.torrent.handle_peer_connected(t.now, first, &mut t.out).unwrap();
    t.effects();
    // The same machine after a restart.
    let restarted = NewPeer { peer_id: PeerId([99; 20]), ..first };
    t.torrent.handle_peer_connected(t.now, restarted, &mut t.out).unwrap();
    assert_eq!(disconnected(&t.effects(), key), Some(DisconnectReason::Duplicate));
    assert_eq!(t.torrent.peers.len(), 1);
}

#[test]
fn who_dialled_by_utp_is_sent_something_when_it_has_read_the_handshake() {
    let cases = [
        (Direction::Incoming, true, true),
        (Direction::Incoming, false, false),
        (Direction::Outgoing, true, false),
    ];
    for (direction, utp, woken) in cases {
        let mut t = Trace::seed();
        let new = NewPeer { direction, utp, ..t.new_peer(Reserved([0, 0, 0, 0, 0, 0, 0, 4])) };
        let key = t.torrent.handle_peer_connected(t.now, new, &mut t.out).unwrap();
        let greeting = t.effects();
        assert!(
            !sent(&greeting, key).contains(&Message::KeepAlive),
            "it may be read with the handshake"
        );
        let answer = t.says(key, Message::HaveNone);
        let expected = if woken { vec![Message::KeepAlive] } else { vec![] };
        assert_eq!(sent(&answer, key), expected, "{direction:?}, uTP: {utp}");
        let later = t.says(key, Message::Have(PieceIndex(0)));
        assert_eq!(sent(&later, key), [], "once is enough");
    }
}

#[test]
fn a_peer_that_dials_again_at_once_takes_the_place_of_its_first_connection() {
    let mut t = Trace::leech();
    let first = NewPeer { direction: Direction::Incoming, ..t.new_peer(Reserved::OURS) };
    let key = t.torrent.handle_peer_connected(t.now, first, &mut t.out).unwrap();
    let elsewhere = SocketAddr::from(([80, 9, 9, 9], 50_000));
    let thief = NewPeer { addr: elsewhere, ..first };
    let refused = t.torrent.handle_peer_connected(t.now, thief, &mut t.out);
    assert_eq!(refused, Err(DisconnectReason::Duplicate), "who borrows its id does not");
    t.effects();
    let again = NewPeer { addr: SocketAddr::new(first.addr.ip(), 50_000), ..first };
    t.torrent.handle_peer_connected(t.now, again, &mut t.out).unwrap();
    assert_eq!(disconnected(&t.effects(), key), Some(DisconnectReason::Duplicate));
    assert_eq!(t.torrent.peers.len(), 1);
}

#[test]
fn of_two_crossing_dials_both_ends_keep_the_same_one() {
    // We are "-SM0100-…"; a smaller id has its own dial survive, a larger one has ours survive.
    for (id, ours_stays) in [(*b"-SM0000-............", false), (*b"-SM9999-............", true)] {
        let mut t = Trace::leech();
        let outgoing = NewPeer { peer_id: PeerId(id), ..t.new_peer(Reserved::OURS) };
        let key = t.torrent.handle_peer_connected(t.now, outgoing, &mut t.out).unwrap();
        t.effects();
        let incoming = NewPeer {
            direction: Direction::Incoming,
            addr: SocketAddr::from(([80, 1, 1, 1], 40_000)),
            ..outgoing
        };
        let second = t.torrent.handle_peer_connected(t.now, incoming, &mut t.out);
        let closed = disconnected(&t.effects(), key);
        assert_eq!(second.is_err(), ours_stays);
        assert_eq!(closed.is_none(), ours_stays);
    }
}

#[test]
fn of_two_crossing_dials_with_another_client_the_second_is_spare_until_the_other_end_has_chosen() {
    for second_is_ours in [true, false] {
        let mut t = Trace::leech();
        let ours = t.new_peer(Reserved::OURS);
        let theirs = NewPeer {
            direction: Direction::Incoming,
            addr: SocketAddr::from(([80, 1, 1, 1], 40_000)),
            ..ours
        };
        let (first, second) = if second_is_ours { (theirs, ours) } else { (ours, theirs) };
        let key = t.torrent.handle_peer_connected(t.now, first, &mut t.out).unwrap();
        t.effects();
        let refused = t.torrent.handle_peer_connected(t.now, second, &mut t.out);
        assert_eq!((refused, t.effects()), (Err(DisconnectReason::Spare), vec![]));
        // It closed the first one; the shell offers what it kept.
        t.torrent.handle_disconnected(t.now, key, &mut t.out);
        assert!(t.torrent.handle_peer_connected(t.now, second, &mut t.out).is_ok());
    }
}

#[test]
fn a_silent_peer_is_left_alone_for_two_minutes_and_hears_keep_alives() {
    let mut t = Trace::leech();
    let p = t.plain_peer();
    t.says(p, Message::KeepAlive);
    let effects = t.wait(Duration::from_secs(125));
    assert!(disconnected(&effects, p).is_none());
    assert!(sent(&effects, p).contains(&Message::KeepAlive));
    let effects = t.wait(Duration::from_secs(120));
    assert_eq!(disconnected(&effects, p), Some(DisconnectReason::Idle));
}

#[test]
fn a_peer_that_unchokes_and_never_serves_holds_nothing_up() {
    let mut t = Trace::leech();
    let (silent, good) = (t.plain_peer(), t.plain_peer());
    for peer in [silent, good] {
        t.says(peer, Message::Bitfield(Bitfield::full(PIECES).as_bytes().into()));
    }
    let stuck = requests(&t.says(silent, Message::Unchoke), silent);
    let mut asked = requests(&t.says(good, Message::Unchoke), good);
    let mut served = Vec::new();
    for _ in 0..60 {
        for block in core::mem::take(&mut asked) {
            served.push(block);
            asked.extend(requests(&t.block(good, block).1, good));
        }
        asked.extend(requests(&t.wait(Duration::from_secs(1)), good));
    }
    assert!(stuck.iter().all(|block| served.contains(block)), "the other peer brought them");
}

#[test]
fn a_peer_that_sends_a_byte_a_second_holds_nothing_up() {
    let mut t = Trace::leech();
    let (p, q) = (t.fast_peer(), t.fast_peer());
    t.says(p, Message::HaveAll);
    let asked = requests(&t.says(p, Message::Unchoke), p);
    t.says(q, Message::HaveAll);
    let mut again = Vec::new();
    for _ in 0..62 {
        t.torrent.handle_progress(t.now, p, 1);
        let effects = t.wait(Duration::from_secs(1));
        again.extend(requests(&effects, p));
    }
    assert!(
        (1..=2).contains(&again.len()),
        "little more, to see whether it has come to its senses"
    );
    let mut given = requests(&t.says(q, Message::Unchoke), q);
    let mut next = 0;
    while let Some(&block) = given.get(next) {
        given.extend(requests(&t.block(q, block).1, q));
        next += 1;
    }
    assert!(asked.iter().all(|block| given.contains(block)), "{asked:?} went to the other");
}

#[test]
fn the_last_blocks_are_not_left_to_those_who_bring_none() {
    let mut t = Trace::leech();
    let mut priorities = vec![0; PIECES as usize];
    priorities[3] = 4;
    t.torrent.set_priorities(t.now, &priorities, &mut t.out);
    let crawlers = [t.fast_peer(), t.fast_peer(), t.fast_peer()];
    for crawler in crawlers {
        t.says(crawler, Message::HaveAll);
        assert!(!requests(&t.says(crawler, Message::Unchoke), crawler).is_empty());
    }
    let honest = t.fast_peer();
    t.says(honest, Message::HaveAll);
    assert_eq!(requests(&t.says(honest, Message::Unchoke), honest), [], "three are asked already");
    let mut given = Vec::new();
    for _ in 0..5 {
        crawlers.iter().for_each(|crawler| t.torrent.handle_progress(t.now, *crawler, 1));
        given.extend(requests(&t.wait(Duration::from_secs(1)), honest));
    }
    assert!(!given.is_empty(), "nobody waits a minute for a byte a second");
    t.torrent.check_invariants();
}

#[test]
fn what_is_granted_while_choked_is_for_few_newcomers_at_a_time() {
    let mut t = Trace::seed();
    let (p, q, rich) = (t.fast_peer(), t.fast_peer(), t.fast_peer());
    for piece in 0..10 {
        t.says(rich, Message::Have(PieceIndex(piece)));
    }
    let granted = |t: &Trace, key| t.torrent.peers.get(key).unwrap().granted_fast.clone();
    let (a, b, c) = (granted(&t, p), granted(&t, q)[0].0, granted(&t, rich)[0].0);
    assert_eq!(t.says(p, Message::Request(at(a[0].0, 0))), [Effect::ServeReady(p)]);
    assert_eq!(t.says(p, Message::Request(at(a[1].0, 0))), [Effect::ServeReady(p)]);
    let refused = t.says(q, Message::Request(at(b, 0)));
    assert_eq!(sent(&refused, q), [Message::Reject(at(b, 0))], "one is served already");
    while t.torrent.poll_serve(p).is_some() {}
    let refused = t.says(rich, Message::Request(at(c, 0)));
    assert_eq!(sent(&refused, rich), [Message::Reject(at(c, 0))], "it has enough to trade");
    assert_eq!(t.says(q, Message::Request(at(b, 0))), [Effect::ServeReady(q)]);
}

#[test]
fn a_corrupter_is_convicted_by_what_another_sends() {
    let mut t = Trace::leech();
    let (bad, good) = (t.plain_peer(), t.plain_peer());
    for peer in [bad, good] {
        t.says(peer, Message::Bitfield(Bitfield::full(PIECES).as_bytes().into()));
    }
    let first = requests(&t.says(bad, Message::Unchoke), bad);
    t.block(bad, first[0]);
    t.says(bad, Message::Choke);
    let asked = requests(&t.says(good, Message::Unchoke), good);
    assert!(asked.contains(&first[1]));
    let piece = first[0].piece;
    t.block(good, first[1]);
    let digests = |first: u8| Box::new([[first; 20], [2; 20]]) as BlockDigests;
    t.torrent.handle_piece_failed(t.now, piece, &digests(66), &mut t.out);
    let effects = t.effects();
    assert!(disconnected(&effects, bad).is_none() && disconnected(&effects, good).is_none());
    // Fetched again, now with digests; the good peer brings both.
    t.check();
    for index in 0..2 {
        let _ = t.torrent.picker.received(good, at(piece.0, index));
    }
    t.torrent.handle_piece_verified(t.now, piece, Some(digests(1)), &mut t.out);
    let effects = t.effects();
    assert_eq!(disconnected(&effects, bad), Some(DisconnectReason::Corrupt));
    assert!(disconnected(&effects, good).is_none());
}

#[test]
fn a_download_ends_with_completed_once_and_upload_only() {
    let mut have = Bitfield::full(PIECES);
    have.remove(PieceIndex(5));
    let mut t = Trace::new(have);
    let p = t.connect(Reserved::OURS);
    t.says(p, Message::HaveAll);
    let m = b"d1:md11:upload_onlyi7eee";
    t.says(p, Message::Extended { id: 0, payload: m.as_slice().into() });
    for block in requests(&t.says(p, Message::Unchoke), p) {
        t.block(p, block);
    }
    t.torrent.handle_piece_verified(t.now, PieceIndex(5), None, &mut t.out);
    let effects = t.effects();
    assert!(t.torrent.is_complete());
    assert!(effects.contains(&Effect::Event(Event::Complete)));
    assert!(sent(&effects, p).contains(&Message::Extended { id: 7, payload: Box::new([1]) }));
    assert_eq!(disconnected(&effects, p), Some(DisconnectReason::Redundant));
}

#[test]
fn without_buffers_a_peer_has_two_blocks_under_way_and_then_none() {
    let mut t = Trace::leech();
    t.torrent.handle_write_credit(t.now, 0, &mut t.out);
    let p = t.plain_peer();
    t.says(p, Message::Bitfield(Bitfield::full(PIECES).as_bytes().into()));
    let asked = requests(&t.says(p, Message::Unchoke), p);
    assert_eq!(asked.len(), 2);
    for block in asked {
        let (_, effects) = t.block(p, block);
        assert!(requests(&effects, p).is_empty(), "a fast peer would fill the memory");
    }
    t.torrent.handle_write_credit(t.now, 1 << 20, &mut t.out);
    let effects = t.effects();
    assert!(!requests(&effects, p).is_empty(), "goes on as soon as there are buffers");
}

#[test]
fn requests_go_out_in_batches_also_where_buffers_are_the_limit() {
    let credit = 8 * u64::from(BLOCK_LEN);
    let mut t = Trace::leech();
    let p = t.fast_peer();
    t.says(p, Message::HaveAll);
    t.torrent.handle_write_credit(t.now, credit, &mut t.out);
    let mut asked = VecDeque::from(requests(&t.says(p, Message::Unchoke), p));
    let mut batches = Vec::new();
    while let Some(block) = asked.pop_front() {
        // The disk is fast: each block is written at once.
        t.torrent.handle_write_credit(t.now, credit, &mut t.out);
        let batch = requests(&t.block(p, block).1, p);
        if !batch.is_empty() {
            batches.push(batch.len());
        }
        asked.extend(batch);
    }
    assert_eq!(t.torrent.have().count(), 0, "nothing was verified");
    // The window doubles at first; the last batch is what is left.
    let steady = &batches[8..batches.len() - 1];
    assert!(steady.len() > 3 && steady.iter().all(|&n| n >= 2), "{batches:?}");
}

#[test]
fn unwanted_pieces_make_nobody_interesting() {
    let mut t = Trace::leech();
    let p = t.plain_peer();
    let mut nearly = Bitfield::full(PIECES);
    nearly.remove(PieceIndex(0));
    t.says(p, Message::Bitfield(nearly.as_bytes().into()));
    let mut priorities = vec![0; PIECES as usize];
    t.torrent.set_priorities(t.now, &priorities, &mut t.out);
    let effects = t.effects();
    t.check();
    assert_eq!(sent(&effects, p), [Message::NotInterested]);
    assert!(t.torrent.is_complete(), "nothing wanted, nothing lacking");
    priorities[3] = 4;
    t.torrent.set_priorities(t.now, &priorities, &mut t.out);
    let effects = t.effects();
    assert_eq!(sent(&effects, p), [Message::Interested]);
    assert_eq!(requests(&t.says(p, Message::Unchoke), p)[0].piece, PieceIndex(3));
}

#[test]
fn a_super_seed_reveals_the_next_piece_when_the_last_has_spread() {
    let config = TorrentConfig { super_seeding: true, ..TorrentConfig::default() };
    let mut t = Trace::with(config, Bitfield::full(PIECES));
    let new = t.new_peer(Reserved([0, 0, 0, 0, 0, 0, 0, 4]));
    let a = t.torrent.handle_peer_connected(t.now, new, &mut t.out).unwrap();
    let hello = sent(&t.effects(), a);
    assert_eq!(hello[0], Message::HaveNone);
    let Message::Have(revealed) = hello[1] else { panic!("{hello:?}") };
    assert_eq!(hello.len(), 2);
    let b = t.fast_peer();
    t.says(b, Message::HaveNone);
    assert!(sent(&t.says(a, Message::Have(revealed)), a).is_empty(), "not passed on yet");
    let effects = t.says(b, Message::Have(revealed));
    assert!(matches!(sent(&effects, a)[..], [Message::Have(next)] if next != revealed));
}
