//! How many peers want something of us, counted as it changes.
//!
//! In a swarm that waits for its seed nearly every HAVE changes somebody's interest. Going through all peers each time, to find that
//! no slot is free, was a third of what a swarm of a thousand cost.

use super::peer::Peer;
use crate::choker;

/// What the peers come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Crowd {
    /// Those who said that they are interested.
    pub(super) interested: usize,
    /// Of them, those who take a slot.
    pub(super) takers: choker::Crowd,
}

/// As what a peer is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Counted {
    /// It wants nothing.
    #[default]
    Not,
    /// It says that it is interested, but has everything or wants no payload.
    Interested,
    /// It wants something, and has a slot.
    Unchoked,
    /// It wants something, and waits.
    Waiting,
}

impl Counted {
    /// As what `peer` should be counted.
    pub(super) fn of(peer: &Peer) -> Self {
        match (peer.interested_in_us, peer.upload_only || peer.is_seed()) {
            (false, _) => Self::Not,
            (true, true) => Self::Interested,
            (true, false) if peer.choked_by_us => Self::Waiting,
            (true, false) => Self::Unchoked,
        }
    }
}

impl Crowd {
    /// Counts a peer anew after a change; to be called wherever what [`Counted::of`] looks at may have changed.
    pub(super) fn recount(&mut self, peer: &mut Peer) {
        let counted = Counted::of(peer);
        let before = core::mem::replace(&mut peer.counted, counted);
        if before != counted {
            self.step(before, false);
            self.step(counted, true);
        }
    }

    /// Forgets a peer that has left.
    pub(super) fn remove(&mut self, peer: &Peer) {
        self.step(peer.counted, false);
    }

    fn step(&mut self, counted: Counted, up: bool) {
        let step = |count: &mut usize| *count = if up { *count + 1 } else { *count - 1 };
        if counted != Counted::Not {
            step(&mut self.interested);
        }
        match counted {
            Counted::Not | Counted::Interested => {}
            Counted::Unchoked => step(&mut self.takers.unchoked),
            Counted::Waiting => step(&mut self.takers.waiting),
        }
    }

    /// Of these peers, looked at one by one.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn of<'a>(peers: impl Iterator<Item = &'a Peer>) -> Self {
        let mut crowd = Self::default();
        peers.for_each(|peer| crowd.step(Counted::of(peer), true));
        crowd
    }
}
