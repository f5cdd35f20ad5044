//! What goes to the peer.
//!
//! In this order: what was lost, what was written, and an acknowledgement if none of them carried it. Packets of the stream
//! carry no selective acknowledgement, as they stand in memory without room for it; where there is a gap, it goes in a
//! packet of its own.

use super::input::clock;
use super::{Connection, State};
use crate::congestion::MIN_PACKETS;
use crate::send::Batch;
use samara_wire::time::Instant;
use samara_wire::utp::{
    HEADER_LEN, Header, MAX_SACK_LEN, PacketType, SeqNr, encode_padded, encode_with_sack,
};

/// Bytes that a peer keeps for each packet beyond a gap: it drops what is further away than its window holds of these
/// (libtorrent). And always at least so many packets.
const PEER_BYTES_PER_PACKET: usize = 1100;
const PEER_MIN_SPAN: usize = 16;

/// Packets not yet acknowledged at most: a quarter of a turn of their numbers.
const MAX_SPAN: usize = 1 << 14;

/// A packet that tries a length is sent between others, by which its loss is found out.
const PROBE_COMPANY: usize = 3;

/// What is to be sent.
pub(crate) enum Output {
    /// So many bytes of the scratch buffer.
    Scratch(usize),
    /// Packets of the stream.
    Stream(Batch),
}

impl Connection {
    /// The next datagrams to be sent, at most `max` in one piece. A single one that is not part of the stream is put into
    /// `scratch`.
    pub(crate) fn poll(&mut self, now: Instant, scratch: &mut [u8], max: usize) -> Option<Output> {
        if let Some(kind) = self.control.take() {
            return Some(self.send_control(now, kind, scratch));
        }
        if self.state == State::Open
            && let Some(output) = self.poll_stream(now, scratch, max)
        {
            return Some(output);
        }
        let alive = matches!(self.state, State::Open | State::SynReceived);
        (alive && self.ack_now).then(|| self.send_ack(now, scratch))
    }

    fn header(&self, now: Instant, kind: PacketType, seq: SeqNr) -> Header {
        Header {
            kind,
            connection: if kind == PacketType::Syn { self.receive_id } else { self.send_id },
            timestamp: clock(now),
            timestamp_difference: self.timestamp_difference,
            window: u32::try_from(self.receive.window()).unwrap_or(u32::MAX),
            seq,
            ack: if kind == PacketType::Syn { SeqNr(0) } else { self.receive.ack() },
        }
    }

    fn send_control(&mut self, now: Instant, kind: PacketType, scratch: &mut [u8]) -> Output {
        let seq = if kind == PacketType::Syn { self.syn } else { self.send.next() };
        let header = self.header(now, kind, seq);
        scratch[..HEADER_LEN].copy_from_slice(&header.encode());
        self.last_sent = now;
        if kind == PacketType::Syn {
            self.waits_since = now;
        }
        Output::Scratch(HEADER_LEN)
    }

    fn send_ack(&mut self, now: Instant, scratch: &mut [u8]) -> Output {
        let header = self.header(now, PacketType::State, self.send.next());
        let len = if self.receive.has_gap() {
            let mut bytes = [0; HEADER_LEN + 2 + MAX_SACK_LEN];
            let len = encode_with_sack(&header, self.receive.ahead(), &mut bytes);
            scratch[..len].copy_from_slice(&bytes[..len]);
            len
        } else {
            scratch[..HEADER_LEN].copy_from_slice(&header.encode());
            HEADER_LEN
        };
        self.ack_now = false;
        self.note_acknowledged(now);
        Output::Scratch(len)
    }

    fn note_acknowledged(&mut self, now: Instant) {
        self.advertised = self.receive.window();
        self.unacknowledged = 0;
        self.ack_at = None;
        self.last_sent = now;
    }

    fn poll_stream(&mut self, now: Instant, scratch: &mut [u8], max: usize) -> Option<Output> {
        let window = self.window().min(self.peer_window);
        let room = window.saturating_sub(self.send.in_flight());
        let full = self.packet();
        let forced = self.forced;
        let batch = match self.send.next_lost(room, max) {
            Some(batch) if batch.bytes <= room || forced || !self.send.is_in_flight() => batch,
            Some(_) => return None,
            None => {
                self.poll_idle(now);
                let span = self.peer_window_max / PEER_BYTES_PER_PACKET;
                let span = span.clamp(PEER_MIN_SPAN, MAX_SPAN).saturating_sub(self.send.span());
                let probe = self.mtu.wants(now).filter(|_| {
                    self.send.waiting() > PROBE_COMPANY * full
                        && self.window() > PROBE_COMPANY * full
                });
                let max = if probe.is_some() { 1 } else { max.min(span) };
                let batch = self.send.next_waiting(room, max)?;
                if (batch.bytes > room || span == 0) && !forced {
                    return None;
                }
                if let Some(length) = probe {
                    return Some(self.send_probe(now, batch, length, scratch));
                }
                batch
            }
        };
        self.send_batch(now, batch);
        Some(Output::Stream(batch))
    }

    /// What is known of the path is old if it has not been used for a while.
    fn poll_idle(&mut self, now: Instant) {
        let idle = self.send.has_waiting() && !self.send.is_in_flight();
        if idle && now - self.waits_since > self.rtt.timeout(0) {
            self.congestion.on_idle(self.packet_len());
        }
    }

    fn send_batch(&mut self, now: Instant, batch: Batch) {
        if !self.send.is_in_flight() {
            self.waits_since = now;
        }
        self.forced = false;
        let data = self.header(now, PacketType::Data, SeqNr(0));
        let fin = PacketType::Fin;
        self.send.send(now, batch, |seq, is_fin| Header {
            kind: if is_fin { fin } else { data.kind },
            seq,
            ..data
        });
        if !self.receive.has_gap() {
            self.ack_now = false;
            self.note_acknowledged(now);
        }
        self.last_sent = now;
    }

    /// Sends a packet of the stream in one of `length` bytes.
    fn send_probe(
        &mut self,
        now: Instant,
        batch: Batch,
        length: u16,
        scratch: &mut [u8],
    ) -> Output {
        self.send_batch(now, batch);
        self.send.mark_probe(batch);
        self.mtu.on_sent(length);
        let header = self.header(now, PacketType::Data, self.send.next().minus(1));
        let (bytes, _) = self.send.contents(batch);
        Output::Scratch(encode_padded(&header, &bytes[HEADER_LEN..], length.into(), scratch))
    }

    /// Whether there is data that only the peer's window, or ours at its least, holds back.
    pub(super) fn is_held_up(&self) -> bool {
        let least = (MIN_PACKETS * self.packet_len()) as usize;
        !self.send.is_in_flight()
            && (self.send.has_lost() || self.send.has_waiting())
            && self.send.next_len().is_some_and(|len| self.peer_window.min(least) < len)
    }
}
