//! Carries out what the core decided.

use super::{Live, TorrentShell};
use crate::announce;
use crate::dial;
use crate::discovery::Seeker;
use crate::peer;
use crate::status::Event;
use crate::tracker::{Announced, Other, shown_host};
use samara_swarm::{Announce, Effect, Outbox};
use samara_wire::peer::message::Message;
use samara_wire::time::{Duration, Instant};
use samara_wire::tracker::AnnounceEvent;
use std::rc::Rc;
use std::sync::Arc;
use tokio::task::spawn_local;

/// `have` messages wait this long for company.
const HAVE_DELAY: Duration = Duration::from_millis(50);

impl TorrentShell {
    /// Empties the outbox and flushes what was written to; then sees to the deadlines.
    pub(super) fn settle(self: &Rc<Self>, live: &mut Live, now: Instant) {
        self.tell_credit(live, now);
        while !live.out.is_empty() || !live.dirty.is_empty() {
            self.carry_out(live, now);
            let mut dirty = std::mem::take(&mut live.dirty);
            for peer in dirty.drain(..) {
                if peer::pump(self, live, &peer, now) {
                    peer.wake();
                }
            }
            // Keeps the memory, unless a pump made peers dirty anew.
            if live.dirty.is_empty() {
                live.dirty = dirty;
            }
        }
        if live.core.peer_count() == 0 {
            // It may be at rest for long, and is one of many.
            live.out = Outbox::new();
            live.dirty = Vec::new();
            live.peers = Vec::new();
        }
        self.spill_if_short(live);
        self.publish_soon(live, now);
        self.arm(live.core.next_timeout());
    }

    fn carry_out(self: &Rc<Self>, live: &mut Live, now: Instant) {
        let mut out = std::mem::take(&mut live.out);
        for effect in out.drain() {
            match effect {
                Effect::Send(key, message) => {
                    let Some(peer) = live.peer(key).cloned() else { continue };
                    peer.send(&message);
                    if matches!(message, Message::Have(_)) && !self.options.super_seeding {
                        // One system call for several: nobody's next request depends on it.
                        let mut life = self.life.borrow_mut();
                        life.flush_at.get_or_insert(now + HAVE_DELAY);
                    } else {
                        mark_dirty(live, peer);
                    }
                }
                Effect::ServeReady(key) => {
                    if let Some(peer) = live.peer(key).cloned() {
                        peer.serve_ready();
                        mark_dirty(live, peer);
                    }
                }
                Effect::Disconnect(key, reason) => {
                    if let Some(peer) = live.take_peer(key) {
                        tracing::debug!(addr = %peer.addr, ?reason, "disconnecting");
                        peer.close();
                    }
                }
                Effect::Dial(addr) => {
                    let dial = spawn_local(dial::run(Rc::clone(self), addr));
                    live.dials.insert(addr, dial.abort_handle());
                }
                Effect::Punch(addr) => {
                    if let Some(dial) = live.dials.remove(&addr) {
                        dial.abort();
                    }
                    spawn_local(dial::punch(Rc::clone(self), addr));
                }
                Effect::Announce(announce) => self.announce(*announce),
                Effect::Seek { seed } => self.seek(live, seed),
                Effect::Withdraw => live.seeking = None,
                Effect::DhtNode(addr) => self.env.shared.discovery.node(addr),
                Effect::VerifyPiece { piece, want_digests } => {
                    self.verify_piece(live, now, piece, want_digests);
                }
                Effect::Event(event) => self.on_event(event, now),
            }
        }
        // What came up meanwhile, if anything, is newer than nothing: the drained outbox only lends its memory.
        if live.out.is_empty() {
            live.out = out;
        }
    }

    /// Has peers sought without trackers.
    fn seek(&self, live: &mut Live, seed: bool) {
        let discovery = &self.env.shared.discovery;
        if live.seeking.is_none() {
            discovery.names(self.shared.metainfo.nodes.clone());
        }
        let seeker = Seeker::Torrent(Arc::clone(&self.shared));
        // The new one is there before the old one goes, so that nothing is withdrawn in between.
        live.seeking = Some(discovery.seek(self.shared.hashes, seed, &seeker));
    }

    /// Has everybody flushed to whom something is to be sent.
    pub(super) fn flush_all(self: &Rc<Self>) {
        self.with_live(|live, _| {
            let waiting = live.peers.iter().flatten().filter(|peer| peer.has_output());
            let waiting: Vec<_> = waiting.cloned().collect();
            waiting.into_iter().for_each(|peer| mark_dirty(live, peer));
        });
    }

