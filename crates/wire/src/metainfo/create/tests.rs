use super::*;
use crate::id::{FileIndex, PieceIndex};
use crate::metainfo::{Metainfo, PieceHash};
use proptest::prelude::*;
use sha1::{Digest, Sha1};
use sha2::Sha256;
use std::vec;

const PIECE: u32 = 32 << 10;

fn new_file(path: &str, len: u64) -> NewFile {
    let path = path.split('/').filter(|e| !e.is_empty()).map(ToString::to_string).collect();
    NewFile { path, len, ..NewFile::default() }
}

/// The content of a plan's file: bytes that depend on where they are.
fn content(file: &FileEntry) -> Vec<u8> {
    if file.attributes.padding {
        return vec![0; usize::try_from(file.len).unwrap()];
    }
    let seed = file.path.as_str().len() as u64;
    (0..file.len).map(|i| ((i * 31 + seed) >> 3).to_le_bytes()[0]).collect()
}

/// Hashes a plan the way a disk would, but all in memory.
fn hash(plan: &Plan) -> PlanHashes {
    let mut hashes = PlanHashes::default();
    if plan.version().has_v1() {
        let all: Vec<u8> = plan.files().iter().flat_map(content).collect();
        let pieces = all.chunks(plan.layout().piece_len() as usize);
        hashes.v1 = pieces.map(|p| Sha1::digest(p).into()).collect();
    }
    if plan.version().has_v2() {
        for file in plan.files() {
            let data = if file.attributes.padding { Vec::new() } else { content(file) };
            let blocks: Vec<_> =
                data.chunks(BLOCK_LEN as usize).map(|b| Sha256::digest(b).into()).collect();
            hashes.v2.push(FileHashes::from_blocks(&blocks, plan.layout().piece_len()));
        }
    }
    hashes
}

fn make(files: Vec<NewFile>, version: Version) -> (Plan, Vec<u8>) {
    let plan = Plan::new("name", files, PIECE, version).unwrap();
    let bytes = plan.encode(&hash(&plan), &Details::default()).unwrap();
    (plan, bytes)
}

const VERSIONS: [Version; 3] = [Version::V1, Version::V2, Version::Hybrid];

fn strict(bytes: &[u8]) {
    let limits = crate::bencode::Limits::FILE.with_strictness(crate::bencode::Strictness::Strict);
    crate::bencode::parse(bytes, limits).unwrap();
}

/// Everything a plan says must come back from its bytes.
fn check_round_trip(plan: &Plan, bytes: &[u8]) {
    strict(bytes);
    let hashes = hash(plan);
    let info = Metainfo::parse(bytes).unwrap().info;
    assert_eq!(info.layout(), plan.layout());
    assert_eq!(info.hashes().v1().is_some(), plan.version().has_v1());
    assert_eq!(info.hashes().v2().is_some(), plan.version().has_v2());
    assert_eq!(info.files().len(), plan.files().len());
    for (i, (parsed, planned)) in info.files().iter().zip(plan.files()).enumerate() {
        let root = hashes.v2.get(i).and_then(|h| h.as_ref()).map(|h| h.root);
        let mut expected = planned.clone();
        expected.pieces_root = root;
        assert_eq!(*parsed, expected);
        if let Some(Some(h)) =
            hashes.v2.get(i).filter(|h| h.as_ref().is_some_and(|h| !h.layer.is_empty()))
        {
            let index = FileIndex(u32::try_from(i).unwrap());
            assert_eq!(info.piece_layer(index), Some(&h.layer[..]));
        }
    }
    for (piece, sha1) in (0..).zip(&hashes.v1) {
        assert_eq!(info.piece_hash(PieceIndex(piece)), Some(PieceHash::V1(*sha1)));
    }
    assert!(info.has_all_hashes());
}

