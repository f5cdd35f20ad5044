//! What time alone brings about: joining, refreshing, forgetting.

use super::Dht;
use super::jobs::Goal;
use crate::outbox::{Event, Outbox};
use samara_wire::time::{Duration, Instant};

/// Time between two looks at the table.
const TICK: Duration = Duration::from_secs(5);

/// Time between two looks for what is too old to be kept.
const EXPIRY: Duration = Duration::from_secs(60);

/// Pause after an attempt to join that found few, doubled each time.
const JOIN_PAUSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// With fewer nodes than this, joining is tried again.
const FEW: usize = 8;

impl Dht {
    /// Time has passed. May be called at any time.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        if !self.running {
            return;
        }
        self.on_silence(now, out);
        if self.next_tick <= now {
            self.on_tick(now, out);
        }
        if self.stalled {
            self.drive_all(now, out);
        } else {
            self.drive_waiting(now, out);
        }
    }

    fn on_tick(&mut self, now: Instant, out: &mut Outbox) {
        self.next_tick = now + TICK;
        self.tokens.rotate(now, &mut self.rng);
        if self.next_expiry <= now {
            self.next_expiry = now + EXPIRY;
            self.peers.expire(now);
            self.items.expire(now);
        }
        if self.join_at.is_none() && self.table.len() < FEW {
            self.join_at = Some(now);
        }
        if self.join_at.is_some_and(|at| at <= now) && !self.is_joining() {
            return self.join(now, out);
        }
        if let Some(node) = self.table.stalest(now) {
            self.ask_ping(now, node, out);
        }
        // One bucket at a time, so that a node that has just joined is no burden.
        if let Some(bucket) = self.table.poll_refresh(now) {
            let target = self.table.id_in(bucket, self.rng.next_20());
            let id = self.new_lookup();
            self.start_job(now, id, target, Goal::Nodes { joining: false }, out);
        }
        // A lookup whose questions were all refused by the limits is looked at again.
        self.drive_all(now, out);
    }

    /// Joins (again) as soon as the shell lets us.
    pub(super) fn join_soon(&mut self, now: Instant) {
        self.join_at = Some(now);
        self.next_tick = now;
    }

    fn join(&mut self, now: Instant, out: &mut Outbox) {
        self.join_pause = (self.join_pause * 2).clamp(JOIN_PAUSE.0, JOIN_PAUSE.1);
        self.join_at = Some(now + self.join_pause);
        let (id, target) = (self.new_lookup(), self.id());
        self.start_job(now, id, target, Goal::Nodes { joining: true }, out);
    }

    /// The lookup of our own id has ended.
    pub(super) fn on_joined(&mut self, out: &mut Outbox) {
        let nodes = self.table.len();
        if nodes == 0 {
            return;
        }
        if nodes >= FEW {
            self.join_at = None;
            self.join_pause = Duration::ZERO;
        }
        out.event(Event::Bootstrapped(nodes));
    }
}
