//! Asks without end: for what it was not unchoked for, for the same again, for what does not exist.

use super::{Adversary, Scene};
use crate::swarm::Item;
use samara_wire::id::{BLOCK_LEN, BlockRef, PieceIndex};
use samara_wire::peer::message::Message;
use samara_wire::time::Duration;

/// Requests to each peer at a time.
const BURST: usize = 40;

#[derive(Debug)]
pub(super) struct Flooder;

impl Adversary for Flooder {
    fn every(&self) -> Option<Duration> {
        Some(Duration::from_millis(500))
    }

    fn act(&mut self, scene: &mut Scene<'_>) {
        for &peer in scene.peers {
            scene.send(peer, Message::Interested);
            for _ in 0..BURST {
                let piece = scene.any_piece();
                let len = [BLOCK_LEN, 1, BLOCK_LEN - 1][scene.rng.below(3)];
                scene.send(peer, Message::Request(BlockRef { piece, begin: 0, len }));
            }
            if scene.rng.below(100) == 0 {
                let piece = PieceIndex(scene.layout.count());
                scene.send(peer, Message::Request(BlockRef { piece, begin: 0, len: u32::MAX }));
            }
        }
    }

    /// What it gets it throws away: its torrent never asked for it.
    fn hears(&mut self, item: &Item) -> bool {
        !matches!(item, Item::Block { .. } | Item::Message(Message::Reject(_)))
    }
}
