//! UDP: one socket for each address listened on, at the port that TCP has, shared by all that is spoken over UDP.
//!
//! What a datagram is shows in its first byte ([`Kind`]); each kind has at most one [`Receiver`]. Datagrams come in
//! batches: a receiver is given each of a batch and is told its end, so that it settles its timers once.
//!
//! A datagram that cannot be sent is a datagram lost, which every protocol here gets over by itself: errors are logged
//! for who debugs, and no more. Neither does an error on receipt end anything: systems report there what became of datagrams
//! that were sent before, such as that nobody listens at their destination.

use crate::error::SessionError;
use crate::network::Source;
use socket2::{Domain, Protocol, Socket, Type};
use std::cell::{OnceCell, RefCell};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Datagrams read at a time before others have their turn.
const BATCH: usize = 64;

/// Longest datagram that is read whole, in bytes. All that is spoken here stays below what Ethernet carries; what is longer
/// is cut, and found wrong by who reads it.
const MAX_DATAGRAM: usize = 2048;

/// After a batch of nothing but errors.
const PAUSE: Duration = Duration::from_millis(50);

/// Opens a socket at exactly this address and device.
pub(crate) fn bind(source: &Source, port: u16) -> io::Result<UdpSocket> {
    let domain = if source.ip.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if source.ip.is_ipv6() {
        // So that IPv4 never appears as mapped addresses, whatever the system's default.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    source.bind(&socket, port)?;
    Ok(socket.into())
}

/// What a datagram is, by its first byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// A bencoded dictionary: the DHT.
    Krpc,
    /// Nothing that is spoken here.
    Unknown,
}

impl Kind {
    const fn of(datagram: &[u8]) -> Self {
        match datagram {
            [b'd', ..] => Self::Krpc,
            _ => Self::Unknown,
        }
    }
}

/// Names a socket of [`Sockets`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Via(usize);

/// Takes the datagrams of one kind.
pub(crate) trait Receiver {
    /// A datagram came.
    fn receive(&self, via: Via, from: SocketAddr, datagram: &[u8]);
    /// No more for now.
    fn batch_done(&self);
}

/// The sockets, for sending. They may be replaced by others, where the network has changed.
pub(crate) struct Sockets {
    open: RefCell<Vec<UdpSocket>>,
    receiver: OnceCell<Rc<dyn Receiver>>,
    readers: RefCell<JoinSet<()>>,
}

impl Sockets {
    pub(crate) fn new(sockets: Vec<UdpSocket>) -> Self {
        let (receiver, readers) = (OnceCell::new(), RefCell::default());
        Self { open: RefCell::new(sockets), receiver, readers }
    }

    /// Whether there is a socket of the family of `v4`.
    pub(crate) fn has_family(&self, v4: bool) -> bool {
        of_family(&self.open.borrow(), v4).is_some()
    }

    /// Sends a datagram, by a certain socket or by the first of its family.
    pub(crate) fn send(&self, via: Option<Via>, to: SocketAddr, datagram: &[u8]) {
        let open = self.open.borrow();
        let chosen = via.and_then(|via| open.get(via.0));
        let Some(socket) = chosen.or_else(|| of_family(&open, to.is_ipv4())) else { return };
        // Straight to the system and not by way of the event loop, which would first have to learn that there is room.
        if let Err(error) = socket.send_to(datagram, to) {
            tracing::debug!(%to, %error, "datagram not sent");
        }
    }

    /// Reads from all sockets for as long as the shard lives.
    ///
    /// # Errors
    /// If the event loop does not take a socket.
    pub(crate) fn read(&self, krpc: &Rc<dyn Receiver>) -> io::Result<()> {
        let receiver = self.receiver.get_or_init(|| Rc::clone(krpc));
        let mut readers = self.readers.borrow_mut();
        for (index, socket) in self.open.borrow().iter().enumerate() {
            let socket = tokio::net::UdpSocket::from_std(socket.try_clone()?)?;
            readers.spawn_local(read(socket, Via(index), Rc::clone(receiver)));
        }
        Ok(())
    }

    /// Closes the sockets: nothing is sent or received any more.
    pub(crate) fn close(&self) {
        self.readers.borrow_mut().abort_all();
        self.open.borrow_mut().clear();
    }

    /// Takes other sockets in the place of those that were closed.
    ///
    /// # Errors
    /// If the event loop does not take a socket.
    pub(crate) fn reopen(&self, sockets: Vec<UdpSocket>) -> io::Result<()> {
        *self.open.borrow_mut() = sockets;
        self.receiver.get().map_or(Ok(()), |receiver| self.read(receiver))
    }
}

fn of_family(sockets: &[UdpSocket], v4: bool) -> Option<&UdpSocket> {
    sockets.iter().find(|socket| socket.local_addr().is_ok_and(|addr| addr.is_ipv4() == v4))
}

async fn read(socket: tokio::net::UdpSocket, via: Via, krpc: Rc<dyn Receiver>) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let ready = socket.readable().await;
        let mut errors = 0;
        for _ in 0..BATCH {
            match socket.try_recv_from(&mut buffer) {
                Ok((len, from)) => match Kind::of(&buffer[..len]) {
                    Kind::Krpc => krpc.receive(via, from, &buffer[..len]),
                    Kind::Unknown => tracing::trace!(%from, len, "unknown datagram"),
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    tracing::debug!(%error, "no datagram received");
                    errors += 1;
                }
            }
        }
        krpc.batch_done();
        if ready.is_err() || errors == BATCH {
            tokio::time::sleep(PAUSE).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
}

/// The user's words for a socket that could not be opened.
pub(crate) fn not_bound(addr: SocketAddr, source: io::Error) -> SessionError {
    match source.kind() {
        io::ErrorKind::AddrInUse => SessionError::PortInUse { addr, protocol: "UDP" },
        _ => SessionError::Listen { addr, source },
    }
}

#[cfg(test)]
mod tests;
