//! Looks at the interfaces and gateways, again when something changes, and tells who wants to know.

use super::alarm::Alarm;
use super::binding::Binding;
use super::moves::Moves;
use super::proxy::Proxy;
use super::routes::{self, Gateway};
use super::{Bind, Egress};
use crate::shard::ShardEnv;
use if_addrs::{IfAddr, Interface};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

/// Between two looks: where the system tells of changes, and where it does not.
const LOOK_INTERVAL: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(3));

/// Changes come in flocks.
const SETTLE: Duration = Duration::from_millis(150);

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Subnet {
    ip: IpAddr,
    prefix: u8,
}

impl Subnet {
    /// The network that `ip` is in. A prefix of 0, which would be everything, means that one address.
    pub(crate) fn new(ip: IpAddr, prefix: u8) -> Self {
        let bits = if ip.is_ipv4() { 32 } else { 128 };
        Self { ip, prefix: if prefix == 0 { bits } else { prefix.min(bits) } }
    }

    /// The network of an interface.
    pub(crate) fn of(interface: &Interface) -> Self {
        match &interface.addr {
            IfAddr::V4(addr) => Self::new(addr.ip.into(), addr.prefixlen),
            IfAddr::V6(addr) => Self::new(addr.ip.into(), addr.prefixlen),
        }
    }

    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        // Without the bits behind the prefix; IPv4 addresses are moved to the front.
        let network = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => u128::from(ip.to_bits()) << 96 >> (128 - u32::from(self.prefix)),
            IpAddr::V6(ip) => ip.to_bits() >> (128 - u32::from(self.prefix)),
        };
        self.ip.is_ipv4() == ip.is_ipv4() && network(self.ip) == network(ip)
    }

    /// How many bits are the network's.
    pub(crate) const fn prefix(&self) -> u8 {
        self.prefix
    }
}

/// What was seen at a look.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Situation {
    pub(crate) interfaces: Vec<Interface>,
    /// The best first.
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) binding: Arc<Binding>,
}

/// What is known of the network, kept up to date by [`run`].
pub(crate) struct Network {
    chosen: Vec<Bind>,
    proxy: Option<Arc<Proxy>>,
    situation: watch::Sender<Arc<Situation>>,
}

impl Network {
    /// Interfaces are looked at once if the user named one; else that has time until [`run`].
    pub(crate) fn new(egress: &Egress) -> Self {
        let binding = Binding::now(egress);
        if binding.is_away() {
            tell(&Binding::default(), &binding);
        }
        let (chosen, proxy) = (egress.bind.clone(), binding.proxy().cloned());
        let situation = Situation { binding: Arc::new(binding), ..Situation::default() };
        Self { chosen, proxy, situation: watch::Sender::new(Arc::new(situation)) }
    }

    /// Whether the session is bound to an interface, whose addresses may come and go.
    pub(crate) fn is_at_interface(&self) -> bool {
        self.chosen.iter().any(|bind| matches!(bind, Bind::Interface(_)))
    }

    /// From where may be sent now.
    pub(crate) fn binding(&self) -> Arc<Binding> {
        Arc::clone(&self.situation.borrow().binding)
    }

    /// What was seen last, and what is to come.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Situation>> {
        let mut changes = self.situation.subscribe();
        changes.mark_changed();
        changes
    }

    async fn look(&self) {
        let (chosen, proxy) = (self.chosen.clone(), self.proxy.clone());
        let look = move || {
            let interfaces = if_addrs::get_if_addrs()?;
            let binding = Arc::new(Binding::of(&chosen, &interfaces).by(proxy));
            let gateways = routes::gateways(&interfaces);
            std::io::Result::Ok(Situation { interfaces, gateways, binding })
        };
        // The outer error is a panic, reported when it happened. It takes a while where there are many.
        let situation = match spawn_blocking(look).await {
            Ok(Ok(situation)) => Arc::new(situation),
            Ok(Err(error)) => return tracing::debug!(%error, "cannot see the interfaces"),
            Err(_) => return,
        };
        self.situation.send_if_modified(|old| {
            let changed = **old != *situation;
            if changed {
                tell(&old.binding, &situation.binding);
                *old = situation;
            }
            changed
        });
    }
}

