//! Fetching an info dictionary of which only the hash is known (BEP 9), before there is a torrent.
//!
//! Nothing but the hash of the whole can be checked, and how long the whole is nobody knows but from peers that may
//! lie. So:
//!
//! - Peers that claim the same length form a *group*. In a group the pieces come from all its peers at once; a piece
//!   that is slow to come is asked of a second peer.
//! - When a group's pieces do not have the right hash and came from one peer, that peer is convicted. If they came from
//!   several, each is asked for all pieces alone from then on: that ends in the right bytes or in proof.
//! - When the right bytes are known, those who sent others, or claimed another length, are convicted too.
//! - Honest peers are never convicted. Liars are asked for a bounded number of pieces: each at most twice for the
//!   whole. A group, and a peer asked alone, has its place for a time that follows from the length, if others wait.
//!
//! The info dictionary of a v2 torrent leaves out its piece layers: [`LayerFetch`] fetches them when it is there.
//!
//! Bounds: [`MAX_PEERS`]; [`MAX_METADATA_LEN`](samara_wire::peer::extension::MAX_METADATA_LEN) each; pieces are kept
//! for at most [`MAX_GROUPS`] groups and [`MAX_ALONE`] peers asked alone.

mod assembly;
mod choose;
mod layers;
#[cfg(test)]
pub(crate) mod tests;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
pub use assembly::is_named;
use assembly::{Assembly, Evidence};
pub use layers::{LayerFetch, PieceLayers};
use samara_wire::id::InfoHashes;
use samara_wire::peer::extension::ExtensionHandshake;
use samara_wire::peer::message::Message;
use samara_wire::peer::ut_metadata::{METADATA_PIECE_LEN, MetadataMessage, NAME, len_of_piece};
use samara_wire::time::{Duration, Instant};
use sha1::{Digest, Sha1};

/// The id under which we want `ut_metadata` messages: to be said in our extension handshake.
pub const UT_METADATA_ID: u8 = 2;

/// Peers that are asked or wait to be asked.
pub const MAX_PEERS: usize = 64;

/// Claimed lengths that are fetched at the same time.
pub const MAX_GROUPS: usize = 2;

/// Peers that are asked for the whole alone at the same time.
pub const MAX_ALONE: usize = 2;

/// How long a piece is waited for.
const PATIENCE: Duration = Duration::from_secs(15);

/// Time-outs in a row after which a peer is given up.
const MAX_TIMEOUTS: u8 = 3;

/// Refusals in a row after which a peer is given up.
const MAX_REFUSALS: u8 = 5;

/// A peer that let us wait, or refused, is left in peace for this long.
const PAUSE: Duration = Duration::from_secs(5);

/// Names a peer: chosen by the caller, never used again for another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FetchKey(pub u32);

/// One thing the caller is to do. `T` is what is fetched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FetchEffect<T = Vec<u8>> {
    /// Send a message.
    Send(FetchKey, Message),
    /// Close the connection; the peer is forgotten already.
    Drop(FetchKey, FetchFault),
    /// Here it is, proven by its hash. Nothing is fetched any more.
    Done(T),
}

/// Why a peer is of no use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FetchFault {
    /// It does not have the metadata, or does not give it to anybody.
    NoMetadata,
    /// It says that it has the metadata, and refuses it.
    Refuses,
    /// It does not answer.
    Silent,
    /// It is proven to have sent wrong bytes, or to have claimed a wrong length.
    Lied,
    /// There are peers enough.
    Full,
}

/// How far the fetch is, for display. Each peer counts once however often it is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FetchStatus {
    /// Peers that were asked for a piece.
    pub asked: u32,
    /// Peers that do not have the metadata or give it to nobody.
    pub without: u32,
    /// Peers that refused, or did not answer.
    pub unwilling: u32,
    /// Peers that are proven to have lied.
    pub liars: u32,
    /// Bytes received of the attempt that is furthest.
    pub received: u32,
    /// Length of the whole as claimed by those peers; 0 if nobody claims any.
    pub claimed: u32,
}

/// The fetch of one info dictionary. After each call the effects are to be carried out in order.
#[derive(Debug)]
pub struct MetadataFetch {
    hashes: InfoHashes,
    peers: BTreeMap<FetchKey, Peer>,
    groups: BTreeMap<u32, Group>,
    counts: FetchStatus,
    asked: BTreeSet<FetchKey>,
    done: bool,
}

/// A peer that says it has the metadata.
#[derive(Debug)]
struct Peer {
    /// The id it gave for `ut_metadata` messages.
    id: u8,
    /// The length it claims.
    len: u32,
    asked: Vec<(u32, Instant)>,
    timeouts: u8,
    refusals: u8,
    paused_until: Option<Instant>,
    /// Its pieces alone, and since when, while it is asked alone.
    alone: Option<(Instant, Assembly)>,
    /// How often its time alone was up.
    turns: u32,
}

