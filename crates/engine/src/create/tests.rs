#![expect(clippy::cast_possible_truncation, reason = "the data of the tests is small")]

use super::*;
use samara_wire::id::PieceIndex;
use samara_wire::metainfo::{PieceHash, merkle};
use sha1::{Digest, Sha1};
use sha2::Sha256;
use std::fs;

const PIECE: u32 = 32 * 1024;

/// Files of awkward sizes in nested directories.
fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().join("top");
    fs::create_dir_all(top.join("b/c")).unwrap();
    for (name, len) in [
        ("a", 100_000usize),
        ("b/c/deep", 1),
        ("b/empty", 0),
        ("b/exact", 65_536),
        ("b.first", 40_000),
        ("z", 20_000),
        ("zz-empty", 0),
    ] {
        let bytes: Vec<u8> = (0..len).map(|i| (i * 7 + len) as u8).collect();
        fs::write(top.join(name), bytes).unwrap();
    }
    dir
}

fn made(path: &Path, kind: Kind) -> Created {
    let config = CreateConfig { kind, piece_len: Some(PIECE), ..CreateConfig::default() };
    create(path, &config, &CreateProgress::default()).unwrap()
}

/// The naive model: the linear space spelled out, one piece after another.
fn check_hashes(created: &Created, dir: &Path) {
    let info = &created.metainfo.info;
    let layout = info.layout();
    let mut space = vec![0u8; (layout.count() * PIECE) as usize];
    for file in info.files().iter().filter(|f| !f.attributes.padding) {
        let bytes = fs::read(dir.join(file.path.as_str())).unwrap();
        space[file.offset as usize..][..bytes.len()].copy_from_slice(&bytes);
    }
    for piece in layout.pieces() {
        let at = layout.offset_of(piece) as usize;
        let bytes = &space[at..at + layout.len_of(piece) as usize];
        let blocks: Vec<merkle::Hash> =
            bytes.chunks(16384).map(|b| Sha256::digest(b).into()).collect();
        match info.piece_hash(piece).unwrap() {
            PieceHash::V1(sum) => assert_eq!(sum, <[u8; 20]>::from(Sha1::digest(bytes)), "{piece}"),
            PieceHash::V2 { root, leaves } => {
                assert_eq!(root, merkle::piece_root(&blocks, leaves), "{piece}");
            }
        }
    }
}

#[test]
fn every_kind_is_valid_and_hashes_what_is_on_disk() {
    let dir = tree();
    for kind in [Kind::V1, Kind::V2, Kind::Hybrid] {
        let created = made(&dir.path().join("top"), kind);
        assert_eq!(created.metainfo.info.total_len(), 225_537);
        assert_eq!(created.metainfo.info.name(), "top");
        check_hashes(&created, dir.path());
        let single = made(&dir.path().join("top/a"), kind);
        assert!(single.metainfo.info.is_single_file());
        assert_eq!(single.metainfo.info.layout().len_of(PieceIndex(3)), 100_000 - 3 * PIECE);
        check_hashes(&single, &dir.path().join("top"));
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let (one, two) = (tree(), tree());
    for kind in [Kind::V1, Kind::V2, Kind::Hybrid] {
        assert_eq!(
            made(&one.path().join("top"), kind).bytes,
            made(&two.path().join("top"), kind).bytes
        );
    }
}

#[test]
fn both_halves_of_a_hybrid_are_those_of_the_torrents_alone() {
    let dir = tree();
    let path = dir.path().join("top");
    let (v2, hybrid) = (made(&path, Kind::V2), made(&path, Kind::Hybrid));
    let roots = |c: &Created| {
        let files = c.metainfo.info.files().iter();
        files.filter(|f| !f.attributes.padding).map(|f| f.pieces_root).collect::<Vec<_>>()
    };
    assert_eq!(roots(&v2), roots(&hybrid));
    assert!(hybrid.metainfo.info.hashes().v1().is_some());
}

#[test]
fn options_arrive_in_the_torrent() {
    let dir = tree();
    let config = CreateConfig {
        name: Some("other".into()),
        trackers: vec!["udp://a.example/announce".into(), "http://b.example/announce".into()],
        web_seeds: vec!["http://w.example/".into()],
        private: true,
        source: Some("S".into()),
        comment: Some("C".into()),
        created_by: Some("us".into()),
        creation_date: Some(5),
        ..CreateConfig::default()
    };
    let m = create(&dir.path().join("top"), &config, &CreateProgress::default()).unwrap().metainfo;
    assert_eq!((m.info.name(), m.info.is_private(), m.info.source()), ("other", true, Some("S")));
    assert_eq!((m.trackers.len(), m.web_seeds.len(), m.creation_date), (2, 1, Some(5)));
    assert_eq!((m.comment.as_deref(), m.created_by.as_deref()), (Some("C"), Some("us")));
}

#[test]
fn trouble_is_told_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let run = |path: &Path, config: &CreateConfig| {
        create(path, config, &CreateProgress::default()).map(|_| ()).unwrap_err()
    };
    let plain = CreateConfig::default();
    assert!(matches!(run(dir.path(), &plain), CreateError::NoFiles(_)));
    assert!(matches!(run(&dir.path().join("no"), &plain), CreateError::Read { .. }));
    for len in [0, 1000, 8192, u32::MAX] {
        let config = CreateConfig { piece_len: Some(len), ..CreateConfig::default() };
        assert!(matches!(run(dir.path(), &config), CreateError::PieceLen(_)));
    }
    let progress = CreateProgress::default();
    progress.cancel();
    let tree = tree();
    assert!(matches!(create(tree.path(), &plain, &progress), Err(CreateError::Cancelled)));
}

