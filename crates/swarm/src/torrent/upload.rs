//! Choking, and what is served.

use super::allowed_fast::GRANTED;
use super::peer::Peer;
use super::table::PeerTable;
use super::{PeerKey, Torrent};
use crate::choker::{Candidate, Role};
use crate::outbox::{Effect, Outbox};
use alloc::vec::Vec;
use samara_wire::id::BlockRef;
use samara_wire::peer::message::Message;
use samara_wire::time::Instant;

impl Torrent {
    /// The next block to send to `key`, which from now on cannot be taken back. The shell pulls it as the block's first
    /// byte goes into the peer's stream, so that a choke or a cancel takes effect on everything else.
    pub fn poll_serve(&mut self, key: PeerKey) -> Option<BlockRef> {
        self.peers.get_mut(key)?.serve_queue.pop_front()
    }

    /// What [`Torrent::poll_serve`] will give, as things are: the shell may have it read from disk meanwhile.
    pub fn upcoming(&self, key: PeerKey) -> impl Iterator<Item = BlockRef> {
        self.peers.get(key).into_iter().flat_map(|peer| peer.serve_queue.iter().copied())
    }

    /// A block that [`Torrent::poll_serve`] gave was written to the peer's stream.
    pub fn handle_served(&mut self, now: Instant, key: PeerKey, block: BlockRef) {
        let len = u64::from(block.len);
        self.counters.uploaded += len;
        self.up.add(now, len);
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.up.add(now, len);
        peer.uploaded_this_unchoke += len;
        peer.payload_moved += len;
        peer.last_sent = now;
    }

    /// Whether a peer that we choke is served what allowed-fast grants (BEP 6). That is for newcomers, and for as many of them
    /// at a time as there are optimistic slots: where a crowd comes at once, the uplink would else be cut into so many parts that
    /// nobody has a whole piece to pass on for long.
    pub(super) fn grants(&self, key: PeerKey) -> bool {
        let Some(peer) = self.peers.get(key).filter(|peer| peer.choked_by_us) else { return false };
        if !peer.serve_queue.is_empty() {
            return true;
        }
        // A seed has none to spare for blocks here and there: what it sends twice, somebody else waits for.
        let unchoked = self.peers.iter().filter(|p| !p.choked_by_us && p.interested_in_us).count();
        if self.complete && self.choker.free_slots(unchoked) == 0 {
            return false;
        }
        let served = self.peers.iter().filter(|p| p.choked_by_us && !p.serve_queue.is_empty());
        (peer.has.count() as usize) < GRANTED && served.count() < self.choker.optimistic_slots()
    }

    pub(super) fn on_interested(&mut self, now: Instant, key: PeerKey, out: &mut Outbox) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        if peer.interested_in_us {
            return;
        }
        peer.interested_in_us = true;
        self.crowd.recount(peer);
        if peer.choked_by_us {
            self.drive_choker(now, out);
        }
        self.schedule_tick(now);
    }

    pub(super) fn on_not_interested(&mut self, now: Instant, key: PeerKey, out: &mut Outbox) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.interested_in_us = false;
        self.crowd.recount(peer);
        if !peer.choked_by_us {
            self.choke(now, key, out);
            self.drive_choker(now, out);
        }
    }

    /// Ranks the peers when a round is over; in between gives free slots away at once.
    pub(super) fn drive_choker(&mut self, now: Instant, out: &mut Outbox) {
        let (crowd, up_rate) = (self.crowd.takers, self.up.rate(now));
        let role = match (self.complete, self.counters.downloaded) {
            (false, _) => Role::Leech,
            (true, 0) => Role::Seed,
            (true, _) => Role::Finished,
        };
        let peers = &self.peers;
        let decision = self.choker.run(now, role, up_rate, crowd, || candidates(peers, now));
        for key in decision.choke {
            self.choke(now, key, out);
        }
        for key in decision.unchoke {
            self.unchoke(now, key, out);
        }
    }

    fn unchoke(&mut self, now: Instant, key: PeerKey, out: &mut Outbox) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        if peer.choked_by_us {
            peer.choked_by_us = false;
            self.crowd.recount(peer);
            peer.unchoked_at = Some(now);
            peer.uploaded_this_unchoke = 0;
            peer.last_sent = now;
            // First, so that what it asks for first can follow it.
            self.suggest(key, out);
            out.push(Effect::Send(key, Message::Unchoke));
        }
    }

    /// Chokes, and drops what is queued.
    fn choke(&mut self, now: Instant, key: PeerKey, out: &mut Outbox) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        if peer.choked_by_us {
            return;
        }
        peer.choked_by_us = true;
        self.crowd.recount(peer);
        peer.last_sent = now;
        out.push(Effect::Send(key, Message::Choke));
        let granted = core::mem::take(&mut peer.granted_fast);
        peer.drop_requests(|block| !granted.contains(&block.piece), out);
        peer.granted_fast = granted;
    }
}

/// Those whom the choker may want to know of.
fn candidates(peers: &PeerTable, now: Instant) -> Vec<Candidate> {
    let candidate = |peer: &Peer| Candidate {
        key: peer.key,
        interested: peer.interested_in_us,
        choked: peer.choked_by_us,
        snubbed: peer.pipeline.is_snubbed(now),
        upload_only: peer.upload_only || peer.is_seed(),
        down_rate: peer.down.rate(now),
        up_rate: peer.up.rate(now),
        received: peer.received,
        sent: peer.payload_moved - peer.received,
        pieces: peer.has.count(),
        uploaded_this_unchoke: peer.uploaded_this_unchoke,
        unchoked_at: peer.unchoked_at,
        connected_at: peer.connected_at,
    };
    peers.iter().filter(|p| p.interested_in_us || !p.choked_by_us).map(candidate).collect()
}
