//! Listening: sockets, and a gate for those who dial us.
//!
//! Nothing is known of a newcomer, so it gets little: a place among a bounded number of pending handshakes,
//! bounded for each address too, and 10 s ([`greet`]).

use crate::error::SessionError;
use crate::greet::greet;
use crate::shard::ShardEnv;
use crate::udp;
use socket2::{Domain, Protocol, Socket, Type};
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Newcomers shaking hands at a time, and those of them from one address.
const MAX_PENDING: usize = 256;
const MAX_PENDING_OF_IP: usize = 64;

/// Connections that the kernel may hold for us to accept.
const BACKLOG: i32 = 256;

/// Attempts to find a port that is free in both families and for both protocols.
const PORT_ATTEMPTS: usize = 10;

/// Sockets that listen, all on `port`.
pub(crate) struct Listeners {
    pub(crate) sockets: Vec<std::net::TcpListener>,
    /// For UDP, if that was wanted.
    pub(crate) datagrams: Vec<std::net::UdpSocket>,
    pub(crate) port: u16,
}

/// Listens on `port` of each address in `addrs`; of every address, IPv4 and IPv6, if there are none. With `udp` the same
/// port is taken for UDP.
pub(crate) fn bind(addrs: &[IpAddr], port: u16, udp: bool) -> Result<Listeners, SessionError> {
    let any = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let (addrs, chosen) = if addrs.is_empty() { (&any[..], false) } else { (addrs, true) };
    let mut attempts = if port == 0 { PORT_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        match bind_all(addrs, port, chosen, udp) {
            // The system chose a port that is free for one family or protocol and taken for another.
            Err(SessionError::PortInUse { .. }) if attempts > 0 => {}
            result => return result,
        }
    }
}

fn bind_all(
    addrs: &[IpAddr],
    port: u16,
    chosen: bool,
    udp: bool,
) -> Result<Listeners, SessionError> {
    let mut listeners = Listeners { sockets: Vec::new(), datagrams: Vec::new(), port };
    for &ip in addrs {
        let addr = SocketAddr::new(ip, listeners.port);
        match bind_one(addr) {
            Ok(socket) => {
                let local = socket.local_addr();
                listeners.port =
                    local.map_err(|source| SessionError::Listen { addr, source })?.port();
                listeners.sockets.push(socket);
                if udp {
                    let addr = SocketAddr::new(ip, listeners.port);
                    let socket = udp::bind(addr).map_err(|e| udp::not_bound(addr, e))?;
                    listeners.datagrams.push(socket);
                }
            }
            Err(source) if source.kind() == io::ErrorKind::AddrInUse => {
                return Err(SessionError::PortInUse { addr, protocol: "TCP" });
            }
            // A machine without IPv6 is an ordinary machine.
            Err(source) if ip.is_ipv6() && !chosen => {
                tracing::debug!(%source, "not listening on IPv6");
            }
            Err(source) => return Err(SessionError::Listen { addr, source }),
        }
    }
    Ok(listeners)
}

fn bind_one(addr: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        // So that IPv4 peers never appear as mapped addresses, whatever the system's default.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Newcomers that are shaking hands, by address.
#[derive(Default)]
struct Gate {
    pending: HashMap<IpAddr, usize>,
    total: usize,
}

/// A newcomer's place at the gate, until dropped.
pub(crate) struct Admission {
    gate: Rc<RefCell<Gate>>,
    ip: IpAddr,
}

impl Admission {
    fn new(gate: &Rc<RefCell<Gate>>, ip: IpAddr) -> Option<Self> {
        let mut inner = gate.borrow_mut();
        let of_ip = inner.pending.get(&ip).copied().unwrap_or(0);
        if inner.total >= MAX_PENDING || of_ip >= MAX_PENDING_OF_IP {
            return None;
        }
        inner.total += 1;
        inner.pending.insert(ip, of_ip + 1);
        Some(Self { gate: Rc::clone(gate), ip })
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

/// Accepts on all sockets for as long as the shard lives.
pub(crate) fn run(env: &Rc<ShardEnv>, listeners: Listeners) -> io::Result<()> {
    let gate = Rc::new(RefCell::new(Gate::default()));
    for socket in listeners.sockets {
        let listener = TcpListener::from_std(socket)?;
        tokio::task::spawn_local(accept(Rc::clone(env), listener, Rc::clone(&gate)));
    }
    Ok(())
}

async fn accept(env: Rc<ShardEnv>, listener: TcpListener, gate: Rc<RefCell<Gate>>) {
    loop {
        match listener.accept().await {
            Ok((stream, addr)) => {
                let Some(admission) = Admission::new(&gate, addr.ip()) else {
                    tracing::debug!(%addr, "too many newcomers at a time");
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
                tracing::debug!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_named() {
        let first = bind(&[], 0, false).unwrap();
        assert_ne!(first.port, 0);
        let error = bind(&[], first.port, false).err().unwrap().to_string();
        assert!(error.contains(&format!("port {} is in use (TCP", first.port)), "{error}");
    }

    #[test]
    fn udp_has_the_same_port_and_is_named_where_it_is_taken() {
        let localhost = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
        let both = bind(&localhost, 0, true).unwrap();
        let addr = both.datagrams[0].local_addr().unwrap();
        assert_eq!((addr.port(), both.datagrams.len()), (both.port, both.sockets.len()));
        // Only UDP is in use there now.
        drop(both.sockets);
        let error = bind(&localhost, both.port, true).err().unwrap().to_string();
        assert!(error.contains(&format!("port {} is in use (UDP", both.port)), "{error}");
        assert!(bind(&localhost, both.port, false).is_ok());
    }

    #[test]
    fn the_gate_bounds_each_address_and_all() {
        let gate = Rc::new(RefCell::new(Gate::default()));
        let ip = |n: u8| IpAddr::V4(Ipv4Addr::new(10, 0, 0, n));
        let mut inside: Vec<_> =
            (0..MAX_PENDING_OF_IP).map(|_| Admission::new(&gate, ip(1)).unwrap()).collect();
        assert!(Admission::new(&gate, ip(1)).is_none());
        inside.pop();
        inside.push(Admission::new(&gate, ip(1)).unwrap());
        inside.extend((2..=255).filter_map(|n| Admission::new(&gate, ip(n))));
        assert_eq!(inside.len(), MAX_PENDING);
        drop(inside);
        assert!(gate.borrow().pending.is_empty() && gate.borrow().total == 0);
    }
}
