//! Torrents: whatever is accepted adds up, has safe paths, and survives being written and read again.

use samara_wire::id::{FileIndex, PieceIndex};
use samara_wire::metainfo::{Info, Metainfo};
use std::collections::BTreeSet;

/// Reads `input` as a `.torrent` file and as an info dictionary.
pub fn run(input: &[u8]) {
    if let Ok(info) = Info::parse(input) {
        assert_eq!(info.raw(), input);
        check(&info);
    }
    let Ok(metainfo) = Metainfo::parse(input) else { return };
    let info = &metainfo.info;
    check(info);
    assert!(info.has_all_hashes());
    assert!(info.layout().pieces().all(|piece| info.piece_hash(piece).is_some()));

    let alone = Info::parse(info.raw()).expect("an info dictionary stands alone");
    assert_eq!((alone.hashes(), alone.files()), (info.hashes(), info.files()));

    let bytes = metainfo.to_bytes();
    let again = Metainfo::parse(&bytes).expect("what we write we read");
    assert_eq!(again.to_bytes(), bytes);
    assert_eq!(again.info.hashes(), info.hashes());
    assert_eq!(again.trackers, metainfo.trackers);
    for piece in info.layout().pieces() {
        assert_eq!(again.info.piece_hash(piece), info.piece_hash(piece));
    }
}

fn check(info: &Info) {
    let layout = info.layout();
    let mut paths = BTreeSet::new();
    let mut at = 0;
    let mut stored = 0;
    for (index, file) in (0..).zip(info.files()) {
        assert!(file.offset >= at, "files overlap");
        at = file.end();
        for path in [Some(&file.path), file.symlink.as_ref()].into_iter().flatten() {
            for element in path {
                assert!(!matches!(element, "" | "." | ".."));
                assert!(!element.chars().any(|c| c.is_control() || c == '\\'));
            }
        }
        if !file.attributes.padding {
            stored += file.len;
            assert!(paths.insert(file.path.as_str()), "two files at {}", file.path);
        }
        let pieces = info.pieces_of_file(FileIndex(index));
        assert_eq!(pieces.is_empty(), file.len == 0);
        for piece in pieces.clone().take(2).chain(pieces.last()) {
            assert!(info.files_of_piece(PieceIndex(piece)).contains(&(index as usize)));
        }
    }
    assert_eq!(stored, info.total_len());
    let lens: u64 = info.files().iter().map(|file| file.len).sum();
    assert_eq!(lens, layout.total_len());
}
