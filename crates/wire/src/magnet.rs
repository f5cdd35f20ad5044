//! Magnet links (BEP 9, BEP 53): a torrent named by its info-hash, with hints where to find peers.
//!
//! `magnet:?xt=urn:btih:HASH&dn=NAME&tr=TRACKER`. A link may instead follow an item of the DHT that names the torrent and can
//! change (BEP 46): [`MagnetLink`] reads both kinds. Hashes, keys and the selection must be right, or the link is
//! refused with the name of the wrong part. The rest are hints, of which those that make no sense are left out.
//! Parameters of no meaning to us are ignored, as are all beyond the bounds below.

use crate::id::{InfoHashV1, InfoHashV2, InfoHashes};
use crate::krpc::{MAX_SALT, PublicKey};
use crate::metainfo::Metainfo;
use alloc::borrow::{Cow, ToOwned};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::RangeInclusive;
use core::str::FromStr;
use data_encoding::{BASE32_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

mod mutable;

pub use mutable::{MagnetLink, MutableMagnet};

/// Longest link, in bytes.
pub const MAX_LINK_BYTES: usize = 64 << 10;

/// Most trackers, web seeds and peers each.
const MAX_HINTS: usize = 200;

/// Most ranges in a selection of files.
const MAX_RANGES: usize = 10_000;

/// Longest name, in bytes.
const MAX_NAME_BYTES: usize = 1024;

/// A magnet link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Magnet {
    /// `xt`: the info-hash or, for a hybrid torrent, both.
    pub hashes: InfoHashes,
    /// `dn`: what to call the torrent until its metadata is here. Text to be shown, not a path.
    pub name: Option<String>,
    /// `tr`: tracker URLs.
    pub trackers: Vec<String>,
    /// `ws`: web seeds.
    pub web_seeds: Vec<String>,
    /// `x.pe`: peers to ask first.
    pub peers: Vec<PeerHint>,
    /// `so`: ranges of file indices to download, ascending and apart from one another; empty for all (BEP 53).
    pub select: Vec<RangeInclusive<u32>>,
}

/// A peer named in a link; the host is a name or an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerHint {
    /// Name, or IPv4 or IPv6 address without brackets.
    pub host: String,
    /// Never 0.
    pub port: u16,
}

/// Why some text is not a magnet link that we can use. Says which part is wrong.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MagnetError {
    /// It does not begin with `magnet:?`.
    #[error("not a magnet link: it does not begin with `magnet:?`")]
    Scheme,
    /// Beyond [`MAX_LINK_BYTES`].
    #[error("the magnet link has {0} bytes; at most {MAX_LINK_BYTES} are accepted")]
    TooLong(usize),
    /// No info-hash.
    #[error("the magnet link names no torrent: it has no `xt=urn:btih:` or `xt=urn:btmh:`")]
    NoHash,
    /// A v1 info-hash that is none.
    #[error("`xt=urn:btih:{0}`: an info-hash has 40 hexadecimal or 32 base32 digits")]
    HashV1(String),
    /// A v2 info-hash that is none.
    #[error("`xt=urn:btmh:{0}`: a v2 info-hash is `1220` and 64 hexadecimal digits")]
    HashV2(String),
    /// No info-hash but an item that names one (BEP 46), where a torrent itself was to be named.
    #[error(
        "the magnet link names no torrent, only an item of the DHT that does (`xs=urn:btpk:`), \
         and to follow one is not supported yet"
    )]
    OnlyMutable,
    /// A public key that is none.
    #[error("`xs=urn:btpk:{0}`: a public key has 64 hexadecimal digits")]
    PublicKey(String),
    /// The salt of an item that is none.
    #[error("`s={0}`: a salt is hexadecimal, two digits for each of at most {MAX_SALT} bytes")]
    Salt(String),
    /// Two different keys or salts.
    #[error("the magnet link names two different items of the DHT in `xs` and `s`")]
    TwoItems,
    /// Two different hashes of the same kind.
    #[error("the magnet link names two different torrents in `xt`")]
    TwoTorrents,
    /// A selection that is none.
    #[error("`so={0}`: a selection is file indices and ranges, such as `0,2,4-6`")]
    Selection(String),
    /// Neither hexadecimal nor base32 of an info-hash's length.
    #[error("`{0}` is no info-hash: that has 40 or 64 hexadecimal digits, or 32 of base32")]
    BareHash(String),
}

