//! Port mapping: a gateway is asked to let peers outside connect to us.
//!
//! PCP is tried first, then NAT-PMP, which is asked at the same door; beside them gateways are searched for by UPnP, and
//! asked if nothing comes of the others. TCP and UDP are mapped to the session's one port, at the same port outside if that can
//! be had. What came of it is told to everybody whom it concerns ([`Mapper::tell`]): if the gateway gave another
//! port, that is the one announced to trackers, in the DHT and to peers outside.
//!
//! | file | does |
//! | --- | --- |
//! | `plan` | when: at once, at half the lifetime, when the network changes |
//! | `place` | from where, and whom |
//! | `udp` | PCP and NAT-PMP |
//! | `igd`, `http` | UPnP |
//!
//! IPv6 has no port translation, but gateways that keep connections out: PCP opens them, where it is spoken.
//!
//! Mappings are taken back at the end of the session, which waits a second for that at most; what is left runs out within the hour.

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzed;
mod http;
mod igd;
mod place;
mod plan;
#[cfg(test)]
mod tests;
mod udp;

use crate::command::ShardCommand;
use crate::shard::ShardEnv;
use crate::shared::Shared;
use crate::tracker::{is_local, unguessable};
use igd::Control;
use place::Place;
use plan::{Plan, Step};
use samara_wire::portmap::igd::IgdError;
use samara_wire::portmap::pcp::Nonce;
use samara_wire::portmap::ssdp;
use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;
use udp::Line;

/// For so long mappings are asked for, in seconds.
const LIFETIME: u32 = 3600;

/// At the end: for an attempt that has met a gateway, and for taking back what was mapped.
const LAST_ATTEMPT: Duration = Duration::from_millis(300);
const RELEASE: Duration = Duration::from_millis(700);

/// How a port was mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MappingProtocol {
    /// Port Control Protocol (RFC 6887).
    Pcp,
    /// NAT Port Mapping Protocol (RFC 6886).
    NatPmp,
    /// UPnP Internet Gateway Device.
    Upnp,
}

impl fmt::Display for MappingProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pcp => "PCP",
            Self::NatPmp => "NAT-PMP",
            Self::Upnp => "UPnP",
        })
    }
}

/// A port that a gateway leads to us, for TCP and for UDP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortMapping {
    /// How it was asked for.
    pub protocol: MappingProtocol,
    /// The gateway.
    pub gateway: IpAddr,
    /// The gateway's address outside, if it has told.
    pub external_ip: Option<IpAddr>,
    /// The port outside.
    pub external_port: u16,
}

impl PortMapping {
    /// Whether the gateway's own address is a private one: it is itself behind a NAT, so that its port cannot be reached from the
    /// Internet unless that one leads it on.
    #[must_use]
    pub fn is_behind_another_nat(&self) -> bool {
        self.external_ip.is_some_and(is_local)
    }
}

/// How it stands with port mapping in one address family.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum PortMappingStatus {
    /// Not wanted, or there is no gateway to be asked.
    #[default]
    None,
    /// Gateways are being asked.
    Trying,
    /// A gateway leads a port to us.
    Mapped(PortMapping),
    /// No gateway does, for this reason. Tried again now and then, and when the network changes.
    Failed(String),
}

/// Why a gateway did not do it.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("no answer")]
    Silent,
    #[error("cannot be reached: {0}")]
    Unreachable(io::Error),
    #[error("another version is spoken")]
    Version,
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Igd(IgdError),
    #[error("an answer that makes no sense")]
    Nonsense,
}

/// A mapping, and how to keep it.
#[derive(Clone, Debug)]
struct Held {
    protocol: MappingProtocol,
    place: Place,
    external_ip: Option<IpAddr>,
    external_port: u16,
    lifetime: Duration,
    keeper: Keeper,
}

/// By what a mapping is known to the gateway.
#[derive(Clone, Debug)]
enum Keeper {
    /// For TCP and for UDP.
    Pcp([Nonce; 2]),
    NatPmp,
    Upnp(Control),
}

impl Keeper {
    const fn protocol(&self) -> MappingProtocol {
        match self {
            Self::Pcp(_) => MappingProtocol::Pcp,
            Self::NatPmp => MappingProtocol::NatPmp,
            Self::Upnp(_) => MappingProtocol::Upnp,
        }
    }
}

