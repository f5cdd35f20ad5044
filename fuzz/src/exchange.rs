//! Metadata exchange, peer exchange, hole punching and local discovery: bounds hold, and what is read is written so that it is read
//! the same.

use samara_wire::lsd::{GROUP_V4, GROUP_V6, LocalAnnounce, MAX_HASHES};
use samara_wire::peer::extension::MAX_METADATA_LEN;
use samara_wire::peer::ut_holepunch::HolepunchMessage;
use samara_wire::peer::ut_metadata::{MAX_METADATA_PIECES, METADATA_PIECE_LEN, MetadataMessage};
use samara_wire::peer::ut_pex::{MAX_PER_FAMILY, PexMessage};

/// Reads `input` as a message of `ut_metadata`.
pub fn metadata(input: &[u8]) {
    let Ok(message) = MetadataMessage::parse(input) else { return };
    assert_eq!(MetadataMessage::parse(&message.encode()), Ok(message));
    match message {
        MetadataMessage::Request { piece } | MetadataMessage::Reject { piece } => {
            assert!(piece < MAX_METADATA_PIECES);
        }
        MetadataMessage::Data { piece, total_len, payload } => {
            assert!(piece < MAX_METADATA_PIECES && payload.len() <= METADATA_PIECE_LEN as usize);
            assert!(total_len.is_none_or(|len| (1..=MAX_METADATA_LEN).contains(&len)));
        }
    }
}

/// Reads `input` as a message of `ut_pex`.
pub fn pex(input: &[u8]) {
    let Ok(message) = PexMessage::parse(input) else { return };
    assert!(message.added.len() <= 2 * MAX_PER_FAMILY);
    assert!(message.dropped.len() <= 2 * MAX_PER_FAMILY);
    assert!(message.added.iter().all(|(addr, _)| addr.port() != 0));
    assert_eq!(PexMessage::parse(&message.encode()), Ok(message));
}

/// Reads `input` as a message of `ut_holepunch`.
pub fn holepunch(input: &[u8]) {
    let Ok(message) = HolepunchMessage::parse(input) else { return };
    assert_eq!(HolepunchMessage::parse(&message.encode()), Ok(message));
}

/// Reads `input` as a datagram of local discovery.
pub fn lsd(input: &[u8]) {
    let Ok(announce) = LocalAnnounce::parse(input) else { return };
    assert!(announce.port != 0 && (1..=MAX_HASHES).contains(&announce.hashes.len()));
    for group in [GROUP_V4, GROUP_V6] {
        assert_eq!(LocalAnnounce::parse(&announce.encode(group)).as_ref(), Ok(&announce));
    }
}
