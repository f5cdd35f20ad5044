//! UDP trackers: announces and scrapes (BEP 15, 41).
//!
//! One socket for each address family serves all announces. There is no task that reads it: each announce that
//! waits reads what has arrived and passes to the others what is theirs, so nothing outlives the announces. An
//! answer counts only if it comes from the endpoint that was asked and repeats the transaction id.
//!
//! **Repeats.** BEP 15 waits 15 s before the first repeat. We wait 3, 6, 12, 24, ... s instead, inside the time the
//! announce is given: one lost packet should not cost a user a quarter of a minute, and doubling keeps the load on
//! a tracker that is down as low. A connection id is used for a minute, and forgotten when an announce with it
//! gets no answer or a refusal, because the tracker may have been restarted. With each repeat the next address of
//! the host is tried, if it has several.
//!
//! Local addresses are allowed: all that a stranger can make us send is a connect request of 16 fixed bytes.

use super::error::TrackerFault;
use crate::network::{Binding, Source};
use crate::udp;
use reqwest::Url;
use samara_wire::id::WireHash;
use samara_wire::tracker::udp::{
    ConnectionId, Family, MAX_DATAGRAM, Request, Response, TransactionId,
};
use samara_wire::tracker::{AnnounceRequest, AnnounceResponse, ScrapeStats};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::sync::oneshot;

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
    binding: Binding,
    v4: OnceLock<UdpSocket>,
    v6: OnceLock<UdpSocket>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<(SocketAddr, TransactionId), oneshot::Sender<Response>>,
    connections: HashMap<SocketAddr, (ConnectionId, Instant)>,
}

impl Udp {
    pub(super) fn new(binding: &Binding) -> Self {
        let (v4, v6) = (OnceLock::new(), OnceLock::new());
        Self { binding: binding.clone(), v4, v6, state: Mutex::default() }
    }

    /// Announces to one of `addresses`, again and again until there is an answer. The caller bounds the time.
    pub(super) async fn announce(
        &self,
        addresses: &[SocketAddr],
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
        match self.ask(addresses, &request).await? {
            Response::Announce(answer) => Ok(answer),
            response => Err(refusal(response)),
        }
    }

    /// Scrapes at most [`MAX_SCRAPE`](samara_wire::tracker::udp::MAX_SCRAPE) torrents, in their order, in the same way.
    pub(super) async fn scrape(
        &self,
        addresses: &[SocketAddr],
        hashes: &[WireHash],
    ) -> Result<Vec<ScrapeStats>, TrackerFault> {
        let request = |connection, transaction| Request::Scrape {
            connection,
            transaction,
            hashes: hashes.to_vec(),
        };
        match self.ask(addresses, &request).await? {
            Response::Scrape(stats) => Ok(stats),
            response => Err(refusal(response)),
        }
    }

    /// Asks until there is an answer, at the next address with each repeat.
    async fn ask(
        &self,
        addresses: &[SocketAddr],
        request: &impl Fn(ConnectionId, TransactionId) -> Request,
    ) -> Result<Response, TrackerFault> {
        let addresses = &addresses[..addresses.len().min(MAX_ADDRESSES)];
        let mut wait = FIRST_WAIT;
        let mut unreachable_in_a_row = 0;
        for addr in addresses.iter().cycle() {
            match tokio::time::timeout(wait, self.attempt(*addr, request)).await {
                // Such as an IPv6 address on a machine without IPv6; another address may do.
                Ok(Err(fault @ TrackerFault::Unreachable(_))) => {
                    unreachable_in_a_row += 1;
                    if unreachable_in_a_row == addresses.len() {
                        return Err(fault);
                    }
                }
                Ok(result) => return result,
                Err(_) => {
                    unreachable_in_a_row = 0;
                    self.lock().connections.remove(addr);
                    wait = (wait * 2).min(MAX_WAIT);
                }
            }
        }
        Err(TrackerFault::Lookup)
    }

