//! What to request from whom, and what becomes of what arrives.

use super::peer::Outstanding;
use super::{BlockVerdict, PeerKey, Torrent};
use crate::outbox::{DisconnectReason, Effect, Outbox};
use crate::picker::{PickMode, PickOptions, Received};
use samara_wire::id::{BLOCK_LEN, BlockRef};
use samara_wire::peer::message::Message;
use samara_wire::time::{Duration, Instant};

/// Blocks that every peer may have outstanding however scarce buffers are: with none at all, everybody stalls.
const ALWAYS: usize = 2;

/// A peer that brings a piece in this many seconds gets pieces of its own, if half the buffers hold one for each peer.
const WHOLE_PIECE_SECS: u64 = 10;

/// A peer that owes us blocks and has brought none for this long is not waited for in endgame.
const STUCK_AFTER: Duration = Duration::from_secs(2);

impl Torrent {
    /// The header of a `piece` message was read; its payload stands in the socket.
    ///
    /// [`BlockVerdict::Fault`] comes with a `Disconnect` in the outbox.
    pub fn handle_block_header(
        &mut self,
        now: Instant,
        key: PeerKey,
        block: BlockRef,
        out: &mut Outbox,
    ) -> BlockVerdict {
        let Some(peer) = self.peers.get_mut(key) else { return BlockVerdict::Unwanted };
        peer.last_received = now;
        peer.last_payload = now;
        if peer.outstanding.iter().any(|o| o.block == block) {
            return BlockVerdict::Wanted;
        }
        if peer.was_released(&block) {
            // Overtaken by a choke, a cancel or a time-out: still good if nobody else brought it.
            if self.picker.needs(&block) {
                return BlockVerdict::Wanted;
            }
            peer.forget_released(&block);
            // The picker keeps account of what endgame wastes.
            let _ = self.picker.received(key, block);
            self.count_waste(now, key, block.len);
            return BlockVerdict::Unwanted;
        }
        let fault = DisconnectReason::Protocol("a block never asked for");
        self.disconnect(now, key, fault, out);
        BlockVerdict::Fault
    }

