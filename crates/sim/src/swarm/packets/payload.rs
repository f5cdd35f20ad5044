//! The bytes of a block. They stand for its content, so that what comes out of a stream can be held against what went in.
//!
//! A block is words of eight bytes, each one more than the one before. The first is made of the content ([`RIGHT`] or one way of being
//! wrong) and of where the block is, so blocks of different places have different bytes. Who reads a block knows its content by the
//! first word, and every other byte is checked.

use super::super::conn::RIGHT;
use samara_wire::id::BlockRef;

fn first_word(block: BlockRef, content: u64) -> u64 {
    let place = u64::from(block.piece.0) << 32 | u64::from(block.begin);
    place.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ content
}

/// Appends the bytes of a block.
pub(super) fn write(block: BlockRef, content: u64, out: &mut Vec<u8>) {
    let (end, mut word) = (out.len() + block.len as usize, first_word(block, content));
    while out.len() < end {
        let bytes = word.to_le_bytes();
        out.extend_from_slice(&bytes[..bytes.len().min(end - out.len())]);
        word = word.wrapping_add(1);
    }
}

/// The content that these bytes stand for. Nothing if they are not those of a block at this place. `sent` is what it should be: less
/// than a word, which nobody but a flooder asks for, does not tell by itself.
pub(super) fn read(block: BlockRef, bytes: &[u8], sent: u64) -> Option<u64> {
    let content = bytes
        .first_chunk()
        .map_or(sent, |first| u64::from_le_bytes(*first) ^ first_word(block, RIGHT));
    let mut word = first_word(block, content);
    for part in bytes.chunks(8) {
        if part != &word.to_le_bytes()[..part.len()] {
            return None;
        }
        word = word.wrapping_add(1);
    }
    Some(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use samara_wire::id::PieceIndex;

    #[test]
    fn content_comes_back_and_damage_is_seen() {
        let block = BlockRef { piece: PieceIndex(3), begin: 16_384, len: 16_383 };
        for content in [RIGHT, 7 << 40 | 1] {
            let mut bytes = vec![9];
            write(block, content, &mut bytes);
            assert_eq!(bytes.len(), 1 + 16_383);
            assert_eq!(read(block, &bytes[1..], RIGHT), Some(content));
            bytes[16_000] ^= 1;
            assert_eq!(read(block, &bytes[1..], RIGHT), None);
        }
        let mut bytes = Vec::new();
        write(block, RIGHT, &mut bytes);
        bytes.rotate_left(1);
        assert_eq!(read(block, &bytes, RIGHT), None, "shifted by a byte");
        let (short, mut bytes) = (BlockRef { len: 1, ..block }, Vec::new());
        write(short, 7 << 40 | 1, &mut bytes);
        assert_eq!(read(short, &bytes, 7 << 40 | 1), Some(7 << 40 | 1));
        assert_eq!(read(short, &bytes, RIGHT), None);
    }
}
