//! What a tracker answers to an announce, parsed and built.
//!
//! Trackers in the wild send keys out of order and a newline at the end, so parsing is lenient where that is
//! harmless; see [`Strictness::Lenient`].

use super::super::{
    AnnounceResponse, DEFAULT_INTERVAL, PeerCollector, bounded_interval, push_compact,
};
use crate::bencode::{self, BencodeError, Dict, Doc, Encoder, Limits, List, Strictness};
use crate::id::PeerId;
use crate::peer::client::printable;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

/// Bounds on an answer: 100,000 items are 14,000 peers in dictionary form.
const LIMITS: Limits = Limits { depth: 16, tokens: 100_000, strictness: Strictness::Lenient };

/// Characters of a tracker's message that are kept.
const MAX_TEXT: usize = 300;

/// Bytes of a tracker id that are kept; a longer one is ignored.
const MAX_TRACKER_ID: usize = 256;

/// When to try again after a failure (BEP 31).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retry {
    /// Not before this time has passed; at most a day.
    After(Duration),
    /// Not at all.
    Never,
}

/// Why a body is not the answer it should be, in words for a user.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ResponseError {
    /// The tracker understood and refuses.
    #[error("{reason}")]
    Failure {
        /// The tracker's words, safe to print.
        reason: String,
        /// When the tracker would like to hear from us again.
        retry: Option<Retry>,
    },
    /// No body at all.
    #[error("the tracker sent an empty answer")]
    Empty,
    /// A web page.
    #[error("the tracker sent a web page instead of an answer; is the address right?")]
    Html,
    /// Something else that is not bencode.
    #[error("the tracker's answer cannot be read ({0})")]
    NotBencode(BencodeError),
    /// Bencode, but nothing a tracker would say.
    #[error("the tracker's answer has no {0}")]
    Missing(&'static str),
}

/// Parses `body` into a document whose root is a dictionary without a failure reason.
pub(super) fn parse_document(body: &[u8]) -> Result<Doc<'_>, ResponseError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(ResponseError::Empty);
    }
    let doc = bencode::parse(body, LIMITS).map_err(|error| {
        if body.trim_ascii_start().starts_with(b"<") {
            ResponseError::Html
        } else {
            ResponseError::NotBencode(error)
        }
    })?;
    let dict = doc.as_dict().ok_or(ResponseError::Missing("dictionary"))?;
    if let Some(reason) = dict.get_bytes(b"failure reason") {
        let reason = match text(reason) {
            empty if empty.is_empty() => "the tracker refused without a reason".into(),
            reason => reason,
        };
        return Err(ResponseError::Failure { reason, retry: retry(&dict) });
    }
    Ok(doc)
}

/// Parses the body of an answer to an announce: compact and dictionary peers, IPv4 and IPv6.
///
/// Peers without a port, duplicates, and all beyond [`MAX_PEERS`](super::super::MAX_PEERS) are left out. The
/// interval is brought into [`INTERVAL_BOUNDS`](super::super::INTERVAL_BOUNDS).
///
/// # Errors
/// If the tracker refuses, or the body is not an answer.
pub fn parse_announce(body: &[u8]) -> Result<AnnounceResponse, ResponseError> {
    let doc = parse_document(body)?;
    let dict = doc.as_dict().ok_or(ResponseError::Missing("dictionary"))?;
    let (v4, v6) = (dict.get(b"peers"), dict.get(b"peers6"));
    let interval = seconds(&dict, b"interval");
    if v4.is_none() && v6.is_none() && interval.is_none() {
        return Err(ResponseError::Missing("peers"));
    }
    let mut peers = PeerCollector::default();
    for value in [v4, v6].into_iter().flatten() {
        if let Some(list) = value.as_list() {
            dictionary_peers(list, &mut peers);
        }
    }
    peers.add_compact_v4(v4.and_then(|v| v.as_bytes()).unwrap_or_default());
    peers.add_compact_v6(v6.and_then(|v| v.as_bytes()).unwrap_or_default());
    let count = |key| dict.get_int(key).and_then(|n| u32::try_from(n).ok());
    Ok(AnnounceResponse {
        interval: interval.map_or(DEFAULT_INTERVAL, bounded_interval),
        min_interval: seconds(&dict, b"min interval").map(bounded_interval),
        complete: count(b"complete"),
        incomplete: count(b"incomplete"),
        downloaded: count(b"downloaded"),
        peers: peers.peers,
        tracker_id: dict
            .get_str(b"tracker id")
            .filter(|id| id.len() <= MAX_TRACKER_ID)
            .map(Into::into),
        warning: dict.get_bytes(b"warning message").map(text).filter(|text| !text.is_empty()),
        external_ip: dict.get_bytes(b"external ip").and_then(address),
    })
}

