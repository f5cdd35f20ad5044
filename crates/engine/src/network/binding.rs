//! What the user's choice means as things stand: the addresses and devices that sockets are opened at.

use super::proxy::Proxy;
use super::{Bind, Egress};
use if_addrs::{IfOperStatus, Interface};
use socket2::{Domain, Protocol, Socket, Type};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Once};
use tokio::net::{TcpSocket, TcpStream};

/// Addresses of one interface that are used.
const MAX_ADDRESSES: usize = 16;

/// Where a socket is opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Source {
    pub(crate) ip: IpAddr,
    /// The interface that it must not leave.
    pub(crate) device: Option<Device>,
}

/// An interface of this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Device {
    pub(crate) name: Arc<str>,
    /// Its number, another one each time it comes.
    pub(crate) index: u32,
}

impl From<IpAddr> for Source {
    fn from(ip: IpAddr) -> Self {
        Self { ip, device: None }
    }
}

impl Source {
    /// Binds `socket` to the device, if there is one, and to the address with `port`.
    pub(crate) fn bind(&self, socket: &Socket, port: u16) -> io::Result<()> {
        if let Some(device) = &self.device {
            device.bind(socket, self.ip.is_ipv4())?;
        }
        socket.bind(&SocketAddr::new(self.ip, port).into())
    }
}

impl Device {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn bind(&self, socket: &Socket, _v4: bool) -> io::Result<()> {
        socket.bind_device(Some(self.name.as_bytes()))
    }

    #[cfg(target_vendor = "apple")]
    fn bind(&self, socket: &Socket, v4: bool) -> io::Result<()> {
        let index = std::num::NonZeroU32::new(self.index);
        match v4 {
            true => socket.bind_device_by_index_v4(index),
            false => socket.bind_device_by_index_v6(index),
        }
    }

    /// The address has to do.
    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    fn bind(&self, _socket: &Socket, _v4: bool) -> io::Result<()> {
        Ok(())
    }

    /// Whether the system lets us bind to devices. Linux before 5.7 wants a privilege for it.
    fn is_allowed(&self) -> bool {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP));
        match socket.and_then(|socket| self.bind(&socket, true)) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                static SAID: Once = Once::new();
                let name = &self.name;
                SAID.call_once(|| {
                    tracing::warn!(
                        "the system does not let us bind to {name}, only to its addresses"
                    );
                });
                false
            }
            // Any other trouble shows again where it matters, and there it fails closed.
            _ => true,
        }
    }
}

/// Opens a TCP connection to `addr`, from `from` if given.
pub(crate) async fn connect_tcp(addr: SocketAddr, from: Option<&Source>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if let Some(source) = from {
        source.bind(&socket, 0)?;
    }
    TcpSocket::from_std_stream(socket.into()).connect(addr).await
}

/// From where sockets may send, and to whom.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Binding {
    chosen: Vec<Bind>,
    sources: Vec<Source>,
    /// If there is one, all sockets lead to it.
    proxy: Option<Arc<Proxy>>,
}

impl Binding {
    /// What `egress` means now.
    pub(crate) fn now(egress: &Egress) -> Self {
        let proxy = egress.proxy.clone().map(|url| Arc::new(Proxy::new(url, egress.proxy_udp)));
        Self::at(&egress.bind, proxy)
    }

    /// What `chosen` means now, by way of `proxy`.
    pub(super) fn at(chosen: &[Bind], proxy: Option<Arc<Proxy>>) -> Self {
        let names_one = chosen.iter().any(|bind| matches!(bind, Bind::Interface(_)));
        // Who cannot see the interfaces finds none of them, and nothing is sent.
        let interfaces = names_one.then(|| if_addrs::get_if_addrs().unwrap_or_default());
        Self { proxy, ..Self::of(chosen, &interfaces.unwrap_or_default()) }
    }

