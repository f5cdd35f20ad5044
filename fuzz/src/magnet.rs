//! Magnet links: what is read is written so that it is read the same.

use samara_wire::magnet::{MAX_LINK_BYTES, Magnet, MagnetLink};

/// Reads `input` as a link of either kind and as a bare info-hash.
pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let bare = Magnet::from_info_hash(text).map(MagnetLink::Torrent);
    for link in [MagnetLink::parse(text), bare].into_iter().flatten() {
        let written = link.to_string();
        // Escaping makes longer what was near the limit.
        if written.len() > MAX_LINK_BYTES {
            continue;
        }
        assert_eq!(MagnetLink::parse(&written), Ok(link.clone()), "{written}");
        // What reads torrents only reads the same of it.
        let hashes = match &link {
            MagnetLink::Torrent(magnet) => Some(magnet.hashes),
            MagnetLink::Mutable(followed) => followed.hashes,
        };
        assert_eq!(Magnet::parse(&written).ok().map(|magnet| magnet.hashes), hashes, "{written}");
    }
}
