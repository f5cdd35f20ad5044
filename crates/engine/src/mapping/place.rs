//! Whom to ask, and from where: our address on the network of a gateway.

use crate::network::{Situation, Source, Subnet, guess};
use if_addrs::{IfOperStatus, Interface};
use samara_wire::portmap::{GATEWAY_PORT, GatewayUrl};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// Where a port is mapped, if at all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    /// Our address there.
    pub(super) source: Source,
    /// Where the gateway listens for PCP and NAT-PMP.
    pub(super) gateway: SocketAddr,
    /// The network we share with it.
    pub(super) subnet: Subnet,
}

impl Place {
    /// The place of a family in this situation: at the best gateway that the session may use. Never on loopback.
    pub(super) fn find(situation: &Situation, v4: bool) -> Option<Self> {
        let (binding, interfaces) = (&situation.binding, &situation.interfaces);
        let usable = |i: &&Interface| {
            let allowed = !binding.is_restricted()
                || binding.sources().iter().any(|source| source.ip == i.ip());
            let is_mappable = match i.ip() {
                IpAddr::V4(_) => v4,
                IpAddr::V6(ip) => !v4 && is_global(ip),
            };
            allowed && is_mappable && i.oper_status == IfOperStatus::Up && !i.is_loopback()
        };
        let at = |i: &Interface, gateway: SocketAddr| {
            let same = binding.sources().iter().find(|source| source.ip == i.ip());
            let source = same.cloned().unwrap_or_else(|| i.ip().into());
            Self { source, gateway, subnet: Subnet::of(i) }
        };
        let known = situation.gateways.iter().filter(|gateway| gateway.ip.is_ipv4() == v4);
        let place = known.clone().find_map(|gateway| {
            let here = interfaces.iter().filter(|i| i.index == Some(gateway.interface));
            // The last of the greatest is taken, and the first shall be.
            let best =
                here.filter(usable).rev().max_by_key(|i| Subnet::of(i).contains(gateway.ip))?;
            Some(at(best, endpoint(gateway.ip, gateway.interface)))
        });
        // Where the system names no gateway, or where the session is bound to a tunnel, which has none.
        let may_guess = v4 && (binding.is_restricted() || !cfg!(target_os = "linux"));
        place.or_else(|| {
            interfaces.iter().filter(|i| may_guess && usable(i)).find_map(|i| {
                let IpAddr::V4(ip) = i.ip() else { return None };
                Some(at(i, endpoint(guess(ip)?.into(), 0)))
            })
        })
    }

    /// Whether what `from` said, that its description is at `url`, is followed: only from this network, and only to who said it
    /// or to the gateway. Anything else could be meant to have us ask what others cannot reach.
    pub(super) fn trusts(&self, from: IpAddr, url: &GatewayUrl) -> bool {
        let is_near = self.subnet.contains(from) || from == self.gateway.ip();
        is_near && (url.ip() == from || url.ip() == self.gateway.ip()) && url.ip() != self.source.ip
    }
}

/// Where a gateway listens. An address of the link needs the number of the interface.
fn endpoint(ip: IpAddr, interface: u32) -> SocketAddr {
    match ip {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => {
            SocketAddrV6::new(ip, GATEWAY_PORT, 0, interface).into()
        }
        ip => SocketAddr::new(ip, GATEWAY_PORT),
    }
}

/// Whether peers in the world could use the address.
const fn is_global(ip: Ipv6Addr) -> bool {
    ip.segments()[0] & 0xe000 == 0x2000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::tests::interface;
    use crate::network::{Bind, Binding, Gateway};
    use std::sync::Arc;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn situation(chosen: &[Bind]) -> Situation {
        let interfaces = vec![
            interface(1, "127.0.0.1", 8),
            interface(2, "10.0.0.2", 24),
            interface(2, "192.168.1.2", 24),
            interface(2, "fd00::2", 64),
            interface(2, "2001:db8::2", 64),
            interface(4, "10.8.0.2", 24),
        ];
        let gateways = vec![
            Gateway { ip: ip("192.168.1.1"), interface: 2 },
            Gateway { ip: ip("fe80::1"), interface: 2 },
        ];
        let binding = Arc::new(Binding::of(chosen, &interfaces));
        Situation { interfaces, gateways, binding }
    }

    fn found(chosen: &[Bind], v4: bool) -> Option<(String, String)> {
        let place = Place::find(&situation(chosen), v4)?;
        Some((place.source.ip.to_string(), place.gateway.to_string()))
    }

    #[test]
    fn the_address_on_the_network_of_the_gateway_is_taken() {
        let place = |ours: &str, gateway: &str| Some((ours.to_owned(), gateway.to_owned()));
        assert_eq!(found(&[], true), place("192.168.1.2", "192.168.1.1:5351"));
        assert_eq!(found(&[], false), place("2001:db8::2", "[fe80::1%2]:5351"));
        let tunnel = [Bind::Interface("if4".to_owned())];
        assert_eq!(found(&tunnel, true), place("10.8.0.2", "10.8.0.1:5351"), "a guess");
        assert_eq!(found(&tunnel, false), None);
    }

    #[test]
    fn on_loopback_and_where_nothing_may_be_sent_there_is_no_place() {
        assert_eq!(found(&[ip("127.0.0.1").into()], true), None);
        assert_eq!(found(&[Bind::Interface("gone0".to_owned())], true), None);
        assert_eq!(Place::find(&Situation::default(), true), None);
    }

    #[test]
    fn only_neighbours_are_believed_and_only_about_themselves_and_the_gateway() {
        let place = Place::find(&situation(&[]), true).unwrap();
        let trusts = |from: &str, url: &str| {
            place.trusts(ip(from), &GatewayUrl::parse(&format!("http://{url}/d.xml")).unwrap())
        };
        assert!(trusts("192.168.1.1", "192.168.1.1:5000"));
        assert!(trusts("192.168.1.9", "192.168.1.9") && trusts("192.168.1.9", "192.168.1.1"));
        for url in
            ["127.0.0.1", "169.254.169.254", "192.168.1.10", "8.8.8.8", "192.168.1.2", "[::1]"]
        {
            assert!(!trusts("192.168.1.9", url), "{url}");
        }
        assert!(!trusts("8.8.8.8", "8.8.8.8") && !trusts("127.0.0.1", "127.0.0.1"));
        assert!(!trusts("10.0.0.7", "10.0.0.7"), "of ours, but not of the gateway's network");
    }
}
