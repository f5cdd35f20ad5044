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

/// A picker past its random beginning: pieces 0 to 3 are had.
fn grown(pieces: u32, blocks: u32) -> Picker {
    let mut p = picker(pieces, blocks);
    (0..RANDOM_FIRST_PIECES).for_each(|piece| get(&mut p, piece));
    p
}

#[test]
fn the_first_pieces_are_random() {
    let first = |seed| {
        let layout = PieceLayout::contiguous(1000 * u64::from(BLOCK_LEN), BLOCK_LEN);
        let mut p = Picker::new(layout, &Bitfield::empty(1000), seed);
        p.peer_joined(&Bitfield::full(1000));
        p.peer_joined(&set(1000, &[1, 2, 3, 4, 5]));
        pick(&mut p, 0, &Bitfield::full(1000), 1, any())[0].0
    };
    let mut seen: Vec<_> = (0..50).map(first).collect();
    seen.sort_unstable();
    seen.dedup();
    assert!(seen.len() > 40, "{seen:?}");
    assert_eq!(first(9), first(9));
}

#[test]
fn equals_are_chosen_by_chance() {
    let mut p = grown(100, 1);
    let seed = Bitfield::full(100);
    p.peer_joined(&seed);
    let picked = pick(&mut p, 0, &seed, 96, any());
    assert!(!picked.is_sorted());
}

#[test]
fn a_stalling_peer_that_picks_before_it_releases_gets_another_block() {
    let mut p = grown(6, 2);
    let seed = Bitfield::full(6);
    p.peer_joined(&seed);
    let old = pick(&mut p, 0, &seed, 1, any())[0];
    let new = pick(&mut p, 0, &seed, 1, any())[0];
    assert_ne!(old, new);
    p.release(peer(0), block(old.0, old.1));
    assert_eq!(pick(&mut p, 1, &seed, 1, any()), [old]);
    // In endgame too.
    let rest = pick(&mut p, 1, &seed, 9, any());
    let again = pick(&mut p, 0, &seed, 9, any());
    assert!(!again.contains(&new) && again.len() == 3 && again[1..] == rest[..2]);
}

#[test]
fn endgame_asks_others_for_the_oldest_and_names_whom_to_cancel() {
    let mut p = grown(5, 3);
    let seed = Bitfield::full(5);
    p.peer_joined(&seed);
    assert_eq!(pick(&mut p, 1, &seed, 2, any()), [(4, 0), (4, 1)]);
    assert_eq!(pick(&mut p, 2, &seed, 2, any()), [(4, 2), (4, 0)]);
    assert_eq!(pick(&mut p, 3, &seed, 2, any()), [(4, 1), (4, 2)]);
    assert_eq!(pick(&mut p, 4, &seed, 1, any()), [(4, 0)]);
    assert_eq!(pick(&mut p, 5, &seed, 1, any()), [(4, 1)]);
    assert_eq!(pick(&mut p, 5, &Bitfield::empty(5), 1, any()), []);
    assert_eq!(pick(&mut p, 6, &seed, 9, any()), [(4, 2)]);
    assert_eq!(pick(&mut p, 7, &seed, 9, any()), [], "asked of three each");
    p.release(peer(2), block(4, 2));
    assert_eq!(p.received(peer(3), block(4, 2)), fresh(false, &[6]));
    assert_eq!(p.received(peer(6), block(4, 2)), Received::Duplicate);
    assert_eq!(p.received(peer(4), block(4, 0)), fresh(false, &[1, 2]));
    p.release_all(peer(1));
    assert_eq!(p.received(peer(5), block(4, 1)), fresh(true, &[3]));
    assert_eq!((p.wasted_blocks(), p.extras), (1, 0));
}

