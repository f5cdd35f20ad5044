//! Listening: sockets, and a gate for those who dial us.
//!
//! Nothing is known of a newcomer, so it gets little: a place among a bounded number of pending handshakes,
//! bounded for each address too, 10 s ([`greet`]), and a part of the time that key exchanges may take ([`crate::exchanges`]).

use crate::command::ShardCommand;
use crate::config::SessionConfig;
use crate::error::SessionError;
use crate::exchanges::Exchanges;
use crate::greet::greet;
use crate::ip_filter::SessionFilter;
use crate::network::{Binding, Source};
use crate::open_files;
use crate::relay;
use crate::shard::ShardEnv;
use crate::tracker::unguessable;
use crate::udp::{self, Sockets};
use crate::utp::Arrival;
use samara_wire::time::Instant;
use socket2::{Domain, Protocol, Socket, Type};
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Newcomers shaking hands at a time, or fewer where the system grants few descriptors; and those of them from one address.
const MAX_PENDING: usize = 256;
const MAX_PENDING_OF_IP: usize = 64;

/// Connections that the kernel may hold for us to accept.
const BACKLOG: i32 = 256;

/// What is said to be our port when nobody can reach us: many trackers take 0 for an error, and nobody has a peer at 1.
const NOBODY: u16 = 1;

/// Before sockets that could not be opened anew are tried again.
const REOPEN_PAUSE: Duration = Duration::from_secs(1);

/// Attempts to find a port that is free in both families and for both protocols.
const PORT_ATTEMPTS: usize = 10;

/// What is to be listened for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protocols {
    pub(crate) tcp: bool,
    pub(crate) udp: bool,
}

impl Protocols {
    /// What a session needs.
    pub(crate) const fn of(config: &SessionConfig) -> Self {
        Self { tcp: config.tcp, udp: config.dht.is_some() || config.utp }
    }
}

/// Sockets that listen, all on `port`.
pub(crate) struct Listeners {
    pub(crate) sockets: Vec<std::net::TcpListener>,
    /// For UDP, if that was wanted.
    pub(crate) datagrams: Vec<std::net::UdpSocket>,
    pub(crate) port: u16,
    /// What they are bound to.
    pub(crate) binding: Arc<Binding>,
}

/// Listens on `port` wherever `binding` says; all `protocols` have the same port. While what the user chose is away, there is
/// only a port.
pub(crate) fn bind(
    binding: &Arc<Binding>,
    port: u16,
    protocols: Protocols,
) -> Result<Listeners, SessionError> {
    if binding.proxy().is_some() {
        return Ok(Listeners {
            sockets: Vec::new(),
            datagrams: Vec::new(),
            port: NOBODY,
            binding: Arc::clone(binding),
        });
    }
    if binding.is_away() {
        // A port that is free now, most likely still is when it is needed.
        let localhost = [Source::from(IpAddr::V4(Ipv4Addr::LOCALHOST))];
        let (_, _, port) = bind_any(&localhost, port, true, protocols)?;
        let (sockets, datagrams) = (Vec::new(), Vec::new());
        return Ok(Listeners { sockets, datagrams, port, binding: Arc::clone(binding) });
    }
    let any =
        [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()].map(|ip: IpAddr| ip.into());
    let chosen = binding.is_restricted();
    let sources = if chosen { binding.sources() } else { &any };
    let (sockets, datagrams, port) = bind_any(sources, port, chosen, protocols)?;
    Ok(Listeners { sockets, datagrams, port, binding: Arc::clone(binding) })
}

/// For TCP and for UDP, all on one port.
type Bound = (Vec<std::net::TcpListener>, Vec<std::net::UdpSocket>, u16);

fn bind_any(
    sources: &[Source],
    port: u16,
    chosen: bool,
    protocols: Protocols,
) -> Result<Bound, SessionError> {
    let mut attempts = if port == 0 { PORT_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        match bind_all(sources, port, chosen, protocols) {
            // The system chose a port that is free for one family or protocol and taken for another.
            Err(SessionError::PortInUse { .. }) if attempts > 0 => {}
            result => return result,
        }
    }
}

fn bind_all(
    sources: &[Source],
    port: u16,
    chosen: bool,
    protocols: Protocols,
) -> Result<Bound, SessionError> {
    let mut bound = (Vec::new(), Vec::new(), port);
    for source in sources {
        match bind_source(&mut bound, source, protocols) {
            // A machine without IPv6 is an ordinary machine.
            Err(SessionError::Listen { source: error, .. }) if source.ip.is_ipv6() && !chosen => {
                tracing::debug!(%error, "not listening on IPv6");
            }
            result => result?,
        }
    }
    Ok(bound)
}

