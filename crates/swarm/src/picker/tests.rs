//! Traces: who asks, what comes out.

mod model;

use super::*;
use samara_wire::id::{BLOCK_LEN, BlockRef};
use std::vec;

/// A torrent of `pieces` pieces of `blocks` blocks each, of which we have nothing.
fn picker(pieces: u32, blocks: u32) -> Picker {
    let len = u64::from(pieces) * u64::from(blocks) * u64::from(BLOCK_LEN);
    let layout = PieceLayout::contiguous(len, blocks * BLOCK_LEN);
    Picker::new(layout, &Bitfield::empty(pieces), 1)
}

fn peer(slot: u32) -> PeerKey {
    PeerKey { slot, generation: 0 }
}

fn set(len: u32, pieces: &[u32]) -> Bitfield {
    let mut set = Bitfield::empty(len);
    pieces.iter().for_each(|&piece| _ = set.insert(PieceIndex(piece)));
    set
}

/// Picks and answers (piece, block) pairs.
fn pick(
    picker: &mut Picker,
    slot: u32,
    has: &Bitfield,
    count: usize,
    options: PickOptions<'_>,
) -> Vec<(u32, u32)> {
    let mut out = Vec::new();
    picker.pick(peer(slot), has, count, options, &mut out);
    out.iter().map(|block| (block.piece.0, block.begin / BLOCK_LEN)).collect()
}

fn any() -> PickOptions<'static> {
    PickOptions::default()
}

fn block(piece: u32, index: u32) -> BlockRef {
    BlockRef { piece: PieceIndex(piece), begin: index * BLOCK_LEN, len: BLOCK_LEN }
}

fn fresh(piece_complete: bool, cancel: &[u32]) -> Received {
    Received::Fresh { piece_complete, cancel: cancel.iter().map(|&slot| peer(slot)).collect() }
}

/// Receives every block of a piece from peer 0 and verifies it.
fn get(picker: &mut Picker, piece: u32) {
    for index in 0..picker.layout.blocks_in(PieceIndex(piece)) {
        _ = picker.received(peer(0), block(piece, index));
    }
    picker.verified(PieceIndex(piece));
}

#[test]
fn blocks_come_in_order_and_a_begun_piece_is_finished_first() {
    let mut p = picker(8, 3);
    let seed = Bitfield::full(8);
    p.peer_joined(&seed);
    p.peer_joined(&seed);
    let first = pick(&mut p, 0, &seed, 2, any());
    let piece = first[0].0;
    assert_eq!(first, [(piece, 0), (piece, 1)]);
    let second = pick(&mut p, 1, &seed, 2, any());
    assert_eq!(second[0], (piece, 2));
    assert_ne!(second[1].0, piece);
    assert_eq!(p.received(peer(1), block(piece, 2)), fresh(false, &[]));
    assert_eq!(p.received(peer(0), block(piece, 0)), fresh(false, &[]));
    assert_eq!(p.received(peer(0), block(piece, 0)), Received::Duplicate);
    assert_eq!(p.received(peer(0), block(piece, 1)), fresh(true, &[]));
    let from: Vec<_> = p.blocks_from(PieceIndex(piece)).map(|(_, from)| from).collect();
    assert_eq!(from, [Some(peer(0)), Some(peer(0)), Some(peer(1))]);
    p.verified(PieceIndex(piece));
    assert!(!p.wants(PieceIndex(piece)) && p.wanted_left() == 7);
}

#[test]
fn the_rarest_piece_goes_first_once_a_few_are_had() {
    let mut p = picker(8, 1);
    let seed = Bitfield::full(8);
    p.peer_joined(&seed);
    (0..4).for_each(|piece| get(&mut p, piece));
    p.peer_joined(&set(8, &[4, 5, 7]));
    let mut others = [set(8, &[4, 5]), set(8, &[4, 5]), set(8, &[4])];
    others.iter().for_each(|has| p.peer_joined(has));
    assert_eq!([4, 5, 6, 7].map(|piece| p.availability(PieceIndex(piece))), [5, 4, 1, 2]);
    assert_eq!(p.min_availability(), 1);
    assert_eq!(pick(&mut p, 0, &seed, 1, any()), [(6, 0)]);
    p.release(peer(0), block(6, 0));
    for has in &mut others[..2] {
        has.insert(PieceIndex(6));
        p.peer_has(PieceIndex(6), has);
    }
    assert_eq!(p.min_availability(), 2);
    assert_eq!(pick(&mut p, 0, &seed, 4, any()), [(7, 0), (6, 0), (5, 0), (4, 0)]);
}
