//! Whole downloads without a socket.

use samara_sim::{Behaviour, NodeConfig, World, WorldConfig};
use std::time::Duration;

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

#[test]
fn one_seed_one_leech() {
    let mut world = World::new(WorldConfig::with_pieces(64));
    world.add(NodeConfig::seed());
    let leech = world.add(NodeConfig::leech());
    assert!(world.run_until_complete());
    let stats = world.node(leech).stats(world.now());
    assert_eq!((stats.pieces_have, stats.wasted, stats.corrupt), (64, 0, 0));
    assert_eq!(stats.downloaded, 64 * 65536);
}

#[test]
fn one_peer_fills_a_long_fat_link() {
    // 20 MB/s over 80 ms there and back: 1.6 MB must be under way at all times.
    let mut world = World::new(WorldConfig {
        total_len: 1600 << 18,
        piece_len: 1 << 18,
        delay: (Duration::from_millis(40), Duration::from_millis(40)),
        ..WorldConfig::default()
    });
    let fast = |config: NodeConfig| NodeConfig { up: 20_000_000, down: 20_000_000, ..config };
    world.add(fast(NodeConfig::seed()));
    let leech = world.add(fast(NodeConfig::leech()));
    let begin = world.now();
    assert!(world.run_until_complete());
    let took = world.node(leech).completed_at().unwrap() - begin;
    let ideal = 1600.0 * f64::from(1 << 18) / 20e6;
    assert!(took.as_secs_f64() < ideal * 1.1 + 1.0, "took {took:?}, ideal {ideal:.1} s");
}

fn churning(seed: u64) -> World {
    let mut world = World::new(WorldConfig {
        seed,
        dials_fail_one_in: 10,
        breaks_one_in: 2000,
        ..WorldConfig::with_pieces(200)
    });
    let up = |up| NodeConfig { up, ..NodeConfig::leech() };
    world.add(NodeConfig { up: 2_000_000, ..NodeConfig::seed() });
    let early = world.add(NodeConfig::seed());
    world.leave_later(early, secs(5));
    for i in 0..14 {
        let node = world.add_later(up(500_000 + 100_000 * i), Duration::from_millis(300 * i));
        if i % 5 == 4 {
            world.leave_later(node, secs(4 + i));
        }
    }
    for _ in 0..2 {
        world.add(NodeConfig::adversary(Behaviour::Corrupter { one_in: 7 }));
    }
    world.add(NodeConfig::adversary(Behaviour::SilentUnchoker));
    world.add(NodeConfig { unreachable: true, ..up(1_000_000) });
    world
}

#[test]
fn twenty_nodes_with_churn_and_liars_all_complete() {
    for seed in 0..8 {
        let mut world = churning(seed);
        // That no honest node is banned, and all the rest that must hold, is looked at while it runs.
        assert!(world.run_until_complete(), "{:?}", world.broken());
        let bans: usize = world.nodes().map(|(_, node)| node.banned().len()).sum();
        assert!(bans > 0, "seed {seed}: the corrupters go free");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let digest = |seed| {
        let mut world = churning(seed);
        world.run_until_complete();
        world.digest()
    };
    assert_eq!(digest(3), digest(3));
    assert_ne!(digest(3), digest(4));
}

#[test]
fn a_corrupter_is_not_asked_without_limit() {
    let mut world = World::new(WorldConfig::with_pieces(100));
    world.add(NodeConfig { up: 1_000_000, ..NodeConfig::seed() });
    world.add(NodeConfig::adversary(Behaviour::Corrupter { one_in: 1 }));
    let leech = world.add(NodeConfig::leech());
    assert!(world.run_until_complete());
    let node = world.node(leech);
    assert_eq!(node.banned().len(), 1);
    let stats = node.stats(world.now());
    assert!(stats.corrupt < 20 * 65536, "{} corrupt bytes", stats.corrupt);
}

#[test]
fn little_is_wasted_in_the_endgame() {
    let mut world = World::new(WorldConfig::with_pieces(1600));
    for up in [200_000, 1_000_000, 5_000_000] {
        world.add(NodeConfig { up, ..NodeConfig::seed() });
    }
    let leech = world.add(NodeConfig::leech());
    assert!(world.run_until_complete());
    let stats = world.node(leech).stats(world.now());
    assert!(stats.wasted * 200 <= stats.downloaded, "{} of {}", stats.wasted, stats.downloaded);
}

#[test]
fn a_super_seed_uploads_little_more_than_one_copy() {
    let uploaded = |super_seeding| {
        let mut world = World::new(WorldConfig::with_pieces(120));
        let seed = world.add(NodeConfig { up: 400_000, super_seeding, ..NodeConfig::seed() });
        for _ in 0..8 {
            world.add(NodeConfig { up: 1_000_000, ..NodeConfig::leech() });
        }
        assert!(world.run_until_complete(), "{:?}", world.broken());
        let size = 120.0 * 65536.0;
        #[expect(clippy::cast_precision_loss, reason = "a ratio for display")]
        let copies = world.node(seed).stats(world.now()).uploaded as f64 / size;
        copies
    };
    let copies = uploaded(true);
    assert!(copies < 1.6, "{copies} copies");
}
