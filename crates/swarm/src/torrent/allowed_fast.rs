//! The allowed-fast set (BEP 6): pieces a newcomer may request while still choked, so that it soon has
//! something to trade. The set follows from its address and the info-hash, so that reconnecting gains nothing.

use alloc::vec::Vec;
use core::net::IpAddr;
use samara_wire::id::{PieceIndex, WireHash};
use sha1::{Digest, Sha1};

/// How many pieces are granted (BEP 6 gives k = 10 as its example).
pub(super) const GRANTED: usize = 10;

/// The canonical set for a peer at `ip`, of `pieces` pieces in all. BEP 6 defines it for IPv4 only; of an
/// IPv6 address the first 64 bits stand for the host in the same way, the rest being the host's to choose.
pub(super) fn allowed_fast_set(ip: IpAddr, hash: &WireHash, pieces: u32) -> Vec<PieceIndex> {
    let mut seed = Vec::with_capacity(28);
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            seed.extend_from_slice(&[a, b, c, 0]);
        }
        IpAddr::V6(v6) => seed.extend_from_slice(&v6.octets()[..8]),
    }
    seed.extend_from_slice(&hash.0);
    let wanted = GRANTED.min(pieces as usize);
    let mut set = Vec::with_capacity(wanted);
    let mut x: [u8; 20] = Sha1::digest(&seed).into();
    // Collisions make some rounds fruitless; the bound only guards against a hash that cycles.
    for _ in 0..10_000 {
        for word in x.as_chunks::<4>().0 {
            let piece = PieceIndex(u32::from_be_bytes(*word) % pieces.max(1));
            if set.len() < wanted && !set.contains(&piece) {
                set.push(piece);
            }
        }
        if set.len() == wanted {
            break;
        }
        x = Sha1::digest(x).into();
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn the_example_of_bep_6() {
        let ip = IpAddr::from([80, 4, 4, 200]);
        let set = allowed_fast_set(ip, &WireHash([0xaa; 20]), 1313);
        let expected = [1059, 431, 808, 1217, 287, 376, 1188, 353, 508, 1246];
        assert_eq!(set, expected.map(PieceIndex));
    }

    #[test]
    fn never_more_than_there_are() {
        let mut set = allowed_fast_set(IpAddr::from([1, 2, 3, 4]), &WireHash([1; 20]), 3);
        set.sort_unstable();
        assert_eq!(set, vec![PieceIndex(0), PieceIndex(1), PieceIndex(2)]);
        assert!(allowed_fast_set(IpAddr::from([1, 2, 3, 4]), &WireHash([1; 20]), 0).is_empty());
    }
}
