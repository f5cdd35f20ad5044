//! A flow like TCP's (RFC 5681), with segments for bytes and an acknowledgement for each.

use samara_wire::time::{Duration, Instant};
use std::collections::BTreeMap;

/// Payload of a segment, in bytes.
pub(super) const SEGMENT: u64 = 1448;

/// A segment is lost if one sent three later has arrived.
const REORDERING: u64 = 3;

pub(super) struct Reno {
    /// In segments.
    window: f64,
    threshold: f64,
    /// When each segment in flight was sent.
    in_flight: BTreeMap<u64, Instant>,
    next: u64,
    /// Segments before this one were sent before the window was last cut.
    recovered_from: u64,
    timeout: Duration,
}

impl Reno {
    pub(super) fn new(rtt: Duration) -> Self {
        Self {
            window: 10.0,
            threshold: f64::MAX,
            in_flight: BTreeMap::new(),
            next: 0,
            recovered_from: 0,
            timeout: rtt + Duration::from_secs(1),
        }
    }

    /// The next segment to be sent, if the window has room for one. What was lost counts as sent again under a new number.
    pub(super) fn poll(&mut self, now: Instant) -> Option<u64> {
        if self.in_flight.len() as f64 >= self.window.floor() {
            return None;
        }
        let seq = self.next;
        self.next += 1;
        self.in_flight.insert(seq, now);
        Some(seq)
    }

    pub(super) fn handle_ack(&mut self, _now: Instant, seq: u64) {
        if self.in_flight.remove(&seq).is_none() {
            return;
        }
        self.window += if self.window < self.threshold { 1.0 } else { 1.0 / self.window };
        let kept = self.in_flight.split_off(&(seq + 1).saturating_sub(REORDERING));
        let lost = std::mem::replace(&mut self.in_flight, kept);
        if lost.keys().next_back().is_some_and(|last| *last >= self.recovered_from) {
            self.recovered_from = self.next;
            self.window = (self.window / 2.0).max(2.0);
            self.threshold = self.window;
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.in_flight.first_key_value().map(|(_, sent)| *sent + self.timeout)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.next_timeout().is_some_and(|at| at <= now) {
            self.in_flight.clear();
            self.threshold = (self.window / 2.0).max(2.0);
            self.window = 1.0;
        }
    }
}