/// Tells the log what became of what the user chose.
fn tell(old: &Binding, new: &Binding) {
    match (old.is_away(), new.is_away()) {
        (false, true) => tracing::warn!("{new} is away: nothing is sent until it is back"),
        _ if old == new => {}
        _ => {
            let addresses: Vec<_> = new.sources().iter().map(|source| source.ip).collect();
            tracing::info!(?addresses, "{new} is there");
        }
    }
}

/// Keeps what is known up to date for as long as the shard lives.
pub(crate) async fn run(env: Rc<ShardEnv>) {
    let network = &env.shared.network;
    let mut alarm = Alarm::new();
    if let Err(error) = &alarm {
        tracing::debug!(%error, "the system does not tell of changes of the network");
    }
    let mut moves = Moves::default();
    loop {
        network.look().await;
        let moved = moves.look(env.now(), &network.situation.borrow());
        // Who is bound to an interface begins anew there: see [`crate::listen`].
        if let Some(moved) = moved.filter(|_| !network.is_at_interface()) {
            env.tell_moved(moved);
        }
        let due = moves.next_timeout().map(|at| env.shared.clock.to_tokio(at));
        let at_latest = |pause| {
            let then = tokio::time::Instant::now() + pause;
            due.map_or(then, |due| due.min(then))
        };
        let Ok(bell) = &mut alarm else {
            tokio::time::sleep_until(at_latest(LOOK_INTERVAL.1)).await;
            continue;
        };
        match tokio::time::timeout_at(at_latest(LOOK_INTERVAL.0), bell.rings()).await {
            Ok(Ok(())) => tokio::time::sleep(SETTLE).await,
            Ok(Err(error)) => alarm = Err(error),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use if_addrs::{IfOperStatus, Ifv4Addr, Ifv6Addr};
    use std::net::{Ipv4Addr, Ipv6Addr};

    /// An interface called `if` and its number, that is up.
    pub(crate) fn interface(index: u32, ip: &str, prefixlen: u8) -> Interface {
        let (netmask4, netmask6) = (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED);
        let addr = match ip.parse().unwrap() {
            IpAddr::V4(ip) => {
                IfAddr::V4(Ifv4Addr { ip, netmask: netmask4, prefixlen, broadcast: None })
            }
            IpAddr::V6(ip) => {
                IfAddr::V6(Ifv6Addr { ip, netmask: netmask6, prefixlen, broadcast: None })
            }
        };
        Interface {
            name: format!("if{index}"),
            addr,
            index: Some(index),
            oper_status: IfOperStatus::Up,
            is_p2p: false,
            #[cfg(windows)]
            adapter_name: String::new(),
        }
    }

    #[test]
    fn a_network_is_told_by_its_first_bits() {
        let ip = |text: &str| text.parse().unwrap();
        let of = |text, prefix, other: &str| Subnet::new(ip(text), prefix).contains(ip(other));
        assert!(of("10.1.2.3", 16, "10.1.255.255") && !of("10.1.2.3", 16, "10.2.2.3"));
        assert!(of("10.1.2.3", 32, "10.1.2.3") && !of("10.1.2.3", 32, "10.1.2.2"));
        assert!(of("128.0.0.0", 1, "255.0.0.0") && !of("128.0.0.0", 1, "127.0.0.0"));
        assert!(of("fd00::1", 64, "fd00::ffff:1") && !of("fd00::1", 64, "fd00:0:0:1::1"));
        assert!(of("fd00::1", 128, "fd00::1") && !of("fd00::1", 128, "10.0.0.1"));
        assert!(of("10.1.2.3", 0, "10.1.2.3") && !of("10.1.2.3", 0, "8.8.8.8"));
    }
}
