//! How many connections a session has: in all, and with one network.
//!
//! A torrent bounds its own, in all and for each /24 or /48 ([`samara_swarm::peer_list`]). Over all torrents together a /24 of
//! IPv4 or a /48 of IPv6 gets a quarter of the places: one party with an address in every torrent cannot have them all. The
//! local network is no such party.

use samara_swarm::peer_list::{Subnet, is_local};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The share of a subnet is one of so many.
const SHARES: usize = 4;

/// A subnet gets at least so many places.
const MIN_OF_SUBNET: usize = 16;

/// The places for connections of a session.
pub(crate) struct Connections {
    max: usize,
    max_of_subnet: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    subnets: BTreeMap<Subnet, usize>,
    /// Whether the user was told that all are taken.
    told: bool,
}

/// A place among the connections, until dropped.
pub(crate) struct Place {
    of: Arc<Connections>,
    /// `None`: of the local network.
    subnet: Option<Subnet>,
}

/// Why there is no place for a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Full {
    #[error("all {0} connections of the session are in use")]
    Session(usize),
    #[error("the peer's network has {0} connections already")]
    Subnet(usize),
}

impl Connections {
    /// Places for `max` connections.
    pub(crate) fn new(max: usize) -> Arc<Self> {
        let max_of_subnet = (max / SHARES).max(MIN_OF_SUBNET);
        Arc::new(Self { max, max_of_subnet, taken: Mutex::default() })
    }

    /// A place for a connection with `ip`.
    pub(crate) fn enter(self: &Arc<Self>, ip: IpAddr) -> Result<Place, Full> {
        let mut taken = self.taken();
        if taken.all >= self.max {
            if !std::mem::replace(&mut taken.told, true) {
                let max = self.max;
                tracing::warn!(
                    max,
                    "all connections of the session are in use; peers are turned away"
                );
            }
            return Err(Full::Session(self.max));
        }
        let subnet = (!is_local(ip)).then(|| Subnet::of(ip));
        if let Some(subnet) = subnet {
            let of_subnet = taken.subnets.entry(subnet).or_default();
            if *of_subnet >= self.max_of_subnet {
                return Err(Full::Subnet(*of_subnet));
            }
            *of_subnet += 1;
        }
        taken.all += 1;
        Ok(Place { of: Arc::clone(self), subnet })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.of.taken();
        taken.all -= 1;
        let Some(subnet) = self.subnet else { return };
        match taken.subnets.get_mut(&subnet) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                taken.subnets.remove(&subnet);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_place_is_free_again_when_its_connection_has_ended() {
        let connections = Connections::new(2);
        let first = connections.enter(ip("192.0.2.1")).unwrap();
        let _second = connections.enter(ip("127.0.0.1")).unwrap();
        assert_eq!(connections.enter(ip("198.51.100.1")).err(), Some(Full::Session(2)));
        drop(first);
        let third = connections.enter(ip("198.51.100.1"));
        assert!(third.is_ok() && connections.taken().subnets.len() == 1);
    }

    #[test]
    fn a_network_has_a_quarter_of_the_places_and_ours_all() {
        let connections = Connections::new(100);
        for (theirs, other) in [("192.0.2.", "192.0.3.1"), ("2001:db8:1::", "2001:db8:2::1")] {
            let enter = |n| connections.enter(ip(&format!("{theirs}{n}")));
            let places: Vec<_> = (1..=25).map(|n| enter(n).unwrap()).collect();
            assert_eq!(enter(26).err(), Some(Full::Subnet(25)));
            assert!(connections.enter(ip(other)).is_ok());
            drop(places);
            assert!(enter(26).is_ok());
        }
        assert!(connections.taken().subnets.is_empty());
        let ours: Vec<_> = (0..100).map(|_| connections.enter(ip("10.0.0.1")).unwrap()).collect();
        assert!(connections.enter(ip("10.0.0.1")).is_err() && ours.len() == 100);
    }
}
