//! What peers say and want.

use super::{FakePeer, World};
use crate::Script;
use crate::messages;
use samara_swarm::torrent::PeerKey;
use samara_wire::bitfield::Bitfield;
use samara_wire::id::{MAX_BLOCK_LEN, PieceIndex};
use samara_wire::peer::message::Message;

impl World {
    pub(super) fn peer(&self, key: PeerKey) -> Option<&FakePeer> {
        self.peers.iter().find(|peer| peer.key == key)
    }

    pub(super) fn some_peer(&self, script: &mut Script<'_>) -> Option<usize> {
        (!self.peers.is_empty()).then(|| script.below(self.peers.len()))
    }

    pub(super) fn message(&mut self, script: &mut Script<'_>) {
        let Some(at) = self.some_peer(script) else { return };
        let message = messages::any(script, &self.layout);
        let (key, count) = (self.peers[at].key, self.layout.count());
        self.read_on(key);
        let Some(peer) = self.peers.iter_mut().find(|peer| peer.key == key) else { return };
        let pieces: Vec<PieceIndex> = match &message {
            Message::Have(piece) => vec![*piece],
            Message::HaveAll if peer.fast => self.layout.pieces().collect(),
            Message::Bitfield(bytes) => Bitfield::from_bytes(bytes, count)
                .map_or_else(|_| Vec::new(), |set| set.iter().collect()),
            _ => Vec::new(),
        };
        peer.told.extend(pieces);
        // What is not asked for any more: without the fast extension a choke says so, with it a reject.
        match &message {
            Message::Choke if !peer.fast => peer.asked.clear(),
            Message::Reject(block) => {
                peer.asked.remove(block);
            }
            _ => {}
        }
        self.torrent.handle_message(self.now, key, message, &mut self.out);
    }

    /// The stream of a peer has room.
    pub(super) fn serve(&mut self, script: &mut Script<'_>) {
        let Some(at) = self.some_peer(script) else { return };
        let key = self.peers[at].key;
        assert!(self.torrent.upcoming(key).count() <= 512, "queued without bound");
        assert_eq!(self.torrent.poll_metadata(self.now, key), None, "it has none to give");
        assert_eq!(self.torrent.poll_hashes(self.now, key), None, "nor has it layers");
        for _ in 0..=script.below(4) {
            let Some(block) = self.torrent.poll_serve(key) else { return };
            assert!(self.torrent.have().has(block.piece), "{block:?} is not here");
            assert!(self.layout.contains(&block) && block.len <= MAX_BLOCK_LEN);
            self.torrent.handle_served(self.now, key, block);
        }
    }

    pub(super) fn hang_up(&mut self, script: &mut Script<'_>) {
        let Some(at) = self.some_peer(script) else { return };
        let peer = self.peers.swap_remove(at);
        self.torrent.handle_disconnected(self.now, peer.key, &mut self.out);
    }
}
