//! What has arrived: the stream in order, and packets beyond a gap.
//!
//! Invariant: bytes kept never exceed the capacity, and packets kept beyond a gap never span more than
//! [`ReceiveQueue::max_span`], so that what a peer can make us keep is bounded in bytes and in packets.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use samara_wire::utp::SeqNr;

/// Bytes of capacity for each packet that may be kept beyond a gap: few peers send packets that are shorter in bulk.
const BYTES_PER_PACKET: usize = 512;

/// Always allowed beyond a gap.
const MIN_SPAN: usize = 16;

/// Kept free by what is beyond a gap, in bytes: the packet that fills the gap has to fit in.
const RESERVE: usize = 2048;

/// What became of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arrival {
    /// It continued the stream.
    InOrder,
    /// It is beyond a gap, and kept.
    Ahead,
    /// It was here before.
    Duplicate,
    /// There is no room for it.
    Refused,
}

/// The receiving half of a connection.
#[derive(Debug)]
pub(crate) struct ReceiveQueue {
    /// In order, and not yet read.
    ready: VecDeque<u8>,
    /// The number that continues the stream.
    next: SeqNr,
    /// Packets from the one after `next` on.
    ahead: VecDeque<Option<Box<[u8]>>>,
    ahead_bytes: usize,
    capacity: usize,
    /// The number after which nothing comes.
    fin: Option<SeqNr>,
    /// All of the stream has been received.
    ended: bool,
}

impl ReceiveQueue {
    pub(crate) const fn new(next: SeqNr, capacity: usize) -> Self {
        Self {
            ready: VecDeque::new(),
            next,
            ahead: VecDeque::new(),
            ahead_bytes: 0,
            capacity,
            fin: None,
            ended: false,
        }
    }

    /// The last packet received in order.
    pub(crate) const fn ack(&self) -> SeqNr {
        self.next.minus(1)
    }

    /// Bytes that there is room for.
    pub(crate) fn window(&self) -> usize {
        self.capacity.saturating_sub(self.ready.len() + self.ahead_bytes)
    }

