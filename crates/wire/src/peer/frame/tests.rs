use super::super::message::encode_piece_header;
use super::*;
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

const KNOWN: FrameDecoder = FrameDecoder::new(Some(20));
const UNKNOWN: FrameDecoder = FrameDecoder::new(None);

fn head(len: u32, id: u8) -> Vec<u8> {
    let mut bytes = len.to_be_bytes().to_vec();
    bytes.push(id);
    bytes
}

#[test]
fn lengths_are_judged_before_the_body_arrives() {
    let bad = |decoder: FrameDecoder, len, id| {
        assert_eq!(decoder.decode(&head(len, id)), Err(FrameError::BadLength { id, len }));
    };
    bad(KNOWN, 2, id::CHOKE);
    bad(KNOWN, 4, id::HAVE);
    bad(KNOWN, 12, id::REQUEST);
    bad(KNOWN, 14, id::CANCEL);
    bad(KNOWN, 2, id::PORT);
    bad(KNOWN, 9, id::PIECE);
    bad(KNOWN, 10 + MAX_BLOCK_LEN, id::PIECE);
    bad(KNOWN, 1, id::EXTENDED);
    bad(KNOWN, 3, id::BITFIELD);
    bad(KNOWN, 5, id::BITFIELD);
    bad(UNKNOWN, 2 + (1 << 18), id::BITFIELD);
    bad(KNOWN, 48, id::HASH_REQUEST);
    bad(KNOWN, 50, id::HASH_REJECT);
    bad(KNOWN, 49, id::HASHES);
    bad(KNOWN, 49 + 33, id::HASHES);
    bad(KNOWN, 49 + 32 * 561, id::HASHES);
    bad(KNOWN, 1 + MAX_UNKNOWN_LEN, 99);
    // So long that the id does not matter.
    assert_eq!(KNOWN.decode(&[0xff, 0xff, 0xff, 0xff]), Err(FrameError::TooLong { len: u32::MAX }));
}

#[test]
fn the_longest_legal_messages_are_waited_for() {
    let need = |decoder: FrameDecoder, len, id, want| {
        assert_eq!(decoder.decode(&head(len, id)), Ok(Decoded::NeedMore(want)));
    };
    need(KNOWN, 9 + MAX_BLOCK_LEN, id::PIECE, 13);
    need(KNOWN, MAX_EXTENDED_LEN, id::EXTENDED, MAX_FRAME_LEN);
    need(KNOWN, 4, id::BITFIELD, 8);
    need(UNKNOWN, 1 + (1 << 18), id::BITFIELD, 5 + (1 << 18));
    need(KNOWN, 49 + 32 * 560, id::HASHES, 53 + 32 * 560);
    need(KNOWN, MAX_UNKNOWN_LEN, 99, 4 + MAX_UNKNOWN_LEN as usize);
}

#[test]
fn a_piece_ends_where_its_payload_begins() {
    let block = BlockRef { piece: PieceIndex(7), begin: 16384, len: 16384 };
    let mut stream = encode_piece_header(block).to_vec();
    stream.extend([0xaa; 3]);
    assert_eq!(
        KNOWN.decode(&stream),
        Ok(Decoded::Frame { frame: Frame::PieceHeader(block), consumed: 13 })
    );
}

/// The shape of the bug in which one stray message shifts all replies.
#[test]
fn a_trace_with_keep_alives_and_strangers_between_pieces() {
    let block = |begin| BlockRef { piece: PieceIndex(0), begin, len: 2 };
    let mut stream = Vec::new();
    Message::Unchoke.encode(&mut stream);
    stream.extend(encode_piece_header(block(0)));
    stream.extend(b"ab");
    Message::KeepAlive.encode(&mut stream);
    stream.extend([0, 0, 0, 3, 99, 1, 2]);
    Message::Have(PieceIndex(3)).encode(&mut stream);
    stream.extend(encode_piece_header(block(2)));
    stream.extend(b"cd");
    let (frames, payload) = read_all(KNOWN, &stream);
    assert_eq!(payload, b"abcd");
    assert_eq!(
        frames,
        [
            Frame::Message(Message::Unchoke),
            Frame::PieceHeader(block(0)),
            Frame::Message(Message::KeepAlive),
            Frame::Unknown(99),
            Frame::Message(Message::Have(PieceIndex(3))),
            Frame::PieceHeader(block(2)),
        ]
    );
}

