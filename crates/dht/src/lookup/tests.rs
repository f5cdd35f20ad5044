use super::*;

const TARGET: NodeId = NodeId([0; 20]);

/// A node at this distance from the target, in a network of its own.
fn node(distance: u16) -> NodeInfo {
    let [a, b] = distance.to_be_bytes();
    let mut id = [0; 20];
    (id[0], id[1]) = (a, b);
    NodeInfo { id: NodeId(id), addr: SocketAddr::from(([20, a, b, 1], 1)) }
}

fn nodes(distances: impl IntoIterator<Item = u16>) -> Vec<NodeInfo> {
    distances.into_iter().map(node).collect()
}

fn token() -> Option<Token> {
    Token::new(b"t")
}

fn answer(lookup: &mut Lookup, from: u16, named: &[NodeInfo]) {
    lookup.answered(node(from).addr, node(from).id, token(), None, named);
}

fn ask_all(lookup: &mut Lookup) -> Vec<SocketAddr> {
    core::iter::from_fn(|| lookup.next_to_ask()).map(|(addr, _)| addr).collect()
}

#[test]
fn it_ends_with_the_eight_nearest_that_answer() {
    let mut lookup = Lookup::new(TARGET, true, &nodes([900, 901, 902]), &[]);
    let mut rounds = 0;
    while !lookup.is_done() {
        rounds += 1;
        assert!(rounds < 100);
        for addr in ask_all(&mut lookup) {
            let asked = lookup.candidates.iter().find(|c| c.addr == addr).unwrap().id.unwrap();
            let at = u16::from_be_bytes([asked.0[0], asked.0[1]]);
            // Every node knows those at half its distance and around.
            let named = nodes((at / 2..at / 2 + 8).filter(|&n| n > 0));
            answer(&mut lookup, at, &named);
        }
    }
    let found: Vec<NodeInfo> = lookup.storers().iter().map(|storer| storer.info).collect();
    assert_eq!(found, nodes(1..=8));
    assert!(lookup.counts().0 < 60, "{:?}", lookup.counts());
}

#[test]
fn each_path_asks_two_at_a_time_and_only_its_own() {
    let mut lookup = Lookup::new(TARGET, true, &nodes(100..112), &[]);
    assert_eq!(ask_all(&mut lookup).len(), PATHS * PER_PATH);
    // The first path is told of near nodes by a liar; the others go on with theirs.
    answer(&mut lookup, 100, &nodes(1..9));
    assert_eq!(ask_all(&mut lookup), [node(1).addr]);
    answer(&mut lookup, 101, &nodes(1..9));
    assert_eq!(ask_all(&mut lookup), [node(107).addr], "a node belongs to who named it first");
}

#[test]
fn a_slow_node_is_replaced_but_still_heard() {
    let mut lookup = Lookup::new(TARGET, true, &nodes([1, 2, 3, 4, 5, 6, 7]), &[]);
    assert_eq!(ask_all(&mut lookup).len(), 6);
    lookup.slow(node(1).addr);
    assert_eq!(ask_all(&mut lookup), [node(7).addr]);
    (2..8).for_each(|n| answer(&mut lookup, n, &[]));
    assert!(lookup.is_done(), "slow nodes are not waited for");
    answer(&mut lookup, 1, &[]);
    assert_eq!(lookup.storers()[0].info, node(1));
    answer(&mut lookup, 1, &[]);
    assert_eq!(lookup.counts().1, 7, "twice counts once");
}

#[test]
fn who_names_phantoms_has_the_rest_asked_last() {
    let mut lookup = Lookup::new(TARGET, true, &nodes([100]), &[]);
    ask_all(&mut lookup);
    let honest = nodes([50, 51, 52]);
    answer(&mut lookup, 100, &[nodes([90]), honest].concat());
    assert_eq!(ask_all(&mut lookup), [node(50).addr, node(51).addr]);
    answer(&mut lookup, 50, &nodes(1..9));
    assert_eq!(ask_all(&mut lookup), [node(1).addr]);
    lookup.slow(node(1).addr);
    assert_eq!(ask_all(&mut lookup), [node(2).addr]);
    lookup.slow(node(2).addr);
    assert_eq!(ask_all(&mut lookup), [node(52).addr], "not the liar's third");
}

/// Nodes 100 to 108 have answered, and the nearest of them has named `named`, of which the first two are not there.
fn with_two_absent(named: &[NodeInfo]) -> Lookup {
    let mut lookup = Lookup::new(TARGET, true, &nodes(100..109), &[]);
    assert_eq!(ask_all(&mut lookup).len(), 6);
    (101..106).for_each(|n| answer(&mut lookup, n, &[]));
    assert_eq!(ask_all(&mut lookup).len(), 3);
    (106..109).for_each(|n| answer(&mut lookup, n, &[]));
    answer(&mut lookup, 100, named);
    assert_eq!(ask_all(&mut lookup), [node(1).addr, node(2).addr]);
    lookup.slow(node(1).addr);
    lookup.slow(node(2).addr);
    lookup
}

