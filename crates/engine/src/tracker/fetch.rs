//! One-shot operations over HTTP and with trackers; public as part of [`crate::probe`].

use super::body::BodyLimit;
use super::http::{Http, Origin};
use super::{TrackerClient, TrackerError, TrackerFault, host_of, unguessable};
use crate::network::{Binding, Egress};
use crate::probe::ProbeError;
use reqwest::Url;
use samara_wire::id::{PeerId, WireHash};
use samara_wire::metainfo::Metainfo;
use samara_wire::tracker::{AnnounceEvent, AnnounceRequest, AnnounceResponse, ScrapeStats};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// For `.torrent` files.
const TORRENT: BodyLimit = BodyLimit { max: 32 * 1024 * 1024 };

/// Time for saying goodbye to a tracker that was only asked.
const GOODBYE: Duration = Duration::from_secs(2);

/// The port a tracker is told by who only asks: the first of the range BitTorrent has always used.
const ASKING_PORT: u16 = 6881;

/// Fetches a `.torrent` by HTTP(S): at most 32 MiB, bounded redirects. Needs a tokio runtime. Connects as `egress` has it.
///
/// The URL is the user's, so it may lead to this machine; but a redirect from elsewhere may not.
///
/// # Errors
/// If the server cannot be reached within `timeout`, or does not answer with a file of that size.
pub async fn fetch_torrent(
    url: &str,
    egress: &Egress,
    timeout: Duration,
) -> Result<Vec<u8>, ProbeError> {
    let parsed = Url::parse(url.trim()).ok();
    let Some(parsed) = parsed.filter(|url| matches!(url.scheme(), "http" | "https")) else {
        return Err(ProbeError(format!("{url} is not an http or https address")));
    };
    let host = host_of(&parsed);
    let binding = Binding::now(egress);
    if binding.is_away() {
        let fault = TrackerFault::Away(binding.to_string());
        return Err(ProbeError(TrackerError::new(host, fault).to_string()));
    }
    let http = Http::new(&binding, Arc::default());
    let got = tokio::time::timeout(timeout, http.get(parsed, Origin::User, TORRENT, None)).await;
    let body = match got {
        Err(_) => Err(TrackerFault::Timeout(timeout)),
        Ok(Ok(answer)) if !answer.status.is_success() => {
            Err(TrackerFault::Status(answer.status.as_u16()))
        }
        Ok(answer) => answer.map(|answer| answer.body),
    };
    let body =
        body.map_err(|fault| ProbeError(TrackerError::new(host.clone(), fault).to_string()))?;
    // A torrent is a dictionary, which begins with `d`.
    match body.trim_ascii_start().first() {
        Some(b'd') => Ok(body),
        Some(b'<') => Err(ProbeError(format!(
            "{host}: sent a web page, not a torrent; open the address in a browser and copy the link to the file"
        ))),
        Some(_) => Err(ProbeError(format!("{host}: what it sent is not a torrent"))),
        None => Err(ProbeError(format!("{host}: sent an empty file"))),
    }
}

/// Asks every tracker once, all at the same time; answers in the order of the metainfo, with the URL. Needs a tokio
/// runtime. Sends as `egress` has it.
///
/// Trackers that answer are told at once that we stop, so that they send nobody to where nobody listens.
pub async fn announce_all(
    metainfo: &Metainfo,
    egress: &Egress,
    timeout: Duration,
) -> Vec<(String, Result<AnnounceResponse, String>)> {
    let request = AnnounceRequest {
        info_hash: metainfo.info.hashes().wire(),
        peer_id: one_time_peer_id(),
        port: ASKING_PORT,
        uploaded: 0,
        downloaded: 0,
        left: metainfo.info.total_len(),
        event: AnnounceEvent::Started,
        key: unguessable().to_ne_bytes().iter().fold(0, |key, b| key << 8 | u32::from(*b)),
        num_want: 200,
        tracker_id: None,
    };
    let urls = metainfo.trackers.iter().flatten().cloned().collect();
    ask_all(urls, request, TrackerClient::new(egress), timeout).await
}

async fn ask_all(
    urls: Vec<String>,
    request: AnnounceRequest,
    client: TrackerClient,
    timeout: Duration,
) -> Vec<(String, Result<AnnounceResponse, String>)> {
    let mut asked = JoinSet::new();
    for (i, url) in urls.iter().cloned().enumerate() {
        let (client, request) = (client.clone(), request.clone());
        asked.spawn(async move { (i, ask(&client, &url, request, timeout).await) });
    }
    let mut answers: Vec<_> = urls
        .into_iter()
        .map(|url| (url, Err("the request ended unexpectedly".to_owned())))
        .collect();
    while let Some(answer) = asked.join_next().await {
        if let Ok((i, answer)) = answer {
            answers[i].1 = answer.map_err(|error| error.to_string());
        }
    }
    answers
}

async fn ask(
    client: &TrackerClient,
    url: &str,
    mut request: AnnounceRequest,
    timeout: Duration,
) -> Result<AnnounceResponse, TrackerError> {
    let answer = client.announce(url, &request, timeout).await?;
    request.event = AnnounceEvent::Stopped;
    request.num_want = 0;
    request.tracker_id.clone_from(&answer.tracker_id);
    if let Err(error) = client.announce(url, &request, GOODBYE).await {
        tracing::debug!(%error, "a tracker was not told that we stop");
    }
    Ok(answer)
}

/// Asks each tracker what it knows of its torrents, all trackers at the same time; answers in the order of
/// `questions`, of each torrent in the order asked, `None` where the tracker says nothing of it. Announces nothing.
/// Needs a tokio runtime. Sends as `egress` has it.
pub async fn scrape_all(
    questions: Vec<(String, Vec<WireHash>)>,
    egress: &Egress,
    timeout: Duration,
) -> Vec<Result<Vec<Option<ScrapeStats>>, String>> {
    let client = TrackerClient::new(egress);
    let ended = Err("the request ended unexpectedly".to_owned());
    let mut answers = vec![ended; questions.len()];
    let mut asked = JoinSet::new();
    for (i, (url, hashes)) in questions.into_iter().enumerate() {
        let client = client.clone();
        asked.spawn(async move { (i, client.scrape(&url, &hashes, timeout).await) });
    }
    while let Some(answer) = asked.join_next().await {
        if let Ok((i, answer)) = answer {
            answers[i] = answer.map_err(|error| error.to_string());
        }
    }
    answers
}

/// A peer id of our form, used once.
fn one_time_peer_id() -> PeerId {
    let mut random = [0; 12];
    random[..8].copy_from_slice(&unguessable().to_ne_bytes());
    random[8..].copy_from_slice(&unguessable().to_ne_bytes()[..4]);
    let mut version = *b"0000";
    let numbers = env!("CARGO_PKG_VERSION").bytes().filter(u8::is_ascii_digit);
    for (to, from) in version.iter_mut().zip(numbers) {
        *to = from;
    }
    PeerId::ours(version, random)
}
