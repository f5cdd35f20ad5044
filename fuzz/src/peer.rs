//! The peer protocol: what is understood encodes back to what arrived, and appetite is bounded.

use samara_wire::id::PeerId;
use samara_wire::peer::client::client_name;
use samara_wire::peer::extension::ExtensionHandshake;
use samara_wire::peer::frame::{Decoded, Frame, FrameDecoder, MAX_FRAME_LEN};
use samara_wire::peer::handshake::Handshake;
use samara_wire::peer::message::{Message, encode_piece_header};

/// Reads `input` as a handshake, as a stream of messages, as an extension handshake and as a peer id.
pub fn run(input: &[u8]) {
    if let Ok(handshake) = Handshake::parse(input) {
        assert_eq!(handshake.encode(), input[..68]);
    }
    for pieces in [None, Some(0), Some(20), Some(1 << 21)] {
        stream(FrameDecoder::new(pieces), input);
    }
    extension(input);
    if let Some(id) = input.first_chunk()
        && let Some(name) = client_name(&PeerId(*id))
    {
        assert!(name.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{name:?}");
    }
}

fn stream(decoder: FrameDecoder, mut input: &[u8]) {
    loop {
        let (frame, consumed) = match decoder.decode(input) {
            Err(_) => return,
            Ok(Decoded::NeedMore(needed)) => {
                assert!(needed > input.len() && needed <= MAX_FRAME_LEN);
                return;
            }
            Ok(Decoded::Frame { frame, consumed }) => (frame, consumed),
        };
        let (bytes, rest) = input.split_at(consumed);
        let mut again = Vec::new();
        match &frame {
            Frame::Message(message) => message.encode(&mut again),
            Frame::PieceHeader(block) => again.extend(encode_piece_header(*block)),
            Frame::Unknown(_) => again.extend(bytes),
        }
        assert_eq!(again, bytes, "{frame:?}");
        input = rest;
        if let Frame::Message(Message::Extended { id: 0, payload }) = &frame {
            extension(payload);
        }
    }
}

fn extension(payload: &[u8]) {
    if let Ok(handshake) = ExtensionHandshake::parse(payload) {
        let mut again = ExtensionHandshake::parse(&handshake.encode()).expect("our own encoding");
        // Written in order, each name once; the rest must be as it was.
        assert!(again.extensions.iter().all(|entry| handshake.extensions.contains(entry)));
        again.extensions.clone_from(&handshake.extensions);
        assert_eq!(again, handshake);
    }
}