#[test]
fn two_that_are_not_there_do_not_cost_an_honest_guide_the_rest() {
    let mut lookup = with_two_absent(&nodes(1..6));
    assert!(!lookup.is_done(), "doubted, but not disbelieved");
    assert_eq!(ask_all(&mut lookup), [node(3).addr, node(4).addr]);
    answer(&mut lookup, 3, &[]);
    lookup.slow(node(4).addr);
    assert_eq!(ask_all(&mut lookup), [node(5).addr], "the third has made good for two");
    answer(&mut lookup, 5, &[]);
    answer(&mut lookup, 4, &[]);
    assert!(lookup.is_done());
    let storers: Vec<NodeInfo> = lookup.storers().iter().map(|storer| storer.info).collect();
    assert_eq!(storers[..4], nodes([3, 4, 5, 100]));
}

#[test]
fn who_names_nothing_but_phantoms_is_disbelieved_and_stores_nothing() {
    let mut lookup = with_two_absent(&nodes(1..9));
    lookup.found_at(node(100).addr);
    assert_eq!(lookup.finders(), 1);
    assert_eq!(ask_all(&mut lookup), [node(3).addr, node(4).addr]);
    lookup.slow(node(3).addr);
    lookup.slow(node(4).addr);
    assert!(lookup.is_done(), "the other four are not waited for");
    assert_eq!(lookup.finders(), 0, "what he claims to have counts for nothing");
    assert!(lookup.storers().iter().all(|storer| storer.info != node(100)));
    answer(&mut lookup, 3, &[]);
    assert_eq!(lookup.finders(), 1, "one was only slow");
}

#[test]
fn everything_is_bounded() {
    let mut lookup = Lookup::new(TARGET, true, &nodes([60_000]), &[]);
    let mut asked = 0;
    while !lookup.is_done() {
        for addr in ask_all(&mut lookup) {
            asked += 1;
            let from = lookup.candidates.iter().find(|c| c.addr == addr).unwrap().id.unwrap();
            let named = nodes((0..40).map(|n| 50_000 - asked * 40 - n));
            lookup.answered(addr, from, token(), None, &named);
            assert!(lookup.candidates.len() <= MAX_CANDIDATES);
        }
    }
    assert_eq!(u32::from(asked), MAX_ASKED);
    assert_eq!(lookup.storers().len(), BUCKET);
}

#[test]
fn one_node_for_each_network_and_entries_without_ids_first() {
    let neighbour = NodeInfo { addr: SocketAddr::from(([20, 0, 5, 77], 9)), ..node(4) };
    let entry = SocketAddr::from(([40, 1, 1, 1], 1));
    let mut lookup = Lookup::new(TARGET, true, &[node(5), neighbour], &[entry]);
    assert_eq!(ask_all(&mut lookup), [entry, node(5).addr]);
    lookup.answered(entry, node(3).id, None, None, &[]);
    answer(&mut lookup, 5, &[]);
    assert!(lookup.is_done());
    let storers = lookup.storers();
    assert_eq!((storers.len(), storers[0].info), (1, node(5)), "no token, no place");
    let free = Lookup::new(TARGET, false, &[node(5), neighbour], &[]);
    assert_eq!(free.candidates.len(), 2);
}

#[test]
fn a_walk_that_ended_astray_can_be_seen_and_goes_on_when_it_is_widened() {
    let far = 0x4000;
    let mut lookup = Lookup::new(TARGET, true, &nodes(far..far + 10), &[]);
    assert_eq!(lookup.shared_bits(), 0, "too few have answered");
    let mut asked = 0;
    while !lookup.is_done() {
        let (_, id) = lookup.next_to_ask().unwrap();
        let id = id.unwrap();
        answer(&mut lookup, u16::from_be_bytes([id.0[0], id.0[1]]), &[]);
        asked += 1;
    }
    assert_eq!((asked, lookup.shared_bits()), (8, 1));
    lookup.widen(BUCKET + 1);
    assert!(!lookup.is_done());
    assert_eq!(
        ask_all(&mut lookup),
        nodes(far + 8..far + 10).iter().map(|n| n.addr).collect::<Vec<_>>()
    );
    answer(&mut lookup, far + 8, &nodes(1..9));
    while let Some((_, id)) = lookup.next_to_ask() {
        let id = id.unwrap();
        answer(&mut lookup, u16::from_be_bytes([id.0[0], id.0[1]]), &[]);
    }
    assert_eq!(lookup.shared_bits(), 12, "the ninth knew the way");
}
