//! The gateways: where packets for the world go.
//!
//! Linux says so in files. Elsewhere, and for tunnels, which have no gateway, the first address of the network is taken for
//! one: that is what home routers and VPN servers use, and whoever else it is will not answer what is asked of gateways.

use if_addrs::Interface;
#[cfg(any(target_os = "linux", test))]
use std::net::Ipv6Addr;
use std::net::{IpAddr, Ipv4Addr};

/// Gateways that are known at a time.
const MAX_GATEWAYS: usize = 8;

/// Who may lead out of a network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Gateway {
    pub(crate) ip: IpAddr,
    /// The number of the interface that leads to it.
    pub(crate) interface: u32,
}

/// The gateways of this machine, best first.
pub(super) fn gateways(interfaces: &[Interface]) -> Vec<Gateway> {
    let index_of = |name: &str| interfaces.iter().find(|i| i.name == name).and_then(|i| i.index);
    let mut found = known(&index_of);
    found.truncate(MAX_GATEWAYS);
    found
}

#[cfg(target_os = "linux")]
fn known(index_of: &dyn Fn(&str) -> Option<u32>) -> Vec<Gateway> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    parse(&read("/proc/net/route"), &read("/proc/net/ipv6_route"), index_of)
}

#[cfg(not(target_os = "linux"))]
fn known(_index_of: &dyn Fn(&str) -> Option<u32>) -> Vec<Gateway> {
    Vec::new()
}

/// Whom to take for the gateway at an address of ours, if the system does not say: the first address of its network, of one of
/// 256 addresses at most.
pub(crate) fn guess(ours: Ipv4Addr) -> Option<Ipv4Addr> {
    let first = Ipv4Addr::from_bits(ours.to_bits() & 0xffff_ff00 | 1);
    (ours.is_private() && first != ours).then_some(first)
}

/// Reads the tables of Linux: `/proc/net/route` and `/proc/net/ipv6_route`.
#[cfg(any(target_os = "linux", test))]
fn parse(v4: &str, v6: &str, index_of: &dyn Fn(&str) -> Option<u32>) -> Vec<Gateway> {
    /// It is up and leads to a gateway.
    const WANTED: u32 = 0x3;
    let hex = |text: &str| u32::from_str_radix(text, 16).ok();
    let route_v4 = |line: &str| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let [name, destination, gateway, flags, _, _, metric, mask, ..] = fields[..] else {
            return None;
        };
        let is_default =
            hex(destination)? == 0 && hex(mask)? == 0 && hex(flags)? & WANTED == WANTED;
        // Numbers as they lie in memory.
        let ip = Ipv4Addr::from(hex(gateway)?.to_ne_bytes());
        let found = Gateway { ip: ip.into(), interface: index_of(name)? };
        is_default.then_some((metric.parse::<u32>().ok()?, found))
    };
    let route_v6 = |line: &str| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let [destination, len, _, _, gateway, metric, _, _, flags, name] = fields[..] else {
            return None;
        };
        let is_default = destination.bytes().all(|byte| byte == b'0') && hex(len)? == 0;
        let ip = Ipv6Addr::from_bits(u128::from_str_radix(gateway, 16).ok()?);
        let found = Gateway { ip: ip.into(), interface: index_of(name)? };
        (is_default && hex(flags)? & WANTED == WANTED).then_some((hex(metric)?, found))
    };
    let mut found: Vec<_> = v4.lines().filter_map(route_v4).collect();
    found.extend(v6.lines().filter_map(route_v6));
    found.sort_by_key(|(metric, _)| *metric);
    found.into_iter().map(|(_, gateway)| gateway).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        wlan0\t00000000\tFE01A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
        eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
        tun0\t00000000\t00000000\t0001\t0\t0\t50\t00000000\t0\t0\t0\n\
        eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n\
        gone0\t00000000\t0201A8C0\t0003\t0\t0\t1\t00000000\t0\t0\t0\n";

    const V6: &str = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
        fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n\
        fe800000000000000000000000000000 40 00000000000000000000000000000000 00 \
        00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n";

    #[test]
    fn the_tables_of_linux_are_read() {
        let index_of = |name: &str| match name {
            "eth0" => Some(2),
            "wlan0" => Some(3),
            "tun0" => Some(4),
            _ => None,
        };
        let found = parse(V4, V6, &index_of);
        let gateway = |ip: &str, interface| Gateway { ip: ip.parse().unwrap(), interface };
        // The tables are in the byte order of the machine.
        if cfg!(target_endian = "little") {
            assert_eq!(
                found,
                [gateway("192.168.1.1", 2), gateway("192.168.1.254", 3), gateway("fe80::1", 2)]
            );
        }
        assert_eq!(parse("no\ntable", "at all\n\0", &index_of), []);
    }

    #[test]
    fn a_guess_is_the_first_address_of_a_private_network() {
        let guessed = |ip: &str| guess(ip.parse().unwrap()).map(|ip| ip.to_string());
        assert_eq!(guessed("10.2.0.2").as_deref(), Some("10.2.0.1"));
        assert_eq!((guessed("192.168.1.1"), guessed("203.0.113.9")), (None, None));
    }
}
