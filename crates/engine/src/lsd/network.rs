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

use if_addrs::{IfAddr, IfOperStatus, Interface};
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

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Subnet {
    ip: IpAddr,
    prefix: u8,
}

impl Subnet {
    /// The network that `ip` is in. A prefix of 0, which would be everything, means that one address.
    pub(super) fn new(ip: IpAddr, prefix: u8) -> Self {
        let bits = if ip.is_ipv4() { 32 } else { 128 };
        Self { ip, prefix: if prefix == 0 { bits } else { prefix.min(bits) } }
    }

    pub(super) fn contains(&self, ip: IpAddr) -> bool {
        // Without the bits behind the prefix; IPv4 addresses are moved to the front.
        let network = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => u128::from(ip.to_bits()) << 96 >> (128 - u32::from(self.prefix)),
            IpAddr::V6(ip) => ip.to_bits() >> (128 - u32::from(self.prefix)),
        };
        self.ip.is_ipv4() == ip.is_ipv4() && network(self.ip) == network(ip)
    }
}

/// Looks at the interfaces of this machine. It takes a while where there are many.
pub(super) fn look(bind: &[IpAddr]) -> io::Result<Situation> {
    Ok(choose(&if_addrs::get_if_addrs()?, bind))
}

fn choose(interfaces: &[Interface], bind: &[IpAddr]) -> Situation {
    let chosen: Vec<(Place, Subnet)> = if bind.is_empty() {
        speak_to_each_network(interfaces)
    } else {
        bind.iter().flat_map(|ip| bound(interfaces, *ip)).collect()
    };
    let (places, subnets) = chosen.into_iter().take(MAX_PLACES).unzip();
    Situation { places, subnets }
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
            chosen.push((Place { interface: index, ip }, subnet(interface)));
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
    let fits = |i: &&Interface| i.ip() == ip || subnet(i).contains(ip);
    let best = interfaces.iter().filter(fits).max_by_key(|i| (i.ip() == ip, subnet(i).prefix));
    let place = best.and_then(|i| Some((Place { interface: i.index?, ip }, subnet(i))));
    place.into_iter().collect()
}

fn subnet(interface: &Interface) -> Subnet {
    match &interface.addr {
        IfAddr::V4(addr) => Subnet::new(addr.ip.into(), addr.prefixlen),
        IfAddr::V6(addr) => Subnet::new(addr.ip.into(), addr.prefixlen),
    }
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
    use if_addrs::{Ifv4Addr, Ifv6Addr};
    use std::net::Ipv6Addr;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn interface(index: u32, ip: &str, prefixlen: u8) -> Interface {
        let (netmask4, netmask6) = (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED);
        let addr = match ip.parse().unwrap() {
            IpAddr::V4(ip) => {
                IfAddr::V4(Ifv4Addr { ip, netmask: netmask4, prefixlen, broadcast: None })
            }
            IpAddr::V6(ip) => {
                IfAddr::V6(Ifv6Addr { ip, netmask: netmask6, prefixlen, broadcast: None })
            }
        };
        Interface {
            name: format!("if{index}"),
            addr,
            index: Some(index),
            oper_status: IfOperStatus::Up,
            is_p2p: false,
            #[cfg(windows)]
            adapter_name: String::new(),
        }
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
        let bind: Vec<_> = bind.iter().map(|text| ip(text)).collect();
        let chosen = choose(&machine(), &bind);
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
        assert_eq!(choose(&many, &[]).places.len(), MAX_PLACES);
    }

    #[test]
    fn a_network_is_told_by_its_first_bits() {
        let of = |text, prefix, other: &str| Subnet::new(ip(text), prefix).contains(ip(other));
        assert!(of("10.1.2.3", 16, "10.1.255.255") && !of("10.1.2.3", 16, "10.2.2.3"));
        assert!(of("10.1.2.3", 32, "10.1.2.3") && !of("10.1.2.3", 32, "10.1.2.2"));
        assert!(of("128.0.0.0", 1, "255.0.0.0") && !of("128.0.0.0", 1, "127.0.0.0"));
        assert!(of("fd00::1", 64, "fd00::ffff:1") && !of("fd00::1", 64, "fd00:0:0:1::1"));
        assert!(of("fd00::1", 128, "fd00::1") && !of("fd00::1", 128, "10.0.0.1"));
        assert!(of("10.1.2.3", 0, "10.1.2.3") && !of("10.1.2.3", 0, "8.8.8.8"));
    }
}