    /// Part of a payload arrived. To be called at most once per read.
    pub fn handle_progress(&mut self, now: Instant, key: PeerKey, bytes: u32) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.last_received = now;
        peer.last_payload = now;
        peer.down.add(now, u64::from(bytes));
        self.down.add(now, u64::from(bytes));
    }

    /// The payload of a block that was [`BlockVerdict::Wanted`] is in a buffer. True if the buffer is to be
    /// kept for its piece, false if it is to be thrown away: another peer's copy came first.
    pub fn handle_block(
        &mut self,
        now: Instant,
        key: PeerKey,
        block: BlockRef,
        out: &mut Outbox,
    ) -> bool {
        let Some(peer) = self.peers.get_mut(key) else { return false };
        let len = u64::from(block.len);
        if let Some(request) = peer.take_outstanding(&block) {
            self.outstanding_bytes -= len;
            peer.pipeline.on_block(now, block.len, request.since);
        } else {
            peer.forget_released(&block);
        }
        peer.payload_moved += len;
        peer.received += len;
        let kept = match self.picker.received(key, block) {
            Received::Fresh { piece_complete, cancel } => {
                self.counters.downloaded += len;
                self.credit = self.credit.saturating_sub(len);
                for other in cancel {
                    self.cancel(now, other, block, out);
                }
                if piece_complete {
                    let want_digests = self.blame.wants_digests(block.piece);
                    out.push(Effect::VerifyPiece { piece: block.piece, want_digests });
                }
                true
            }
            Received::Duplicate | Received::NotOurs => {
                self.count_waste(now, key, block.len);
                false
            }
        };
        self.request_from(now, key, out);
        kept
    }

    /// Bytes of block buffers that the shell can still fill, what is outstanding already included.
    pub fn handle_write_credit(&mut self, now: Instant, bytes: u64, out: &mut Outbox) {
        let starved = self.credit <= self.outstanding_bytes;
        self.credit = bytes;
        if self.credit > self.outstanding_bytes {
            self.overdraft = 0;
            if starved {
                self.request_from_all(now, out);
            }
        }
    }

    /// Keeps the pipeline of `key` full.
    pub(super) fn request_from(&mut self, now: Instant, key: PeerKey, out: &mut Outbox) {
        let Some(peer) = self.peers.get(key) else { return };
        if peer.useful == 0 || !self.running {
            return;
        }
        if peer.choking_us && peer.allowed_fast.is_empty() {
            return;
        }
        let target = peer.pipeline.target(now).min(self.fair_share());
        let pending = peer.outstanding.len();
        // Topping up in batches: one system call carries a quarter of the pipeline, not one request.
        if pending > target - target / 4 {
            return;
        }
        let scarce = self.credit.saturating_sub(self.outstanding_bytes);
        let affordable = usize::try_from(scarce / u64::from(BLOCK_LEN)).unwrap_or(usize::MAX);
        let lent = if affordable == 0 { self.loan(pending) } else { 0 };
        let count = (target - pending).min(affordable.max(lent));
        if count == 0 {
            return;
        }
        let begin_no_piece = affordable < (self.layout.piece_len() / BLOCK_LEN) as usize;
        let before = self.outstanding_bytes;
        self.pick(now, key, count, begin_no_piece, out);
        if lent > 0 {
            self.overdraft += self.outstanding_bytes - before;
        }
    }

    /// Fills every pipeline that has room: blocks were given back, or buffers became free.
    pub(super) fn request_from_all(&mut self, now: Instant, out: &mut Outbox) {
        for index in 0..self.peers.slots() {
            if let Some(key) = self.peers.key_at(index) {
                self.request_from(now, key, out);
            }
        }
    }

    /// The same, `last` being served last: it just refused what is to be asked now.
    pub(super) fn request_from_others(&mut self, now: Instant, last: PeerKey, out: &mut Outbox) {
        for index in 0..self.peers.slots() {
            if let Some(key) = self.peers.key_at(index).filter(|key| *key != last) {
                self.request_from(now, key, out);
            }
        }
        self.request_from(now, last, out);
    }

    /// Gives back all that is asked of `key`. It may still arrive, and is then taken if still needed.
    pub(super) fn release_all(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        while let Some(request) = peer.outstanding.pop_front() {
            self.outstanding_bytes -= u64::from(request.block.len);
            peer.pipeline.on_released(1);
            peer.remember_released(request.block);
        }
        self.picker.release_all(key);
    }

    /// Picks up to `count` blocks and asks for them.
    pub(super) fn pick(
        &mut self,
        now: Instant,
        key: PeerKey,
        count: usize,
        begin_no_piece: bool,
        out: &mut Outbox,
    ) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let mut picked = core::mem::take(&mut self.picked);
        picked.clear();
        let piece_len = u64::from(self.layout.piece_len());
        let fast = peer.down.rate(now) * WHOLE_PIECE_SECS >= piece_len;
        // Else the pieces that everybody is at would take all buffers, and each block would wait for one to be free.
        let roomy = piece_len.saturating_mul(self.sources as u64) <= self.credit / 2;
        let base = PickOptions {
            whole_pieces: fast && roomy,
            spread: roomy,
            suggested: &peer.suggested,
            stuck: self.stuck,
            ..PickOptions::default()
        };
        if peer.choking_us {
            let mode = PickMode::Only(&peer.allowed_fast);
            self.picker.pick(key, &peer.has, count, PickOptions { mode, ..base }, &mut picked);
        } else {
            let mode = if begin_no_piece { PickMode::PartialOnly } else { PickMode::Any };
            self.picker.pick(key, &peer.has, count, PickOptions { mode, ..base }, &mut picked);
            let short = ALWAYS.saturating_sub(peer.outstanding.len() + picked.len());
            if begin_no_piece && short > 0 {
                let short = short.min(count.saturating_sub(picked.len()));
                self.picker.pick(key, &peer.has, short, base, &mut picked);
            }
        }
        if !picked.is_empty() {
            if peer.outstanding.is_empty() {
                peer.last_payload = now;
            }
            peer.last_sent = now;
            peer.pipeline.on_requested(now, picked.len());
            for &block in &picked {
                peer.outstanding.push_back(Outstanding { block, since: now });
                self.outstanding_bytes += u64::from(block.len);
                out.push(Effect::Send(key, Message::Request(block)));
            }
            self.schedule_tick(now);
        }
        self.picked = picked;
    }

    /// Takes a request back: another peer's copy came first.
    fn cancel(&mut self, now: Instant, key: PeerKey, block: BlockRef, out: &mut Outbox) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        if peer.take_outstanding(&block).is_some() {
            self.outstanding_bytes -= u64::from(block.len);
            peer.pipeline.on_released(1);
            peer.remember_released(block);
            peer.last_sent = now;
            out.push(Effect::Send(key, Message::Cancel(block)));
            self.request_from(now, key, out);
        }
    }

    fn count_waste(&mut self, now: Instant, key: PeerKey, len: u32) {
        self.counters.downloaded += u64::from(len);
        self.counters.wasted += u64::from(len);
        if let Some(peer) = self.peers.get_mut(key) {
            peer.last_payload = now;
        }
    }

    /// How many blocks may be asked of a peer with `pending` outstanding though no buffer is left. Bounded over
    /// all peers until buffers are free again: a peer faster than the disk would else fill the memory two
    /// blocks at a time.
    fn loan(&self, pending: usize) -> usize {
        let peers = u64::try_from(self.peers.len()).unwrap_or(u64::MAX);
        let limit = peers * (ALWAYS as u64) * u64::from(BLOCK_LEN);
        if self.overdraft < limit { ALWAYS.saturating_sub(pending) } else { 0 }
    }

    /// Blocks a peer may have outstanding so that one does not take all buffers from the others.
    fn fair_share(&self) -> usize {
        if self.credit == u64::MAX {
            return usize::MAX;
        }
        let blocks = usize::try_from(self.credit / u64::from(BLOCK_LEN)).unwrap_or(usize::MAX);
        (blocks / self.sources.max(1)).max(ALWAYS)
    }

    /// Counts the peers among which the buffers are shared: once a second, and when one chokes or unchokes us,
    /// rather than for every block.
    pub(super) fn count_sources(&mut self) {
        self.sources = self.peers.iter().filter(|p| !p.choking_us && p.useful > 0).count();
    }

    /// Counts the blocks asked of peers that bring none. Endgame does not wait for them; as nothing that arrives would make the
    /// others ask for them, they are asked now.
    pub(super) fn count_stuck(&mut self, now: Instant, out: &mut Outbox) {
        let stuck = |peer: &&super::peer::Peer| {
            let oldest = peer.outstanding.front().map(|oldest| oldest.since);
            oldest.is_some_and(|since| now.since(since.max(peer.pipeline.progress())) > STUCK_AFTER)
        };
        let blocks = self.peers.iter().filter(stuck).map(|peer| peer.outstanding.len() as u64);
        self.stuck = blocks.sum();
        let asked: u64 = self.peers.iter().map(|peer| peer.outstanding.len() as u64).sum();
        self.held_up = asked > 0 && asked == self.stuck && self.picker.awaits_the_last();
        if self.stuck > 0 && self.picker.may_repeat(self.stuck) {
            self.request_from_all(now, out);
        }
    }
}
