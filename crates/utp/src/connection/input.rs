//! What comes from the peer.
//!
//! Anybody can send us a datagram that says to be from the peer. Such a one has to have the right id, and an
//! acknowledgement of something that we did send; and what it can do is bounded by that.

use super::{CloseReason, Connection, State};
use crate::congestion::Acked;
use crate::receive::Arrival;
use crate::send::Losses;
use samara_wire::time::{Duration, Instant};
use samara_wire::utp::{Packet, PacketType, SeqNr};

/// Acknowledgements of so many packets before the last acknowledged one are late rather than wrong.
const OLD_ACKS: i16 = 512;

/// Packets of the stream that may come before they are acknowledged, and how long one waits for a second.
const ACK_EVERY: u32 = 2;
const ACK_DELAY: Duration = Duration::from_millis(5);

/// Clocks do not drift more than this from one packet to the next, in microseconds.
const MAX_DRIFT: u32 = 10_000;

/// Sent by some where there is no measurement yet.
const NO_DIFFERENCE: [u32; 2] = [0, 0x7fff_ffff];

impl Connection {
    /// A packet with this connection's id came; not a SYN.
    pub(crate) fn handle(&mut self, now: Instant, packet: &Packet<'_>) {
        match self.state {
            State::SynSent => self.on_answer(now, packet),
            State::SynReceived | State::Open => self.on_packet(now, packet),
            State::Closed(_) => {}
        }
    }

    /// The SYN came once more: our answer to it was lost, or is late.
    pub(crate) fn handle_syn_again(&mut self, seq: SeqNr) {
        if self.state == State::SynReceived && seq == self.syn {
            self.ack_now = true;
        }
    }

    /// A RESET that names this connection by one of its ids came. It answers a packet of ours, and tells its number.
    pub(crate) fn handle_reset(&mut self, ack: SeqNr) {
        let plausible = match self.state {
            State::SynSent => ack == self.syn,
            State::SynReceived | State::Open => {
                let behind = ack.since(self.send.oldest().minus(1));
                usize::try_from(behind).is_ok_and(|behind| behind <= self.send.span() + 1)
            }
            State::Closed(_) => false,
        };
        if plausible {
            self.close(CloseReason::Reset);
        }
    }

    fn on_answer(&mut self, now: Instant, packet: &Packet<'_>) {
        let header = &packet.header;
        if header.kind != PacketType::State || header.ack != self.syn {
            return;
        }
        if self.failures == 0 {
            self.rtt.add(now - self.waits_since);
        }
        self.state = State::Open;
        self.flags.connected = true;
        self.flags.writable = true;
        self.failures = 0;
        self.silent = 0;
        // It tells the number that its first packet will have.
        let capacity = self.receive.capacity();
        self.receive = crate::receive::ReceiveQueue::new(header.seq, capacity);
        self.note_window(header.window);
        self.note_clock(now, header.timestamp);
    }

    fn note_window(&mut self, window: u32) {
        self.peer_window = window as usize;
        self.peer_window_max = self.peer_window_max.max(self.peer_window);
    }

    /// Measures the delay on the way back.
    fn note_clock(&mut self, now: Instant, timestamp: u32) {
        if timestamp == 0 {
            return;
        }
        self.timestamp_difference = clock(now).wrapping_sub(timestamp);
        let lowered = self.back.add(now, self.timestamp_difference);
        if lowered < MAX_DRIFT {
            self.there.raise(lowered);
        }
    }

    fn on_packet(&mut self, now: Instant, packet: &Packet<'_>) {
        let header = &packet.header;
        let acked = header.ack.since(self.send.oldest().minus(1));
        let span = i16::try_from(self.send.span()).unwrap_or(i16::MAX);
        if !(-OLD_ACKS..=span).contains(&acked) {
            return;
        }
        if self.state == State::SynReceived {
            // Whoever acknowledges our number has received it, and so is where it says to be.
            if header.kind != PacketType::Data || acked != 0 {
                return;
            }
            self.state = State::Open;
            self.flags.accepted = true;
            self.ends_at = None;
            if self.failures == 0 {
                self.rtt.add(now - self.waits_since);
            }
        }
        self.silent = 0;
        self.note_clock(now, header.timestamp);
        if acked >= 0 {
            self.note_window(header.window);
            self.on_ack(now, packet, acked == 0);
        }
        match header.kind {
            PacketType::Data => self.on_data(now, header.seq, packet.payload),
            PacketType::Fin => {
                self.ack_now = true;
                self.receive.insert_fin(header.seq);
                self.flags.readable |= self.receive.is_ended();
            }
            PacketType::State | PacketType::Reset | PacketType::Syn => {}
        }
    }