fn bind_source(
    (sockets, datagrams, port): &mut Bound,
    source: &Source,
    protocols: Protocols,
) -> Result<(), SessionError> {
    if protocols.tcp {
        let addr = SocketAddr::new(source.ip, *port);
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => SessionError::PortInUse { addr, protocol: "TCP" },
            _ => SessionError::Listen { addr, source },
        };
        let socket = bind_one(source, *port).map_err(failed)?;
        *port = socket.local_addr().map_err(failed)?.port();
        sockets.push(socket);
    }
    if protocols.udp {
        let addr = SocketAddr::new(source.ip, *port);
        let failed = |source| udp::not_bound(addr, source);
        let socket = udp::bind(source, *port).map_err(failed)?;
        *port = socket.local_addr().map_err(failed)?.port();
        datagrams.push(socket);
    }
    Ok(())
}

fn bind_one(source: &Source, port: u16) -> io::Result<std::net::TcpListener> {
    let addr = SocketAddr::new(source.ip, port);
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        // So that IPv4 peers never appear as mapped addresses, whatever the system's default.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    source.bind(&socket, port)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Newcomers that are shaking hands, by address.
struct Gate {
    pending: HashMap<IpAddr, usize>,
    total: usize,
    max: usize,
    exchanges: Exchanges,
}

impl Gate {
    fn new(max: usize) -> Rc<RefCell<Self>> {
        let exchanges = Exchanges::new(unguessable());
        Rc::new(RefCell::new(Self { pending: HashMap::new(), total: 0, max, exchanges }))
    }
}

/// A newcomer's place at the gate, until dropped.
pub(crate) struct Admission {
    gate: Rc<RefCell<Gate>>,
    ip: IpAddr,
}

impl Admission {
    fn new(gate: &Rc<RefCell<Gate>>, filter: &SessionFilter, ip: IpAddr) -> Option<Self> {
        if filter.blocks(ip) {
            return None;
        }
        let mut inner = gate.borrow_mut();
        let of_ip = inner.pending.get(&ip).copied().unwrap_or(0);
        if inner.total >= inner.max || of_ip >= MAX_PENDING_OF_IP {
            return None;
        }
        inner.total += 1;
        inner.pending.insert(ip, of_ip + 1);
        Some(Self { gate: Rc::clone(gate), ip })
    }

    /// When a key exchange may be computed with the newcomer; `None` if that is too late for it.
    pub(crate) fn reserve_exchange(&self, now: Instant) -> Option<Instant> {
        self.gate.borrow_mut().exchanges.reserve(now, self.ip)
    }

    /// It has taken so long.
    pub(crate) fn exchanged(&self, took: Duration) {
        self.gate.borrow_mut().exchanges.computed(took);
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut gate = self.gate.borrow_mut();
        gate.total -= 1;
        match gate.pending.get_mut(&self.ip) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                gate.pending.remove(&self.ip);
            }
        }
    }
}

/// Accepts on all sockets for as long as the shard lives. Where the network has changed, opens them anew, with those for UDP, and
/// tells the shards. With a proxy there are no such sockets, and datagrams are [`relay`]'s.
pub(crate) async fn run(
    env: Rc<ShardEnv>,
    listeners: Listeners,
    sockets: Rc<Sockets>,
    arrivals: mpsc::UnboundedReceiver<Arrival>,
) {
    let gate = Gate::new(open_files::newcomers(MAX_PENDING));
    tokio::task::spawn_local(accept_utp(Rc::clone(&env), arrivals, Rc::clone(&gate)));
    if listeners.binding.proxy().is_some() {
        return relay::run(env, listeners.binding, sockets).await;
    }
    let mut network = env.shared.network.subscribe();
    let (mut acceptors, mut binding) = (JoinSet::new(), listeners.binding);
    spawn_all(&mut acceptors, &env, listeners.sockets, &gate);
    loop {
        // Fails only when the session is gone.
        if network.changed().await.is_err() {
            return;
        }
        let now = Arc::clone(&network.borrow_and_update().binding);
        if now == binding {
            continue;
        }
        // First of all nothing more goes out by what is gone.
        tell_shards(&env, Some(&now));
        env.shared.hubs.close();
        sockets.close();
        acceptors.shutdown().await;
        binding = now;
        while !binding.is_away() {
            match open_anew(&env, &binding, &sockets) {
                Ok(listeners) => {
                    spawn_all(&mut acceptors, &env, listeners, &gate);
                    tell_shards(&env, None);
                    break;
                }
                // Such as an address that the system is still making sure of.
                Err(error) => tracing::warn!(%error, "cannot listen yet on {binding}"),
            }
            if let Ok(Ok(())) = timeout(REOPEN_PAUSE, network.changed()).await {
                network.mark_changed();
                break;
            }
        }
    }
}

fn open_anew(
    env: &ShardEnv,
    binding: &Arc<Binding>,
    sockets: &Sockets,
) -> Result<Vec<std::net::TcpListener>, SessionError> {
    let port = env.shared.port();
    let listeners = bind(binding, port, Protocols::of(&env.shared.config))?;
    let failed = |source| SessionError::Start { what: "the UDP sockets", source };
    sockets.open(listeners.datagrams).map_err(failed)?;
    env.shared.hubs.open(sockets).map_err(failed)?;
    Ok(listeners.sockets)
}

