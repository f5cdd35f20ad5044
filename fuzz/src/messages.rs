//! Messages of a peer, made of decisions, near enough to what a torrent expects to get past its first checks; and their codec.

use crate::Script;
use samara_wire::id::{BLOCK_LEN, BlockRef, PieceIndex};
use samara_wire::layout::PieceLayout;
use samara_wire::metainfo::merkle::Hash;
use samara_wire::peer::extension::{ExtensionHandshake, HANDSHAKE_ID};
use samara_wire::peer::frame::{Decoded, Frame, FrameDecoder};
use samara_wire::peer::hashes::HashRequest;
use samara_wire::peer::message::Message;
use samara_wire::peer::ut_holepunch::{HolepunchError, HolepunchMessage};
use samara_wire::peer::ut_metadata::MetadataMessage;
use samara_wire::peer::ut_pex::{PexFlags, PexMessage};
use std::net::SocketAddr;

/// The ids under which a torrent wants `ut_pex`, `ut_metadata`, `upload_only` and `ut_holepunch`.
const EXTENSION_IDS: [u8; 4] = [1, 2, 3, 4];

/// Reads `input` as messages: each is encoded, cut anywhere, and decoded to what it was.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let layout = PieceLayout::contiguous(20 * 65536 - 3, 65536);
    let decoder = FrameDecoder::new(Some(layout.count()));
    while !script.is_done() {
        let message = any(&mut script, &layout);
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        let fits = !matches!(&message, Message::Bitfield(set) if set.len() != 3);
        match decoder.decode(&bytes) {
            Ok(Decoded::Frame { frame: Frame::Message(again), consumed }) => {
                assert_eq!((again, consumed), (message, bytes.len()));
            }
            other => assert!(!fits, "{message:?} is read as {other:?}"),
        }
        let cut = script.below(bytes.len());
        match decoder.decode(&bytes[..cut]) {
            Ok(Decoded::NeedMore(needed)) => assert!(needed > cut && needed <= bytes.len()),
            other => assert!(!fits, "{cut} bytes are read as {other:?}"),
        }
    }
}

/// Any message.
pub fn any(script: &mut Script<'_>, layout: &PieceLayout) -> Message {
    match script.below(24) {
        0 => Message::KeepAlive,
        1 => Message::Choke,
        2 | 3 => Message::Unchoke,
        4 => Message::Interested,
        5 => Message::NotInterested,
        6 | 7 => Message::Have(piece(script, layout)),
        8 | 9 => Message::Bitfield(bitfield(script, layout)),
        10 | 11 => Message::Request(block(script, layout)),
        12 => Message::Cancel(block(script, layout)),
        13 => Message::Port(script.short()),
        14 => Message::Suggest(piece(script, layout)),
        15 => Message::HaveAll,
        16 => Message::HaveNone,
        17 => Message::Reject(block(script, layout)),
        18 => Message::AllowedFast(piece(script, layout)),
        19 => Message::HashRequest(hash_request(script).into()),
        20 => Message::HashReject(hash_request(script).into()),
        21 => {
            let request = hash_request(script);
            let count = 1 + script.below(4);
            let hashes: Vec<Hash> = (0..count).map(|_| [script.byte(); 32]).collect();
            // No more than were asked for, or it is no message.
            let request = HashRequest { len: 4, proof_layers: 4, ..request };
            Message::Hashes { request: request.into(), hashes: hashes.into() }
        }
        _ => extended(script),
    }
}

/// A message of the extension protocol.
pub fn extended(script: &mut Script<'_>) -> Message {
    let (id, payload) = match script.below(7) {
        0 | 1 => (HANDSHAKE_ID, handshake(script)),
        2 => (EXTENSION_IDS[0], pex(script)),
        3 => (EXTENSION_IDS[1], metadata(script)),
        4 => (EXTENSION_IDS[2], vec![script.byte()]),
        5 => (EXTENSION_IDS[3], holepunch(script)),
        _ => (script.byte() & 7, script.bytes(64).to_vec()),
    };
    Message::Extended { id, payload: payload.into() }
}

