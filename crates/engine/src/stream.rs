//! The stream to a peer, whatever carries it.
//!
//! Reads and writes never wait: they take what is there, like those of a socket, and say
//! [`WouldBlock`](io::ErrorKind::WouldBlock) otherwise. Waiting is done by [`PeerStream::readable`] and [`PeerStream::writable`],
//! of which one each may be awaited at a time.

use std::io::{self, IoSlice, IoSliceMut};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// A stream that belongs to the event loop of this thread.
pub(crate) enum PeerStream {
    Tcp(TcpStream),
}

/// A stream on its way to the event loop of another thread.
pub(crate) enum Detached {
    Tcp(std::net::TcpStream),
}

impl Detached {
    /// Gives the stream to the event loop of this thread.
    pub(crate) fn attach(self) -> io::Result<PeerStream> {
        match self {
            Self::Tcp(stream) => TcpStream::from_std(stream).map(PeerStream::Tcp),
        }
    }
}

impl PeerStream {
    /// Takes the stream from the event loop.
    pub(crate) fn detach(self) -> io::Result<Detached> {
        match self {
            Self::Tcp(stream) => stream.into_std().map(Detached::Tcp),
        }
    }

    /// Waits until a read may bring something, be it the end.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
        }
    }

    /// Waits until a write may find room.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.writable().await,
        }
    }

    /// Reads what is there. 0 is the end of the stream.
    pub(crate) fn try_read_vectored(&self, slices: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read_vectored(slices),
        }
    }

    /// Reads what is there. 0 is the end of the stream.
    pub(crate) fn try_read(&self, to: &mut [u8]) -> io::Result<usize> {
        self.try_read_vectored(&mut [IoSliceMut::new(to)])
    }

    /// Writes as much as there is room for.
    pub(crate) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write_vectored(slices),
        }
    }

    /// Waits for something to read and appends at most `max` bytes of it. 0 is the end of the stream.
    /// Safe to cancel.
    pub(crate) async fn read_some(&self, to: &mut Vec<u8>, max: usize) -> io::Result<usize> {
        loop {
            self.readable().await?;
            let len = to.len();
            to.resize(len + max, 0);
            let read = self.try_read(&mut to[len..]);
            to.truncate(len + read.as_ref().copied().unwrap_or(0));
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }

    /// Writes all of `bytes`, waiting for room. What is cancelled may be partly written.
    pub(crate) async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let mut sent = 0;
        while sent < bytes.len() {
            self.writable().await?;
            match self.try_write_vectored(&[IoSlice::new(&bytes[sent..])]) {
                Ok(n) => sent += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// After a short read the stream is known to be drained, after a short write to be full. Saying so spares one more
    /// system call to find it out; readiness comes back with the next edge.
    pub(crate) fn forget_readiness(&self, interest: Interest) {
        match self {
            // The closure does nothing but report what is known; its error is its purpose.
            Self::Tcp(stream) => {
                let _ = stream
                    .try_io(interest, || io::Result::<()>::Err(io::ErrorKind::WouldBlock.into()));
            }
        }
    }
}