impl Magnet {
    /// A link that has nothing but the info-hash.
    #[must_use]
    pub const fn new(hashes: InfoHashes) -> Self {
        Self {
            hashes,
            name: None,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            peers: Vec::new(),
            select: Vec::new(),
        }
    }

    /// The link to a torrent, with all its trackers and web seeds.
    #[must_use]
    pub fn of(metainfo: &Metainfo) -> Self {
        Self {
            name: Some(metainfo.info.name().to_owned()),
            trackers: metainfo.trackers.iter().flatten().take(MAX_HINTS).cloned().collect(),
            web_seeds: metainfo.web_seeds.iter().take(MAX_HINTS).cloned().collect(),
            ..Self::new(metainfo.info.hashes())
        }
    }

    /// Reads an info-hash that stands alone: 40 (v1) or 64 (v2) hexadecimal digits, or 32 of base32 (v1).
    ///
    /// # Errors
    /// If it is anything else.
    pub fn from_info_hash(text: &str) -> Result<Self, MagnetError> {
        let text = text.trim();
        let v2 = || hex(text).map(|hash| InfoHashes::v2_only(InfoHashV2(hash)));
        let hashes = hash_v1(text).map(InfoHashes::v1_only).or_else(v2);
        hashes.map(Self::new).ok_or_else(|| MagnetError::BareHash(excerpt(text)))
    }

    /// Reads a link to a torrent. What a link that follows an item (BEP 46) says of the torrent itself is read and the
    /// item passed over; [`MagnetLink::parse`] reads both.
    ///
    /// # Errors
    /// If it is not a magnet link, names no torrent, or a part that cannot be ignored is malformed.
    pub fn parse(link: &str) -> Result<Self, MagnetError> {
        match MagnetLink::parse(link)? {
            MagnetLink::Torrent(magnet) => Ok(magnet),
            MagnetLink::Mutable(followed) => {
                let hashes = followed.hashes.ok_or(MagnetError::OnlyMutable)?;
                Ok(followed.into_magnet(hashes))
            }
        }
    }
}

impl FromStr for Magnet {
    type Err = MagnetError;
    fn from_str(link: &str) -> Result<Self, MagnetError> {
        Self::parse(link)
    }
}

/// What has been read of a link.
#[derive(Default)]
struct Parts {
    v1: Option<InfoHashV1>,
    v2: Option<InfoHashV2>,
    item: Option<PublicKey>,
    /// `s` as it stands, up to two that differ; only with a key is it a salt.
    salts: Vec<String>,
    name: Option<String>,
    trackers: Vec<String>,
    web_seeds: Vec<String>,
    peers: Vec<PeerHint>,
    select: Vec<RangeInclusive<u32>>,
}

