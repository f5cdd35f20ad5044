//! What each message of the peer protocol means (BEP 3, 6, 10, 21, 52).

use super::peer::{MAX_FAST_PIECES, MAX_SERVE_QUEUE};
use super::{Direction, PeerKey, Torrent};
use crate::outbox::{DisconnectReason, Effect, Outbox};
use alloc::vec::Vec;
use samara_wire::bitfield::Bitfield;
use samara_wire::id::{BlockRef, MAX_BLOCK_LEN, PieceIndex};
use samara_wire::peer::message::Message;
use samara_wire::time::Instant;

impl Torrent {
    /// A message arrived. Messages of a peer that is gone are ignored.
    pub fn handle_message(
        &mut self,
        now: Instant,
        key: PeerKey,
        message: Message,
        out: &mut Outbox,
    ) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.last_received = now;
        if !peer.has_spoken {
            peer.has_spoken = true;
            self.wake(now, key, out);
        }
        if let Err(fault) = self.on_message(now, key, message, out) {
            self.disconnect(now, key, DisconnectReason::Protocol(fault), out);
        }
    }

    /// Who dialled us gets our handshake and our greeting in one datagram. Transmission 3.00 stops reading at the end of the
    /// handshake, and over uTP looks at the rest only once more has come: from a seed, which has nothing to add, nothing does.
    /// It begins to speak when it has read the handshake, so that what is sent now is read by itself.
    fn wake(&mut self, now: Instant, key: PeerKey, out: &mut Outbox) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        if peer.utp && peer.direction == Direction::Incoming {
            peer.last_sent = now;
            out.push(Effect::Send(key, Message::KeepAlive));
        }
    }

    /// The error is the peer's fault, in words.
    fn on_message(
        &mut self,
        now: Instant,
        key: PeerKey,
        message: Message,
        out: &mut Outbox,
    ) -> Result<(), &'static str> {
        match message {
            // We ask for none: a torrent begins with all its hashes.
            Message::Hashes { .. } | Message::HashReject(_) => {}
            Message::HashRequest(request) => self.on_hash_request(key, *request, out),
            Message::KeepAlive => {}
            Message::Suggest(piece) => self.on_suggest(key, piece),
            Message::Port(port) => self.on_port(key, port, out),
            Message::Choke => self.on_choke(now, key, out),
            Message::Unchoke => self.on_unchoke(now, key, out),
            Message::Interested => self.on_interested(now, key, out),
            Message::NotInterested => self.on_not_interested(now, key, out),
            Message::Have(piece) => self.on_have(now, key, piece, out)?,
            Message::Bitfield(bytes) => {
                let has = Bitfield::from_bytes(&bytes, self.layout.count())
                    .map_err(|_| "a bitfield that does not fit the torrent")?;
                if self.peers.get(key).is_some_and(|peer| peer.past_bitfield) {
                    self.on_later_bitfield(now, key, &has, out)?;
                } else {
                    self.on_bitfield(now, key, has, out)?;
                }
            }
            Message::HaveAll => {
                self.require_fast(key, "have-all without the fast extension")?;
                self.on_bitfield(now, key, Bitfield::full(self.layout.count()), out)?;
            }
            Message::HaveNone => {
                self.require_fast(key, "have-none without the fast extension")?;
                self.on_bitfield(now, key, Bitfield::empty(self.layout.count()), out)?;
            }
            Message::Request(block) => self.on_request(key, block, out)?,
            Message::Cancel(block) => self.on_cancel(key, block, out),
            Message::Reject(block) => {
                self.require_fast(key, "reject without the fast extension")?;
                self.on_reject(now, key, block, out)?;
            }
            Message::AllowedFast(piece) => {
                self.require_fast(key, "allowed-fast without the fast extension")?;
                self.on_allowed_fast(now, key, piece, out)?;
            }
            Message::Extended { id, payload } => {
                self.on_extended(now, key, id, &payload, out)?;
            }
        }
        Ok(())
    }

    fn require_fast(&self, key: PeerKey, fault: &'static str) -> Result<(), &'static str> {
        match self.peers.get(key) {
            Some(peer) if !peer.fast() => Err(fault),
            _ => Ok(()),
        }
    }

    /// A choke discards what was asked, unless the fast extension has every request rejected one by one.
    fn on_choke(&mut self, now: Instant, key: PeerKey, out: &mut Outbox) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.choking_us = true;
        let fast = peer.fast();
        peer.pipeline.on_choked();
        self.count_sources();
        if !fast {
            self.release_all(key);
            self.request_from_all(now, out);
        }
    }

    fn on_unchoke(&mut self, now: Instant, key: PeerKey, out: &mut Outbox) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.choking_us = false;
        peer.last_payload = now;
        self.count_sources();
        self.request_from(now, key, out);
    }

    fn on_have(
        &mut self,
        now: Instant,
        key: PeerKey,
        piece: PieceIndex,
        out: &mut Outbox,
    ) -> Result<(), &'static str> {
        if piece.0 >= self.layout.count() {
            return Err("a piece that does not exist");
        }
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        peer.past_bitfield = true;
        if !peer.has.insert(piece) {
            return Ok(());
        }
        self.picker.peer_has(piece, &peer.has);
        if peer.has.is_full() {
            self.crowd.recount(peer);
        }
        if self.picker.wants(piece) {
            peer.useful += 1;
        }
        self.update_interest(now, key, out);
        self.request_from(now, key, out);
        self.on_spread(now, key, piece, out);
        self.drop_if_redundant(now, key, out);
        Ok(())
    }

    fn on_bitfield(
        &mut self,
        now: Instant,
        key: PeerKey,
        has: Bitfield,
        out: &mut Outbox,
    ) -> Result<(), &'static str> {
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        if peer.past_bitfield {
            return Err("have-all or have-none where pieces were told of before");
        }
        peer.past_bitfield = true;
        self.picker.peer_left(&peer.has);
        self.picker.peer_joined(&has);
        peer.useful = if self.complete {
            0
        } else if has.is_full() {
            self.picker.wanted_left()
        } else {
            let wanted = has.iter_difference(&self.have).filter(|&p| self.picker.wants(p));
            u32::try_from(wanted.count()).unwrap_or(u32::MAX)
        };
        peer.has = has;
        self.crowd.recount(peer);
        self.update_interest(now, key, out);
        self.drop_if_redundant(now, key, out);
        Ok(())
    }

    /// BEP 3 has one bitfield, right after the handshake. aria2 sends another where that is shorter than the HAVEs it
    /// has gathered, so a later one is read as those HAVEs: it adds pieces and takes none away.
    fn on_later_bitfield(
        &mut self,
        now: Instant,
        key: PeerKey,
        has: &Bitfield,
        out: &mut Outbox,
    ) -> Result<(), &'static str> {
        let Some(peer) = self.peers.get(key) else { return Ok(()) };
        let new: Vec<PieceIndex> = has.iter_difference(&peer.has).collect();
        new.into_iter().try_for_each(|piece| self.on_have(now, key, piece, out))
    }

    /// Any request inside a piece we have is legal, up to 128 KiB.
    fn on_request(
        &mut self,
        key: PeerKey,
        block: BlockRef,
        out: &mut Outbox,
    ) -> Result<(), &'static str> {
        if block.len > MAX_BLOCK_LEN {
            return Err("a request of more than 128 KiB");
        }
        if !self.layout.contains(&block) {
            return Err("a request outside its piece");
        }
        let granted = self.grants(key);
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        let served = self.have.has(block.piece)
            && peer.may_be_served(&block)
            && (granted || !peer.choked_by_us)
            && peer.serve_queue.len() < MAX_SERVE_QUEUE;
        if served {
            peer.serve_queue.push_back(block);
            out.push(Effect::ServeReady(key));
            self.on_suggested_begun(key, &block, out);
        } else if peer.fast() {
            out.push(Effect::Send(key, Message::Reject(block)));
        }
        Ok(())
    }

    fn on_cancel(&mut self, key: PeerKey, block: BlockRef, out: &mut Outbox) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        if let Some(at) = peer.serve_queue.iter().position(|b| *b == block) {
            peer.serve_queue.remove(at);
            // BEP 6: every request is answered by a piece or a reject, a cancelled one too.
            if peer.fast() {
                out.push(Effect::Send(key, Message::Reject(block)));
            }
        }
    }

    fn on_reject(
        &mut self,
        now: Instant,
        key: PeerKey,
        block: BlockRef,
        out: &mut Outbox,
    ) -> Result<(), &'static str> {
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        if peer.take_outstanding(&block).is_none() {
            // The answer to a request that we took back in the meantime.
            return if peer.was_released(&block) {
                peer.forget_released(&block);
                Ok(())
            } else {
                Err("a reject of a block never asked for")
            };
        }
        self.outstanding_bytes -= u64::from(block.len);
        // A piece it may not be asked for now: no longer allowed fast, or it would be asked again at once.
        peer.allowed_fast.retain(|piece| *piece != block.piece);
        peer.pipeline.on_released(1);
        self.picker.release(key, block);
        self.request_from_others(now, key, out);
        Ok(())
    }

    fn on_allowed_fast(
        &mut self,
        now: Instant,
        key: PeerKey,
        piece: PieceIndex,
        out: &mut Outbox,
    ) -> Result<(), &'static str> {
        if piece.0 >= self.layout.count() {
            return Err("a piece that does not exist");
        }
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        let room = peer.allowed_fast.len() < MAX_FAST_PIECES;
        if room && !peer.allowed_fast.contains(&piece) && !self.have.has(piece) {
            peer.allowed_fast.push(piece);
            self.request_from(now, key, out);
        }
        Ok(())
    }

    /// Says that we are interested, or no longer, when that has changed.
    pub(super) fn update_interest(&mut self, now: Instant, key: PeerKey, out: &mut Outbox) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let interested = peer.useful > 0;
        if interested == peer.interested_by_us {
            return;
        }
        peer.interested_by_us = interested;
        peer.last_sent = now;
        let message = if interested { Message::Interested } else { Message::NotInterested };
        out.push(Effect::Send(key, message));
    }

    /// The keys of all peers for which `which` holds.
    pub(super) fn keys_where(&self, which: impl Fn(&super::peer::Peer) -> bool) -> Vec<PeerKey> {
        self.peers.iter().filter(|peer| which(peer)).map(|peer| peer.key).collect()
    }
}
