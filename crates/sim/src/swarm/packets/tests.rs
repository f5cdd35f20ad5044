//! Each rule of this tier is caught when it is broken, and what its world is made of does what it says.

use super::bottleneck::Bottleneck;
use super::ledger::Written;
use crate::swarm::conn::RIGHT;
use crate::{Behaviour, NodeConfig, NodeId, PacketsConfig, World, WorldConfig};
use samara_wire::id::{BlockRef, PieceIndex};
use samara_wire::peer::message::Message;
use samara_wire::time::Duration;

fn world(config: WorldConfig) -> World {
    World::new(WorldConfig { packets: Some(PacketsConfig::default()), ..config })
}

/// A world amid a download, in which all is well so far.
fn amid() -> World {
    let mut world = world(WorldConfig { check_every: 1, ..WorldConfig::with_pieces(64) });
    world.add(NodeConfig { up: 300_000, ..NodeConfig::seed() });
    for _ in 0..2 {
        world.add(NodeConfig { up: 300_000, ..NodeConfig::leech() });
    }
    world.run_for(Duration::from_secs(6));
    assert_eq!(world.broken(), None);
    let pieces = world.node(NodeId(1)).pieces();
    assert!((1..64).contains(&pieces), "{pieces} pieces");
    world
}

fn complaint(mut world: World) -> String {
    assert!(!world.run_until_complete());
    world.broken().expect("says what").to_string()
}

#[test]
fn all_is_well_without_a_fault() {
    let mut world = amid();
    assert!(world.run_until_complete(), "{:?}", world.broken());
}

#[test]
fn a_stream_that_gives_something_else_is_caught() {
    // As if a block had been written that never came out.
    let mut world = amid();
    let packets = world.packets.as_mut().unwrap();
    let host = packets.hosts[0].as_ref().unwrap();
    let stream = host.streams.values().find(|stream| stream.peer().is_some()).unwrap().number;
    let block = BlockRef { piece: PieceIndex(63), begin: 0, len: 16_384 };
    while packets.blocks.arrived(stream).is_some() {}
    packets.blocks.written(stream, Written { block, content: RIGHT, drips: false });
    assert!(complaint(world).contains(": a stream gave"));
}

#[test]
fn what_never_arrives_is_caught() {
    let mut world = amid();
    assert!(world.run_until_complete(), "{:?}", world.broken());
    // A super-seed and whom it served stay connected; so do leeches that are made to be. Here: one more leech, by the first.
    let late = world.add(NodeConfig { up: 300_000, ..NodeConfig::leech() });
    world.run_for(Duration::from_secs(3));
    assert!((1..64).contains(&world.node(late).pieces()));
    let link = world.nodes[late.at()].links.iter().flatten().next().copied().unwrap();
    world.packets.as_mut().unwrap().links[late.at()].up = Bottleneck::new(1, 0);
    world.say(late, link.key, &Message::KeepAlive);
    world.run_for(Duration::from_secs(1));
    world.check_streams();
    let broken = world.broken().expect("it is seen").to_string();
    assert!(broken.contains("do not arrive"), "{broken}");
}

#[test]
fn blocks_that_are_lost_with_their_connection_are_accounted_for() {
    let mut world = amid();
    world.record.all_sent += 1;
    assert!(complaint(world).contains("bytes were sent"));
    for how in [crate::Crash::Killed, crate::Crash::PowerLoss] {
        let mut world = amid();
        world.crash_later(NodeId(1), Duration::from_millis(300), how, Duration::from_secs(3));
        assert!(world.run_until_complete(), "{how:?}: {:?}", world.broken());
        assert!(world.record.dropped > 0, "{how:?}: nothing was under way");
    }
}

/// A seed and a leech, both behind NATs, and a third that both are connected to and that gives nothing.
#[test]
fn a_hole_is_punched() {
    let config = WorldConfig { limit: Duration::from_secs(300), ..WorldConfig::with_pieces(64) };
    let meets = |mut world: World| {
        let rider = NodeConfig::adversary(Behaviour::FreeRider);
        // So slow that it stays a leech.
        world.add(NodeConfig { down: 10_000, ..rider });
        // They come later: the tracker names nobody to who is the first.
        let (nat, second) = (true, Duration::from_secs(1));
        world.add_later(NodeConfig { unreachable: nat, ..NodeConfig::seed() }, second);
        world.add_later(NodeConfig { unreachable: nat, ..NodeConfig::leech() }, 2 * second);
        let met = world.run_until_complete();
        (met, world.node(NodeId(2)).pieces())
    };
    assert_eq!(meets(world(config.clone())), (true, 64));
    assert_eq!(meets(World::new(config)), (false, 0), "no hole is punched in flows");
}

#[test]
fn links_carry_no_more_than_their_rate() {
    let mut world = world(WorldConfig::with_pieces(32));
    world.add(NodeConfig { up: 100_000, ..NodeConfig::seed() });
    let leech = world.add(NodeConfig::leech());
    let begin = world.now();
    assert!(world.run_until_complete(), "{:?}", world.broken());
    let took = (world.node(leech).completed_at().unwrap() - begin).as_secs_f64();
    let rate = 32.0 * 65_536.0 / took;
    // Headers of IP, UDP, uTP and messages take their part of 100,000 bytes a second.
    assert!((88_000.0..97_000.0).contains(&rate), "{rate:.0} bytes of blocks a second");
}
