//! An endpoint behind a lock, and what moves it.

use crate::clock::Clock;
use crate::tracker::unguessable;
use crate::udp::Socket;
use samara_utp::{ConnectionKey, Endpoint, Event, Outbox, UtpConfig};
use samara_wire::time::Instant;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::slice::Chunks;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::Interest;
use tokio::sync::{Notify, mpsc};

/// A connection that a peer has opened.
pub(crate) struct Arrival {
    pub(crate) stream: super::UtpStream,
    pub(crate) addr: SocketAddr,
}

/// Tells whoever waits for a connection.
#[derive(Default)]
pub(super) struct Signals {
    pub(super) readable: Notify,
    pub(super) writable: Notify,
}

/// An endpoint and the socket it sends by.
pub(crate) struct Hub {
    socket: Arc<Socket>,
    clock: Clock,
    inner: Mutex<Inner>,
    /// Has [`drive`] look again: a time-out has come nearer, or the socket is full.
    wake: Notify,
    accepted: mpsc::UnboundedSender<Arrival>,
}

pub(super) struct Inner {
    pub(super) endpoint: Endpoint,
    out: Outbox,
    signals: BTreeMap<ConnectionKey, Arc<Signals>>,
    /// What the socket had no room for.
    stuck: Option<Stuck>,
    /// When [`drive`] will look again.
    armed: Option<Instant>,
    /// Nothing is sent or received any more.
    shut: bool,
}

struct Stuck {
    to: SocketAddr,
    bytes: Vec<u8>,
    segment: usize,
}

impl Hub {
    pub(super) fn new(
        socket: Arc<Socket>,
        clock: Clock,
        accepted: mpsc::UnboundedSender<Arrival>,
    ) -> Self {
        let mut seed = [0; 32];
        for part in seed.chunks_exact_mut(8) {
            part.copy_from_slice(&unguessable().to_ne_bytes());
        }
        let mut config = UtpConfig::new(seed);
        [config.datagram_v4, config.datagram_v6] =
            socket.lengths(config.datagram_v4, config.datagram_v6);
        let inner = Inner {
            endpoint: Endpoint::new(config),
            out: Outbox::new(),
            signals: BTreeMap::new(),
            stuck: None,
            armed: None,
            shut: false,
        };
        Self { socket, clock, inner: Mutex::new(inner), wake: Notify::new(), accepted }
    }

    /// Whether it takes packets for the family of `v4`.
    pub(super) fn carries(&self, v4: bool) -> bool {
        self.socket.carries(v4)
    }

