//! Announces made for the core: over HTTP(S) and over UDP.
//!
//! *When* to announce, to which tracker of which tier, and what to do with the answer is decided in the core.
//! Here is one announce, from its URL to its answer, with nothing a tracker does left unbounded:
//!
//! - it ends within the time given, whatever the tracker does, and dropping the future leaves nothing behind;
//! - an answer has at most 1 MiB, before and after decompression ([`body`]);
//! - redirects are followed by hand, at most five, and never lead from the world into this machine or its
//!   network ([`http`]);
//! - a tracker gets at most [`MAX_PER_HOST`] announces from us at once, the others wait their turn.
//!
//! Messages name the tracker's host and never its whole URL, which may hold a passkey.

mod address;
mod body;
mod error;
pub(crate) mod fetch;
mod http;
mod resolver;
#[cfg(test)]
mod tests;
mod udp;

pub use error::{TrackerError, TrackerFault};

use http::{Http, Origin};
use reqwest::Url;
use samara_wire::tracker::http::{announce_url, parse_announce};
use samara_wire::tracker::{AnnounceRequest, AnnounceResponse};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Semaphore;
use udp::Udp;

/// Announces to one host that are under way at once.
const MAX_PER_HOST: usize = 8;

/// Makes announces. Cheap to clone; clones share connections. Belongs to the tokio runtime that first uses it.
#[derive(Clone, Debug)]
pub struct TrackerClient {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    http: Http,
    udp: Udp,
    gates: Mutex<HashMap<String, Weak<Semaphore>>>,
}

impl TrackerClient {
    /// A client that sends from the addresses in `bind` alone: an address family of which there is none is not
    /// used. Empty: the system chooses.
    #[must_use]
    pub fn new(bind: &[IpAddr]) -> Self {
        let inner = Inner { http: Http::new(bind), udp: Udp::new(bind), gates: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Announces `request` to the tracker at `url` (`http`, `https` or `udp`) and gives its answer.
    ///
    /// # Errors
    /// If the tracker refuses, answers nonsense, or does not answer within `timeout`. The text is for a user.
    pub async fn announce(
        &self,
        url: &str,
        request: &AnnounceRequest,
        timeout: Duration,
    ) -> Result<AnnounceResponse, TrackerError> {
        let target = parse_url(url)?;
        let host = host_of(&target);
        let answer = tokio::time::timeout(timeout, self.announce_to(&target, &host, request));
        match answer.await {
            Ok(answer) => answer.map_err(|fault| TrackerError::new(host, fault)),
            Err(_) => Err(TrackerError::new(host, TrackerFault::Timeout(timeout))),
        }
    }

    async fn announce_to(
        &self,
        target: &Url,
        host: &str,
        request: &AnnounceRequest,
    ) -> Result<AnnounceResponse, TrackerFault> {
        let gate = self.gate(host);
        let _turn = gate.acquire().await.expect("no gate is ever closed");
        if target.scheme() == "udp" {
            return self.inner.udp.announce(target, request).await;
        }
        let url = Url::parse(&announce_url(target.as_str(), request))
            .map_err(|error| TrackerFault::Url(error.to_string()))?;
        let answer = self.inner.http.get(url, Origin::Torrent, body::ANNOUNCE).await?;
        match parse_announce(&answer.body) {
            Ok(response) if answer.status.is_success() => Ok(response),
            // A refusal in the tracker's own words says more than a status code.
            Err(error @ samara_wire::tracker::http::ResponseError::Failure { .. }) => {
                Err(TrackerFault::Response(error))
            }
            _ if !answer.status.is_success() => Err(TrackerFault::Status(answer.status.as_u16())),
            Err(error) => Err(TrackerFault::Response(error)),
            Ok(_) => Err(TrackerFault::Status(answer.status.as_u16())),
        }
    }

    /// What lets [`MAX_PER_HOST`] announces to `host` pass at once.
    fn gate(&self, host: &str) -> Arc<Semaphore> {
        let mut gates = self.inner.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = gates.get(host).and_then(Weak::upgrade) {
            return gate;
        }
        gates.retain(|_, gate| gate.strong_count() > 0);
        let gate = Arc::new(Semaphore::new(MAX_PER_HOST));
        gates.insert(host.to_owned(), Arc::downgrade(&gate));
        gate
    }
}

/// Parses a tracker's URL and refuses what is not one.
fn parse_url(url: &str) -> Result<Url, TrackerError> {
    let bad = |fault: String| {
        // The part that can be shown: without path and query, where passkeys are.
        let shown: String = url.chars().filter(|c| !c.is_control()).take(40).collect();
        let shown = shown.split(['?', '#']).next().unwrap_or_default().to_owned();
        TrackerError::new(shown, TrackerFault::Url(fault))
    };
    let target = Url::parse(url.trim()).map_err(|error| bad(error.to_string()))?;
    match target.scheme() {
        "http" | "https" => {}
        "udp" if target.port().is_none() => return Err(bad("it has no port".into())),
        "udp" => {}
        scheme => return Err(bad(format!("{scheme} is not http, https or udp"))),
    }
    if target.host_str().is_none_or(str::is_empty) {
        return Err(bad("it has no host".into()));
    }
    Ok(target)
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
