//! The info dictionary: which version it is, whether it adds up, and what its pieces hash to.

use super::files::{self, FileList};
use super::merkle::{Hash, UpperLayers};
use super::path::{self, PathRules};
use super::{FileEntry, Info, InfoInner, MAX_PIECE_LEN, MAX_PIECES, MetainfoError};
use crate::bencode::Dict;
use crate::id::{BLOCK_LEN, InfoHashV1, InfoHashV2, InfoHashes, PieceIndex};
use crate::layout::PieceLayout;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// What an [`Info`] is read from.
pub(super) struct RawInfo<'a, 'd> {
    pub(super) dict: Dict<'a, 'd>,
    pub(super) rules: PathRules,
    /// `piece layers`, which stands beside the info dictionary.
    pub(super) layers: Option<Dict<'a, 'd>>,
    /// Whether a v2 torrent without layers is refused: a file must have them, peers do not send them along.
    pub(super) need_layers: bool,
}

pub(super) fn read(raw: &RawInfo<'_, '_>) -> Result<Info, MetainfoError> {
    let dict = raw.dict;
    let (v1, v2) = versions(dict)?;
    let hashes = info_hashes(dict.raw(), v1, v2);
    let mut name = name(dict, &hashes, raw.rules)?;
    let piece_len = piece_len(dict, v2)?;

    let mut list = match (v1, v2) {
        (true, false) => files::read_v1(dict, &name, raw.rules)?,
        (false, _) => files::read_v2(dict, &name, piece_len, raw.rules)?,
        (true, true) => {
            let v1 = files::read_v1(dict, &name, raw.rules)?;
            let v2 = files::read_v2(dict, &name, piece_len, raw.rules)?;
            files::merge_hybrid(v1, v2, piece_len)?
        }
    };
    if let ([only], true) = (&list.files[..], list.single) {
        // In a v2 torrent the key in the file tree, which need not be the name.
        name = only.path.to_string();
    }
    let layout = if v1 { layout_v1(&list, piece_len)? } else { layout_v2(&list, piece_len)? };
    let pieces_v1 = if v1 { pieces_v1(dict, layout.count())? } else { 0..0 };
    let layers = match raw.layers {
        Some(layers) if v2 => {
            let by_root: BTreeMap<&[u8], _> = layers.into_iter().collect();
            let layer = |root: &Hash| by_root.get(&root[..])?.as_bytes();
            read_layers(layer, &list.files, &layout)?
        }
        None if v2 && raw.need_layers => no_layers(&list.files, piece_len)?,
        _ => PieceLayers::default(),
    };
    let stored = list.files.iter_mut().filter(|f| !f.attributes.padding);
    path::resolve_collisions(stored.map(|f| &mut f.path), raw.rules)?;
    let total_len = list.files.iter().filter(|f| !f.attributes.padding).map(|f| f.len).sum();

    Ok(Info(Arc::new(InfoInner {
        raw: dict.raw().into(),
        hashes,
        name: name.into(),
        layout,
        single_file: list.single,
        files: list.files.into(),
        private: dict.get_int(b"private") == Some(1),
        source: super::parse::text(dict, b"source.utf-8", b"source").map(Into::into),
        total_len,
        pieces_v1,
        layers,
    })))
}

/// Whether the dictionary describes a v1 torrent, a v2 torrent, or (both) a hybrid.
fn versions(dict: Dict<'_, '_>) -> Result<(bool, bool), MetainfoError> {
    let v2 = match dict.get(b"meta version") {
        None => false,
        Some(value) => match value.as_int() {
            Some(1) => false,
            Some(2) => true,
            Some(other) => return Err(MetainfoError::Version(other)),
            None => return Err(MetainfoError::Field("meta version")),
        },
    };
    Ok((!v2 || dict.get(b"pieces").is_some(), v2))
}

fn info_hashes(raw: &[u8], v1: bool, v2: bool) -> InfoHashes {
    let hash_v1 = || InfoHashV1(Sha1::digest(raw).into());
    let hash_v2 = || InfoHashV2(Sha256::digest(raw).into());
    match (v1, v2) {
        (true, true) => InfoHashes::hybrid(hash_v1(), hash_v2()),
        (false, true) => InfoHashes::v2_only(hash_v2()),
        _ => InfoHashes::v1_only(hash_v1()),
    }
}

fn name(
    dict: Dict<'_, '_>,
    hashes: &InfoHashes,
    rules: PathRules,
) -> Result<String, MetainfoError> {
    let raw = dict
        .get_bytes(b"name.utf-8")
        .or_else(|| dict.get_bytes(b"name"))
        .ok_or(MetainfoError::Field("name"))?;
    Ok(path::safe_element(raw, rules)?.unwrap_or_else(|| hashes.wire().to_string()))
}

