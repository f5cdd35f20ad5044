//! UDP trackers: announces and scrapes (BEP 15, 41).
//!
//! One socket for each address family serves all announces. There is no task that reads it: each announce that
//! waits reads what has arrived and passes to the others what is theirs, so nothing outlives the announces. An
//! answer counts only if it comes from the endpoint that was asked and repeats the transaction id.
//!
//! With a proxy that carries datagrams they go by the association with it ([`Carrier`]): that of the session, or one that is made for
//! the client. A host's name is the proxy's to look up. So the first request goes to the name, whoever answers with its number is
//! the tracker, and all else goes to that address. If the proxy's answer has the name in place of an address, so be it.
//!
//! **Repeats.** BEP 15 waits 15 s before the first repeat. We wait 3, 6, 12, 24, ... s instead, inside the time the
//! announce is given: one lost packet should not cost a user a quarter of a minute, and doubling keeps the load on
//! a tracker that is down as low. A connection id is used for a minute, and forgotten when an announce with it
//! gets no answer or a refusal, because the tracker may have been restarted. With each repeat the next address of
//! the host is tried, if it has several.
//!
//! Local addresses are allowed: all that a stranger can make us send is a connect request of 16 fixed bytes.

use super::answers::Answers;
use super::error::TrackerFault;
use crate::network::{Binding, Source};
use crate::relay::Alone;
use crate::udp::{self, Carrier};
use reqwest::Url;
use samara_wire::id::WireHash;
use samara_wire::proxy::Target;
use samara_wire::tracker::udp::{ConnectionId, MAX_DATAGRAM, Request, Response, TransactionId};
use samara_wire::tracker::{AnnounceRequest, AnnounceResponse, ScrapeStats};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;

/// How long a connection id is used (BEP 15).
const CONNECTION_LIFE: Duration = Duration::from_secs(60);

/// Connection ids remembered.
const MAX_CONNECTIONS: usize = 256;

/// Time before the first repeat; doubled for each further one, up to `MAX_WAIT`.
const FIRST_WAIT: Duration = Duration::from_secs(3);
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Addresses of one host that are tried.
const MAX_ADDRESSES: usize = 4;

#[derive(Debug)]
pub(super) struct Udp {
    way: Way,
    answers: Arc<Answers>,
    /// By whom was asked: who answered, with what, and when.
    connections: Mutex<HashMap<Target, (Connection, Instant)>>,
}

/// A tracker that has let us in.
#[derive(Clone, Debug)]
struct Connection {
    at: Target,
    id: ConnectionId,
}

/// How datagrams leave.
#[derive(Debug)]
enum Way {
    Straight(Straight),
    Relayed {
        carrier: Arc<Carrier>,
        /// Whom to make an association with, if nobody else does; when it is first needed.
        own: Option<(Binding, OnceLock<Option<Alone>>)>,
    },
}

/// Sockets of our own, made when first needed.
#[derive(Debug)]
struct Straight {
    binding: Binding,
    v4: OnceLock<UdpSocket>,
    v6: OnceLock<UdpSocket>,
}

impl Udp {
    /// By way of `carrier`, if there is one; if there is none and `binding` has a proxy, by way of an association of its own.
    pub(super) fn new(binding: &Binding, carrier: Option<Arc<Carrier>>) -> Self {
        let way = match (carrier, binding.proxy()) {
            (Some(carrier), _) => Way::Relayed { carrier, own: None },
            (None, Some(_)) => {
                let own = Some((binding.clone(), OnceLock::new()));
                Way::Relayed { carrier: Arc::default(), own }
            }
            (None, None) => {
                let (v4, v6) = (OnceLock::new(), OnceLock::new());
                Way::Straight(Straight { binding: binding.clone(), v4, v6 })
            }
        };
        let answers = match &way {
            Way::Straight(_) => Arc::default(),
            Way::Relayed { carrier, .. } => Arc::clone(&carrier.answers),
        };
        Self { way, answers, connections: Mutex::default() }
    }