impl Parts {
    fn take(&mut self, key: &str, value: &str) -> Result<(), MagnetError> {
        // Some links number what they repeat: `tr.1`, `tr.2`.
        let base = match key.split_once('.') {
            Some((base, n)) if !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()) => base,
            _ => key,
        };
        match base {
            "xt" => self.take_topic(&decode(value))?,
            "xs" => self.take_source(&decode(value))?,
            "s" => self.take_salt(&decode(value)),
            "dn" if self.name.is_none() => self.name = name(value),
            "tr" => push(&mut self.trackers, url(value)),
            "ws" => push(&mut self.web_seeds, url(value)),
            "x.pe" => push(&mut self.peers, peer(&decode(value))),
            "so" => self.take_selection(&decode(value))?,
            _ => {}
        }
        Ok(())
    }

    /// Takes `xt`. Topics of other networks may stand beside ours.
    fn take_topic(&mut self, topic: &str) -> Result<(), MagnetError> {
        let Some((urn, hash)) = topic.split_at_checked(9) else { return Ok(()) };
        if urn.eq_ignore_ascii_case("urn:btih:") {
            let hash = hash_v1(hash).ok_or_else(|| MagnetError::HashV1(excerpt(hash)))?;
            only(&mut self.v1, hash)
        } else if urn.eq_ignore_ascii_case("urn:btmh:") {
            // A multihash: 0x12 is SHA-256, 0x20 its length.
            let digest = hash.strip_prefix("1220").and_then(hex);
            let digest = digest.ok_or_else(|| MagnetError::HashV2(excerpt(hash)))?;
            only(&mut self.v2, InfoHashV2(digest))
        } else {
            Ok(())
        }
    }

    fn take_selection(&mut self, text: &str) -> Result<(), MagnetError> {
        let wrong = || MagnetError::Selection(excerpt(text));
        for item in text.split(',').filter(|item| !item.is_empty()) {
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            let index = |digits: &str| {
                // `parse` alone would let a sign pass.
                let plain = digits.bytes().all(|b| b.is_ascii_digit());
                digits.parse::<u32>().ok().filter(|_| plain)
            };
            let (first, last) = index(first).zip(index(last)).ok_or_else(wrong)?;
            if first > last || self.select.len() >= MAX_RANGES {
                return Err(wrong());
            }
            self.select.push(first..=last);
        }
        Ok(())
    }

    /// The info-hashes, if there are any.
    const fn hashes(&self) -> Option<InfoHashes> {
        match (self.v1, self.v2) {
            (Some(v1), Some(v2)) => Some(InfoHashes::hybrid(v1, v2)),
            (Some(v1), None) => Some(InfoHashes::v1_only(v1)),
            (None, Some(v2)) => Some(InfoHashes::v2_only(v2)),
            (None, None) => None,
        }
    }

    /// All but the item.
    fn into_magnet(self, hashes: InfoHashes) -> Magnet {
        let Self { name, trackers, web_seeds, peers, .. } = self;
        Magnet { hashes, name, trackers, web_seeds, peers, select: merged(self.select) }
    }
}

/// Sorts ranges and joins those that overlap or touch.
fn merged(mut ranges: Vec<RangeInclusive<u32>>) -> Vec<RangeInclusive<u32>> {
    ranges.sort_by_key(|r| *r.start());
    let mut out: Vec<RangeInclusive<u32>> = Vec::new();
    for range in ranges {
        match out.last_mut() {
            Some(last) if *range.start() <= last.end().saturating_add(1) => {
                *last = *last.start()..=*last.end().max(range.end());
            }
            _ => out.push(range),
        }
    }
    out
}

/// The same hash twice is no harm; two are.
fn only<T: PartialEq>(slot: &mut Option<T>, hash: T) -> Result<(), MagnetError> {
    match slot {
        Some(other) if *other != hash => Err(MagnetError::TwoTorrents),
        _ => {
            *slot = Some(hash);
            Ok(())
        }
    }
}

fn push<T: PartialEq>(list: &mut Vec<T>, item: Option<T>) {
    if let Some(item) = item.filter(|item| list.len() < MAX_HINTS && !list.contains(item)) {
        list.push(item);
    }
}

fn hash_v1(text: &str) -> Option<InfoHashV1> {
    let base32 = || {
        let bytes = BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).ok()?;
        bytes.try_into().ok()
    };
    match text.len() {
        40 => hex(text).map(InfoHashV1),
        32 => base32().map(InfoHashV1),
        _ => None,
    }
}

fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let fits = text.len() == 2 * N;
    let decoded = fits.then(|| HEXLOWER_PERMISSIVE.decode_mut(text.as_bytes(), &mut bytes))?;
    decoded.is_ok().then_some(bytes)
}

/// Percent-decoding; bytes that are not UTF-8 become U+FFFD. A `+` is a plus.
fn decode(value: &str) -> Cow<'_, str> {
    percent_decode_str(value).decode_utf8_lossy()
}

/// A name to be shown: a `+` is a space, as links from web forms have it, and control characters are gone.
fn name(value: &str) -> Option<String> {
    let value = value.replace('+', " ");
    let text: String = decode(&value).chars().filter(|c| !c.is_control()).collect();
    let text = text.trim();
    let text = text[..text.floor_char_boundary(MAX_NAME_BYTES)].trim_end();
    (!text.is_empty()).then(|| text.to_owned())
}

fn url(value: &str) -> Option<String> {
    let text = decode(value);
    let text = text.trim();
    let plain = !text.chars().any(|c| c.is_control() || c.is_whitespace());
    let (scheme, rest) = text.split_once("://")?;
    (plain && !scheme.is_empty() && !rest.is_empty()).then(|| text.to_owned())
}

fn peer(text: &str) -> Option<PeerHint> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|&port| port > 0)?;
    let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    // A name has no colon, and in brackets stands nothing but an IPv6 address.
    let valid = match bracketed {
        Some(v6) => v6.parse::<core::net::Ipv6Addr>().is_ok(),
        None => host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)),
    };
    let host = bracketed.unwrap_or(host);
    (valid && !host.is_empty() && host.len() <= 253)
        .then(|| PeerHint { host: host.to_owned(), port })
}

/// Enough of some text to recognise it in a message.
fn excerpt(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

/// All but letters, digits and `-._~` is escaped (RFC 3986, unreserved).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Writes the canonical link, which every client understands.
impl fmt::Display for Magnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hashes(f, &self.hashes, "magnet:?")?;
        let Self { name, trackers, web_seeds, peers, select, .. } = self;
        write_hints(f, name.as_deref(), trackers, web_seeds, peers, select)
    }
}

/// The `xt`, the first of them behind `separator`.
fn write_hashes(
    f: &mut fmt::Formatter<'_>,
    hashes: &InfoHashes,
    mut separator: &str,
) -> fmt::Result {
    let mut next = || core::mem::replace(&mut separator, "&");
    if let Some(v1) = hashes.v1() {
        write!(f, "{}xt=urn:btih:{v1}", next())?;
    }
    if let Some(v2) = hashes.v2() {
        write!(f, "{}xt=urn:btmh:1220{}", next(), HEXLOWER.encode(&v2.0))?;
    }
    Ok(())
}

/// All that may stand behind what is named.
fn write_hints(
    f: &mut fmt::Formatter<'_>,
    name: Option<&str>,
    trackers: &[String],
    web_seeds: &[String],
    peers: &[PeerHint],
    select: &[RangeInclusive<u32>],
) -> fmt::Result {
    let escape = |text| utf8_percent_encode(text, ESCAPED);
    if let Some(name) = name {
        write!(f, "&dn={}", escape(name))?;
    }
    for tracker in trackers {
        write!(f, "&tr={}", escape(tracker))?;
    }
    for seed in web_seeds {
        write!(f, "&ws={}", escape(seed))?;
    }
    for peer in peers {
        write!(f, "&x.pe={peer}")?;
    }
    for (i, range) in select.iter().enumerate() {
        f.write_str(if i == 0 { "&so=" } else { "," })?;
        write!(f, "{}", range.start())?;
        if range.start() < range.end() {
            write!(f, "-{}", range.end())?;
        }
    }
    Ok(())
}

/// `host:port`, or `[address]:port` for IPv6.
impl fmt::Display for PeerHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests;
