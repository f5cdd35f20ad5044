//! The stream to a peer, whatever carries it and whether it is encrypted.
//!
//! Reads and writes never wait: they take what is there, like those of a socket, and say
//! [`WouldBlock`](io::ErrorKind::WouldBlock) otherwise. Waiting is done by [`PeerStream::readable`] and [`PeerStream::writable`],
//! of which one each may be awaited at a time.

mod sealed;

use crate::utp::UtpStream;
use samara_wire::mse::Session;
use sealed::Sealed;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// A stream that belongs to an event loop.
///
/// What a connection changes is behind locks that nobody ever waits for: only so can a task own a stream that moves from
/// thread to thread, as those of an embedder do ([`crate::probe`]).
pub(crate) struct PeerStream {
    carrier: Carrier,
    /// What came with the negotiation of encryption and belongs to the stream, in reverse.
    ahead: Mutex<Vec<u8>>,
    /// If its bytes are encrypted.
    sealed: Option<Box<Mutex<Sealed>>>,
}

/// What carries the bytes.
enum Carrier {
    Tcp(TcpStream),
    Utp(UtpStream),
}

/// A stream on its way to the event loop of another thread.
pub(crate) struct Detached {
    carrier: DetachedCarrier,
    ahead: Vec<u8>,
    sealed: Option<Box<Mutex<Sealed>>>,
}

enum DetachedCarrier {
    Tcp(std::net::TcpStream),
    /// Belongs to no event loop.
    Utp(UtpStream),
}

/// What a read came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Read {
    /// 0 is the end of the stream.
    pub(crate) bytes: usize,
    /// There is nothing more now.
    pub(crate) drained: bool,
}

/// What a write came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Written {
    /// Bytes taken: they need not be offered again.
    pub(crate) bytes: usize,
    /// There is no room for more now.
    pub(crate) full: bool,
}

impl Detached {
    /// Gives the stream to the event loop of this thread.
    pub(crate) fn attach(self) -> io::Result<PeerStream> {
        let Self { carrier, ahead, sealed } = self;
        let carrier = match carrier {
            DetachedCarrier::Tcp(stream) => TcpStream::from_std(stream).map(Carrier::Tcp)?,
            DetachedCarrier::Utp(stream) => Carrier::Utp(stream),
        };
        Ok(PeerStream { ahead: Mutex::new(ahead), sealed, ..PeerStream::over(carrier) })
    }
}

impl From<TcpStream> for PeerStream {
    fn from(stream: TcpStream) -> Self {
        Self::over(Carrier::Tcp(stream))
    }
}

impl From<UtpStream> for PeerStream {
    fn from(stream: UtpStream) -> Self {
        Self::over(Carrier::Utp(stream))
    }
}

impl PeerStream {
    fn over(carrier: Carrier) -> Self {
        Self { carrier, ahead: Mutex::default(), sealed: None }
    }

    /// Has all bytes from here on carried as was negotiated. `received` is what of them came with the negotiation.
    pub(crate) fn seal(&mut self, session: Session, received: Vec<u8>) {
        self.sealed = Sealed::new(session).map(|sealed| Box::new(Mutex::new(sealed)));
        self.give_back(received);
    }

    /// Has the next reads begin with `bytes`, which were read too much.
    pub(crate) fn give_back(&self, mut bytes: Vec<u8>) {
        bytes.reverse();
        lock(&self.ahead).append(&mut bytes);
    }

    /// Whether uTP carries it.
    pub(crate) const fn is_utp(&self) -> bool {
        matches!(self.carrier, Carrier::Utp(_))
    }

    /// Our own address on it, if that is known.
    pub(crate) fn local_ip(&self) -> Option<IpAddr> {
        match &self.carrier {
            Carrier::Tcp(stream) => stream.local_addr().ok().map(|addr| addr.ip().to_canonical()),
            Carrier::Utp(stream) => stream.local_ip(),
        }
    }

    /// Takes the stream from the event loop.
    pub(crate) fn detach(self) -> io::Result<Detached> {
        let carrier = match self.carrier {
            Carrier::Tcp(stream) => stream.into_std().map(DetachedCarrier::Tcp)?,
            Carrier::Utp(stream) => DetachedCarrier::Utp(stream),
        };
        Ok(Detached {
            carrier,
            ahead: self.ahead.into_inner().unwrap_or_else(PoisonError::into_inner),
            sealed: self.sealed,
        })
    }

