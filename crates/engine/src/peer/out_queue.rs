//! What is to be written to a peer, in the order it goes out.
//!
//! ```text
//! rest of the block that is begun | control messages | blocks that are not begun
//! ```
//!
//! Control messages overtake blocks that are not begun, since a request that waits behind 100 KiB of upload costs
//! download; but whatever was begun is finished first. Invariant: at most one of the begun block and the control bytes
//! is partly sent.
//!
//! Blocks that are not begun still belong to the core, which may take them back at any time (choke, cancel). What is
//! here is a copy of the head of its queue with the payload, or a note that it is being read: [`OutQueue::plan`]
//! brings it up to date before each write.

use samara_disk::BlockBytes;
use samara_wire::id::BlockRef;
use samara_wire::peer::message::{Message, PIECE_HEADER_LEN, encode_piece_header};
use std::collections::VecDeque;
use std::io::IoSlice;

/// Slices given to one `writev`: the headers and payloads of sixteen blocks, what was begun, and control messages.
pub(super) const MAX_SLICES: usize = 36;

pub(crate) struct OutQueue {
    control: Vec<u8>,
    control_sent: usize,
    begun: Option<OutBlock>,
    /// Bytes of the begun block that are sent, header included.
    begun_sent: usize,
    /// What the core will have us send next.
    next: VecDeque<OutBlock>,
    /// Bytes of `next`, headers included.
    next_bytes: usize,
    /// Whether the core may have blocks to be served.
    pub(super) serving: bool,
    /// Whether the socket had no room when last tried.
    pub(super) blocked: bool,
    /// Whether blocks wait for the upload limit.
    pub(super) throttled: bool,
    /// Bytes that disk threads are reading for this peer, taken back or not.
    pub(super) reading: usize,
    /// The last block that disk threads were told of.
    pub(super) told_ahead: Option<BlockRef>,
}

struct OutBlock {
    block: BlockRef,
    header: [u8; PIECE_HEADER_LEN],
    /// `None` while it is being read.
    bytes: Option<BlockBytes>,
}

impl OutBlock {
    fn new(block: BlockRef) -> Self {
        Self { block, header: encode_piece_header(block), bytes: None }
    }

    const fn len(&self) -> usize {
        PIECE_HEADER_LEN + self.block.len as usize
    }
}

/// How far a block has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Its first byte is in the stream: it can no longer be taken back.
    Begun(BlockRef),
    /// All of it is in the stream.
    Served(BlockRef),
}

impl OutQueue {
    pub(super) fn new(greeting: &[u8]) -> Self {
        Self {
            control: greeting.to_vec(),
            control_sent: 0,
            begun: None,
            begun_sent: 0,
            next: VecDeque::new(),
            next_bytes: 0,
            serving: false,
            blocked: false,
            throttled: false,
            reading: 0,
            told_ahead: None,
        }
    }

    pub(super) fn push_message(&mut self, message: &Message) {
        message.encode(&mut self.control);
    }

    /// Makes what follows the begun block the head of `upcoming`: all that is here already and still in there, and
    /// more until `room` bytes wait. Gives the blocks that are new, to be read.
    pub(super) fn plan(
        &mut self,
        upcoming: impl Iterator<Item = BlockRef>,
        room: usize,
    ) -> Vec<BlockRef> {
        let (mut kept, mut bytes, mut new) = (0, self.begun_bytes(), Vec::new());
        for block in upcoming {
            // Both are in the same order; what lies between two that match was taken back.
            let found = self.next.range(kept..).position(|next| next.block == block);
            match found {
                Some(gone) => drop(self.next.drain(kept..kept + gone)),
                None => {
                    self.next.truncate(kept);
                    if bytes >= room {
                        break;
                    }
                    self.next.push_back(OutBlock::new(block));
                    new.push(block);
                }
            }
            bytes += self.next[kept].len();
            kept += 1;
        }
        self.next.truncate(kept);
        self.next_bytes = bytes - self.begun_bytes();
        new
    }

