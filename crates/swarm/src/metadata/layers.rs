//! Fetching the piece layers of a v2 torrent whose info dictionary is known (BEP 52).
//!
//! Each answer carries a proof up to the root of its file, which stands in the info dictionary, so that a wrong one
//! convicts its sender at once, and nobody has to be believed. Layers are asked for in runs of 512 hashes, of all peers
//! together; when all are asked for, those that are slow to come are asked of a second peer.
//!
//! Bounds: [`MAX_PEERS`]; [`PIPELINE`] requests of each; hashes are kept only if they are proven, and the info
//! dictionary bounds how many there can be.

use super::{FetchEffect, FetchFault, FetchKey};
use super::{MAX_PEERS, MAX_REFUSALS, MAX_TIMEOUTS, PATIENCE, PAUSE};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use samara_wire::metainfo::Info;
use samara_wire::metainfo::merkle::{Hash, piece_layer_request, proven};
use samara_wire::peer::hashes::{HashRequest, MAX_HASHES};
use samara_wire::peer::message::Message;
use samara_wire::time::Instant;

/// Requests of one peer at a time: enough for a torrent of many short layers.
const PIPELINE: usize = 16;

/// Peers asked for the same run at a time.
const MAX_ASKERS: u8 = 2;

/// Piece layers by the root of their file, as [`Info::with_piece_layers`] takes them.
pub type PieceLayers = BTreeMap<Hash, Vec<Hash>>;

type Effects = Vec<FetchEffect<PieceLayers>>;

/// The fetch of all piece layers of a torrent. After each call the effects are to be carried out in order.
#[derive(Debug)]
pub struct LayerFetch {
    piece_len: u32,
    runs: Vec<Run>,
    /// All runs before this one were asked for.
    fresh: usize,
    /// Runs that were asked for in vain.
    again: Vec<usize>,
    missing: usize,
    peers: BTreeMap<FetchKey, Peer>,
}

/// A run of a layer, as long as one request may ask for.
#[derive(Debug)]
struct Run {
    root: Hash,
    /// Pieces of the file.
    pieces: u32,
    /// The first piece of the run, counted from the beginning of the file.
    first: u32,
    /// Peers asked for it at present.
    askers: u8,
    hashes: Option<Box<[Hash]>>,
}

#[derive(Debug, Default)]
struct Peer {
    asked: Vec<(usize, Instant)>,
    timeouts: u8,
    refusals: u8,
    paused_until: Option<Instant>,
}

impl LayerFetch {
    /// A fetch of all piece layers that `info` has; `None` if it has none, or they are known.
    #[must_use]
    pub fn new(info: &Info) -> Option<Self> {
        if info.has_piece_layers() {
            return None;
        }
        let mut runs = Vec::new();
        for (root, (_, pieces)) in info.layered_files() {
            let firsts = (0..pieces).step_by(MAX_HASHES as usize);
            runs.extend(firsts.map(|first| Run { root, pieces, first, askers: 0, hashes: None }));
        }
        let (piece_len, missing) = (info.layout().piece_len(), runs.len());
        Some(Self { piece_len, runs, fresh: 0, again: Vec::new(), missing, peers: BTreeMap::new() })
    }

    /// A peer that knows the torrent by its v2 hash is connected.
    pub fn handle_connected(&mut self, now: Instant, key: FetchKey, out: &mut Effects) {
        if self.peers.len() >= MAX_PEERS {
            return out.push(FetchEffect::Drop(key, FetchFault::Full));
        }
        self.peers.insert(key, Peer::default());
        self.drive(now, out);
    }

    /// A peer sent `hashes`. What was not asked for, or comes when it was given up, is no fault.
    pub fn handle_hashes(
        &mut self,
        now: Instant,
        key: FetchKey,
        request: &HashRequest,
        hashes: &[Hash],
        out: &mut Effects,
    ) {
        let Some(index) = self.asked_by(key, request) else { return };
        let Some(proven) = proven(request, hashes) else {
            return self.drop_peer(now, key, FetchFault::Lied, out);
        };
        let run = &mut self.runs[index];
        let len = (run.pieces - run.first).min(MAX_HASHES) as usize;
        run.hashes = proven.get(..len).map(Into::into);
        self.missing -= 1;
        for peer in self.peers.values_mut() {
            peer.asked.retain(|(asked, _)| *asked != index);
        }
        if let Some(peer) = self.peers.get_mut(&key) {
            (peer.timeouts, peer.refusals) = (0, 0);
        }
        if self.missing == 0 {
            return out.push(FetchEffect::Done(self.take_layers()));
        }
        self.drive(now, out);
    }

    /// A peer sent `hash reject`. It is left in peace for a while, and given up when it goes on so.
    pub fn handle_reject(
        &mut self,
        now: Instant,
        key: FetchKey,
        request: &HashRequest,
        out: &mut Effects,
    ) {
        if self.asked_by(key, request).is_none() {
            return;
        }
        self.release_all(key);
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.refusals += 1;
        peer.paused_until = Some(now + PAUSE);
        if peer.refusals >= MAX_REFUSALS {
            return self.drop_peer(now, key, FetchFault::Refuses, out);
        }
        self.drive(now, out);
    }

