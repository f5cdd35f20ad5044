//! The picker beside a naive one: lists and full scans, compared after every step by all that the picker tells.
//!
//! The model knows who may be asked for which block; which of several good choices is made it leaves to the picker. (The picker's own
//! tests also compare its order of choice, with access to its inside.)

use crate::Script;
use samara_swarm::picker::{
    DEFAULT_PRIORITY, MAX_REQUESTERS, PickMode, PickOptions, Picker, Received,
};
use samara_swarm::torrent::PeerKey;
use samara_wire::bitfield::Bitfield;
use samara_wire::id::{BLOCK_LEN, BlockRef, PieceIndex};
use samara_wire::layout::PieceLayout;
use std::collections::BTreeSet;

/// A block in the model.
#[derive(Clone, PartialEq)]
enum Cell {
    Lacking,
    Asked(Vec<PeerKey>),
    Here,
}

struct World {
    picker: Picker,
    layout: PieceLayout,
    peers: Vec<(PeerKey, Bitfield)>,
    have: Vec<bool>,
    priority: Vec<u8>,
    blocks: Vec<Vec<Cell>>,
    /// Pieces that were reserved for one peer, or suspected: who else may be asked is the picker's to say.
    touchy: BTreeSet<u32>,
    next_slot: u32,
}

/// Reads `input` as a torrent and steps.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let mut world = World::new(&mut script);
    for _ in 0..200 {
        if script.is_done() {
            break;
        }
        world.step(&mut script);
        world.compare();
    }
}

impl World {
    fn new(script: &mut Script<'_>) -> Self {
        let [shape, had, tail] = script.array();
        let (pieces, blocks) = (u32::from(shape & 0xf) + 1, u32::from(shape >> 6) + 1);
        let len = u64::from(pieces * blocks * BLOCK_LEN - u32::from(tail));
        let layout = PieceLayout::contiguous(len, blocks * BLOCK_LEN);
        let mut have = Bitfield::empty(layout.count());
        for piece in layout.pieces().filter(|piece| had >> (piece.0 % 8) & 1 == 1) {
            have.insert(piece);
        }
        Self {
            picker: Picker::new(layout.clone(), &have, script.long()),
            peers: Vec::new(),
            have: layout.pieces().map(|piece| have.has(piece)).collect(),
            priority: layout.pieces().map(|_| DEFAULT_PRIORITY).collect(),
            blocks: layout
                .pieces()
                .map(|piece| vec![Cell::Lacking; layout.blocks_in(piece) as usize])
                .collect(),
            touchy: BTreeSet::new(),
            next_slot: 0,
            layout,
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.below(32) {
            0 | 1 => self.join(script),
            2 => {
                if let Some(at) = self.some(script) {
                    let (key, has) = self.peers.swap_remove(at);
                    self.picker.release_all(key);
                    self.picker.peer_left(&has);
                    self.release(key, |_| true);
                }
            }
            3..6 => self.tell(script),
            6..16 => self.pick(script),
            16..24 => self.receive(script),
            24 => {
                if let Some((key, block)) = self.some_asked(script) {
                    self.picker.release(key, block);
                    self.release(key, |other| *other == block);
                }
            }
            25 => {
                if let Some(at) = self.some(script) {
                    let key = self.peers[at].0;
                    self.picker.release_all(key);
                    self.release(key, |_| true);
                }
            }
            26 | 27 => self.check(script),
            28 => {
                let priorities: Vec<u8> = self.layout.pieces().map(|_| script.byte() & 7).collect();
                self.picker.set_priorities(&priorities);
                self.priority = priorities;
            }
            29 => self.whim(script),
            30 => self.restore(script),
            _ => {
                let piece = self.some_piece(script);
                if self.have[piece.as_usize()] {
                    self.picker.lost(piece, self.peers.iter().map(|(_, has)| has));
                    self.have[piece.as_usize()] = false;
                }
            }
        }
    }

    fn some(&self, script: &mut Script<'_>) -> Option<usize> {
        (!self.peers.is_empty()).then(|| script.below(self.peers.len()))
    }

    fn some_piece(&self, script: &mut Script<'_>) -> PieceIndex {
        PieceIndex(u32::from(script.byte()) % self.layout.count())
    }

    fn some_asked(&self, script: &mut Script<'_>) -> Option<(PeerKey, BlockRef)> {
        let asked: Vec<_> = self.all_asked().collect();
        (!asked.is_empty()).then(|| asked[script.below(asked.len())])
    }

    fn all_asked(&self) -> impl Iterator<Item = (PeerKey, BlockRef)> + '_ {
        self.layout.pieces().flat_map(move |piece| {
            let cells = (0..).zip(&self.blocks[piece.as_usize()]);
            cells.flat_map(move |(index, cell)| {
                let by = if let Cell::Asked(by) = cell { &by[..] } else { &[] };
                let block = self.layout.block(piece, index).expect("a block of the grid");
                by.iter().map(move |key| (*key, block))
            })
        })
    }

