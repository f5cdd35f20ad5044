//! The HTTP side: announce, scrape, files and a page for people. GET and HEAD only; nothing a client sends is
//! read but the request line and headers.

use super::household::household;
use super::{Shared, page};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use samara_wire::time::Instant;
use samara_wire::tracker::http::{
    PeersForm, encode_announce, encode_failure, encode_scrape, parse_announce_query,
    parse_scrape_query,
};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// Connections at most, in all and from one address.
const MAX_CONNECTIONS: usize = 512;
const MAX_CONNECTIONS_PER_IP: usize = 64;

/// Time for the head of a request to arrive, which is also how long an idle connection is kept.
const HEAD_TIME: Duration = Duration::from_secs(15);

/// Time a connection can last at most: enough for a large file on a slow line.
const CONNECTION_TIME: Duration = Duration::from_secs(600);

/// Bytes of a request's head.
const MAX_HEAD: usize = 16 * 1024;

/// Counts connections.
#[derive(Debug, Default)]
pub(super) struct ConnectionLimits {
    open: Mutex<BTreeMap<IpAddr, usize>>,
}

/// A connection that counts until it is dropped.
struct Counted {
    limits: Arc<ConnectionLimits>,
    ip: IpAddr,
}

impl ConnectionLimits {
    fn admit(self: &Arc<Self>, ip: IpAddr) -> Option<Counted> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let from_ip = open.get(&ip).copied().unwrap_or(0);
        if from_ip >= MAX_CONNECTIONS_PER_IP || open.values().sum::<usize>() >= MAX_CONNECTIONS {
            return None;
        }
        open.insert(ip, from_ip + 1);
        Some(Counted { limits: self.clone(), ip })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.limits.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.ip);
            }
        }
    }
}

/// Accepts connections for ever.
pub(super) async fn listen(
    shared: Arc<Shared>,
    limits: Arc<ConnectionLimits>,
    listener: TcpListener,
) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let ip = from.ip().to_canonical();
                // Beyond the limits a connection is closed at once.
                if let Some(counted) = limits.admit(household(ip)) {
                    tokio::spawn(serve(shared.clone(), counted, ip, stream));
                }
            }
            Err(error) => {
                // Out of file descriptors, most likely: wait for some to come free.
                tracing::debug!(%error, "HTTP tracker cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(shared: Arc<Shared>, _counted: Counted, ip: IpAddr, stream: TcpStream) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = respond(&shared, shared.now(), ip, request.method(), request.uri());
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_TIME, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%ip, %error, "HTTP tracker"),
        Err(_) => tracing::debug!(%ip, "connection to the HTTP tracker lasted too long"),
    }
}

/// The answer to one request.
pub(super) fn respond(
    shared: &Shared,
    now: Instant,
    ip: IpAddr,
    method: &Method,
    uri: &hyper::Uri,
) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let query = uri.query().unwrap_or_default();
    match uri.path() {
        "/announce" => answer("text/plain", announce(shared, now, ip, query)),
        "/scrape" => answer("text/plain", scrape(shared, now, query)),
        "/" => answer("text/html; charset=utf-8", page::render(shared, now).into_bytes()),
        path => file(shared, path)
            .unwrap_or_else(|| text(StatusCode::NOT_FOUND, "nothing at this address\n")),
    }
}

fn announce(shared: &Shared, now: Instant, ip: IpAddr, query: &str) -> Vec<u8> {
    let query = match parse_announce_query(query) {
        Ok(query) => query,
        Err(error) => return encode_failure(&error.to_string(), None),
    };
    match shared.store().announce(now, ip, &query.request, None) {
        Ok(answer) if query.compact => encode_announce(&answer.response, PeersForm::Compact),
        Ok(answer) => {
            let ids = if query.no_peer_id { &[][..] } else { &answer.ids };
            encode_announce(&answer.response, PeersForm::Dictionary(ids))
        }
        Err(refusal) => encode_failure(&refusal.to_string(), None),
    }
}

fn scrape(shared: &Shared, now: Instant, query: &str) -> Vec<u8> {
    match parse_scrape_query(query) {
        Ok(hashes) => encode_scrape(&shared.store().scrape(now, &hashes)),
        Err(error) => encode_failure(&error.to_string(), None),
    }
}

/// A file given in the configuration, by its exact name; there is no file system behind this.
fn file(shared: &Shared, path: &str) -> Option<Response<Full<Bytes>>> {
    let name = path.strip_prefix('/')?;
    let name = percent_encoding::percent_decode_str(name).decode_utf8().ok()?;
    let (name, content) = shared.files.iter().find(|(known, _)| *known == name)?;
    let is_torrent = std::path::Path::new(name).extension().is_some_and(|e| e == "torrent");
    let kind = if is_torrent { "application/x-bittorrent" } else { "application/octet-stream" };
    Some(answer(kind, content.clone()))
}

fn answer(content_type: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert("content-security-policy", HeaderValue::from_static("default-src 'none'"));
    response
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    let mut response = answer("text/plain", body.into());
    *response.status_mut() = status;
    response
}
