//! What our own address is, as others see it.
//!
//! Who dials whom depends on it (BEP 40), and it is never dialled, so no single peer may make it up. A gateway and a tracker (BEP 24),
//! which the user chose, are believed. Of peers (BEP 10, `yourip`) it takes several in different networks that agree, and what one of
//! the others told stands against them.

use crate::peer_list::{Subnet, is_local};
use alloc::vec::Vec;
use core::net::IpAddr;

/// Votes that are kept.
const KEPT: usize = 12;

/// So many must agree, and be two thirds of those of their family.
const QUORUM: usize = 3;

/// What is known of our address, in each family.
#[derive(Clone, Debug, Default)]
pub(super) struct External {
    /// A gateway or a tracker told it.
    told: [bool; 2],
    /// The voter's network and what it said, oldest first; one vote of each network.
    votes: Vec<(Subnet, IpAddr)>,
}

impl External {
    /// A gateway or a tracker says that we are at `ip`. Whether to believe it.
    pub(super) fn tell(&mut self, ip: IpAddr) -> bool {
        let believed = is_somewhere(ip);
        if believed {
            self.told[family(ip)] = true;
            self.votes.retain(|(_, said)| family(*said) != family(ip));
        }
        believed
    }

    /// A peer says that we are at `ip`. Whether to believe it by now.
    pub(super) fn vote(&mut self, voter: IpAddr, ip: IpAddr) -> bool {
        let (voter, ip) = (voter.to_canonical(), ip.to_canonical());
        let counts = is_somewhere(ip) && !is_local(ip) && family(voter) == family(ip);
        if !counts || self.told[family(ip)] {
            return false;
        }
        let network = Subnet::of(voter);
        self.votes.retain(|(from, _)| *from != network);
        if self.votes.len() == KEPT {
            self.votes.remove(0);
        }
        self.votes.push((network, ip));
        let of_family = self.votes.iter().filter(|(_, said)| family(*said) == family(ip)).count();
        let agree = self.votes.iter().filter(|(_, said)| *said == ip).count();
        agree >= QUORUM && agree * 3 >= of_family * 2
    }
}

fn family(ip: IpAddr) -> usize {
    usize::from(ip.is_ipv6())
}

fn is_somewhere(ip: IpAddr) -> bool {
    !ip.is_unspecified() && !ip.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn voter(n: u8) -> IpAddr {
        [80, 1, n, 7].into()
    }

    #[test]
    fn it_takes_three_networks_that_agree() {
        let (mut external, ours) = (External::default(), ip("203.0.113.9"));
        assert!((0..100).all(|_| !external.vote(voter(1), ours)), "one network has one vote");
        assert!(!external.vote(voter(2), ip("203.0.113.10")));
        assert!(!external.vote(voter(3), ours));
        assert!(external.vote(voter(4), ours), "three of four");
        // Votes of the other family are another matter.
        let [a, b, c] = ["2001:db8:1::1", "2001:db8:2::1", "2001:db8:3::1"].map(ip);
        let ours = ip("2001:db9::9");
        assert!(!external.vote(a, ours) && !external.vote(b, ours) && external.vote(c, ours));
    }

    #[test]
    fn where_no_two_thirds_agree_nothing_is_known() {
        let (mut external, one, other) = (External::default(), ip("9.0.0.1"), ip("9.0.0.2"));
        for n in 0..40 {
            assert!(!external.vote(voter(2 * n), one));
            assert!(!external.vote(voter(2 * n + 1), other));
        }
        assert_eq!(external.votes.len(), KEPT);
        // We have moved: the old votes make place for the new.
        assert!((100..112).any(|n| external.vote(voter(n), other)));
    }

    #[test]
    fn a_gateway_or_a_tracker_stands_against_all_peers() {
        let (mut external, told) = (External::default(), ip("203.0.113.9"));
        assert!(!external.tell(ip("0.0.0.0")) && !external.tell(ip("ff02::1")));
        assert!(external.tell(told));
        assert!((0..100).all(|n| !external.vote(voter(n), ip("9.9.9.9"))));
        assert!(external.tell(ip("203.0.113.10")), "it has changed");
    }

    #[test]
    fn what_makes_no_sense_does_not_count() {
        let mut external = External::default();
        for said in
            ["0.0.0.0", "224.0.0.1", "192.168.1.1", "127.0.0.1", "2001:db9::9", "::", "fe80::1"]
        {
            assert!((0..20).all(|n| !external.vote(voter(n), ip(said))), "{said}");
        }
        assert!(external.votes.is_empty());
    }
}
