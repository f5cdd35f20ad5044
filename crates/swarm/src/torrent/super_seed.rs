//! Super-seeding (BEP 16): a seed that pretends to have nothing and reveals one piece at a time to each peer,
//! the next when the last was seen to spread, so that it uploads little more than one copy before others seed.

use super::{PeerKey, Torrent};
use crate::outbox::{Effect, Outbox};
use samara_wire::id::PieceIndex;
use samara_wire::peer::message::Message;
use samara_wire::time::Instant;

impl Torrent {
    /// `from` has told that it has `piece`: whoever had it revealed has passed it on.
    pub(super) fn on_spread(
        &mut self,
        now: Instant,
        from: PeerKey,
        piece: PieceIndex,
        out: &mut Outbox,
    ) {
        if !self.super_seeding() {
            return;
        }
        // With a single peer there is nobody to pass it on to.
        let alone = self.peers.iter().filter(|p| !p.is_seed()).count() <= 1;
        for key in self.keys_where(|p| p.revealed == Some(piece) && (p.key != from || alone)) {
            self.reveal_next(now, key, out);
        }
    }

    /// Reveals to `key` the rarest piece it lacks, ties broken at random.
    pub(super) fn reveal_next(&mut self, now: Instant, key: PeerKey, out: &mut Outbox) {
        if !self.super_seeding() {
            return;
        }
        let Some(peer) = self.peers.get(key) else { return };
        // A piece on its way to somebody counts as one copy already.
        let copies = |piece: PieceIndex| {
            let promised = self.peers.iter().filter(|p| p.revealed == Some(piece)).count();
            self.picker.availability(piece) as usize + promised
        };
        let (mut best, mut fewest, mut ties) = (None, usize::MAX, 0);
        for piece in peer.has.iter_missing().filter(|p| peer.revealed != Some(*p)) {
            let n = copies(piece);
            if n < fewest {
                (best, fewest, ties) = (Some(piece), n, 1);
            } else if n == fewest {
                ties += 1;
                if self.rng.below(ties) == 0 {
                    best = Some(piece);
                }
            }
        }
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.revealed = best;
        if let Some(piece) = best {
            peer.last_sent = now;
            out.push(Effect::Send(key, Message::Have(piece)));
        }
    }

    fn super_seeding(&self) -> bool {
        self.config.super_seeding && self.have.is_full()
    }
}
