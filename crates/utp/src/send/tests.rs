use super::*;
use samara_wire::utp::{ConnectionId, Packet, PacketType};
use std::vec;
use std::vec::Vec;

const NOW: Instant = Instant::from_secs(1);

fn header(seq: SeqNr, fin: bool) -> Header {
    Header {
        kind: if fin { PacketType::Fin } else { PacketType::Data },
        connection: ConnectionId(1),
        timestamp: 0,
        timestamp_difference: 0,
        window: 0,
        seq,
        ack: SeqNr(0),
    }
}

/// Sends what waits, `bytes` at most; gives the payloads as the network sees them.
fn send(queue: &mut SendQueue, bytes: usize, max: usize) -> Vec<(u16, Vec<u8>)> {
    let Some(batch) = queue.next_waiting(bytes, max) else { return Vec::new() };
    send_batch(queue, batch)
}

fn send_batch(queue: &mut SendQueue, batch: Batch) -> Vec<(u16, Vec<u8>)> {
    queue.send(NOW, batch, header);
    let (contents, segment) = queue.contents(batch);
    let packets = contents.chunks(segment).map(|datagram| {
        let packet = Packet::parse(datagram).unwrap();
        (packet.header.seq.0, packet.payload.to_vec())
    });
    packets.collect()
}

#[test]
fn full_packets_go_as_one_piece_and_a_short_one_ends_it() {
    let mut queue = SendQueue::new(SeqNr(0xffff));
    queue.write(b"aaaabbbbccccdd", 4);
    assert_eq!(queue.waiting(), 14);
    let sent = send(&mut queue, 9, 10);
    assert_eq!(sent, [(0xffff, b"aaaa".to_vec()), (0, b"bbbb".to_vec())]);
    let sent = send(&mut queue, 100, 10);
    assert_eq!(sent, [(1, b"cccc".to_vec()), (2, b"dd".to_vec())]);
    assert_eq!((queue.waiting(), queue.in_flight(), queue.next()), (0, 14, SeqNr(3)));
}

#[test]
fn a_packet_that_was_not_sent_is_filled_up() {
    let mut queue = SendQueue::new(SeqNr(0));
    queue.write(b"a", 4);
    queue.write(b"bc", 4);
    assert_eq!(send(&mut queue, 100, 10), [(0, b"abc".to_vec())]);
    queue.write(b"defgh", 4);
    assert_eq!(send(&mut queue, 100, 10), [(1, b"defg".to_vec()), (2, b"h".to_vec())]);
    // The end has a number of its own.
    queue.finish();
    assert_eq!(send(&mut queue, 100, 10), [(3, Vec::new())]);
}

#[test]
fn packets_of_another_length_are_another_piece() {
    let mut queue = SendQueue::new(SeqNr(0));
    queue.write(&[1; 8], 4);
    queue.write(&[2; 12], 6);
    assert_eq!(send(&mut queue, 100, 10).len(), 2);
    assert_eq!(send(&mut queue, 100, 1), [(2, vec![2; 6])]);
    assert_eq!(send(&mut queue, 100, 10), [(3, vec![2; 6])]);
}

#[test]
fn what_arrived_later_tells_what_is_lost_also_of_what_was_sent_again() {
    let mut queue = SendQueue::new(SeqNr(0));
    queue.write(&[1; 20], 2);
    for _ in 0..6 {
        send(&mut queue, 2, 1);
    }
    // Of 0 to 5, 0 is missing and 1 to 3 are here.
    let progress = queue.acknowledge(NOW, Duration::ZERO, SeqNr(0xffff), [2, 3, 4].into_iter());
    assert_eq!((progress.bytes, progress.packets), (6, 3));
    assert_eq!(queue.find_lost().newest, Some(0));
    assert_eq!(queue.in_flight(), 4);
    let lost = queue.next_lost(100, 10).unwrap();
    assert_eq!(send_batch(&mut queue, lost), [(0, vec![1; 2])]);
    // Sent again after 5: what is later than that tells.
    queue.acknowledge(NOW, Duration::ZERO, SeqNr(0xffff), [5, 6].into_iter());
    assert_eq!(queue.find_lost().newest, None);
    for _ in 0..3 {
        send(&mut queue, 2, 1);
    }
    queue.acknowledge(NOW, Duration::ZERO, SeqNr(0xffff), [9].into_iter());
    assert_eq!(queue.find_lost().newest, Some(6));
    queue.acknowledge(NOW, Duration::ZERO, SeqNr(8), [].into_iter());
    assert!(!queue.has_lost());
    assert_eq!((queue.in_flight(), queue.span(), queue.oldest()), (0, 0, SeqNr(9)));
}

#[test]
fn acknowledgements_beyond_what_was_sent_do_nothing() {
    let mut queue = SendQueue::new(SeqNr(0));
    queue.write(&[1; 8], 2);
    send(&mut queue, 4, 2);
    let progress =
        queue.acknowledge(NOW, Duration::ZERO, SeqNr(0xffff), [2, 3, 4, 5, 2000].into_iter());
    assert_eq!((progress.packets, queue.in_flight()), (1, 2));
    assert_eq!(queue.acknowledge(NOW, Duration::ZERO, SeqNr(3), [].into_iter()).packets, 1);
    assert_eq!((queue.oldest(), queue.waiting()), (SeqNr(2), 4));
}