#[test]
fn endgame_keeps_to_its_allowance() {
    let mut p = picker(1, 100);
    let seed = Bitfield::full(1);
    p.peer_joined(&seed);
    assert_eq!(pick(&mut p, 0, &seed, 200, any()).len(), 100);
    assert_eq!(pick(&mut p, 1, &seed, 200, any()), [], "too many under way");
    (0..92).for_each(|index| _ = p.received(peer(0), block(0, index)));
    for slot in [1, 2] {
        assert_eq!(pick(&mut p, slot, &seed, 200, any()).len() as u64, ENDGAME_FLOOR);
    }
    // Every copy arrives: all that was allowed is wasted.
    for index in 92..98 {
        assert_eq!(p.received(peer(0), block(0, index)), fresh(false, &[1, 2]));
        assert_eq!(p.received(peer(1), block(0, index)), Received::Duplicate);
        assert_eq!(p.received(peer(2), block(0, index)), Received::Duplicate);
    }
    p.release_all(peer(1));
    p.release_all(peer(2));
    assert_eq!(pick(&mut p, 3, &seed, 200, any()).len(), 2);
    assert_eq!(pick(&mut p, 4, &seed, 200, any()).len(), 2);
    (98..100).for_each(|index| _ = p.received(peer(0), block(0, index)));
    assert_eq!((p.wasted_blocks(), p.extras), (12, 0));
}

#[test]
fn endgame_does_not_wait_for_blocks_that_are_stuck() {
    let mut p = picker(1, 100);
    let seed = Bitfield::full(1);
    p.peer_joined(&seed);
    assert_eq!(pick(&mut p, 0, &seed, 200, any()).len(), 100);
    let stuck = |stuck| PickOptions { stuck, ..any() };
    assert_eq!(pick(&mut p, 1, &seed, 200, stuck(91)), [], "nine are still moving");
    assert!(!p.may_repeat(91) && p.may_repeat(92));
    assert_eq!(pick(&mut p, 1, &seed, 200, stuck(92)).len() as u64, 2 * ENDGAME_FLOOR);
    assert_eq!(pick(&mut p, 2, &seed, 200, stuck(100)), [], "the allowance holds");
}

#[test]
fn pieces_that_only_seeds_have_go_before_all_others() {
    let mut p = grown(8, 2);
    let (seed, other) = (Bitfield::full(8), set(8, &[5]));
    p.peer_joined(&seed);
    p.peer_joined(&other);
    assert_eq!(pick(&mut p, 1, &other, 1, any()), [(5, 0)]);
    let spread = PickOptions { spread: true, ..any() };
    let first = pick(&mut p, 0, &seed, 3, spread);
    assert!(first.iter().all(|(piece, _)| *piece != 5), "another can bring the rest: {first:?}");
    // Begun at the seed, then told of by another: it can wait as well.
    let begun = first[2].0;
    let mut other = other;
    other.insert(PieceIndex(begun));
    p.peer_has(PieceIndex(begun), &other);
    let rest = pick(&mut p, 0, &seed, 4, spread);
    assert_eq!(rest.len(), 4);
    assert!(rest[..2].iter().all(|(piece, _)| *piece != 5 && *piece != begun), "{rest:?}");
    // Without room for it, what was begun goes first.
    let mut p = grown(8, 2);
    p.peer_joined(&seed);
    p.peer_joined(&set(8, &[5]));
    assert_eq!(pick(&mut p, 1, &set(8, &[5]), 1, any()), [(5, 0)]);
    assert_eq!(pick(&mut p, 0, &seed, 1, any()), [(5, 1)]);
}

#[test]
fn pieces_that_nobody_has_do_not_delay_endgame() {
    let mut p = grown(7, 2);
    let has = set(7, &[4]);
    p.peer_joined(&has);
    // Of piece 5 one block is here, of piece 6 none.
    p.restore_partial(PieceIndex(5), &set(2, &[0]));
    assert_eq!(pick(&mut p, 0, &has, 2, any()), [(4, 0), (4, 1)]);
    assert_eq!(pick(&mut p, 1, &has, 1, any()), [(4, 0)]);
    for offered in [5, 6] {
        p.peer_joined(&set(7, &[offered]));
        assert_eq!(pick(&mut p, 2, &has, 1, any()), []);
        p.peer_left(&set(7, &[offered]));
    }
    assert_eq!(pick(&mut p, 2, &has, 1, any()), [(4, 1)]);
}

