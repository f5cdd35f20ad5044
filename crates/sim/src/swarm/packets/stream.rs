//! What the shell of one end keeps of a uTP connection: the bytes it is writing and the bytes it has read and not understood yet.
//!
//! What goes out is in this order, as the engine has it: the rest of what is begun, messages, then blocks one by one while the
//! connection takes bytes. A block that is not begun still belongs to the torrent, which may take it back.

use super::payload;
use samara_swarm::torrent::{NewPeer, PeerKey};
use samara_utp::{ConnectionKey, Endpoint};
use samara_wire::id::{BlockRef, PeerId, WireHash};
use samara_wire::peer::handshake::{Handshake, Reserved};
use samara_wire::peer::message::{Message, encode_piece_header};
use std::net::SocketAddr;

/// How far a connection has come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    /// uTP's own handshake is under way.
    Opening,
    /// The other end's handshake is awaited.
    Greeting,
    /// The torrent may want it later: it has another one with the same peer.
    Spare(NewPeer),
    /// The torrent has it.
    Open(PeerKey),
}

/// A block that is being read.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) block: BlockRef,
    /// Whether the torrent wants it.
    pub(super) wanted: bool,
    pub(super) bytes: Vec<u8>,
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct Stream {
    /// Names it in the whole world, and for ever.
    pub(super) number: u32,
    /// The name of the other end, once its handshake was read.
    pub(super) other: Option<u32>,
    pub(super) addr: SocketAddr,
    pub(super) dialled: bool,
    pub(super) stage: Stage,
    /// What is begun, and how much of it is written.
    begun: Vec<u8>,
    written: usize,
    /// Of what is begun no more than this may be written yet: it drips.
    tap: Option<usize>,
    messages: Vec<u8>,
    /// Whether the torrent may have blocks to serve.
    pub(super) serving: bool,
    /// Whether its end waits in the list of those that may have something to write.
    pub(super) marked: bool,
    pub(super) inbox: Vec<u8>,
    pub(super) incoming: Option<Incoming>,
}

impl Stream {
    pub(super) const fn new(number: u32, addr: SocketAddr, dialled: bool) -> Self {
        Self {
            number,
            other: None,
            addr,
            dialled,
            stage: if dialled { Stage::Opening } else { Stage::Greeting },
            begun: Vec::new(),
            written: 0,
            tap: None,
            messages: Vec::new(),
            serving: false,
            marked: false,
            inbox: Vec::new(),
            incoming: None,
        }
    }

    pub(super) const fn peer(&self) -> Option<PeerKey> {
        if let Stage::Open(key) = self.stage { Some(key) } else { None }
    }

    /// Says who we are. In the reserved bytes that mean nothing goes the name of this end, by which the world knows which ends belong
    /// together. No node heeds it.
    pub(super) fn greet(&mut self, info_hash: WireHash, peer_id: PeerId, mut reserved: Reserved) {
        reserved.0[..4].copy_from_slice(&self.number.to_be_bytes());
        let handshake = Handshake { reserved, info_hash, peer_id };
        self.messages.extend_from_slice(&handshake.encode());
    }

    /// The name of the other end and what it can do, from its reserved bytes.
    pub(super) fn read_reserved(mut reserved: Reserved) -> (u32, Reserved) {
        let [a, b, c, d, ..] = reserved.0;
        reserved.0[..4].fill(0);
        (u32::from_be_bytes([a, b, c, d]), reserved)
    }

    pub(super) fn push_message(&mut self, message: &Message) {
        message.encode(&mut self.messages);
    }

    pub(super) fn push_bytes(&mut self, bytes: &[u8]) {
        self.messages.extend_from_slice(bytes);
    }

    /// Begins a block. `skip` bytes of it are written already. If it drips, only its header goes out at once.
    pub(super) fn begin(&mut self, block: BlockRef, content: u64, skip: usize, drips: bool) {
        self.begun.clear();
        let header = encode_piece_header(block);
        self.begun.extend_from_slice(&header);
        payload::write(block, content, &mut self.begun);
        self.written = skip;
        self.tap = drips.then_some(header.len());
    }

    /// Another byte may go, of what drips. Whether it still does.
    pub(super) fn drip(&mut self) -> bool {
        let Some(tap) = &mut self.tap else { return false };
        *tap += 1;
        if *tap >= self.begun.len() {
            self.tap = None;
        }
        true
    }

    /// Writes what is begun, then messages. Whether all of it is written.
    pub(super) fn write_on(&mut self, endpoint: &mut Endpoint, key: ConnectionKey) -> bool {
        loop {
            let end = self.tap.unwrap_or(self.begun.len());
            while self.written < end {
                match endpoint.write(key, &self.begun[self.written..end]) {
                    Ok(written) if written > 0 => self.written += written,
                    _ => return false,
                }
            }
            if self.tap.is_some() {
                return false;
            }
            self.begun.clear();
            self.written = 0;
            if self.messages.is_empty() {
                return true;
            }
            std::mem::swap(&mut self.begun, &mut self.messages);
        }
    }
}
