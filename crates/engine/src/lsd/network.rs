//! Where on the local network we speak and listen: the choice of interfaces, and the sockets.
//!
//! **Which.** Every interface that is up and has an address; one address for each IPv4 network, because others believe
//! only those of their own, and one of IPv6, a global one if there is one. Neither loopback nor tunnels, unless the
//! user bound the session to them: a machine that has nothing else has no neighbours. If the session is bound, then
//! only the addresses it is bound to.
//!
//! **How.** An *ear* for each interface and family is bound to the group, so that it hears what is sent to the group on
//! its interface and nothing else; several programs may listen at the same time. A *mouth* for each address sends from
//! that address alone, with a hop limit of 1: whoever hears believes only neighbours, so what a router passed on
//! would be noise.

use crate::network::{Binding, Subnet};
use if_addrs::{IfOperStatus, Interface};
use samara_wire::lsd::{GROUP_V4, GROUP_V6};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6, UdpSocket};

/// Addresses that we announce from, at most.
const MAX_PLACES: usize = 32;

/// Hops that an announce may take.
const HOPS: u32 = 1;

/// An address of ours on an interface.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Place {
    /// Number of the interface.
    pub(super) interface: u32,
    pub(super) ip: IpAddr,
}

/// Where we are on the network.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Situation {
    pub(super) places: Vec<Place>,
    /// The networks of these places.
    pub(super) subnets: Vec<Subnet>,
}

impl Situation {
    /// What there is to choose from, and what of it the session may use.
    pub(super) fn of(interfaces: &[Interface], binding: &Binding) -> Self {
        let chosen: Vec<(Place, Subnet)> = if binding.is_restricted() {
            binding.sources().iter().flat_map(|source| bound(interfaces, source.ip)).collect()
        } else {
            speak_to_each_network(interfaces)
        };
        let (places, subnets) = chosen.into_iter().take(MAX_PLACES).unzip();
        Self { places, subnets }
    }
}

fn speak_to_each_network(interfaces: &[Interface]) -> Vec<(Place, Subnet)> {
    let mut chosen: Vec<(Place, Subnet)> = Vec::new();
    let lively =
        |i: &&Interface| i.oper_status == IfOperStatus::Up && !i.is_loopback() && !i.is_p2p;
    // A link-local address is taken only if there is no other of its family.
    let (last, first): (Vec<_>, Vec<_>) =
        interfaces.iter().filter(lively).partition(|i| is_link_local(i.ip()));
    for interface in first.into_iter().chain(last) {
        let (Some(index), ip) = (interface.index, interface.ip()) else { continue };
        let served = chosen.iter().any(|(place, subnet)| {
            place.interface == index
                && place.ip.is_ipv6() == ip.is_ipv6()
                && (ip.is_ipv6() || subnet.contains(ip))
        });
        if !served {
            chosen.push((Place { interface: index, ip }, Subnet::of(interface)));
        }
    }
    chosen
}

/// Where the address is that the user bound the session to: on the interface that bears it, or else on that whose network
/// it is in, because a system may own a whole network. The unspecified address means all of its family.
fn bound(interfaces: &[Interface], ip: IpAddr) -> Vec<(Place, Subnet)> {
    if ip.is_unspecified() {
        let mut all = speak_to_each_network(interfaces);
        all.retain(|(place, _)| place.ip.is_ipv4() == ip.is_ipv4());
        return all;
    }
    let fits = |i: &&Interface| i.ip() == ip || Subnet::of(i).contains(ip);
    let best =
        interfaces.iter().filter(fits).max_by_key(|i| (i.ip() == ip, Subnet::of(i).prefix()));
    let place = best.and_then(|i| Some((Place { interface: i.index?, ip }, Subnet::of(i))));
    place.into_iter().collect()
}

/// Whether the address means nothing but on its link.
pub(super) fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// The group of the family of `ip`.
pub(super) fn group(ip: IpAddr) -> SocketAddr {
    if ip.is_ipv4() { GROUP_V4 } else { GROUP_V6 }
}

