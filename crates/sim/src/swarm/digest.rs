//! A fingerprint of a run: two runs that did the same have the same one, on whatever machine.
//!
//! Everything that happens is mixed in, word by word. It tells runs apart; it is no protection against anybody.

use super::conn::Item;
use samara_wire::id::BlockRef;
use samara_wire::peer::message::Message;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fingerprint([u64; 2]);

impl Fingerprint {
    pub(super) const fn new() -> Self {
        Self([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344])
    }

    pub(super) const fn word(&mut self, word: u64) {
        let [a, b] = &mut self.0;
        *a = (*a ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        *a ^= *a >> 32;
        *b = (b.rotate_left(23) ^ word).wrapping_mul(0xd6e8_feb8_6659_fd93);
        *b ^= *b >> 29;
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        for part in bytes.chunks(8) {
            self.word(part.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)));
        }
    }

    fn block(&mut self, block: &BlockRef) {
        self.word(u64::from(block.piece.0) << 32 | u64::from(block.begin));
        self.word(u64::from(block.len));
    }

    /// Mixes in what was delivered.
    pub(super) fn item(&mut self, item: &Item) {
        match item {
            Item::Block { block, content, .. } => {
                self.word(100);
                self.block(block);
                self.word(*content);
            }
            Item::Garbage => self.word(101),
            Item::Closed => self.word(102),
            Item::Message(message) => self.message(message),
        }
    }

    fn message(&mut self, message: &Message) {
        match message {
            Message::KeepAlive => self.word(1),
            Message::Choke => self.word(2),
            Message::Unchoke => self.word(3),
            Message::Interested => self.word(4),
            Message::NotInterested => self.word(5),
            Message::HaveAll => self.word(6),
            Message::HaveNone => self.word(7),
            Message::Have(piece) => self.word(8 << 32 | u64::from(piece.0)),
            Message::Suggest(piece) => self.word(9 << 32 | u64::from(piece.0)),
            Message::AllowedFast(piece) => self.word(10 << 32 | u64::from(piece.0)),
            Message::Port(port) => self.word(11 << 32 | u64::from(*port)),
            Message::Request(block) => {
                self.word(12);
                self.block(block);
            }
            Message::Cancel(block) => {
                self.word(13);
                self.block(block);
            }
            Message::Reject(block) => {
                self.word(14);
                self.block(block);
            }
            Message::Bitfield(bytes) => {
                self.word(15);
                self.bytes(bytes);
            }
            Message::Extended { id, payload } => {
                self.word(16 << 32 | u64::from(*id));
                self.bytes(payload);
            }
            Message::HashRequest(_) | Message::Hashes { .. } | Message::HashReject(_) => {
                let mut bytes = Vec::new();
                message.encode(&mut bytes);
                self.bytes(&bytes);
            }
        }
    }

    pub(super) fn hex(self) -> String {
        format!("{:016x}{:016x}", self.0[0], self.0[1])
    }
}
