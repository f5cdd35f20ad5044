//! Piece layers (BEP 52) of an info dictionary: what is known of them, what is lacking, and parts of them for peers.

use super::info::read_layers;
use super::merkle::{self, Hash, LayerTree};
use super::{FileEntry, Info, MetainfoError};
use crate::id::FileIndex;
use crate::peer::hashes::HashRequest;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

impl Info {
    /// The piece layer of `file` (BEP 52): one hash for each of its pieces. `None` if the file has no more than
    /// one piece, the torrent is v1, or the layers are not known.
    #[must_use]
    pub fn piece_layer(&self, file: FileIndex) -> Option<&[merkle::Hash]> {
        let pieces = self.pieces_of_file(file);
        if pieces.len() < 2 {
            return None;
        }
        self.0.layers.roots.get(pieces.start as usize..pieces.end as usize)
    }

    /// Whether a hash is known for every piece. False only for a v2 info dictionary that came without layers.
    #[must_use]
    pub fn has_all_hashes(&self) -> bool {
        !self.0.pieces_v1.is_empty()
            || self.0.layers.roots.len() == self.0.layout.count() as usize
            || self.0.files.iter().all(|f| f.len <= u64::from(self.0.layout.piece_len()))
    }

    /// Whether the layers of all files of more than one piece are known; so of a v1 torrent, which has none.
    #[must_use]
    pub fn has_piece_layers(&self) -> bool {
        !self.0.layers.roots.is_empty() || self.long_files().next().is_none()
    }

    /// The files that have a piece layer, each root once, with the number of hashes in the layer.
    #[must_use]
    pub fn layered_files(&self) -> BTreeMap<Hash, (FileIndex, u32)> {
        let mut files = BTreeMap::new();
        for (file, root) in self.long_files() {
            let pieces = self.pieces_of_file(file).len();
            files.entry(root).or_insert((file, u32::try_from(pieces).unwrap_or(u32::MAX)));
        }
        files
    }

    /// The same torrent with its piece layers, by the root of their file.
    ///
    /// # Errors
    /// If one is missing, or does not belong to its root.
    pub fn with_piece_layers(
        &self,
        layers: &BTreeMap<Hash, Vec<Hash>>,
    ) -> Result<Self, MetainfoError> {
        let layer = |root: &Hash| layers.get(root).map(|layer| layer.as_flattened());
        let layers = read_layers(layer, &self.0.files, &self.0.layout)?;
        let mut inner = (*self.0).clone();
        inner.layers = layers;
        Ok(Self(Arc::new(inner)))
    }

    /// What a peer asks for of the tree of `file`: the run and its proof. `None` if it is not known or not given: it
    /// lies below the piece layer, outside of the tree, or takes too much hashing (see [`merkle`]).
    #[must_use]
    pub fn answer_hashes(&self, file: FileIndex, request: &HashRequest) -> Option<Vec<Hash>> {
        let root = self.0.files.get(file.as_usize())?.pieces_root;
        let layer = self.piece_layer(file).filter(|_| root == Some(request.root))?;
        let first = self.pieces_of_file(file).start;
        let upper = &self.0.layers.upper;
        let at = upper.binary_search_by_key(&first, |(first, _)| *first);
        let upper = at.ok().map(|at| &upper[at].1);
        LayerTree { layer, upper, piece_len: self.0.layout.piece_len() }.answer(request)
    }

    /// Files of more than one piece, with their roots; none of a v1 torrent.
    fn long_files(&self) -> impl Iterator<Item = (FileIndex, Hash)> + '_ {
        let piece_len = u64::from(self.0.layout.piece_len());
        let long = move |file: &&FileEntry| file.len > piece_len;
        let files = (0..).map(FileIndex).zip(self.0.files.iter());
        files
            .filter(move |(_, file)| long(file))
            .filter_map(|(i, file)| Some((i, file.pieces_root?)))
    }
}
