//! Parts of a file's tree, with the hashes that prove them against its root (BEP 52, hash requests).
//!
//! What is asked for is a run of one layer that begins at a multiple of its length, so it is a subtree, and from each
//! layer above it one hash is enough to climb on: that of the *uncle*. Layers of which the run itself tells the uncle
//! are counted as asked for and left out.
//!
//! Of a piece layer with more than [`RUN`] hashes the layers from [`RUN_LEVELS`] up are kept, so that an answer costs
//! at most some hundred hashes whatever the file's size.

use super::{EMPTY_LEAF, Hash, leaves_per_piece, parent, root};
use crate::peer::hashes::{HashRequest, MAX_HASHES};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Hashes of a piece layer below one hash of the lowest layer that is kept.
const RUN: u32 = 1 << RUN_LEVELS;

/// How far above the piece layer that layer is.
const RUN_LEVELS: u32 = 9;

/// The layers of one file's tree that are far above its piece layer, up to the root.
#[derive(Clone, Debug)]
pub(in crate::metainfo) struct UpperLayers(Box<[Box<[Hash]>]>);

impl UpperLayers {
    /// Over a whole piece layer of at least one hash.
    pub(in crate::metainfo) fn new(layer: &[Hash], piece_len: u32) -> Self {
        let mut filler = empty_piece(piece_len);
        // A layer of one run is a tree of its own, however low.
        let levels = if layer.len() > RUN as usize { RUN_LEVELS } else { 0 };
        let mut row: Vec<Hash> =
            layer.chunks(RUN as usize).map(|run| root(run, filler, levels)).collect();
        filler = climb(filler, RUN_LEVELS);
        let mut rows = Vec::new();
        while row.len() > 1 {
            let above = row.chunks(2).map(|pair| parent(&pair[0], pair.get(1).unwrap_or(&filler)));
            let above = above.collect();
            rows.push(core::mem::replace(&mut row, above).into());
            filler = parent(&filler, &filler);
        }
        rows.push(row.into());
        Self(rows.into())
    }

    /// Whether they save hashing: below a single run there is nothing to be saved.
    pub(in crate::metainfo) fn is_worth_keeping(&self) -> bool {
        self.0.len() > 1
    }

    /// The root of the file's tree.
    pub(in crate::metainfo) fn root(&self) -> Option<&Hash> {
        self.0.last()?.first()
    }
}

/// What is known of one file's tree: its piece layer and what follows from it.
#[derive(Clone, Copy, Debug)]
pub(in crate::metainfo) struct LayerTree<'a> {
    /// The whole piece layer.
    pub(in crate::metainfo) layer: &'a [Hash],
    /// Of a layer with more than [`RUN`] hashes.
    pub(in crate::metainfo) upper: Option<&'a UpperLayers>,
    /// Bytes in a piece.
    pub(in crate::metainfo) piece_len: u32,
}

impl LayerTree<'_> {
    /// The hashes that `request` asks for, then the uncles. `None` if they are not known, are outside of the tree or
    /// too many, if the run does not begin at a multiple of its length, or if it takes too much hashing: between the
    /// piece layer and nine layers above it, for a run over more than 512 pieces.
    pub(in crate::metainfo) fn answer(&self, request: &HashRequest) -> Option<Vec<Hash>> {
        let HashRequest { base, index, len, proof_layers, .. } = *request;
        let level = base.checked_sub(leaves_per_piece(self.piece_len).trailing_zeros())?;
        let height = self.layer.len().next_power_of_two().trailing_zeros();
        let above = height.checked_sub(level)?;
        if len == 0 || len > MAX_HASHES || proof_layers >= above.max(1) {
            return None;
        }
        // A run that the end of the layer cuts short is one of the next legal length.
        let span = len.next_power_of_two().max(2);
        let inside = u64::from(index) + u64::from(len) <= 1 << above;
        let cheap = level >= RUN_LEVELS || len << level <= RUN;
        if !inside || !cheap || !index.is_multiple_of(span) {
            return None;
        }
        let run = (index..index + len).map(|at| self.node(level, at));
        let uncles = (span.trailing_zeros()..=proof_layers)
            .map(|up| self.node(level + up, (index >> up) ^ 1));
        Some(run.chain(uncles).collect())
    }

    /// The hash at `at`, `level` layers above the piece layer.
    fn node(&self, level: u32, at: u32) -> Hash {
        let filler = empty_piece(self.piece_len);
        let rows = self.upper.filter(|_| level >= RUN_LEVELS);
        if let Some(UpperLayers(rows)) = rows {
            let row = rows.get((level - RUN_LEVELS) as usize);
            let node = row.and_then(|row| row.get(at as usize)).copied();
            return node.unwrap_or_else(|| climb(filler, level));
        }
        let len = self.layer.len();
        let begin = ((at as usize) << level).min(len);
        let end = ((at as usize + 1) << level).min(len);
        root(&self.layer[begin..end], filler, level)
    }
}

/// What to ask for the part of a file's piece layer that begins at piece `first` of the file, a multiple of
/// [`MAX_HASHES`]: as much as one request may ask for, with the proof up to the root. `pieces` is the number of pieces
/// in the file, at least two.
///
/// # Panics
/// If `piece_len` is not a power of two of at least 16 KiB.
#[must_use]
pub fn piece_layer_request(root: Hash, piece_len: u32, pieces: u32, first: u32) -> HashRequest {
    let rest = pieces.saturating_sub(first).clamp(2, MAX_HASHES);
    HashRequest {
        root,
        base: leaves_per_piece(piece_len).trailing_zeros(),
        index: first,
        len: rest.next_power_of_two(),
        proof_layers: pieces.next_power_of_two().trailing_zeros().saturating_sub(1),
    }
}

