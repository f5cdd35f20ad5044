//! PCP and NAT-PMP: one question at a time to one gateway, over a socket that hears nobody else.

use super::place::Place;
use super::{Held, Keeper, Trouble};
use crate::udp;
use samara_wire::portmap::Protocol;
use samara_wire::portmap::natpmp::{Answer, Request};
use samara_wire::portmap::pcp::{self, MapAnswer, MapRequest, Nonce, PcpError};
use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

/// How long an answer is waited for, before the question is repeated and at the end (RFC 6886, 3.1, cut short: a gateway on the local
/// network answers at once or not at all).
const WAITS: [Duration; 3] =
    [Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1)];

/// Attempts to have one port for both protocols.
const ATTEMPTS: usize = 3;

/// A way to one gateway.
pub(super) struct Line<'a> {
    socket: UdpSocket,
    place: &'a Place,
    /// The gateway has said something.
    heard: &'a Cell<bool>,
}

/// What one mapping came to.
struct Given {
    ip: Option<IpAddr>,
    port: u16,
    lifetime: u32,
}

impl<'a> Line<'a> {
    pub(super) fn open(place: &'a Place, heard: &'a Cell<bool>) -> io::Result<Self> {
        let socket = udp::bind(&place.source, 0)?;
        socket.connect(place.gateway)?;
        Ok(Self { socket: UdpSocket::from_std(socket)?, place, heard })
    }

    /// Maps `port` by PCP or, where only that is spoken, by NAT-PMP.
    pub(super) async fn map(&self, port: u16, nonces: [Nonce; 2]) -> Result<Held, Trouble> {
        let keeper = Keeper::Pcp(nonces);
        match self.map_as(&keeper, port, port).await {
            // What knows NAT-PMP alone says so, or is silent.
            Err(Trouble::Version | Trouble::Silent) if self.place.source.ip.is_ipv4() => {
                self.map_as(&Keeper::NatPmp, port, port).await
            }
            result => result,
        }
    }

    /// Maps `port` for both protocols, at `outer` if that can be had.
    pub(super) async fn map_as(
        &self,
        keeper: &Keeper,
        port: u16,
        outer: u16,
    ) -> Result<Held, Trouble> {
        let known_ip = match keeper {
            Keeper::NatPmp => Some(self.external_address().await?),
            _ => None,
        };
        let mut wanted = outer;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let tcp = self.ask_for(keeper, Protocol::Tcp, port, wanted, super::LIFETIME).await?;
            let udp = self.ask_for(keeper, Protocol::Udp, port, tcp.port, super::LIFETIME).await?;
            if udp.port == tcp.port || attempt == ATTEMPTS {
                return Ok(Held {
                    protocol: keeper.protocol(),
                    place: self.place.clone(),
                    external_ip: tcp.ip.or(known_ip),
                    external_port: tcp.port,
                    lifetime: Duration::from_secs(tcp.lifetime.min(udp.lifetime).into()),
                    keeper: keeper.clone(),
                });
            }
            self.release(keeper, port).await;
            wanted = udp.port;
        }
    }

    /// Takes back what was mapped.
    pub(super) async fn release(&self, keeper: &Keeper, port: u16) {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            // What cannot be taken back runs out by itself.
            if let Err(trouble) = self.ask_for(keeper, protocol, port, 0, 0).await {
                tracing::debug!(%trouble, "a port mapping was not removed");
            }
        }
    }

    async fn ask_for(
        &self,
        keeper: &Keeper,
        protocol: Protocol,
        port: u16,
        wanted: u16,
        lifetime: u32,
    ) -> Result<Given, Trouble> {
        let given = match keeper {
            Keeper::Pcp(nonces) => {
                let nonce = nonces[usize::from(protocol == Protocol::Udp)];
                self.ask_pcp(nonce, protocol, port, wanted, lifetime).await?
            }
            _ => self.ask_nat_pmp(protocol, port, wanted, lifetime).await?,
        };
        // Nothing is given for a removal.
        match lifetime > 0 && (given.port == 0 || given.lifetime == 0) {
            true => Err(Trouble::Nonsense),
            false => Ok(given),
        }
    }

    async fn ask_pcp(
        &self,
        nonce: Nonce,
        protocol: Protocol,
        port: u16,
        wanted: u16,
        lifetime: u32,
    ) -> Result<Given, Trouble> {
        let client = self.place.source.ip;
        let any: IpAddr = match client {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let request = MapRequest {
            client,
            nonce,
            protocol,
            internal_port: port,
            external_port: wanted,
            external_ip: any,
            lifetime,
        };
        let read = |datagram: &[u8]| match MapAnswer::parse(datagram) {
            Ok(answer) => {
                let asked = (nonce, protocol, port);
                let is_ours = (answer.nonce, answer.protocol, answer.internal_port) == asked;
                is_ours.then_some(Ok(answer))
            }
            Err(PcpError::Version(_)) => Some(Err(Trouble::Version)),
            Err(PcpError::NotAnAnswer) => None,
        };
        let answer = self.exchange(&request.encode(), read).await??;
        answer.result.map_err(|refusal| Trouble::Refused(refusal.to_string()))?;
        let ip = Some(answer.external_ip).filter(|ip| !ip.is_unspecified());
        Ok(Given { ip, port: answer.external_port, lifetime: answer.lifetime })
    }

    async fn ask_nat_pmp(
        &self,
        protocol: Protocol,
        port: u16,
        wanted: u16,
        lifetime: u32,
    ) -> Result<Given, Trouble> {
        let request =
            Request::Map { protocol, internal_port: port, external_port: wanted, lifetime };
        let answer = self.exchange_nat_pmp(request, |answer| match answer {
            Answer::Map { protocol: of, internal_port, external_port, lifetime, .. } => {
                let given = Given { ip: None, port: external_port, lifetime };
                ((of, internal_port) == (protocol, port)).then_some(given)
            }
            _ => None,
        });
        answer.await
    }

    async fn external_address(&self) -> Result<IpAddr, Trouble> {
        let answer = self.exchange_nat_pmp(Request::ExternalAddress, |answer| match answer {
            Answer::ExternalAddress { ip, .. } => Some(ip.into()),
            _ => None,
        });
        answer.await
    }

    async fn exchange_nat_pmp<T>(
        &self,
        request: Request,
        read: impl Fn(Answer) -> Option<T>,
    ) -> Result<T, Trouble> {
        let mut out = [0; 12];
        let read = |datagram: &[u8]| match Answer::parse(datagram).ok()? {
            Answer::Refused(operation, refusal) => {
                let trouble = Trouble::Refused(refusal.to_string());
                (operation == request.operation()).then_some(Err(trouble))
            }
            answer => read(answer).map(Ok),
        };
        self.exchange(request.encode(&mut out), read).await?
    }

    /// Sends `request` until `read` makes something of an answer.
    async fn exchange<T>(
        &self,
        request: &[u8],
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<T, Trouble> {
        let mut buffer = [0; pcp::MAX_DATAGRAM + 1];
        for wait in WAITS {
            let until = Instant::now() + wait;
            self.socket.send(request).await.map_err(Trouble::Unreachable)?;
            while let Ok(received) = timeout_at(until, self.socket.recv(&mut buffer)).await {
                match received {
                    Ok(len) => {
                        if let Some(answer) = read(&buffer[..len]) {
                            self.heard.set(true);
                            return Ok(answer);
                        }
                    }
                    // Nobody listens there.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                        return Err(Trouble::Unreachable(error));
                    }
                    Err(error) => tracing::debug!(%error, "no datagram of the gateway received"),
                }
            }
        }
        Err(Trouble::Silent)
    }
}