#[test]
fn priority_goes_over_rarity_and_zero_is_not_wanted() {
    let mut p = grown(8, 1);
    let seed = Bitfield::full(8);
    p.peer_joined(&seed);
    p.peer_joined(&set(8, &[5, 6, 7]));
    p.peer_joined(&set(8, &[7]));
    p.set_priorities(&[0, 0, 0, 0, 0, 1, 7, 7]);
    assert_eq!((p.wanted_left(), p.wants(PieceIndex(4))), (3, false));
    assert_eq!(p.wanted_bytes(), 3 * u64::from(BLOCK_LEN));
    assert_eq!(pick(&mut p, 0, &seed, 9, any()), [(6, 0), (7, 0), (5, 0)]);
    assert_eq!(p.received(peer(0), block(4, 0)), Received::NotOurs);
    // What was asked for before its piece fell from grace is still kept.
    p.set_priorities(&[0; 8]);
    assert!(p.needs(&block(7, 0)) && !p.wants_any_of(&seed));
    assert_eq!(p.received(peer(0), block(7, 0)), fresh(true, &[]));
}

#[test]
fn in_order_and_deadlines_before_all() {
    let mut p = picker(9, 2);
    let (seed, odd) = (Bitfield::full(9), set(9, &[1, 3, 5, 7]));
    p.peer_joined(&seed);
    p.peer_joined(&odd);
    p.set_sequential(true);
    assert_eq!(pick(&mut p, 0, &seed, 2, any()), [(0, 0), (0, 1)]);
    assert_eq!(pick(&mut p, 1, &odd, 3, any()), [(1, 0), (1, 1), (3, 0)]);
    p.set_deadline(PieceIndex(7), Some(20));
    p.set_deadline(PieceIndex(8), Some(10));
    assert_eq!(pick(&mut p, 1, &odd, 2, any()), [(7, 0), (7, 1)]);
    assert_eq!(pick(&mut p, 0, &seed, 4, any()), [(8, 0), (8, 1), (3, 1), (2, 0)]);
    p.set_deadline(PieceIndex(6), Some(1));
    p.set_deadline(PieceIndex(6), None);
    assert_eq!(pick(&mut p, 0, &seed, 1, any()), [(2, 1)]);
}

#[test]
fn a_suspect_piece_comes_from_one_peer_at_a_time() {
    let mut p = grown(6, 3);
    let has = set(6, &[4]);
    p.peer_joined(&has);
    p.peer_joined(&set(6, &[5]));
    (0..3).for_each(|index| _ = p.received(peer(index), block(4, index)));
    p.suspect(PieceIndex(4));
    assert_eq!(p.failed(PieceIndex(4)), []);
    assert_eq!(pick(&mut p, 1, &has, 1, any()), [(4, 0)]);
    assert_eq!(pick(&mut p, 2, &has, 3, any()), []);
    assert_eq!(p.received(peer(1), block(4, 0)), fresh(false, &[]));
    assert_eq!(pick(&mut p, 2, &has, 3, any()), [], "1 may go on");
    p.release_all(peer(1));
    assert_eq!(pick(&mut p, 2, &has, 3, any()), [(4, 1), (4, 2)]);
    assert_eq!(pick(&mut p, 1, &has, 3, any()), []);
}

#[test]
fn a_peer_under_suspicion_fetches_alone() {
    let mut p = grown(7, 3);
    let seed = Bitfield::full(7);
    p.peer_joined(&seed);
    let alone = PickOptions { exclusive: true, ..any() };
    let shared = pick(&mut p, 1, &seed, 1, any())[0].0;
    let own = pick(&mut p, 2, &seed, 1, alone)[0].0;
    assert_ne!(shared, own);
    let rest = pick(&mut p, 1, &seed, 9, any());
    assert!(rest.iter().all(|&(piece, _)| piece != own) && rest.len() == 5);
    assert_eq!(pick(&mut p, 2, &seed, 9, alone), [(own, 1), (own, 2)]);
}

