//! One HTTP request to a gateway: from the address that the session may use, without redirects, bounded in time and length.

use super::Trouble;
use crate::network::{Source, connect_tcp};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use samara_wire::portmap::GatewayUrl;
use samara_wire::portmap::igd::MAX_DOCUMENT;
use std::time::Duration;

/// For a whole request.
const TIMEOUT: Duration = Duration::from_secs(4);

/// An answer.
pub(super) struct Reply {
    pub(super) success: bool,
    pub(super) body: Bytes,
}

/// Gets a document.
pub(super) async fn get(source: &Source, url: &GatewayUrl) -> Result<Reply, Trouble> {
    request(source, url, None).await
}

/// Has an action done, named as UPnP wants it.
pub(super) async fn post(
    source: &Source,
    url: &GatewayUrl,
    action: String,
    body: String,
) -> Result<Reply, Trouble> {
    request(source, url, Some((action, body))).await
}

async fn request(
    source: &Source,
    url: &GatewayUrl,
    post: Option<(String, String)>,
) -> Result<Reply, Trouble> {
    match tokio::time::timeout(TIMEOUT, exchange(source, url, post)).await {
        Ok(result) => result,
        Err(_) => Err(Trouble::Silent),
    }
}

async fn exchange(
    source: &Source,
    url: &GatewayUrl,
    post: Option<(String, String)>,
) -> Result<Reply, Trouble> {
    let stream = connect_tcp(url.addr(), Some(source)).await.map_err(Trouble::Unreachable)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let mut request = Request::builder()
        .uri(url.path())
        .header(header::HOST, url.addr().to_string())
        .header(header::USER_AGENT, concat!("samara/", env!("CARGO_PKG_VERSION"), " UPnP/1.1"))
        .header(header::CONNECTION, "close");
    let body = match post {
        Some((action, body)) => {
            request = request
                .method(Method::POST)
                .header(header::CONTENT_TYPE, "text/xml; charset=\"utf-8\"")
                .header("SOAPAction", format!("\"{action}\""));
            body
        }
        None => String::new(),
    };
    let request = request.body(Full::new(Bytes::from(body))).map_err(|_| Trouble::Nonsense)?;
    let work = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let success = response.status().is_success();
        let body = Limited::new(response.into_body(), MAX_DOCUMENT).collect().await;
        let body = body.map_err(|_| Trouble::Nonsense)?.to_bytes();
        Ok(Reply { success, body })
    };
    tokio::pin!(work, connection);
    tokio::select! {
        biased;
        result = &mut work => result,
        // The connection has ended; what came by then may be all of it.
        _ = &mut connection => work.await,
    }
}

fn broken(error: hyper::Error) -> Trouble {
    Trouble::Unreachable(std::io::Error::other(error))
}
