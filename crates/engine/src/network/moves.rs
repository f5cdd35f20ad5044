//! Whether we are where we were: what changes of interfaces mean for connections, and for those who know us by our address.
//!
//! An address that went away takes its connections with it; only, who comes back to the same address within a moment, as wireless
//! links do, has lost nothing. Whoever knows us by our address, trackers and the DHT, is told anew when there is another way out
//! of this machine. Networks that lead nowhere, such as those of containers, come and go unnoticed where there is a gateway.

use super::Situation;
use if_addrs::Interface;
use samara_wire::time::{Duration, Instant};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// An address may be away for so long without loss, if no other takes its place.
const PATIENCE: Duration = Duration::from_secs(5);

/// Moves that are told at once, and the time in which one more may be: links that go up and down all the time shall not
/// have trackers asked all the time.
const BURST: u32 = 3;
const REFILL: Duration = Duration::from_secs(60);

/// What has changed, for those who have connections or are known by an address.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Move {
    /// Addresses that are ours no more.
    pub(crate) gone: Vec<IpAddr>,
    /// Whether others may know us by another address than the one we have now.
    pub(crate) announce: bool,
}

/// A way out of this machine: our address, and the gateway if one is known.
type Way = (IpAddr, Option<IpAddr>);

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Moves {
    /// `None` before the first look.
    here: Option<BTreeSet<IpAddr>>,
    ways: BTreeSet<Way>,
    /// Addresses that went away, and since when.
    missing: BTreeMap<IpAddr, Instant>,
    /// A move that is still to be told.
    due: bool,
    /// Moves told lately, and when that was last made fewer.
    told: u32,
    since: Instant,
}

impl Moves {
    /// Takes what was seen, and gives what it means. To be called again at [`Moves::next_timeout`].
    pub(super) fn look(&mut self, now: Instant, seen: &Situation) -> Option<Move> {
        let here: BTreeSet<_> = seen.interfaces.iter().filter_map(place).collect();
        let ways = ways_out(seen);
        let Some(before) = self.here.replace(here.clone()) else {
            self.ways = ways;
            return None;
        };
        for ip in before.difference(&here) {
            self.missing.insert(*ip, now);
        }
        self.missing.retain(|ip, _| !here.contains(ip));
        let arrived: Vec<_> = here.difference(&before).collect();
        let replaced = |ip: &IpAddr| arrived.iter().any(|new| new.is_ipv4() == ip.is_ipv4());
        let over = |since: &Instant| now.since(*since) >= PATIENCE;
        let gone: Vec<_> =
            self.missing.extract_if(.., |ip, since| replaced(ip) || over(since)).collect();
        let gone: Vec<_> = gone.into_iter().map(|(ip, _)| ip).collect();
        // Ways that are away for a moment may be the same when they come back.
        let is_new = |way: &Way| !self.ways.contains(way) && !self.is_neighbour(way, &gone);
        self.due |= ways.iter().any(is_new);
        self.ways.retain(|way| ways.contains(way) || self.missing.contains_key(&way.0));
        self.ways.extend(ways);
        let announce = self.due && self.take_turn(now);
        (announce || !gone.is_empty()).then_some(Move { gone, announce })
    }

    /// When it is time to look again, though nothing changes.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let patience = self.missing.values().map(|since| *since + PATIENCE).min();
        let turn = self.due.then(|| self.since + REFILL);
        patience.into_iter().chain(turn).min()
    }

    /// Whether another address of the same network is a way out already and stays one: temporary addresses of IPv6 (RFC 8981) change
    /// all the time, and those that others know us by still hold.
    fn is_neighbour(&self, way: &Way, gone: &[IpAddr]) -> bool {
        let network = |ip: &IpAddr| match ip {
            IpAddr::V4(_) => None,
            IpAddr::V6(ip) => Some(ip.to_bits() >> 64),
        };
        let of = network(&way.0);
        of.is_some()
            && self
                .ways
                .iter()
                .any(|(ip, by)| network(ip) == of && *by == way.1 && !gone.contains(ip))
    }

    fn take_turn(&mut self, now: Instant) -> bool {
        while self.told > 0 && now.since(self.since) >= REFILL {
            (self.told, self.since) = (self.told - 1, self.since + REFILL);
        }
        if self.told >= BURST {
            return false;
        }
        if self.told == 0 {
            self.since = now;
        }
        (self.told, self.due) = (self.told + 1, false);
        true
    }
}

/// The address of an interface, if anybody else could know us by it.
fn place(interface: &Interface) -> Option<IpAddr> {
    let ip = interface.ip();
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let usable = !interface.is_loopback() && !link_local && !ip.is_unspecified();
    usable.then_some(ip)
}