    /// Waits until a read may bring something, be it the end.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        if !lock(&self.ahead).is_empty() {
            return Ok(());
        }
        match &self.carrier {
            Carrier::Tcp(stream) => stream.readable().await,
            Carrier::Utp(stream) => {
                stream.readable().await;
                Ok(())
            }
        }
    }

    /// Waits until a write may find room.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        match &self.carrier {
            Carrier::Tcp(stream) => stream.writable().await,
            Carrier::Utp(stream) => {
                stream.writable().await;
                Ok(())
            }
        }
    }

    /// Reads what is there.
    pub(crate) fn try_read_vectored(&self, slices: &mut [IoSliceMut<'_>]) -> io::Result<Read> {
        let mut ahead = lock(&self.ahead);
        if !ahead.is_empty() {
            let bytes = take_ahead(&mut ahead, slices);
            return Ok(Read { bytes, drained: false });
        }
        let asked = slices.iter().map(|slice| slice.len()).sum();
        let bytes = match &self.carrier {
            Carrier::Tcp(stream) => stream.try_read_vectored(slices)?,
            Carrier::Utp(stream) => stream.try_read_vectored(slices)?,
        };
        if let Some(sealed) = &self.sealed {
            lock(sealed).open(slices, bytes);
        }
        let drained = bytes < asked;
        if drained {
            self.forget_readiness(Interest::READABLE);
        }
        Ok(Read { bytes, drained })
    }

    /// Writes as much as there is room for.
    pub(crate) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<Written> {
        let written = match &self.sealed {
            Some(sealed) => lock(sealed).write(slices, |bytes| self.carry(bytes))?,
            None => {
                let offered = slices.iter().map(|slice| slice.len()).sum();
                let bytes = self.carry(slices)?;
                Written { bytes, full: bytes < offered }
            }
        };
        if written.full {
            self.forget_readiness(Interest::WRITABLE);
        }
        Ok(written)
    }

    /// Whether bytes that were taken wait for room; [`PeerStream::flush`] is to be called when there is some.
    pub(crate) fn has_unsent(&self) -> bool {
        self.sealed.as_ref().is_some_and(|sealed| lock(sealed).has_unsent())
    }

    /// Sends what waits. `Err(WouldBlock)` if some of it goes on waiting.
    pub(crate) fn flush(&self) -> io::Result<()> {
        match &self.sealed {
            Some(sealed) => lock(sealed).flush(|bytes| self.carry(bytes)),
            None => Ok(()),
        }
    }

    fn carry(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match &self.carrier {
            Carrier::Tcp(stream) => stream.try_write_vectored(slices),
            Carrier::Utp(stream) => stream.try_write_vectored(slices),
        }
    }

    /// Waits for something to read and appends at most `max` bytes of it. 0 is the end of the stream.
    /// Safe to cancel.
    pub(crate) async fn read_some(&self, to: &mut Vec<u8>, max: usize) -> io::Result<usize> {
        loop {
            self.readable().await?;
            let len = to.len();
            to.resize(len + max, 0);
            let read = self.try_read_vectored(&mut [IoSliceMut::new(&mut to[len..])]);
            to.truncate(len + read.as_ref().map_or(0, |read| read.bytes));
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read.map(|read| read.bytes),
            }
        }
    }

    /// Writes all of `bytes`, waiting for room. What is cancelled may be partly written.
    pub(crate) async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let mut taken = 0;
        while taken < bytes.len() || self.has_unsent() {
            self.writable().await?;
            let written = match self.flush() {
                Ok(()) => self.try_write_vectored(&[IoSlice::new(&bytes[taken..])]),
                Err(error) => Err(error),
            };
            match written {
                Ok(written) => taken += written.bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// After a short read the stream is known to be drained, after a short write to be full. Saying so spares one more
    /// system call to find it out; readiness comes back with the next edge.
    fn forget_readiness(&self, interest: Interest) {
        match &self.carrier {
            // The closure does nothing but report what is known; its error is its purpose.
            Carrier::Tcp(stream) => {
                let _ = stream
                    .try_io(interest, || io::Result::<()>::Err(io::ErrorKind::WouldBlock.into()));
            }
            // Knows by itself.
            Carrier::Utp(_) => {}
        }
    }
}

/// Moves as many bytes as fit from the end of `ahead`, where the first one is. Gives their number.
fn take_ahead(ahead: &mut Vec<u8>, slices: &mut [IoSliceMut<'_>]) -> usize {
    let mut taken = 0;
    for slice in slices {
        for to in slice.iter_mut() {
            let Some(byte) = ahead.pop() else { break };
            *to = byte;
            taken += 1;
        }
    }
    if ahead.is_empty() {
        ahead.shrink_to_fit();
    }
    taken
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
