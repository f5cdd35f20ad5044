//! A piece that was begun: which blocks came, which are asked for, of whom.

use crate::torrent::PeerKey;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// State of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Block {
    /// Neither here nor asked for.
    Open,
    /// Asked of this peer, and perhaps of those in `Partial::extra`. `at` counts requests, for age.
    Requested { by: PeerKey, at: u32 },
    /// This peer sent it.
    Received { from: PeerKey },
    /// It was here when we started.
    Restored,
}

#[derive(Debug)]
pub(super) struct Partial {
    pub(super) blocks: Box<[Block]>,
    /// Blocks that are neither here nor asked for.
    pub(super) open: u32,
    /// Blocks that are asked for.
    pub(super) requested: u32,
    /// No block below is open.
    first_open: u32,
    /// In endgame: who else was asked for which block.
    extra: Vec<(u32, PeerKey)>,
    /// While set, only this peer is asked for blocks.
    pub(super) owner: Option<PeerKey>,
    /// The peer that was asked for a block last.
    pub(super) leader: Option<PeerKey>,
}

/// What a request given back leaves behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Released {
    /// The peer had not been asked.
    NotAsked,
    /// The block is still asked of another.
    StillRequested,
    /// The block is open again.
    Opened,
}

impl Partial {
    pub(super) fn new(blocks: u32) -> Self {
        Self {
            blocks: vec![Block::Open; blocks as usize].into_boxed_slice(),
            open: blocks,
            requested: 0,
            first_open: 0,
            extra: Vec::new(),
            owner: None,
            leader: None,
        }
    }

    /// Blocks that are here.
    pub(super) fn received(&self) -> u32 {
        self.len() - self.open - self.requested
    }

    pub(super) fn is_complete(&self) -> bool {
        self.open == 0 && self.requested == 0
    }

    /// Whether nothing is here and nothing asked for.
    pub(super) fn is_untouched(&self) -> bool {
        self.open == self.len()
    }

    /// Asks `peer` for the first open block.
    pub(super) fn request_next(&mut self, peer: PeerKey, at: u32) -> Option<u32> {
        if self.open == 0 {
            return None;
        }
        let from = self.first_open as usize;
        let offset = self.blocks[from..].iter().position(|&b| b == Block::Open)?;
        let index = self.first_open + u32::try_from(offset).ok()?;
        self.blocks[index as usize] = Block::Requested { by: peer, at };
        self.first_open = index + 1;
        self.open -= 1;
        self.requested += 1;
        self.leader = Some(peer);
        Some(index)
    }

    /// Asks one more peer for a block that is asked for.
    pub(super) fn request_also(&mut self, index: u32, peer: PeerKey) {
        self.extra.push((index, peer));
    }

    /// The peers that a block is asked of.
    pub(super) fn requesters(&self, index: u32) -> impl Iterator<Item = PeerKey> + '_ {
        let (by, extra) = match self.blocks.get(index as usize) {
            Some(&Block::Requested { by, .. }) => (Some(by), &self.extra[..]),
            _ => (None, &[][..]),
        };
        by.into_iter().chain(extra.iter().filter(move |e| e.0 == index).map(|e| e.1))
    }

    /// Takes `peer`'s request for a block back.
    pub(super) fn release(&mut self, index: u32, peer: PeerKey) -> Released {
        let Some(block) = self.blocks.get_mut(index as usize) else { return Released::NotAsked };
        let Block::Requested { by, at } = *block else { return Released::NotAsked };
        let heir = self.extra.iter().position(|e| e.0 == index && (by == peer || e.1 == peer));
        if let Some(heir) = heir {
            let (_, next) = self.extra.swap_remove(heir);
            if by == peer {
                *block = Block::Requested { by: next, at };
            }
            return Released::StillRequested;
        }
        if by != peer {
            return Released::NotAsked;
        }
        *block = Block::Open;
        self.first_open = self.first_open.min(index);
        self.open += 1;
        self.requested -= 1;
        if self.requested == 0 && self.owner == Some(peer) {
            self.owner = None;
        }
        Released::Opened
    }

    /// Marks a block as here. Answers the peers that it is still asked of, `from` left out, or `None` if it was
    /// here before.
    pub(super) fn receive(&mut self, index: u32, from: PeerKey) -> Option<Vec<PeerKey>> {
        let others = self.requesters(index).filter(|&peer| peer != from).collect();
        self.settle(index, Block::Received { from })?;
        self.extra.retain(|e| e.0 != index);
        Some(others)
    }

    /// Marks a block as found on disk. `None` if it was here before.
    pub(super) fn restore(&mut self, index: u32) -> Option<()> {
        self.settle(index, Block::Restored)
    }

    /// Requests made in endgame beyond one for each block.
    pub(super) fn extras(&self) -> usize {
        self.extra.len()
    }

    /// Whether every block that is here or asked for is `peer`'s alone.
    pub(super) fn is_only_from(&self, peer: PeerKey) -> bool {
        self.extra.is_empty()
            && self.blocks.iter().all(|&block| match block {
                Block::Open => true,
                Block::Requested { by, .. } => by == peer,
                Block::Received { from } => from == peer,
                Block::Restored => false,
            })
    }

    fn settle(&mut self, index: u32, state: Block) -> Option<()> {
        let block = self.blocks.get_mut(index as usize)?;
        match *block {
            Block::Open => self.open -= 1,
            Block::Requested { .. } => self.requested -= 1,
            Block::Received { .. } | Block::Restored => return None,
        }
        *block = state;
        Some(())
    }

    fn len(&self) -> u32 {
        u32::try_from(self.blocks.len()).unwrap_or(u32::MAX)
    }
}
