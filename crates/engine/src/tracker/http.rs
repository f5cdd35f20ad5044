//! HTTP(S) for trackers and `.torrent` files.
//!
//! **Local addresses.** A torrent can name any URL, and so can a redirect; neither may make us send requests to
//! this machine or its network, where routers and other programs trust whoever is inside. So there are two
//! clients, one of which cannot connect to local addresses at all: its resolver does not give them, which no
//! change of DNS between check and use can get around. It is used whenever
//!
//! - an earlier hop was in the world (we look at where that hop's connection in fact went), or
//! - a torrent named the URL and the last part of its path does not begin with `announce`: trackers on loopback
//!   are legitimate, and a request that can only reach an announce path can do no harm.
//!
//! **Families.** A *lane* is a pair of such clients that sends from one address, or over one family, or as the system
//! likes. A host with addresses of both families is asked over a lane of each.
//!
//! **Connections** are kept open when an answer has come, for whichever torrent announces to that host next.
//!
//! **Proxies** named in the environment are not used. With the user's proxy there is one lane, which leads to it and resolves no
//! name but the proxy's own. Where the proxy's other end connects to is not ours to see, so the guard against local addresses
//! looks at those that are written in URLs.

use super::address::is_local;
use super::body::{self, BodyLimit};
use super::error::TrackerFault;
use super::families::family_of;
use super::names::Names;
use super::resolver::{ResolveError, Resolver};
use crate::network::{Binding, Proxy, Source};
use reqwest::header::{ACCEPT_ENCODING, LOCATION};
use reqwest::{Client, ClientBuilder, Response, StatusCode, Url};
use samara_wire::proxy::{ProxyUrl, Target};
use samara_wire::tracker::udp::Family;
use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;

/// Redirects that are followed.
const MAX_REDIRECTS: usize = 5;

/// Connections kept open to one host, as many as may be in use at once, and for how long.
const IDLE_PER_HOST: usize = 8;
const IDLE_TIME: Duration = Duration::from_secs(90);

const USER_AGENT: &str = concat!("samara/", env!("CARGO_PKG_VERSION"));

/// Who named a URL, which decides whether it may be local.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    /// A torrent: local only if it is an announce path.
    Torrent,
    /// We, from what a torrent named: local only if it is a scrape path.
    Scrape,
    /// The user: may be local.
    User,
}

/// A complete answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

/// HTTP clients, made when first needed.
#[derive(Debug)]
pub(super) struct Http {
    binding: Binding,
    names: Arc<Names>,
    plain: OnceCell<Vec<Lane>>,
    /// For HTTPS; apart, because these need the system's certificates, which take time to read.
    secure: OnceCell<Vec<Lane>>,
}

/// Clients that send from one address, or over one family, or as the system likes.
#[derive(Debug)]
struct Lane {
    source: Option<Source>,
    family: Option<Family>,
    /// Connects to any address.
    open: Client,
    /// Connects to no local address.
    guarded: Client,
}

impl Http {
    pub(super) fn new(binding: &Binding, names: Arc<Names>) -> Self {
        Self { binding: binding.clone(), names, plain: OnceCell::new(), secure: OnceCell::new() }
    }

    /// Gets `url` over `family`, or as the system likes, following redirects. Any status that is no redirect is an
    /// answer.
    pub(super) async fn get(
        &self,
        mut url: Url,
        origin: Origin,
        limit: BodyLimit,
        family: Option<Family>,
    ) -> Result<Answer, TrackerFault> {
        let mut was_in_the_world = false;
        for _ in 0..=MAX_REDIRECTS {
            let local_ok = may_be_local(&url, origin, was_in_the_world);
            let response = self.hop(&url, local_ok, family).await?;
            let reached = match self.binding.proxy() {
                Some(_) => literal_address(&url),
                None => response.remote_addr().map(|addr| addr.ip()),
            };
            let went_local = reached.is_some_and(is_local);
            if went_local && !local_ok {
                return Err(TrackerFault::Local);
            }
            was_in_the_world |= !went_local;
            let Some(next) = redirect_target(&url, &response)? else {
                let status = response.status();
                return Ok(Answer { status, body: body::read(response, limit).await? });
            };
            url = next;
        }
        Err(TrackerFault::Redirects)
    }

    /// Sends one request, from the first of our addresses that can reach the host.
    async fn hop(
        &self,
        url: &Url,
        local_ok: bool,
        family: Option<Family>,
    ) -> Result<Response, TrackerFault> {
        let (literal, proxy) = (literal_address(url), self.binding.proxy());
        if !local_ok && literal.is_some_and(is_local) {
            return Err(TrackerFault::Local);
        }
        let mut fault = TrackerFault::Lookup;
        let lanes = self.lanes(url.scheme() == "https").await?;
        for lane in lanes.iter().filter(|lane| lane.serves(family)) {
            let other_family = |from: &Source| {
                proxy.is_none() && literal.is_some_and(|to| to.is_ipv4() != from.ip.is_ipv4())
            };
            if lane.source.as_ref().is_some_and(other_family) {
                continue;
            }
            let client = if local_ok { &lane.open } else { &lane.guarded };
            match client.get(url.clone()).header(ACCEPT_ENCODING, "gzip").send().await {
                Ok(response) => return Ok(response),
                Err(error) => fault = fault_of(&error),
            }
        }
        // Nobody but the proxy was connected to, so it is the proxy that does not answer.
        match (proxy, fault) {
            (Some(proxy), fault) if fault.is_silence() => {
                Err(TrackerFault::Proxy(format!("{}: {fault}", proxy.url())))
            }
            (_, fault) => Err(fault),
        }
    }

