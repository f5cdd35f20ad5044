//! An association with a SOCKS5 proxy (RFC 1928, `UDP ASSOCIATE`): a relay for datagrams, for as long as a connection to the
//! proxy stands.
//!
//! **Where datagrams go.** To the host that the connection to the proxy reached, and to the port of it that the proxy names; no other
//! address is believed
//! ([`samara_wire::proxy::Bound::relay`]). The socket is connected there, so the system sends nothing elsewhere and gives us nothing from
//! elsewhere, and it is bound as all sockets to the proxy are.
//!
//! **Where we send from** is not told to the proxy: behind a NAT we do not know it.

use super::binding::Binding;
use super::proxy::{Proxy, ProxyError};
use samara_wire::proxy::{Command, Target};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// The connection says nothing for hours. A proxy that is gone without a word is noticed after some of these.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Association {
    /// Its end is the end of the relay.
    control: TcpStream,
    /// Connected to the relay.
    datagrams: UdpSocket,
}

impl Proxy {
    /// Asks for a relay, from where `binding` allows it. The caller bounds the time.
    pub(crate) async fn associate(&self, binding: &Binding) -> Result<Association, ProxyError> {
        let associated = self.ask_for_relay(binding).await;
        self.tell(associated.as_ref().err());
        associated
    }

    async fn ask_for_relay(&self, binding: &Binding) -> Result<Association, ProxyError> {
        let mut control = self.reached(binding).await?;
        let proxy = control.peer_addr().map_err(|error| self.lost(error))?;
        let any: IpAddr = if proxy.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        let ours = Target::from(SocketAddr::new(any, 0));
        let bound = self.negotiate(&mut control, Command::UdpAssociate, ours).await?;
        let relay =
            bound.relay(proxy).ok_or_else(|| ProxyError::NoRelay(self.url().to_string()))?;
        if bound.names_another(proxy) {
            tracing::debug!(named = %bound.at, %relay, "the proxy names another host for datagrams, which is not believed");
        }
        let failed = |error| ProxyError::Unreachable(self.url().to_string(), error);
        SockRef::from(&control)
            .set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE))
            .map_err(failed)?;
        let datagrams = connected(relay, binding).map_err(failed)?;
        Ok(Association { control, datagrams })
    }
}

/// A socket for datagrams to `relay` alone.
fn connected(relay: SocketAddr, binding: &Binding) -> io::Result<UdpSocket> {
    let source = binding.source_to_proxy(relay.is_ipv4())?;
    let socket = Socket::new(Domain::for_address(relay), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if let Some(source) = source {
        source.bind(&socket, 0)?;
    }
    socket.connect(&relay.into())?;
    Ok(socket.into())
}

impl Association {
    /// The socket, and what tells the end.
    pub(crate) fn into_parts(self) -> (UdpSocket, Control) {
        (self.datagrams, Control(self.control))
    }
}

/// The connection to the proxy that an association stands by.
#[derive(Debug)]
pub(crate) struct Control(TcpStream);

impl Control {
    /// Waits for its end. What the proxy says on it meanwhile means nothing and is passed over.
    pub(crate) async fn ended(mut self) -> io::Error {
        let mut bytes = [0; 64];
        loop {
            match self.0.read(&mut bytes).await {
                Ok(0) => return io::ErrorKind::UnexpectedEof.into(),
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => return error,
            }
        }
    }
}
