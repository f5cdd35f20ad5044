//! The picker beside a naive one: plain sets, every question answered by a full scan.

use super::*;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Op {
    Join { percent: u64, seed: u64 },
    Leave { who: usize },
    Have { who: usize, piece: u32 },
    Complete { who: usize },
    Pick { who: usize, count: usize, mode: u8, exclusive: bool, whole_pieces: bool },
    Receive { which: usize },
    Release { which: usize },
    ReleaseAll { who: usize },
    Check { passes: bool },
    Priorities { seed: u64, uniform: bool },
    Sequential(bool),
    Deadline { piece: u32, order: Option<u64> },
    Suspect { piece: u32 },
    Restore { piece: u32, blocks: u32 },
    Lose { piece: u32 },
}

fn op() -> impl Strategy<Value = Op> {
    let who = 0usize..6;
    let pick = (who.clone(), 1usize..12, 0u8..8, prop::bool::weighted(0.15), any::<bool>());
    prop_oneof![
        3 => (prop_oneof![0u64..101, Just(100), Just(3)], any::<u64>())
            .prop_map(|(percent, seed)| Op::Join { percent, seed }),
        1 => who.clone().prop_map(|who| Op::Leave { who }),
        4 => (who.clone(), any::<u32>()).prop_map(|(who, piece)| Op::Have { who, piece }),
        1 => who.clone().prop_map(|who| Op::Complete { who }),
        12 => pick.prop_map(|(who, count, mode, exclusive, whole_pieces)| Op::Pick {
            who, count, mode, exclusive, whole_pieces
        }),
        14 => any::<usize>().prop_map(|which| Op::Receive { which }),
        3 => any::<usize>().prop_map(|which| Op::Release { which }),
        1 => who.prop_map(|who| Op::ReleaseAll { who }),
        5 => prop::bool::weighted(0.8).prop_map(|passes| Op::Check { passes }),
        1 => (any::<u64>(), any::<bool>())
            .prop_map(|(seed, uniform)| Op::Priorities { seed, uniform }),
        1 => prop::bool::weighted(0.3).prop_map(Op::Sequential),
        1 => (any::<u32>(), prop::option::of(0u64..5))
            .prop_map(|(piece, order)| Op::Deadline { piece, order }),
        1 => any::<u32>().prop_map(|piece| Op::Suspect { piece }),
        1 => (any::<u32>(), any::<u32>()).prop_map(|(piece, blocks)| Op::Restore { piece, blocks }),
        1 => any::<u32>().prop_map(|piece| Op::Lose { piece }),
    ]
}

/// A block in the model.
#[derive(Clone, PartialEq, Debug)]
enum Cell {
    Lacking,
    Asked(Vec<PeerKey>),
    Here(Option<PeerKey>),
}

struct Model {
    layout: PieceLayout,
    peers: Vec<(PeerKey, Bitfield)>,
    have: Vec<bool>,
    priority: Vec<u8>,
    blocks: Vec<Vec<Cell>>,
    suspects: BTreeSet<u32>,
    owner: BTreeMap<u32, PeerKey>,
    deadlines: BTreeMap<u32, u64>,
    sequential: bool,
    next_slot: u32,
}

impl Model {
    fn new(layout: PieceLayout, have: &Bitfield) -> Self {
        Self {
            peers: Vec::new(),
            have: layout.pieces().map(|p| have.has(p)).collect(),
            priority: layout.pieces().map(|_| DEFAULT_PRIORITY).collect(),
            blocks: layout
                .pieces()
                .map(|p| vec![Cell::Lacking; layout.blocks_in(p) as usize])
                .collect(),
            suspects: BTreeSet::new(),
            owner: BTreeMap::new(),
            deadlines: BTreeMap::new(),
            sequential: false,
            next_slot: 0,
            layout,
        }
    }

    fn pieces(&self) -> std::ops::Range<u32> {
        0..self.layout.count()
    }

    fn copies(&self, piece: u32) -> usize {
        self.peers.iter().filter(|(_, has)| has.has(PieceIndex(piece))).count()
    }

    fn wants(&self, piece: u32) -> bool {
        !self.have[piece as usize] && self.priority[piece as usize] > 0
    }

    fn begun(&self, piece: u32) -> bool {
        self.blocks[piece as usize].iter().any(|cell| *cell != Cell::Lacking)
    }

    fn startable(&self, piece: u32) -> bool {
        self.wants(piece) && !self.begun(piece)
    }