    fn on_data(&mut self, now: Instant, seq: SeqNr, payload: &[u8]) {
        let had_gap = self.receive.has_gap();
        let arrival = self.receive.insert(seq, payload);
        self.unacknowledged += 1;
        if arrival != Arrival::InOrder || had_gap || self.unacknowledged >= ACK_EVERY {
            self.ack_now = true;
            self.ack_at = None;
        } else if !self.ack_now {
            self.ack_at.get_or_insert(now + ACK_DELAY);
        }
        if self.released {
            self.receive.discard();
        } else if arrival == Arrival::InOrder {
            self.flags.readable = true;
        }
    }

    fn on_ack(&mut self, now: Instant, packet: &Packet<'_>, repeated: bool) {
        let in_flight = self.send.in_flight();
        let beyond = packet.sack.iter().flat_map(|sack| sack.received());
        let soonest = self.rtt.min().unwrap_or_default() / 4 * 3;
        let progress = self.send.acknowledge(now, soonest, packet.header.ack, beyond);
        self.note_late(progress.late);
        if progress.packets > 0 {
            self.failures = 0;
            self.waits_since = now;
            self.duplicate_acks = 0;
            if progress.probe {
                self.mtu.on_acked();
            }
            let rtt = progress.sent_at.map(|sent_at| now - sent_at);
            if let Some(rtt) = rtt {
                self.rtt.add(rtt);
            }
            self.measure_queueing(now, packet.header.timestamp_difference, rtt);
            let packet_len = self.packet_len();
            self.congestion.on_ack(&Acked {
                now,
                bytes: progress.bytes,
                in_flight: u32::try_from(in_flight).unwrap_or(u32::MAX),
                limited: in_flight + packet_len as usize >= self.window(),
                queueing: self.queueing,
                min_rtt: self.rtt.min(),
                rtt: self.rtt.smoothed(),
                packet: packet_len,
            });
            self.note_send_room();
        } else if repeated && packet.header.kind == PacketType::State && self.send.is_in_flight() {
            self.duplicate_acks += 1;
        }
        let mut losses = self.send.find_lost();
        let many = u64::from(self.duplicate_acks) >= self.send.tolerance();
        if many && self.send.transmissions_of_oldest() == 1 {
            let oldest = self.send.lose_oldest();
            losses.newest = losses.newest.max(oldest.newest);
            losses.count += oldest.count;
            losses.probe |= oldest.probe;
        }
        self.on_losses(now, losses);
    }

    /// What the queue costs on the way there. It cannot be more than the round trip has grown by, whatever clocks say.
    fn measure_queueing(&mut self, now: Instant, difference: u32, rtt: Option<Duration>) {
        if !NO_DIFFERENCE.contains(&difference) {
            self.there.add(now, difference);
        }
        let grown = rtt.zip(self.rtt.min()).map(|(rtt, min)| rtt.saturating_sub(min));
        self.queueing = match (self.there.queueing(), grown) {
            (Some(told), Some(grown)) => Some(told.min(grown)),
            (told, grown) => told.or(grown),
        };
    }

    /// One loss or many of what was sent before the window was last cut are one event.
    pub(super) fn on_losses(&mut self, now: Instant, losses: Losses) {
        if losses.probe {
            self.mtu.on_lost(now);
        }
        if losses.probe || losses.newest.is_some() {
            self.forced = true;
        }
        if losses.newest.is_some_and(|newest| newest >= self.recovered_from) {
            self.recovered_from = self.send.next_order();
            self.congestion.on_loss(now, self.packet_len());
            self.taken_for_lost = 0;
        }
        self.taken_for_lost += losses.count;
    }

    /// So many packets were late that were taken for lost. If none of those was lost for which the window was last cut, it was cut for
    /// nothing.
    fn note_late(&mut self, late: u32) {
        if late > 0 && self.taken_for_lost > 0 {
            self.taken_for_lost = self.taken_for_lost.saturating_sub(late);
            if self.taken_for_lost == 0 {
                self.congestion.on_false_loss();
            }
        }
    }

    /// Tells a writer that had to stop that there is room again, but not of every few bytes.
    fn note_send_room(&mut self) {
        if self.write_blocked && self.send_room() >= self.send_buffer() / 2 {
            self.write_blocked = false;
            self.flags.writable = true;
        }
    }
}

/// The clock as packets carry it. It wraps.
pub(super) fn clock(now: Instant) -> u32 {
    let [a, b, c, d, ..] = now.as_micros().to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