    /// What `chosen` means where these are the interfaces.
    pub(crate) fn of(chosen: &[Bind], interfaces: &[Interface]) -> Self {
        let mut sources: Vec<Source> = Vec::new();
        for bind in chosen {
            let found = match bind {
                Bind::Address(ip) => vec![Source::from(*ip)],
                Bind::Interface(name) => at_interface(interfaces, name),
            };
            for source in found {
                if sources.iter().all(|known| known.ip != source.ip) {
                    sources.push(source);
                }
            }
        }
        Self { chosen: chosen.to_vec(), sources, proxy: None }
    }

    /// The same by way of `proxy`.
    pub(super) fn by(self, proxy: Option<Arc<Proxy>>) -> Self {
        Self { proxy, ..self }
    }

    /// What everything goes through, if anything. Then there are no [`Binding::sources`] for others.
    pub(crate) fn proxy(&self) -> Option<&Arc<Proxy>> {
        self.proxy.as_ref()
    }

    /// Whether sockets may not be opened just anywhere.
    pub(crate) fn is_restricted(&self) -> bool {
        !self.chosen.is_empty() || self.proxy.is_some()
    }

    /// Whether nothing can be sent at all: what the user chose is not there.
    pub(crate) fn is_away(&self) -> bool {
        !self.chosen.is_empty() && self.sources.is_empty()
    }

    /// Where sockets may be opened. Empty: anywhere, unless [`Binding::is_restricted`].
    pub(crate) fn sources(&self) -> &[Source] {
        if self.proxy.is_some() { &[] } else { &self.sources }
    }

    /// Where sockets to the proxy may be opened. Empty: anywhere, unless [`Binding::is_away`].
    pub(crate) fn sources_to_proxy(&self) -> &[Source] {
        &self.sources
    }

    /// From where to send to `to`; `None`: as the system likes. `Err` if no address of that family may be used: then nothing must
    /// go out.
    pub(crate) fn source_for(&self, to: SocketAddr) -> Result<Option<&Source>, NoAddress> {
        self.source_of(to.is_ipv4())
    }

    /// The same by family.
    pub(crate) fn source_of(&self, v4: bool) -> Result<Option<&Source>, NoAddress> {
        if self.proxy.is_some() { Err(NoAddress::Proxy) } else { self.source_to_proxy(v4) }
    }

    /// From where to send to the proxy.
    pub(super) fn source_to_proxy(&self, v4: bool) -> Result<Option<&Source>, NoAddress> {
        if self.chosen.is_empty() {
            return Ok(None);
        }
        let same = self.sources.iter().find(|source| source.ip.is_ipv4() == v4);
        same.map(Some).ok_or_else(|| NoAddress::Away(self.to_string()))
    }

    /// Opens a stream to `addr`: straight, or through the proxy. The caller bounds the time.
    pub(crate) async fn connect(&self, addr: SocketAddr) -> io::Result<TcpStream> {
        match &self.proxy {
            Some(proxy) => proxy.connect(addr.into(), self).await.map_err(io::Error::other),
            None => connect_tcp(addr, self.source_for(addr)?).await,
        }
    }

    /// Whether sockets of this family may be opened.
    pub(crate) fn has_family(&self, v4: bool) -> bool {
        self.source_of(v4).is_ok()
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, bind) in self.chosen.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{bind}")?;
        }
        Ok(())
    }
}

/// Nothing may be sent in that way.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum NoAddress {
    /// No address of that family may be used.
    #[error("no address to send from: {0} is away, or has none of that family")]
    Away(String),
    /// It would pass beside the proxy.
    #[error("nothing is sent beside the proxy")]
    Proxy,
}

impl From<NoAddress> for io::Error {
    fn from(error: NoAddress) -> Self {
        Self::new(io::ErrorKind::AddrNotAvailable, error)
    }
}

