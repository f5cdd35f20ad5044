//! What an address tells about where a peer is.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The address in the form in which it is compared (an IPv4 address is not written as an IPv6 one), or `None`
/// if nobody can be reached there: port 0, unspecified, multicast, broadcast.
pub(super) fn usable(addr: SocketAddr) -> Option<SocketAddr> {
    let ip = addr.ip().to_canonical();
    let bad = addr.port() == 0
        || ip.is_unspecified()
        || ip.is_multicast()
        || ip == IpAddr::V4(Ipv4Addr::BROADCAST)
        || matches!(ip, IpAddr::V4(v4) if v4.octets()[0] == 0);
    if bad {
        return None;
    }
    match addr {
        // The scope of a link-local address is part of it.
        SocketAddr::V6(v6) if ip.is_ipv6() => {
            let scope = if v6.ip().is_unicast_link_local() { v6.scope_id() } else { 0 };
            Some(core::net::SocketAddrV6::new(*v6.ip(), v6.port(), 0, scope).into())
        }
        _ => Some(SocketAddr::new(ip, addr.port())),
    }
}

/// Whether somebody may be reached there: not port 0, unspecified, multicast or broadcast.
pub(crate) fn is_usable(addr: SocketAddr) -> bool {
    usable(addr).is_some()
}

/// Whether the address is on this machine or the user's own network, where many peers may share a subnet.
#[must_use]
pub fn is_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// A /24 of IPv4 or a /48 of IPv6: what one party can easily hold all of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Subnet {
    /// The first 24 bits.
    V4([u8; 3]),
    /// The first 48 bits.
    V6([u8; 6]),
}

impl Subnet {
    /// That of `ip`.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, ..] = ip.octets();
                Self::V6([a, b, c, d, e, f])
            }
        }
    }
}
