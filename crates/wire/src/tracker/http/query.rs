//! What a client asks: the query strings of announce and scrape, built and parsed.

use super::super::{AnnounceEvent, AnnounceRequest};
use crate::id::{PeerId, WireHash};
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// Torrents that one scrape may ask for; the others are ignored.
pub const MAX_SCRAPE: usize = 100;

/// Peers asked for by a client that does not say.
const DEFAULT_NUM_WANT: u32 = 50;

/// Bytes of a tracker id that a tracker reads back.
const MAX_TRACKER_ID: usize = 256;

/// All but the characters that need no escape anywhere in a URL.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The URL that announces `request` to the tracker at `url`.
///
/// Parameters the URL has (such as a passkey) are kept, and ours are added to them; a fragment is dropped. The
/// parameter `ip` is never sent: the tracker sees our address, and a proxy's user wants no other told.
#[must_use]
pub fn announce_url(url: &str, request: &AnnounceRequest) -> String {
    let mut out = with_separator(url);
    let AnnounceRequest { port, uploaded, downloaded, left, key, num_want, .. } = request;
    let result = write!(
        out,
        "info_hash={}&peer_id={}&port={port}&uploaded={uploaded}&downloaded={downloaded}&left={left}\
         &compact=1&no_peer_id=1&numwant={num_want}&key={key:08X}",
        percent_encode(&request.info_hash.0, ESCAPED),
        percent_encode(&request.peer_id.0, ESCAPED),
    );
    debug_assert!(result.is_ok(), "writing to a string cannot fail");
    match request.event {
        AnnounceEvent::Periodic => {}
        AnnounceEvent::Started => out.push_str("&event=started"),
        AnnounceEvent::Completed => out.push_str("&event=completed"),
        AnnounceEvent::Stopped => out.push_str("&event=stopped"),
    }
    if let Some(id) = &request.tracker_id {
        out.push_str("&trackerid=");
        out.extend(percent_encode(id.as_bytes(), ESCAPED));
    }
    out
}

/// The URL that scrapes `hashes` (all torrents if empty) at the tracker whose announce URL is `url`, or `None`
/// if that tracker cannot be scraped: the last part of its path must begin with `announce` (BEP 48).
#[must_use]
pub fn scrape_url(url: &str, hashes: &[WireHash]) -> Option<String> {
    let path_end = url.find(['?', '#']).unwrap_or(url.len());
    let (path, rest) = url.split_at(path_end);
    let last = path.rfind('/')? + 1;
    let suffix = path[last..].strip_prefix("announce")?;
    let base = format!("{}scrape{suffix}{rest}", &path[..last]);
    if hashes.is_empty() {
        return Some(base);
    }
    let mut out = with_separator(&base);
    for (i, hash) in hashes.iter().enumerate() {
        out.push_str(if i == 0 { "info_hash=" } else { "&info_hash=" });
        out.extend(percent_encode(&hash.0, ESCAPED));
    }
    Some(out)
}

/// `url` without its fragment and with the character after which more parameters can stand.
fn with_separator(url: &str) -> String {
    let url = url.split('#').next().unwrap_or_default();
    let mut out = String::with_capacity(url.len() + 300);
    out.push_str(url);
    if !url.contains('?') {
        out.push('?');
    } else if !url.ends_with(['?', '&']) {
        out.push('&');
    }
    out
}

/// An announce as a tracker receives it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnnounceQuery {
    /// What is announced. Counters that are absent are 0, but for `left`, where absence means "not complete".
    pub request: AnnounceRequest,
    /// Whether peers may be answered in compact form (BEP 23). So unless refused with `compact=0`.
    pub compact: bool,
    /// Whether peer ids may be left out of peers in dictionary form.
    pub no_peer_id: bool,
}

