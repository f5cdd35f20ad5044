//! Each rule is caught when it is broken.

use crate::{NodeConfig, NodeId, World, WorldConfig};
use samara_wire::bitfield::Bitfield;
use samara_wire::time::Duration;

/// A world amid a download, in which all is well so far.
fn amid() -> World {
    let mut world = World::new(WorldConfig { check_every: 1, ..WorldConfig::with_pieces(64) });
    world.add(NodeConfig { up: 200_000, ..NodeConfig::seed() });
    for _ in 0..3 {
        world.add(NodeConfig { up: 200_000, ..NodeConfig::leech() });
    }
    world.run_for(Duration::from_secs(8));
    assert_eq!(world.broken(), None);
    let pieces = world.node(NodeId(1)).pieces();
    assert!((1..64).contains(&pieces), "{pieces} pieces");
    world
}

fn complaint(mut world: World) -> String {
    assert!(!world.run_until_complete());
    let broken = world.broken().expect("says what").to_string();
    assert!(broken.starts_with("seed 1, "), "{broken}");
    broken
}

#[test]
fn all_is_well_without_a_fault() {
    let mut world = amid();
    assert!(world.run_until_complete(), "{:?}", world.broken());
}

#[test]
fn serving_what_is_not_on_disk_is_caught() {
    let mut world = amid();
    let pieces = world.layout.count();
    world.config.check_every = u64::MAX;
    world.nodes[0].disk.written = Bitfield::empty(pieces);
    assert!(complaint(world).contains("node 0: serves a block of piece"));
}

#[test]
fn a_piece_that_is_counted_and_not_there_is_caught() {
    let mut world = amid();
    let piece = world.nodes[1].disk.written.iter().next().expect("it has one");
    world.nodes[1].disk.written.remove(piece);
    assert!(complaint(world).contains("says it has pieces"));
}

#[test]
fn a_ban_of_an_honest_peer_is_caught() {
    let mut world = amid();
    let addr = world.node(NodeId(2)).addr();
    world.check_ban(NodeId(1), addr);
    assert!(complaint(world).contains("node 1: bans node 2 (honest), who sent nothing wrong"));
}

#[test]
fn a_byte_too_many_is_caught() {
    let mut world = amid();
    world.nodes[2].ledger.sent += 1;
    assert!(complaint(world).contains("node 2: counts"));
    let mut world = amid();
    world.nodes[2].ledger.received += 1;
    world.nodes[2].ledger.wasted += 2;
    assert!(complaint(world).contains("node 2: counts"));
    let mut world = amid();
    world.record.all_sent += 1;
    assert!(complaint(world).contains("bytes were sent"));
}

#[test]
fn memory_beyond_its_budget_is_caught() {
    let mut world = amid();
    world.nodes[3].config.max_peers = 1;
    assert!(complaint(world).contains("node 3: has 3 peers of 1 at most"));
}

#[test]
fn a_request_without_an_answer_is_caught() {
    let mut world = amid();
    let link = world.nodes[1].links.iter().flatten().next().copied().expect("it has a peer");
    let end = &mut world.conns.get_mut(link.conn).expect("it stands").ends[link.end];
    end.asked += 1_000;
    end.asked_since = 0;
    world.now += 700_000_000;
    world.check_node(NodeId(1));
    assert!(complaint(world).contains("have no answer"));
}

#[test]
fn one_who_does_not_finish_is_caught() {
    let mut world =
        World::new(WorldConfig { limit: Duration::from_secs(60), ..WorldConfig::with_pieces(8) });
    world.add(NodeConfig::leech());
    assert!(complaint(world).contains("node 0: has 0 of 8 pieces when time is up"));
}
