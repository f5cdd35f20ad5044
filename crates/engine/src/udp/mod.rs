//! UDP: one socket for each address listened on, at the port that TCP has, shared by all that is spoken over UDP.
//!
//! What a datagram is shows in its first byte ([`Kind`]); each kind has at most one [`Receiver`]. Datagrams come in
//! batches, as the system gives them: a receiver is given those of a batch that came from one address together, and is told
//! the end of the batch, so that it settles its timers and answers once.
//!
//! Where the system can, datagrams of one flow come and go as one piece of memory (GRO, GSO), several pieces in one call.
//!
//! By way of a proxy there is one socket for both families, which leads to the proxy's relay ([`crate::relay`]). Who receives and sends
//! does not know of it, but for those who ask hosts by name: UDP trackers ([`Carrier`]), and the DHT its routers.
//!
//! A datagram that cannot be sent is a datagram lost, which every protocol here gets over by itself: errors are logged
//! for who debugs, and no more. Neither does an error on receipt end anything: systems report there what became of datagrams
//! that were sent before, such as that nobody listens at their destination.

mod carrier;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzed;
mod socket;

pub(crate) use carrier::{Carriage, Carrier};
pub(crate) use socket::{Socket, bind};

use crate::error::SessionError;
use samara_wire::proxy::Target;
use samara_wire::utp;
use socket::Inbox;
use std::cell::{OnceCell, RefCell};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::slice::Chunks;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// After nothing but errors.
const PAUSE: Duration = Duration::from_millis(50);

/// Errors in a row before it.
const MAX_ERRORS: usize = 64;

/// What a datagram is, by its first byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// A bencoded dictionary: the DHT.
    Krpc,
    /// A packet of uTP.
    Utp,
    /// An answer of a UDP tracker, which begins with one of four small numbers. Those that are asked past any proxy are asked from
    /// sockets of their own.
    Tracker,
    /// Nothing that is spoken here.
    Unknown,
}

impl Kind {
    const fn of(datagram: &[u8]) -> Self {
        match datagram {
            [b'd', ..] => Self::Krpc,
            [first, ..] if utp::is_first_byte(*first) => Self::Utp,
            [0, 0, 0, 0..=3, _, ..] => Self::Tracker,
            _ => Self::Unknown,
        }
    }
}

/// Names a socket of [`Sockets`], by its place among them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Via(pub(crate) usize);

/// Takes the datagrams of one kind.
pub(crate) trait Receiver {
    /// Datagrams came, all from one address.
    fn receive(&self, via: Via, from: SocketAddr, datagrams: Chunks<'_, u8>);
    /// No more for now.
    fn batch_done(&self, via: Via);
}

/// Who takes what.
#[derive(Default)]
pub(crate) struct Receivers {
    pub(crate) krpc: OnceCell<Rc<dyn Receiver>>,
    pub(crate) utp: OnceCell<Rc<dyn Receiver>>,
    pub(crate) trackers: OnceCell<Arc<Carrier>>,
}

impl Receivers {
    fn of(&self, kind: Kind) -> Option<&Rc<dyn Receiver>> {
        match kind {
            Kind::Krpc => self.krpc.get(),
            Kind::Utp => self.utp.get(),
            Kind::Tracker | Kind::Unknown => None,
        }
    }

    /// Gives datagrams from one source to those whose kind they are, as many at a time as are of one kind.
    fn receive(&self, via: Via, source: &Target, mut bytes: &[u8], stride: usize) {
        while !bytes.is_empty() {
            let kind = Kind::of(bytes);
            let alike = bytes.chunks(stride).take_while(|datagram| Kind::of(datagram) == kind);
            let (run, rest) = bytes.split_at((alike.count() * stride).min(bytes.len()));
            match (source, self.of(kind), self.trackers.get()) {
                (Target::Address(from), Some(receiver), _) => {
                    receiver.receive(via, *from, run.chunks(stride));
                }
                (_, _, Some(carrier)) if kind == Kind::Tracker => {
                    run.chunks(stride).for_each(|datagram| carrier.answers.take(source, datagram));
                }
                _ => tracing::trace!(%source, len = run.len(), "datagrams for nobody"),
            }
            bytes = rest;
        }
    }

    fn batch_done(&self, via: Via) {
        for receiver in [self.krpc.get(), self.utp.get()].into_iter().flatten() {
            receiver.batch_done(via);
        }
    }
}

/// The sockets. They may be replaced by others, where the network has changed.
pub(crate) struct Sockets {
    open: RefCell<Vec<Arc<Socket>>>,
    receivers: Rc<Receivers>,
    readers: RefCell<JoinSet<()>>,
    /// Whether there are some.
    is_open: watch::Sender<bool>,
}

impl Sockets {
    /// None yet; what comes by those that will be opened goes to `receivers`.
    pub(crate) fn new(receivers: Rc<Receivers>) -> Self {
        let (open, readers, is_open) =
            (RefCell::default(), RefCell::default(), watch::Sender::default());
        Self { open, receivers, readers, is_open }
    }