    /// Of the `bytes` that follow in `upcoming` what disk threads were not told of yet; nothing while they know of
    /// more than half.
    pub(super) fn read_ahead(
        &mut self,
        upcoming: impl Iterator<Item = BlockRef>,
        mut bytes: usize,
    ) -> Vec<BlockRef> {
        let within = |block: &BlockRef| {
            let fits = bytes >= block.len as usize;
            bytes = bytes.saturating_sub(block.len as usize);
            fits
        };
        let ahead: Vec<_> = upcoming.skip(self.next.len()).take_while(within).collect();
        let told = ahead.iter().position(|block| Some(*block) == self.told_ahead);
        let untold = &ahead[told.map_or(0, |at| at + 1)..];
        if !ahead.is_empty() && untold.len() <= ahead.len() / 2 {
            return Vec::new();
        }
        self.told_ahead = untold.last().copied();
        untold.to_vec()
    }

    /// Puts the bytes of a block where they are awaited. It may have been taken back meanwhile.
    pub(super) fn put(&mut self, block: BlockRef, bytes: BlockBytes) {
        let place = self.next.iter_mut().find(|next| next.block == block && next.bytes.is_none());
        if let Some(place) = place {
            place.bytes = Some(bytes);
        }
    }

    /// A disk thread has read a block, or failed to.
    pub(super) fn block_read(&mut self, block: BlockRef, bytes: Option<BlockBytes>) {
        self.reading = self.reading.saturating_sub(block.len as usize);
        if let Some(bytes) = bytes {
            self.put(block, bytes);
        }
    }

    fn begun_bytes(&self) -> usize {
        self.begun.as_ref().map_or(0, |begun| begun.len() - self.begun_sent)
    }

    /// Bytes that wait, be they here or being read.
    pub(super) fn pending_bytes(&self) -> usize {
        self.begun_bytes() + self.control_bytes() + self.next_bytes
    }

    /// Bytes of messages other than blocks that wait.
    pub(super) const fn control_bytes(&self) -> usize {
        self.control.len() - self.control_sent
    }

    /// Whether nothing can be written now.
    pub(super) fn is_idle(&self) -> bool {
        let ready = self.next.front().is_some_and(|next| next.bytes.is_some());
        self.begun.is_none() && self.control_bytes() == 0 && (self.throttled || !ready)
    }

    /// What is to be written next; returns the slices' number. While the upload limit holds, no block is begun.
    pub(super) fn slices<'a>(&'a self, to: &mut [IoSlice<'a>; MAX_SLICES]) -> usize {
        let mut count = 0;
        let mut put = |slice: &'a [u8]| {
            if !slice.is_empty() && count < MAX_SLICES {
                to[count] = IoSlice::new(slice);
                count += 1;
            }
        };
        if let Some(begun) = &self.begun {
            put(begun.header.get(self.begun_sent..).unwrap_or_default());
            let mut skip = self.begun_sent.saturating_sub(PIECE_HEADER_LEN);
            for part in begun.bytes.iter().flat_map(BlockBytes::parts) {
                put(part.get(skip..).unwrap_or_default());
                skip = skip.saturating_sub(part.len());
            }
        }
        put(&self.control[self.control_sent..]);
        let next = if self.throttled { 0 } else { self.next.len() };
        for block in self.next.range(..next) {
            let Some(bytes) = &block.bytes else { break };
            put(&block.header);
            bytes.parts().for_each(&mut put);
        }
        count
    }

    /// Notes that the first `n` bytes of [`OutQueue::slices`] are sent; `on_step` is told of each block how far it
    /// came.
    pub(super) fn advance(&mut self, mut n: usize, mut on_step: impl FnMut(Step)) {
        n = self.advance_begun(n, &mut on_step);
        let control = n.min(self.control_bytes());
        self.control_sent += control;
        n -= control;
        if self.control_sent == self.control.len() {
            self.control.clear();
            self.control_sent = 0;
        }
        while n > 0
            && let Some(next) = self.next.pop_front()
        {
            self.next_bytes -= next.len();
            on_step(Step::Begun(next.block));
            self.begun = Some(next);
            n = self.advance_begun(n, &mut on_step);
        }
        debug_assert_eq!(n, 0, "more was sent than there was");
    }

    /// Takes up to `n` bytes off the begun block; returns what is left of `n`.
    fn advance_begun(&mut self, n: usize, on_step: &mut impl FnMut(Step)) -> usize {
        let Some(begun) = &self.begun else { return n };
        let taken = n.min(begun.len() - self.begun_sent);
        self.begun_sent += taken;
        if self.begun_sent == begun.len() {
            on_step(Step::Served(begun.block));
            self.begun = None;
            self.begun_sent = 0;
        }
        n - taken
    }
}

#[cfg(test)]
mod tests;
