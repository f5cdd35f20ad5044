use super::*;
use proptest::prelude::*;
use samara_disk::{BlockBuf, BlockPool};
use samara_wire::id::PieceIndex;

fn block(n: u32, len: u32) -> BlockRef {
    BlockRef { piece: PieceIndex(n), begin: 0, len }
}

/// A block's bytes, each the number of its piece, in parts of at most 20.
fn bytes(block: BlockRef) -> BlockBytes {
    let pool = BlockPool::new(1 << 20);
    let part = |len: usize| {
        let mut buf: BlockBuf = pool.take();
        buf.as_mut_slice()[..len].fill(u8::try_from(block.piece.0).unwrap());
        buf.set_len(len);
        buf
    };
    let len = block.len as usize;
    (0..len).step_by(20).map(|at| part(20.min(len - at))).collect::<Vec<_>>().into()
}

/// Plans `blocks`, and has all of them here.
fn plan(queue: &mut OutQueue, blocks: &[BlockRef]) {
    for new in queue.plan(blocks.iter().copied(), usize::MAX) {
        queue.put(new, bytes(new));
    }
}

/// Writes `n` bytes at most; gives them, and what was told of the blocks.
fn write(queue: &mut OutQueue, n: usize) -> (Vec<u8>, Vec<Step>) {
    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
    let count = queue.slices(&mut slices);
    let mut written: Vec<u8> = slices[..count].iter().flat_map(|s| s.iter().copied()).collect();
    written.truncate(n);
    let mut steps = Vec::new();
    queue.advance(written.len(), |step| steps.push(step));
    (written, steps)
}

fn frame(block: BlockRef) -> Vec<u8> {
    let mut frame = encode_piece_header(block).to_vec();
    frame.extend(bytes(block).parts().flatten());
    frame
}

#[test]
fn control_overtakes_what_is_not_begun() {
    for n in [1, 5, 13, 20, 100, 100_000] {
        let mut queue = OutQueue::new(b"");
        let (first, second) = (block(1, 50), block(2, 50));
        plan(&mut queue, &[first, second]);
        assert_eq!(write(&mut queue, 7), (frame(first)[..7].to_vec(), vec![Step::Begun(first)]));
        queue.push_message(&Message::Unchoke);
        let (mut stream, mut steps) = (Vec::new(), Vec::new());
        while !queue.is_idle() {
            let (written, more) = write(&mut queue, n);
            stream.extend(written);
            steps.extend(more);
        }
        let expected = [&frame(first)[7..], &[0, 0, 0, 1, 1], &frame(second)].concat();
        assert_eq!(stream, expected, "{n} bytes at a time");
        assert_eq!(steps, [Step::Served(first), Step::Begun(second), Step::Served(second)]);
        assert_eq!(queue.pending_bytes(), 0);
    }
}

#[test]
fn a_control_message_that_is_begun_is_finished() {
    let mut queue = OutQueue::new(b"hello");
    assert_eq!(write(&mut queue, 2).0, b"he");
    plan(&mut queue, &[block(3, 4)]);
    assert_eq!(write(&mut queue, usize::MAX).0, [&b"llo"[..], &frame(block(3, 4))].concat());
}

#[test]
fn what_is_taken_back_is_not_sent_unless_it_is_begun() {
    let (first, second, third) = (block(1, 50), block(2, 50), block(3, 50));
    let mut queue = OutQueue::new(b"");
    plan(&mut queue, &[first, second, third]);
    write(&mut queue, 1);
    assert!(queue.plan([third].into_iter(), usize::MAX).is_empty(), "it is here");
    let expected = [&frame(first)[1..], &frame(third)].concat();
    assert_eq!(write(&mut queue, usize::MAX).0, expected);
}

#[test]
fn blocks_wait_for_the_disk_in_their_order_and_for_the_limit() {
    let (first, second) = (block(1, 50), block(2, 50));
    let mut queue = OutQueue::new(b"");
    assert_eq!(queue.plan([first, second].into_iter(), 51), [first], "the second has no room");
    assert_eq!(queue.plan([first, second].into_iter(), usize::MAX), [second]);
    queue.block_read(second, Some(bytes(second)));
    assert!(queue.is_idle(), "the first is being read");
    queue.block_read(first, Some(bytes(first)));
    queue.throttled = true;
    assert!(queue.is_idle());
    assert_eq!(write(&mut queue, usize::MAX).0, b"");
    queue.throttled = false;
    assert_eq!(write(&mut queue, usize::MAX).0, [frame(first), frame(second)].concat());
    queue.block_read(first, Some(bytes(first)));
    assert_eq!((queue.pending_bytes(), queue.is_idle()), (0, true), "nobody waits for it any more");
}

#[test]
fn disk_threads_are_told_ahead_by_halves() {
    let blocks: Vec<_> = (0..30).map(|n| block(n, 10)).collect();
    let mut queue = OutQueue::new(b"");
    let upcoming = |from: usize| blocks[from..].iter().copied();
    assert_eq!(queue.read_ahead(upcoming(0), 100), blocks[..10]);
    assert_eq!(queue.read_ahead(upcoming(5), 100), [], "half of it is still ahead");
    assert_eq!(queue.read_ahead(upcoming(6), 100), blocks[10..16]);
    assert_eq!(queue.read_ahead(upcoming(20), 100), blocks[20..], "it came further by itself");
    assert_eq!(queue.read_ahead(upcoming(30), 100), []);
    assert_eq!(queue.told_ahead, None);
}

proptest! {
    /// Whatever is asked, taken back and written, the queue follows the core's, and the stream is whole frames.
    #[test]
    fn the_stream_is_frames_of_what_was_not_taken_back(
        acts in prop::collection::vec((0u8..4, any::<prop::sample::Index>(), 1u32..60), 1..80),
    ) {
        let mut queue = OutQueue::new(b"");
        let mut core = VecDeque::new();
        let (mut stream, mut expected) = (Vec::new(), Vec::new());
        for (number, (act, index, amount)) in (0u32..).zip(acts) {
            match act {
                0 => core.push_back(block(number, amount)),
                1 if !core.is_empty() => {
                    core.remove(index.index(core.len()));
                }
                _ => {}
            }
            for new in queue.plan(core.iter().copied(), 100) {
                queue.put(new, bytes(new));
            }
            prop_assert!(queue.next.iter().map(|next| &next.block).eq(core.iter().take(queue.next.len())));
            prop_assert!(queue.pending_bytes() < 100 + PIECE_HEADER_LEN + 60);
            prop_assert!(core.is_empty() || queue.pending_bytes() > 0);
            if act > 1 {
                let (written, steps) = write(&mut queue, amount as usize * 3);
                stream.extend(written);
                for step in steps {
                    if let Step::Begun(begun) = step {
                        prop_assert_eq!(core.pop_front(), Some(begun));
                        expected.extend(frame(begun));
                    }
                }
            }
            prop_assert!(expected.starts_with(&stream));
        }
    }
}