    /// Announces to one of `hosts`, again and again until there is an answer. The caller bounds the time.
    pub(super) async fn announce(
        &self,
        hosts: &[Target],
        url: &Url,
        announce: &AnnounceRequest,
    ) -> Result<AnnounceResponse, TrackerFault> {
        let url_data = url_data(url);
        let request = |connection, transaction| Request::Announce {
            connection,
            transaction,
            announce: announce.clone(),
            url_data: url_data.clone(),
        };
        match self.ask(hosts, &request).await? {
            Response::Announce(answer) => Ok(answer),
            response => Err(refusal(response)),
        }
    }

    /// Scrapes at most [`MAX_SCRAPE`](samara_wire::tracker::udp::MAX_SCRAPE) torrents, in their order, in the same way.
    pub(super) async fn scrape(
        &self,
        hosts: &[Target],
        hashes: &[WireHash],
    ) -> Result<Vec<ScrapeStats>, TrackerFault> {
        let request = |connection, transaction| Request::Scrape {
            connection,
            transaction,
            hashes: hashes.to_vec(),
        };
        match self.ask(hosts, &request).await? {
            Response::Scrape(stats) => Ok(stats),
            response => Err(refusal(response)),
        }
    }

    /// Asks until there is an answer, at the next address with each repeat.
    async fn ask(
        &self,
        hosts: &[Target],
        request: &impl Fn(ConnectionId, TransactionId) -> Request,
    ) -> Result<Response, TrackerFault> {
        let hosts = &hosts[..hosts.len().min(MAX_ADDRESSES)];
        let mut wait = FIRST_WAIT;
        let mut unreachable_in_a_row = 0;
        for host in hosts.iter().cycle() {
            match tokio::time::timeout(wait, self.attempt(host, request)).await {
                // Such as an IPv6 address on a machine without IPv6; another address may do.
                Ok(Err(fault @ TrackerFault::Unreachable(_))) => {
                    unreachable_in_a_row += 1;
                    if unreachable_in_a_row == hosts.len() {
                        return Err(fault);
                    }
                }
                Ok(result) => return result,
                Err(_) => {
                    unreachable_in_a_row = 0;
                    self.connections().remove(host);
                    wait = (wait * 2).min(MAX_WAIT);
                }
            }
        }
        Err(TrackerFault::Lookup)
    }

    /// One connect, unless there was one lately, and one request. Waits for ever.
    async fn attempt(
        &self,
        host: &Target,
        request: &impl Fn(ConnectionId, TransactionId) -> Request,
    ) -> Result<Response, TrackerFault> {
        let cached = self.connection(host);
        let is_cached = cached.is_some();
        let Connection { at, id } = match cached {
            Some(connection) => connection,
            None => self.connect(host).await?,
        };
        let (_, response) = self.exchange(&at, |number| request(id, number)).await?;
        if matches!(response, Response::Error(_)) && is_cached {
            // Perhaps only the connection id is refused.
            self.connections().remove(host);
            let Connection { at, id } = self.connect(host).await?;
            return Ok(self.exchange(&at, |number| request(id, number)).await?.1);
        }
        Ok(response)
    }

    async fn connect(&self, host: &Target) -> Result<Connection, TrackerFault> {
        match self.exchange(host, |transaction| Request::Connect { transaction }).await? {
            (from, Response::Connect(id)) => {
                let connection = Connection { at: from, id };
                self.remember(host, connection.clone());
                Ok(connection)
            }
            (_, response) => Err(refusal(response)),
        }
    }

    fn connection(&self, host: &Target) -> Option<Connection> {
        let connections = self.connections();
        let (connection, since) = connections.get(host)?;
        (since.elapsed() < CONNECTION_LIFE).then(|| connection.clone())
    }

    fn remember(&self, host: &Target, connection: Connection) {
        let mut connections = self.connections();
        if connections.len() >= MAX_CONNECTIONS {
            connections.retain(|_, (_, since)| since.elapsed() < CONNECTION_LIFE);
        }
        if connections.len() < MAX_CONNECTIONS {
            connections.insert(host.clone(), (connection, Instant::now()));
        }
    }

