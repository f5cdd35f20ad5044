//! uTP in a session: an endpoint ([`samara_utp::Endpoint`]) for each UDP socket, and streams over it.
//!
//! A [`Hub`] is an endpoint behind a lock, with the socket it sends by. Datagrams come to it from the thread that reads the
//! socket; a [`UtpStream`] reads and writes from whatever thread its torrent lives on, and sends from there at once. The
//! lock is held for one batch of datagrams or one read or write, and never while anything waits: with
//! one shard it is never contended. (Copying bytes between threads through buffers of their own would cost each byte more than
//! the lock costs a batch.)
//!
//! What happens by itself, time-outs and room in a socket that was full, is seen to by one task for each socket ([`drive`]).

mod hub;
mod stream;

pub(crate) use hub::Arrival;
pub(crate) use stream::UtpStream;

use crate::clock::Clock;
use crate::shared::Shared;
use crate::udp::{Receiver, Receivers, Sockets, Via};
use hub::{Hub, drive};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::slice::Chunks;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// The endpoints of a session, in the order of its sockets; none while it has no sockets, or if it does not speak uTP.
pub(crate) struct Hubs {
    open: Mutex<Vec<Arc<Hub>>>,
    enabled: bool,
    clock: Clock,
    accepted: mpsc::UnboundedSender<Arrival>,
}

impl Hubs {
    /// None yet. Connections that peers open come out of what is returned beside.
    pub(crate) fn new(enabled: bool, clock: Clock) -> (Self, mpsc::UnboundedReceiver<Arrival>) {
        let (accepted, arrivals) = mpsc::unbounded_channel();
        (Self { open: Mutex::default(), enabled, clock, accepted }, arrivals)
    }

    /// An endpoint for each socket, which the event loop of this thread sees to.
    ///
    /// # Errors
    /// If it does not take a socket.
    pub(crate) fn open(&self, sockets: &Sockets) -> io::Result<()> {
        if !self.enabled {
            return Ok(());
        }
        let hub = |socket| Arc::new(Hub::new(socket, self.clock, self.accepted.clone()));
        let hubs: Vec<_> = sockets.all().into_iter().map(hub).collect();
        hubs.iter().try_for_each(|hub| drive(Arc::clone(hub)))?;
        *self.lock() = hubs;
        Ok(())
    }

    /// Ends all connections; nothing more is sent.
    pub(crate) fn close(&self) {
        let hubs = std::mem::take(&mut *self.lock());
        hubs.iter().for_each(|hub| hub.shut());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Hub>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at(&self, via: Via) -> Option<Arc<Hub>> {
        self.lock().get(via.0).cloned()
    }

    /// Opens a connection to `addr`.
    ///
    /// # Errors
    /// If it does not come about, or there is no socket of its family.
    pub(crate) async fn connect(&self, addr: SocketAddr) -> io::Result<UtpStream> {
        let hub = self.lock().iter().find(|hub| hub.is_ipv4() == addr.is_ipv4()).cloned();
        let hub = hub.ok_or_else(|| io::Error::other("no UDP socket of its family"))?;
        let stream = UtpStream::dial(&hub, addr)?;
        stream.connected().await?;
        Ok(stream)
    }
}

/// Opens the session's UDP sockets, with an endpoint for each.
///
/// # Errors
/// If the system or the event loop does not take one.
pub(crate) fn begin(
    shared: &Arc<Shared>,
    receivers: &Receivers,
    sockets: &Sockets,
    datagrams: Vec<UdpSocket>,
) -> io::Result<()> {
    // Set once: here.
    let _ = receivers.utp.set(Rc::new(Inlet(Arc::clone(shared))));
    sockets.open(datagrams)?;
    shared.hubs.open(sockets)
}

/// Takes the packets of uTP of all sockets.
struct Inlet(Arc<Shared>);

impl Receiver for Inlet {
    fn receive(&self, via: Via, from: SocketAddr, datagrams: Chunks<'_, u8>) {
        if let Some(hub) = self.0.hubs.at(via) {
            hub.receive(from, datagrams);
        }
    }

    fn batch_done(&self, via: Via) {
        if let Some(hub) = self.0.hubs.at(via) {
            hub.flush();
        }
    }
}

#[cfg(test)]
mod tests;
