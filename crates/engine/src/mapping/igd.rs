//! UPnP: the search for gateways, and what is asked of them.
//!
//! Anybody on the network may answer a search. Only neighbours are heard, their descriptions are fetched from themselves or the
//! gateway alone ([`Place::trusts`]), and actions are sent to no other host than the description came from. What is mapped always
//! leads to our own address, so a liar can make us believe in a mapping that is none, and nothing else.

use super::place::Place;
use super::{Held, Keeper, MappingProtocol, Trouble, http};
use crate::udp;
use samara_wire::portmap::igd::{Action, Description, IgdError, ServiceKind};
use samara_wire::portmap::{GatewayUrl, Protocol, ssdp};
use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

/// Time in which devices are asked to answer, in seconds, and how long they are waited for after each of two searches.
const ANSWER_WITHIN: u8 = 1;
const WAITS: [Duration; 2] = [Duration::from_millis(1300), Duration::from_millis(1300)];

/// Hops that a search may take.
const HOPS: u32 = 2;

/// Gateways that are tried, and datagrams that are heard in one search.
const MAX_GATEWAYS: usize = 4;
const MAX_ANSWERS: usize = 64;

/// External ports that are tried.
const ATTEMPTS: usize = 5;

/// Ports that are nobody's by agreement.
const FIRST_FREE_PORT: u16 = 49152;

/// Where a gateway's actions are asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Control {
    url: GatewayUrl,
    kind: ServiceKind,
}

/// Searches for gateways: where their descriptions are, that of the one that leads to the world first.
pub(super) async fn search(place: &Place, group: SocketAddr) -> Result<Vec<GatewayUrl>, Trouble> {
    let socket = udp::bind(&place.source, 0).map_err(Trouble::Unreachable)?;
    let reference = socket2::SockRef::from(&socket);
    if let IpAddr::V4(ip) = place.source.ip {
        // Where it cannot be set, the system's choice has to do; answers are judged all the same.
        let _ = reference.set_multicast_if_v4(&ip);
        let _ = reference.set_multicast_ttl_v4(HOPS);
    }
    let socket = UdpSocket::from_std(socket).map_err(Trouble::Unreachable)?;
    let mut found: Vec<GatewayUrl> = Vec::new();
    let (mut buffer, mut heard) = ([0; ssdp::MAX_DATAGRAM + 1], 0);
    for wait in WAITS {
        let until = Instant::now() + wait;
        for target in ssdp::TARGETS {
            let search = ssdp::search(target, ANSWER_WITHIN);
            socket.send_to(search.as_bytes(), group).await.map_err(Trouble::Unreachable)?;
        }
        while let Ok(received) = timeout_at(until, socket.recv_from(&mut buffer)).await {
            let Ok((len, from)) = received else { continue };
            heard += 1;
            match ssdp::parse_answer(&buffer[..len]) {
                Ok(url) if !place.trusts(from.ip(), &url) => {
                    tracing::debug!(%from, %url, "a gateway that is not trusted");
                }
                Ok(url) if url.ip() == place.gateway.ip() => {
                    found.insert(0, url);
                    return Ok(found);
                }
                Ok(url) if found.len() < MAX_GATEWAYS && !found.contains(&url) => found.push(url),
                Ok(_) => {}
                Err(error) => tracing::trace!(%from, %error, "heard in vain"),
            }
            if heard == MAX_ANSWERS {
                return Ok(found);
            }
        }
        if !found.is_empty() {
            break;
        }
    }
    if found.is_empty() { Err(Trouble::Silent) } else { Ok(found) }
}

/// Maps `port` by the first of these gateways that does it.
pub(super) async fn map(
    place: &Place,
    urls: &[GatewayUrl],
    port: u16,
    heard: &Cell<bool>,
) -> Result<Held, Trouble> {
    let mut last = Trouble::Silent;
    for url in urls {
        heard.set(true);
        let result = async {
            let (control, external_ip) = connect(place, url).await?;
            add_somewhere(place, &control, port, port, external_ip).await
        };
        match result.await {
            Ok(held) => return Ok(held),
            Err(trouble) => {
                tracing::debug!(%url, %trouble, "this gateway maps no ports");
                last = trouble;
            }
        }
    }
    Err(last)
}

