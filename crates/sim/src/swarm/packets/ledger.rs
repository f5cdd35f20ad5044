//! Which blocks were written into which stream, held against what comes out of it at the other end.
//!
//! A stream gives what was put in, in that order, or ends: so each block that comes out must be the oldest one that is under way.

use samara_wire::id::BlockRef;
use std::collections::{BTreeMap, VecDeque};

/// A block that was written into a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Written {
    pub(super) block: BlockRef,
    pub(super) content: u64,
    /// It goes byte by byte, and was not counted as sent.
    pub(super) drips: bool,
}

#[derive(Debug, Default)]
struct Way {
    under_way: VecDeque<Written>,
    /// Its receiver is gone.
    deaf: bool,
}

/// By the name of the end that writes.
#[derive(Debug, Default)]
pub(super) struct BlockLedger {
    ways: BTreeMap<u32, Way>,
}

impl BlockLedger {
    /// A block goes into a stream. Whether anybody can ever read it.
    pub(super) fn written(&mut self, by: u32, written: Written) -> bool {
        let way = self.ways.entry(by).or_default();
        if !way.deaf {
            way.under_way.push_back(written);
        }
        !way.deaf
    }

    /// A block came out of the stream that `by` writes: what it should be.
    pub(super) fn arrived(&mut self, by: u32) -> Option<Written> {
        self.ways.get_mut(&by)?.under_way.pop_front()
    }

    /// Nobody reads any more what `by` writes. Bytes that come to nothing.
    pub(super) fn deafened(&mut self, by: u32) -> u64 {
        let way = self.ways.entry(by).or_default();
        way.deaf = true;
        bytes(&std::mem::take(&mut way.under_way))
    }

    /// Bytes that `by` has written and nobody has read.
    pub(super) fn waiting(&self, by: u32) -> u64 {
        self.ways.get(&by).map_or(0, |way| bytes(&way.under_way))
    }

    /// Bytes that are under way on all streams.
    pub(super) fn under_way(&self) -> u64 {
        self.ways.values().map(|way| bytes(&way.under_way)).sum()
    }
}

fn bytes(blocks: &VecDeque<Written>) -> u64 {
    blocks.iter().filter(|written| !written.drips).map(|written| u64::from(written.block.len)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use samara_wire::id::PieceIndex;

    fn written(piece: u32) -> Written {
        let block = BlockRef { piece: PieceIndex(piece), begin: 0, len: 100 };
        Written { block, content: 0, drips: piece == 9 }
    }

    #[test]
    fn blocks_come_out_in_order_and_go_with_their_reader() {
        let mut ledger = BlockLedger::default();
        assert!([1, 2, 9].into_iter().all(|piece| ledger.written(7, written(piece))));
        assert_eq!(ledger.under_way(), 200, "what drips was not sent yet");
        assert_eq!(ledger.arrived(7), Some(written(1)));
        assert_eq!((ledger.waiting(7), ledger.waiting(8), ledger.arrived(8)), (100, 0, None));
        assert_eq!(ledger.deafened(7), 100);
        assert!(!ledger.written(7, written(3)));
        assert_eq!(ledger.under_way(), 0);
    }
}
