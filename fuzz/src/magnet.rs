//! Magnet links: what is read is written so that it is read the same.

use samara_wire::magnet::{MAX_LINK_BYTES, Magnet};

/// Reads `input` as a link and as a bare info-hash.
pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    for magnet in [Magnet::parse(text), Magnet::from_info_hash(text)].into_iter().flatten() {
        let link = magnet.to_string();
        // Escaping makes longer what was near the limit.
        if link.len() <= MAX_LINK_BYTES {
            assert_eq!(Magnet::parse(&link), Ok(magnet), "{link}");
        }
    }
}
