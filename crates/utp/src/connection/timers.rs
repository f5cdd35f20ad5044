//! What happens by itself: acknowledgements that are due, packets to be sent again, the end.

use super::{CloseReason, Connection, State};
use samara_wire::time::{Duration, Instant};
use samara_wire::utp::PacketType;

/// A connection that somebody asked for, and who then was silent, is forgotten after this.
pub(super) const HALF_OPEN: Duration = Duration::from_secs(10);

/// What was written may take this long to go out after the owner has let go.
pub(super) const LINGER: Duration = Duration::from_secs(20);

/// Routers forget a flow after half a minute of silence.
const KEEP_ALIVE: Duration = Duration::from_secs(29);

/// A SYN is sent this often.
const MAX_SYNS: u32 = 3;

/// Time-outs in a row without a sign of life.
const MAX_SILENT: u32 = 6;

impl Connection {
    /// When [`Connection::handle_timeout`] is to be called.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let (resend, keep_alive) = match self.state {
            State::SynSent => (Some(self.resend_at()), None),
            State::SynReceived => (None, None),
            State::Open => {
                if self.send.is_in_flight() || self.is_held_up() {
                    (Some(self.resend_at()), None)
                } else {
                    (None, Some(self.last_sent + KEEP_ALIVE))
                }
            }
            State::Closed(_) => return self.ends_at,
        };
        [resend, keep_alive, self.ack_at, self.ends_at].into_iter().flatten().min()
    }

    fn resend_at(&self) -> Instant {
        self.waits_since + self.rtt.timeout(self.failures)
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.ends_at.is_some_and(|at| at <= now) {
            // Nobody waits for it any more.
            self.released = true;
            self.control = None;
            self.state = State::Closed(CloseReason::TimedOut);
            return;
        }
        if self.ack_at.is_some_and(|at| at <= now) {
            self.ack_at = None;
            self.ack_now = true;
        }
        match self.state {
            State::SynSent if self.resend_at() <= now => self.on_syn_timeout(now),
            State::Open => {
                if self.send.is_in_flight() || self.is_held_up() {
                    if self.resend_at() <= now {
                        self.on_silence(now);
                    }
                } else if self.last_sent + KEEP_ALIVE <= now {
                    self.receive.shrink();
                    self.send.shrink();
                    self.last_sent = now;
                    self.ack_now = true;
                }
            }
            _ => {}
        }
    }

    fn on_syn_timeout(&mut self, now: Instant) {
        self.failures += 1;
        self.waits_since = now;
        if self.failures >= MAX_SYNS {
            self.close(CloseReason::TimedOut);
        } else {
            self.control = Some(PacketType::Syn);
        }
    }

    /// Nothing was acknowledged for long, or the peer has had no room for long.
    fn on_silence(&mut self, now: Instant) {
        self.waits_since = now;
        self.silent += 1;
        if self.silent > MAX_SILENT {
            return self.close(CloseReason::TimedOut);
        }
        self.failures += 1;
        self.forced = true;
        let losses = self.send.lose_all();
        if losses.probe {
            self.mtu.on_lost(now);
        }
        if losses.newest.is_some() {
            self.timeouts = self.timeouts.saturating_add(1);
            self.recovered_from = self.send.next_order();
            self.congestion.on_timeout(now, self.packet_len());
            self.taken_for_lost = 0;
        }
    }
}
