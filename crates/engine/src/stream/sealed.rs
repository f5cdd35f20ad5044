//! A stream that is encrypted.

use super::Written;
use samara_wire::mse::{Cipher, Session};
use std::cell::Cell;
use std::io::{self, IoSlice, IoSliceMut};

/// Encrypted in one go, in bytes. What does not go out at once has to be kept.
const PORTION: usize = 64 << 10;

thread_local! {
    /// Where bytes are encrypted. One for all streams of a thread, so that a stream at rest costs nothing.
    static WORKBENCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Both directions of a stream that is encrypted.
pub(super) struct Sealed {
    incoming: Cipher,
    outgoing: Cipher,
    /// Encrypted and not sent. A cipher of a stream cannot go back: what is encrypted has to be sent.
    unsent: Vec<u8>,
    sent: usize,
}

impl Sealed {
    /// `None` if the stream is carried as it is.
    pub(super) fn new(session: Session) -> Option<Self> {
        let Session { incoming, outgoing } = session;
        let plain = incoming.is_plaintext() && outgoing.is_plaintext();
        (!plain).then_some(Self { incoming, outgoing, unsent: Vec::new(), sent: 0 })
    }

    /// Decrypts the first `len` bytes of `slices`, in place.
    pub(super) fn open(&mut self, slices: &mut [IoSliceMut<'_>], mut len: usize) {
        for slice in slices {
            let part = slice.len().min(len);
            self.incoming.apply(&mut slice[..part]);
            len -= part;
        }
    }

    pub(super) const fn has_unsent(&self) -> bool {
        self.sent < self.unsent.len()
    }

    /// Sends what is encrypted already; `WouldBlock` if there is no room for all of it.
    pub(super) fn flush(
        &mut self,
        mut carry: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<()> {
        while self.has_unsent() {
            self.sent += carry(&[IoSlice::new(&self.unsent[self.sent..])])?;
        }
        self.unsent = Vec::new();
        self.sent = 0;
        Ok(())
    }

    /// Encrypts up to a portion of `slices` and sends it as far as there is room.
    pub(super) fn write(
        &mut self,
        slices: &[IoSlice<'_>],
        mut carry: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<Written> {
        self.flush(&mut carry)?;
        let mut bench = WORKBENCH.take();
        bench.clear();
        for slice in slices {
            let room = PORTION - bench.len();
            bench.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        self.outgoing.apply(&mut bench);
        let sent = match carry(&[IoSlice::new(&bench)]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            sent => sent?,
        };
        self.unsent.extend_from_slice(&bench[sent..]);
        let bytes = bench.len();
        WORKBENCH.set(bench);
        Ok(Written { bytes, full: sent < bytes })
    }
}
