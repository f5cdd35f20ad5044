//! Sets of pieces, and how pieces fall into blocks, beside plain sets and sums.

use crate::Script;
use samara_wire::bitfield::Bitfield;
use samara_wire::id::{BLOCK_LEN, BlockRef, PieceIndex};
use samara_wire::layout::PieceLayout;
use std::collections::BTreeSet;

/// Reads `input` as a bitfield message and as changes to a set.
pub fn bitfield(input: &[u8]) {
    let mut script = Script::new(input);
    let len = u32::from(script.short()) % 300;
    let message = script.bytes(40);
    let fits = message.len() == (len as usize).div_ceil(8);
    let bits = u32::try_from(message.len() * 8).unwrap_or(u32::MAX);
    let spare = (len..bits).any(|bit| bit_of(message, bit));
    let read = Bitfield::from_bytes(message, len);
    assert_eq!(read.is_ok(), fits && !spare);
    let Ok(mut set) = read else { return };
    assert_eq!(set.as_bytes(), message);
    let mut model: BTreeSet<u32> = (0..len).filter(|bit| bit_of(message, *bit)).collect();
    let other = Bitfield::full(len);
    while !script.is_done() && len > 0 {
        let piece = u32::from(script.short()) % len;
        match script.flag() {
            true => assert_eq!(set.insert(PieceIndex(piece)), model.insert(piece)),
            false => assert_eq!(set.remove(PieceIndex(piece)), model.remove(&piece)),
        }
    }
    assert!(set.iter().map(|piece| piece.0).eq(model.iter().copied()));
    let missing: Vec<u32> = (0..len).filter(|piece| !model.contains(piece)).collect();
    assert!(set.iter_missing().map(|piece| piece.0).eq(missing.iter().copied()));
    assert!(other.iter_difference(&set).map(|piece| piece.0).eq(missing.iter().copied()));
    assert_eq!(other.has_any_outside(&set), !missing.is_empty());
    assert_eq!(set.count() as usize, model.len());
    assert_eq!((set.is_empty(), set.is_full()), (model.is_empty(), missing.is_empty()));
    assert_eq!(Bitfield::from_bytes(set.as_bytes(), len), Ok(set));
}

fn bit_of(bytes: &[u8], bit: u32) -> bool {
    bytes.get(bit as usize / 8).is_some_and(|byte| byte << (bit % 8) & 0x80 != 0)
}

/// Reads `input` as a layout and blocks that somebody names.
pub fn layout(input: &[u8]) {
    let mut script = Script::new(input);
    let piece_len = script.word() % (1 << 20) + 1;
    let count = u32::from(script.byte() % 20) + 1;
    let mut short = Vec::new();
    for piece in 0..count {
        let len = script.word() % piece_len;
        if script.flag() && len > 0 {
            short.push((PieceIndex(piece), len));
        }
    }
    let layout = PieceLayout::with_short_pieces(piece_len, count, short.clone().into());
    let len_of = |piece: u32| {
        let found = short.iter().find(|(other, _)| other.0 == piece).map(|(_, len)| *len);
        if piece < count { found.unwrap_or(piece_len) } else { 0 }
    };
    assert_eq!(layout.total_len(), (0..count).map(|piece| u64::from(len_of(piece))).sum());
    for piece in layout.pieces() {
        let blocks: Vec<BlockRef> =
            (0..layout.blocks_in(piece)).filter_map(|index| layout.block(piece, index)).collect();
        assert_eq!(blocks.len(), layout.blocks_in(piece) as usize);
        let mut end = 0;
        for (index, block) in (0..).zip(&blocks) {
            assert_eq!((block.begin, layout.block_index(block)), (end, Some(index)));
            assert!((1..=BLOCK_LEN).contains(&block.len));
            end += block.len;
        }
        assert_eq!(end, len_of(piece.0));
        assert_eq!(layout.block(piece, layout.blocks_in(piece)), None);
    }
    while !script.is_done() {
        let [piece, begin, len] = [script.byte().into(), script.word(), script.word()];
        let block = BlockRef { piece: PieceIndex(piece), begin, len };
        let inside = len > 0 && u64::from(begin) + u64::from(len) <= u64::from(len_of(piece));
        assert_eq!(layout.contains(&block), inside, "{block:?}");
        if let Some(index) = layout.block_index(&block) {
            assert!(inside && layout.block(block.piece, index) == Some(block));
        }
    }
}
