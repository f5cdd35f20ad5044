//! Giving parts of the hash trees of v2 files to peers that came with a magnet link (BEP 52).
//!
//! Piece layers, and layers above them, are given of every file of which we have them, whatever pieces we have: they
//! came with the torrent. Below the piece layer we keep nothing, so such requests are rejected; so are those of a
//! private torrent, whose hashes come with the torrent from the tracker's site. Requests wait in a queue of their peer
//! and are pulled, like metadata; each is answered or rejected.

use super::{PeerKey, Torrent};
use crate::outbox::{Effect, Outbox};
use alloc::collections::BTreeMap;
use samara_wire::id::FileIndex;
use samara_wire::metainfo::merkle::Hash;
use samara_wire::peer::hashes::{HashRequest, MAX_HASHES};
use samara_wire::peer::message::Message;
use samara_wire::time::Instant;

/// Requests of one peer that may wait.
const MAX_QUEUED: usize = 64;

/// How often a peer may have all layers on one connection, if it asks for as much at a time as is usual.
const MAX_COPIES: u32 = 4;

/// Requests that are granted in any case: some ask for little at a time.
const MIN_GRANTED: u32 = 256;

/// The files whose piece layers can be given.
#[derive(Debug)]
pub(super) struct Layered {
    /// By root, with the number of pieces.
    files: BTreeMap<Hash, (FileIndex, u32)>,
    /// Requests that all layers take, as much at a time as is usual.
    runs: u32,
}

impl Torrent {
    /// The next answer to a hash request of `key`. To be pulled before [`Torrent::poll_serve`], and like it.
    pub fn poll_hashes(&mut self, now: Instant, key: PeerKey) -> Option<Message> {
        let peer = self.peers.get_mut(key)?;
        let request = peer.hash_queue.pop_front()?;
        peer.last_sent = now;
        let file = self.layered.as_ref().and_then(|layered| layered.files.get(&request.root));
        let info = self.metadata.as_ref();
        let hashes =
            info.zip(file).and_then(|(info, (file, _))| info.answer_hashes(*file, &request));
        let request = request.into();
        Some(match hashes {
            Some(hashes) => Message::Hashes { request, hashes: hashes.into() },
            None => Message::HashReject(request),
        })
    }

    /// A peer asks for part of a tree.
    pub(super) fn on_hash_request(&mut self, key: PeerKey, request: HashRequest, out: &mut Outbox) {
        let info = self.metadata.as_ref().filter(|_| !self.config.private);
        let known = info.filter(|info| info.has_piece_layers());
        if let (Some(info), None) = (known, &self.layered) {
            let files = info.layered_files();
            let runs = files.values().map(|(_, pieces)| pieces.div_ceil(MAX_HASHES)).sum();
            self.layered = Some(Layered { files, runs });
        }
        let runs = self.layered.as_ref().map_or(0, |layered| layered.runs);
        let Some(peer) = self.peers.get_mut(key) else { return };
        let fair = peer.hashes_given < (runs * MAX_COPIES).max(MIN_GRANTED);
        if known.is_some() && fair && peer.hash_queue.len() < MAX_QUEUED {
            peer.hashes_given += 1;
            peer.hash_queue.push_back(request);
            out.push(Effect::ServeReady(key));
        } else {
            out.push(Effect::Send(key, Message::HashReject(request.into())));
        }
    }
}
