//! Fuzz target: resume data.

use super::{MAGIC, Record, ResumeData, crc_line};
use samara_wire::id::{InfoHashV1, InfoHashes};
use samara_wire::layout::PieceLayout;

/// Reads `input` as a record, and as the body of one whose checksum is right: what is taken fits the torrent, and is written so
/// that it is read the same.
pub fn resume_data(input: &[u8]) {
    let record = Record {
        keep: std::sync::Arc::new(crate::state_files::SystemFiles),
        state_dir: "/".into(),
        hashes: InfoHashes::v1_only(InfoHashV1([7; 20])),
        dir: "/".into(),
        layout: PieceLayout::contiguous(10 * 65536 - 5, 65536),
        files: 2,
    };
    let framed = [MAGIC, crc_line(input).as_bytes(), input].concat();
    for bytes in [input, &framed] {
        if let Ok(data) = record.parse(bytes) {
            check(&record, &data);
        }
    }
}

fn check(record: &Record, data: &ResumeData) {
    let layout = &record.layout;
    assert_eq!((data.have.len(), data.files.len()), (layout.count(), record.files));
    assert!(data.unsettled.iter().all(|piece| piece.0 < layout.count()));
    for (piece, blocks) in &data.partial {
        assert_eq!(blocks.len(), layout.blocks_in(*piece));
        assert!(piece.0 < layout.count());
    }
    let body = record.encode(data);
    let written = [MAGIC, crc_line(&body).as_bytes(), &body].concat();
    assert_eq!(record.parse(&written).ok().as_ref(), Some(data));
}
