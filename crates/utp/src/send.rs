//! What is to be sent, and what was sent and is not acknowledged yet.
//!
//! Bytes are put into packets when they are written, and stay where they are: the memory of a [`Chunk`] holds packets one
//! after another, each with room for its header in front.
//!
//! ```text
//! [header][payload][header][payload][header][payload] ...
//! ```
//!
//! So a packet is sent, and sent again, straight from here, and full packets that follow each other are sent as one piece
//! of memory (which systems can cut into datagrams by themselves). Packets have consecutive numbers. In uTP a packet that was sent once
//! keeps its number and its bytes for ever; one that was not may still be filled up.
//!
//! What is lost is found by the order of sending (as in QUIC, RFC 9002): each transmission has a number of its own in that order,
//! and a packet is lost if one that was sent three transmissions later has arrived. That holds for packets sent again
//! as well, and a packet that comes late by less is not taken for lost. Where packets overtake each other by more, that is found out: what
//! was taken for lost and arrives before it was sent again, or sooner after that than any round trip, was late. From then on as much
//! lateness is borne, up to [`MAX_TOLERANCE`], until nothing is heard for long.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use samara_wire::time::{Duration, Instant};
use samara_wire::utp::{HEADER_LEN, Header, SeqNr};

/// Memory of a chunk at most, in bytes: what one system call can take.
const CHUNK: usize = 65_000;

/// A chunk that takes this much is full for packets of any length.
const FULL_CHUNK: usize = CHUNK - MAX_STRIDE;

/// The longest packet that a chunk is made for.
const MAX_STRIDE: usize = 1500;

/// Chunks that are kept for the next ones at most.
const MAX_SPARES: usize = 8;

/// Packets' worth of bytes on their way or waiting that make a transfer of what else would be a message.
const BULK: usize = 4;

/// A packet is lost if one that was sent this many transmissions later has arrived (BEP 29: three), as long as none was found to
/// come later than that.
const REORDERING: u64 = 3;

/// More transmissions than this nobody overtakes: what is lost must be found out in time.
const MAX_TOLERANCE: u64 = 256;

/// Where a packet is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Not sent yet.
    Waiting,
    /// Sent, and not known to have arrived.
    InFlight,
    /// To be sent again.
    Lost,
    /// Arrived, but one before it did not.
    Arrived,
}

#[derive(Debug)]
struct Outgoing {
    /// Which chunk, counted from the first there ever was.
    chunk: u64,
    /// Where in it the header begins.
    at: usize,
    /// Bytes of payload.
    len: usize,
    /// The end of the stream, which carries none.
    fin: bool,
    /// Sent with padding, to find out whether that length gets through.
    probe: bool,
    state: State,
    /// Number of its last transmission among all, and of the one before that.
    order: u64,
    order_before: u64,
    sent_at: Instant,
    transmissions: u32,
}

/// Memory that holds packets one after another.
#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    /// Payload of its packets, but for those that were sent before they were full.
    payload: usize,
    /// Bytes at most.
    limit: usize,
}

/// Packets to be sent as one piece: those from `first` on, `count` of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Batch {
    first: usize,
    pub(crate) count: usize,
    /// Payload in all.
    pub(crate) bytes: usize,
}

/// What an acknowledgement did.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Progress {
    /// Bytes of payload that are known to have arrived now.
    pub(crate) bytes: u32,
    /// Packets that are.
    pub(crate) packets: u32,
    /// When the last of those was sent that were sent once only.
    pub(crate) sent_at: Option<Instant>,
    /// The packet that was longer than usual got through.
    pub(crate) probe: bool,
    /// Packets that were late where they were taken for lost.
    pub(crate) late: u32,
}

/// What was found lost.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Losses {
    /// The highest number of transmission among packets whose loss tells of congestion.
    pub(crate) newest: Option<u64>,
    /// How many of them there are.
    pub(crate) count: u32,
    /// The packet that was longer than usual is lost.
    pub(crate) probe: bool,
}

/// The sending half of a connection.
#[derive(Debug)]
pub(crate) struct SendQueue {
    chunks: VecDeque<Chunk>,
    /// Memory of full chunks that were done with, for the next ones: the allocator would give it back to the system each time.
    spares: Vec<Vec<u8>>,
    /// Number of the first chunk in `chunks`.
    first_chunk: u64,
    packets: VecDeque<Outgoing>,
    /// Number of the first packet in `packets`.
    first: SeqNr,
    /// Of `packets`, those that were sent at least once.
    sent: usize,
    /// Payload of packets in flight.
    in_flight: usize,
    packets_in_flight: usize,
    /// Payload not sent yet.
    waiting: usize,
    /// Packets to be sent again; none before `lost_from`.
    lost: usize,
    lost_from: usize,
    /// Packets that arrived beyond one that did not.
    arrived: usize,
    next_order: u64,
    /// Transmissions that were taken for lost.
    losses: u64,
    /// The latest transmission that is known to have arrived.
    newest_arrived: Option<u64>,
    /// A packet is lost if one that was sent this many transmissions later has arrived.
    tolerance: u64,
    finished: bool,
}

