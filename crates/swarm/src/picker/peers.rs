//! What the picker is told about peers, and what it tells about the swarm.

use super::{Picker, RESORT_SHARE};
use samara_wire::bitfield::Bitfield;
use samara_wire::id::PieceIndex;

impl Picker {
    /// Keeps the availability of each piece even when we are complete, as super-seeding (BEP 16) needs it. Call it
    /// before any peer is counted in.
    pub const fn count_always(&mut self) {
        self.availability.count_always();
    }

    /// Counts in a peer that has `has`. Call it once for each peer, if only with an empty set.
    pub fn peer_joined(&mut self, has: &Bitfield) {
        self.count_peer(has, true);
    }

    /// Counts out a peer; `has` is what it had last.
    pub fn peer_left(&mut self, has: &Bitfield) {
        self.count_peer(has, false);
    }

    /// A peer that was counted in has told a HAVE that was news. `has` is its set, `piece` included; by it the
    /// picker notices that the peer has become complete.
    pub fn peer_has(&mut self, piece: PieceIndex, has: &Bitfield) {
        self.step(piece, true);
        if has.is_full() && self.availability.became_full() {
            self.order.invalidate();
        }
    }

    /// Number of connected peers that have `piece`. Once we are complete, only complete peers are counted, unless
    /// [`Picker::count_always`] was asked for.
    #[must_use]
    pub fn availability(&self, piece: PieceIndex) -> u32 {
        self.availability.copies(piece)
    }

    /// Copies, among connected peers, of the rarest piece that we want and lack; the number of complete peers
    /// if there is no such piece.
    ///
    /// Costs the startable pieces if many peers came or went since the last pick, else the partial ones.
    #[must_use]
    pub fn min_availability(&self) -> u32 {
        let partial =
            self.partials.keys().filter(|&&p| self.wants(p)).map(|&p| self.class(p)).min();
        let startable = if self.order.is_sorted() {
            self.order.rarest_class()
        } else {
            self.startable.iter().map(|p| self.class(p)).min()
        };
        let rarest = partial.into_iter().chain(startable).min();
        rarest.map_or(self.availability.full(), |class| self.availability.copies_of(class))
    }

    /// Number of connected peers that have everything.
    #[must_use]
    pub const fn seeds(&self) -> u32 {
        self.availability.full()
    }

    fn count_peer(&mut self, has: &Bitfield, joins: bool) {
        let few = has.count() < self.startable.count() / RESORT_SHARE;
        if !has.is_full() && self.order.is_sorted() && few {
            has.iter().for_each(|piece| self.step(piece, joins));
            return;
        }
        if joins {
            self.availability.join(has);
        } else {
            self.availability.leave(has);
        }
        if !has.is_full() && !has.is_empty() {
            self.order.invalidate();
        }
    }

    /// Counts one piece of one peer in or out.
    fn step(&mut self, piece: PieceIndex, up: bool) {
        let class = self.class(piece);
        self.availability.step(piece, up, self.layout.count());
        if !self.startable.has(piece) {
            return;
        }
        let priority = self.priorities.get(piece);
        if up {
            self.order.raise(piece, priority, class);
        } else {
            self.order.lower(piece, priority, class);
        }
    }

    pub(super) fn class(&self, piece: PieceIndex) -> u16 {
        self.availability.class(piece)
    }
}
