//! Reads the body of an HTTP answer, bounded before and after decompression.

use super::error::TrackerFault;
use flate2::read::MultiGzDecoder;
use reqwest::Response;
use reqwest::header::CONTENT_ENCODING;
use std::io::Read;

/// How much of a body is taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyLimit {
    /// Bytes at most, before and after decompression.
    pub(super) max: usize,
}

/// For answers of trackers.
pub(super) const ANNOUNCE: BodyLimit = BodyLimit { max: 1024 * 1024 };

/// Decompressed bytes for each compressed byte. No honest answer comes near.
pub(super) const MAX_RATIO: usize = 100;

/// Reads the body of `response` to its end.
pub(super) async fn read(
    mut response: Response,
    limit: BodyLimit,
) -> Result<Vec<u8>, TrackerFault> {
    let too_large = TrackerFault::TooLarge(limit.max);
    if response.content_length().is_some_and(|len| len > limit.max as u64) {
        return Err(too_large);
    }
    let encoding = match response.headers().get(CONTENT_ENCODING).map(|value| value.as_bytes()) {
        None | Some(b"" | b"identity") => Encoding::Unsaid,
        Some(b"gzip" | b"x-gzip") => Encoding::Gzip,
        Some(_) => return Err(TrackerFault::Compression),
    };
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(part)) if body.len() + part.len() > limit.max => return Err(too_large),
            Ok(Some(part)) => body.extend_from_slice(&part),
            Ok(None) => break,
            Err(error) => return Err(super::http::fault_of(&error)),
        }
    }
    // Some trackers compress without saying so; nothing else that we want begins with these bytes.
    if encoding == Encoding::Gzip || body.starts_with(&[0x1f, 0x8b]) {
        return gunzip(&body, limit);
    }
    Ok(body)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Unsaid,
    Gzip,
}

pub(super) fn gunzip(compressed: &[u8], limit: BodyLimit) -> Result<Vec<u8>, TrackerFault> {
    let max = limit.max.min(compressed.len().saturating_mul(MAX_RATIO));
    let mut body = Vec::new();
    let mut decoder = MultiGzDecoder::new(compressed).take(max as u64 + 1);
    decoder.read_to_end(&mut body).map_err(|_| TrackerFault::Compression)?;
    if body.len() > limit.max {
        return Err(TrackerFault::TooLarge(limit.max));
    }
    if body.len() > max {
        return Err(TrackerFault::Compression);
    }
    Ok(body)
}