/// Renews what was mapped by `control`.
pub(super) async fn renew(
    place: &Place,
    control: &Control,
    port: u16,
    outer: u16,
) -> Result<Held, Trouble> {
    let external_ip = ask(place, control, Action::GetExternalAddress).await?;
    add_somewhere(place, control, port, outer, external_ip).await
}

/// Takes back what was mapped.
pub(super) async fn release(place: &Place, control: &Control, external_port: u16) {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let action = Action::DeletePortMapping { protocol, external_port };
        if let Err(trouble) = ask(place, control, action).await {
            tracing::debug!(%trouble, "a port mapping was not removed");
        }
    }
}

/// The service to ask, and the address outside: that of the first connection that is up, or else of the first that answers.
async fn connect(place: &Place, url: &GatewayUrl) -> Result<(Control, Option<IpAddr>), Trouble> {
    let reply = http::get(&place.source, url).await?;
    if !reply.success {
        return Err(Trouble::Nonsense);
    }
    let description = Description::parse(&reply.body)?;
    let base = description.base.and_then(|base| GatewayUrl::parse(&base).ok());
    let base = base.filter(|base| base.ip() == url.ip()).unwrap_or_else(|| url.clone());
    let (mut answered, mut last) = (None, Trouble::Nonsense);
    for service in description.services {
        let there = base.join(&service.control).ok().filter(|there| there.ip() == url.ip());
        let Some(there) = there else { continue };
        let control = Control { url: there, kind: service.kind };
        match ask(place, &control, Action::GetExternalAddress).await {
            Ok(Some(ip)) => return Ok((control, Some(ip))),
            Ok(None) => answered = answered.or(Some(control)),
            Err(trouble) => last = trouble,
        }
    }
    answered.map(|control| (control, None)).ok_or(last)
}

/// Maps `port` at `outer` or, where somebody else has that, at another one.
async fn add_somewhere(
    place: &Place,
    control: &Control,
    port: u16,
    outer: u16,
    external_ip: Option<IpAddr>,
) -> Result<Held, Trouble> {
    let mut wanted = outer;
    let mut lease = super::LIFETIME;
    for _ in 0..ATTEMPTS {
        match add_both(place, control, port, wanted, lease).await {
            Ok(()) => {
                return Ok(Held {
                    protocol: MappingProtocol::Upnp,
                    place: place.clone(),
                    external_ip,
                    external_port: wanted,
                    lifetime: Duration::from_secs(super::LIFETIME.into()),
                    keeper: Keeper::Upnp(control.clone()),
                });
            }
            Err(Trouble::Igd(error)) if error.wants_permanent() && lease != 0 => lease = 0,
            Err(Trouble::Igd(error)) if error.is_conflict() => wanted = random_port(),
            Err(trouble) => return Err(trouble),
        }
    }
    Err(Trouble::Refused("all ports that were tried are taken".to_owned()))
}

/// Maps both protocols, or neither.
async fn add_both(
    place: &Place,
    control: &Control,
    port: u16,
    external_port: u16,
    lease: u32,
) -> Result<(), Trouble> {
    let IpAddr::V4(ip) = place.source.ip else { return Err(Trouble::Nonsense) };
    let add = |protocol| Action::AddPortMapping {
        protocol,
        external_port,
        internal: (ip, port),
        lease,
        description: "samara",
    };
    ask(place, control, add(Protocol::Tcp)).await?;
    if let Err(trouble) = ask(place, control, add(Protocol::Udp)).await {
        let undo = Action::DeletePortMapping { protocol: Protocol::Tcp, external_port };
        if let Err(trouble) = ask(place, control, undo).await {
            tracing::debug!(%trouble, "a port mapping was not removed");
        }
        return Err(trouble);
    }
    Ok(())
}

async fn ask(
    place: &Place,
    control: &Control,
    action: Action<'_>,
) -> Result<Option<IpAddr>, Trouble> {
    let name = format!("{}#{}", control.kind.urn(), action.name());
    let body = action.body(control.kind);
    let reply = http::post(&place.source, &control.url, name, body).await?;
    Ok(action.parse_answer(reply.success, &reply.body)?)
}

fn random_port() -> u16 {
    let [a, b, ..] = crate::tracker::unguessable().to_ne_bytes();
    u16::from_ne_bytes([a, b]) | FIRST_FREE_PORT
}

impl From<IgdError> for Trouble {
    fn from(error: IgdError) -> Self {
        Self::Igd(error)
    }
}
