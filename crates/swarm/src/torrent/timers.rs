//! What time alone brings about. One timer a torrent, armed only while there is something to watch.

use super::{PeerKey, Torrent};
use crate::outbox::{DisconnectReason, Effect, Outbox};
use crate::pipeline::SNUB_AFTER;
use alloc::vec::Vec;
use samara_wire::id::BlockRef;
use samara_wire::peer::message::Message;
use samara_wire::time::{Duration, Instant};

/// While blocks are outstanding, time-outs are looked for this often.
const TICK: Duration = Duration::from_secs(1);

/// With peers but nothing outstanding, keep-alives and silence are looked for this often.
const SLOW_TICK: Duration = Duration::from_secs(20);

/// BEP 3 closes a connection after two minutes of silence; a keep-alive goes out well before.
const KEEP_ALIVE: Duration = Duration::from_secs(90);

/// A peer silent for longer than this is gone. Longer than the two minutes within which peers keep alive.
const IDLE: Duration = Duration::from_secs(180);

/// How long a peer may crawl that, with others like it, holds up the last few blocks.
const HELD_UP: Duration = Duration::from_secs(3);

impl Torrent {
    /// When [`Torrent::handle_timeout`] is to be called next; `None` if only an input can bring news.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let announce = self.announcer.next_timeout();
        if !self.running {
            return announce;
        }
        // An address that is ready is dialled at once where there is room, so "now" can only mean the past.
        let dial =
            if self.dial_room() > 0 { self.peer_list.next_ready(Instant::ZERO) } else { None };
        [self.next_tick, announce, dial].into_iter().flatten().min()
    }

    /// Time has passed. May be called too early or too often.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        if self.next_tick.is_some_and(|at| at <= now) {
            self.next_tick = None;
            self.tick(now, out);
            self.schedule_tick(now);
        }
        self.drive_announcer(now, out);
        self.drive_dialling(now, out);
    }

    /// Arms the tick if anything is to be watched.
    pub(super) fn schedule_tick(&mut self, now: Instant) {
        if !self.running || self.peers.is_empty() {
            self.next_tick = None;
            return;
        }
        if self.outstanding_bytes > 0 && self.next_tick.is_some_and(|armed| armed <= now + TICK) {
            return;
        }
        let mut at = now + SLOW_TICK;
        if self.outstanding_bytes > 0 {
            at = now + TICK;
        }
        if self.crowd.interested > 0 {
            at = at.min(self.choker.next_round());
        }
        at = self.next_pex().map_or(at, |pex| at.min(pex));
        self.next_tick = Some(self.next_tick.map_or(at, |armed| armed.min(at)));
    }

    fn tick(&mut self, now: Instant, out: &mut Outbox) {
        self.count_sources();
        for index in 0..self.peers.slots() {
            let Some(key) = self.peers.key_at(index) else { continue };
            self.tick_peer(now, key, out);
        }
        self.count_stuck(now, out);
        if self.choker.next_round() <= now {
            self.drive_choker(now, out);
        }
        self.drive_pex(now, out);
    }

    fn tick_peer(&mut self, now: Instant, key: PeerKey, out: &mut Outbox) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        if now.since(peer.last_received) > IDLE {
            self.disconnect(now, key, DisconnectReason::Idle, out);
            return;
        }
        if now.since(peer.last_sent) > KEEP_ALIVE {
            peer.last_sent = now;
            out.push(Effect::Send(key, Message::KeepAlive));
        }
        let Some(oldest) = peer.outstanding.front() else { return };
        let waiting_since = oldest.since.max(peer.last_payload);
        // A peer that sends a byte now and then is never silent, and never brings a block.
        let crawling_since = oldest.since.max(peer.pipeline.progress());
        // Who waits for nothing else has no reason to wait for long.
        let patience = if self.held_up { HELD_UP } else { SNUB_AFTER };
        let crawls = now.since(crawling_since) > patience;
        if crawls || now.since(waiting_since) > peer.pipeline.timeout() {
            self.on_block_timeout(now, key, out);
        }
    }

    /// A peer that lets its requests lie is asked for one more block only; what it was asked for before goes
    /// to the others. The new block is picked first: otherwise it would get the very same one again.
    fn on_block_timeout(&mut self, now: Instant, key: PeerKey, out: &mut Outbox) {
        let others_deliver =
            self.peers.iter().any(|p| p.key != key && now.since(p.last_payload) < TICK * 2);
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.pipeline.on_timeout(others_deliver);
        let old = peer.outstanding.len();
        self.pick(now, key, 1, true, out);
        let Some(peer) = self.peers.get_mut(key) else { return };
        let lying: Vec<BlockRef> = peer.outstanding.drain(..old).map(|o| o.block).collect();
        for block in lying {
            self.outstanding_bytes -= u64::from(block.len);
            peer.pipeline.on_released(1);
            peer.remember_released(block);
            self.picker.release(key, block);
        }
        self.request_from_others(now, key, out);
    }
}