    fn has_lacking(&self, piece: u32) -> bool {
        self.blocks[piece as usize].contains(&Cell::Lacking)
    }

    fn asked_count(&self, piece: u32) -> usize {
        self.blocks[piece as usize].iter().filter(|cell| matches!(cell, Cell::Asked(_))).count()
    }

    /// Whether a begun piece has an open block that `peer` may be asked for.
    fn continuable(&self, piece: u32, peer: PeerKey, exclusive: bool) -> bool {
        let sole = || {
            self.blocks[piece as usize].iter().all(|cell| match cell {
                Cell::Lacking => true,
                Cell::Asked(by) => by[..] == [peer],
                Cell::Here(from) => *from == Some(peer),
            })
        };
        let allowed = match self.owner.get(&piece) {
            Some(owner) => *owner == peer,
            None if exclusive => sole(),
            None => !self.suspects.contains(&piece) || self.asked_count(piece) == 0,
        };
        self.wants(piece) && self.begun(piece) && self.has_lacking(piece) && allowed
    }

    fn is_endgame(&self) -> bool {
        self.pieces().all(|piece| {
            !self.wants(piece)
                || !self.has_lacking(piece)
                || self.copies(piece) == 0
                || self.owner.contains_key(&piece)
        })
    }

    fn asked(&self) -> Vec<(PeerKey, u32, usize)> {
        let cells = |piece: u32| self.blocks[piece as usize].iter().enumerate();
        let mut asked = Vec::new();
        for piece in self.pieces() {
            for (index, cell) in cells(piece) {
                if let Cell::Asked(by) = cell {
                    asked.extend(by.iter().map(|&peer| (peer, piece, index)));
                }
            }
        }
        asked
    }

    fn release(&mut self, peer: PeerKey, piece: u32, index: usize) {
        let cell = &mut self.blocks[piece as usize][index];
        let Cell::Asked(by) = cell else { return };
        by.retain(|&p| p != peer);
        if by.is_empty() {
            *cell = Cell::Lacking;
        }
        if self.asked_count(piece) == 0 && self.owner.get(&piece) == Some(&peer) {
            self.owner.remove(&piece);
        }
        self.forget_untouched(piece);
    }

    fn release_all(&mut self, peer: PeerKey) {
        for (by, piece, index) in self.asked() {
            if by == peer {
                self.release(by, piece, index);
            }
        }
        self.owner.retain(|_, owner| *owner != peer);
    }

    fn forget_untouched(&mut self, piece: u32) {
        if !self.begun(piece) {
            self.owner.remove(&piece);
        }
    }

    fn reset(&mut self, piece: u32) {
        self.blocks[piece as usize].fill(Cell::Lacking);
        self.owner.remove(&piece);
    }

    /// Checks one picked block against the state before it, then takes it over.
    fn accept(&mut self, ask: &Ask<'_>, block: BlockRef) {
        let (piece, peer) = (block.piece.0, ask.peer);
        let index = self.layout.block_index(&block).expect("a block of the grid");
        assert!(ask.has.has(block.piece), "{peer:?} lacks {piece}");
        assert!(self.wants(piece), "{piece} is had or unwanted");
        if self.blocks[piece as usize][index as usize] == Cell::Lacking {
            self.check_choice(ask, piece, index as usize);
            self.blocks[piece as usize][index as usize] = Cell::Asked(vec![peer]);
            if ask.options.exclusive || self.suspects.contains(&piece) {
                self.owner.insert(piece, peer);
            }
            return;
        }
        assert!(self.is_endgame() && !ask.options.exclusive, "{block:?} twice before endgame");
        assert!(!self.owner.contains_key(&piece) && !self.suspects.contains(&piece));
        let Cell::Asked(by) = &mut self.blocks[piece as usize][index as usize] else {
            panic!("{block:?} is here")
        };
        assert!(!by.contains(&peer) && by.len() < MAX_REQUESTERS);
        by.push(peer);
    }

