//! A bounded pool of block buffers.
//!
//! Every downloaded block lives in one 16 KiB buffer from the socket until it is on disk. The pool never refuses and
//! never waits: what bounds memory is that blocks are only asked for within a credit made of [`BlockPool::free_bytes`].
//! Invariant: buffers in use plus buffers kept for reuse stay within the bound, but for buffers in use beyond it, which are
//! not kept when dropped, and for the rest of those that were allocated together with the last.

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};
use bytes::BytesMut;
use samara_wire::id::BLOCK_LEN;
use std::fmt;
use std::sync::{Arc, PoisonError};

const LEN: usize = BLOCK_LEN as usize;

/// Buffers that are allocated together, so that each can begin on a page without a gap before it.
const TOGETHER: usize = 16;

/// Bytes of a page. From and to anywhere else than its beginning some processors copy in twice the time (see `scratch`).
const PAGE: usize = 4096;

/// A buffer of [`BLOCK_LEN`] bytes out of a [`BlockPool`]; goes back when dropped.
///
/// A new buffer holds leftovers of earlier blocks: only bytes that were written to it mean anything.
pub struct BlockBuf {
    bytes: BytesMut,
    len: usize,
    home: Arc<Shelf>,
}

impl BlockBuf {
    /// The bytes of the block: the first `len`, as set with [`BlockBuf::set_len`] (all at first).
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// All [`BLOCK_LEN`] bytes, to be filled.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Says how many bytes the block has.
    ///
    /// # Panics
    /// If `len` is above [`BLOCK_LEN`].
    pub fn set_len(&mut self, len: usize) {
        assert!(len <= LEN, "a block buffer of {len} bytes");
        self.len = len;
    }
}

impl fmt::Debug for BlockBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockBuf({})", self.len)
    }
}

impl Drop for BlockBuf {
    fn drop(&mut self) {
        self.home.put(std::mem::take(&mut self.bytes));
    }
}

/// The bytes of one block of any legal length, in as many buffers as it takes.
#[derive(Debug)]
pub struct BlockBytes(Vec<BlockBuf>);

impl BlockBytes {
    /// Room for `len` bytes.
    pub(crate) fn of_len(pool: &BlockPool, len: u32) -> Self {
        let mut left = len as usize;
        let buf = |_| {
            let mut buf = pool.take();
            buf.set_len(left.min(LEN));
            left -= buf.len;
            buf
        };
        Self((0..len.div_ceil(BLOCK_LEN)).map(buf).collect())
    }

    /// The bytes, one part after another.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(BlockBuf::as_slice)
    }

    pub(crate) fn parts_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.0.iter_mut().map(|buf| &mut buf.bytes[..buf.len])
    }
}

impl From<Vec<BlockBuf>> for BlockBytes {
    fn from(parts: Vec<BlockBuf>) -> Self {
        Self(parts)
    }
}

/// Where [`BlockBuf`]s come from. Cheap to clone; clones are the same pool.
#[derive(Clone, Debug)]
pub struct BlockPool(Arc<Shelf>);

impl BlockPool {
    /// A pool bounded, softly, to `bytes`. Nothing is allocated yet.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let bound = bytes / LEN;
        Self(Arc::new(Shelf { bound, in_use: AtomicUsize::new(0), idle: Mutex::default() }))
    }

    /// A buffer, its content unspecified. Never fails and never waits: beyond the soft bound it allocates, since
    /// each block was asked for within a credit.
    #[must_use]
    pub fn take(&self) -> BlockBuf {
        self.0.in_use.fetch_add(1, Ordering::Relaxed);
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.is_empty() {
            idle.extend(allocate(self.0.bound.clamp(1, TOGETHER)));
        }
        let bytes = idle.pop().expect("some were added");
        drop(idle);
        BlockBuf { bytes, len: LEN, home: Arc::clone(&self.0) }
    }

    /// Bytes of the soft bound that are not in use.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        let in_use = self.0.in_use.load(Ordering::Relaxed);
        (self.0.bound.saturating_sub(in_use) * LEN) as u64
    }

    /// Bytes in use, which may be above the soft bound.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        (self.0.in_use.load(Ordering::Relaxed) * LEN) as u64
    }

    /// Gives the buffers that are kept for reuse back to the allocator; for an engine gone idle.
    pub fn trim(&self) {
        let idle = std::mem::take(&mut *self.0.idle.lock().unwrap_or_else(PoisonError::into_inner));
        drop(idle);
    }
}

struct Shelf {
    /// Buffers, in use and idle, that the pool keeps.
    bound: usize,
    in_use: AtomicUsize,
    idle: Mutex<Vec<BytesMut>>,
}

/// Buffers of [`BLOCK_LEN`] zeros that begin on a page. Their memory is given back when all of them are dropped.
fn allocate(count: usize) -> impl Iterator<Item = BytesMut> {
    let mut slab = BytesMut::zeroed(count * LEN + PAGE);
    let gap = slab.as_ptr().align_offset(PAGE).min(PAGE);
    drop(slab.split_to(gap));
    (0..count).map(move |_| slab.split_to(LEN))
}

impl Shelf {
    fn put(&self, bytes: BytesMut) {
        let in_use = self.in_use.fetch_sub(1, Ordering::Relaxed) - 1;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if in_use + idle.len() < self.bound {
            // Last in, first out: the warmest buffer is reused first.
            idle.push(bytes);
        } else {
            // Freeing can be slow; not under the lock.
            drop(idle);
            drop(bytes);
        }
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} block buffers", self.in_use.load(Ordering::Relaxed), self.bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle(pool: &BlockPool) -> usize {
        pool.0.idle.lock().unwrap().len()
    }

    #[test]
    fn buffers_come_back_and_are_reused() {
        let pool = BlockPool::new(4 * LEN);
        let mut buf = pool.take();
        buf.as_mut_slice()[0] = 7;
        buf.set_len(1);
        assert_eq!((buf.as_slice(), pool.free_bytes()), (&[7][..], 3 * LEN as u64));
        let place = buf.as_slice().as_ptr();
        drop(buf);
        let again = pool.take();
        assert_eq!(again.as_slice().as_ptr(), place);
        assert_eq!(again.as_slice().len(), LEN, "a reused buffer has its full length");
    }

    #[test]
    fn every_buffer_begins_on_a_page_and_is_its_own() {
        let pool = BlockPool::new(40 * LEN);
        let mut taken: Vec<_> = (0..40).map(|_| pool.take()).collect();
        for (n, buf) in taken.iter_mut().enumerate() {
            assert_eq!(buf.as_slice().as_ptr().addr() % PAGE, 0);
            buf.as_mut_slice().fill(u8::try_from(n).unwrap());
        }
        for (n, buf) in taken.iter().enumerate() {
            assert!(buf.as_slice().iter().all(|byte| usize::from(*byte) == n));
        }
    }

    #[test]
    fn beyond_the_bound_it_still_gives_but_does_not_keep() {
        let pool = BlockPool::new(2 * LEN);
        let taken: Vec<_> = (0..5).map(|_| pool.take()).collect();
        assert_eq!((pool.free_bytes(), pool.used_bytes()), (0, 5 * LEN as u64));
        drop(taken);
        assert_eq!((pool.free_bytes(), idle(&pool)), (2 * LEN as u64, 2));
        pool.trim();
        assert_eq!(idle(&pool), 0);
    }

    #[test]
    fn buffers_may_be_dropped_on_another_thread_and_outlive_the_pool() {
        let pool = BlockPool::new(LEN);
        let buf = pool.take();
        drop(pool);
        std::thread::spawn(move || drop(buf)).join().unwrap();
    }
}
