//! Connection ids (BEP 15) without memory: a keyed hash of the address and the minute.
//!
//! The key is random, never leaves the process, and the hash is a pseudo-random function (SipHash, which the
//! standard library keys from the system's randomness), so an id proves that its sender received it at that
//! address. Ids are accepted in the minute they were made and in the two after it, hence for two minutes at least.

use samara_wire::time::Instant;
use samara_wire::tracker::udp::ConnectionId;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

const WINDOW_SECS: u64 = 60;
const WINDOWS: u64 = 3;

#[derive(Debug, Default)]
pub(super) struct Cookies {
    key: RandomState,
}

impl Cookies {
    /// The id for a client at `ip`.
    pub(super) fn issue(&self, now: Instant, ip: IpAddr) -> ConnectionId {
        self.of(window(now), ip)
    }

    /// Whether `id` was lately given to `ip`.
    pub(super) fn accepts(&self, now: Instant, ip: IpAddr, id: ConnectionId) -> bool {
        let now = window(now);
        (now.saturating_sub(WINDOWS - 1)..=now).any(|window| self.of(window, ip) == id)
    }

    fn of(&self, window: u64, ip: IpAddr) -> ConnectionId {
        ConnectionId(self.key.hash_one((window, ip)))
    }
}

fn window(now: Instant) -> u64 {
    now.as_micros() / 1_000_000 / WINDOW_SECS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_good_for_its_address_and_two_minutes() {
        let cookies = Cookies::default();
        let (ip, other) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let id = cookies.issue(Instant::from_secs(59), ip);
        for secs in [59, 60, 120, 179] {
            assert!(cookies.accepts(Instant::from_secs(secs), ip, id));
        }
        assert!(!cookies.accepts(Instant::from_secs(240), ip, id));
        assert!(!cookies.accepts(Instant::from_secs(59), other, id));
        assert!(!cookies.accepts(Instant::from_secs(59), ip, ConnectionId(id.0 ^ 1)));
        assert!(!Cookies::default().accepts(Instant::from_secs(59), ip, id), "another key");
    }
}