#[test]
fn scarce_buffers_start_no_piece_and_a_choked_peer_gets_the_allowed() {
    let mut p = grown(9, 2);
    let seed = Bitfield::full(9);
    p.peer_joined(&seed);
    let scarce = PickOptions { mode: PickMode::PartialOnly, ..any() };
    assert_eq!(pick(&mut p, 0, &seed, 3, scarce), []);
    let allowed = [PieceIndex(1), PieceIndex(6), PieceIndex(5)];
    let choked = PickOptions { mode: PickMode::Only(&allowed), ..any() };
    assert_eq!(pick(&mut p, 0, &seed, 3, choked), [(6, 0), (6, 1), (5, 0)]);
    assert_eq!(pick(&mut p, 1, &seed, 3, scarce), [(5, 1)]);
    assert_eq!(pick(&mut p, 1, &set(9, &[8]), 3, choked), []);
}

#[test]
fn fast_peers_keep_apart_and_go_on_to_the_neighbour() {
    let mut p = grown(100, 4);
    let seed = Bitfield::full(100);
    p.peer_joined(&seed);
    let fast = PickOptions { whole_pieces: true, ..any() };
    let a = pick(&mut p, 0, &seed, 3, fast);
    let b = pick(&mut p, 1, &seed, 3, fast);
    assert!(a[0].0 != b[0].0 && a.len() == 3);
    let more = pick(&mut p, 0, &seed, 6, fast);
    let next = a[0].0 + 1;
    assert_eq!(more, [(a[0].0, 3), (next, 0), (next, 1), (next, 2), (next, 3), (next + 1, 0)]);
    // A slow one helps to finish instead.
    assert_eq!(pick(&mut p, 2, &seed, 1, any()), [(b[0].0, 3)]);
}

#[test]
fn a_partial_piece_survives_a_restart() {
    let mut p = grown(6, 3);
    let seed = Bitfield::full(6);
    p.peer_joined(&seed);
    assert!(!p.restore_partial(PieceIndex(4), &set(3, &[1])));
    assert!(p.restore_partial(PieceIndex(5), &Bitfield::full(3)));
    assert!(!p.restore_partial(PieceIndex(0), &Bitfield::full(3)), "had");
    assert!(!p.restore_partial(PieceIndex(4), &Bitfield::full(4)), "another piece's");
    assert_eq!(pick(&mut p, 0, &seed, 2, any()), [(4, 0), (4, 2)]);
    let partial: Vec<_> = p.partial_pieces().map(|(piece, had)| (piece.0, had.count())).collect();
    assert_eq!(partial, [(4, 1), (5, 3)]);
    assert_eq!(p.failed(PieceIndex(4)), [(peer(0), block(4, 0)), (peer(0), block(4, 2))]);
    assert_eq!(p.blocks_from(PieceIndex(4)).count(), 0);
}

#[test]
fn a_late_block_of_a_released_request_is_kept_and_a_strange_one_refused() {
    let mut p = grown(6, 3);
    let seed = Bitfield::full(6);
    p.peer_joined(&seed);
    let (piece, index) = pick(&mut p, 0, &seed, 1, any())[0];
    p.release(peer(0), block(piece, index));
    assert_eq!(p.partial_count(), 0);
    assert_eq!(p.received(peer(0), block(piece, index)), fresh(false, &[]));
    assert_eq!(p.received(peer(0), block(0, 0)), Received::Duplicate);
    let strange = BlockRef { begin: 5, ..block(piece, index) };
    assert_eq!(p.received(peer(0), strange), Received::NotOurs);
    assert_eq!(p.received(peer(0), block(99, 0)), Received::NotOurs);
}

#[test]
fn seeds_cost_nothing_and_peers_that_become_seeds_count_right() {
    let mut p = grown(8, 1);
    let seed = Bitfield::full(8);
    p.peer_joined(&seed);
    pick(&mut p, 0, &seed, 1, any());
    for _ in 0..1000 {
        p.peer_joined(&seed);
    }
    assert!(p.order.is_sorted());
    assert_eq!(
        (p.availability(PieceIndex(7)), p.min_availability(), p.seeds()),
        (1001, 1001, 1001)
    );
    for round in 0..20 {
        let mut has = set(8, &[0, 1, 2, 3, 4, 5, 6]);
        p.peer_joined(&has);
        has.insert(PieceIndex(7));
        p.peer_has(PieceIndex(7), &has);
        assert_eq!(p.min_availability(), 1002, "round {round}");
        p.peer_left(&has);
        assert_eq!((p.min_availability(), p.seeds()), (1001, 1001), "round {round}");
    }
}

