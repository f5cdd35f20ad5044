//! Whose an address is, for limits that say "from one address".
//!
//! With IPv6 one machine has as many addresses as it likes: whoever is given one is given a /64 of 2^64 of them. So
//! limits count the /64, or a single machine could fill the tracker.

use std::net::{IpAddr, Ipv6Addr};

/// What `ip` is counted as: itself, or the first address of its /64.
pub(super) fn household(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::household;

    #[test]
    fn neighbours_in_a_64_are_one_and_ipv4_addresses_are_each_their_own() {
        let of = |ip: &str| household(ip.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("2001:db8:1:2:ffff::"), of("2001:db8:1:2::1"));
        assert_ne!(of("2001:db8:1:3::"), of("2001:db8:1:2::"));
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
        assert_ne!(of("192.0.2.7"), of("192.0.2.8"));
    }
}
