//! A small tracker: HTTP (BEP 3, 7, 23, 24, 48) and UDP (BEP 15, 41) on one port number, with a page for people
//! and files to hand out. For `share`, `demo` and tests; good for thousands of peers, not for millions.
//!
//! | part | decides |
//! | --- | --- |
//! | [`store`] | who is in which swarm and whom an announcer is told of; no I/O, no clock |
//! | [`household`] | what counts as one address: of IPv6 a whole /64 |
//! | [`cookie`] | connection ids of UDP that cannot be forged |
//! | [`http`], [`udp`] | what is answered to a request or a datagram |
//! | this file | sockets, and the thread that serves them |
//!
//! Everything a stranger can grow is bounded: torrents, peers in all, for each torrent and for each address,
//! connections in all and for each address, the size and time of a request.

mod cookie;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzed;
mod household;
mod http;
mod page;
mod store;
#[cfg(test)]
mod tests;
mod udp;

use samara_wire::id::WireHash;
use samara_wire::time::Instant;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use store::{Store, StoreConfig};
use tokio::sync::oneshot;

/// Times a port chosen by the system is given back because UDP has it in use.
const PORT_ATTEMPTS: usize = 32;

/// Connections that the system holds for us until we accept them.
const BACKLOG: i32 = 128;

/// What a tracker serves and where. `Default` is an open tracker on all addresses, on a port the system chooses.
#[derive(Clone, Debug)]
pub struct TrackerServerConfig {
    /// Addresses to listen on. Those with port 0 share one port that the system chooses. Empty: all addresses
    /// of this machine, IPv6 if there is any.
    pub bind: Vec<SocketAddr>,
    /// Time between announces that peers are asked to keep. A peer silent for twice as long is forgotten.
    pub interval: Duration,
    /// Torrents that are tracked. Empty: any.
    pub allow: Vec<WireHash>,
    /// Files served by `GET /NAME`, as name and content.
    pub files: Vec<(String, Vec<u8>)>,
}

impl Default for TrackerServerConfig {
    fn default() -> Self {
        Self {
            bind: Vec::new(),
            interval: Duration::from_secs(30 * 60),
            allow: Vec::new(),
            files: Vec::new(),
        }
    }
}

/// A running tracker, on a thread of its own. Stops when shut down or dropped.
#[derive(Debug)]
pub struct TrackerServer {
    port: u16,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TrackerServer {
    /// Binds the sockets and starts to serve.
    ///
    /// # Errors
    /// If an address cannot be bound, for TCP or for UDP, or the thread cannot be started.
    pub fn start(config: TrackerServerConfig) -> io::Result<Self> {
        let (port, sockets) = bind_all(&config.bind)?;
        let shared = Arc::new(Shared::new(config));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let serve = move || runtime.block_on(serve(shared, sockets, stopped));
        let thread = std::thread::Builder::new().name("samara-tracker".into()).spawn(serve)?;
        Ok(Self { port, stop: Some(stop), thread: Some(thread) })
    }

    /// The port listened on, TCP and UDP.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Stops serving. The port is free again when this returns.
    pub fn shutdown(self) {
        drop(self);
    }
}

impl Drop for TrackerServer {
    fn drop(&mut self) {
        // Either can fail only if the thread has ended already.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// What all connections of a server share.
struct Shared {
    store: Mutex<Store>,
    files: Vec<(String, Vec<u8>)>,
    started: std::time::Instant,
}

impl Shared {
    fn new(config: TrackerServerConfig) -> Self {
        let store = StoreConfig {
            interval: config.interval,
            allow: config.allow.into_iter().collect(),
            ..StoreConfig::default()
        };
        let store = Mutex::new(Store::new(store, crate::tracker::unguessable()));
        Self { store, files: config.files, started: std::time::Instant::now() }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.started.elapsed()
    }
}

/// Serves until `stopped`. Dropping the runtime then ends all connections.
async fn serve(
    shared: Arc<Shared>,
    sockets: Vec<(TcpListener, UdpSocket)>,
    stopped: oneshot::Receiver<()>,
) {
    let limits = Arc::new(http::ConnectionLimits::default());
    for (tcp, udp) in sockets {
        // Neither fails on a socket that is non-blocking, inside a runtime with I/O.
        if let Ok(tcp) = tokio::net::TcpListener::from_std(tcp) {
            tokio::spawn(http::listen(shared.clone(), limits.clone(), tcp));
        }
        if let Ok(udp) = tokio::net::UdpSocket::from_std(udp) {
            tokio::spawn(udp::listen(shared.clone(), udp));
        }
    }
    let _ = stopped.await;
}

/// Binds TCP and UDP to the same port on every address.
fn bind_all(addrs: &[SocketAddr]) -> io::Result<(u16, Vec<(TcpListener, UdpSocket)>)> {
    let everywhere = [
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    ];
    let (addrs, all_needed) =
        if addrs.is_empty() { (&everywhere[..], false) } else { (addrs, true) };
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..PORT_ATTEMPTS {
        match bind_once(addrs, all_needed) {
            Ok(bound) => return Ok(bound),
            // The system chose a port that is free for TCP only, or on the first address only.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
            Err(error) => return Err(error),
        }
        if addrs.iter().all(|addr| addr.port() != 0) {
            break;
        }
    }
    Err(last)
}

fn bind_once(
    addrs: &[SocketAddr],
    all_needed: bool,
) -> io::Result<(u16, Vec<(TcpListener, UdpSocket)>)> {
    let (mut first_port, mut sockets) = (0, Vec::new());
    for addr in addrs {
        let mut addr = *addr;
        if addr.port() == 0 {
            addr.set_port(first_port);
        }
        let pair = socket(addr, Type::STREAM).and_then(|tcp| {
            tcp.listen(BACKLOG)?;
            let tcp = TcpListener::from(tcp);
            addr.set_port(tcp.local_addr()?.port());
            Ok((tcp, UdpSocket::from(socket(addr, Type::DGRAM)?)))
        });
        match pair {
            Ok(pair) => {
                sockets.push(pair);
                first_port = if first_port == 0 { addr.port() } else { first_port };
            }
            Err(error) if all_needed || sockets.is_empty() => return Err(error),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            // A machine without IPv6.
            Err(error) => tracing::debug!(%addr, %error, "not listening there"),
        }
    }
    Ok((first_port, sockets))
}

fn socket(addr: SocketAddr, kind: Type) -> io::Result<Socket> {
    let protocol = if kind == Type::STREAM { Protocol::TCP } else { Protocol::UDP };
    let socket = Socket::new(Domain::for_address(addr), kind, Some(protocol))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Lets a tracker start again at once on the port it had; has another meaning on Windows.
    #[cfg(unix)]
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}
