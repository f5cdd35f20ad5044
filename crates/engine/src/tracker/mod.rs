//! Announces made for the core, and scrapes: over HTTP(S) and over UDP.
//!
//! *When* to announce, to which tracker of which tier, and what to do with the answer is decided in the core.
//! Here is one announce, from its URL to its answer, with nothing a tracker does left unbounded:
//!
//! - it waits for its turn in the [`gate`], which is the session's: so many at once in all and at one host;
//! - from then on it ends within the time given, whatever the tracker does, and dropping the future leaves nothing
//!   behind;
//! - an answer has at most 1 MiB, before and after decompression ([`body`]);
//! - redirects are followed by hand, at most five, and never lead from the world into this machine or its
//!   network ([`http`]);
//! - a tracker with addresses of both families is told over both ([`ask`]).
//!
//! Messages name the tracker's host and never its whole URL, which may hold a passkey.

mod address;
mod answers;
mod ask;
mod body;
mod error;
mod families;
pub(crate) mod fetch;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzed;
pub(crate) mod gate;
mod http;
mod names;
mod resolver;
mod scrape;
#[cfg(test)]
mod tests;
mod udp;

pub(crate) use address::is_local;
pub(crate) use answers::Answers;
pub(crate) use ask::{Announced, Other};
pub use error::{TrackerError, TrackerFault};

use crate::network::{Binding, Egress};
use crate::udp::Carrier;
use families::{Avoided, BOTH, family_of};
use gate::{Gate, Outcome, Turn, Urgency};
use http::{Answer, Http, Origin};
use names::Names;
use reqwest::Url;
use samara_wire::id::WireHash;
use samara_wire::proxy::Target;
use samara_wire::tracker::http::{ResponseError, announce_url, parse_announce};
use samara_wire::tracker::udp::Family;
use samara_wire::tracker::{AnnounceEvent, AnnounceRequest, AnnounceResponse, ScrapeStats};
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use udp::Udp;

/// How long the answer over a second address family is waited for where one answer is all that can be given.
const MERGE_TIME: Duration = Duration::from_secs(1);

/// Makes announces. Cheap to clone; clones share connections. Belongs to the tokio runtime that first uses it.
#[derive(Clone, Debug)]
pub struct TrackerClient {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    binding: Arc<Binding>,
    http: Http,
    udp: Udp,
    names: Arc<Names>,
    avoided: Avoided,
    gate: Arc<Gate>,
    /// Told over IPv6 instead of the port in an announce, which may be one that a gateway translates.
    port_v6: Option<u16>,
}

impl TrackerClient {
    /// A client that sends as `egress` has it, from the addresses that there are now: an address family of which there is none is
    /// not used. With a proxy that resolves names and chooses families.
    #[must_use]
    pub fn new(egress: &Egress) -> Self {
        Self::with_gate(Arc::new(Binding::now(egress)), Gate::new(), None, None)
    }

    /// A client that shares its limits with others, and asks UDP trackers by way of `carrier` if there is a proxy that carries
    /// datagrams. `port_v6`: our port over IPv6, if announces may name another one.
    pub(crate) fn with_gate(
        binding: Arc<Binding>,
        gate: Arc<Gate>,
        carrier: Option<Arc<Carrier>>,
        port_v6: Option<u16>,
    ) -> Self {
        let names = Arc::<Names>::default();
        let (http, udp) = (Http::new(&binding, names.clone()), Udp::new(&binding, carrier));
        let avoided = Avoided::default();
        Self { inner: Arc::new(Inner { binding, http, udp, names, avoided, gate, port_v6 }) }
    }

    /// From where it sends.
    pub(crate) fn binding(&self) -> &Arc<Binding> {
        &self.inner.binding
    }

    /// Announces `request` to the tracker at `url` (`http`, `https` or `udp`) and gives its answer: with the peers it
    /// names over IPv4 and over IPv6 if it has addresses of both, unless one comes more than a second later.
    ///
    /// # Errors
    /// If the tracker refuses, answers nonsense, or does not answer within `timeout`, which counts from when the
    /// announce begins: others to the same host may have to end first. The text is for a user.
    pub async fn announce(
        &self,
        url: &str,
        request: &AnnounceRequest,
        timeout: Duration,
    ) -> Result<AnnounceResponse, TrackerError> {
        let turn = self.turn(url, urgency_of(request.event)).await?;
        Ok(self.announce_in_turn(turn, url, request, timeout).await?.merged().await)
    }