impl SendQueue {
    /// A queue whose first packet has the number `first`.
    pub(crate) const fn new(first: SeqNr) -> Self {
        Self {
            chunks: VecDeque::new(),
            spares: Vec::new(),
            first_chunk: 0,
            packets: VecDeque::new(),
            first,
            sent: 0,
            in_flight: 0,
            packets_in_flight: 0,
            waiting: 0,
            lost: 0,
            lost_from: 0,
            arrived: 0,
            next_order: 0,
            losses: 0,
            newest_arrived: None,
            tolerance: REORDERING,
            finished: false,
        }
    }

    /// Number of the oldest packet that is not acknowledged.
    pub(crate) const fn oldest(&self) -> SeqNr {
        self.first
    }

    /// Number of the next packet that is sent for the first time.
    pub(crate) fn next(&self) -> SeqNr {
        self.first.plus(u16::try_from(self.sent).unwrap_or(u16::MAX))
    }

    /// Payload in flight.
    pub(crate) const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Payload not sent yet.
    pub(crate) const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether a packet is in flight.
    pub(crate) const fn is_in_flight(&self) -> bool {
        self.packets_in_flight > 0
    }

    /// Packets from the oldest that is not acknowledged to the last that was sent.
    pub(crate) const fn span(&self) -> usize {
        self.sent
    }

    /// Whether all that was written, and the end if there is one, is acknowledged.
    pub(crate) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Whether there are packets that were not sent yet.
    pub(crate) fn has_waiting(&self) -> bool {
        self.sent < self.packets.len()
    }

    /// Whether there are packets to be sent again.
    pub(crate) const fn has_lost(&self) -> bool {
        self.lost > 0
    }

    /// Whether the end of the stream has been put in.
    pub(crate) const fn is_finished(&self) -> bool {
        self.finished
    }

    /// How often the oldest packet was sent.
    pub(crate) fn transmissions_of_oldest(&self) -> u32 {
        self.packets.front().map_or(0, |packet| packet.transmissions)
    }

    /// The number of the next transmission, and so of all that there were.
    pub(crate) const fn next_order(&self) -> u64 {
        self.next_order
    }

    /// Transmissions that were taken for lost.
    pub(crate) const fn losses(&self) -> u64 {
        self.losses
    }