    /// Sends one request and waits for its answer, for ever.
    async fn exchange(
        &self,
        to: &Target,
        request: impl FnOnce(TransactionId) -> Request,
    ) -> Result<(Target, Response), TrackerFault> {
        let mut waiting = self.answers.wait_for(to);
        let mut datagram = Vec::new();
        request(waiting.transaction()).encode(&mut datagram);
        let straight = match &self.way {
            Way::Straight(straight) => Some(straight.send(to, &datagram).await?),
            Way::Relayed { carrier, own } => {
                if let Some((binding, alone)) = own {
                    alone.get_or_init(|| Alone::begin(binding, carrier));
                }
                let socket = carrier.socket().await;
                let socket = socket.map_err(|why| TrackerFault::Proxy(why.to_string()))?;
                // It may have been shut since: then it is as if the datagram was lost.
                if let Err(error) = socket.send_by_relay(to, &datagram) {
                    tracing::debug!(%to, %error, "datagram not sent");
                }
                None
            }
        };
        let read = async {
            match straight {
                Some(socket) => self.read(socket).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            answer = &mut waiting.answer => {
                answer.map_err(|_| TrackerFault::Unreachable("the socket was closed".into()))
            }
            error = read => Err(unreachable_fault(error)),
        }
    }

    /// Reads datagrams and hands them to those who wait for them. Ends only with an error of the socket.
    async fn read(&self, socket: &UdpSocket) -> io::Error {
        let mut buffer = vec![0; MAX_DATAGRAM];
        loop {
            match socket.recv_from(&mut buffer).await {
                Ok((len, from)) => self.answers.take(&Target::Address(from), &buffer[..len]),
                // Some systems report an earlier datagram's fate here; it is another announce's.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                Err(error) => return error,
            }
        }
    }

    /// Number of requests that wait for an answer.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.answers.waiting()
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<Target, (Connection, Instant)>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Straight {
    /// Sends a datagram; gives the socket that the answer will come by.
    async fn send(&self, to: &Target, datagram: &[u8]) -> Result<&UdpSocket, TrackerFault> {
        // Names are looked up before.
        let Target::Address(to) = to else { return Err(TrackerFault::Lookup) };
        let socket = self.socket(*to)?;
        socket.send_to(datagram, to).await.map_err(unreachable_fault)?;
        Ok(socket)
    }

    /// From where to send, or `None` if the family is not to be used.
    fn source(&self, v4: bool) -> Option<Source> {
        let any: IpAddr =
            if v4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let source = self.binding.source_of(v4).ok()?;
        Some(source.cloned().unwrap_or_else(|| any.into()))
    }

    /// The socket of `to`'s family, made when first needed.
    fn socket(&self, to: SocketAddr) -> Result<&UdpSocket, TrackerFault> {
        let cell = if to.is_ipv4() { &self.v4 } else { &self.v6 };
        if let Some(socket) = cell.get() {
            return Ok(socket);
        }
        let source = self.source(to.is_ipv4()).ok_or(TrackerFault::Lookup)?;
        let socket = udp::bind(&source, 0).and_then(UdpSocket::from_std);
        let socket = socket.map_err(unreachable_fault)?;
        Ok(cell.get_or_init(|| socket))
    }
}

/// Path and query for BEP 41.
fn url_data(url: &Url) -> String {
    let path = url.path();
    url.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
}

fn refusal(response: Response) -> TrackerFault {
    match response {
        Response::Error(text) if text.is_empty() => {
            TrackerFault::Rejected("the tracker refused without a reason".into())
        }
        Response::Error(text) => TrackerFault::Rejected(text),
        _ => TrackerFault::Rejected("the tracker answered something else than was asked".into()),
    }
}

fn unreachable_fault(error: io::Error) -> TrackerFault {
    TrackerFault::Unreachable(error.to_string())
}