fn dictionary_peers(list: List<'_, '_>, peers: &mut PeerCollector) {
    for peer in list.into_iter().filter_map(|value| value.as_dict()) {
        let ip = peer.get_str(b"ip").and_then(|ip| ip.parse::<IpAddr>().ok());
        let port = peer.get_int(b"port").and_then(|port| u16::try_from(port).ok());
        if let (Some(ip), Some(port)) = (ip, port) {
            peers.add(SocketAddr::new(ip, port));
        }
    }
}

/// Seconds at `key`; a negative number is as good as none.
fn seconds(dict: &Dict<'_, '_>, key: &[u8]) -> Option<u64> {
    dict.get(key).and_then(|value| value.as_u64())
}

/// Four or sixteen bytes of address (BEP 24).
fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// A tracker's words, safe to print.
fn text(bytes: &[u8]) -> String {
    // Long before `printable` shortens it, so that a megabyte of text is not copied.
    let bytes = &bytes[..bytes.len().min(MAX_TEXT * 4)];
    printable(&String::from_utf8_lossy(bytes), MAX_TEXT)
}

fn retry(dict: &Dict<'_, '_>) -> Option<Retry> {
    let value = dict.get(b"retry in")?;
    if value.as_bytes() == Some(b"never") {
        return Some(Retry::Never);
    }
    let minutes = value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok()))?;
    Some(Retry::After(Duration::from_secs(minutes.min(24 * 60) * 60)))
}

/// How a tracker writes peers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeersForm<'a> {
    /// 6 bytes each in `peers` and 18 bytes each in `peers6` (BEP 23, 7).
    Compact,
    /// Dictionaries (BEP 3), with the ids of the peers in the same order; a peer beyond their end has none.
    Dictionary(&'a [PeerId]),
}

/// The body of an answer to an announce.
#[must_use]
pub fn encode_announce(response: &AnnounceResponse, form: PeersForm<'_>) -> Vec<u8> {
    let seconds = |d: Duration| i64::try_from(d.as_secs()).unwrap_or(i64::MAX);
    Encoder::dict_bytes(|dict| {
        for (key, count) in [
            (&b"complete"[..], response.complete),
            (b"downloaded", response.downloaded),
            (b"incomplete", response.incomplete),
        ] {
            if let Some(count) = count {
                dict.int(key, i64::from(count));
            }
        }
        match response.external_ip {
            Some(IpAddr::V4(ip)) => dict.bytes(b"external ip", &ip.octets()),
            Some(IpAddr::V6(ip)) => dict.bytes(b"external ip", &ip.octets()),
            None => {}
        }
        dict.int(b"interval", seconds(response.interval));
        if let Some(interval) = response.min_interval {
            dict.int(b"min interval", seconds(interval));
        }
        match form {
            PeersForm::Compact => {
                let (mut v4, mut v6) = (Vec::new(), Vec::new());
                for peer in &response.peers {
                    push_compact(peer, if peer.is_ipv4() { &mut v4 } else { &mut v6 });
                }
                dict.bytes(b"peers", &v4);
                if !v6.is_empty() {
                    dict.bytes(b"peers6", &v6);
                }
            }
            PeersForm::Dictionary(ids) => {
                dict.list(b"peers", |list| encode_peers(list, &response.peers, ids));
            }
        }
        if let Some(id) = &response.tracker_id {
            dict.bytes(b"tracker id", id.as_bytes());
        }
        if let Some(warning) = &response.warning {
            dict.bytes(b"warning message", warning.as_bytes());
        }
    })
}

fn encode_peers(list: &mut Encoder, peers: &[SocketAddr], ids: &[PeerId]) {
    for (i, peer) in peers.iter().enumerate() {
        list.dict(|dict| {
            dict.bytes(b"ip", peer.ip().to_string().as_bytes());
            if let Some(id) = ids.get(i) {
                dict.bytes(b"peer id", &id.0);
            }
            dict.int(b"port", i64::from(peer.port()));
        });
    }
}

/// The body by which a tracker refuses (BEP 3, 31). [`Retry::After`] is rounded up to minutes.
#[must_use]
pub fn encode_failure(reason: &str, retry: Option<Retry>) -> Vec<u8> {
    Encoder::dict_bytes(|dict| {
        dict.bytes(b"failure reason", reason.as_bytes());
        match retry {
            Some(Retry::After(time)) => {
                let minutes = time.as_secs().div_ceil(60);
                dict.int(b"retry in", i64::try_from(minutes).unwrap_or(i64::MAX));
            }
            Some(Retry::Never) => dict.bytes(b"retry in", b"never"),
            None => {}
        }
    })
}
