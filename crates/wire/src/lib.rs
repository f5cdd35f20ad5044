//! BitTorrent bytes and valid values.
//!
//! Everything that arrives from a file, a peer or a tracker enters the program through this crate: it turns
//! bytes into values that are valid by construction, and values back into bytes. It does no I/O and reads no
//! clock; the crates above decide what the values mean. What stands between a socket and the first message of a peer,
//! encryption and proxies, is here too: state machines that are fed bytes and give bytes.
//!
//! | module | what it reads and writes |
//! | --- | --- |
//! | [`bencode`] | the serialisation format of BEP 3 |
//! | [`metainfo`] | `.torrent` files, v1, v2 and hybrid (BEP 3, 12, 19, 27, 47, 52) |
//! | [`magnet`] | magnet links (BEP 9, 53) |
//! | [`peer`] | handshake and messages of the peer protocol (BEP 3, 6, 9, 10, 11, 21) |
//! | [`mse`] | encrypted connections: Message Stream Encryption |
//! | [`ip_filter`] | lists of addresses that are blocked: eMule, PeerGuardian, CIDR |
//! | [`lsd`] | datagrams of local service discovery (BEP 14) |
//! | [`portmap`] | what is said to a home gateway: PCP, NAT-PMP, UPnP (RFC 6886, 6887) |
//! | [`proxy`] | what is said to a proxy: SOCKS5 (RFC 1928, 1929), HTTP CONNECT |
//! | [`krpc`] | packets of the DHT (BEP 5, 32, 33, 42, 43, 44, 46, 51) |
//! | [`tracker`] | HTTP and UDP tracker formats (BEP 3, 7, 15, 23, 24, 31, 41, 48) |
//! | [`utp`] | packets of the transport protocol over UDP (BEP 29) |
//! | [`id`], [`layout`], [`bitfield`], [`time`], [`rng`] | the vocabulary all crates share |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod bencode;
pub mod bitfield;
pub mod id;
pub mod ip_filter;
pub mod krpc;
pub mod layout;
pub mod lsd;
pub mod magnet;
pub mod metainfo;
pub mod mse;
pub mod peer;
pub mod portmap;
pub mod proxy;
pub mod rng;
pub mod time;
pub mod tracker;
pub mod utp;