/// The mappers of a session, to be stopped at its end.
pub(crate) struct Mappers {
    stops: Vec<oneshot::Sender<()>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Mappers {
    /// Takes back what was mapped; ready when that is done, or was tried for a second.
    pub(crate) async fn stop(self) {
        for stop in self.stops {
            // Fails only if it has ended.
            let _ = stop.send(());
        }
        for task in self.tasks {
            // An error is a panic, reported when it happened.
            let _ = task.await;
        }
    }
}

/// Begins to map the session's port, if that is wanted.
pub(crate) fn start(env: &Rc<ShardEnv>) -> Option<Mappers> {
    if !is_wanted(&env.shared) {
        return None;
    }
    let mut mappers = Mappers { stops: Vec::new(), tasks: Vec::new() };
    for v4 in [true, false] {
        let (stop, stopped) = oneshot::channel();
        let mapper = Mapper::new(env, v4);
        mappers.stops.push(stop);
        mappers.tasks.push(tokio::task::spawn_local(mapper.run(stopped)));
    }
    Some(mappers)
}

/// The one switch: whether gateways may be asked at all.
fn is_wanted(shared: &Shared) -> bool {
    shared.config.port_mapping
}

/// Keeps the port mapped in one address family.
struct Mapper {
    env: Rc<ShardEnv>,
    v4: bool,
    place: Option<Place>,
    plan: Plan,
    held: Option<Held>,
    nonces: [Nonce; 2],
}

impl Mapper {
    fn new(env: &Rc<ShardEnv>, v4: bool) -> Self {
        let plan = Plan::new(env.now());
        let nonces = [nonce(), nonce()];
        Self { env: Rc::clone(env), v4, place: None, plan, held: None, nonces }
    }

