//! Fuzz target: what a datagram is.

use super::Kind;
use samara_wire::krpc;
use samara_wire::utp;

/// Sorts `input` as the one UDP socket does: whatever a protocol would take goes to it, and to no other.
pub fn datagram_kind(input: &[u8]) {
    let kind = Kind::of(input);
    if krpc::Packet::parse(input).is_ok() {
        assert_eq!(kind, Kind::Krpc);
    }
    if utp::Packet::parse(input).is_ok() {
        assert_eq!(kind, Kind::Utp);
    }
    if input.is_empty() {
        assert_eq!(kind, Kind::Unknown);
    }
}