    /// Appends bytes of the stream, in packets of `payload` bytes.
    pub(crate) fn write(&mut self, mut bytes: &[u8], payload: usize) {
        debug_assert!(!self.finished, "nothing follows the end");
        self.waiting += bytes.len();
        if self.has_waiting()
            && let (Some(last), Some(chunk)) = (self.packets.back_mut(), self.chunks.back_mut())
        {
            let (now, rest) = bytes.split_at((chunk.payload - last.len).min(bytes.len()));
            chunk.bytes.extend_from_slice(now);
            last.len += now.len();
            bytes = rest;
        }
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(payload.min(bytes.len()));
            self.push(now, payload, bytes.len(), false);
            bytes = rest;
        }
    }

    /// Appends the end of the stream.
    pub(crate) fn finish(&mut self) {
        if !self.finished {
            self.finished = true;
            self.push(&[], 0, 0, true);
        }
    }

    /// Appends a packet. `expected` bytes of payload are about to come, this packet's included.
    fn push(&mut self, bytes: &[u8], payload: usize, expected: usize, fin: bool) {
        let stride = HEADER_LEN + payload;
        let fits =
            |chunk: &Chunk| chunk.payload == payload && chunk.bytes.len() + stride <= chunk.limit;
        if !self.chunks.back().is_some_and(fits) {
            // More will come where there is much already, and the longer the piece the fewer calls of the system.
            let most = (CHUNK / stride).max(1);
            let is_bulk = !fin && self.waiting + self.in_flight > BULK * payload;
            let count =
                if is_bulk { most } else { expected.div_ceil(payload.max(1)).clamp(1, most) };
            let limit = count * stride;
            let spare = if count == most { self.spares.pop() } else { None };
            let bytes = spare.unwrap_or_else(|| Vec::with_capacity(limit));
            self.chunks.push_back(Chunk { bytes, payload, limit });
        }
        let chunk = self.first_chunk + self.chunks.len() as u64 - 1;
        let Some(Chunk { bytes: memory, .. }) = self.chunks.back_mut() else { return };
        let at = memory.len();
        memory.extend_from_slice(&[0; HEADER_LEN]);
        memory.extend_from_slice(bytes);
        self.packets.push_back(Outgoing {
            chunk,
            at,
            len: bytes.len(),
            fin,
            probe: false,
            state: State::Waiting,
            order: 0,
            order_before: 0,
            sent_at: Instant::ZERO,
            transmissions: 0,
        });
    }

    /// The packets to be sent again next, as many as follow each other and have no more than `bytes` of payload in all, but
    /// at least one.
    pub(crate) fn next_lost(&mut self, bytes: usize, max: usize) -> Option<Batch> {
        if self.lost == 0 {
            return None;
        }
        let from = self.lost_from;
        let found = self.packets.range(from..self.sent).position(|p| p.state == State::Lost)?;
        self.lost_from = from + found;
        Some(self.batch(self.lost_from, bytes, max))
    }

    /// The packets to be sent for the first time next, as many as follow each other and have no more than `bytes` of payload
    /// in all, but at least one.
    pub(crate) fn next_waiting(&self, bytes: usize, max: usize) -> Option<Batch> {
        self.has_waiting().then(|| self.batch(self.sent, bytes, max))
    }

    /// The payload of the next packet that was not sent yet.
    pub(crate) fn next_len(&self) -> Option<usize> {
        self.packets.get(self.sent).map(|packet| packet.len)
    }

    /// Packets like the one at `first` that follow it in memory, all as long as it, but for the last that may be shorter.
    fn batch(&self, first: usize, bytes: usize, max: usize) -> Batch {
        let head = &self.packets[first];
        let mut batch = Batch { first, count: 1, bytes: head.len };
        let mut end = head.at + HEADER_LEN + head.len;
        for packet in self.packets.range(first + 1..).take(max.saturating_sub(1)) {
            let follows = packet.chunk == head.chunk && packet.at == end && !packet.fin;
            let alike = packet.state == head.state && packet.len <= head.len;
            if !follows || !alike || batch.bytes + packet.len > bytes {
                break;
            }
            batch.count += 1;
            batch.bytes += packet.len;
            end += HEADER_LEN + packet.len;
            if packet.len < head.len {
                break;
            }
        }
        batch
    }

    /// Notes that the packets of `batch` are sent now, and writes their headers; `header` is told the number and whether
    /// it is the end of the stream.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        batch: Batch,
        header: impl Fn(SeqNr, bool) -> Header,
    ) {
        for at in batch.first..batch.first + batch.count {
            let seq = self.first.plus(u16::try_from(at).unwrap_or(u16::MAX));
            let packet = &mut self.packets[at];
            match packet.state {
                State::Waiting => {
                    self.sent = at + 1;
                    self.waiting -= packet.len;
                }
                State::Lost => self.lost -= 1,
                State::InFlight | State::Arrived => debug_assert!(false, "sent for no reason"),
            }
            packet.state = State::InFlight;
            packet.order_before = packet.order;
            packet.order = self.next_order;
            packet.sent_at = now;
            packet.transmissions += 1;
            self.next_order += 1;
            self.in_flight += packet.len;
            self.packets_in_flight += 1;
            let (chunk, begin, fin) = (packet.chunk, packet.at, packet.fin);
            let index = index(chunk, self.first_chunk);
            self.chunks[index].bytes[begin..begin + HEADER_LEN]
                .copy_from_slice(&header(seq, fin).encode());
        }
    }

    /// Marks the only packet of `batch` as one whose length is being tried.
    pub(crate) fn mark_probe(&mut self, batch: Batch) {
        self.packets[batch.first].probe = true;
    }

    /// The packets of `batch` as they are to be sent, and the length of each but perhaps the last.
    pub(crate) fn contents(&self, batch: Batch) -> (&[u8], usize) {
        let head = &self.packets[batch.first];
        let len = batch.bytes + batch.count * HEADER_LEN;
        let bytes = &self.chunks[index(head.chunk, self.first_chunk)].bytes;
        (&bytes[head.at..head.at + len], HEADER_LEN + head.len)
    }

    /// All up to `ack` has arrived, and of the packets behind it those that `beyond` tells, in rising order. Nothing is
    /// acknowledged sooner than `soonest` after it was sent: of what seems so, an earlier transmission was.
    pub(crate) fn acknowledge(
        &mut self,
        now: Instant,
        soonest: Duration,
        ack: SeqNr,
        beyond: impl Iterator<Item = u16>,
    ) -> Progress {
        let mut progress = Progress::default();
        let through = usize::try_from(ack.since(self.first) + 1).unwrap_or(0).min(self.sent);
        for _ in 0..through {
            self.on_arrived(0, now, soonest, &mut progress);
            self.pop();
        }
        // A number behind `ack` is the place in the queue plus 1, now that the queue begins behind `ack`.
        if ack == self.first.minus(1) {
            for behind in beyond {
                let at = usize::from(behind) - 1;
                if at >= self.sent {
                    break;
                }
                self.on_arrived(at, now, soonest, &mut progress);
            }
        }
        progress
    }

    fn on_arrived(&mut self, at: usize, now: Instant, soonest: Duration, progress: &mut Progress) {
        let packet = &mut self.packets[at];
        let late = match packet.state {
            State::Lost => Some(packet.order),
            State::InFlight if packet.transmissions > 1 && now - packet.sent_at < soonest => {
                Some(packet.order_before)
            }
            _ => None,
        };
        if let (Some(order), Some(newest)) = (late, self.newest_arrived) {
            progress.late += 1;
            let by = newest.saturating_sub(order) + 1;
            self.tolerance = self.tolerance.max(by).min(MAX_TOLERANCE);
        }
        match packet.state {
            State::InFlight => {
                self.in_flight -= packet.len;
                self.packets_in_flight -= 1;
            }
            State::Lost => self.lost -= 1,
            State::Arrived | State::Waiting => return,
        }
        packet.state = State::Arrived;
        self.arrived += 1;
        progress.bytes += u32::try_from(packet.len).unwrap_or(u32::MAX);
        progress.packets += 1;
        progress.probe |= packet.probe;
        if packet.transmissions == 1 {
            // Of a packet that was sent more than once nobody knows which of them it was.
            self.newest_arrived = self.newest_arrived.max(Some(packet.order));
            progress.sent_at = progress.sent_at.max(Some(packet.sent_at));
        }
    }

    /// Forgets the oldest packet, which has arrived.
    fn pop(&mut self) {
        self.packets.pop_front();
        self.first = self.first.plus(1);
        self.sent -= 1;
        self.arrived -= 1;
        self.lost_from = self.lost_from.saturating_sub(1);
        // Without packets, all chunks are done with.
        let oldest = self.packets.front().map_or(u64::MAX, |packet| packet.chunk);
        while self.first_chunk < oldest
            && let Some(Chunk { mut bytes, .. }) = self.chunks.pop_front()
        {
            self.first_chunk += 1;
            if bytes.capacity() >= FULL_CHUNK && self.spares.len() < MAX_SPARES {
                bytes.clear();
                self.spares.push(bytes);
            }
        }
    }

    /// Gives back memory that is not in use.
    pub(crate) fn shrink(&mut self) {
        self.spares = Vec::new();
    }

    /// How many transmissions later a packet must have been sent whose arrival says that one is lost. Where few are on their way it is
    /// less than what was found, as else nothing would be said of the last ones.
    pub(crate) fn tolerance(&self) -> u64 {
        self.tolerance.min(self.sent as u64 * 3 / 4).max(REORDERING)
    }

    /// Finds what is lost by what arrived although it was sent later.
    pub(crate) fn find_lost(&mut self) -> Losses {
        let mut losses = Losses::default();
        let Some(newest) = self.newest_arrived else { return losses };
        let mut left = self.arrived;
        let tolerance = self.tolerance();
        for at in 0..self.sent {
            if left == 0 {
                break;
            }
            match self.packets[at].state {
                State::Arrived => left -= 1,
                State::InFlight if self.packets[at].order + tolerance <= newest => {
                    self.on_lost(at, &mut losses);
                }
                _ => {}
            }
        }
        losses
    }

    /// The oldest packet is lost, as repeated acknowledgements say.
    pub(crate) fn lose_oldest(&mut self) -> Losses {
        let mut losses = Losses::default();
        if self.packets.front().is_some_and(|packet| packet.state == State::InFlight) {
            self.on_lost(0, &mut losses);
        }
        losses
    }

    /// All that is in flight is lost, as nothing was heard for long.
    pub(crate) fn lose_all(&mut self) -> Losses {
        let mut losses = Losses::default();
        self.tolerance = REORDERING;
        for at in 0..self.sent {
            if self.packets[at].state == State::InFlight {
                self.on_lost(at, &mut losses);
            }
        }
        losses
    }

    fn on_lost(&mut self, at: usize, losses: &mut Losses) {
        let packet = &mut self.packets[at];
        packet.state = State::Lost;
        self.losses += 1;
        self.in_flight -= packet.len;
        self.packets_in_flight -= 1;
        self.lost += 1;
        self.lost_from = self.lost_from.min(at);
        if packet.probe {
            packet.probe = false;
            losses.probe = true;
        } else {
            losses.count += 1;
            losses.newest = losses.newest.max(Some(packet.order));
        }
    }
}

/// The place of a chunk among those that are left.
fn index(chunk: u64, first: u64) -> usize {
    usize::try_from(chunk - first).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
