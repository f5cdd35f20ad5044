//! What a tracker answers to a scrape (BEP 48), parsed and built.

use super::super::ScrapeStats;
use super::query::MAX_SCRAPE;
use super::response::{ResponseError, parse_document};
use crate::bencode::Encoder;
use crate::id::WireHash;
use alloc::vec::Vec;

/// Parses the body of an answer to a scrape: what the tracker knows of each torrent, in its order, at most
/// [`MAX_SCRAPE`] torrents. Numbers that are absent or absurd count as 0.
///
/// # Errors
/// If the tracker refuses, or the body is not an answer.
pub fn parse_scrape(body: &[u8]) -> Result<Vec<(WireHash, ScrapeStats)>, ResponseError> {
    parse_some(body, |_| true)
}

/// The same for the torrents in `wanted` alone: some trackers answer with all they know, whatever was asked.
///
/// # Errors
/// As [`parse_scrape`].
pub fn parse_scrape_of(
    body: &[u8],
    wanted: &[WireHash],
) -> Result<Vec<(WireHash, ScrapeStats)>, ResponseError> {
    parse_some(body, |hash| wanted.contains(hash))
}

fn parse_some(
    body: &[u8],
    wanted: impl Fn(&WireHash) -> bool,
) -> Result<Vec<(WireHash, ScrapeStats)>, ResponseError> {
    let doc = parse_document(body)?;
    let files = doc
        .as_dict()
        .and_then(|dict| dict.get_dict(b"files"))
        .ok_or(ResponseError::Missing("files"))?;
    let torrents = files.into_iter().filter_map(|(hash, value)| {
        let hash = Some(WireHash(hash.try_into().ok()?)).filter(&wanted)?;
        let dict = value.as_dict()?;
        let count = |key| dict.get_int(key).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        let stats = ScrapeStats {
            complete: count(b"complete"),
            downloaded: count(b"downloaded"),
            incomplete: count(b"incomplete"),
        };
        Some((hash, stats))
    });
    Ok(torrents.take(MAX_SCRAPE).collect())
}

/// The body of an answer to a scrape. A torrent named twice is written once.
#[must_use]
pub fn encode_scrape(torrents: &[(WireHash, ScrapeStats)]) -> Vec<u8> {
    let mut torrents = torrents.to_vec();
    torrents.sort_by_key(|entry| entry.0);
    torrents.dedup_by_key(|entry| entry.0);
    Encoder::dict_bytes(|dict| {
        dict.dict(b"files", |files| {
            for (hash, stats) in &torrents {
                files.dict(&hash.0, |dict| {
                    dict.int(b"complete", i64::from(stats.complete));
                    dict.int(b"downloaded", i64::from(stats.downloaded));
                    dict.int(b"incomplete", i64::from(stats.incomplete));
                });
            }
        });
    })
}
