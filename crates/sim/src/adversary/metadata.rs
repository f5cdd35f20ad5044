//! Offers metadata that is none and sends it to those who did not ask; asks for metadata without end.

use super::{Adversary, Scene};
use samara_wire::peer::extension::{ExtensionHandshake, HANDSHAKE_ID};
use samara_wire::peer::message::Message;
use samara_wire::peer::ut_metadata::{self, MetadataMessage};
use samara_wire::time::Duration;

/// The id under which samara hears `ut_metadata`.
const THEIR_ID: u8 = 2;

/// The ends of lies about how long the metadata is.
const LENGTHS: [u32; 4] = [0, 1, 16 * 1024 * 1024, u32::MAX];

#[derive(Debug)]
pub(super) struct Liar;

impl Adversary for Liar {
    fn every(&self) -> Option<Duration> {
        Some(Duration::from_secs(2))
    }

    fn act(&mut self, scene: &mut Scene<'_>) {
        for &peer in scene.peers {
            let length = LENGTHS[scene.rng.below(LENGTHS.len())];
            let handshake = ExtensionHandshake {
                extensions: vec![(ut_metadata::NAME.to_owned(), 9)],
                metadata_len: Some(length),
                ..ExtensionHandshake::default()
            };
            let payload = handshake.encode().into();
            scene.send(peer, Message::Extended { id: HANDSHAKE_ID, payload });
            let junk = [0xa5; 200];
            let piece = scene.any_piece().0;
            for said in [
                MetadataMessage::Data { piece, total_len: Some(length), payload: &junk },
                MetadataMessage::Request { piece },
                MetadataMessage::Reject { piece },
            ] {
                let payload = said.encode().into();
                scene.send(peer, Message::Extended { id: THEIR_ID, payload });
            }
        }
    }
}
