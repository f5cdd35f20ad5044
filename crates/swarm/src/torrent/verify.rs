//! What a good or a bad piece leads to.

use super::{BlockDigests, PeerKey, Torrent};
use crate::outbox::{DisconnectReason, Effect, Event, Outbox};
use alloc::vec::Vec;
use core::net::SocketAddr;
use samara_wire::id::PieceIndex;
use samara_wire::peer::message::Message;
use samara_wire::time::Instant;

impl Torrent {
    /// The piece matched its hash and is written. `digests` as asked by
    /// [`Effect::VerifyPiece`].
    pub fn handle_piece_verified(
        &mut self,
        now: Instant,
        piece: PieceIndex,
        digests: Option<BlockDigests>,
        out: &mut Outbox,
    ) {
        if self.have.has(piece) {
            return;
        }
        if let Some(digests) = digests {
            let guilty = self.blame.on_verified(piece, &digests);
            self.ban_all(now, guilty, out);
        }
        let wanted = self.picker.wants(piece);
        self.picker.verified(piece);
        self.have.insert(piece);
        out.push(Effect::Event(Event::PieceVerified(piece)));
        for index in 0..self.peers.slots() {
            let Some(key) = self.peers.key_at(index) else { continue };
            self.tell_have(now, key, piece, wanted, out);
        }
        if self.picker.wanted_left() == 0 && !self.complete {
            self.on_complete(now, out);
        }
    }

    /// The piece did not match its hash; nothing was written. `digests` are of the blocks as received.
    pub fn handle_piece_failed(
        &mut self,
        now: Instant,
        piece: PieceIndex,
        digests: &BlockDigests,
        out: &mut Outbox,
    ) {
        if self.have.has(piece) {
            return;
        }
        self.counters.corrupt += u64::from(self.layout.len_of(piece));
        out.push(Effect::Event(Event::PieceCorrupt(piece)));
        let senders: Vec<Option<SocketAddr>> = self
            .picker
            .blocks_from(piece)
            .map(|(_, sender)| sender.and_then(|key| self.addr_of(key)))
            .collect();
        let guilty = self.blame.on_failed(piece, &senders, digests);
        self.give_up_blocks(piece);
        if self.blame.is_suspect(piece) {
            self.picker.suspect(piece);
        }
        self.ban_all(now, guilty, out);
        self.request_from_all(now, out);
    }

    /// The piece could not be written: its blocks are lost and wanted again. Nobody is to blame.
    pub fn handle_write_failed(&mut self, now: Instant, piece: PieceIndex, out: &mut Outbox) {
        if !self.have.has(piece) {
            self.give_up_blocks(piece);
            self.request_from_all(now, out);
        }
    }

    /// A piece we thought verified is not on disk after all: it is no longer served or offered, and wanted again.
    pub fn handle_piece_lost(&mut self, now: Instant, piece: PieceIndex, out: &mut Outbox) {
        if !self.have.has(piece) {
            return;
        }
        self.have.remove(piece);
        for peer in self.peers.iter_mut() {
            peer.drop_requests(|block| block.piece == piece, out);
        }
        self.picker.lost(piece, self.peers.iter().map(|peer| &peer.has));
        if self.picker.wants(piece) {
            for peer in self.peers.iter_mut().filter(|p| p.has.has(piece)) {
                peer.useful += 1;
            }
        }
        self.after_wants_changed(now, out);
    }

    fn tell_have(
        &mut self,
        now: Instant,
        key: PeerKey,
        piece: PieceIndex,
        wanted: bool,
        out: &mut Outbox,
    ) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        // A seed gains nothing from knowing. Others do even if they have the piece: a super-seed learns by it
        // that what it revealed has spread.
        if !peer.is_seed() {
            peer.last_sent = now;
            out.push(Effect::Send(key, Message::Have(piece)));
        }
        if peer.has.has(piece) {
            peer.useful -= u32::from(wanted);
            peer.allowed_fast.retain(|fast| *fast != piece);
            self.update_interest(now, key, out);
        }
    }

    /// Bans the proven senders of corrupt data and drops their connections.
    fn ban_all(
        &mut self,
        now: Instant,
        guilty: impl IntoIterator<Item = SocketAddr>,
        out: &mut Outbox,
    ) {
        for addr in guilty {
            self.peer_list.ban(addr);
            out.push(Effect::Event(Event::PeerBanned(addr)));
            for key in self.keys_where(|peer| peer.addr == addr) {
                self.disconnect(now, key, DisconnectReason::Corrupt, out);
            }
        }
    }

    /// All blocks of `piece` are wanted again; what is still asked for it is forgotten.
    fn give_up_blocks(&mut self, piece: PieceIndex) {
        for (key, block) in self.picker.failed(piece) {
            let Some(peer) = self.peers.get_mut(key) else { continue };
            if peer.take_outstanding(&block).is_some() {
                self.outstanding_bytes -= u64::from(block.len);
                peer.pipeline.on_released(1);
                peer.remember_released(block);
            }
        }
    }

    /// The address of a peer, connected or recently gone.
    fn addr_of(&self, key: PeerKey) -> Option<SocketAddr> {
        let gone = || self.departed.iter().find(|(k, _)| *k == key).map(|(_, addr)| *addr);
        self.peers.get(key).map(|peer| peer.addr).or_else(gone)
    }
}