    fn on_event(&self, event: samara_swarm::Event, now: Instant) {
        use samara_swarm::Event as Swarm;
        let mut life = self.life.borrow_mut();
        match &event {
            Swarm::PieceVerified(piece) => {
                let bytes = u64::from(self.layout().len_of(*piece));
                self.on_unsaved(&mut life, now, bytes);
            }
            Swarm::Complete => {
                // At once: the owner is told that all is well when it is durable.
                life.durable = false;
                life.save_at = Some(now);
            }
            Swarm::TrackerAnswered { url, warning, .. } => {
                if let Some(warning) = warning {
                    let said = format!("{}: {warning}", shown_host(url));
                    if life.tracker_warning.as_deref() != Some(&said) {
                        tracing::warn!(torrent = %self.shared.hashes.wire(), tracker = %said, "a warning");
                        life.tracker_warning = Some(said.into());
                    }
                }
                life.trackers_answered = life.trackers_answered.saturating_add(1);
                life.tracker_error = None;
            }
            // The error names the host; the whole URL may hold a passkey.
            Swarm::TrackerFailed { error, .. } => {
                tracing::debug!(torrent = %self.shared.hashes.wire(), %error, "a tracker failed");
                life.tracker_error = Some(error.clone().into());
            }
            Swarm::PieceCorrupt(_) | Swarm::PeerBanned(_) => {}
        }
        drop(life);
        self.shared.emit(|| Event::Swarm(event));
    }

    fn announce(self: &Rc<Self>, announce: Announce) {
        let shell = Rc::clone(self);
        spawn_local(async move {
            if let Some(other) = shell.announce_in_turn(announce).await {
                // What the tracker says over the other address family is more peers, and nothing else.
                if let Some(more) = other.answer().await {
                    shell.with_live(|live, now| {
                        live.core.handle_more_announced(now, more, &mut live.out);
                    });
                }
            }
        });
    }

    /// Waits for the announce's turn, makes it, and tells the core. Gives what may bring another answer.
    async fn announce_in_turn(self: &Rc<Self>, announce: Announce) -> Option<Other> {
        let Announce { id, url, request, timeout } = announce;
        let urgency = announce::urgency(request.event, self.is_new());
        let outcome = match self.env.trackers().turn(&url, urgency).await {
            Ok(turn) => {
                // Meanwhile `stopped` may have gone before it; after that it would bring us back.
                if self.peek(|live, _| live.core.awaits_announce(id)) != Some(true) {
                    return None;
                }
                if request.event == AnnounceEvent::Started && !self.life.borrow().is_running() {
                    // What was never begun need not be taken back.
                    let error = format!("{}: not asked, the torrent stops", shown_host(&url));
                    self.with_live(|live, now| {
                        live.core.handle_announce_failed(now, id, error, None, &mut live.out);
                    });
                    self.changed.notify_one();
                    return None;
                }
                tracing::debug!(%url, event = ?request.event, "announcing");
                self.env.announce_in_turn(turn, &url, &request, timeout).await
            }
            Err(error) => Err(error),
        };
        let other = self.with_live(|live, now| match outcome {
            Ok(Announced { response, other }) => {
                live.core.handle_announced(now, id, response, &mut live.out);
                other
            }
            Err(error) => {
                let (retry, error) = (error.retry(), error.to_string());
                live.core.handle_announce_failed(now, id, error, retry, &mut live.out);
                None
            }
        });
        self.changed.notify_one();
        other.flatten()
    }

    /// Publishes the status at once if the last time is long ago, else a little later.
    fn publish_soon(&self, live: &Live, now: Instant) {
        let mut life = self.life.borrow_mut();
        let due = life.published_at + super::life::PUBLISH_INTERVAL;
        if now >= due {
            drop(life);
            self.publish(Some(live), now);
        } else if life.publish_at.is_none_or(|at| at > due) {
            life.publish_at = Some(due);
        }
    }

    /// Publishes the status now.
    pub(super) fn publish(&self, live: Option<&Live>, now: Instant) {
        let mut life = self.life.borrow_mut();
        life.published_at = now;
        let stats = live.map(|live| live.core.stats(now));
        let complete = live.is_some_and(|live| live.core.is_complete());
        // Rates sink while nothing happens, and must be seen to.
        let moving = stats.is_some_and(|stats| stats.down_rate > 0 || stats.up_rate > 0);
        life.publish_at = moving.then(|| now + Duration::from_secs(1));
        let mut next = self.shared.status().clone();
        next.stats = stats.unwrap_or(next.stats);
        life.describe(&mut next, complete);
        let state = next.state.clone();
        drop(life);
        if self.shared.set_status(next).is_some_and(|before| before.state != state) {
            tracing::debug!(torrent = %self.shared.hashes.wire(), ?state, "state");
            self.shared.emit(|| Event::StateChanged(state));
        }
    }

    /// Publishes the status now, wherever the core may be.
    pub(super) fn publish_now(&self) {
        let now = self.env.now();
        let live = self.live.borrow();
        self.publish(live.as_ref(), now);
    }
}

fn mark_dirty(live: &mut Live, peer: Rc<crate::peer::Peer>) {
    if peer.mark_dirty() {
        live.dirty.push(peer);
    }
}