    pub(crate) const fn capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) const fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
    }

    /// Bytes that can be read.
    pub(crate) fn readable(&self) -> usize {
        self.ready.len()
    }

    /// Whether everything up to the peer's end of the stream has arrived.
    pub(crate) const fn is_ended(&self) -> bool {
        self.ended
    }

    /// Whether packets are missing.
    pub(crate) fn has_gap(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Of each packet from 2 behind [`ReceiveQueue::ack`] on, whether it is here.
    pub(crate) fn ahead(&self) -> impl Iterator<Item = bool> + '_ {
        self.ahead.iter().map(Option::is_some)
    }

    fn max_span(&self) -> usize {
        (self.capacity / BYTES_PER_PACKET).max(MIN_SPAN)
    }

    /// Takes a packet of the stream.
    pub(crate) fn insert(&mut self, seq: SeqNr, payload: &[u8]) -> Arrival {
        if self.fin.is_some_and(|fin| seq >= fin) {
            return if seq == self.ack() { Arrival::Duplicate } else { Arrival::Refused };
        }
        let Ok(behind) = usize::try_from(seq.since(self.next)) else { return Arrival::Duplicate };
        if behind == 0 {
            if payload.len() > self.window() {
                return Arrival::Refused;
            }
            self.ready.extend(payload);
            self.advance();
            return Arrival::InOrder;
        }
        let at = behind - 1;
        if at >= self.max_span() || payload.len() + RESERVE > self.window() {
            return Arrival::Refused;
        }
        if at >= self.ahead.len() {
            self.ahead.resize_with(at + 1, || None);
        }
        let place = &mut self.ahead[at];
        if place.is_some() {
            return Arrival::Duplicate;
        }
        *place = Some(payload.into());
        self.ahead_bytes += payload.len();
        Arrival::Ahead
    }

    /// Takes the end of the stream, which has a number of its own. Only the first counts.
    pub(crate) fn insert_fin(&mut self, seq: SeqNr) -> Arrival {
        if let Some(fin) = self.fin {
            return if fin == seq { Arrival::Duplicate } else { Arrival::Refused };
        }
        let Ok(behind) = usize::try_from(seq.since(self.next)) else { return Arrival::Refused };
        if behind > self.max_span() {
            return Arrival::Refused;
        }
        self.fin = Some(seq);
        // What is beyond the end was never part of the stream.
        self.ahead.truncate(behind.saturating_sub(1));
        self.ahead_bytes = self.ahead.iter().flatten().map(|payload| payload.len()).sum();
        self.check_end();
        if self.ended { Arrival::InOrder } else { Arrival::Ahead }
    }

    /// The packet that was missing is here: moves on to the next that is.
    fn advance(&mut self) {
        self.next = self.next.plus(1);
        while let Some(place) = self.ahead.pop_front() {
            let Some(payload) = place else { break };
            self.ahead_bytes -= payload.len();
            self.ready.extend(&payload[..]);
            self.next = self.next.plus(1);
        }
        self.check_end();
    }

    fn check_end(&mut self) {
        if !self.ended && self.fin == Some(self.next) {
            self.next = self.next.plus(1);
            self.ended = true;
        }
    }

    /// Moves bytes of the stream into `into`; returns how many.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> usize {
        let (first, second) = self.ready.as_slices();
        let one = first.len().min(into.len());
        into[..one].copy_from_slice(&first[..one]);
        let two = second.len().min(into.len() - one);
        into[one..one + two].copy_from_slice(&second[..two]);
        self.ready.drain(..one + two);
        one + two
    }

    /// Throws away what was not read, and gives memory back.
    pub(crate) fn discard(&mut self) {
        self.ready = VecDeque::new();
    }

    /// Gives back memory that is not in use.
    pub(crate) fn shrink(&mut self) {
        self.ready.shrink_to_fit();
        self.ahead.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    fn queue() -> ReceiveQueue {
        ReceiveQueue::new(SeqNr(0xfffe), 20_000)
    }

    fn read_all(queue: &mut ReceiveQueue) -> Vec<u8> {
        let mut bytes = vec![0; queue.readable()];
        assert_eq!(queue.read(&mut bytes), bytes.len());
        bytes
    }

    #[test]
    fn packets_are_put_in_order_over_the_wrap() {
        let mut queue = queue();
        assert_eq!(queue.insert(SeqNr(1), b"d"), Arrival::Ahead);
        assert_eq!(queue.insert(SeqNr(0xffff), b"b"), Arrival::Ahead);
        assert_eq!(queue.insert(SeqNr(0xffff), b"b"), Arrival::Duplicate);
        assert_eq!(queue.ahead().collect::<Vec<_>>(), [true, false, true]);
        assert_eq!((queue.ack(), queue.readable()), (SeqNr(0xfffd), 0));
        assert_eq!(queue.insert(SeqNr(0xfffe), b"a"), Arrival::InOrder);
        assert_eq!((queue.ack(), read_all(&mut queue)), (SeqNr(0xffff), b"ab".to_vec()));
        assert_eq!(queue.insert(SeqNr(0), b"c"), Arrival::InOrder);
        assert_eq!(read_all(&mut queue), b"cd");
        assert!(!queue.has_gap());
        assert_eq!((queue.window(), queue.insert(SeqNr(1), b"d")), (20_000, Arrival::Duplicate));
    }

    #[test]
    fn the_end_comes_when_all_before_it_is_here() {
        let mut queue = queue();
        assert_eq!(queue.insert_fin(SeqNr(1)), Arrival::Ahead);
        assert_eq!(queue.insert_fin(SeqNr(5)), Arrival::Refused);
        assert_eq!(queue.insert(SeqNr(2), b"x"), Arrival::Refused);
        for seq in [0, 0xffff] {
            assert_eq!(queue.insert(SeqNr(seq), b"x"), Arrival::Ahead);
            assert!(!queue.is_ended());
        }
        assert_eq!(queue.insert(SeqNr(0xfffe), b"x"), Arrival::InOrder);
        assert!(queue.is_ended());
        assert_eq!((queue.ack(), read_all(&mut queue)), (SeqNr(1), b"xxx".to_vec()));
        assert_eq!(queue.insert_fin(SeqNr(1)), Arrival::Duplicate);
    }

    #[test]
    fn bounds_hold_in_bytes_and_packets() {
        let mut queue = queue();
        let span = u16::try_from(queue.max_span()).unwrap();
        assert_eq!(queue.insert(SeqNr(0xffff).plus(span), b""), Arrival::Refused);
        assert_eq!(queue.insert(SeqNr(0xfffe).plus(span), b""), Arrival::Ahead);
        assert_eq!(queue.insert(SeqNr(5), &[0; 18_000]), Arrival::Refused);
        assert_eq!(queue.insert(SeqNr(5), &[0; 17_952]), Arrival::Ahead);
        // The gap can still be filled.
        assert_eq!(queue.insert(SeqNr(6), b"x"), Arrival::Refused);
        assert_eq!(queue.insert(SeqNr(0xfffe), &[0; 2049]), Arrival::Refused);
        assert_eq!(queue.insert(SeqNr(0xfffe), &[0; 2048]), Arrival::InOrder);
        assert_eq!(queue.window(), 0);
    }

    #[test]
    fn what_was_kept_beyond_the_end_is_forgotten() {
        let mut queue = queue();
        queue.insert(SeqNr(3), b"xyz");
        queue.insert(SeqNr(0xffff), b"b");
        assert_eq!(queue.insert_fin(SeqNr(0)), Arrival::Ahead);
        assert_eq!(queue.window(), 20_000 - 1);
        queue.insert(SeqNr(0xfffe), b"a");
        assert!(queue.is_ended());
    }
}