    /// Waits until an announce to `url` may begin.
    pub(crate) async fn turn(&self, url: &str, urgency: Urgency) -> Result<Turn, TrackerError> {
        let host = host_of(&parse_url(url)?);
        match self.inner.away() {
            Some(fault) => Err(TrackerError::new(host, fault)),
            None => Ok(self.inner.gate.enter(&host, urgency).await),
        }
    }

    /// Announces; gives the first answer, and what may bring the second.
    pub(crate) async fn announce_in_turn(
        &self,
        turn: Turn,
        url: &str,
        request: &AnnounceRequest,
        timeout: Duration,
    ) -> Result<Announced, TrackerError> {
        let target = parse_url(url)?;
        let host = host_of(&target);
        let announced = ask::announce(&self.inner, turn, (&target, &host), request, timeout).await;
        announced.map_err(|fault| TrackerError::new(host, fault))
    }

    /// Asks the tracker at `url` what it knows of each of `hashes`, in their order (BEP 48, 15); `None` where it says
    /// nothing of a torrent. Many torrents are asked for in one request.
    ///
    /// # Errors
    /// If the tracker cannot be scraped, refuses, answers nonsense, or does not answer within `timeout`.
    pub async fn scrape(
        &self,
        url: &str,
        hashes: &[WireHash],
        timeout: Duration,
    ) -> Result<Vec<Option<ScrapeStats>>, TrackerError> {
        let target = parse_url(url)?;
        let host = host_of(&target);
        if let Some(fault) = self.inner.away() {
            return Err(TrackerError::new(host, fault));
        }
        let turn = self.inner.gate.enter(&host, Urgency::Event).await;
        let scraped = scrape::scrape(&self.inner, &target, hashes);
        let result = match tokio::time::timeout(timeout, scraped).await {
            Ok(result) => result,
            Err(_) => Err(TrackerFault::Timeout(timeout)),
        };
        let silent = result.as_ref().is_err_and(TrackerFault::is_silence);
        turn.end(if silent { Outcome::Silent } else { Outcome::Answered });
        result.map_err(|fault| TrackerError::new(host, fault))
    }
}

impl Inner {
    /// Why nothing can be sent now. Not even names are looked up then.
    fn away(&self) -> Option<TrackerFault> {
        self.binding.is_away().then(|| TrackerFault::Away(self.binding.to_string()))
    }

    /// The families over which the host of `url` can be asked, at least one.
    async fn families(&self, url: &Url) -> Result<Vec<Family>, TrackerFault> {
        if self.binding.proxy().is_some() {
            // There is one way, whatever it is at the proxy's other end.
            return Ok(vec![Family::V4]);
        }
        let addrs = self.names.lookup(url.host_str().unwrap_or_default()).await;
        let may = |family: &Family| {
            self.binding.has_family(*family == Family::V4)
                && addrs.iter().any(|ip| family_of(*ip) == *family)
        };
        let families: Vec<_> = BOTH.into_iter().filter(may).collect();
        if families.is_empty() { Err(TrackerFault::Lookup) } else { Ok(families) }
    }

    /// Where to send datagrams for `url`, of `family` if it says so; at least one.
    async fn hosts(&self, url: &Url, family: Option<Family>) -> Result<Vec<Target>, TrackerFault> {
        let (host, port) = (url.host_str().unwrap_or_default(), url.port().unwrap_or_default());
        if let Some(proxy) = self.binding.proxy() {
            if !proxy.carries_datagrams() {
                let why =
                    format!("{} carries no datagrams, so UDP trackers are not asked", proxy.url());
                return Err(TrackerFault::Proxy(why));
            }
            let target = Target::new(host, port);
            return Ok(vec![target.map_err(|error| TrackerFault::Url(error.to_string()))?]);
        }
        let families = self.families(url).await?;
        let usable = |ip: &IpAddr| {
            let of = family_of(*ip);
            families.contains(&of) && family.is_none_or(|family| family == of)
        };
        let addrs = self.names.lookup(host).await.into_iter().filter(usable);
        Ok(addrs.map(|ip| Target::Address(SocketAddr::new(ip, port))).collect())
    }