/// Tells all shards that there is no network for this reason, or that there is one.
pub(crate) fn tell_shards(env: &ShardEnv, lost: Option<&Binding>) {
    let why = lost.map(away);
    for shard in &env.shared.shards {
        // Fails only at the end.
        let _ = shard.send(ShardCommand::Network(why.clone()));
    }
}

/// What a user is told while what was chosen is away.
pub(crate) fn away(binding: &Binding) -> Arc<str> {
    format!("{binding} is away: nothing is sent").into()
}

fn spawn_all(
    acceptors: &mut JoinSet<()>,
    env: &Rc<ShardEnv>,
    sockets: Vec<std::net::TcpListener>,
    gate: &Rc<RefCell<Gate>>,
) {
    for socket in sockets {
        match TcpListener::from_std(socket) {
            Ok(listener) => {
                acceptors.spawn_local(accept(Rc::clone(env), listener, Rc::clone(gate)));
            }
            Err(error) => tracing::error!(%error, "cannot accept connections"),
        }
    }
}

async fn accept_utp(
    env: Rc<ShardEnv>,
    mut arrivals: mpsc::UnboundedReceiver<Arrival>,
    gate: Rc<RefCell<Gate>>,
) {
    while let Some(Arrival { stream, addr }) = arrivals.recv().await {
        match Admission::new(&gate, &env.shared.ip_filter, addr.ip()) {
            Some(admission) => {
                tokio::task::spawn_local(greet(Rc::clone(&env), stream.into(), addr, admission));
            }
            None => tracing::debug!(%addr, "blocked, or too many newcomers at a time"),
        }
    }
}

async fn accept(env: Rc<ShardEnv>, listener: TcpListener, gate: Rc<RefCell<Gate>>) {
    let mut told = false;
    loop {
        match listener.accept().await {
            Ok((stream, addr)) => {
                let filter = &env.shared.ip_filter;
                let Some(admission) = Admission::new(&gate, filter, addr.ip()) else {
                    tracing::debug!(%addr, "blocked, or too many newcomers at a time");
                    continue;
                };
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%addr, %error, "newcomer lost");
                    continue;
                }
                tokio::task::spawn_local(greet(Rc::clone(&env), stream.into(), addr, admission));
            }
            Err(error) => {
                // Either that connection is gone already, or file descriptors are short: the same pause
                // serves both.
                if open_files::exhausted(&error) && !std::mem::replace(&mut told, true) {
                    tracing::error!(
                        "cannot accept connections: {error}; allow more open files (ulimit -n) or fewer connections (max-peers)"
                    );
                }
                tracing::debug!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use samara_wire::ip_filter::IpFilter;

    const TCP: Protocols = Protocols { tcp: true, udp: false };
    const BOTH: Protocols = Protocols { tcp: true, udp: true };

    #[test]
    fn a_port_in_use_is_named() {
        let everywhere = Arc::new(Binding::default());
        let first = bind(&everywhere, 0, TCP).unwrap();
        assert_ne!(first.port, 0);
        let error = bind(&everywhere, first.port, TCP).err().unwrap().to_string();
        assert!(error.contains(&format!("port {} is in use (TCP", first.port)), "{error}");
    }

    #[test]
    fn udp_has_the_same_port_and_is_named_where_it_is_taken() {
        let localhost = Arc::new(Binding::of(&[Ipv4Addr::LOCALHOST.into()], &[]));
        let both = bind(&localhost, 0, BOTH).unwrap();
        let addr = both.datagrams[0].local_addr().unwrap();
        assert_eq!((addr.port(), both.datagrams.len()), (both.port, both.sockets.len()));
        // Only UDP is in use there now.
        drop(both.sockets);
        let error = bind(&localhost, both.port, BOTH).err().unwrap().to_string();
        assert!(error.contains(&format!("port {} is in use (UDP", both.port)), "{error}");
        assert!(bind(&localhost, both.port, TCP).is_ok());
    }

    #[test]
    fn the_gate_bounds_each_address_and_all() {
        let gate = Gate::new(MAX_PENDING);
        let filter = SessionFilter::new(IpFilter::parse(b"192.0.2.1\n").0);
        let ip = |n: u8| IpAddr::V4(Ipv4Addr::new(10, 0, 0, n));
        let mut inside: Vec<_> = (0..MAX_PENDING_OF_IP)
            .map(|_| Admission::new(&gate, &filter, ip(1)).unwrap())
            .collect();
        assert!(Admission::new(&gate, &filter, ip(1)).is_none());
        inside.pop();
        inside.push(Admission::new(&gate, &filter, ip(1)).unwrap());
        inside.extend((2..=255).filter_map(|n| Admission::new(&gate, &filter, ip(n))));
        assert_eq!(inside.len(), MAX_PENDING);
        drop(inside);
        assert!(Admission::new(&gate, &filter, "192.0.2.1".parse().unwrap()).is_none());
        assert!(gate.borrow().pending.is_empty() && gate.borrow().total == 0);
    }
}