    /// One connect, unless there was one lately, and one request. Waits for ever.
    async fn attempt(
        &self,
        addr: SocketAddr,
        request: &impl Fn(ConnectionId, TransactionId) -> Request,
    ) -> Result<Response, TrackerFault> {
        let cached = self.connection(addr);
        let connection = match cached {
            Some(connection) => connection,
            None => self.connect(addr).await?,
        };
        let response = self.exchange(addr, |id| request(connection, id)).await?;
        if matches!(response, Response::Error(_)) && cached.is_some() {
            // Perhaps only the connection id is refused.
            self.lock().connections.remove(&addr);
            let connection = self.connect(addr).await?;
            return self.exchange(addr, |id| request(connection, id)).await;
        }
        Ok(response)
    }

    async fn connect(&self, addr: SocketAddr) -> Result<ConnectionId, TrackerFault> {
        match self.exchange(addr, |transaction| Request::Connect { transaction }).await? {
            Response::Connect(connection) => {
                self.remember(addr, connection);
                Ok(connection)
            }
            response => Err(refusal(response)),
        }
    }

    fn connection(&self, addr: SocketAddr) -> Option<ConnectionId> {
        let state = self.lock();
        let (connection, since) = state.connections.get(&addr)?;
        (since.elapsed() < CONNECTION_LIFE).then_some(*connection)
    }

    fn remember(&self, addr: SocketAddr, connection: ConnectionId) {
        let mut state = self.lock();
        if state.connections.len() >= MAX_CONNECTIONS {
            state.connections.retain(|_, (_, since)| since.elapsed() < CONNECTION_LIFE);
        }
        if state.connections.len() < MAX_CONNECTIONS {
            state.connections.insert(addr, (connection, Instant::now()));
        }
    }

    /// Sends one request and waits for its answer, for ever.
    async fn exchange(
        &self,
        addr: SocketAddr,
        request: impl FnOnce(TransactionId) -> Request,
    ) -> Result<Response, TrackerFault> {
        let socket = self.socket(addr)?;
        let (mut waiting, mut answer) = self.wait_for(addr);
        let mut datagram = Vec::new();
        request(waiting.key.1).encode(&mut datagram);
        socket.send_to(&datagram, addr).await.map_err(unreachable_fault)?;
        tokio::select! {
            answer = &mut answer => {
                waiting.answered = answer.is_ok();
                answer.map_err(|_| TrackerFault::Unreachable("the socket was closed".into()))
            }
            error = self.read(socket) => Err(unreachable_fault(error)),
        }
    }

    /// Reads datagrams and hands them to those who wait for them. Ends only with an error of the socket.
    async fn read(&self, socket: &UdpSocket) -> io::Error {
        let mut buffer = vec![0; MAX_DATAGRAM];
        loop {
            let (len, from) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                // Some systems report an earlier datagram's fate here; it is another announce's.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => continue,
                Err(error) => return error,
            };
            let family = if from.is_ipv4() { Family::V4 } else { Family::V6 };
            let Ok((transaction, response)) = Response::parse(&buffer[..len], family) else {
                continue;
            };
            let waiting = self.lock().waiting.remove(&(without_scope(from), transaction));
            if let Some(waiting) = waiting {
                // Its announce may have been given up meanwhile.
                let _ = waiting.send(response);
            }
        }
    }

    fn wait_for(&self, addr: SocketAddr) -> (Waiting<'_>, oneshot::Receiver<Response>) {
        let (sender, answer) = oneshot::channel();
        let mut state = self.lock();
        loop {
            let [a, b, c, d, ..] = super::unguessable().to_ne_bytes();
            let key = (without_scope(addr), TransactionId(u32::from_ne_bytes([a, b, c, d])));
            if let Entry::Vacant(place) = state.waiting.entry(key) {
                place.insert(sender);
                return (Waiting { udp: self, key, answered: false }, answer);
            }
        }
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

    /// Number of requests that wait for an answer.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among those who wait for an answer, given up when dropped.
struct Waiting<'a> {
    udp: &'a Udp,
    key: (SocketAddr, TransactionId),
    answered: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.udp.lock().waiting.remove(&self.key);
        }
    }
}

/// The endpoint without the fields of IPv6 that are not part of its identity.
fn without_scope(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip(), addr.port())
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