    /// Announces over `family`, or over the only one there is.
    async fn announce_over(
        &self,
        family: Option<Family>,
        target: &Url,
        request: &AnnounceRequest,
    ) -> Result<AnnounceResponse, TrackerFault> {
        if target.scheme() == "udp" {
            let hosts = self.hosts(target, family).await?;
            return self.udp.announce(&hosts, target, request).await;
        }
        let url = Url::parse(&announce_url(target.as_str(), request))
            .map_err(|error| TrackerFault::Url(error.to_string()))?;
        let answer = self.http.get(url, Origin::Torrent, body::ANNOUNCE, family).await?;
        answer_of(&answer, parse_announce)
    }
}

/// What an answer over HTTP says.
fn answer_of<T>(
    answer: &Answer,
    parse: impl FnOnce(&[u8]) -> Result<T, ResponseError>,
) -> Result<T, TrackerFault> {
    match parse(&answer.body) {
        Ok(response) if answer.status.is_success() => Ok(response),
        // A refusal in the tracker's own words says more than a status code.
        Err(error @ ResponseError::Failure { .. }) => Err(TrackerFault::Response(error)),
        Err(error) if answer.status.is_success() => Err(TrackerFault::Response(error)),
        _ => Err(TrackerFault::Status(answer.status.as_u16())),
    }
}

/// How soon an announce is wanted of which nothing but its event is known.
pub(crate) const fn urgency_of(event: AnnounceEvent) -> Urgency {
    match event {
        AnnounceEvent::Started | AnnounceEvent::Completed => Urgency::Event,
        AnnounceEvent::Stopped => Urgency::Stopped,
        AnnounceEvent::Periodic => Urgency::Regular,
    }
}

/// Whether `url` can be a tracker's.
pub(crate) fn check_url(url: &str) -> Result<(), TrackerError> {
    parse_url(url).map(drop)
}

/// Host and, where given, port in `url`: what can be shown of it, for it may hold a passkey.
pub(crate) fn shown_host(url: &str) -> String {
    parse_url(url).map_or_else(|_| "a tracker".to_owned(), |url| host_of(&url))
}

/// Parses a tracker's URL and refuses what is not one.
fn parse_url(url: &str) -> Result<Url, TrackerError> {
    let bad = |fault: String| TrackerError::new(shown_part(url), TrackerFault::Url(fault));
    let target = Url::parse(url.trim()).map_err(|error| bad(error.to_string()))?;
    match target.scheme() {
        "http" | "https" => {}
        "udp" if target.port().is_none() => return Err(bad("it has no port".into())),
        "udp" => {}
        scheme => return Err(bad(format!("{scheme:.20} is not http, https or udp"))),
    }
    if target.host_str().is_none_or(str::is_empty) {
        return Err(bad("it has no host".into()));
    }
    Ok(target)
}

/// What can be shown of something that is no URL of a tracker: scheme and host as far as they can be told, without path, query and
/// user, where passkeys are.
fn shown_part(url: &str) -> String {
    let url: String = url.trim().chars().filter(|c| !c.is_control()).collect();
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?', '#', '@', '\\']) => {
            (Some(scheme), rest)
        }
        _ => (None, url.as_str()),
    };
    let host = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    let shown = scheme.map_or_else(|| host.to_owned(), |scheme| format!("{scheme}://{host}"));
    shown.chars().take(40).collect()
}

/// Host and, where given, port.
fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Sixty-four bits that nobody can guess: a counter under the keyed hash that the standard library seeds from the
/// system's randomness.
pub(crate) fn unguessable() -> u64 {
    static KEY: std::sync::LazyLock<RandomState> = std::sync::LazyLock::new(RandomState::new);
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    KEY.hash_one(COUNTER.fetch_add(1, Ordering::Relaxed))
}