/// Peers that claim the same length.
#[derive(Debug, Default)]
struct Group {
    /// Since when it has a place.
    since: Option<Instant>,
    /// The pieces that came from all of them; `None` without a place.
    shared: Option<Assembly>,
    /// Somebody in it has lied: everybody is asked alone.
    distrusted: bool,
    /// How often its time was up.
    turns: u32,
    /// What was sent when the hash was wrong.
    evidence: Vec<Evidence>,
}

impl MetadataFetch {
    /// A fetch of what `hashes` names.
    #[must_use]
    pub fn new(hashes: InfoHashes) -> Self {
        Self {
            hashes,
            peers: BTreeMap::new(),
            groups: BTreeMap::new(),
            counts: FetchStatus::default(),
            asked: BTreeSet::new(),
            done: false,
        }
    }

    /// A peer said what it can do. A later word replaces the first.
    pub fn handle_extensions(
        &mut self,
        now: Instant,
        key: FetchKey,
        said: &ExtensionHandshake,
        out: &mut Vec<FetchEffect>,
    ) {
        let offer = said.id_of(NAME).zip(said.metadata_len);
        let Some((id, len)) = offer.filter(|_| !self.done) else {
            return self.drop_peer(now, key, FetchFault::NoMetadata, out);
        };
        if let Some(peer) = self.peers.get_mut(&key).filter(|peer| peer.len == len) {
            peer.id = id;
            return;
        }
        self.peers.remove(&key);
        if self.peers.len() >= MAX_PEERS {
            return self.drop_peer(now, key, FetchFault::Full, out);
        }
        self.peers.insert(key, Peer::new(id, len));
        self.groups.entry(len).or_default();
        self.drive(now, out);
    }

    /// A peer sent an extended message under [`UT_METADATA_ID`].
    pub fn handle_message(
        &mut self,
        now: Instant,
        key: FetchKey,
        payload: &[u8],
        out: &mut Vec<FetchEffect>,
    ) {
        let Some(peer) = self.peers.get_mut(&key).filter(|_| !self.done) else { return };
        match MetadataMessage::parse(payload) {
            Ok(MetadataMessage::Request { piece }) => {
                let reject = MetadataMessage::Reject { piece }.encode().into();
                out.push(FetchEffect::Send(
                    key,
                    Message::Extended { id: peer.id, payload: reject },
                ));
            }
            Ok(MetadataMessage::Reject { piece }) => {
                if !peer.take(piece) {
                    return;
                }
                peer.refusals += 1;
                if peer.refusals >= MAX_REFUSALS {
                    return self.drop_peer(now, key, FetchFault::Refuses, out);
                }
                peer.pause(now);
                self.drive(now, out);
            }
            // What was not asked for, or comes when it was given up, is no fault.
            Ok(MetadataMessage::Data { piece, payload, .. }) if peer.take(piece) => {
                if payload.len() != len_of_piece(peer.len, piece) as usize {
                    // Whatever the truth is, it does not go with the length that it claims.
                    return self.drop_peer(now, key, FetchFault::Lied, out);
                }
                self.on_piece(now, key, piece, payload, out);
            }
            Ok(MetadataMessage::Data { .. }) | Err(_) => {}
        }
    }

    /// The connection ended.
    pub fn handle_disconnected(&mut self, now: Instant, key: FetchKey, out: &mut Vec<FetchEffect>) {
        if self.peers.remove(&key).is_some() {
            self.drive(now, out);
        }
    }