    async fn lanes(&self, secure: bool) -> Result<&[Lane], TrackerFault> {
        let cell = if secure { &self.secure } else { &self.plain };
        let make = async || {
            let (binding, names) = (self.binding.clone(), self.names.clone());
            // Off the thread that moves the bytes of all torrents.
            let made =
                tokio::task::spawn_blocking(move || Lane::all(&binding, &names, secure)).await;
            made.unwrap_or_else(|error| Err(TrackerFault::Unreachable(error.to_string())))
        };
        cell.get_or_try_init(make).await.map(Vec::as_slice)
    }
}

impl Lane {
    /// A lane for each address that may be used; or, if all may, one for any and one for each family.
    fn all(binding: &Binding, names: &Arc<Names>, secure: bool) -> Result<Vec<Self>, TrackerFault> {
        let tls = tls_config(secure).map_err(|error| TrackerFault::Tls(error.to_string()))?;
        let of = |source: &Source| (Some(source.clone()), Some(family_of(source.ip)));
        if let Some(proxy) = binding.proxy() {
            return Self::to_proxy(proxy, binding, names, &tls);
        }
        let kinds: Vec<_> = match binding.is_restricted() {
            false => vec![(None, None), (None, Some(Family::V4)), (None, Some(Family::V6))],
            true => binding.sources().iter().map(of).collect(),
        };
        let make = |(source, family)| Self::new(source, family, names, &tls);
        let lanes: Result<_, _> = kinds.into_iter().map(make).collect();
        lanes.map_err(|error| fault_of(&error))
    }

    /// A lane to the proxy from each address that may be used, or from any.
    fn to_proxy(
        proxy: &Proxy,
        binding: &Binding,
        names: &Arc<Names>,
        tls: &rustls::ClientConfig,
    ) -> Result<Vec<Self>, TrackerFault> {
        let sources = binding.sources_to_proxy().iter().cloned().map(Some);
        let sources: Vec<_> = if sources.len() == 0 { vec![None] } else { sources.collect() };
        let make = |source: Option<Source>| {
            let only = match &proxy.url().at {
                Target::Name(name, _) => name.clone(),
                Target::Address(_) => String::new(),
            };
            let v4 = source.as_ref().map(|source| source.ip.is_ipv4());
            let resolver = Resolver { names: names.clone(), v4, local: true, only: Some(only) };
            let client = bound(builder(tls), source.as_ref()).dns_resolver(resolver);
            let client = client.proxy(all_through(proxy.url())?).build()?;
            // What is local to the proxy is not known here.
            Ok(Self { source, family: None, open: client.clone(), guarded: client })
        };
        let lanes: Result<_, _> = sources.into_iter().map(make).collect();
        lanes.map_err(|error| fault_of(&error))
    }

    /// Whether this is a lane for requests over `family`, or for those that go as the system likes.
    fn serves(&self, family: Option<Family>) -> bool {
        family == self.family || (family.is_none() && self.source.is_some())
    }

    fn new(
        source: Option<Source>,
        family: Option<Family>,
        names: &Arc<Names>,
        tls: &rustls::ClientConfig,
    ) -> Result<Self, reqwest::Error> {
        let client = |local| {
            let v4 = family.map(|family| family == Family::V4);
            let resolver = Resolver { names: names.clone(), v4, local, only: None };
            bound(builder(tls), source.as_ref()).dns_resolver(resolver).no_proxy().build()
        };
        let (open, guarded) = (client(true)?, client(false)?);
        Ok(Self { source, family, open, guarded })
    }
}

/// What all clients have in common.
fn builder(tls: &rustls::ClientConfig) -> ClientBuilder {
    Client::builder()
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .http1_only()
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .pool_idle_timeout(IDLE_TIME)
        .tls_backend_preconfigured(tls.clone())
}

/// Everything through the proxy, which resolves all names.
fn all_through(proxy: &ProxyUrl) -> Result<reqwest::Proxy, reqwest::Error> {
    let scheme = if proxy.scheme.carries_datagrams() { "socks5h" } else { "http" };
    let through = reqwest::Proxy::all(format!("{scheme}://{}", proxy.at))?;
    Ok(match &proxy.credentials {
        Some(credentials) => through.basic_auth(credentials.user(), credentials.password()),
        None => through,
    })
}

/// Has a client connect from `source` alone.
fn bound(client: ClientBuilder, source: Option<&Source>) -> ClientBuilder {
    let Some(source) = source else { return client };
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    let client = match &source.device {
        Some(device) => client.interface(&device.name),
        None => client,
    };
    client.local_address(source.ip)
}