    /// Tells whether there are any, and when that changes.
    pub(crate) fn watch(&self) -> watch::Receiver<bool> {
        self.is_open.subscribe()
    }

    /// All that are open, in the order of [`Via`].
    pub(crate) fn all(&self) -> Vec<Arc<Socket>> {
        self.open.borrow().clone()
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
        if let Err(error) = socket.send(to, datagram) {
            tracing::debug!(%to, %error, "datagram not sent");
        }
    }

    /// Sends a datagram to a host by name, which the proxy looks up; by the relay, if there is one.
    pub(crate) fn send_by_relay(&self, to: &Target, datagram: &[u8]) {
        if let Some(socket) = self.open.borrow().first()
            && let Err(error) = socket.send_by_relay(to, datagram)
        {
            tracing::debug!(%to, %error, "datagram not sent");
        }
    }

    /// Closes the sockets: nothing is sent or received any more.
    pub(crate) fn close(&self) {
        // Those who read end with it.
        self.readers.take();
        self.open.borrow_mut().drain(..).for_each(|socket| socket.shut());
        self.is_open.send_replace(false);
    }

    /// Takes sockets in the place of those that were closed, and reads from them for as long as the shard lives.
    ///
    /// # Errors
    /// If the system or the event loop does not take one.
    pub(crate) fn open(&self, sockets: Vec<UdpSocket>) -> io::Result<()> {
        let sockets = sockets.into_iter().map(|socket| Socket::new(socket).map(Arc::new));
        self.take(sockets.collect::<io::Result<_>>()?)
    }

    /// The same with one that is connected to the relay of a proxy. Gives it.
    pub(crate) fn open_relayed(&self, socket: UdpSocket) -> io::Result<Arc<Socket>> {
        let socket = Arc::new(Socket::relayed(socket)?);
        self.take(vec![Arc::clone(&socket)])?;
        Ok(socket)
    }

    fn take(&self, sockets: Vec<Arc<Socket>>) -> io::Result<()> {
        let mut readers = self.readers.borrow_mut();
        for (index, socket) in sockets.iter().enumerate() {
            let events = socket.events()?;
            let (receivers, via) = (Rc::clone(&self.receivers), Via(index));
            readers.spawn_local(read(Arc::clone(socket), events, move |heard| match heard {
                Heard::Datagrams(from, bytes, stride) => {
                    receivers.receive(via, from, bytes, stride);
                }
                Heard::BatchDone => receivers.batch_done(via),
            }));
        }
        self.is_open.send_replace(!sockets.is_empty());
        *self.open.borrow_mut() = sockets;
        Ok(())
    }
}

fn of_family(sockets: &[Arc<Socket>], v4: bool) -> Option<&Arc<Socket>> {
    sockets.iter().find(|socket| socket.carries(v4))
}

/// Reads from a socket by which nothing but UDP trackers is asked, on the runtime this is called on.
///
/// # Errors
/// If the event loop does not take it.
pub(crate) fn read_alone(socket: &Arc<Socket>, carrier: &Arc<Carrier>) -> io::Result<AbortHandle> {
    let (events, answers) = (socket.events()?, Arc::clone(&carrier.answers));
    let reading = read(Arc::clone(socket), events, move |heard| {
        if let Heard::Datagrams(from, bytes, stride) = heard {
            bytes.chunks(stride).for_each(|datagram| answers.take(from, datagram));
        }
    });
    Ok(tokio::spawn(reading).abort_handle())
}

/// What a socket gives.
enum Heard<'a> {
    /// From where, one after another, and the length of each but the last.
    Datagrams(&'a Target, &'a [u8], usize),
    /// No more for now.
    BatchDone,
}

async fn read(socket: Arc<Socket>, events: tokio::net::UdpSocket, mut take: impl FnMut(Heard<'_>)) {
    let mut inbox = Inbox::new(&socket);
    let mut errors = 0;
    loop {
        let ready = events.readable().await;
        match inbox.receive(&socket, &events, |from, bytes, stride| {
            take(Heard::Datagrams(from, bytes, stride));
        }) {
            Ok(()) => {
                take(Heard::BatchDone);
                errors = 0;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => {
                tracing::debug!(%error, "no datagram received");
                errors += 1;
            }
        }
        if ready.is_err() || errors == MAX_ERRORS {
            errors = 0;
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
