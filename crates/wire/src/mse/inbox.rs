//! Bytes that have arrived and are not understood yet.

use super::rc4::Rc4;
use super::{MAX_PADDING, MseError};
use alloc::vec::Vec;

/// A queue of bytes, read field by field.
#[derive(Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    /// How many of them are read.
    read: usize,
}

impl Inbox {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.read);
        self.read = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// What is there and not read.
    pub(super) fn unread(&self) -> &[u8] {
        &self.bytes[self.read..]
    }

    /// The next field of `N` bytes, once it is there whole.
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let field = *self.unread().first_chunk()?;
        self.read += N;
        Some(field)
    }

    /// The same for a field that is encrypted.
    pub(super) fn take_decrypted<const N: usize>(&mut self, rc4: &mut Rc4) -> Option<[u8; N]> {
        let mut field = self.take()?;
        rc4.apply(&mut field);
        Some(field)
    }

    /// An encrypted field of `len` bytes.
    pub(super) fn take_many(&mut self, len: usize, rc4: &mut Rc4) -> Option<Vec<u8>> {
        let mut field = self.unread().get(..len)?.to_vec();
        self.read += len;
        rc4.apply(&mut field);
        Some(field)
    }

    /// Skips random padding, whose length nobody told, and the `mark` behind it.
    ///
    /// Whether the mark is found.
    ///
    /// # Errors
    /// If it can no longer come: there is more than the longest padding and no mark.
    pub(super) fn skip_to(&mut self, mark: &[u8]) -> Result<bool, MseError> {
        let within = self.unread();
        let within = &within[..within.len().min(MAX_PADDING + mark.len())];
        if let Some(at) = within.windows(mark.len()).position(|window| window == mark) {
            self.read += at + mark.len();
            return Ok(true);
        }
        if within.len() == MAX_PADDING + mark.len() { Err(MseError::NoSync) } else { Ok(false) }
    }

    /// All that is left.
    pub(super) fn into_rest(mut self) -> Vec<u8> {
        self.bytes.drain(..self.read);
        self.bytes
    }
}