#[cfg(unix)]
#[test]
fn links_are_left_out_and_names_that_would_change_are_refused() {
    let dir = tree();
    let top = dir.path().join("top");
    std::os::unix::fs::symlink("a", top.join("link")).unwrap();
    assert_eq!(made(&top, Kind::V1).skipped, [top.join("link")]);
    fs::write(top.join("evil\x1bname"), b"x").unwrap();
    let failed = create(&top, &CreateConfig::default(), &CreateProgress::default());
    assert!(matches!(failed, Err(CreateError::Name(path)) if path.ends_with("evil\x1bname")));
}

#[test]
fn a_lone_file_in_a_directory_is_no_v2_torrent() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().join("top");
    fs::create_dir(&top).unwrap();
    fs::write(top.join("lone"), b"x").unwrap();
    let config = CreateConfig { kind: Kind::V2, ..CreateConfig::default() };
    let failed = create(&top, &config, &CreateProgress::default());
    assert!(matches!(failed, Err(CreateError::LoneFile(path)) if path == top.join("lone")));
    for created in [made(&top, Kind::V1), made(&top, Kind::Hybrid)] {
        assert!(!created.metainfo.info.is_single_file());
    }
    assert!(made(&top.join("lone"), Kind::V2).metainfo.info.is_single_file());
}

#[test]
fn padding_stands_right_behind_the_file_it_fills() {
    let dir = tree();
    let hybrid = made(&dir.path().join("top"), Kind::Hybrid);
    let files = hybrid.metainfo.info.files();
    let shown: Vec<&str> = files.iter().map(|f| f.path.as_str()).collect();
    let expected = [
        "top/a",
        "top/.pad/31072",
        "top/b/c/deep",
        "top/.pad/32767",
        "top/b/empty",
        "top/b/exact",
        "top/b.first",
        "top/.pad/25536",
        "top/z",
        "top/zz-empty",
    ];
    assert_eq!(shown, expected);
}

#[test]
fn empty_files_alone_are_a_torrent_without_pieces() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        fs::write(dir.path().join(name), b"").unwrap();
    }
    for kind in [Kind::V1, Kind::V2, Kind::Hybrid] {
        assert_eq!(made(dir.path(), kind).metainfo.info.layout().count(), 0);
    }
}

#[cfg(unix)]
#[test]
fn executables_are_marked_in_every_kind() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tree();
    let tool = dir.path().join("top/z");
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    for kind in [Kind::V1, Kind::V2, Kind::Hybrid] {
        let created = made(&dir.path().join("top"), kind);
        let files = created.metainfo.info.files();
        let marked: Vec<&str> =
            files.iter().filter(|f| f.attributes.executable).map(|f| f.path.as_str()).collect();
        assert_eq!(marked, ["top/z"]);
        assert!(made(&tool, kind).metainfo.info.files()[0].attributes.executable);
    }
}

#[cfg(unix)]
#[test]
fn a_name_that_cannot_be_is_told_with_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let bad = dir.path().join("top/odd\x07");
    fs::create_dir_all(bad.join("sub")).unwrap();
    fs::write(bad.join("sub/file"), b"x").unwrap();
    let run = |path: &Path, name: Option<&str>| {
        let config = CreateConfig { name: name.map(str::to_owned), ..CreateConfig::default() };
        create(path, &config, &CreateProgress::default()).map(|_| ()).unwrap_err()
    };
    let top = dir.path().join("top");
    assert!(matches!(run(&top, None), CreateError::Name(path) if path == bad));
    assert!(matches!(run(&bad, None), CreateError::Name(path) if path == bad));
    let chosen = run(&bad, Some("a/b"));
    assert!(matches!(&chosen, CreateError::Plan(_)) && chosen.to_string().contains("`a/b`"));
}
