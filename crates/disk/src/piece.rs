//! A finished piece: hashed from memory, written only if it is what it must be.
//!
//! Invariant: [`PieceOutcome::Verified`] means that every byte of the piece is in storage (though perhaps not durable
//! yet) and has the right hash. A corrupt piece leaves nothing on disk but what was spilled of it before.

use crate::error::StorageError;
use crate::hash::{PieceHasher, block_digest};
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

    /// Hashes the piece and, if it is `expected`, writes what is not on disk yet.
    pub(crate) fn verify_and_write(
        self,
        space: &LinearSpace,
        expected: PieceHash,
        want_digests: bool,
        scratch: &mut [u8],
    ) -> PieceOutcome {
        self.try_verify_and_write(space, expected, want_digests, scratch)
            .unwrap_or_else(PieceOutcome::Failed)
    }

    fn try_verify_and_write(
        self,
        space: &LinearSpace,
        expected: PieceHash,
        want_digests: bool,
        scratch: &mut [u8],
    ) -> Result<PieceOutcome, StorageError> {
        let mut hasher = PieceHasher::new(expected);
        self.for_each_block(space, scratch, |block| hasher.update(block))?;
        let good = hasher.matches();
        let mut digests = Vec::new();
        if want_digests || !good {
            self.for_each_block(space, scratch, |block| digests.push(block_digest(block)))?;
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
