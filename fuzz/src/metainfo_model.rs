//! Torrents beside a naive reading of the same bytes: what is taken says what stands there, and a plain torrent of one file is taken.

use crate::bencode_model::{Naive, read};
use samara_wire::id::PieceIndex;
use samara_wire::metainfo::{MAX_PIECE_LEN, Metainfo, PieceHash};
use sha1::{Digest, Sha1};
use sha2::Sha256;

/// Reads `input` as a `.torrent` file, both ways.
pub fn run(input: &[u8]) {
    let parsed = Metainfo::parse(input);
    if let Some(plain) = read(input, true).filter(is_plain) {
        assert!(parsed.is_ok(), "a plain torrent is refused: {:?}, {plain:?}", parsed.err());
    }
    let Ok(metainfo) = parsed else { return };
    let Some(Naive::Dict(root)) = read(input, false) else { panic!("taken, and is no dictionary") };
    let (raw, info) = root
        .iter()
        .find_map(|(key, raw, value)| (*key == b"info").then_some((*raw, value)))
        .expect("taken without an info dictionary");
    let read = &metainfo.info;
    assert_eq!(read.raw(), raw, "other bytes are hashed");
    let v2 = int(info, b"meta version") == Some(2);
    let v1 = !v2 || get(info, b"pieces").is_some();
    let hashes = read.hashes();
    assert_eq!(hashes.v1().map(|hash| hash.0), v1.then(|| Sha1::digest(raw).into()));
    assert_eq!(hashes.v2().map(|hash| hash.0), v2.then(|| Sha256::digest(raw).into()));
    assert_eq!(int(info, b"piece length"), Some(read.layout().piece_len().into()));
    assert_eq!(read.is_private(), int(info, b"private") == Some(1));
    if v1 {
        pieces(info, &metainfo);
    }
    if v1 && !v2 {
        files(info, &metainfo);
    }
}

/// The pieces of a v1 or hybrid torrent are those that stand there.
fn pieces(info: &Naive<'_>, metainfo: &Metainfo) {
    let pieces = bytes(info, b"pieces").expect("taken without pieces");
    let layout = metainfo.info.layout();
    assert_eq!(pieces.len(), layout.count() as usize * 20);
    for (piece, hash) in (0..).map(PieceIndex).zip(pieces.as_chunks::<20>().0) {
        assert_eq!(metainfo.info.piece_hash(piece), Some(PieceHash::V1(*hash)));
    }
}

/// The files of a v1 torrent are those that stand there, in their order.
fn files(info: &Naive<'_>, metainfo: &Metainfo) {
    let lens: Vec<i64> = match get(info, b"files") {
        Some(Naive::List(files)) => {
            files.iter().map(|file| int(file, b"length").unwrap_or(0)).collect()
        }
        _ => vec![int(info, b"length").expect("taken without a length")],
    };
    let read: Vec<i64> =
        metainfo.info.files().iter().map(|file| i64::try_from(file.len).unwrap_or(-1)).collect();
    assert_eq!(read, lens);
    let total: i64 = lens.iter().sum();
    assert_eq!(i64::try_from(metainfo.info.layout().total_len()), Ok(total));
}

/// Whether nobody could find fault with it: a v1 torrent of one file with a plain name, whose numbers add up.
fn is_plain(root: &Naive<'_>) -> bool {
    let Some(info @ Naive::Dict(entries)) = get(root, b"info") else { return false };
    let known: [&[u8]; 4] = [b"length", b"name", b"piece length", b"pieces"];
    let (Some(len), Some(name), Some(piece_len), Some(pieces)) = (
        int(info, b"length"),
        bytes(info, b"name"),
        int(info, b"piece length"),
        bytes(info, b"pieces"),
    ) else {
        return false;
    };
    let plain_name = (1..100).contains(&name.len()) && name.iter().all(u8::is_ascii_lowercase);
    let numbers =
        (1..=i64::from(MAX_PIECE_LEN)).contains(&piece_len) && (1..1 << 40).contains(&len);
    entries.iter().all(|(key, ..)| known.contains(key))
        && plain_name
        && numbers
        && i64::try_from(pieces.len()) == Ok((len + piece_len - 1) / piece_len * 20)
        && pieces.len() / 20 <= 1 << 21
}

fn get<'v, 'a>(dict: &'v Naive<'a>, key: &[u8]) -> Option<&'v Naive<'a>> {
    let Naive::Dict(entries) = dict else { return None };
    entries.iter().find_map(|(other, _, value)| (*other == key).then_some(value))
}

fn int(dict: &Naive<'_>, key: &[u8]) -> Option<i64> {
    match get(dict, key)? {
        Naive::Int(number) => Some(*number),
        _ => None,
    }
}

fn bytes<'a>(dict: &Naive<'a>, key: &[u8]) -> Option<&'a [u8]> {
    match get(dict, key)? {
        Naive::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}