fn handshake(script: &mut Script<'_>) -> Vec<u8> {
    let names = ["ut_pex", "ut_metadata", "upload_only", "ut_holepunch", "other"];
    let said = script.byte();
    let named = names.into_iter().enumerate().filter(|(bit, _)| said >> bit & 1 == 1);
    let extensions = named.map(|(_, name)| (name.to_owned(), script.byte() & 7)).collect();
    ExtensionHandshake {
        extensions,
        client: script.flag().then(|| "a client".to_owned()),
        port: script.flag().then(|| script.short()),
        request_queue: script.flag().then(|| script.short().into()),
        your_ip: script.flag().then(|| address(script).ip()),
        metadata_len: script.flag().then(|| u32::from(script.short()) + 1),
        upload_only: script.flag(),
        ..ExtensionHandshake::default()
    }
    .encode()
}

/// Peers, few of them different.
pub fn pex(script: &mut Script<'_>) -> Vec<u8> {
    let count = script.below(6);
    let added = (0..count).map(|_| (address(script), PexFlags(script.byte()))).collect();
    let dropped = (0..script.below(3)).map(|_| address(script)).collect();
    PexMessage { added, dropped }.encode()
}

fn metadata(script: &mut Script<'_>) -> Vec<u8> {
    let piece = u32::from(script.byte() & 7);
    match script.below(4) {
        0 => MetadataMessage::Reject { piece }.encode(),
        1 => {
            let payload = [script.byte(); 40];
            MetadataMessage::Data { piece, total_len: Some(40), payload: &payload }.encode()
        }
        _ => MetadataMessage::Request { piece }.encode(),
    }
}

fn holepunch(script: &mut Script<'_>) -> Vec<u8> {
    let addr = address(script);
    match script.below(4) {
        0 => HolepunchMessage::Error(addr, HolepunchError::Other(script.byte().into())),
        1 => HolepunchMessage::Connect(addr),
        _ => HolepunchMessage::Rendezvous(addr),
    }
    .encode()
}

/// An address of few: in the world and in a local network, IPv4 and IPv6, and now and then one that is none.
pub fn address(script: &mut Script<'_>) -> SocketAddr {
    let [kind, who] = script.array();
    let port = if who & 0x80 == 0 { 6881 } else { u16::from(who & 7) };
    match kind % 8 {
        0 => SocketAddr::from(([10, 0, 0, who & 7], port)),
        1 => SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(who & 7)], port)),
        2 => SocketAddr::from((script.array::<4>(), port)),
        _ => SocketAddr::from(([80, 1, who & 7, 1], port)),
    }
}

/// A piece, mostly one that there is.
pub fn piece(script: &mut Script<'_>, layout: &PieceLayout) -> PieceIndex {
    match script.byte() {
        255 => PieceIndex(script.word()),
        byte => PieceIndex(u32::from(byte) % (layout.count() + u32::from(byte == 254))),
    }
}

/// A block, mostly one of the grid.
pub fn block(script: &mut Script<'_>, layout: &PieceLayout) -> BlockRef {
    let piece = piece(script, layout);
    let [begin, shape] = script.array();
    let index = u32::from(begin) % layout.blocks_in(piece).max(1);
    match (shape, layout.block(piece, index)) {
        (0..200, Some(block)) => block,
        (200..230, Some(block)) => {
            BlockRef { begin: block.begin / 2, len: u32::from(shape), ..block }
        }
        (230..250, _) => {
            BlockRef { piece, begin: index * BLOCK_LEN, len: u32::from(script.short()) * 4 }
        }
        _ => BlockRef { piece, begin: script.word(), len: script.word() },
    }
}

fn bitfield(script: &mut Script<'_>, layout: &PieceLayout) -> Box<[u8]> {
    let len = (layout.count() as usize).div_ceil(8);
    let shape = script.byte();
    let len = if shape == 255 { len + 1 } else { len };
    let mut set: Vec<u8> = (0..len).map(|_| script.byte()).collect();
    if shape & 1 == 1 {
        set.fill(0xff);
    }
    if let Some(last) = set.last_mut().filter(|_| shape < 250 && !layout.count().is_multiple_of(8))
    {
        *last &= !(0xff >> (layout.count() % 8));
    }
    set.into()
}

fn hash_request(script: &mut Script<'_>) -> HashRequest {
    let root = [script.byte() & 1; 32];
    let [base, index, len, proof_layers] = script.array::<4>().map(|byte| u32::from(byte & 0x1f));
    HashRequest { root, base, index, len, proof_layers }
}
