//! The crate as its users see it: stores over directories, memory and faulty storage.

mod ahead;
#[cfg(unix)]
mod changes;
mod faults;
mod stores;
mod threads;

use crate::hash::BlockLeaves;
use crate::store::Content;
use crate::{
    BlockBuf, Disk, DiskConfig, Layout, LayoutFile, ReadBlock, Reply, Storage, StorageError, Store,
};
use samara_wire::id::{BLOCK_LEN, BlockRef, PieceIndex};
use samara_wire::layout::PieceLayout;
use samara_wire::metainfo::merkle::piece_root;
use samara_wire::metainfo::{FilePath, PieceHash};
use sha1::{Digest, Sha1};
use std::path::Path;
use std::sync::{Arc, mpsc};

/// A made-up torrent with its bytes.
pub(crate) struct Sample {
    pub(crate) layout: Arc<Layout>,
    /// The linear space.
    pub(crate) bytes: Vec<u8>,
    v2: bool,
}

impl Sample {
    /// Files of the given lengths, in directories now and then; every `padding`th is padding.
    pub(crate) fn new(lens: &[u64], piece_len: u32, padding: Option<usize>) -> Self {
        let (mut files, mut at) = (Vec::new(), 0);
        for (i, &len) in lens.iter().enumerate() {
            let dir = if i % 3 == 1 { format!("torrent/dir{}", i % 4) } else { "torrent".into() };
            let padding = padding.is_some_and(|n| i % n == n - 1);
            files.push(LayoutFile {
                padding,
                ..LayoutFile::new(path(&format!("{dir}/file{i}")), len, at)
            });
            at += len;
        }
        Self::with_layout(Layout::new(files, PieceLayout::contiguous(at, piece_len)), at, false)
    }

    /// The same as v2 has it: every file begins on a piece boundary.
    pub(crate) fn new_v2(lens: &[u64], piece_len: u32) -> Self {
        let (mut files, mut short, mut pieces) = (Vec::new(), Vec::new(), 0u32);
        for (i, &len) in lens.iter().enumerate() {
            let offset = u64::from(pieces) * u64::from(piece_len);
            files.push(LayoutFile::new(path(&format!("torrent/file{i}")), len, offset));
            pieces += u32::try_from(len.div_ceil(u64::from(piece_len))).unwrap();
            let tail = u32::try_from(len % u64::from(piece_len)).unwrap();
            if tail > 0 {
                short.push((PieceIndex(pieces - 1), tail));
            }
        }
        let layout = PieceLayout::with_short_pieces(piece_len, pieces, short.into());
        let total = u64::from(pieces) * u64::from(piece_len);
        Self::with_layout(Layout::new(files, layout), total, true)
    }

    fn with_layout(layout: Layout, total: u64, v2: bool) -> Self {
        let mut bytes = vec![0; usize::try_from(total).unwrap()];
        let mut state = 0x9e37_79b9_u32;
        for file in layout.files().iter().filter(|f| !f.padding) {
            let start = usize::try_from(file.offset).unwrap();
            for byte in &mut bytes[start..start + usize::try_from(file.len).unwrap()] {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *byte = state.to_be_bytes()[0];
            }
        }
        Self { layout: Arc::new(layout), bytes, v2 }
    }

    pub(crate) fn piece_count(&self) -> u32 {
        self.layout.pieces().count()
    }

    fn piece(&self, piece: PieceIndex) -> &[u8] {
        let range = self.layout.range_of(piece);
        &self.bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]
    }

    pub(crate) fn block(&self, block: BlockRef) -> &[u8] {
        &self.piece(block.piece)[block.begin as usize..][..block.len as usize]
    }

    fn hash(&self, piece: PieceIndex) -> PieceHash {
        if !self.v2 {
            return PieceHash::V1(Sha1::digest(self.piece(piece)).into());
        }
        let leaves = (self.layout.pieces().piece_len() / BLOCK_LEN).max(1);
        let mut level = BlockLeaves::new();
        level.update(&[self.piece(piece)]);
        PieceHash::V2 { root: piece_root(&level.finish(), leaves), leaves }
    }

    fn content(&self) -> Content {
        let hashes: Vec<_> = self.layout.pieces().pieces().map(|p| self.hash(p)).collect();
        Content { expected: Box::new(move |p: PieceIndex| hashes.get(p.as_usize()).copied()) }
    }

    pub(crate) fn open(&self, disk: &Disk, dir: &Path) -> Store {
        let aside = ".test.parts".to_owned();
        disk.open_layout(Arc::clone(&self.layout), self.content(), dir.to_owned(), aside)
    }

    pub(crate) fn open_with(&self, disk: &Disk, storage: Arc<dyn Storage>) -> Store {
        disk.open_layout_with(Arc::clone(&self.layout), self.content(), storage)
    }

    /// All blocks of a piece in buffers.
    pub(crate) fn blocks(&self, disk: &Disk, piece: PieceIndex) -> Vec<(u32, BlockBuf)> {
        let layout = self.layout.pieces();
        let blocks = (0..layout.blocks_in(piece)).filter_map(|i| layout.block(piece, i));
        blocks.map(|b| (b.begin, filled(disk, self.block(b)))).collect()
    }

    /// The files as they must be on disk.
    pub(crate) fn assert_files(&self, dir: &Path) {
        for file in self.layout.files() {
            let path = dir.join(file.path.as_str());
            if file.padding {
                assert!(!path.exists(), "padding is never stored");
            } else if file.len > 0 {
                let start = usize::try_from(file.offset).unwrap();
                let want = &self.bytes[start..start + usize::try_from(file.len).unwrap()];
                assert!(std::fs::read(&path).unwrap() == want, "{} differs", path.display());
            }
        }
    }
}

pub(crate) fn path(text: &str) -> FilePath {
    FilePath::from_untrusted(text.split('/').map(str::as_bytes)).unwrap()
}

pub(crate) fn filled(disk: &Disk, bytes: &[u8]) -> BlockBuf {
    let mut buf = disk.pool().take();
    buf.as_mut_slice()[..bytes.len()].copy_from_slice(bytes);
    buf.set_len(bytes.len());
    buf
}

pub(crate) fn disk(threads: usize) -> Disk {
    Disk::start(DiskConfig { threads, ..DiskConfig::default() }).unwrap()
}

/// Has one block read, and gives its bytes in one.
pub(crate) fn read(store: &Store, block: BlockRef, reply: Reply<Result<Vec<u8>, StorageError>>) {
    let one = move |read: Vec<ReadBlock>| {
        let [(_, result)] = <[ReadBlock; 1]>::try_from(read).unwrap();
        reply(result.map(|bytes| bytes.parts().collect::<Vec<_>>().concat()));
    };
    store.read(vec![block], &[], Box::new(one));
}

/// Starts a job and waits for its reply.
pub(crate) fn wait<T: Send + 'static>(start: impl FnOnce(Reply<T>)) -> T {
    later(start).recv().unwrap()
}

/// Starts a job whose reply is to come.
pub(crate) fn later<T: Send + 'static>(start: impl FnOnce(Reply<T>)) -> mpsc::Receiver<T> {
    let (to, from) = mpsc::channel();
    start(Box::new(move |result| drop(to.send(result))));
    from
}
