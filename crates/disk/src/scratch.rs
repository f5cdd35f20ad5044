//! Memory into which files are read to be hashed.
//!
//! It begins on a page. What the allocator gives for so much begins sixteen bytes behind one, and to there AMD's processors copy from
//! the page cache, whose memory begins on a page, in about twice the time (docs/performance.md has the figures).

/// Bytes of a page.
const PAGE: usize = 4096;

/// A buffer that begins on a page.
pub(crate) struct Scratch {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Scratch {
    /// A buffer of `len` zeros.
    pub(crate) fn new(len: usize) -> Self {
        let bytes = vec![0; len + PAGE];
        let start = bytes.as_ptr().align_offset(PAGE).min(PAGE);
        Self { bytes, start, len }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_on_a_page_and_is_as_long_as_asked() {
        for len in [0, 1, PAGE, 300_000] {
            let mut scratch = Scratch::new(len);
            assert_eq!(scratch.as_mut_slice().len(), len);
            assert_eq!(scratch.as_mut_slice().as_ptr().addr() % PAGE, 0);
        }
    }
}