#[test]
fn memory_is_given_back_as_it_is_acknowledged() {
    let mut queue = SendQueue::new(SeqNr(0));
    queue.write(&vec![7; 500_000], 1000);
    assert_eq!(queue.chunks.len(), 8);
    let mut acked = 0;
    while queue.has_waiting() {
        acked += u16::try_from(send(&mut queue, 100_000, 100).len()).unwrap();
        queue.acknowledge(NOW, Duration::ZERO, SeqNr(acked - 1), [].into_iter());
    }
    assert!(queue.chunks.is_empty() && queue.is_empty());
}

#[test]
fn all_is_lost_and_sent_again_from_the_front() {
    let mut queue = SendQueue::new(SeqNr(0));
    queue.write(&[1; 10], 2);
    send(&mut queue, 10, 10);
    queue.acknowledge(NOW, Duration::ZERO, SeqNr(0xffff), [3].into_iter());
    assert_eq!(queue.lose_all().newest, Some(4));
    let mut seqs = Vec::new();
    while let Some(batch) = queue.next_lost(100, 10) {
        seqs.extend(send_batch(&mut queue, batch).into_iter().map(|(seq, _)| seq));
    }
    assert_eq!(seqs, [0, 1, 3, 4]);
}

#[test]
fn memory_of_chunks_is_used_again_and_given_back() {
    let mut queue = SendQueue::new(SeqNr(0));
    let round = |queue: &mut SendQueue, filler: u8| {
        let bytes = vec![filler; 20 * CHUNK];
        queue.write(&bytes, 1452);
        let mut got = Vec::new();
        loop {
            let sent = send(queue, usize::MAX, 64);
            if sent.is_empty() {
                break;
            }
            sent.into_iter().for_each(|(_, payload)| got.extend(payload));
        }
        assert!(got == bytes);
    };
    round(&mut queue, 1);
    assert!(queue.spares.is_empty());
    let all = queue.next().minus(1);
    queue.acknowledge(NOW, Duration::ZERO, all, core::iter::empty());
    assert!(queue.is_empty());
    assert_eq!(queue.spares.len(), MAX_SPARES);
    round(&mut queue, 2);
    assert!(queue.spares.is_empty());
    let all = queue.next().minus(1);
    queue.acknowledge(NOW, Duration::ZERO, all, core::iter::empty());
    queue.shrink();
    assert_eq!(queue.spares.capacity(), 0);
}

/// Ten packets go out, and what arrives of them is told.
fn ten_sent(queue: &mut SendQueue) {
    queue.write(&[7; 40], 4);
    while !send(queue, 400, 100).is_empty() {}
}

#[test]
fn who_comes_late_is_waited_for_the_next_time() {
    let mut queue = SendQueue::new(SeqNr(0));
    ten_sent(&mut queue);
    // Three that were sent later are here: the first is lost, as far as is known.
    queue.acknowledge(NOW, Duration::ZERO, SeqNr(0xffff), [2, 3, 4, 5, 6].into_iter());
    assert_eq!(queue.find_lost().count, 1);
    // Before it could go again it is here.
    let progress = queue.acknowledge(NOW, Duration::ZERO, SeqNr(5), [].into_iter());
    assert_eq!((progress.late, queue.tolerance, queue.tolerance()), (1, 6, 3));
    // With many on their way nothing is lost where five have overtaken it.
    ten_sent(&mut queue);
    queue.acknowledge(NOW, Duration::ZERO, SeqNr(5), [2, 3, 4, 5, 6].into_iter());
    assert_eq!(queue.find_lost().count, 0);
    queue.acknowledge(NOW, Duration::ZERO, SeqNr(5), [2, 3, 4, 5, 6, 7].into_iter());
    assert_eq!(queue.find_lost().count, 1);
    // Silence makes an end of patience.
    queue.lose_all();
    assert_eq!(queue.tolerance, REORDERING);
}

#[test]
fn what_comes_sooner_than_a_round_trip_after_it_was_sent_again_was_late() {
    let (soon, rtt) = (Duration::from_millis(10), Duration::from_millis(50));
    for (after, late) in [(soon, 1), (rtt, 0)] {
        let mut queue = SendQueue::new(SeqNr(0));
        ten_sent(&mut queue);
        queue.acknowledge(NOW, rtt, SeqNr(0xffff), [2, 3, 4, 5].into_iter());
        assert_eq!(queue.find_lost().count, 1);
        let batch = queue.next_lost(400, 100).unwrap();
        send_batch(&mut queue, batch);
        let progress = queue.acknowledge(NOW + after, rtt, SeqNr(0), [].into_iter());
        assert_eq!(progress.late, late, "{after:?}");
    }
}
