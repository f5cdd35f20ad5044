//! TCP or uTP: which is tried first with a peer, and how long the other one waits.
//!
//! Both are tried, the second a little later, and the connection that comes about first is used (as RFC 8305 has it for
//! addresses). Which one is first: what worked with this peer before; else uTP, which gives way to what else the user does
//! on the line; but TCP with neighbours, where there is no such line and TCP costs less.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The second one waits this long for the first.
pub(crate) const HEAD_START: Duration = Duration::from_millis(250);

/// Peers remembered at most. When there are more, all are forgotten, which costs each one a head start.
const MAX_REMEMBERED: usize = 4096;

/// What carries the stream to a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Transport {
    Tcp,
    Utp,
}

/// What a session may use, and what worked with whom.
pub(crate) struct Transports {
    tcp: bool,
    utp: bool,
    worked: Mutex<HashMap<SocketAddr, Transport>>,
}

impl Transports {
    pub(crate) fn new(tcp: bool, utp: bool) -> Self {
        Self { tcp, utp, worked: Mutex::default() }
    }

    /// What is to be tried with `addr`, in this order.
    pub(crate) fn order(&self, addr: SocketAddr) -> Vec<Transport> {
        let allowed = [(Transport::Utp, self.utp), (Transport::Tcp, self.tcp)];
        let mut order: Vec<_> = allowed.into_iter().filter(|(_, on)| *on).map(|(t, _)| t).collect();
        let known = self.worked.lock().unwrap_or_else(PoisonError::into_inner).get(&addr).copied();
        let usual = if is_near(addr.ip()) { Transport::Tcp } else { Transport::Utp };
        order.sort_by_key(|transport| *transport != known.unwrap_or(usual));
        order
    }

    /// Notes what worked.
    pub(crate) fn note(&self, addr: SocketAddr, transport: Transport) {
        let mut worked = self.worked.lock().unwrap_or_else(PoisonError::into_inner);
        if worked.len() >= MAX_REMEMBERED {
            worked.clear();
        }
        worked.insert(addr, transport);
    }
}

/// Whether an address is on this machine or a network of ours.
fn is_near(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::Transport::{Tcp, Utp};
    use super::*;

    #[test]
    fn what_worked_comes_first_and_what_is_off_never() {
        let far: SocketAddr = "192.0.2.1:6881".parse().unwrap();
        let both = Transports::new(true, true);
        assert_eq!(both.order(far), [Utp, Tcp]);
        both.note(far, Tcp);
        assert_eq!(both.order(far), [Tcp, Utp]);
        assert_eq!(both.order("192.0.2.1:6882".parse().unwrap()), [Utp, Tcp]);
        let utp = Transports::new(false, true);
        utp.note(far, Tcp);
        assert_eq!(utp.order(far), [Utp]);
        assert_eq!(Transports::new(true, false).order(far), [Tcp]);
        assert_eq!(Transports::new(false, false).order(far), []);
    }

    #[test]
    fn with_neighbours_tcp_comes_first() {
        let both = Transports::new(true, true);
        for near in ["127.0.0.1:1", "10.1.2.3:1", "192.168.0.9:1", "[::1]:1", "[fe80::1]:1"] {
            assert_eq!(both.order(near.parse().unwrap()), [Tcp, Utp], "{near}");
        }
        assert_eq!(both.order("[2001:db8::1]:1".parse().unwrap()), [Utp, Tcp]);
    }

    #[test]
    fn memory_is_bounded() {
        let both = Transports::new(true, true);
        for n in 0..MAX_REMEMBERED + 1 {
            let ip = u32::try_from(n).unwrap().to_be_bytes();
            both.note(SocketAddr::from((ip, 1)), Tcp);
        }
        assert_eq!(both.worked.lock().unwrap().len(), 1);
    }
}
