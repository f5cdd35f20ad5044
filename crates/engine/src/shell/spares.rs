//! Second connections with peers: where both ends dialled at once and the other one may keep either, the one that was refused is
//! kept for a while. Should the first one end, it takes its place.

use super::life::Life;
use super::{Newcomer, TorrentShell};
use samara_wire::time::{Duration, Instant};
use std::rc::Rc;

/// How long one is kept: by then the other end has closed one of the two, if it ever does.
const KEPT: Duration = Duration::from_secs(10);

/// How many are kept; then the oldest goes.
const MAX_SPARES: usize = 8;

/// A connection in reserve.
pub(super) struct Spare {
    newcomer: Newcomer,
    until: Instant,
}

impl Life {
    /// Keeps a connection in reserve.
    pub(super) fn keep_spare(&mut self, now: Instant, newcomer: Newcomer) {
        if self.spares.len() == MAX_SPARES {
            self.spares.remove(0);
        }
        self.spares.push(Spare { newcomer, until: now + KEPT });
    }

    /// Closes those whose time is over.
    pub(super) fn close_old_spares(&mut self, now: Instant) {
        self.spares.retain(|spare| spare.until > now);
        if self.spares.is_empty() {
            self.spares = Vec::new();
        }
    }

    /// When the first of them is to be closed.
    pub(super) fn spares_end(&self) -> Option<Instant> {
        self.spares.iter().map(|spare| spare.until).min()
    }
}

impl TorrentShell {
    /// A peer has hung up: if there is another connection with it, that takes the place of the first.
    pub(super) fn offer_spares(self: &Rc<Self>) {
        let spares = std::mem::take(&mut self.life.borrow_mut().spares);
        for Spare { newcomer, until } in spares {
            let kept = self.life.borrow().spares.len();
            self.handle_newcomer(newcomer);
            // One that is refused as before has no more time than it had.
            if let Some(spare) = self.life.borrow_mut().spares.get_mut(kept) {
                spare.until = until;
            }
        }
    }
}
