//! Links that follow a mutable item of the DHT (BEP 46): `magnet:?xs=urn:btpk:KEY&s=SALT`.
//!
//! The item is signed by KEY and says which torrent is meant today; whoever has the secret key can let it point to another.
//! Such a link may also name a torrent (`xt`), which is what to begin with while the item is looked for.

use super::{
    MAX_LINK_BYTES, Magnet, MagnetError, Parts, PeerHint, excerpt, hex, write_hashes, write_hints,
};
use crate::id::InfoHashes;
use crate::krpc::{MAX_SALT, NodeId, PublicKey, mutable_target};
use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::RangeInclusive;
use core::str::FromStr;
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};

/// A magnet link of either kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MagnetLink {
    /// It names one torrent for ever.
    Torrent(Magnet),
    /// It follows an item that names a torrent (BEP 46).
    Mutable(MutableMagnet),
}

/// A link that follows a mutable item of the DHT (BEP 46).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MutableMagnet {
    /// `xs=urn:btpk:`: who signs the item.
    pub key: PublicKey,
    /// `s`: tells apart the items of one key; empty if there is none, at most [`MAX_SALT`] bytes.
    pub salt: Vec<u8>,
    /// `xt`: the torrent that the item pointed to when the link was made, if the link says so.
    pub hashes: Option<InfoHashes>,
    /// As [`Magnet::name`].
    pub name: Option<String>,
    /// As [`Magnet::trackers`].
    pub trackers: Vec<String>,
    /// As [`Magnet::web_seeds`].
    pub web_seeds: Vec<String>,
    /// As [`Magnet::peers`].
    pub peers: Vec<PeerHint>,
    /// As [`Magnet::select`].
    pub select: Vec<RangeInclusive<u32>>,
}

impl MagnetLink {
    /// Reads a link of either kind. One with an item and a torrent follows the item.
    ///
    /// # Errors
    /// If it is not a magnet link, names neither a torrent nor an item, or a part that cannot be ignored is malformed.
    pub fn parse(link: &str) -> Result<Self, MagnetError> {
        let link = link.trim();
        if link.len() > MAX_LINK_BYTES {
            return Err(MagnetError::TooLong(link.len()));
        }
        let query = link.split_at_checked(8).filter(|(s, _)| s.eq_ignore_ascii_case("magnet:?"));
        let (_, query) = query.ok_or(MagnetError::Scheme)?;
        // A fragment is no part of a query (RFC 3986).
        let query = query.split('#').next().unwrap_or_default();
        let mut parts = Parts::default();
        for parameter in query.split('&') {
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            parts.take(&key.to_ascii_lowercase(), value)?;
        }
        let hashes = parts.hashes();
        if let Some(key) = parts.item {
            return Ok(Self::Mutable(MutableMagnet::of_parts(key, hashes, parts)?));
        }
        hashes.map(|hashes| Self::Torrent(parts.into_magnet(hashes))).ok_or(MagnetError::NoHash)
    }
}

impl MutableMagnet {
    /// A link that has nothing but the key and the salt of the item.
    #[must_use]
    pub const fn new(key: PublicKey, salt: Vec<u8>) -> Self {
        Self {
            key,
            salt,
            hashes: None,
            name: None,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            peers: Vec::new(),
            select: Vec::new(),
        }
    }

    fn of_parts(
        key: PublicKey,
        hashes: Option<InfoHashes>,
        parts: Parts,
    ) -> Result<Self, MagnetError> {
        let digits = match &parts.salts[..] {
            [] => "",
            [one] => one,
            _ => return Err(MagnetError::TwoItems),
        };
        let salt = HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok();
        let salt = salt
            .filter(|salt| salt.len() <= MAX_SALT)
            .ok_or_else(|| MagnetError::Salt(excerpt(digits)))?;
        let select = super::merged(parts.select);
        let Parts { name, trackers, web_seeds, peers, .. } = parts;
        Ok(Self { key, salt, hashes, name, trackers, web_seeds, peers, select })
    }

    /// Where the item is stored.
    #[must_use]
    pub fn target(&self) -> NodeId {
        mutable_target(&self.key, &self.salt)
    }

    /// The link to the torrent that the item points to, with all the hints of this one.
    #[must_use]
    pub fn into_magnet(self, hashes: InfoHashes) -> Magnet {
        let Self { name, trackers, web_seeds, peers, select, .. } = self;
        Magnet { hashes, name, trackers, web_seeds, peers, select }
    }
}

impl Parts {
    /// Takes `xs`. Other exact sources, such as addresses of the torrent, may stand there.
    pub(super) fn take_source(&mut self, source: &str) -> Result<(), MagnetError> {
        let Some((urn, key)) = source.split_at_checked(9) else { return Ok(()) };
        if !urn.eq_ignore_ascii_case("urn:btpk:") {
            return Ok(());
        }
        let key = hex(key).ok_or_else(|| MagnetError::PublicKey(excerpt(key)))?;
        match self.item.replace(PublicKey(key)) {
            Some(other) if other.0 != key => Err(MagnetError::TwoItems),
            _ => Ok(()),
        }
    }

    /// Takes `s`, which without a key may mean anything.
    pub(super) fn take_salt(&mut self, salt: &str) {
        if self.salts.len() < 2 && !self.salts.iter().any(|one| one.eq_ignore_ascii_case(salt)) {
            self.salts.push(salt.to_owned());
        }
    }
}

impl FromStr for MagnetLink {
    type Err = MagnetError;
    fn from_str(link: &str) -> Result<Self, MagnetError> {
        Self::parse(link)
    }
}

/// Writes the canonical link.
impl fmt::Display for MagnetLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Torrent(magnet) => magnet.fmt(f),
            Self::Mutable(followed) => followed.fmt(f),
        }
    }
}

/// Writes the canonical link.
impl fmt::Display for MutableMagnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "magnet:?xs=urn:btpk:{}", HEXLOWER.encode(&self.key.0))?;
        if !self.salt.is_empty() {
            write!(f, "&s={}", HEXLOWER.encode(&self.salt))?;
        }
        if let Some(hashes) = &self.hashes {
            write_hashes(f, hashes, "&")?;
        }
        let Self { name, trackers, web_seeds, peers, select, .. } = self;
        write_hints(f, name.as_deref(), trackers, web_seeds, peers, select)
    }
}