    fn check_choice(&self, ask: &Ask<'_>, piece: u32, index: usize) {
        let exclusive = ask.options.exclusive;
        let first = self.blocks[piece as usize].iter().position(|cell| *cell == Cell::Lacking);
        assert_eq!(first, Some(index), "blocks in order");
        let begun = self.begun(piece);
        assert!(!begun || self.continuable(piece, ask.peer, exclusive), "{piece} is reserved");
        assert!(begun || ask.options.mode != PickMode::PartialOnly);
        if let PickMode::Only(listed) = ask.options.mode {
            assert!(listed.contains(&PieceIndex(piece)));
            return;
        }
        let may_begin = ask.options.mode == PickMode::Any;
        let pickable = |other: u32| {
            ask.has.has(PieceIndex(other))
                && (may_begin && self.startable(other)
                    || self.continuable(other, ask.peer, exclusive))
        };
        let deadline = |piece| self.deadlines.get(&piece).copied().unwrap_or(u64::MAX);
        let urgent = self.pieces().filter(|&other| pickable(other)).map(deadline).min();
        assert_eq!(Some(deadline(piece)), urgent, "deadlines first");
        if urgent != Some(u64::MAX) {
            return;
        }
        let rank = |other: u32| self.priority[other as usize];
        let best = self.pieces().filter(|&other| pickable(other)).map(rank).max();
        assert_eq!(Some(rank(piece)), best, "priority over all");
        if begun {
            return;
        }
        let peers = self.pieces().filter(|&other| ask.has.has(PieceIndex(other)));
        let level: Vec<_> = peers.filter(|&other| rank(other) == rank(piece)).collect();
        let rivals = level.iter().copied().filter(|&other| self.startable(other));
        if !ask.options.whole_pieces {
            let finish = level.iter().find(|&&p| self.continuable(p, ask.peer, exclusive));
            assert_eq!(finish, None, "what was begun is finished first");
        }
        if self.sequential {
            assert_eq!(rivals.min(), Some(piece), "in order");
        } else if self.have.iter().filter(|&&had| had).count() >= RANDOM_FIRST_PIECES as usize {
            let rarest = rivals.map(|other| self.copies(other)).min();
            assert_eq!(Some(self.copies(piece)), rarest, "rarest first");
        }
    }

    /// A pick that gave less than it was asked for: nothing more was to be had.
    fn check_short(&self, ask: &Ask<'_>, extras_allowed: u64) {
        let listed = |piece: u32| match ask.options.mode {
            PickMode::Only(listed) => listed.contains(&PieceIndex(piece)),
            _ => true,
        };
        for piece in self.pieces().filter(|&p| ask.has.has(PieceIndex(p)) && listed(p)) {
            assert!(ask.options.mode == PickMode::PartialOnly || !self.startable(piece));
            assert!(!self.continuable(piece, ask.peer, ask.options.exclusive), "{piece} has more");
            let again = |cell: &Cell| matches!(cell, Cell::Asked(by) if by.len() < MAX_REQUESTERS && !by.contains(&ask.peer));
            let shared = !self.owner.contains_key(&piece) && !self.suspects.contains(&piece);
            if self.is_endgame()
                && extras_allowed > 0
                && shared
                && self.wants(piece)
                && !ask.options.exclusive
                && !matches!(ask.options.mode, PickMode::Only(_))
            {
                assert!(!self.blocks[piece as usize].iter().any(again), "{piece} in endgame");
            }
        }
    }

    /// Compares everything that the picker tells, and its order, with the model.
    fn compare(&self, p: &Picker) {
        let complete = self.have.iter().all(|&had| had);
        let mut startable = Vec::new();
        for piece in self.pieces() {
            let index = PieceIndex(piece);
            if !complete {
                assert_eq!(p.availability(index) as usize, self.copies(piece), "copies of {piece}");
            }
            assert_eq!(p.wants(index), self.wants(piece));
            assert_eq!(p.startable.has(index), self.startable(piece), "{piece} startable");
            assert_eq!(p.partials.contains_key(&index), self.begun(piece), "{piece} begun");
            if self.startable(piece) {
                startable.push(piece);
            }
            self.compare_blocks(p, piece);
        }
        let wanted = || self.pieces().filter(|&piece| self.wants(piece));
        assert_eq!(p.wanted_left() as usize, wanted().count());
        let bytes: u64 = wanted().map(|w| u64::from(self.layout.len_of(PieceIndex(w)))).sum();
        assert_eq!(p.wanted_bytes_left(), bytes);
        let full = self.peers.iter().filter(|(_, has)| has.is_full()).count();
        let rarest = wanted().map(|piece| self.copies(piece)).min().unwrap_or(full);
        assert_eq!(p.min_availability() as usize, rarest);
        let extras: usize =
            self.blocks.iter().flatten().map(|c| asked_of(c).len().saturating_sub(1)).sum();
        assert_eq!(p.extras, extras as u64);
        for (_, has) in &self.peers {
            let any = wanted().any(|piece| has.has(PieceIndex(piece)));
            assert_eq!(p.wants_any_of(has), any);
        }
        p.order.check(&startable, &p.priorities, &p.availability);
    }