    /// Time has passed. May be called too early or too often.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<FetchEffect>) {
        let mut silent = Vec::new();
        for (key, peer) in &mut self.peers {
            if peer.asked.iter().any(|(_, since)| *since + PATIENCE <= now) {
                peer.asked.clear();
                peer.timeouts += 1;
                peer.pause(now);
                if peer.timeouts >= MAX_TIMEOUTS {
                    silent.push(*key);
                }
            }
        }
        for key in silent {
            self.drop_peer(now, key, FetchFault::Silent, out);
        }
        self.drive(now, out);
    }

    /// When [`MetadataFetch::handle_timeout`] is to be called next; `None` if only an input can bring news.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.done {
            return None;
        }
        let of_peers = self.peers.values().flat_map(|peer| {
            let oldest = peer.asked.iter().map(|(_, since)| *since + PATIENCE).min();
            [oldest, peer.paused_until]
        });
        let of_groups = self.groups.iter().map(|(len, group)| self.group_deadline(*len, group));
        let alone = self.peers.values().map(|peer| self.alone_deadline(peer));
        of_peers.chain(of_groups).chain(alone).flatten().min()
    }

    /// How far the fetch is.
    #[must_use]
    pub fn status(&self) -> FetchStatus {
        let shared = self.groups.iter().filter_map(|(len, g)| Some((*len, g.shared.as_ref()?)));
        let alone = self.peers.values().filter_map(|p| Some((p.len, &p.alone.as_ref()?.1)));
        let attempts = shared.chain(alone).map(|(len, assembly)| {
            let here = u32::try_from(assembly.count() - assembly.missing()).unwrap_or(u32::MAX);
            (here.saturating_mul(METADATA_PIECE_LEN).min(len), len)
        });
        let (received, claimed) = attempts.max().unwrap_or_default();
        let asked = u32::try_from(self.asked.len()).unwrap_or(u32::MAX);
        FetchStatus { asked, received, claimed, ..self.counts }
    }

    fn on_piece(
        &mut self,
        now: Instant,
        key: FetchKey,
        piece: u32,
        bytes: &[u8],
        out: &mut Vec<FetchEffect>,
    ) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        (peer.timeouts, peer.refusals) = (0, 0);
        let len = peer.len;
        if let Some((_, alone)) = &mut peer.alone {
            alone.insert(piece, key, bytes);
            if alone.missing() == 0 {
                let raw = alone.bytes();
                if is_named(&self.hashes, &raw) {
                    return self.finish(now, raw, out);
                }
                return self.drop_peer(now, key, FetchFault::Lied, out);
            }
        } else if let Some(group) = self.groups.get_mut(&len)
            && let Some(shared) = &mut group.shared
        {
            shared.insert(piece, key, bytes);
            if shared.missing() == 0 {
                return self.on_group_complete(now, len, out);
            }
        }
        self.drive(now, out);
    }

    /// All pieces of a group are here.
    fn on_group_complete(&mut self, now: Instant, len: u32, out: &mut Vec<FetchEffect>) {
        let Some(group) = self.groups.get_mut(&len) else { return };
        let Some(shared) = group.shared.take() else { return };
        let raw = shared.bytes();
        if is_named(&self.hashes, &raw) {
            return self.finish(now, raw, out);
        }
        let evidence: Vec<Evidence> = shared.evidence().collect();
        let senders: BTreeSet<FetchKey> = evidence.iter().map(|e| e.from).collect();
        if let (Some(only), 1) = (senders.first(), senders.len()) {
            group.shared = Some(Assembly::new(len));
            return self.drop_peer(now, *only, FetchFault::Lied, out);
        }
        group.distrusted = true;
        group.evidence = evidence;
        for peer in self.peers.values_mut().filter(|peer| peer.len == len) {
            peer.asked.clear();
        }
        self.drive(now, out);
    }

    /// The truth is known: tells it, and who is now proven to have lied.
    fn finish(&mut self, now: Instant, raw: Vec<u8>, out: &mut Vec<FetchEffect>) {
        self.done = true;
        let truth: Vec<[u8; 20]> =
            raw.chunks(METADATA_PIECE_LEN as usize).map(|p| Sha1::digest(p).into()).collect();
        let wrong_len = self.peers.iter().filter(|(_, peer)| peer.len as usize != raw.len());
        let mut liars: BTreeSet<FetchKey> = wrong_len.map(|(key, _)| *key).collect();
        for (len, group) in &self.groups {
            let wrong = |e: &&Evidence| {
                *len as usize != raw.len() || truth.get(e.piece as usize) != Some(&e.digest)
            };
            liars.extend(group.evidence.iter().filter(wrong).map(|e| e.from));
        }
        out.push(FetchEffect::Done(raw));
        for key in liars.into_iter().filter(|key| self.peers.contains_key(key)).collect::<Vec<_>>()
        {
            self.drop_peer(now, key, FetchFault::Lied, out);
        }
    }

    fn drop_peer(
        &mut self,
        now: Instant,
        key: FetchKey,
        fault: FetchFault,
        out: &mut Vec<FetchEffect>,
    ) {
        self.peers.remove(&key);
        match fault {
            FetchFault::NoMetadata => self.counts.without += 1,
            FetchFault::Refuses | FetchFault::Silent => self.counts.unwilling += 1,
            FetchFault::Lied => self.counts.liars += 1,
            FetchFault::Full => {}
        }
        out.push(FetchEffect::Drop(key, fault));
        self.drive(now, out);
    }
}

impl Peer {
    const fn new(id: u8, len: u32) -> Self {
        Self {
            id,
            len,
            asked: Vec::new(),
            timeouts: 0,
            refusals: 0,
            paused_until: None,
            alone: None,
            turns: 0,
        }
    }

    /// Takes `piece` off what it was asked for. Whether it was.
    fn take(&mut self, piece: u32) -> bool {
        let at = self.asked.iter().position(|(asked, _)| *asked == piece);
        at.map(|at| self.asked.swap_remove(at)).is_some()
    }

    fn pause(&mut self, now: Instant) {
        self.paused_until = Some(now + PAUSE);
    }
}
