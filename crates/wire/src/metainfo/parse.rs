//! The outer dictionary: who helps to download, and what is said about the torrent.

use super::info::{self, RawInfo};
use super::path::PathRules;
use super::{MAX_FILE_LEN, MAX_INFO_LEN, Metainfo, MetainfoError};
use crate::bencode::{self, Dict, Limits, Value};
use crate::metainfo::Info;
use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

/// Most trackers, web seeds, HTTP seeds or nodes taken from a file; more are left out.
const MAX_URLS: usize = 1000;

/// Longest URL taken from a file, in bytes.
const MAX_URL_BYTES: usize = 4096;

/// Most bytes of a comment, a source, and the like; the rest is cut.
const MAX_TEXT_BYTES: usize = 64 << 10;

impl Metainfo {
    /// Reads a `.torrent` file.
    ///
    /// Trackers, seeds and nodes that make no sense are left out: they are hints, and a torrent works without.
    ///
    /// # Errors
    /// If it is something else, or not a valid torrent; the error says what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetainfoError> {
        Self::parse_with(bytes, PathRules::HOST)
    }

    pub(super) fn parse_with(bytes: &[u8], rules: PathRules) -> Result<Self, MetainfoError> {
        refuse_other_formats(bytes)?;
        let doc = bencode::parse(bytes, Limits::FILE)?;
        let root = doc.as_dict().ok_or(MetainfoError::Field("info"))?;
        let info = root.get_dict(b"info").ok_or(MetainfoError::Field("info"))?;
        let layers = root.get_dict(b"piece layers");
        let info = info::read(&RawInfo { dict: info, rules, layers, need_layers: true })?;
        Ok(Self {
            info,
            trackers: trackers(root),
            web_seeds: urls_or_url(root.get(b"url-list")),
            http_seeds: urls_or_url(root.get(b"httpseeds")),
            nodes: nodes(root),
            creation_date: root.get_int(b"creation date"),
            created_by: text(root, b"created by.utf-8", b"created by"),
            comment: text(root, b"comment.utf-8", b"comment"),
        })
    }
}

impl Info {
    /// Reads an info dictionary alone, as peers send it (BEP 9). That its hash is the wanted one is for the caller
    /// to compare. The piece layers of a v2 torrent stand outside of it, so they are not known.
    ///
    /// # Errors
    /// If it is not a valid info dictionary; the error says what is wrong.
    pub fn parse(raw: &[u8]) -> Result<Self, MetainfoError> {
        if raw.len() > MAX_INFO_LEN {
            return Err(MetainfoError::TooBig(raw.len()));
        }
        let (doc, used) = bencode::parse_prefix(raw, Limits::FILE)?;
        if used < raw.len() {
            let fault = bencode::Fault::TrailingBytes;
            return Err(bencode::BencodeError { offset: used, fault }.into());
        }
        let dict = doc.as_dict().ok_or(MetainfoError::Field("info"))?;
        info::read(&RawInfo { dict, rules: PathRules::HOST, layers: None, need_layers: false })
    }
}

/// Says in words what a file is that people often have instead of a torrent.
fn refuse_other_formats(bytes: &[u8]) -> Result<(), MetainfoError> {
    let text = bytes.trim_ascii_start();
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii_start();
    if text.is_empty() {
        Err(MetainfoError::Empty)
    } else if text.starts_with(b"<") {
        Err(MetainfoError::Html)
    } else if bytes.starts_with(b"\x1f\x8b") {
        Err(MetainfoError::Gzip)
    } else if text.starts_with(b"magnet:") {
        Err(MetainfoError::Magnet)
    } else if bytes.len() > MAX_FILE_LEN {
        Err(MetainfoError::TooBig(bytes.len()))
    } else {
        Ok(())
    }
}

/// `announce-list` where it names any tracker, else `announce` (BEP 12).
fn trackers(root: Dict<'_, '_>) -> Vec<Vec<String>> {
    let mut seen = alloc::collections::BTreeSet::new();
    let mut tiers = Vec::new();
    for tier in root.get_list(b"announce-list").into_iter().flatten() {
        let urls = tier.as_list().into_iter().flatten().filter_map(url);
        let room = MAX_URLS.saturating_sub(seen.len());
        let tier: Vec<String> = urls.filter(|u| seen.insert(u.clone())).take(room).collect();
        if !tier.is_empty() {
            tiers.push(tier);
        }
    }
    if tiers.is_empty() {
        tiers.extend(root.get(b"announce").and_then(url).map(|url| alloc::vec![url]));
    }
    tiers
}

/// A list of URLs, or one (BEP 19).
fn urls_or_url(value: Option<Value<'_, '_>>) -> Vec<String> {
    let Some(value) = value else { return Vec::new() };
    let mut urls = Vec::new();
    let items = value.as_list().into_iter().flatten();
    for url in items.chain([value]).filter_map(url).take(MAX_URLS) {
        if !urls.contains(&url) {
            urls.push(url);
        }
    }
    urls
}

/// A string that has the outer form of a URL. What its scheme can do is for its user to know.
fn url(value: Value<'_, '_>) -> Option<String> {
    let text = value.as_str()?.trim();
    let (scheme, rest) = text.split_once("://")?;
    let ok = !rest.is_empty()
        && text.len() <= MAX_URL_BYTES
        && !text.chars().any(|c| c.is_control() || c.is_whitespace())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    ok.then(|| text.to_owned())
}

fn nodes(root: Dict<'_, '_>) -> Vec<(String, u16)> {
    let node = |value: Value<'_, '_>| {
        let mut pair = value.as_list()?.into_iter();
        let host = pair.next()?.as_str()?;
        let port = u16::try_from(pair.next()?.as_int()?).ok()?;
        let ok = port > 0
            && !host.is_empty()
            && host.len() <= 253
            && host.bytes().all(|b| b.is_ascii_graphic());
        ok.then(|| (host.to_owned(), port))
    };
    root.get_list(b"nodes").into_iter().flatten().filter_map(node).take(MAX_URLS).collect()
}

/// Text that is safe to print: lossy UTF-8, no control characters but line ends and tabs.
pub(super) fn text(dict: Dict<'_, '_>, utf8: &[u8], plain: &[u8]) -> Option<String> {
    let bytes = dict.get_bytes(utf8).or_else(|| dict.get_bytes(plain))?;
    let bytes = &bytes[..bytes.len().min(MAX_TEXT_BYTES)];
    let text = String::from_utf8_lossy(bytes);
    Some(text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect())
}