#[test]
fn a_complete_torrent_holds_no_arrays_and_can_lose_a_piece() {
    let mut p = grown(6, 1);
    let (seed, half) = (Bitfield::full(6), set(6, &[4, 5]));
    p.peer_joined(&half);
    p.peer_joined(&seed);
    assert_eq!(pick(&mut p, 0, &seed, 2, any()).len(), 2);
    get(&mut p, 4);
    get(&mut p, 5);
    assert_eq!((p.heap_bytes(), p.wanted_left(), p.min_availability()), (0, 0, 1));
    p.peer_joined(&half);
    p.peer_left(&half);
    assert_eq!(p.heap_bytes(), 0);
    p.lost(PieceIndex(4), [&half, &seed].into_iter());
    assert_eq!((p.wanted_left(), p.availability(PieceIndex(4))), (1, 2));
    assert_eq!(pick(&mut p, 0, &half, 2, any()), [(4, 0)]);
    let layout = p.layout.clone();
    assert_eq!(Picker::new(layout, &seed, 1).heap_bytes(), 0);
}

#[test]
fn a_super_seed_goes_on_counting() {
    let mut p = grown(6, 1);
    p.count_always();
    let half = set(6, &[4, 5]);
    p.peer_joined(&half);
    p.peer_joined(&Bitfield::full(6));
    get(&mut p, 4);
    get(&mut p, 5);
    assert_eq!([0, 5].map(|piece| p.availability(PieceIndex(piece))), [1, 2]);
    p.peer_left(&half);
    assert_eq!(p.availability(PieceIndex(5)), 1);
    p.lost(PieceIndex(5), core::iter::empty());
    assert_eq!(pick(&mut p, 0, &Bitfield::full(6), 1, any()), [(5, 0)]);
}

/// Forty peers of speeds 1 to 40 blocks a turn, each with a full pipeline and cancels that come a turn late.
#[test]
fn a_whole_download_wastes_little_and_begins_few_pieces() {
    let (pieces, blocks) = (500, 16);
    let mut p = picker(pieces, blocks);
    let seed = Bitfield::full(pieces);
    let mut pipes: Vec<Vec<BlockRef>> = vec![Vec::new(); 40];
    pipes.iter().for_each(|_| p.peer_joined(&seed));
    let (mut turns, mut most_partial) = (0, 0);
    while p.wanted_left() > 0 {
        turns += 1;
        for slot in 0..40u32 {
            let speed = 1 + slot as usize;
            let pipe = &mut pipes[slot as usize];
            let room = (2 * speed).saturating_sub(pipe.len());
            p.pick(peer(slot), &seed, room, any(), pipe);
            let rest = pipe.split_off(speed.min(pipe.len()));
            for sent in core::mem::replace(&mut pipes[slot as usize], rest) {
                let whole = p.received(peer(slot), sent);
                if let Received::Fresh { piece_complete, cancel } = whole {
                    for other in cancel {
                        // What it sends this turn is on its way already.
                        let pipe = &mut pipes[other.slot as usize];
                        let mut late = pipe.iter().skip(1 + other.slot as usize);
                        if let Some(at) = late.position(|&b| b == sent) {
                            pipe.remove(at + 1 + other.slot as usize);
                        }
                    }
                    if piece_complete {
                        p.verified(sent.piece);
                    }
                }
            }
        }
        most_partial = most_partial.max(p.partial_count());
    }
    let waste = p.wasted_blocks() * 1000 / u64::from(pieces * blocks);
    assert!(waste < 5, "{waste} in a thousand");
    assert!(most_partial <= 110, "{most_partial} begun at once for 1,640 blocks under way");
    assert!(turns <= 13, "{turns} turns for 8,000 blocks at 820 a turn");
}