/// Why a query is not an announce or a scrape. The text is fit for a failure reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum QueryError {
    /// A parameter that must be there is not.
    #[error("missing {0}")]
    Missing(&'static str),
    /// A parameter makes no sense.
    #[error("invalid {0}")]
    Invalid(&'static str),
}

/// Reads the query string of an announce, without the question mark. Unknown parameters are ignored, as are
/// `ip` and its like, by which a client could make others connect to a third party.
///
/// # Errors
/// If `info_hash`, `peer_id` or `port` is missing, or any known parameter is malformed.
pub fn parse_announce_query(query: &str) -> Result<AnnounceQuery, QueryError> {
    let (mut info_hash, mut peer_id, mut port) = (None, None, None);
    let mut parsed = AnnounceQuery {
        request: AnnounceRequest {
            info_hash: WireHash([0; 20]),
            peer_id: PeerId([0; 20]),
            port: 0,
            uploaded: 0,
            downloaded: 0,
            left: u64::MAX,
            event: AnnounceEvent::Periodic,
            key: 0,
            num_want: DEFAULT_NUM_WANT,
            tracker_id: None,
        },
        compact: true,
        no_peer_id: false,
    };
    let request = &mut parsed.request;
    for (name, value) in parameters(query) {
        match name {
            "info_hash" => info_hash = Some(twenty(&value, "info_hash")?),
            "peer_id" => peer_id = Some(twenty(&value, "peer_id")?),
            "port" => port = Some(number(&value, "port")?),
            "uploaded" => request.uploaded = number(&value, "uploaded")?,
            "downloaded" => request.downloaded = number(&value, "downloaded")?,
            "left" => request.left = number(&value, "left")?,
            // Some clients send -1 for "as you like".
            "numwant" => request.num_want = number(&value, "numwant").unwrap_or(DEFAULT_NUM_WANT),
            "event" => request.event = event(&value)?,
            "key" => request.key = key(&value),
            "compact" => parsed.compact = *value != *b"0",
            "no_peer_id" => parsed.no_peer_id = *value == *b"1",
            "trackerid" => {
                request.tracker_id = core::str::from_utf8(&value)
                    .ok()
                    .filter(|id| id.len() <= MAX_TRACKER_ID)
                    .map(Into::into);
            }
            _ => {}
        }
    }
    request.info_hash = WireHash(info_hash.ok_or(QueryError::Missing("info_hash"))?);
    request.peer_id = PeerId(peer_id.ok_or(QueryError::Missing("peer_id"))?);
    request.port = port.ok_or(QueryError::Missing("port"))?;
    Ok(parsed)
}

/// Reads the query string of a scrape: the torrents asked for, at most [`MAX_SCRAPE`]. Empty means all.
///
/// # Errors
/// If an info-hash does not have 20 bytes.
pub fn parse_scrape_query(query: &str) -> Result<Vec<WireHash>, QueryError> {
    parameters(query)
        .filter(|(name, _)| *name == "info_hash")
        .take(MAX_SCRAPE)
        .map(|(_, value)| twenty(&value, "info_hash").map(WireHash))
        .collect()
}

/// The parameters of a query, values unescaped. A plus sign stands for itself: no client writes spaces so, and
/// some leave that byte of an info-hash as it is.
fn parameters(query: &str) -> impl Iterator<Item = (&str, Cow<'_, [u8]>)> {
    query.split('&').filter_map(|part| {
        let (name, value) = part.split_once('=')?;
        Some((name, percent_decode_str(value).into()))
    })
}

fn twenty(value: &[u8], name: &'static str) -> Result<[u8; 20], QueryError> {
    value.try_into().map_err(|_| QueryError::Invalid(name))
}

fn number<T: core::str::FromStr>(value: &[u8], name: &'static str) -> Result<T, QueryError> {
    let text = core::str::from_utf8(value).ok();
    text.and_then(|text| text.parse().ok()).ok_or(QueryError::Invalid(name))
}

fn event(value: &[u8]) -> Result<AnnounceEvent, QueryError> {
    match value {
        b"started" => Ok(AnnounceEvent::Started),
        b"completed" => Ok(AnnounceEvent::Completed),
        b"stopped" => Ok(AnnounceEvent::Stopped),
        // `paused` is BEP 21's word for an upload-only peer that stays.
        b"" | b"empty" | b"none" | b"paused" => Ok(AnnounceEvent::Periodic),
        _ => Err(QueryError::Invalid("event")),
    }
}

/// The key, which most clients write in hexadecimal. Any text is legal; what is no number becomes one.
fn key(value: &[u8]) -> u32 {
    let text = core::str::from_utf8(value).ok();
    text.and_then(|text| u32::from_str_radix(text, 16).ok())
        .unwrap_or_else(|| value.iter().fold(0, |key, &b| key.rotate_left(5) ^ u32::from(b)))
}
