//! One uTP connection, as a stream.

use super::hub::{Hub, Signals};
use samara_utp::{ConnectionKey, StreamError};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// A connection; closed when dropped: what was written still goes out. It belongs to no thread.
pub(crate) struct UtpStream {
    hub: Arc<Hub>,
    key: ConnectionKey,
    signals: Arc<Signals>,
    /// Our own address when it began.
    local: Option<IpAddr>,
}

impl UtpStream {
    /// With `addr`.
    pub(super) fn new(
        hub: Arc<Hub>,
        key: ConnectionKey,
        signals: Arc<Signals>,
        addr: SocketAddr,
    ) -> Self {
        let local = hub.local_ip(addr);
        Self { hub, key, signals, local }
    }

    /// Our own address when the connection began, if that is known.
    pub(crate) const fn local_ip(&self) -> Option<IpAddr> {
        self.local
    }

    /// Asks `addr` for a connection.
    pub(super) fn dial(hub: &Arc<Hub>, addr: SocketAddr) -> io::Result<Self> {
        let (key, signals) = hub.open(addr)?;
        Ok(Self::new(Arc::clone(hub), key, signals, addr))
    }

    /// Waits until it is open.
    pub(super) async fn connected(&self) -> io::Result<()> {
        loop {
            match self.hub.lock().endpoint.write(self.key, &[]) {
                Err(StreamError::WouldBlock) => {}
                other => return other.map(|_| ()).map_err(error),
            }
            self.signals.writable.notified().await;
        }
    }

    /// Waits until a read may bring something, be it the end.
    pub(crate) async fn readable(&self) {
        while !self.hub.lock().endpoint.is_readable(self.key) {
            self.signals.readable.notified().await;
        }
    }

    /// Waits until a write may find room.
    pub(crate) async fn writable(&self) {
        while !self.hub.lock().endpoint.is_writable(self.key) {
            self.signals.writable.notified().await;
        }
    }

    /// Reads what is there. 0 is the end of the stream.
    pub(crate) fn try_read_vectored(&self, slices: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut inner = self.hub.lock();
        let now = self.hub.now();
        let mut total = 0;
        for slice in slices.iter_mut().filter(|slice| !slice.is_empty()) {
            match inner.endpoint.read(now, self.key, slice) {
                Ok(read) => {
                    total += read;
                    if read < slice.len() {
                        break;
                    }
                }
                // What was read before it counts; it will be there again.
                Err(_) if total > 0 => break,
                Err(e) => return Err(error(e)),
            }
        }
        // The peer may have to be told that there is room again.
        self.hub.flush_locked(&mut inner);
        Ok(total)
    }

    /// Writes as much as there is room for.
    pub(crate) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut inner = self.hub.lock();
        let mut total = 0;
        for slice in slices.iter().filter(|slice| !slice.is_empty()) {
            match inner.endpoint.write(self.key, slice) {
                Ok(written) => {
                    total += written;
                    if written < slice.len() {
                        break;
                    }
                }
                Err(_) if total > 0 => break,
                Err(e) => return Err(error(e)),
            }
        }
        self.hub.flush_locked(&mut inner);
        Ok(total)
    }
}

impl Drop for UtpStream {
    fn drop(&mut self) {
        self.hub.close(self.key);
    }
}

fn error(error: StreamError) -> io::Error {
    use samara_utp::CloseReason::{Reset, TimedOut};
    let kind = match error {
        StreamError::WouldBlock => return io::ErrorKind::WouldBlock.into(),
        StreamError::Closed(Reset) => io::ErrorKind::ConnectionReset,
        StreamError::Closed(TimedOut) => io::ErrorKind::TimedOut,
        StreamError::Unknown => io::ErrorKind::NotConnected,
    };
    io::Error::new(kind, error)
}