/// TLS that trusts the certificates the system trusts, or nobody: for clients that only use plain HTTP, and on a
/// system without certificates. The provider is named here and not installed for the process, which is the
/// embedder's to do.
fn tls_config(trusting: bool) -> Result<rustls::ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?;
    if trusting {
        match rustls_platform_verifier::Verifier::new(provider) {
            Ok(verifier) => {
                let builder = builder.dangerous();
                let builder = builder.with_custom_certificate_verifier(Arc::new(verifier));
                return Ok(builder.with_no_client_auth());
            }
            Err(error) => tracing::warn!(%error, "no HTTPS server will be trusted"),
        }
    }
    let nobody = rustls::RootCertStore::empty();
    Ok(builder.with_root_certificates(nobody).with_no_client_auth())
}

/// Whether a request for `url` may go to this machine or its network; see the head of this module.
fn may_be_local(url: &Url, origin: Origin, was_in_the_world: bool) -> bool {
    let last = url.path().rsplit('/').next().unwrap_or_default();
    !was_in_the_world
        && match origin {
            Origin::User => true,
            // As the path of every tracker does that can be scraped.
            Origin::Torrent => last.starts_with("announce"),
            Origin::Scrape => last.starts_with("scrape"),
        }
}

/// The address in the URL, if it is not a name.
fn literal_address(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_matches(['[', ']']).parse().ok()
}

/// Where `response` redirects to, or `None` if it is an answer.
fn redirect_target(from: &Url, response: &Response) -> Result<Option<Url>, TrackerFault> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let next = location.and_then(|location| from.join(location).ok());
    match next {
        Some(next) if matches!(next.scheme(), "http" | "https") => Ok(Some(next)),
        _ => Err(TrackerFault::RedirectTarget),
    }
}

/// The reason at the bottom of an error of reqwest, which wraps it several times.
pub(super) fn fault_of(error: &reqwest::Error) -> TrackerFault {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    let mut deepest = error.to_string();
    while let Some(current) = cause {
        match current.downcast_ref::<ResolveError>() {
            Some(ResolveError::Unknown) => return TrackerFault::Lookup,
            Some(ResolveError::Local) => return TrackerFault::Local,
            None => {}
        }
        if let Some(tls) = current.downcast_ref::<rustls::Error>() {
            return TrackerFault::Tls(tls_text(tls));
        }
        let io = current.downcast_ref::<io::Error>();
        if io.is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused) {
            return TrackerFault::Refused;
        }
        deepest = current.to_string();
        cause = inner(current);
    }
    TrackerFault::Unreachable(deepest)
}

/// The commonest troubles with TLS in words for a user.
fn tls_text(error: &rustls::Error) -> String {
    use rustls::CertificateError::{
        Expired, ExpiredContext, NotValidForName, NotValidForNameContext, UnknownIssuer,
    };
    let text = match error {
        rustls::Error::InvalidCertificate(UnknownIssuer) => {
            "its certificate is from nobody this system trusts (are CA certificates installed?)"
        }
        rustls::Error::InvalidCertificate(Expired | ExpiredContext { .. }) => {
            "its certificate has expired (is the clock right?)"
        }
        rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) => {
            "its certificate is for another name"
        }
        other => return other.to_string(),
    };
    text.to_owned()
}

/// What `error` wraps. An I/O error made from another one does not count that as its source.
fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    held.map(|held| held as &(dyn Error + 'static)).or_else(|| error.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_users_and_announce_paths_reach_local_addresses() {
        let may = |url: &str, origin, was| may_be_local(&Url::parse(url).unwrap(), origin, was);
        assert!(may("http://127.0.0.1:6969/announce", Origin::Torrent, false));
        assert!(may("http://127.0.0.1/x/announce.php?passkey=1", Origin::Torrent, false));
        assert!(!may("http://127.0.0.1/admin?/announce", Origin::Torrent, false));
        assert!(!may("http://127.0.0.1/announce/../admin", Origin::Torrent, false));
        assert!(!may("http://127.0.0.1/announce/", Origin::Torrent, false));
        assert!(!may("http://127.0.0.1/announce", Origin::Torrent, true));
        assert!(may("http://127.0.0.1/a.torrent", Origin::User, false));
        assert!(!may("http://127.0.0.1/a.torrent", Origin::User, true));
        assert!(may("http://127.0.0.1/scrape?passkey=1", Origin::Scrape, false));
        assert!(!may("http://127.0.0.1/announce", Origin::Scrape, false));
    }

    #[tokio::test]
    async fn the_guarded_client_connects_to_nothing_local() {
        let http = Http::new(&Binding::default(), Arc::default());
        for url in [
            "http://127.0.0.1:1/announce",
            "http://127.1:1/",
            "http://[::1]:1/",
            "http://[::ffff:127.0.0.1]:1/",
            "http://2130706433:1/",
            "http://localhost:1/",
        ] {
            let fault = http.hop(&Url::parse(url).unwrap(), false, None).await.unwrap_err();
            assert_eq!(fault, TrackerFault::Local, "{url}");
        }
    }
}