fn piece_len(dict: Dict<'_, '_>, v2: bool) -> Result<u32, MetainfoError> {
    let raw = dict.get_int(b"piece length").ok_or(MetainfoError::Field("piece length"))?;
    let len = u32::try_from(raw).unwrap_or(0);
    if len == 0 || len > MAX_PIECE_LEN {
        return Err(MetainfoError::PieceLen(raw));
    }
    if v2 && (!len.is_power_of_two() || len < BLOCK_LEN) {
        return Err(MetainfoError::PieceLenV2(len));
    }
    Ok(len)
}

/// Pieces over all files, end to end.
pub(super) fn layout_v1(list: &FileList, piece_len: u32) -> Result<PieceLayout, MetainfoError> {
    let total = list.files.last().map_or(0, FileEntry::end);
    bounded(total.div_ceil(u64::from(piece_len)))?;
    Ok(PieceLayout::contiguous(total, piece_len))
}

/// Pieces that never span files.
pub(super) fn layout_v2(list: &FileList, piece_len: u32) -> Result<PieceLayout, MetainfoError> {
    let wide = u64::from(piece_len);
    let end = list.files.iter().rfind(|f| f.len > 0).map_or(0, FileEntry::end);
    let count = bounded(end.div_ceil(wide))?;
    let mut short = Vec::new();
    for file in list.files.iter().filter(|f| f.len % wide != 0) {
        let piece = u32::try_from(file.end() / wide).expect("below the number of pieces");
        let len = u32::try_from(file.len % wide).expect("below the piece length");
        short.push((PieceIndex(piece), len));
    }
    Ok(PieceLayout::with_short_pieces(piece_len, count, short.into()))
}

fn bounded(pieces: u64) -> Result<u32, MetainfoError> {
    u32::try_from(pieces)
        .ok()
        .filter(|&count| count <= MAX_PIECES)
        .ok_or(MetainfoError::TooManyPieces(pieces))
}

/// Where the v1 hashes stand in the info dictionary.
fn pieces_v1(dict: Dict<'_, '_>, count: u32) -> Result<Range<usize>, MetainfoError> {
    let value = dict.get(b"pieces").ok_or(MetainfoError::Field("pieces"))?;
    let pieces = value.as_bytes().ok_or(MetainfoError::Field("pieces"))?;
    if pieces.len() % 20 != 0 {
        return Err(MetainfoError::PiecesLen(pieces.len()));
    }
    let got = (pieces.len() / 20) as u64;
    if got != u64::from(count) {
        return Err(MetainfoError::PieceCount { expected: u64::from(count), got });
    }
    let end = value.end_in(&dict);
    Ok(end - pieces.len()..end)
}

/// What the piece layers of a v2 torrent say.
#[derive(Clone, Default)]
pub(super) struct PieceLayers {
    /// The v2 hash of each piece; empty for a v1 torrent and where the layers are not known.
    pub(super) roots: Box<[Hash]>,
    /// By the first piece of their file, in order: of files so long that proofs would take too much hashing.
    pub(super) upper: Box<[(u32, UpperLayers)]>,
}

/// Takes the layers in, once each has been seen to belong to its file.
pub(super) fn read_layers<'a>(
    layer_of: impl Fn(&Hash) -> Option<&'a [u8]>,
    files: &[FileEntry],
    layout: &PieceLayout,
) -> Result<PieceLayers, MetainfoError> {
    let wrong = |file: &FileEntry| MetainfoError::PieceLayer(file.path.to_string());
    let piece_len = layout.piece_len();
    let mut roots = Vec::with_capacity(layout.count() as usize);
    let mut uppers = Vec::new();
    for file in files.iter().filter(|f| f.len > 0 && !f.attributes.padding) {
        let root = file.pieces_root.ok_or(wrong(file))?;
        if file.len <= u64::from(piece_len) {
            roots.push(root);
            continue;
        }
        let (layer, rest) = layer_of(&root).ok_or(wrong(file))?.as_chunks::<32>();
        let pieces = file.len.div_ceil(u64::from(piece_len));
        if !rest.is_empty() || layer.len() as u64 != pieces {
            return Err(wrong(file));
        }
        let upper = UpperLayers::new(layer, piece_len);
        if upper.root() != Some(&root) {
            return Err(wrong(file));
        }
        if upper.is_worth_keeping() {
            let first = u32::try_from(roots.len()).expect("pieces are counted in 32 bits");
            uppers.push((first, upper));
        }
        roots.extend_from_slice(layer);
    }
    Ok(PieceLayers { roots: roots.into(), upper: uppers.into() })
}

/// A file may leave the layers out only if none of its files has more than one piece.
fn no_layers(files: &[FileEntry], piece_len: u32) -> Result<PieceLayers, MetainfoError> {
    match files.iter().find(|f| f.len > u64::from(piece_len)) {
        Some(file) => Err(MetainfoError::PieceLayer(file.path.to_string())),
        None => Ok(PieceLayers::default()),
    }
}
