//! Every effect is one that may be.

use super::{MAX_EFFECTS, World};
use samara_swarm::pipeline::MAX_OUTSTANDING;
use samara_swarm::torrent::PeerKey;
use samara_swarm::{Effect, Event};
use samara_wire::id::{BlockRef, PieceIndex};
use samara_wire::peer::frame::{Decoded, Frame, FrameDecoder};
use samara_wire::peer::message::Message;
use std::net::SocketAddr;

impl World {
    /// Takes what the torrent wants done, and looks whether it may.
    pub(super) fn look(&mut self) {
        let effects: Vec<Effect> = self.out.drain().collect();
        assert!(effects.len() <= MAX_EFFECTS, "{} effects", effects.len());
        for effect in effects {
            self.carry_out(effect);
        }
        self.torrent.check_invariants();
        assert_eq!(self.torrent.peer_count(), self.peers.len());
        let stats = self.torrent.stats(self.now);
        assert_eq!(stats.pieces_have, self.torrent.have().count());
        assert!(stats.wanted_have_bytes <= stats.wanted_bytes);
        assert!(stats.wasted <= stats.downloaded);
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Send(key, message) => self.sent(key, message),
            Effect::ServeReady(key) => assert!(self.peer(key).is_some(), "served when gone"),
            Effect::Disconnect(key, _) => {
                let before = self.peers.len();
                self.peers.retain(|peer| peer.key != key);
                assert_eq!(self.peers.len() + 1, before, "closed twice");
            }
            Effect::Dial(addr) => self.dial(addr),
            Effect::Punch(addr) => {
                assert!(!self.private, "a private torrent punches no holes");
                self.dial(addr);
            }
            Effect::Announce(announce) => {
                assert!(!self.announces.contains(&announce.id), "one id for two");
                assert!(announce.request.left <= self.layout.total_len());
                self.announces.push(announce.id);
            }
            Effect::Seek { .. } => {
                assert!(!self.private, "a private torrent seeks nobody");
                self.sought = true;
            }
            Effect::Withdraw => assert!(std::mem::take(&mut self.sought), "nothing was sought"),
            Effect::DhtNode(_) => assert!(!self.private, "a private torrent knows no DHT"),
            Effect::VerifyPiece { piece, want_digests } => self.verify(piece, want_digests),
            Effect::Event(Event::PieceVerified(piece)) => {
                assert!(piece.0 < self.layout.count());
            }
            Effect::Event(_) => {}
        }
    }

    fn dial(&mut self, addr: SocketAddr) {
        assert!(addr.port() != 0 && !addr.ip().is_unspecified() && !addr.ip().is_multicast());
        assert!(!self.dialling.contains(&addr), "{addr} is being dialled");
        self.dialling.push(addr);
        assert!(self.dialling.len() <= 30, "dials without bound");
    }

    fn verify(&mut self, piece: PieceIndex, want_digests: bool) {
        assert!(!self.torrent.have().has(piece), "{piece} is verified");
        for index in 0..self.layout.blocks_in(piece) {
            let block = self.layout.block(piece, index).expect("a block of the piece");
            assert!(self.received.contains(&block), "{block:?} is lacking");
        }
        assert!(self.verifying.insert(piece, want_digests).is_none(), "{piece} twice");
    }

    fn sent(&mut self, key: PeerKey, message: Message) {
        let decoder = FrameDecoder::new(Some(self.layout.count()));
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        match decoder.decode(&bytes) {
            Ok(Decoded::Frame { frame: Frame::Message(again), .. }) => assert_eq!(again, message),
            other => panic!("{message:?} is read as {other:?}"),
        }
        let is_here = |piece: &PieceIndex| self.torrent.have().has(*piece);
        match message {
            Message::Request(block) => self.asked(key, block),
            Message::Cancel(block) => {
                let peer = self.peers.iter_mut().find(|peer| peer.key == key);
                let peer = peer.expect("a peer that is here");
                assert!(peer.asked.remove(&block), "{block:?} was not asked for");
            }
            Message::Have(piece) => assert!(is_here(&piece), "{piece} is not here"),
            Message::AllowedFast(piece) => assert!(is_here(&piece), "{piece} is not here"),
            Message::Port(_) => assert!(!self.private, "a private torrent knows no DHT"),
            _ => assert!(self.peer(key).is_some(), "{message:?} to one who is gone"),
        }
    }

    fn asked(&mut self, key: PeerKey, block: BlockRef) {
        assert!(self.layout.block_index(&block).is_some(), "{block:?} is none of the grid");
        assert!(!self.torrent.have().has(block.piece), "{block:?} is here");
        let peer = self.peers.iter_mut().find(|peer| peer.key == key);
        let peer = peer.expect("a peer that is here");
        assert!(peer.told.contains(&block.piece), "{block:?} of one who has it not");
        peer.asked.insert(block);
        peer.once_asked.insert(block);
        assert!(peer.asked.len() <= MAX_OUTSTANDING);
    }
}
