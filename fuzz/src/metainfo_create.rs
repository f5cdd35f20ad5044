//! Torrents that are made: whatever files and hashes there are, what is written is read as it was meant.

use crate::Script;
use samara_wire::id::{BLOCK_LEN, PieceIndex};
use samara_wire::metainfo::create::{CreateError, Details, NewFile, Plan, PlanHashes, Version};
use samara_wire::metainfo::merkle::{FileHashes, Hash};
use samara_wire::metainfo::{FileAttributes, FileEntry, Metainfo, PieceHash};

/// Reads `input` as files to share.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let version = script.pick(&[Version::V1, Version::V2, Version::Hybrid]);
    let piece_len = match script.byte() {
        255 => script.word(),
        byte => BLOCK_LEN << (byte & 3),
    };
    let name = text(&mut script);
    let files: Vec<NewFile> = (0..script.below(8)).map(|_| file(&mut script)).collect();
    let details = Details {
        trackers: (0..script.below(3)).map(|n| vec![format!("http://{n}/announce")]).collect(),
        web_seeds: (0..script.below(2)).map(|n| format!("http://{n}/seed")).collect(),
        private: script.flag(),
        source: script.flag().then(|| "a source".to_owned()),
        comment: script.flag().then(|| "a comment".to_owned()),
        creation_date: script.flag().then(|| script.word().into()),
        created_by: None,
    };
    let Ok(plan) = Plan::new(&name, files.clone(), piece_len, version) else { return };
    if plan.layout().count() > 4000 {
        return;
    }
    let hashes = hashes(&plan, script.byte());
    let bytes = match plan.encode(&hashes, &details) {
        Ok(bytes) => bytes,
        Err(error) => {
            assert!(matches!(error, CreateError::TooBig(_)), "{error}");
            return;
        }
    };
    let read = Metainfo::parse(&bytes).expect("what we make we read");
    let info = &read.info;
    // A plan does not know the roots yet.
    let bare = |file: &FileEntry| FileEntry { pieces_root: None, ..file.clone() };
    assert!(info.files().iter().map(bare).eq(plan.files().iter().cloned()));
    assert_eq!(info.layout(), plan.layout());
    assert_eq!((info.name(), info.is_private()), (name.as_str(), details.private));
    assert_eq!((info.source(), &read.comment), (details.source.as_deref(), &details.comment));
    assert_eq!((&read.trackers, &read.web_seeds), (&details.trackers, &details.web_seeds));
    assert_eq!(read.creation_date, details.creation_date);
    assert_eq!(
        (info.hashes().v1().is_some(), info.hashes().v2().is_some()),
        (version.has_v1(), version.has_v2())
    );
    for (piece, hash) in (0..).map(PieceIndex).zip(&hashes.v1) {
        assert_eq!(info.piece_hash(piece), Some(PieceHash::V1(*hash)));
    }
    let total: u64 = files.iter().map(|file| file.len).sum();
    assert_eq!(info.total_len(), total);
    // The wrong hashes are noticed before anything is written.
    let mut short = hashes;
    if short.v1.pop().is_some() || short.v2.pop().is_some() {
        assert_eq!(plan.encode(&short, &details), Err(CreateError::Hashes));
    }
}

fn text(script: &mut Script<'_>) -> String {
    match script.byte() {
        255 => String::from_utf8_lossy(script.bytes(300)).into_owned(),
        byte => format!("name {}", byte & 7),
    }
}

fn file(script: &mut Script<'_>) -> NewFile {
    let path: Vec<String> = (0..script.below(4)).map(|_| text(script)).collect();
    let shape = script.byte();
    let len = match shape & 7 {
        0 => 0,
        1 => 1,
        2 => u64::from(BLOCK_LEN) * u64::from(script.byte()),
        _ => u64::from(script.short()) << (shape & 3),
    };
    let symlink = (shape >= 240).then(|| vec![text(script)]);
    let attributes = FileAttributes {
        padding: shape == 239,
        executable: shape & 8 != 0,
        hidden: shape & 16 != 0,
    };
    NewFile { path, len: if symlink.is_some() { 0 } else { len }, attributes, symlink }
}

fn hashes(plan: &Plan, seed: u8) -> PlanHashes {
    let v1 = plan.version().has_v1().then(|| plan.layout().pieces());
    let v1 = v1.into_iter().flatten().map(|piece| {
        let mut hash = [seed; 20];
        hash[..4].copy_from_slice(&piece.0.to_le_bytes());
        hash
    });
    let tree = |len: u64| {
        let blocks = usize::try_from(len.div_ceil(BLOCK_LEN.into())).unwrap_or(0);
        let blocks: Vec<Hash> = (0..blocks).map(|_| [seed | 1; 32]).collect();
        FileHashes::from_blocks(&blocks, plan.layout().piece_len())
    };
    let files = plan.version().has_v2().then(|| plan.files().iter());
    let v2 = files.into_iter().flatten();
    let v2 = v2.map(|file| if file.attributes.padding { None } else { tree(file.len) });
    PlanHashes { v1: v1.collect(), v2: v2.collect() }
}
