use super::*;
use crate::rng::Rng;
use proptest::prelude::*;

const OWN: NodeId = NodeId([0; 20]);
const NOW: Instant = Instant::from_secs(10_000);

/// A node in bucket `bucket` at a network of its own; its id does not fit its address.
fn node(bucket: usize, n: u8) -> NodeInfo {
    let mut id = [0xff; 20];
    id[0] = 0x80 >> bucket;
    id[19] = n;
    let addr = SocketAddr::from(([20, u8::try_from(bucket).unwrap(), n, 1], 6881));
    let info = NodeInfo { id: NodeId(id), addr };
    assert!(!info.id.is_valid_for(addr.ip()), "choose other numbers");
    info
}

fn table() -> Table {
    Table::new(OWN, true)
}

fn has(table: &Table, info: NodeInfo) -> bool {
    table.live().any(|entry| entry.info == info)
}

#[test]
fn a_bucket_holds_eight_and_keeps_those_that_answer() {
    let mut table = table();
    (0..20).for_each(|n| table.heard(NOW, node(0, n)));
    assert_eq!(table.len(), BUCKET);
    assert!((0..8).all(|n| has(&table, node(0, n))));
    table.heard(NOW, node(1, 1));
    assert_eq!(table.len(), BUCKET + 1, "another bucket has its own room");
    assert!(!table.would_take(&node(0, 30)) && table.would_take(&node(1, 30)));
}

#[test]
fn a_silent_node_makes_room_for_the_latest_in_reserve() {
    let mut table = table();
    (0..12).for_each(|n| table.heard(NOW, node(0, n)));
    table.failed(&node(0, 3));
    assert!(has(&table, node(0, 3)), "once is no proof");
    table.failed(&node(0, 3));
    assert!(!has(&table, node(0, 3)) && has(&table, node(0, 11)));
    assert_eq!(table.len(), BUCKET);
}

#[test]
fn without_a_reserve_a_silent_node_stays_a_while_but_is_told_to_nobody() {
    let mut table = table();
    table.heard(NOW, node(0, 1));
    (0..BAD).for_each(|_| table.failed(&node(0, 1)));
    assert_eq!((table.len(), table.closest(&OWN, 8).len()), (1, 0));
    (BAD..GONE).for_each(|_| table.failed(&node(0, 1)));
    assert!(table.is_empty());
}

#[test]
fn worth_follows_answers_and_silence() {
    let mut table = table();
    table.heard(NOW, node(0, 1));
    let worth = |table: &Table, now| table.live().next().unwrap().worth(now);
    assert_eq!(worth(&table, NOW), Worth::Good);
    let once_more = NOW + PROBATION;
    assert_eq!(worth(&table, once_more), Worth::Questionable, "it is new");
    assert_eq!((table.stalest(NOW), table.stalest(once_more)), (None, Some(node(0, 1))));
    table.heard(once_more, node(0, 1));
    let late = NOW + FRESH;
    assert_eq!((worth(&table, late), table.stalest(late)), (Worth::Good, None));
    assert_eq!(worth(&table, once_more + FRESH), Worth::Questionable);
    assert_eq!(table.stalest(once_more + FRESH), Some(node(0, 1)));
    table.heard(NOW, node(0, 1));
    assert_eq!(table.stalest(NOW), None);
    table.failed(&node(0, 1));
    assert_eq!(worth(&table, NOW), Worth::Questionable);
    assert_eq!(table.stalest(NOW), Some(node(0, 1)), "at once");
    table.failed(&node(0, 1));
    assert_eq!(worth(&table, NOW), Worth::Bad);
    table.heard(NOW, node(0, 1));
    assert_eq!(worth(&table, NOW), Worth::Good);
}

#[test]
fn one_node_for_an_address_and_one_for_a_network_in_a_bucket() {
    let mut table = table();
    table.heard(NOW, node(0, 1));
    let mut same_ip = node(1, 2);
    same_ip.addr = SocketAddr::new(node(0, 1).addr.ip(), 7000);
    table.heard(NOW, same_ip);
    assert!(!has(&table, same_ip));
    let neighbour =
        |bucket| NodeInfo { addr: SocketAddr::from(([20, 0, 1, 99], 6881)), ..node(bucket, 3) };
    table.heard(NOW, neighbour(0));
    assert!(!has(&table, neighbour(0)), "the same /24 in the same bucket");
    table.heard(NOW, neighbour(1));
    assert!(has(&table, neighbour(1)));
    let local = |n: u16| NodeInfo {
        addr: SocketAddr::from(([127, 0, 0, 1], n)),
        ..node(2, n.to_be_bytes()[1])
    };
    (1..6).for_each(|n| table.heard(NOW, local(n)));
    assert!((1..6).all(|n| has(&table, local(n))), "local networks are free");
}

#[test]
fn an_id_cannot_be_stolen_while_its_owner_answers() {
    let mut table = table();
    table.heard(NOW, node(0, 1));
    let thief = NodeInfo { addr: node(0, 9).addr, ..node(0, 1) };
    table.heard(NOW, thief);
    assert!(has(&table, node(0, 1)) && !has(&table, thief));
    let renamed = NodeInfo { id: node(1, 1).id, ..node(0, 1) };
    table.heard(NOW, renamed);
    assert!(has(&table, renamed) && !has(&table, node(0, 1)), "it may change its own");
}

#[test]
fn an_id_that_fits_its_address_is_preferred() {
    let mut table = table();
    let mut rng = Rng::new([1; 32]);
    (0..8).for_each(|n| table.heard(NOW, node(0, n)));
    // A fitting id that begins with a one bit, so that it falls into bucket 0.
    let fitting = (0..)
        .map(|n| SocketAddr::from(([30, n, 1, 1], 6881)))
        .map(|addr| NodeInfo { id: NodeId::for_ip(addr.ip(), rng.next_20()), addr })
        .find(|info| info.id.0[0] >= 0x80)
        .unwrap();
    table.heard(NOW, fitting);
    assert!(has(&table, fitting));
    assert_eq!(table.len(), BUCKET);
}

