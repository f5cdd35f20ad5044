//! Those who say that they have what they have not.

use super::{Adversary, Scene, Serve};
use samara_wire::id::BlockRef;
use samara_wire::peer::message::Message;
use samara_wire::time::Duration;

/// Says that it has everything; has every other piece, and is silent when asked for the rest.
#[derive(Debug)]
pub(super) struct PartialLiar;

impl Adversary for PartialLiar {
    fn serve(&mut self, block: BlockRef) -> Serve {
        if block.piece.0.is_multiple_of(2) { Serve::Right } else { Serve::Withheld }
    }
}

/// Tells everybody of pieces that it has not. Its torrent then rejects what it is asked for, since it lacks it.
#[derive(Debug)]
pub(super) struct HaveLiar;

impl Adversary for HaveLiar {
    fn every(&self) -> Option<Duration> {
        Some(Duration::from_secs(1))
    }

    fn act(&mut self, scene: &mut Scene<'_>) {
        for &peer in scene.peers {
            for _ in 0..4 {
                let piece = scene.any_piece();
                scene.send(peer, Message::Have(piece));
            }
        }
    }
}
