//! Sends messages with bytes changed. What is no message any more goes out as it is: the receiver's shell cannot read it.

use super::{Adversary, Deed, Scene};
use samara_wire::id::{BLOCK_LEN, BlockRef};
use samara_wire::peer::frame::{Decoded, Frame, FrameDecoder};
use samara_wire::peer::message::Message;
use samara_wire::time::Duration;

#[derive(Debug)]
pub(super) struct Fuzzer;

impl Adversary for Fuzzer {
    fn every(&self) -> Option<Duration> {
        Some(Duration::from_secs(3))
    }

    fn act(&mut self, scene: &mut Scene<'_>) {
        for &peer in scene.peers {
            let mut bytes = Vec::new();
            something(scene).encode(&mut bytes);
            for _ in 0..=scene.rng.below(3) {
                // The length is left as it is: else nearly everything would end there.
                let at = 4 + scene.rng.below(bytes.len().saturating_sub(4));
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << scene.rng.below(8);
                }
            }
            let decoder = FrameDecoder::new(Some(scene.layout.count()));
            match decoder.decode(&bytes) {
                Ok(Decoded::Frame { frame: Frame::Message(message), .. }) => {
                    scene.send(peer, message);
                }
                // Half a message, or none: the stream is of no use any more.
                _ => scene.deeds.push(Deed::Garbage(peer)),
            }
        }
    }
}

fn something(scene: &mut Scene<'_>) -> Message {
    let piece = scene.any_piece();
    let block = BlockRef { piece, begin: 0, len: BLOCK_LEN };
    match scene.rng.below(12) {
        0 => Message::Choke,
        1 => Message::Unchoke,
        2 => Message::Interested,
        3 => Message::NotInterested,
        4 => Message::Have(piece),
        5 => Message::Bitfield(vec![0xff; (scene.layout.count() as usize).div_ceil(8)].into()),
        6 => Message::Request(block),
        7 => Message::Cancel(block),
        8 => Message::Reject(block),
        9 => Message::AllowedFast(piece),
        10 => Message::Suggest(piece),
        _ => {
            let payload = b"d1:md6:ut_pexi1e11:ut_metadatai2ee1:pi6881e4:reqqi250ee";
            let id = u8::try_from(scene.rng.below(5)).unwrap_or(0);
            Message::Extended { id, payload: Box::from(&payload[..]) }
        }
    }
}
