//! Canonical peer priority (BEP 40).
//!
//! Both ends of a possible connection compute the same number from their two addresses, so a swarm agrees
//! which connections are worth more, and nobody can fill others' tables by mere insistence.

use core::net::{IpAddr, SocketAddr};

/// The priority of a connection between `ours` and `theirs`, seen from outside; the higher the better.
///
/// Addresses of different families have no common form; such a pair is ranked by the other end alone.
#[must_use]
pub fn canonical_priority(ours: SocketAddr, theirs: SocketAddr) -> u32 {
    match (ours.ip().to_canonical(), theirs.ip().to_canonical()) {
        (a, b) if a == b => of_pair(ours.port().to_be_bytes(), theirs.port().to_be_bytes()),
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let (a, b) = (a.octets(), b.octets());
            // FF.FF.55.55, one byte more in full for the same /16, two for the same /24.
            let full = same_bytes(&a, &b).clamp(1, 3) + 1;
            of_pair(masked(a, full), masked(b, full))
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let (a, b) = (a.octets(), b.octets());
            // As above, from 48 bits on: the same /48 gives 56 bits in full, the same /56 64, and so on.
            let full = same_bytes(&a, &b).clamp(5, 15) + 1;
            of_pair(masked(a, full), masked(b, full))
        }
        (_, IpAddr::V4(b)) => crc32c(&b.octets()),
        (_, IpAddr::V6(b)) => crc32c(&b.octets()),
    }
}

/// Bytes that two addresses share from the start.
fn same_bytes(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The first `full` bytes as they are, of the rest every other bit.
fn masked<const N: usize>(mut ip: [u8; N], full: usize) -> [u8; N] {
    ip.iter_mut().skip(full).for_each(|byte| *byte &= 0x55);
    ip
}

fn of_pair<const N: usize>(a: [u8; N], b: [u8; N]) -> u32 {
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    !update(update(!0, &low), &high)
}

/// CRC-32C (Castagnoli), bit by bit: it is computed once an address.
fn crc32c(bytes: &[u8]) -> u32 {
    !update(!0, bytes)
}

fn update(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(a: &str, b: &str) -> u32 {
        let addr = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 1);
        let (a, b) = (addr(a), addr(b));
        assert_eq!(canonical_priority(a, b), canonical_priority(b, a));
        canonical_priority(a, b)
    }

    #[test]
    fn the_vectors_of_the_bep_and_of_the_checksum() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(of("123.213.32.10", "98.76.54.32"), 0xec2d_7224);
        assert_eq!(of("123.213.32.10", "123.213.32.234"), 0x9956_8189);
    }

    #[test]
    fn masks_widen_with_the_common_prefix() {
        // Bits under the mask make no difference, the others do.
        assert_eq!(of("1.2.3.4", "5.6.0.0"), of("1.2.3.4", "5.6.170.170"));
        assert_ne!(of("1.2.3.4", "5.6.0.0"), of("1.2.3.4", "5.6.1.0"));
        assert_eq!(of("1.2.3.4", "1.2.7.0"), of("1.2.3.4", "1.2.7.170"));
        assert_ne!(of("1.2.3.4", "1.2.7.0"), of("1.2.3.4", "1.2.135.0"));
        assert_ne!(of("1.2.3.4", "1.2.3.5"), of("1.2.3.4", "1.2.3.133"));
        assert_eq!(of("1:2:3:4::", "5:6:7::"), of("1:2:3:4::", "5:6:7:aaaa::a"));
        assert_ne!(of("1:2:3:4::", "1:2:3:05::"), of("1:2:3:4::", "1:2:3:8105::"));
    }

    #[test]
    fn ports_tell_peers_on_one_address_apart() {
        let at = |port| SocketAddr::new("9.9.9.9".parse().unwrap(), port);
        assert_eq!(canonical_priority(at(1), at(2)), canonical_priority(at(2), at(1)));
        assert_ne!(canonical_priority(at(1), at(2)), canonical_priority(at(1), at(3)));
    }

    proptest! {
        #[test]
        fn both_ends_agree(a: u32, b: u32, ports: (u16, u16)) {
            let addr = |ip: u32, port| SocketAddr::new(IpAddr::V4(ip.into()), port);
            let (a, b) = (addr(a, ports.0), addr(b, ports.1));
            prop_assert_eq!(canonical_priority(a, b), canonical_priority(b, a));
        }
    }
}
