//! Suggested pieces (BEP 6).
//!
//! A seed that serves a crowd sends a piece twice for nothing if two peers that know nothing of each other ask for it. So it tells
//! each peer that it serves of a piece that nobody has and that nobody else was told of, and of the next one when that is begun; each
//! piece once. Peers are free to ask for another.
//!
//! What is suggested to us decides among pieces that are equally good, and nothing else: a liar gains nothing by it.

use super::{PeerKey, Torrent};
use crate::outbox::{Effect, Outbox};
use alloc::vec::Vec;
use samara_wire::id::{BlockRef, PieceIndex};
use samara_wire::peer::message::Message;

/// Suggestions of one peer that are remembered; the oldest is forgotten first.
const MAX_SUGGESTED: usize = 8;

/// Where a seed is in its one walk through all pieces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    next: u32,
    left: u32,
}

impl Torrent {
    /// `from` suggests a piece.
    pub(super) fn on_suggest(&mut self, from: PeerKey, piece: PieceIndex) {
        let Some(peer) = self.peers.get_mut(from) else { return };
        if piece.0 >= self.layout.count() || self.have.has(piece) {
            return;
        }
        let have = &self.have;
        peer.suggested.retain(|known| *known != piece && !have.has(*known));
        if peer.suggested.len() == MAX_SUGGESTED {
            peer.suggested.remove(0);
        }
        peer.suggested.push(piece);
    }

    /// `key` asks for a block: if it begins with what was suggested it is told of the next piece.
    pub(super) fn on_suggested_begun(&mut self, key: PeerKey, block: &BlockRef, out: &mut Outbox) {
        let told = self.peers.get(key).and_then(|peer| peer.was_suggested);
        if told == Some(block.piece) && block.begin == 0 {
            self.suggest(key, out);
        }
    }

    /// Tells `key` of a piece that nobody has, if there is a crowd and any such piece is left.
    pub(super) fn suggest(&mut self, key: PeerKey, out: &mut Outbox) {
        let crowd = self.peers.iter().filter(|peer| !peer.is_seed()).take(2).count() == 2;
        let seeds = self.complete && self.have.is_full() && !self.config.super_seeding;
        let fast = self.peers.get(key).is_some_and(super::peer::Peer::fast);
        if !crowd || !seeds || !fast {
            return;
        }
        let count = self.layout.count();
        let rng = &mut self.rng;
        let walk = self.walk.get_or_insert_with(|| Walk {
            next: u32::try_from(rng.below(count as usize)).unwrap_or(0),
            left: count,
        });
        while walk.left > 0 {
            let piece = PieceIndex(walk.next);
            walk.next = (walk.next + 1) % count;
            walk.left -= 1;
            if self.peers.iter().all(|peer| !peer.has.has(piece) || peer.is_seed()) {
                let Some(peer) = self.peers.get_mut(key) else { return };
                peer.was_suggested = Some(piece);
                out.push(Effect::Send(key, Message::Suggest(piece)));
                return;
            }
        }
    }
}

/// What a peer has suggested, oldest first.
pub(super) type Suggested = Vec<PieceIndex>;
