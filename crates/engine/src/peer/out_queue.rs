//! What is to be written to a peer, in the order it goes out.
//!
//! Control messages overtake blocks that are queued, since a request that waits behind 100 KiB of upload
//! costs download; but whatever was begun is finished first. Invariant: at most one of the front block and
//! the control bytes is partly sent.

use super::Payload;
use samara_wire::id::BlockRef;
use samara_wire::peer::message::{Message, PIECE_HEADER_LEN, encode_piece_header};
use std::collections::VecDeque;
use std::io::IoSlice;

/// Slices given to one `writev`.
pub(super) const MAX_SLICES: usize = 32;

pub(crate) struct OutQueue {
    control: Vec<u8>,
    control_sent: usize,
    blocks: VecDeque<OutBlock>,
    /// Bytes of the front block that are sent, header included.
    block_sent: usize,
    /// Bytes of all blocks not yet sent.
    unsent: usize,
    /// Whether the core may have blocks to be served.
    pub(super) serving: bool,
    /// Whether the socket had no room when last tried.
    pub(super) blocked: bool,
    /// Whether blocks wait for the upload limit.
    pub(super) throttled: bool,
    /// Bytes being read from disk for this peer.
    pub(super) reading: usize,
}

struct OutBlock {
    block: BlockRef,
    header: [u8; PIECE_HEADER_LEN],
    payload: Payload,
}

impl OutBlock {
    fn len(&self) -> usize {
        PIECE_HEADER_LEN + self.payload.as_slice().len()
    }
}

impl OutQueue {
    pub(super) fn new(greeting: &[u8]) -> Self {
        Self {
            control: greeting.to_vec(),
            control_sent: 0,
            blocks: VecDeque::new(),
            block_sent: 0,
            unsent: 0,
            serving: false,
            blocked: false,
            throttled: false,
            reading: 0,
        }
    }

    pub(super) fn push_message(&mut self, message: &Message) {
        message.encode(&mut self.control);
    }

    pub(super) fn push_block(&mut self, block: BlockRef, payload: Payload) {
        let block = OutBlock { block, header: encode_piece_header(block), payload };
        self.unsent += block.len();
        self.blocks.push_back(block);
    }

    /// Bytes of blocks that wait, here or for the disk.
    pub(super) const fn pending_bytes(&self) -> usize {
        self.unsent + self.reading
    }

    /// Bytes of messages other than blocks that wait.
    pub(super) const fn control_bytes(&self) -> usize {
        self.control.len() - self.control_sent
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty() && self.control.len() == self.control_sent
    }

    /// What is to be written next; returns the slices' number.
    pub(super) fn slices<'a>(&'a self, to: &mut [IoSlice<'a>; MAX_SLICES]) -> usize {
        let mut count = 0;
        let mut put = |slice: &'a [u8]| {
            if !slice.is_empty() && count < MAX_SLICES {
                to[count] = IoSlice::new(slice);
                count += 1;
            }
        };
        let mut rest = self.blocks.iter();
        if self.block_sent > 0
            && let Some(front) = rest.next()
        {
            put(front.header.get(self.block_sent..).unwrap_or_default());
            put(&front.payload.as_slice()[self.block_sent.saturating_sub(PIECE_HEADER_LEN)..]);
        }
        put(&self.control[self.control_sent..]);
        for block in rest {
            put(&block.header);
            put(block.payload.as_slice());
        }
        count
    }

    /// Notes that the first `n` bytes of [`OutQueue::slices`] are sent; `served` is told each block that is
    /// now sent in full.
    pub(super) fn advance(&mut self, mut n: usize, mut served: impl FnMut(BlockRef)) {
        if self.block_sent > 0 {
            n = self.advance_block(n, &mut served);
        }
        let control = n.min(self.control.len() - self.control_sent);
        self.control_sent += control;
        n -= control;
        if self.control_sent == self.control.len() {
            self.control.clear();
            self.control_sent = 0;
        }
        while n > 0 && !self.blocks.is_empty() {
            n = self.advance_block(n, &mut served);
        }
        debug_assert_eq!(n, 0, "more was sent than there was");
    }

    /// Takes up to `n` bytes off the front block; returns what is left of `n`.
    fn advance_block(&mut self, n: usize, served: &mut impl FnMut(BlockRef)) -> usize {
        let Some(front) = self.blocks.front() else { return n };
        let taken = n.min(front.len() - self.block_sent);
        self.block_sent += taken;
        self.unsent -= taken;
        if self.block_sent == front.len() {
            served(front.block);
            self.blocks.pop_front();
            self.block_sent = 0;
        }
        n - taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use samara_wire::id::PieceIndex;

    fn block(n: u32, len: u32) -> (BlockRef, Payload) {
        let payload = vec![u8::try_from(n).unwrap(); len as usize];
        (BlockRef { piece: PieceIndex(n), begin: 0, len }, payload.into())
    }

    /// Sends `n` bytes at a time and gives the stream and the blocks in the order they were done.
    fn drain(queue: &mut OutQueue, n: usize, done: &mut Vec<u32>) -> Vec<u8> {
        let mut stream = Vec::new();
        while !queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let count = queue.slices(&mut slices);
            let bytes: Vec<u8> =
                slices[..count].iter().flat_map(|s| s.iter().copied()).take(n).collect();
            stream.extend(&bytes);
            queue.advance(bytes.len(), |block| done.push(block.piece.0));
        }
        stream
    }

    #[test]
    fn control_overtakes_what_is_not_begun() {
        for n in [1, 5, 13, 20, 100, 100_000] {
            let mut queue = OutQueue::new(b"");
            let mut done = Vec::new();
            let (first, payload) = block(1, 50);
            queue.push_block(first, payload);
            queue.advance(7, |_| unreachable!());
            let (second, payload) = block(2, 50);
            queue.push_block(second, payload);
            queue.push_message(&Message::Unchoke);
            let stream = drain(&mut queue, n, &mut done);
            let mut expected = encode_piece_header(first)[7..].to_vec();
            expected.extend([1; 50]);
            expected.extend([0, 0, 0, 1, 1]);
            expected.extend(encode_piece_header(second));
            expected.extend([2; 50]);
            assert_eq!(stream, expected, "{n} bytes at a time");
            assert_eq!((done, queue.pending_bytes()), (vec![1, 2], 0));
        }
    }

    #[test]
    fn a_control_message_that_is_begun_is_finished() {
        let mut queue = OutQueue::new(b"hello");
        queue.advance(2, |_| unreachable!());
        let (only, payload) = block(3, 4);
        queue.push_block(only, payload);
        let stream = drain(&mut queue, 2, &mut Vec::new());
        assert_eq!(&stream[..3], b"llo");
        assert_eq!(stream.len(), 3 + 13 + 4);
    }
}
