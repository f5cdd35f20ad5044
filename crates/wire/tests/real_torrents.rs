//! Torrents made by other programs, of the same small tree of files, read and made again.
//!
//! The info-hashes are those that libtorrent 2.1.1 and transmission-show 3.00 report for the files in `torrents/`.
#![allow(clippy::unwrap_used, reason = "tests")]

use samara_wire::id::{BLOCK_LEN, PieceIndex};
use samara_wire::metainfo::create::{Details, NewFile, Plan, PlanHashes, Version};
use samara_wire::metainfo::merkle::FileHashes;
use samara_wire::metainfo::{FileEntry, Metainfo, PieceHash};
use sha1::{Digest, Sha1};
use sha2::Sha256;

const PIECE: u32 = 32 << 10;

const TREE: [(&str, u64); 6] = [
    ("b/empty", 0),
    ("b/one", 1),
    ("c.txt", 100_000),
    ("sub/exact", 65_536),
    ("sub/x.bin", 70_001),
    ("ünï ☃.txt", 3),
];

/// What each file of the tree holds: its first `len` bytes do not depend on which file it is.
fn content(len: u64) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251).to_le_bytes()[0]).collect()
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/torrents/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn stored(files: &[FileEntry]) -> Vec<(&str, u64)> {
    let stored = files.iter().filter(|f| !f.attributes.padding);
    stored.map(|f| (f.path.as_str().strip_prefix("tree/").unwrap(), f.len)).collect()
}

/// The data of the linear space of a v1 or hybrid torrent.
fn linear(files: &[FileEntry]) -> Vec<u8> {
    let zeros = |len: u64| vec![0; usize::try_from(len).unwrap()];
    files
        .iter()
        .flat_map(|f| if f.attributes.padding { zeros(f.len) } else { content(f.len) })
        .collect()
}

fn tree_of(len: u64) -> Option<FileHashes> {
    let data = content(len);
    let leaves: Vec<_> =
        data.chunks(BLOCK_LEN as usize).map(|b| Sha256::digest(b).into()).collect();
    FileHashes::from_blocks(&leaves, PIECE)
}

#[test]
fn info_hashes_and_files_are_as_their_makers_say() {
    for (name, v1, v2) in [
        ("libtorrent-v1", Some("7b45cd0200d1849c96b6090f816ff0d38e4ac13f"), None),
        (
            "libtorrent-v2",
            None,
            Some("ab44dd0587520567f0f29b042ac634e7ea704b440ab3b9869bd32ffe8f2023fb"),
        ),
        (
            "libtorrent-hybrid",
            Some("12ef5685433d517b9ab22d980ab2c0d9933264a5"),
            Some("94adee985c36f5506cc7f80697f6c302bbc1e49f6d5f354b6df952c8f501691a"),
        ),
        ("mktorrent-v1", Some("352836398d2dc50a5e18df940c72d2c337f1cd85"), None),
    ] {
        let info = Metainfo::parse(&read(&format!("{name}.torrent"))).unwrap().info;
        assert_eq!(info.hashes().v1().map(|h| h.to_string()).as_deref(), v1, "{name}");
        assert_eq!(info.hashes().v2().map(|h| h.to_string()).as_deref(), v2, "{name}");
        assert_eq!((info.name(), info.layout().piece_len()), ("tree", PIECE));
        assert_eq!(stored(info.files()), TREE, "{name}");
        assert_eq!(info.total_len(), TREE.iter().map(|f| f.1).sum::<u64>());
    }
    // Transmission leaves empty files out and keeps the order of the directory.
    let info = Metainfo::parse(&read("transmission-v1.torrent")).unwrap().info;
    assert_eq!(info.hashes().v1().unwrap().to_string(), "082e67d2c09f05a7154e3ce766e642c5cd8b4519");
    assert_eq!(info.files().len(), 5);
    assert!(info.is_private());
}

#[test]
fn piece_hashes_are_those_of_the_data() {
    for name in ["libtorrent-v1", "libtorrent-hybrid", "mktorrent-v1", "transmission-v1"] {
        let info = Metainfo::parse(&read(&format!("{name}.torrent"))).unwrap().info;
        let data = linear(info.files());
        let mut pieces = data.chunks(PIECE as usize);
        for piece in info.layout().pieces() {
            let hash = Sha1::digest(pieces.next().unwrap()).into();
            assert_eq!(info.piece_hash(piece), Some(PieceHash::V1(hash)), "{name} {piece}");
        }
        assert_eq!(pieces.next(), None);
    }
    for name in ["libtorrent-v2", "libtorrent-hybrid"] {
        let info = Metainfo::parse(&read(&format!("{name}.torrent"))).unwrap().info;
        let mut piece = 0;
        for (_, len) in TREE.iter().filter(|f| f.1 > 0) {
            let tree = tree_of(*len).unwrap();
            let roots = if tree.layer.is_empty() { vec![tree.root] } else { tree.layer };
            for expected in roots {
                let hash = info.piece_hash_v2(PieceIndex(piece));
                assert!(
                    matches!(hash, Some(PieceHash::V2 { root, .. }) if root == expected),
                    "{name} {piece}"
                );
                piece += 1;
            }
        }
        assert_eq!(piece, info.layout().count());
    }
}

#[test]
fn the_outer_dictionary_of_mktorrent() {
    let m = Metainfo::parse(&read("mktorrent-v1.torrent")).unwrap();
    assert_eq!(m.trackers.concat(), ["http://127.0.0.1:1/announce", "udp://127.0.0.1:2"]);
    assert_eq!(m.web_seeds, ["http://127.0.0.1:3/"]);
    assert_eq!((m.comment.as_deref(), m.info.source()), (Some("comment"), Some("SRC")));
    assert!(m.info.is_private() && m.creation_date.is_none());
}

/// The same data and settings give the very bytes that libtorrent writes.
#[test]
fn what_libtorrent_makes_we_make_byte_for_byte() {
    let files = |tree: &[(&str, u64)]| {
        let file = |&(path, len): &(&str, u64)| {
            let path = path.split('/').filter(|e| !e.is_empty()).map(String::from).collect();
            NewFile { path, len, ..NewFile::default() }
        };
        tree.iter().map(file).collect::<Vec<_>>()
    };
    let tracker = vec![vec!["http://127.0.0.1:1/announce".to_string()]];
    for (theirs, name, files, version, trackers) in [
        ("libtorrent-v1", "tree", files(&TREE), Version::V1, tracker.clone()),
        ("libtorrent-v2", "tree", files(&TREE), Version::V2, tracker),
        ("libtorrent-hybrid-single", "c.txt", files(&[("", 100_000)]), Version::Hybrid, vec![]),
    ] {
        let plan = Plan::new(name, files, PIECE, version).unwrap();
        let mut hashes = PlanHashes::default();
        if version.has_v1() {
            let data = linear(plan.files());
            hashes.v1 = data.chunks(PIECE as usize).map(|p| Sha1::digest(p).into()).collect();
        }
        if version.has_v2() {
            hashes.v2 = plan.files().iter().map(|f| tree_of(f.len)).collect();
        }
        let ours = plan.encode(&hashes, &Details { trackers, ..Details::default() }).unwrap();
        let theirs_bytes = read(&format!("{theirs}.torrent"));
        assert_eq!(
            ours.escape_ascii().to_string(),
            theirs_bytes.escape_ascii().to_string(),
            "{theirs}"
        );
    }
}
