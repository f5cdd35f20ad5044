//! What is taken of a peer's exchange messages (BEP 11), by a torrent and by a magnet link alike.
//!
//! At most 50 addresses a family, once a minute. What comes sooner is passed over; a peer that keeps on floods. Nobody out
//! there has business in the user's own network, so strangers name no addresses on it.

use crate::peer_list::is_local;
use alloc::vec::Vec;
use core::net::SocketAddr;
use samara_wire::peer::ut_pex::{PexFlags, PexMessage};
use samara_wire::time::{Duration, Instant};

/// The id under which we want `ut_pex` messages: to be said in our extension handshake.
pub const UT_PEX_ID: u8 = 1;

/// Time between two messages of a peer that are heeded. Clocks and networks are not exact.
const MIN_INTERVAL: Duration = Duration::from_secs(50);

/// Messages that come too soon, in a row, until the peer is dropped. Some clients send twice at first.
const MAX_EARLY: u8 = 6;

/// A peer sends exchange messages far more often than once a minute: it is to be dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("peer exchange far more often than once a minute")]
pub struct PexFlood;

/// Heeds the exchange messages of one peer. Not to be used for a private torrent (BEP 27).
#[derive(Clone, Copy, Debug, Default)]
pub struct PexIntake {
    heeded: Option<Instant>,
    early: u8,
}

impl PexIntake {
    /// The peers that one at `from` names; none if the message comes too soon or cannot be read.
    ///
    /// # Errors
    /// If the peer floods.
    pub fn take(
        &mut self,
        now: Instant,
        from: SocketAddr,
        payload: &[u8],
    ) -> Result<Vec<(SocketAddr, PexFlags)>, PexFlood> {
        if self.heeded.is_some_and(|at| now.since(at) < MIN_INTERVAL) {
            self.early += 1;
            return if self.early > MAX_EARLY { Err(PexFlood) } else { Ok(Vec::new()) };
        }
        (self.heeded, self.early) = (Some(now), 0);
        let Ok(mut message) = PexMessage::parse(payload) else { return Ok(Vec::new()) };
        let stranger = !is_local(from.ip());
        message.added.retain(|(addr, _)| !(stranger && is_local(addr.ip())));
        Ok(message.added)
    }
}