    fn cell(&mut self, block: &BlockRef) -> &mut Cell {
        let index = self.layout.block_index(block).expect("a block of the grid");
        &mut self.blocks[block.piece.as_usize()][index as usize]
    }

    fn wants(&self, piece: PieceIndex) -> bool {
        !self.have[piece.as_usize()] && self.priority[piece.as_usize()] > 0
    }

    fn release(&mut self, key: PeerKey, which: impl Fn(&BlockRef) -> bool) {
        let asked: Vec<_> = self.all_asked().filter(|(by, b)| *by == key && which(b)).collect();
        for (_, block) in asked {
            let cell = self.cell(&block);
            if let Cell::Asked(by) = cell {
                by.retain(|other| *other != key);
                if by.is_empty() {
                    *cell = Cell::Lacking;
                }
            }
        }
    }

    fn join(&mut self, script: &mut Script<'_>) {
        if self.peers.len() >= 6 {
            return;
        }
        let bits = script.byte();
        let mut has = Bitfield::empty(self.layout.count());
        for piece in self.layout.pieces().filter(|p| bits == 255 || bits >> (p.0 * 3 % 8) & 1 == 1)
        {
            has.insert(piece);
        }
        self.picker.peer_joined(&has);
        self.peers.push((PeerKey { slot: self.next_slot, generation: 0 }, has));
        self.next_slot += 1;
    }

    fn tell(&mut self, script: &mut Script<'_>) {
        let Some(at) = self.some(script) else { return };
        let piece = self.some_piece(script);
        let (_, has) = &mut self.peers[at];
        if has.insert(piece) {
            self.picker.peer_has(piece, has);
        }
    }

    fn pick(&mut self, script: &mut Script<'_>) {
        let Some(at) = self.some(script) else { return };
        let (key, has) = self.peers[at].clone();
        let [mode, how] = script.array();
        let listed: Vec<PieceIndex> = has.iter().step_by(2).collect();
        let mode = match mode & 7 {
            0 => PickMode::PartialOnly,
            1 => PickMode::Only(&listed),
            _ => PickMode::Any,
        };
        let options = PickOptions {
            mode,
            exclusive: how & 7 == 0,
            whole_pieces: how & 8 != 0,
            spread: how & 16 != 0,
            suggested: if how & 32 == 0 { &[] } else { &listed },
            stuck: u64::from(how >> 6),
        };
        let count = script.below(12) + 1;
        let mut out = Vec::new();
        self.picker.pick(key, &has, count, options, &mut out);
        assert!(out.len() <= count, "more than were wanted");
        let endgame = !self.free_blocks().any(|block| !out.contains(&block));
        for &block in &out {
            self.accept(key, &has, block, options, endgame);
        }
        if out.len() < count && options.mode == PickMode::Any && !options.exclusive {
            let more = self.free_blocks().find(|block| has.has(block.piece));
            assert_eq!(more, None, "there is more to be had");
        }
    }