    /// From which of our addresses packets go to `addr`.
    pub(super) fn local_ip(&self, addr: SocketAddr) -> Option<IpAddr> {
        self.socket.local_ip(addr)
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes packets; what they cause to be sent goes out with the next flush.
    pub(super) fn receive(self: &Arc<Self>, from: SocketAddr, datagrams: Chunks<'_, u8>) {
        let mut inner = self.lock();
        let Inner { endpoint, out, .. } = &mut *inner;
        endpoint.handle_datagrams(self.now(), from, datagrams, out);
        self.tell(inner);
    }

    /// Sends what is to be sent.
    pub(super) fn flush(&self) {
        self.flush_locked(&mut self.lock());
    }

    pub(super) fn flush_locked(&self, inner: &mut Inner) {
        if inner.shut {
            return;
        }
        let Inner { endpoint, stuck, .. } = inner;
        while stuck.is_none()
            && let Some(transmit) = endpoint.poll_transmit(self.now(), self.socket.max_segments())
        {
            let sent = self.socket.send_many(transmit.to, transmit.contents, transmit.segment);
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let bytes = transmit.contents.to_vec();
                    *stuck = Some(Stuck { to: transmit.to, bytes, segment: transmit.segment });
                    self.wake.notify_one();
                }
                Err(error) => tracing::debug!(to = %transmit.to, %error, "datagrams not sent"),
                Ok(()) => {}
            }
        }
        let next = endpoint.next_timeout();
        if next.is_some_and(|next| inner.armed.is_none_or(|armed| next < armed)) {
            inner.armed = next;
            self.wake.notify_one();
        }
    }

    /// Tells the owners of connections what has happened.
    fn tell(self: &Arc<Self>, mut inner: MutexGuard<'_, Inner>) {
        let Inner { out, signals, .. } = &mut *inner;
        let mut arrived = Vec::new();
        for event in out.drain() {
            match event {
                Event::Accepted(key, addr) => {
                    let signal = Arc::<Signals>::default();
                    signals.insert(key, Arc::clone(&signal));
                    arrived.push((key, signal, addr));
                }
                Event::Readable(key) => {
                    signals.get(&key).inspect(|signal| signal.readable.notify_one());
                }
                Event::Connected(key) | Event::Writable(key) => {
                    signals.get(&key).inspect(|signal| signal.writable.notify_one());
                }
                Event::Closed(key, reason) => {
                    tracing::trace!(?key, %reason, "a uTP connection has ended");
                    if let Some(signal) = signals.get(&key) {
                        signal.readable.notify_one();
                        signal.writable.notify_one();
                    }
                }
            }
        }
        drop(inner);
        for (key, signals, addr) in arrived {
            let stream = super::UtpStream::new(Arc::clone(self), key, signals, addr);
            // Fails only at the end of the session. The stream is dropped then, with no lock held, and so closed.
            let _ = self.accepted.send(Arrival { stream, addr });
        }
    }

    /// Ends all connections without a word, as the network they went by is gone or the session ends.
    pub(super) fn shut(&self) {
        let mut inner = self.lock();
        inner.shut = true;
        inner.stuck = None;
        let signals = std::mem::take(&mut inner.signals);
        for (key, signals) in signals {
            inner.endpoint.abort(key);
            signals.readable.notify_one();
            signals.writable.notify_one();
        }
        drop(inner);
        self.wake.notify_one();
    }

    /// Opens a connection.
    pub(super) fn open(&self, addr: SocketAddr) -> io::Result<(ConnectionKey, Arc<Signals>)> {
        let mut inner = self.lock();
        let key = inner.endpoint.connect(self.now(), addr).map_err(io::Error::other)?;
        let signals = Arc::<Signals>::default();
        inner.signals.insert(key, Arc::clone(&signals));
        self.flush_locked(&mut inner);
        Ok((key, signals))
    }

    /// Lets go of a connection.
    pub(super) fn close(&self, key: ConnectionKey) {
        let mut inner = self.lock();
        inner.signals.remove(&key);
        tracing::debug!(stats = ?inner.endpoint.stats(key), "a uTP connection is let go");
        inner.endpoint.close(self.now(), key);
        self.flush_locked(&mut inner);
    }

    /// Does what is due. Gives when there is more, and whether the socket is full; nothing once it is shut.
    fn turn(self: &Arc<Self>) -> Option<(Option<Instant>, bool)> {
        let mut inner = self.lock();
        if inner.shut {
            return None;
        }
        let Inner { endpoint, out, .. } = &mut *inner;
        endpoint.handle_timeout(self.now(), out);
        self.flush_locked(&mut inner);
        inner.armed = inner.endpoint.next_timeout();
        let state = (inner.armed, inner.stuck.is_some());
        self.tell(inner);
        Some(state)
    }

    /// Sends what the socket had no room for. `Err(WouldBlock)` if there is none still.
    fn retry(&self) -> io::Result<()> {
        let mut inner = self.lock();
        if let Some(Stuck { to, bytes, segment }) = &inner.stuck {
            match self.socket.send_many(*to, bytes, *segment) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(error) => tracing::debug!(%to, %error, "datagrams not sent"),
                Ok(()) => {}
            }
        }
        inner.stuck = None;
        Ok(())
    }
}

/// Sees to what happens by itself, for as long as the shard lives.
///
/// # Errors
/// If the event loop does not take the socket.
pub(crate) fn drive(hub: Arc<Hub>) -> io::Result<()> {
    let events = hub.socket.events()?;
    tokio::task::spawn_local(async move {
        while let Some((next, full)) = hub.turn() {
            let at = next.map(|at| hub.clock.to_tokio(at));
            let far = tokio::time::Instant::now() + std::time::Duration::from_secs(3600);
            tokio::select! {
                () = hub.wake.notified() => {}
                () = tokio::time::sleep_until(at.unwrap_or(far)) => {}
                _ = events.writable(), if full => {
                    // An error says that there is no room after all: it is waited for again.
                    let _ = events.try_io(Interest::WRITABLE, || hub.retry());
                }
            }
        }
    });
    Ok(())
}