/// Whether `hashes` are what `request`, whose proof reaches up to the root, asks for: then the run without its proof.
#[must_use]
pub fn proven<'a>(request: &HashRequest, hashes: &'a [Hash]) -> Option<&'a [Hash]> {
    if !request.len.is_power_of_two() {
        return None;
    }
    let (run, uncles) = hashes.split_at_checked(request.len as usize)?;
    let wanted = (request.proof_layers + 1).saturating_sub(request.len.trailing_zeros());
    if uncles.len() != wanted as usize {
        return None;
    }
    let mut at = request.index / request.len;
    let mut node = root(run, EMPTY_LEAF, 0);
    for uncle in uncles {
        node = if at.is_multiple_of(2) { parent(&node, uncle) } else { parent(uncle, &node) };
        at /= 2;
    }
    (node == request.root && at == 0).then_some(run)
}

/// What stands for a piece beyond the end of the file.
pub(super) fn empty_piece(piece_len: u32) -> Hash {
    climb(EMPTY_LEAF, leaves_per_piece(piece_len).trailing_zeros())
}

/// What stands for nothing, `levels` layers above one in which `filler` does.
fn climb(filler: Hash, levels: u32) -> Hash {
    (0..levels).fold(filler, |hash, _| parent(&hash, &hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::BLOCK_LEN;
    use proptest::prelude::*;

    /// The naive model: every layer written out to its full width, from the piece layer up to the root.
    fn rows(layer: &[Hash], piece_len: u32) -> Vec<Vec<Hash>> {
        let mut row = layer.to_vec();
        row.resize(layer.len().next_power_of_two(), empty_piece(piece_len));
        let mut rows = alloc::vec![row];
        while let Some(row) = rows.last().filter(|row| row.len() > 1) {
            let above = row.chunks(2).map(|pair| parent(&pair[0], &pair[1])).collect();
            rows.push(above);
        }
        rows
    }

    fn layer(pieces: u32) -> Vec<Hash> {
        let hash = |n: u32| {
            let mut hash = [7; 32];
            hash[..4].copy_from_slice(&n.to_le_bytes());
            hash
        };
        (0..pieces).map(hash).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn answers_agree_with_the_naive_model(
            pieces in 2u32..3000, exp in 0u32..3, base in 0u32..16, at in 0u32..600, len_exp in 0u32..10, cut in 0u32..3,
            proof_layers in 0u32..14,
        ) {
            let (piece_len, layer) = (BLOCK_LEN << exp, layer(pieces));
            let rows = rows(&layer, piece_len);
            let upper = UpperLayers::new(&layer, piece_len);
            prop_assert_eq!(upper.root(), rows.last().unwrap().first());
            let upper = (pieces > RUN).then_some(&upper);
            let tree = LayerTree { layer: &layer, upper, piece_len };
            let span = 1u32 << len_exp;
            let len = span.saturating_sub(cut).max(1);
            let span = len.next_power_of_two().max(2);
            let index = at * span;
            let request = HashRequest { root: [0; 32], base, index, len, proof_layers };
            let level = base.checked_sub(exp).map(|level| level as usize);
            let row = level.and_then(|level| rows.get(level));
            let run = row.and_then(|row| row.get(index as usize..(index + len) as usize));
            let fits = proof_layers == 0 || level.is_some_and(|l| l + (proof_layers as usize) < rows.len() - 1);
            let cheap = level.is_some_and(|level| level >= 9 || (len as usize) << level <= 512);
            let want = run.filter(|_| fits && cheap).map(|run| {
                let mut hashes = run.to_vec();
                for up in 1..=proof_layers {
                    // The uncle is in the answer unless the run tells it.
                    if 1 << up >= span {
                        let row = &rows[level.unwrap() + up as usize];
                        hashes.push(row[((index >> up) ^ 1) as usize]);
                    }
                }
                hashes
            });
            prop_assert_eq!(tree.answer(&request), want);
        }

        #[test]
        fn whole_layers_are_fetched_and_each_part_is_proven(pieces in 2u32..3000, exp in 0u32..3, lie: prop::sample::Index) {
            let (piece_len, layer) = (BLOCK_LEN << exp, layer(pieces));
            let upper = UpperLayers::new(&layer, piece_len);
            let root = *upper.root().unwrap();
            prop_assert_eq!(root, super::super::root_of_layer(&layer, piece_len));
            let upper = (pieces > RUN).then_some(&upper);
            let tree = LayerTree { layer: &layer, upper, piece_len };
            let mut got = Vec::new();
            for first in (0..pieces).step_by(512) {
                let request = piece_layer_request(root, piece_len, pieces, first);
                let mut hashes = tree.answer(&request).unwrap();
                got.extend_from_slice(proven(&request, &hashes).unwrap());
                let wrong = HashRequest { index: first + request.len, ..request };
                prop_assert_eq!(proven(&wrong, &hashes), None, "from another place");
                let at = lie.index(hashes.len());
                hashes[at][31] ^= 1;
                prop_assert_eq!(proven(&request, &hashes), None);
                hashes[at][31] ^= 1;
                hashes.pop();
                prop_assert_eq!(proven(&request, &hashes), None);
            }
            let padding = got.split_off(pieces as usize);
            prop_assert_eq!(got, layer);
            prop_assert!(padding.iter().all(|hash| *hash == empty_piece(piece_len)));
        }
    }
}