    fn compare_blocks(&self, p: &Picker, piece: u32) {
        let cells = &self.blocks[piece as usize];
        let mut here = Vec::new();
        for (i, cell) in (0u32..).zip(cells) {
            let block = self.layout.block(PieceIndex(piece), i).unwrap();
            let lacking = !matches!(cell, Cell::Here(_)) && !self.have[piece as usize];
            assert_eq!(p.needs(&block), lacking && (self.wants(piece) || self.begun(piece)));
            let mut requesters: Vec<_> = p.requesters(&block).collect();
            requesters.sort_unstable();
            let mut asked = asked_of(cell).to_vec();
            asked.sort_unstable();
            assert_eq!(requesters, asked);
            if let Cell::Here(from) = cell {
                here.push((block, *from));
            }
        }
        assert_eq!(p.blocks_from(PieceIndex(piece)).collect::<Vec<_>>(), here);
        let listed = p.partial_pieces().find(|(other, _)| other.0 == piece);
        assert_eq!(listed.map_or(0, |(_, blocks)| blocks.count()) as usize, here.len());
    }
}

fn asked_of(cell: &Cell) -> &[PeerKey] {
    match cell {
        Cell::Asked(by) => by,
        _ => &[],
    }
}

struct Ask<'a> {
    peer: PeerKey,
    has: &'a Bitfield,
    options: PickOptions<'a>,
}

fn some_of(len: u32, percent: u64, seed: u64) -> Bitfield {
    let mut rng = Rng::new(seed);
    let mut set = Bitfield::empty(len);
    for piece in (0..len).map(PieceIndex) {
        if rng.next_u64() % 100 < percent {
            set.insert(piece);
        }
    }
    set
}

/// Does `op` to both and checks the answers.
fn apply(op: &Op, model: &mut Model, p: &mut Picker) {
    let count = model.layout.count();
    let known = model.peers.len();
    match *op {
        Op::Join { percent, seed } if known < 6 => {
            let has = some_of(count, percent, seed);
            p.peer_joined(&has);
            model.peers.push((peer(model.next_slot), has));
            model.next_slot += 1;
        }
        Op::Leave { who } if who < known => {
            let (peer, has) = model.peers.remove(who);
            p.release_all(peer);
            p.peer_left(&has);
            model.release_all(peer);
        }
        Op::Have { who, piece } if who < known => {
            let (_, has) = &mut model.peers[who];
            if has.insert(PieceIndex(piece % count)) {
                p.peer_has(PieceIndex(piece % count), has);
            }
        }
        Op::Complete { who } if who < known => {
            let (_, has) = &mut model.peers[who];
            for piece in (0..count).map(PieceIndex) {
                if has.insert(piece) {
                    p.peer_has(piece, has);
                }
            }
        }
        Op::Pick { who, .. } if who < known => apply_pick(op, who, model, p),
        Op::Receive { which } => apply_receive(which, model, p),
        Op::Release { which } => {
            let asked = model.asked();
            if let Some(&(peer, piece, index)) = asked.get(which % asked.len().max(1)) {
                p.release(peer, block_of(model, piece, index));
                model.release(peer, piece, index);
            }
        }
        Op::ReleaseAll { who } if who < known => {
            let peer = model.peers[who].0;
            p.release_all(peer);
            model.release_all(peer);
        }
        _ => apply_own(op, model, p),
    }
}

fn block_of(model: &Model, piece: u32, index: usize) -> BlockRef {
    model.layout.block(PieceIndex(piece), u32::try_from(index).unwrap()).unwrap()
}

fn apply_pick(op: &Op, who: usize, model: &mut Model, p: &mut Picker) {
    let Op::Pick { count, mode, exclusive, whole_pieces, .. } = *op else { return };
    let (peer, has) = model.peers[who].clone();
    let listed: Vec<_> = has.iter().step_by(3).collect();
    let mode = match mode {
        0 => PickMode::PartialOnly,
        1 => PickMode::Only(&listed),
        _ => PickMode::Any,
    };
    let options = PickOptions { mode, exclusive, whole_pieces, ..PickOptions::default() };
    let ask = Ask { peer, has: &has, options };
    let mut out = Vec::new();
    p.pick(peer, &has, count, options, &mut out);
    assert!(out.len() <= count);
    out.iter().for_each(|&block| model.accept(&ask, block));
    if out.len() < count {
        model.check_short(&ask, p.extras_allowed(0));
    }
}