/// What the interface called `name` has, if it is up. Addresses that mean something on the link alone are no use.
fn at_interface(interfaces: &[Interface], name: &str) -> Vec<Source> {
    let usable = |i: &&Interface| {
        let is_link_local = matches!(i.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local());
        i.name == name && i.oper_status == IfOperStatus::Up && !is_link_local
    };
    let found: Vec<_> = interfaces.iter().filter(usable).take(MAX_ADDRESSES).collect();
    let device = found.first().and_then(|i| Some(Device { name: name.into(), index: i.index? }));
    let device = device.filter(Device::is_allowed);
    found.into_iter().map(|i| Source { ip: i.ip(), device: device.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::tests::interface;

    fn source(binding: &Binding, to: &str) -> Result<Option<IpAddr>, NoAddress> {
        binding.source_for(to.parse().unwrap()).map(|source| source.map(|source| source.ip))
    }

    #[test]
    fn without_a_choice_the_system_chooses() {
        let free = Binding::default();
        assert!(!free.is_restricted() && !free.is_away());
        assert_eq!(source(&free, "192.0.2.1:9"), Ok(None));
    }

    #[test]
    fn an_address_serves_its_family_alone() {
        let ip: IpAddr = "127.0.0.1".parse().unwrap();
        let binding = Binding::of(&[ip.into()], &[]);
        assert_eq!(source(&binding, "192.0.2.1:9"), Ok(Some(ip)));
        assert!(source(&binding, "[2001:db8::1]:9").is_err());
        assert!(binding.has_family(true) && !binding.has_family(false));
    }

    #[test]
    fn an_interface_is_what_it_has_and_nothing_without() {
        let chosen = [Bind::Interface("if4".to_owned())];
        let mut down = interface(4, "10.8.0.2", 24);
        down.oper_status = IfOperStatus::Down;
        let others = [interface(2, "192.168.1.2", 24), interface(4, "fe80::1", 64), down];
        let away = Binding::of(&chosen, &others);
        assert!(away.is_away() && away.is_restricted() && !away.has_family(true));
        let said = source(&away, "192.0.2.1:9").unwrap_err().to_string();
        assert_eq!(said, "no address to send from: if4 is away, or has none of that family");
        let there = [
            interface(2, "192.168.1.2", 24),
            interface(4, "10.8.0.2", 24),
            interface(4, "2001:db8::2", 64),
        ];
        let back = Binding::of(&chosen, &there);
        assert!(!back.is_away());
        assert_eq!(source(&back, "192.0.2.1:9"), Ok(Some("10.8.0.2".parse().unwrap())));
        assert_eq!(source(&back, "[2001:db8::9]:9"), Ok(Some("2001:db8::2".parse().unwrap())));
        let device = back.sources()[0].device.as_ref().unwrap();
        assert_eq!((&*device.name, device.index), ("if4", 4));
    }

    #[test]
    fn with_a_proxy_there_is_no_other_way() {
        let egress = Egress {
            bind: vec!["127.0.0.1".parse().unwrap()],
            proxy: Some("socks5://127.0.0.1:9".parse().unwrap()),
            proxy_udp: true,
        };
        let binding = Binding::now(&egress);
        assert!(binding.is_restricted() && !binding.is_away() && binding.sources().is_empty());
        assert_eq!(source(&binding, "192.0.2.1:9"), Err(NoAddress::Proxy));
        assert!(!binding.has_family(true) && !binding.has_family(false));
        assert!(binding.source_to_proxy(true).unwrap().is_some());
        assert!(binding.source_to_proxy(false).is_err());
    }

    #[test]
    fn an_address_named_twice_counts_once() {
        let ip: IpAddr = "10.8.0.2".parse().unwrap();
        let chosen = [ip.into(), Bind::Interface("if4".to_owned()), ip.into()];
        assert_eq!(Binding::of(&chosen, &[interface(4, "10.8.0.2", 24)]).sources().len(), 1);
        assert_eq!(Binding::of(&chosen, &[]).to_string(), "10.8.0.2, if4, 10.8.0.2");
    }
}
