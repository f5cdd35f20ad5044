//! The other ends of the transfers: peers that cost next to nothing, so that the client under test is what is measured.
//!
//! Plain TCP, no extensions: the least that BEP 3 asks for. All seeds of a run share one thread, and so do all leeches.
//!
//! | module | does |
//! | --- | --- |
//! | [`link`] | one connection: what has been read and not yet understood, what is to be written |
//! | [`seeds`] | send with `sendfile` what they are asked for |
//! | [`leeches`] | ask for everything, in a mixed order, and let the kernel throw it away (`MSG_TRUNC`) |
//! | [`auditor`] | one more leech that looks at what it gets |
//! | [`tracker`] | tells clients where the seeds are |

pub(crate) mod auditor;
pub(crate) mod leeches;
mod link;
pub(crate) mod seeds;
pub(crate) mod tracker;

use samara_wire::id::{PeerId, WireHash};
use samara_wire::peer::handshake::{HANDSHAKE_LEN, Handshake, Reserved};
use std::net::Ipv4Addr;

/// What a synthetic peer says first. Its id is its address, so that each has another.
fn handshake(info_hash: WireHash, address: Ipv4Addr) -> [u8; HANDSHAKE_LEN] {
    let mut id = *b"-XS0001-000000000000";
    let digits = format!("{:012}", address.to_bits());
    id[8..].copy_from_slice(digits.as_bytes());
    Handshake { reserved: Reserved::default(), info_hash, peer_id: PeerId(id) }.encode()
}
