//! A finished piece: hashed from memory, written only if it is what it must be.
//!
//! Invariant: [`PieceOutcome::Verified`] means that every byte of the piece is in storage (though perhaps not durable
//! yet) and has the right hash. A corrupt piece leaves nothing on disk but what was spilled of it before.

use crate::error::StorageError;
use crate::hash::{PieceHasher, block_digests};
use crate::linear::{LinearSpace, as_len};
use crate::pool::BlockBuf;
use samara_wire::id::{BLOCK_LEN, PieceIndex};
use samara_wire::metainfo::PieceHash;

/// What became of a piece.
#[derive(Debug)]
pub enum PieceOutcome {
    /// It is right and written.
    Verified {
        /// SHA-1 of each block, if asked for.
        digests: Option<Box<[[u8; 20]]>>,
    },
    /// It is not what the torrent says. Nothing of it was written.
    Corrupt {
        /// SHA-1 of each block as it was, to find out later whose was wrong.
        digests: Box<[[u8; 20]]>,
    },
    /// It could not be written, or spilled blocks not read back. Its blocks are dropped; nothing is claimed.
    Failed(StorageError),
}

/// A piece to be verified and written.
pub(crate) struct VerifyPiece {
    pub(crate) blocks: PieceBlocks,
    pub(crate) expected: PieceHash,
    pub(crate) want_digests: bool,
}

/// The blocks of one piece; `None` for those that were spilled to disk.
pub(crate) struct PieceBlocks {
    piece: PieceIndex,
    blocks: Vec<Option<BlockBuf>>,
}

impl PieceBlocks {
    /// Sorts `blocks`, given with their offset in the piece.
    pub(crate) fn new(
        space: &LinearSpace,
        piece: PieceIndex,
        given: Vec<(u32, BlockBuf)>,
    ) -> Result<Self, StorageError> {
        let pieces = space.layout.pieces();
        let mut blocks = Vec::new();
        blocks.resize_with(pieces.blocks_in(piece) as usize, || None);
        for (begin, buf) in given {
            let index = begin / BLOCK_LEN;
            let fits = pieces
                .block(piece, index)
                .is_some_and(|b| b.begin == begin && b.len as usize == buf.as_slice().len());
            if !fits {
                return Err(StorageError::misuse("a block does not fit its piece"));
            }
            blocks[index as usize] = Some(buf);
        }
        if blocks.is_empty() {
            return Err(StorageError::misuse("no such piece"));
        }
        Ok(Self { piece, blocks })
    }

    /// Hashes each piece and, if it is what is expected, writes what is not on disk yet. Several pieces cost less
    /// together. Their buffers are free as soon as each is written, so that what is received next finds them warm.
    pub(crate) fn verify_and_write(
        pieces: Vec<VerifyPiece>,
        space: &LinearSpace,
        scratch: &mut [u8],
    ) -> Vec<PieceOutcome> {
        let mut hashers: Vec<_> =
            pieces.iter().map(|piece| PieceHasher::new(piece.expected)).collect();
        let slices: Vec<Vec<&[u8]>> = pieces.iter().map(|p| p.blocks.in_memory()).collect();
        let together = pieces.iter().zip(&slices).zip(&mut hashers);
        let together = together.filter(|((piece, slices), _)| piece.blocks.is_all(slices));
        PieceHasher::update_all(together.map(|((_, slices), hasher)| (hasher, slices.as_slice())));
        drop(slices);
        let finish = |(piece, mut hasher): (VerifyPiece, PieceHasher)| {
            if !piece.blocks.is_all(&piece.blocks.in_memory()) {
                let update = |block: &[u8]| hasher.update(block);
                if let Err(error) = piece.blocks.for_each_block(space, scratch, update) {
                    return PieceOutcome::Failed(error);
                }
            }
            let judged = piece.blocks.judge(space, hasher.matches(), piece.want_digests, scratch);
            judged.unwrap_or_else(PieceOutcome::Failed)
        };
        pieces.into_iter().zip(hashers).map(finish).collect()
    }

    /// The blocks that are in memory.
    fn in_memory(&self) -> Vec<&[u8]> {
        self.blocks.iter().flatten().map(BlockBuf::as_slice).collect()
    }

    /// Whether these are all blocks of the piece.
    fn is_all(&self, in_memory: &[&[u8]]) -> bool {
        in_memory.len() == self.blocks.len()
    }

    /// Writes the piece if it is good; tells the digests of the blocks where they are wanted.
    fn judge(
        &self,
        space: &LinearSpace,
        good: bool,
        want_digests: bool,
        scratch: &mut [u8],
    ) -> Result<PieceOutcome, StorageError> {
        let mut digests = Vec::new();
        if want_digests || !good {
            let in_memory = self.in_memory();
            if self.is_all(&in_memory) {
                digests = block_digests(&in_memory);
            } else {
                let digest = |block: &[u8]| digests.extend(block_digests(&[block]));
                self.for_each_block(space, scratch, digest)?;
            }
        }
        let digests = digests.into_boxed_slice();
        if !good {
            return Ok(PieceOutcome::Corrupt { digests });
        }
        self.write(space)?;
        Ok(PieceOutcome::Verified { digests: want_digests.then_some(digests) })
    }

    /// Calls `act` with every block in order; spilled ones are read into `scratch` one at a time, for they were
    /// spilled because memory is short.
    fn for_each_block(
        &self,
        space: &LinearSpace,
        scratch: &mut [u8],
        mut act: impl FnMut(&[u8]),
    ) -> Result<(), StorageError> {
        let range = space.layout.range_of(self.piece);
        for (block, at) in self.blocks.iter().zip(LinearSpace::steps(range, BLOCK_LEN as usize)) {
            match block {
                Some(buf) => act(buf.as_slice()),
                None => {
                    let buf = &mut scratch[..as_len(at.end - at.start)];
                    space.read_exact(at.start, buf)?;
                    act(buf);
                }
            }
        }
        Ok(())
    }

    /// Writes the blocks that are in memory, each run of neighbours at once.
    fn write(&self, space: &LinearSpace) -> Result<(), StorageError> {
        let mut at = space.layout.pieces().offset_of(self.piece);
        for run in self.blocks.chunk_by(|a, b| a.is_some() == b.is_some()) {
            let parts: Vec<&[u8]> = run.iter().flatten().map(BlockBuf::as_slice).collect();
            if !parts.is_empty() {
                space.write(at, &parts)?;
            }
            at += run.len() as u64 * u64::from(BLOCK_LEN);
        }
        Ok(())
    }
}
