//! What our own address is, as those say who answer us (BEP 42).
//!
//! One who answers could lie, so it takes several from different networks that agree.

use crate::table::network_of;
use alloc::collections::VecDeque;
use core::net::{IpAddr, SocketAddr};

/// Votes that are kept.
const KEPT: usize = 24;

/// So many must agree, and be two thirds of those kept.
const QUORUM: usize = 6;

/// Counts who says what.
#[derive(Debug, Default)]
pub struct External {
    /// Voter's network and what it said, oldest first; one vote for each network.
    votes: VecDeque<(u64, IpAddr)>,
    decided: Option<IpAddr>,
}

impl External {
    /// Begins with an address known from elsewhere.
    #[must_use]
    pub const fn new(known: Option<IpAddr>) -> Self {
        Self { votes: VecDeque::new(), decided: known }
    }

    /// Our address, if it is known.
    #[must_use]
    pub const fn ip(&self) -> Option<IpAddr> {
        self.decided
    }

    /// It is known from elsewhere to be `ip`, until enough say otherwise. True if that is news.
    pub fn know(&mut self, ip: IpAddr) -> bool {
        self.decided.replace(ip) != Some(ip)
    }

    /// We are somewhere else: nothing is known any more.
    pub fn forget(&mut self) {
        *self = Self::new(None);
    }

    /// `voter` says that we are at `ip`. Gives our address if that changed it.
    pub fn vote(&mut self, voter: SocketAddr, ip: IpAddr) -> Option<IpAddr> {
        if ip.is_ipv4() != voter.is_ipv4() || ip.is_unspecified() || ip.is_multicast() {
            return None;
        }
        let network = network_of(voter);
        self.votes.retain(|(from, _)| *from != network);
        self.votes.push_back((network, ip));
        if self.votes.len() > KEPT {
            self.votes.pop_front();
        }
        let agree = self.votes.iter().filter(|(_, said)| *said == ip).count();
        let decided = agree >= QUORUM && agree * 3 >= self.votes.len() * 2;
        if !decided || self.decided == Some(ip) {
            return None;
        }
        self.decided = Some(ip);
        Some(ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_several_networks_to_agree() {
        let mut external = External::new(None);
        let ours = IpAddr::from([5, 6, 7, 8]);
        let voter = |n: u8| SocketAddr::from(([9, n, 1, 1], 1));
        let neighbour = |n: u8| SocketAddr::from(([8, 1, 1, n], 1));
        assert!((0..100).all(|n| external.vote(neighbour(n), ours).is_none()), "one network");
        assert!((0..4).all(|n| external.vote(voter(n), ours).is_none()));
        assert_eq!(external.vote(voter(4), ours), Some(ours));
        assert_eq!(external.vote(voter(5), ours), None, "said already");
        let other = IpAddr::from([5, 6, 7, 9]);
        assert!((10..16).all(|n| external.vote(voter(n), other).is_none()), "no two thirds");
        assert_eq!(external.ip(), Some(ours));
        let moved = (16..60).find_map(|n| external.vote(voter(n), other));
        assert_eq!(moved, Some(other));
    }
}