#[test]
fn all_versions_come_back_as_they_were_planned() {
    let files = || {
        let mut files = vec![
            new_file("b/c/d.bin", 3 * u64::from(PIECE)),
            new_file("b/empty", 0),
            new_file("b.txt", 1),
            new_file("b-first", u64::from(PIECE) + 1),
            new_file("z", u64::from(PIECE)),
            new_file("link", 0),
        ];
        files[2].attributes.executable = true;
        files[3].attributes.hidden = true;
        files[5].symlink = Some(vec!["b".into(), "c".into(), "d.bin".into()]);
        files
    };
    for version in VERSIONS {
        let (plan, bytes) = make(files(), version);
        check_round_trip(&plan, &bytes);
        let order: Vec<_> = plan
            .files()
            .iter()
            .filter(|f| !f.attributes.padding)
            .map(|f| f.path.as_str())
            .collect();
        assert_eq!(
            order,
            ["name/b/c/d.bin", "name/b/empty", "name/b-first", "name/b.txt", "name/link", "name/z"]
        );
        let mut reversed = files();
        reversed.reverse();
        assert_eq!(make(reversed, version).1, bytes, "the order of the input does not matter");
    }
}

#[test]
fn one_file_is_not_a_directory() {
    for version in VERSIONS {
        let (plan, bytes) = make(vec![new_file("", 100_000)], version);
        check_round_trip(&plan, &bytes);
        let info = Metainfo::parse(&bytes).unwrap().info;
        assert!(info.is_single_file());
        assert_eq!((info.name(), info.files()[0].path.as_str()), ("name", "name"));
    }
    for version in [Version::V1, Version::Hybrid] {
        let (plan, bytes) = make(vec![new_file("lone", 1)], version);
        check_round_trip(&plan, &bytes);
        assert!(!Metainfo::parse(&bytes).unwrap().info.is_single_file());
    }
    assert_eq!(
        Plan::new("name", vec![new_file("lone", 1)], PIECE, Version::V2).unwrap_err(),
        CreateError::LoneFile("lone".into())
    );
}

#[test]
fn a_hybrid_pads_between_files_and_not_at_the_end() {
    let (plan, _) = make(
        vec![new_file("a", 1), new_file("b", 0), new_file("c", 2), new_file("d", 0)],
        Version::Hybrid,
    );
    let shown: Vec<_> = plan.files().iter().map(|f| (f.path.as_str(), f.offset, f.len)).collect();
    let piece = u64::from(PIECE);
    assert_eq!(
        shown,
        [
            ("name/a", 0, 1),
            ("name/.pad/32767", 1, piece - 1),
            ("name/b", piece, 0),
            ("name/c", piece, 2),
            ("name/d", piece + 2, 0)
        ]
    );
}

#[test]
fn details_are_written_canonically() {
    let plan = Plan::new("n", vec![new_file("", 1)], 16384, Version::V1).unwrap();
    let hashes = PlanHashes { v1: vec![[b'h'; 20]], v2: vec![] };
    let details = Details {
        trackers: vec![vec!["udp://a".into()], vec!["udp://b".into()]],
        web_seeds: vec!["http://w/".into()],
        private: true,
        source: Some("S".into()),
        comment: Some("c".into()),
        creation_date: Some(5),
        created_by: Some("x".into()),
    };
    let expected = "d8:announce7:udp://a13:announce-listll7:udp://ael7:udp://bee7:comment1:c10:created by1:x\
        13:creation datei5e4:infod6:lengthi1e4:name1:n12:piece lengthi16384e6:pieces20:hhhhhhhhhhhhhhhhhhhh\
        7:privatei1e6:source1:Se8:url-listl9:http://w/ee";
    assert_eq!(plan.encode(&hashes, &details).unwrap(), expected.as_bytes());
    let one = Details { trackers: vec![vec!["udp://a".into()]], ..Details::default() };
    let bytes = plan.encode(&hashes, &one).unwrap();
    assert!(bytes.starts_with(b"d8:announce7:udp://a4:info"), "no list for a single tracker");
}