#[test]
fn ids_that_do_not_answer_make_no_buckets_to_refresh() {
    let mut table = table();
    table.heard(NOW, node(0, 1));
    let mut near = node(0, 2);
    near.id = NodeId([0; 20]);
    near.id.0[19] = 1;
    table.failed(&near);
    assert_eq!(table.buckets.len(), 1);
    table.heard(NOW, near);
    assert_eq!(table.buckets.len(), BUCKETS);
}

#[test]
fn a_newcomer_is_asked_once_more_in_time_even_if_all_others_are_steady() {
    let mut table = table();
    table.heard(NOW, node(0, 1));
    let later = NOW + PROBATION;
    table.heard(later, node(0, 1));
    assert_eq!(table.stalest(later), None);
    table.heard(later, node(0, 2));
    assert_eq!(table.stalest(later), None);
    assert_eq!(table.stalest(later + PROBATION), Some(node(0, 2)));
}

#[test]
fn new_buckets_are_refreshed_soon_and_not_at_once() {
    let refreshes = |own: NodeId| {
        let mut table = Table::new(own, true);
        (0..3).for_each(|bucket| (0..8).for_each(|n| table.heard(NOW, node(bucket, n))));
        let seconds = |table: &mut Table, n| table.poll_refresh(NOW + Duration::from_secs(n));
        let due = (0..900).filter(|&n| seconds(&mut table, n).is_some()).collect::<Vec<_>>();
        assert_eq!(due.len(), table.buckets.len());
        due
    };
    let mut own = OWN;
    own.0[12..].copy_from_slice(&[0, 30, 60, 90, 120, 150, 200, 255]);
    let first = FIRST_REFRESH.as_secs();
    assert_eq!(refreshes(OWN), [first, first + 1, first + 2]);
    assert!(refreshes(own)[0] > first + 60, "others at another time");
}

#[test]
fn the_neighbours_tell_how_large_the_network_is() {
    let mut table = table();
    assert_eq!(table.neighbour_bits(), 0);
    (0..8).for_each(|n| table.heard(NOW, node(2, n)));
    assert_eq!(table.neighbour_bits(), 2);
    (0..4).for_each(|n| table.heard(NOW, node(6, n)));
    assert_eq!(table.neighbour_bits(), 2, "four of the eight nearest");
    (0..4).for_each(|n| table.heard(NOW, node(5, n)));
    assert_eq!(table.neighbour_bits(), 5);
}

#[test]
fn quiet_buckets_are_refreshed_in_turn() {
    let mut table = table();
    (0..3).for_each(|bucket| (0..8).for_each(|n| table.heard(NOW, node(bucket, n))));
    let first = NOW + FIRST_REFRESH;
    assert_eq!([(); 4].map(|()| table.poll_refresh(first)), [Some(0), Some(1), Some(2), None]);
    table.touch(first + FRESH / 2, &node(0, 5).id);
    assert_eq!(table.poll_refresh(first + FRESH), Some(1));
    for index in 0..BUCKETS {
        let id = table.id_in(index, [0xa5; 20]);
        assert_eq!(OWN.shared_bits(&id) as usize, index);
    }
}

#[test]
fn the_few_neighbours_are_refreshed_together() {
    let mut table = table();
    (0..8).for_each(|n| table.heard(NOW, node(0, n)));
    table.heard(NOW, node(6, 1));
    let first = NOW + FIRST_REFRESH;
    assert_eq!([(); 4].map(|()| table.poll_refresh(first)), [Some(0), Some(1), Some(6), None]);
}

#[test]
fn a_full_bucket_whose_nodes_answer_needs_no_refresh() {
    let mut table = table();
    (0..8).for_each(|n| table.heard(NOW, node(0, n)));
    (0..7).for_each(|n| table.heard(NOW, node(1, n)));
    let first = NOW + FIRST_REFRESH;
    while table.poll_refresh(first).is_some() {}
    let later = first + FRESH;
    table.heard(later, node(0, 1));
    table.heard(later, node(1, 1));
    assert_eq!([(); 2].map(|()| table.poll_refresh(later)), [Some(1), None], "one has room");
    let latest = later + FRESH;
    table.failed(&node(0, 2));
    table.heard(latest, node(0, 1));
    assert_eq!(table.poll_refresh(latest), Some(0), "one of them is silent");
}

proptest! {
    #[test]
    fn the_closest_are_those_a_full_sort_gives(
        ids in prop::collection::vec(any::<[u8; 20]>(), 0..200),
        target in any::<[u8; 20]>(),
        own in any::<[u8; 20]>(),
    ) {
        let mut table = Table::new(NodeId(own), false);
        for (n, id) in ids.into_iter().enumerate() {
            let [a, b] = u16::try_from(n).unwrap().to_be_bytes();
            let addr = SocketAddr::from(([20, a, b, 1], 1));
            table.heard(NOW, NodeInfo { id: NodeId(id), addr });
        }
        let mut sorted: Vec<NodeInfo> = table.live().map(|entry| entry.info).collect();
        sorted.sort_by_key(|node| node.id.distance(&NodeId(target)));
        sorted.truncate(BUCKET);
        prop_assert_eq!(table.closest(&NodeId(target), BUCKET), sorted);
        let before = table.len();
        table.rebase(NOW, NodeId(target));
        prop_assert!(table.len() <= before && table.buckets.iter().all(|b| b.live.len() <= BUCKET));
    }
}