    /// Keeps the port mapped until told to stop, then takes it back.
    async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let env = Rc::clone(&self.env);
        let mut network = env.shared.network.subscribe();
        loop {
            let situation = network.borrow_and_update().clone();
            self.look(Place::find(&situation, self.v4));
            let step = self.plan.step(env.now());
            let wait = match (step, &self.place) {
                (Step::Wait(until), Some(_)) => Some(until),
                (Step::Map | Step::Renew, Some(place)) => {
                    let place = place.clone();
                    if self.attempt(&place, step, &mut stop).await.is_err() {
                        break;
                    }
                    continue;
                }
                (_, None) => None,
            };
            let sleep = async {
                match wait {
                    Some(until) => tokio::time::sleep_until(env.shared.clock.to_tokio(until)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = &mut stop => break,
                // Fails only when the session is gone.
                Ok(()) = network.changed() => {}
                () = sleep => {}
            }
        }
        if let Some(held) = self.held.take() {
            // Late is as good as never: it runs out by itself.
            let _ = timeout(RELEASE, release(&held, env.shared.port())).await;
        }
    }

    /// Sees whether we are where we were.
    fn look(&mut self, place: Option<Place>) {
        if self.place != place {
            tracing::debug!(?place, "where ports may be mapped");
            self.place = place;
            self.held = None;
            self.plan.on_moved(self.env.now());
            self.tell(PortMappingStatus::None);
        }
    }

    /// Asks gateways. `Err` if told to stop meanwhile.
    async fn attempt(
        &mut self,
        place: &Place,
        step: Step,
        stop: &mut oneshot::Receiver<()>,
    ) -> Result<(), ()> {
        if self.held.is_none() {
            self.tell(PortMappingStatus::Trying);
        }
        let (port, nonces, heard) = (self.env.shared.port(), self.nonces, Cell::new(false));
        let held = self.held.clone().filter(|_| step == Step::Renew);
        let asking = async {
            match &held {
                Some(held) => renew(held, port, &heard).await,
                None => map(place, port, nonces, &heard).await,
            }
        };
        tokio::pin!(asking);
        let outcome = tokio::select! {
            outcome = &mut asking => outcome,
            _ = stop => {
                // What a gateway has begun to do for us is to be taken back.
                if heard.get() && let Ok(Ok(held)) = timeout(LAST_ATTEMPT, asking).await {
                    self.held = Some(held);
                }
                return Err(());
            }
        };
        self.on_outcome(outcome);
        Ok(())
    }

    fn on_outcome(&mut self, outcome: Result<Held, Trouble>) {
        let now = self.env.now();
        match outcome {
            Ok(held) => {
                self.plan.on_mapped(now, held.lifetime);
                let mapping = PortMapping {
                    protocol: held.protocol,
                    gateway: held.place.gateway.ip(),
                    external_ip: held.external_ip,
                    external_port: held.external_port,
                };
                self.held = Some(held);
                self.tell(PortMappingStatus::Mapped(mapping));
            }
            Err(trouble) => {
                tracing::debug!(%trouble, v4 = self.v4, "no port was mapped");
                if self.plan.on_failed(now) || self.held.is_none() {
                    self.held = None;
                    self.tell(PortMappingStatus::Failed(trouble.to_string()));
                }
            }
        }
    }

    /// Tells everybody how it stands, if it is news: the log, who watches the session, torrents, and what finds peers.
    fn tell(&self, status: PortMappingStatus) {
        let shared = &self.env.shared;
        let family = usize::from(!self.v4);
        let is_news = shared.port_mapping.send_if_modified(|known| {
            let old = std::mem::replace(&mut known[family], status.clone());
            old != status
        });
        if !is_news {
            return;
        }
        say(shared.port(), self.v4, &status);
        let mapping = match status {
            PortMappingStatus::Mapped(mapping) => Some(mapping),
            PortMappingStatus::Trying => return,
            _ => None,
        };
        if self.v4 {
            // With IPv6 it is not translated.
            shared.set_outer_port(mapping.as_ref().map_or(shared.port(), |m| m.external_port));
        }
        let ip = mapping.and_then(|mapping| mapping.external_ip).filter(|ip| !is_local(*ip));
        shared.discovery.outside(ip);
        for shard in &shared.shards {
            // Fails only at the end.
            let _ = shard.send(ShardCommand::Outside(ip));
        }
    }
}

/// One line for the user.
fn say(port: u16, v4: bool, status: &PortMappingStatus) {
    match status {
        PortMappingStatus::Mapped(mapping) => {
            let PortMapping { protocol, gateway, external_port: outer, .. } = mapping;
            match mapping.external_ip {
                Some(ip) if mapping.is_behind_another_nat() => tracing::warn!(
                    "port {port} is mapped to {} by {protocol}, which is no address of the Internet: \
                     the gateway {gateway} is behind another NAT, and peers outside cannot connect to us",
                    SocketAddr::new(ip, *outer)
                ),
                Some(ip) => tracing::info!(
                    "port {port} is reachable from outside as {} by {protocol}",
                    SocketAddr::new(ip, *outer)
                ),
                None => tracing::info!(
                    "port {port} is reachable from outside as port {outer} of {gateway} by {protocol}"
                ),
            }
        }
        // Where IPv6 is not kept out there is nobody to ask, and nothing is wrong.
        PortMappingStatus::Failed(why) if v4 => tracing::info!(
            "no gateway maps port {port} ({why}); if it is not forwarded by hand, peers outside cannot connect to us"
        ),
        _ => {}
    }
}

/// Has a gateway map `port`: by PCP or NAT-PMP, else by UPnP, which is searched for meanwhile.
async fn map(
    place: &Place,
    port: u16,
    nonces: [Nonce; 2],
    heard: &Cell<bool>,
) -> Result<Held, Trouble> {
    let direct = async {
        let line = Line::open(place, heard).map_err(Trouble::Unreachable)?;
        line.map(port, nonces).await
    };
    if place.source.ip.is_ipv6() {
        return direct.await;
    }
    let search = igd::search(place, ssdp::GROUP);
    tokio::pin!(direct, search);
    let (direct, found) = tokio::select! {
        direct = &mut direct => match direct {
            Ok(held) => return Ok(held),
            Err(trouble) => (Err(trouble), search.await),
        },
        found = &mut search => (direct.await, found),
    };
    let refused = match direct {
        Ok(held) => return Ok(held),
        Err(trouble) => trouble,
    };
    match found {
        Ok(urls) => igd::map(place, &urls, port, heard).await,
        // What was said of the first is more telling than that there is no second.
        Err(_) => Err(refused),
    }
}

/// Renews a mapping.
async fn renew(held: &Held, port: u16, heard: &Cell<bool>) -> Result<Held, Trouble> {
    match &held.keeper {
        Keeper::Upnp(control) => {
            heard.set(true);
            igd::renew(&held.place, control, port, held.external_port).await
        }
        keeper => {
            let line = Line::open(&held.place, heard).map_err(Trouble::Unreachable)?;
            line.map_as(keeper, port, held.external_port).await
        }
    }
}

/// Takes a mapping back.
async fn release(held: &Held, port: u16) {
    match &held.keeper {
        Keeper::Upnp(control) => igd::release(&held.place, control, held.external_port).await,
        keeper => match Line::open(&held.place, &Cell::new(false)) {
            Ok(line) => line.release(keeper, port).await,
            Err(error) => tracing::debug!(%error, "a port mapping was not removed"),
        },
    }
}

fn nonce() -> Nonce {
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&unguessable().to_ne_bytes());
    nonce[8..].copy_from_slice(&unguessable().to_ne_bytes()[..4]);
    nonce
}
