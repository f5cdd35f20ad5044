//! Node ids, the distance between them, what binds an id to an address (BEP 42), and compact node lists.

use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use data_encoding::HEXLOWER;

/// A place in the space of ids: a node's, a torrent's or an item's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeId(pub [u8; 20]);

/// How far two ids are apart: their exclusive or, as a number (BEP 5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Distance([u8; 20]);

impl NodeId {
    /// The distance to `other`.
    #[must_use]
    pub fn distance(&self, other: &Self) -> Distance {
        Distance(core::array::from_fn(|i| self.0[i] ^ other.0[i]))
    }

    /// Number of leading bits in common with `other`, 0 to 160.
    #[must_use]
    pub fn shared_bits(&self, other: &Self) -> u32 {
        let mut bits = 0;
        for byte in self.distance(other).0 {
            bits += byte.leading_zeros();
            if byte != 0 {
                break;
            }
        }
        bits
    }

    /// An id that a node at `ip` may have, made from `random` bytes (BEP 42).
    #[must_use]
    pub fn for_ip(ip: IpAddr, random: [u8; 20]) -> Self {
        let mut id = random;
        let prefix = prefix_for(ip, random[19]);
        id[0] = prefix[0];
        id[1] = prefix[1];
        id[2] = (prefix[2] & 0xf8) | (random[2] & 0x07);
        Self(id)
    }

    /// Whether a node at `ip` may have this id (BEP 42). In local networks every id is good.
    #[must_use]
    pub fn is_valid_for(&self, ip: IpAddr) -> bool {
        let prefix = prefix_for(ip, self.0[19]);
        is_local(ip)
            || (self.0[0] == prefix[0]
                && self.0[1] == prefix[1]
                && self.0[2] & 0xf8 == prefix[2] & 0xf8)
    }
}

/// The first bytes of an id at `ip` with this last byte; 21 bits of them count (BEP 42).
fn prefix_for(ip: IpAddr, last: u8) -> [u8; 4] {
    const MASK_V4: [u8; 4] = [0x03, 0x0f, 0x3f, 0xff];
    const MASK_V6: [u8; 8] = [0x01, 0x03, 0x07, 0x0f, 0x1f, 0x3f, 0x7f, 0xff];
    let mut octets = [0; 8];
    let len = match ip {
        IpAddr::V4(ip) => {
            for (to, (octet, mask)) in octets.iter_mut().zip(ip.octets().into_iter().zip(MASK_V4)) {
                *to = octet & mask;
            }
            4
        }
        IpAddr::V6(ip) => {
            for (to, (octet, mask)) in octets.iter_mut().zip(ip.octets().into_iter().zip(MASK_V6)) {
                *to = octet & mask;
            }
            8
        }
    };
    octets[0] |= (last & 0x07) << 5;
    crc32c(&octets[..len]).to_be_bytes()
}

/// CRC-32C (Castagnoli), bit by bit: eight bytes at most are ever hashed.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

/// Whether `ip` lies in a local network, where ids are not bound to addresses (BEP 42).
#[must_use]
pub fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local() || ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

/// A node: its id and where it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeInfo {
    /// Its id.
    pub id: NodeId,
    /// Its address.
    pub addr: SocketAddr,
}

/// Bytes of an IPv4 node in a list.
const COMPACT_V4: usize = 26;
/// Bytes of an IPv6 node in a list.
const COMPACT_V6: usize = 38;

/// Reads a list of IPv4 nodes. Nodes without a port are left out; `None` if the list is not of whole nodes.
pub(super) fn parse_nodes4(bytes: &[u8]) -> Option<Vec<NodeInfo>> {
    parse_nodes(bytes, COMPACT_V4)
}

/// Reads a list of IPv6 nodes (BEP 32), in the same way.
pub(super) fn parse_nodes6(bytes: &[u8]) -> Option<Vec<NodeInfo>> {
    parse_nodes(bytes, COMPACT_V6)
}

fn parse_nodes(bytes: &[u8], len: usize) -> Option<Vec<NodeInfo>> {
    if !bytes.len().is_multiple_of(len) {
        return None;
    }
    let nodes = bytes.chunks_exact(len).filter_map(|node| {
        let (id, addr) = node.split_first_chunk::<20>()?;
        let addr = parse_addr(addr)?;
        (addr.port() != 0).then_some(NodeInfo { id: NodeId(*id), addr })
    });
    Some(nodes.collect())
}

/// The nodes of one family in their compact form.
pub(super) fn compact_nodes(nodes: &[NodeInfo], v6: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(nodes.len() * COMPACT_V6);
    for node in nodes.iter().filter(|node| node.addr.is_ipv6() == v6) {
        out.extend_from_slice(&node.id.0);
        out.extend_from_slice(&compact_addr(&node.addr));
    }
    out
}

/// Reads an address of 6 or 18 bytes.
pub(super) fn parse_addr(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_last_chunk::<2>()?;
    let ip = match ip.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(ip).ok()?)),
        16 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(ip).ok()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(*port)))
}

/// An address in 6 or 18 bytes.
pub(super) fn compact_addr(addr: &SocketAddr) -> Vec<u8> {
    let mut out = Vec::with_capacity(18);
    match addr.ip() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    out.extend_from_slice(&addr.port().to_be_bytes());
    out
}