#[test]
fn what_cannot_be_made_is_refused() {
    let plan =
        |files, piece_len, version| Plan::new("name", files, piece_len, version).unwrap_err();
    assert_eq!(plan(vec![], PIECE, Version::V1), CreateError::NoFiles);
    assert_eq!(plan(vec![new_file("", 1)], 0, Version::V1), CreateError::PieceLen(0));
    assert_eq!(plan(vec![new_file("", 1)], 8192, Version::V2), CreateError::PieceLen(8192));
    let two = vec![new_file("a", 1), new_file("a", 2)];
    assert_eq!(plan(two, PIECE, Version::V1), CreateError::Duplicate("name/a".into()));
    let inside = vec![new_file("a", 1), new_file("a/b", 2)];
    assert!(matches!(
        plan(inside, PIECE, Version::V2),
        CreateError::Path(PathError::FileIsDirectory(_))
    ));
    let beside = vec![new_file("", 1), new_file("a", 2)];
    assert_eq!(plan(beside, PIECE, Version::V1), CreateError::BadFile("name".into()));
    let unsafe_name = vec![new_file("a\nb", 1), new_file("c", 1)];
    assert_eq!(plan(unsafe_name, PIECE, Version::V1), CreateError::UnsafeName("a\nb".into()));
    assert!(Plan::new("..", vec![new_file("", 1)], PIECE, Version::V1).is_err());
    let huge = vec![new_file("", (1 << 21) * u64::from(PIECE) + 1)];
    assert!(matches!(
        plan(huge, PIECE, Version::V1),
        CreateError::Limits(MetainfoError::TooManyPieces(_))
    ));
    let overflow = vec![new_file("a", u64::MAX), new_file("b", u64::MAX)];
    for version in VERSIONS {
        assert_eq!(
            plan(overflow.clone(), PIECE, version),
            CreateError::Limits(MetainfoError::Length)
        );
    }
    let mut padding = new_file("p", 1);
    padding.attributes.padding = true;
    assert_eq!(plan(vec![padding], PIECE, Version::V1), CreateError::BadFile("name/p".into()));
    let deep = vec![new_file(&"d/".repeat(65), 1)];
    assert_eq!(plan(deep, PIECE, Version::V2), CreateError::Path(PathError::TooDeep));
}

#[test]
fn the_deepest_tree_we_make_is_one_we_read() {
    let (plan, bytes) = make(vec![new_file(&"d/".repeat(64), 1)], Version::Hybrid);
    check_round_trip(&plan, &bytes);
}

#[test]
fn hashes_must_fit_the_plan() {
    for version in VERSIONS {
        let files = vec![new_file("a", 100_000), new_file("b", 0)];
        let plan = Plan::new("name", files, PIECE, version).unwrap();
        let good = hash(&plan);
        let bad = |spoil: &dyn Fn(&mut PlanHashes)| {
            let mut hashes = good.clone();
            spoil(&mut hashes);
            let refused = plan.encode(&hashes, &Details::default()) == Err(CreateError::Hashes);
            assert!(refused || hashes == good);
        };
        bad(&|h| h.v1.truncate(1));
        bad(&|h| h.v1.push([0; 20]));
        bad(&|h| h.v2.truncate(1));
        bad(&|h| h.v2.iter_mut().for_each(|h| *h = None));
        bad(&|h| h.v2.iter_mut().flatten().for_each(|h| h.layer.truncate(1)));
    }
}

#[test]
fn automatic_piece_lengths_are_what_users_expect() {
    for (total, expected) in [
        (0, 32 << 10),
        (1, 32 << 10),
        (64 << 20, 32 << 10),
        ((64 << 20) + 1, 64 << 10),
        (700 << 20, 512 << 10),
        (4 << 30, 2 << 20),
        (1 << 40, 16 << 20),
        (1 << 44, 16 << 20),
        (1 << 47, 128 << 20),
        (u64::MAX, 256 << 20),
    ] {
        assert_eq!(piece_len_for(total), expected, "{total}");
    }
}

proptest! {
    #[test]
    fn any_plan_round_trips(
        lens in prop::collection::vec(prop_oneof![Just(0u64), 1u64..10, 30_000u64..40_000, Just(65_536)], 1..8),
        version in prop::sample::select(VERSIONS.to_vec()),
        dirs in prop::collection::vec(0u8..3, 8),
    ) {
        let files: Vec<_> = lens.iter().zip(dirs).enumerate()
            .map(|(i, (&len, dir))| new_file(&std::format!("dir{dir}/f{i}"), len))
            .collect();
        let (plan, bytes) = make(files, version);
        check_round_trip(&plan, &bytes);
    }
}