/// A socket that hears what is sent to the group on the interface of `place`.
pub(super) fn ear(place: Place) -> io::Result<UdpSocket> {
    let group = group(place.ip);
    let socket = open(group)?;
    socket.set_reuse_address(true)?;
    // Elsewhere on Unix the former allows nothing to those who bind to the very same address.
    #[cfg(all(unix, not(target_os = "linux")))]
    socket.set_reuse_port(true)?;
    // Only where the system knows of such an address.
    let addr = if cfg!(unix) { group } else { SocketAddr::new(any(place.ip), group.port()) };
    socket.bind(&addr.into())?;
    match (place.ip, group.ip()) {
        (IpAddr::V4(ip), IpAddr::V4(group)) => {
            // Or Linux passes on what others asked for on other interfaces.
            #[cfg(target_os = "linux")]
            socket.set_multicast_all_v4(false)?;
            socket.set_multicast_loop_v4(true)?;
            socket.join_multicast_v4(&group, &ip)?;
        }
        (_, IpAddr::V6(group)) => {
            // Only newer systems know it. Without it, a peer may be heard once more, which is no news.
            #[cfg(target_os = "linux")]
            let _ = socket.set_multicast_all_v6(false);
            socket.set_multicast_loop_v6(true)?;
            socket.join_multicast_v6(&group, place.interface)?;
        }
        (IpAddr::V6(_), IpAddr::V4(_)) => {}
    }
    Ok(socket.into())
}

/// A socket that sends to the group from `place`.
pub(super) fn mouth(place: Place) -> io::Result<UdpSocket> {
    let group = group(place.ip);
    let socket = open(group)?;
    let scope = if is_link_local(place.ip) { place.interface } else { 0 };
    let from = match place.ip {
        IpAddr::V4(ip) => SocketAddr::from((ip, 0)),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, 0, 0, scope).into(),
    };
    socket.bind(&from.into())?;
    // Loops back, so that two programs on one machine find each other.
    match place.ip {
        IpAddr::V4(ip) => {
            socket.set_multicast_if_v4(&ip)?;
            socket.set_multicast_ttl_v4(HOPS)?;
            socket.set_multicast_loop_v4(true)?;
        }
        IpAddr::V6(_) => {
            socket.set_multicast_if_v6(place.interface)?;
            socket.set_multicast_hops_v6(HOPS)?;
            socket.set_multicast_loop_v6(true)?;
        }
    }
    Ok(socket.into())
}

fn open(group: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(group), Type::DGRAM, Some(Protocol::UDP))?;
    if group.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn any(ip: IpAddr) -> IpAddr {
    if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::tests::interface;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn machine() -> Vec<Interface> {
        let mut tunnel = interface(4, "10.8.0.2", 24);
        tunnel.is_p2p = true;
        let mut down = interface(5, "10.9.0.2", 24);
        down.oper_status = IfOperStatus::Unknown;
        vec![
            interface(1, "127.0.0.1", 8),
            interface(1, "::1", 128),
            interface(2, "192.168.1.2", 24),
            interface(2, "192.168.1.3", 24),
            interface(2, "10.0.0.2", 8),
            interface(2, "fe80::2", 64),
            interface(2, "2001:db8::2", 64),
            interface(2, "2001:db8::22", 64),
            interface(3, "fe80::3", 64),
            tunnel,
            down,
        ]
    }

    fn places(bind: &[&str]) -> Vec<(u32, IpAddr)> {
        let bind: Vec<_> = bind.iter().map(|text| ip(text).into()).collect();
        let chosen = Situation::of(&machine(), &Binding::of(&bind, &[]));
        assert_eq!(chosen.places.len(), chosen.subnets.len());
        chosen.places.into_iter().map(|place| (place.interface, place.ip)).collect()
    }

    #[test]
    fn each_network_is_spoken_to_once() {
        let want = [(2, "192.168.1.2"), (2, "10.0.0.2"), (2, "2001:db8::2"), (3, "fe80::3")];
        assert_eq!(places(&[]), want.map(|(interface, text)| (interface, ip(text))));
    }

    #[test]
    fn who_is_bound_speaks_from_there_alone() {
        assert_eq!(places(&["192.168.1.3"]), [(2, ip("192.168.1.3"))]);
        assert_eq!(places(&["10.8.0.2"]), [(4, ip("10.8.0.2"))], "a tunnel, if it is wanted");
        assert_eq!(places(&["127.3.4.5"]), [(1, ip("127.3.4.5"))], "a system may own a network");
        let two = [(1, ip("127.0.0.1")), (1, ip("127.0.0.2"))];
        assert_eq!(places(&["127.0.0.1", "127.0.0.2"]), two);
        assert_eq!(places(&["203.0.113.1"]), []);
        assert_eq!(places(&["0.0.0.0"]), [(2, ip("192.168.1.2")), (2, ip("10.0.0.2"))]);
        assert_eq!(places(&["::"]), [(2, ip("2001:db8::2")), (3, ip("fe80::3"))]);
    }

    #[test]
    fn a_machine_of_many_networks_has_a_bounded_voice() {
        let many: Vec<_> = (0..200u8).map(|n| interface(7, &format!("10.{n}.0.1"), 16)).collect();
        assert_eq!(Situation::of(&many, &Binding::default()).places.len(), MAX_PLACES);
    }
}