fn apply_receive(which: usize, model: &mut Model, p: &mut Picker) {
    let asked = model.asked();
    let Some(&(peer, piece, index)) = asked.get(which % asked.len().max(1)) else { return };
    let block = block_of(model, piece, index);
    let others: Vec<_> = asked_of(&model.blocks[piece as usize][index])
        .iter()
        .copied()
        .filter(|&p| p != peer)
        .collect();
    model.blocks[piece as usize][index] = Cell::Here(Some(peer));
    let whole = model.blocks[piece as usize].iter().all(|c| matches!(c, Cell::Here(_)));
    let Received::Fresh { piece_complete, mut cancel } = p.received(peer, block) else {
        panic!("{block:?} was asked for")
    };
    cancel.sort_unstable();
    let mut others = others;
    others.sort_unstable();
    assert_eq!((piece_complete, cancel), (whole, others));
    assert_eq!(p.received(peer, block), Received::Duplicate);
}

/// What we do ourselves: check pieces, change our mind, find and lose data.
fn apply_own(op: &Op, model: &mut Model, p: &mut Picker) {
    let count = model.layout.count();
    match *op {
        Op::Check { passes } => {
            let whole = |piece: &u32| {
                model.blocks[*piece as usize].iter().all(|c| matches!(c, Cell::Here(_)))
            };
            let Some(piece) = model.pieces().find(whole) else { return };
            if passes {
                p.verified(PieceIndex(piece));
                model.have[piece as usize] = true;
                model.suspects.remove(&piece);
                model.deadlines.remove(&piece);
            } else {
                assert_eq!(p.failed(PieceIndex(piece)), []);
            }
            model.reset(piece);
        }
        Op::Priorities { seed, uniform } => {
            let mut rng = Rng::new(seed);
            let mut priorities: Vec<u8> =
                model.pieces().map(|_| rng.next_u64().to_le_bytes()[0] % 8).collect();
            if uniform {
                priorities.fill(1 + seed.to_le_bytes()[0] % 7);
            }
            p.set_priorities(&priorities);
            model.priority = priorities;
        }
        Op::Sequential(sequential) => {
            p.set_sequential(sequential);
            model.sequential = sequential;
        }
        Op::Deadline { piece, order } => {
            let piece = piece % count;
            p.set_deadline(PieceIndex(piece), order);
            model.deadlines.remove(&piece);
            if let Some(order) = order.filter(|_| !model.have[piece as usize]) {
                model.deadlines.insert(piece, order);
            }
        }
        Op::Suspect { piece } if !model.have[(piece % count) as usize] => {
            p.suspect(PieceIndex(piece % count));
            model.suspects.insert(piece % count);
        }
        Op::Restore { piece, blocks } => {
            let index = PieceIndex(piece % count);
            let blocks = some_of(model.layout.blocks_in(index), 50, blocks.into());
            let lacking = !model.have[index.as_usize()] && !model.begun(index.0);
            if lacking {
                let complete = p.restore_partial(index, &blocks);
                assert_eq!(complete, blocks.is_full());
                for block in blocks.iter() {
                    model.blocks[index.as_usize()][block.as_usize()] = Cell::Here(None);
                }
            }
        }
        Op::Lose { piece } if model.have[(piece % count) as usize] => {
            p.lost(PieceIndex(piece % count), model.peers.iter().map(|(_, has)| has));
            model.have[(piece % count) as usize] = false;
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn agrees_with_a_full_scan(
        pieces in 1u32..60,
        blocks in 1u32..5,
        tail in 0u32..BLOCK_LEN,
        had in prop_oneof![Just(0u64), 0u64..101],
        seed: u64,
        ops in prop::collection::vec(op(), 1..150),
    ) {
        let len = u64::from(pieces * blocks * BLOCK_LEN - tail);
        let layout = PieceLayout::contiguous(len, blocks * BLOCK_LEN);
        let have = some_of(layout.count(), had, seed);
        let mut model = Model::new(layout.clone(), &have);
        let mut picker = Picker::new(layout, &have, seed);
        for op in &ops {
            apply(op, &mut model, &mut picker);
            model.compare(&picker);
        }
    }
}