/// Reads a whole stream as a shell would, giving the decoder a byte at a time; checks that it never asks for
/// less than it has.
fn read_all(decoder: FrameDecoder, stream: &[u8]) -> (Vec<Frame>, Vec<u8>) {
    let (mut frames, mut payload, mut from, mut have) = (Vec::new(), Vec::new(), 0, 0);
    while from + have <= stream.len() {
        match decoder.decode(&stream[from..from + have]).unwrap() {
            Decoded::NeedMore(n) => {
                assert!(n > have);
                have += 1;
            }
            Decoded::Frame { frame, consumed } => {
                from += consumed;
                if let Frame::PieceHeader(block) = &frame {
                    payload.extend(&stream[from..from + block.len as usize]);
                    from += block.len as usize;
                }
                frames.push(frame);
                have = 0;
            }
        }
    }
    assert_eq!(from, stream.len());
    (frames, payload)
}

fn any_block() -> impl Strategy<Value = BlockRef> {
    any::<(u32, u32, u32)>().prop_map(|(piece, begin, len)| BlockRef {
        piece: PieceIndex(piece),
        begin,
        len,
    })
}

fn hash_request() -> impl Strategy<Value = HashRequest> {
    let numbers = any::<([u8; 32], u32, u32, u32, u32)>();
    numbers.prop_map(|(root, base, index, len, proof_layers)| HashRequest {
        root,
        base,
        index,
        len,
        proof_layers,
    })
}

fn any_message() -> impl Strategy<Value = Message> {
    prop_oneof![
        Just(Message::KeepAlive),
        Just(Message::Choke),
        Just(Message::Unchoke),
        Just(Message::Interested),
        Just(Message::NotInterested),
        Just(Message::HaveAll),
        Just(Message::HaveNone),
        any::<u32>().prop_map(|p| Message::Have(PieceIndex(p))),
        any::<u32>().prop_map(|p| Message::Suggest(PieceIndex(p))),
        any::<u32>().prop_map(|p| Message::AllowedFast(PieceIndex(p))),
        any_block().prop_map(Message::Request),
        any_block().prop_map(Message::Cancel),
        any_block().prop_map(Message::Reject),
        any::<u16>().prop_map(Message::Port),
        any::<[u8; 3]>().prop_map(|b| Message::Bitfield(b.into())),
        (any::<u8>(), any::<Vec<u8>>())
            .prop_map(|(id, payload)| Message::Extended { id, payload: payload.into() }),
        hash_request().prop_map(|request| Message::HashRequest(request.into())),
        hash_request().prop_map(|request| Message::HashReject(request.into())),
        (hash_request(), proptest::collection::vec(any::<[u8; 32]>(), 1..20)).prop_map(
            |(request, hashes)| Message::Hashes { request: request.into(), hashes: hashes.into() }
        ),
    ]
}

proptest! {
    #[test]
    fn messages_survive_the_trip(messages in proptest::collection::vec(any_message(), 0..20)) {
        let mut stream = Vec::new();
        for message in &messages {
            message.encode(&mut stream);
        }
        for decoder in [KNOWN, UNKNOWN] {
            let want: Vec<_> = messages.iter().cloned().map(Frame::Message).collect();
            prop_assert_eq!(read_all(decoder, &stream), (want, vec![]));
        }
    }

    /// Whatever arrives: no panic, bounded appetite, and what was understood encodes back to what arrived.
    #[test]
    fn anything_is_understood_or_refused(bytes: Vec<u8>, small_length: bool, pieces: Option<u8>) {
        let mut bytes = bytes;
        if small_length {
            // Otherwise almost every random length is refused at once.
            bytes.iter_mut().take(3).for_each(|b| *b = 0);
        }
        match FrameDecoder::new(pieces.map(u32::from)).decode(&bytes) {
            Err(_) => {}
            Ok(Decoded::NeedMore(n)) => prop_assert!(n > bytes.len() && n <= MAX_FRAME_LEN),
            Ok(Decoded::Frame { frame, consumed }) => {
                prop_assert!(consumed <= bytes.len());
                let mut again = Vec::new();
                match frame {
                    Frame::Message(message) => message.encode(&mut again),
                    Frame::PieceHeader(block) => again.extend(encode_piece_header(block)),
                    Frame::Unknown(_) => again.extend(&bytes[..consumed]),
                }
                prop_assert_eq!(&again[..], &bytes[..consumed]);
            }
        }
    }
}