/// For each family: the addresses of interfaces with a gateway, or all if there is none.
fn ways_out(seen: &Situation) -> BTreeSet<Way> {
    let mut ways = BTreeSet::new();
    for v4 in [true, false] {
        let all =
            seen.interfaces.iter().filter_map(|interface| Some((interface, place(interface)?)));
        let of_family: Vec<_> = all.filter(|(_, ip)| ip.is_ipv4() == v4).collect();
        let gateways: Vec<_> = seen.gateways.iter().filter(|g| g.ip.is_ipv4() == v4).collect();
        let leads = |(interface, ip): &(&Interface, IpAddr)| {
            let by = |gateway: &&super::Gateway| interface.index == Some(gateway.interface);
            gateways.iter().copied().find(by).map(|gateway| (*ip, Some(gateway.ip)))
        };
        let out: Vec<Way> = of_family.iter().filter_map(leads).collect();
        match out.is_empty() {
            true => ways.extend(of_family.iter().map(|(_, ip)| (*ip, None))),
            false => ways.extend(out),
        }
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::super::Gateway;
    use super::super::watch::tests::interface;
    use super::*;

    /// Interfaces by number and address, and gateways by the number of the interface.
    fn seen(interfaces: &[(u32, &str, u8)], gateways: &[(u32, &str)]) -> Situation {
        let gateway = |(interface, ip): &(u32, &str)| Gateway {
            ip: ip.parse().unwrap(),
            interface: *interface,
        };
        Situation {
            interfaces: interfaces
                .iter()
                .map(|(n, ip, prefix)| interface(*n, ip, *prefix))
                .collect(),
            gateways: gateways.iter().map(gateway).collect(),
            ..Situation::default()
        }
    }

    fn at(secs: u64) -> Instant {
        Instant::from_secs(1000 + secs)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    const HOME: &[(u32, &str, u8)] = &[(1, "127.0.0.1", 8), (2, "192.168.1.7", 24)];
    const HOME_GATEWAY: &[(u32, &str)] = &[(2, "192.168.1.1")];

    /// Who has looked at home once.
    fn at_home() -> Moves {
        let mut moves = Moves::default();
        assert_eq!(moves.look(at(0), &seen(HOME, HOME_GATEWAY)), None);
        assert_eq!(moves.look(at(1), &seen(HOME, HOME_GATEWAY)), None);
        moves
    }

    #[test]
    fn another_address_in_place_of_the_old_is_a_move_at_once() {
        let mut moves = at_home();
        let there = seen(&[(1, "127.0.0.1", 8), (2, "10.3.0.9", 24)], &[(2, "10.3.0.1")]);
        let moved = Move { gone: vec![ip("192.168.1.7")], announce: true };
        assert_eq!(moves.look(at(2), &there), Some(moved));
        assert_eq!((moves.look(at(3), &there), moves.next_timeout()), (None, None));
    }

    #[test]
    fn who_is_back_within_a_moment_has_lost_nothing() {
        let mut moves = at_home();
        assert_eq!(moves.look(at(2), &seen(&[], &[])), None);
        assert_eq!(moves.next_timeout(), Some(at(7)));
        assert_eq!(moves.look(at(4), &seen(HOME, HOME_GATEWAY)), None);
        assert_eq!(moves.next_timeout(), None);
        // Not so after a while.
        assert_eq!(moves.look(at(10), &seen(&[], &[])), None);
        let gone = Move { gone: vec![ip("192.168.1.7")], announce: false };
        assert_eq!(moves.look(at(15), &seen(&[], &[])), Some(gone));
        let back = Move { gone: vec![], announce: true };
        assert_eq!(moves.look(at(60), &seen(HOME, HOME_GATEWAY)), Some(back));
    }

    #[test]
    fn the_same_address_behind_another_gateway_is_a_move() {
        let mut moves = at_home();
        let there = seen(HOME, &[(2, "192.168.1.254")]);
        assert_eq!(moves.look(at(2), &there), Some(Move { gone: vec![], announce: true }));
    }

    #[test]
    fn networks_that_lead_nowhere_do_not_matter_where_one_leads_out() {
        let mut moves = at_home();
        let mut with_bridge = HOME.to_vec();
        with_bridge.push((9, "172.17.0.1", 16));
        assert_eq!(moves.look(at(2), &seen(&with_bridge, HOME_GATEWAY)), None);
        // When it goes, so do its connections.
        assert_eq!(moves.look(at(3), &seen(HOME, HOME_GATEWAY)), None);
        let gone = Move { gone: vec![ip("172.17.0.1")], announce: false };
        assert_eq!(moves.look(at(8), &seen(HOME, HOME_GATEWAY)), Some(gone));
        // Without a gateway all are alike.
        let mut moves = Moves::default();
        moves.look(at(0), &seen(HOME, &[]));
        assert!(moves.look(at(1), &seen(&with_bridge, &[])).unwrap().announce);
    }

    #[test]
    fn temporary_addresses_of_a_network_are_no_move_unless_they_replace_one() {
        let ours = |ips: &[&'static str]| {
            let interfaces: Vec<_> = ips.iter().map(|ip| (2, *ip, 64)).collect();
            seen(&interfaces, &[(2, "fe80::1")])
        };
        let (first, second, third) = ("2001:db8::a", "2001:db8::b", "2001:db8:0:1::c");
        let mut moves = Moves::default();
        moves.look(at(0), &ours(&[first, "fe80::7"]));
        assert_eq!(moves.look(at(1), &ours(&[first, second])), None);
        assert!(moves.look(at(2), &ours(&[first, second, third])).unwrap().announce);
        let mut moves = Moves::default();
        moves.look(at(0), &ours(&[first]));
        let moved = Move { gone: vec![ip(first)], announce: true };
        assert_eq!(moves.look(at(1), &ours(&[second])), Some(moved));
    }

    #[test]
    fn who_moves_all_the_time_is_told_of_now_and_then() {
        let (mut moves, mut told) = (at_home(), Vec::new());
        for second in 2..302 {
            let last = if second % 2 == 0 { "10.0.0.1" } else { "10.0.0.2" };
            let there = seen(&[(2, last, 24)], &[(2, "10.0.0.254")]);
            if moves.look(at(second), &there).is_some_and(|moved| moved.announce) {
                told.push(second);
            }
        }
        assert_eq!(told, [2, 3, 4, 62, 122, 182, 242]);
        // The last one is not forgotten.
        let there = seen(&[(2, "10.0.0.2", 24)], &[(2, "10.0.0.254")]);
        assert_eq!(moves.next_timeout(), Some(at(302)));
        assert!(moves.look(at(302), &there).unwrap().announce);
        assert_eq!(moves.next_timeout(), None);
    }
}
