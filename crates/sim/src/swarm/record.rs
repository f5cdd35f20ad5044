//! What is noted of a run while it goes on, for the figures.

use super::config::NodeId;
use super::conn::{Item, Stage};
use super::world::World;
use samara_wire::id::PieceIndex;

/// How pieces had spread among the honest leeches at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sample {
    /// Microseconds since the begin.
    pub at: u64,
    /// Copies of the rarest piece.
    pub rarest: u32,
    /// Copies of all pieces.
    pub copies: u64,
    /// Copies of the commonest piece.
    pub commonest: u32,
    /// Leeches that have everything.
    pub complete: u32,
    /// Payload bytes sent so far by honest nodes.
    pub sent: u64,
}

/// The raw figures of a run.
#[derive(Debug)]
pub(super) struct Record {
    /// In microseconds, as all times here.
    pub(super) begin: u64,
    /// With [`Record::honest_sent`] then.
    pub(super) ended: Option<(u64, u64)>,
    /// Copies of each piece among honest leeches.
    replicas: Vec<u32>,
    /// Pieces of which there is none yet.
    unreplicated: usize,
    pub(super) replicated_at: Option<u64>,
    /// Bytes that honest seeds sent until each piece had a copy.
    pub(super) seed_sent: u64,
    /// Bytes that honest nodes sent.
    pub(super) honest_sent: u64,
    /// Bytes that anybody sent, that arrived, and that were lost with their connection.
    pub(super) all_sent: u64,
    pub(super) delivered: u64,
    pub(super) dropped: u64,
    /// Honest leeches that have begun, that have a piece, and that have everything.
    pub(super) begun: u32,
    with_piece: u32,
    pub(super) complete: u32,
    /// When all of them had a piece, and when the first had everything; with [`Record::honest_sent`] then.
    pub(super) all_trade: Option<(u64, u64)>,
    pub(super) first_done: Option<(u64, u64)>,
    /// When half of them had everything, and how many bytes each free-rider had then.
    pub(super) half_done: Option<u64>,
    pub(super) riders: Vec<(NodeId, u64)>,
    pub(super) samples: Vec<Sample>,
}

impl Record {
    pub(super) fn new(begin: u64, pieces: u32) -> Self {
        Self {
            begin,
            ended: None,
            replicas: vec![0; pieces as usize],
            unreplicated: pieces as usize,
            replicated_at: None,
            seed_sent: 0,
            honest_sent: 0,
            all_sent: 0,
            delivered: 0,
            dropped: 0,
            begun: 0,
            with_piece: 0,
            complete: 0,
            all_trade: None,
            first_done: None,
            half_done: None,
            riders: Vec::new(),
            samples: Vec::new(),
        }
    }

    pub(super) const fn sent(&mut self, bytes: u64, honest: bool, seed: bool) {
        self.all_sent += bytes;
        if honest {
            self.honest_sent += bytes;
            if seed && self.unreplicated > 0 {
                self.seed_sent += bytes;
            }
        }
    }

    /// What was under way comes to nothing.
    pub(super) const fn drop_item(&mut self, item: &Item) {
        if let Item::Block { block, stage, .. } = item
            && !matches!(stage, Stage::Dripping { .. })
        {
            self.dropped += block.len as u64;
        }
    }

    /// A copy is gone.
    fn lost(&mut self, piece: PieceIndex) {
        let copies = &mut self.replicas[piece.as_usize()];
        *copies = copies.saturating_sub(1);
    }

    pub(super) fn end(&mut self, now: u64) {
        self.ended.get_or_insert((now, self.honest_sent));
    }

    pub(super) fn sample(&mut self, at: u64) {
        if self.ended.is_some() {
            return;
        }
        self.samples.push(Sample {
            at,
            rarest: self.replicas.iter().copied().min().unwrap_or(0),
            copies: self.replicas.iter().map(|&copies| u64::from(copies)).sum(),
            commonest: self.replicas.iter().copied().max().unwrap_or(0),
            complete: self.complete,
            sent: self.honest_sent,
        });
    }
}

impl World {
    fn is_honest_leech(&self, id: NodeId) -> bool {
        let node = &self.nodes[id.at()];
        node.is_honest() && !node.config.seed
    }

    pub(super) fn note_started(&mut self, id: NodeId) {
        if self.is_honest_leech(id) && self.nodes[id.at()].epoch == 0 {
            self.record.begun += 1;
        }
    }

    /// A piece was verified and written.
    pub(super) fn note_verified(&mut self, id: NodeId, piece: PieceIndex) {
        if !self.is_honest_leech(id) {
            return;
        }
        let (now, record) = (self.now, &mut self.record);
        let copies = &mut record.replicas[piece.as_usize()];
        *copies += 1;
        if *copies == 1 && record.unreplicated > 0 {
            record.unreplicated -= 1;
            if record.unreplicated == 0 {
                record.replicated_at = Some(now);
            }
        }
        if self.nodes[id.at()].first_piece_at.is_none() {
            self.nodes[id.at()].first_piece_at = Some(now);
            record.with_piece += 1;
            if record.with_piece == record.begun {
                record.all_trade = Some((now, record.honest_sent));
            }
        }
    }

    /// An honest leech has everything, for the first time.
    pub(super) fn note_completed(&mut self) {
        let record = &mut self.record;
        record.complete += 1;
        record.first_done.get_or_insert((self.now, record.honest_sent));
        if record.half_done.is_none() && record.complete * 2 >= record.begun {
            record.half_done = Some(self.now);
            let riders = self.nodes().filter(|(_, node)| !node.is_honest() && !node.config.seed);
            let riders = riders.map(|(id, node)| (id, node.ledger().verified)).collect();
            self.record.riders = riders;
        }
    }

    /// These pieces of a node are gone.
    pub(super) fn note_lost(&mut self, id: NodeId, pieces: impl Iterator<Item = PieceIndex>) {
        if self.is_honest_leech(id) {
            pieces.for_each(|piece| self.record.lost(piece));
        }
    }

    /// A node left with what it had.
    pub(super) fn note_left(&mut self, id: NodeId) {
        let had = self.nodes[id.at()].disk.written.clone();
        self.note_lost(id, had.iter());
    }
}