    /// Lacking blocks of wanted pieces that nobody has to himself and somebody offers.
    fn free_blocks(&self) -> impl Iterator<Item = BlockRef> + '_ {
        let offered = |piece: &PieceIndex| self.peers.iter().any(|(_, has)| has.has(*piece));
        let pieces = self.layout.pieces().filter(move |p| self.wants(*p) && offered(p));
        pieces.filter(|piece| !self.touchy.contains(&piece.0)).flat_map(move |piece| {
            let cells = (0..).zip(&self.blocks[piece.as_usize()]);
            let lacking = cells.filter(|(_, cell)| **cell == Cell::Lacking);
            lacking.filter_map(move |(index, _)| self.layout.block(piece, index))
        })
    }

    fn accept(
        &mut self,
        key: PeerKey,
        has: &Bitfield,
        block: BlockRef,
        options: PickOptions<'_>,
        endgame: bool,
    ) {
        assert!(has.has(block.piece), "{block:?} of one who has it not");
        assert!(self.wants(block.piece), "{block:?} is not wanted");
        if let PickMode::Only(listed) = options.mode {
            assert!(listed.contains(&block.piece));
        }
        if options.exclusive {
            self.touchy.insert(block.piece.0);
        }
        match self.cell(&block) {
            cell @ Cell::Lacking => *cell = Cell::Asked(vec![key]),
            Cell::Here => panic!("{block:?} is here"),
            Cell::Asked(by) => {
                assert!(!by.contains(&key) && by.len() < MAX_REQUESTERS, "{block:?} again");
                by.push(key);
                assert!(endgame, "{block:?} of two before the end");
            }
        }
    }

    fn receive(&mut self, script: &mut Script<'_>) {
        let Some((key, block)) = self.some_asked(script) else { return };
        let cell = self.cell(&block);
        let Cell::Asked(by) = std::mem::replace(cell, Cell::Here) else { return };
        let whole = self.blocks[block.piece.as_usize()].iter().all(|cell| *cell == Cell::Here);
        let mut others: Vec<_> = by.into_iter().filter(|other| *other != key).collect();
        match self.picker.received(key, block) {
            Received::Fresh { piece_complete, mut cancel } => {
                cancel.sort_unstable();
                others.sort_unstable();
                assert_eq!((piece_complete, cancel), (whole, others));
            }
            other => panic!("{block:?} was asked for and is {other:?}"),
        }
        assert_eq!(self.picker.received(key, block), Received::Duplicate);
    }

    /// A whole piece is good, or not.
    fn check(&mut self, script: &mut Script<'_>) {
        let good = script.byte() < 200;
        let whole = |piece: &PieceIndex| {
            self.blocks[piece.as_usize()].iter().all(|cell| *cell == Cell::Here)
        };
        let Some(piece) = self.layout.pieces().find(whole) else { return };
        self.blocks[piece.as_usize()].fill(Cell::Lacking);
        if good {
            self.picker.verified(piece);
            self.have[piece.as_usize()] = true;
            self.touchy.remove(&piece.0);
        } else {
            assert_eq!(self.picker.failed(piece), []);
        }
    }

    fn whim(&mut self, script: &mut Script<'_>) {
        let piece = self.some_piece(script);
        match script.below(3) {
            0 => self.picker.set_sequential(script.flag()),
            1 => self.picker.set_deadline(piece, script.flag().then(|| script.byte().into())),
            _ => {
                if !self.have[piece.as_usize()] {
                    self.picker.suspect(piece);
                    self.touchy.insert(piece.0);
                }
            }
        }
    }

    fn restore(&mut self, script: &mut Script<'_>) {
        let piece = self.some_piece(script);
        let bits = script.byte();
        let cells = &mut self.blocks[piece.as_usize()];
        if self.have[piece.as_usize()] || cells.iter().any(|cell| *cell != Cell::Lacking) {
            return;
        }
        let mut found = Bitfield::empty(self.layout.blocks_in(piece));
        for index in (0..found.len()).filter(|index| bits >> (index % 8) & 1 == 1) {
            found.insert(PieceIndex(index));
            cells[index as usize] = Cell::Here;
        }
        assert_eq!(self.picker.restore_partial(piece, &found), found.is_full());
    }

    /// All that the picker tells is what the model says.
    fn compare(&self) {
        let complete = self.have.iter().all(|had| *had);
        let wanted = || self.layout.pieces().filter(|piece| self.wants(*piece));
        assert_eq!(self.picker.wanted_left() as usize, wanted().count());
        let bytes: u64 = wanted().map(|piece| u64::from(self.layout.len_of(piece))).sum();
        assert_eq!(self.picker.wanted_bytes_left(), bytes);
        for (_, has) in &self.peers {
            assert_eq!(self.picker.wants_any_of(has), wanted().any(|piece| has.has(piece)));
        }
        for piece in self.layout.pieces() {
            let copies = self.peers.iter().filter(|(_, has)| has.has(piece)).count();
            assert!(complete || self.picker.availability(piece) as usize == copies);
            assert_eq!(self.picker.wants(piece), self.wants(piece));
            let (mut here, cells) = (Vec::new(), &self.blocks[piece.as_usize()]);
            let begun = cells.iter().any(|cell| *cell != Cell::Lacking);
            for (index, cell) in (0..).zip(cells) {
                let block = self.layout.block(piece, index).expect("a block of the grid");
                let mut asked: Vec<_> = self.picker.requesters(&block).collect();
                let mut by = if let Cell::Asked(by) = cell { by.clone() } else { Vec::new() };
                asked.sort_unstable();
                by.sort_unstable();
                assert_eq!(asked, by, "requesters of {block:?}");
                let lacking = *cell != Cell::Here && !self.have[piece.as_usize()];
                let needed = lacking && (self.wants(piece) || begun);
                assert_eq!(self.picker.needs(&block), needed, "{block:?}");
                if *cell == Cell::Here {
                    here.push(block);
                }
            }
            let told: Vec<_> = self.picker.blocks_from(piece).map(|(block, _)| block).collect();
            assert_eq!(told, here);
        }
    }
}
