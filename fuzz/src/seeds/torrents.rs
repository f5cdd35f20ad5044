//! Torrents of every kind, small.

use samara_wire::id::BLOCK_LEN;
use samara_wire::metainfo::create::{Details, NewFile, Plan, PlanHashes, Version};
use samara_wire::metainfo::merkle::{FileHashes, Hash};

/// One file and several, v1, v2 and hybrid; and one with what only others write.
pub(super) fn all() -> Vec<Vec<u8>> {
    let mut torrents = Vec::new();
    for version in [Version::V1, Version::V2, Version::Hybrid] {
        torrents.push(torrent(version, vec![file(&[], 40_000)]));
        let files =
            vec![file(&["a"], 20_000), file(&["dir", "b.txt"], 1), file(&["dir", "empty"], 0)];
        torrents.push(torrent(version, files));
    }
    let odd = b"d8:announce9:http://a/13:announce-listll9:http://a/el8:udp://b:ee7:comment4:text13:creation datei1e4:infod\
        5:filesld4:attr1:p6:lengthi7e4:pathl4:.pad1:7eed6:lengthi3e4:pathl1:xeee4:name1:n12:piece lengthi16384e6:pieces20:\
        aaaaaaaaaaaaaaaaaaaa7:privatei1e6:source1:see";
    torrents.push(odd.to_vec());
    torrents
}

fn file(path: &[&str], len: u64) -> NewFile {
    NewFile { path: path.iter().map(|&part| part.to_owned()).collect(), len, ..NewFile::default() }
}

fn torrent(version: Version, files: Vec<NewFile>) -> Vec<u8> {
    let plan = Plan::new("name", files, BLOCK_LEN, version).expect("a plan");
    let v1 = plan.layout().pieces().filter(|_| version.has_v1()).map(|_| [1; 20]).collect();
    let tree = |len: u64| {
        let blocks = usize::try_from(len.div_ceil(BLOCK_LEN.into())).unwrap_or(0);
        let blocks: Vec<Hash> = vec![[2; 32]; blocks];
        FileHashes::from_blocks(&blocks, BLOCK_LEN)
    };
    let files = plan.files().iter().filter(|_| version.has_v2());
    let v2 =
        files.map(|file| if file.attributes.padding { None } else { tree(file.len) }).collect();
    let details = Details {
        trackers: vec![vec!["http://a/announce".to_owned()], vec!["udp://b:1".to_owned()]],
        private: true,
        comment: Some("text".to_owned()),
        ..Details::default()
    };
    plan.encode(&PlanHashes { v1, v2 }, &details).expect("hashes that fit")
}