    /// The connection ended.
    pub fn handle_disconnected(&mut self, now: Instant, key: FetchKey, out: &mut Effects) {
        self.release_all(key);
        if self.peers.remove(&key).is_some() {
            self.drive(now, out);
        }
    }

    /// Time has passed. May be called too early or too often.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Effects) {
        let late = |peer: &Peer| peer.asked.iter().any(|(_, since)| *since + PATIENCE <= now);
        let late: Vec<FetchKey> =
            self.peers.iter().filter(|(_, peer)| late(peer)).map(|(key, _)| *key).collect();
        for key in late {
            self.release_all(key);
            let Some(peer) = self.peers.get_mut(&key) else { continue };
            peer.timeouts += 1;
            peer.paused_until = Some(now + PAUSE);
            if peer.timeouts >= MAX_TIMEOUTS {
                self.drop_peer(now, key, FetchFault::Silent, out);
            }
        }
        self.drive(now, out);
    }

    /// When [`LayerFetch::handle_timeout`] is to be called next; `None` if only an input can bring news.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let of_peers = self.peers.values().flat_map(|peer| {
            let oldest = peer.asked.iter().map(|(_, since)| *since + PATIENCE).min();
            [oldest, peer.paused_until]
        });
        of_peers.flatten().min()
    }

    /// Runs that are here, and all of them.
    #[must_use]
    pub fn progress(&self) -> (usize, usize) {
        (self.runs.len() - self.missing, self.runs.len())
    }

    /// Asks for what is missing: one run of each peer in turn, so that the first does not have them all.
    fn drive(&mut self, now: Instant, out: &mut Effects) {
        for peer in self.peers.values_mut() {
            peer.paused_until = peer.paused_until.filter(|until| *until > now);
        }
        let ready = |peer: &Peer| peer.paused_until.is_none() && peer.asked.len() < PIPELINE;
        let mut keys: Vec<FetchKey> =
            self.peers.iter().filter(|(_, peer)| ready(peer)).map(|(key, _)| *key).collect();
        while !keys.is_empty() {
            keys.retain(|key| self.ask(now, *key, out));
        }
    }

    /// Asks `key` for one run. Whether there may be more to ask of it.
    fn ask(&mut self, now: Instant, key: FetchKey, out: &mut Effects) -> bool {
        let Some(index) = self.choose(key) else { return false };
        let Some(peer) = self.peers.get_mut(&key) else { return false };
        peer.asked.push((index, now));
        self.runs[index].askers += 1;
        let request = self.runs[index].request(self.piece_len);
        out.push(FetchEffect::Send(key, Message::HashRequest(request.into())));
        peer.asked.len() < PIPELINE
    }

    /// What to ask `key` for: what nobody is asked for, else what only one other is.
    fn choose(&mut self, key: FetchKey) -> Option<usize> {
        while let Some(index) = self.again.pop() {
            let run = &self.runs[index];
            if run.hashes.is_none() && run.askers == 0 {
                return Some(index);
            }
        }
        if self.fresh < self.runs.len() {
            self.fresh += 1;
            return Some(self.fresh - 1);
        }
        let own = &self.peers.get(&key)?.asked;
        let asked = self.peers.values().flat_map(|peer| &peer.asked).map(|(index, _)| *index);
        let slow = asked.filter(|index| self.runs[*index].askers < MAX_ASKERS);
        slow.filter(|index| own.iter().all(|(mine, _)| mine != index)).min()
    }

    /// The run that `key` was asked for by `request`.
    fn asked_by(&self, key: FetchKey, request: &HashRequest) -> Option<usize> {
        let asked = self.peers.get(&key)?.asked.iter().map(|(index, _)| *index);
        asked.into_iter().find(|index| self.runs[*index].request(self.piece_len) == *request)
    }

    /// What `key` was asked for may be asked of others.
    fn release_all(&mut self, key: FetchKey) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        for (index, _) in peer.asked.drain(..) {
            self.runs[index].askers -= 1;
            self.again.push(index);
        }
    }

    fn drop_peer(&mut self, now: Instant, key: FetchKey, fault: FetchFault, out: &mut Effects) {
        self.release_all(key);
        self.peers.remove(&key);
        out.push(FetchEffect::Drop(key, fault));
        self.drive(now, out);
    }

    /// The layers, once nothing is missing.
    fn take_layers(&mut self) -> PieceLayers {
        let mut layers = PieceLayers::new();
        for run in &mut self.runs {
            let hashes = run.hashes.take().unwrap_or_default();
            layers.entry(run.root).or_default().extend_from_slice(&hashes);
        }
        self.peers.clear();
        layers
    }
}

impl Run {
    fn request(&self, piece_len: u32) -> HashRequest {
        piece_layer_request(self.root, piece_len, self.pieces, self.first)
    }
}

#[cfg(test)]
mod tests;
