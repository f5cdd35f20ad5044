//! Whole swarms over uTP connections whose packets cross, and swarms whose peers are found by a DHT of real nodes.

use samara_sim::{
    Behaviour, Discovery, Figures, NodeConfig, PacketsConfig, Plan, Scenario, Transport, World,
    WorldConfig,
};
use std::time::Duration;

/// Eight leeches and 2 MiB.
fn plan(scenario: Scenario, seed: u64) -> Plan {
    Plan {
        scenario,
        seed,
        peers: 8,
        total_len: 2 << 20,
        piece_len: 64 << 10,
        transport: Transport::Utp,
        ..Plan::default()
    }
}

fn run(plan: &Plan) -> Figures {
    let mut world = plan.world();
    world.run_until_complete();
    if let Some(broken) = world.broken() {
        panic!("{broken}\nreplay: {}", plan.command());
    }
    Figures::of(&world)
}

#[test]
fn every_scenario_comes_to_a_good_end_over_utp() {
    for scenario in Scenario::ALL {
        run(&plan(scenario, 1));
    }
}

#[test]
fn every_kind_of_adversary_alone_is_survived_over_utp() {
    for kind in Behaviour::ADVERSARIES {
        let plan = Plan { adversary: Some(kind), ..plan(Scenario::Adversaries, 2) };
        run(&Plan { peers: 5, total_len: 1 << 20, ..plan });
    }
}

#[test]
fn the_same_seed_gives_the_same_digest_and_another_another() {
    let dht = Plan { discovery: Discovery::Dht, ..plan(Scenario::Equal, 5) };
    let crash = Plan { discovery: Discovery::Dht, ..plan(Scenario::Crash, 5) };
    let flows = Plan { transport: Transport::Flows, ..dht };
    for plan in [plan(Scenario::Adversaries, 5), plan(Scenario::Lossy, 5), dht, crash, flows] {
        let digest = |seed| run(&Plan { seed, ..plan }).digest;
        assert_eq!(digest(5), digest(5), "{}", plan.command());
        assert_ne!(digest(5), digest(6), "{}", plan.command());
    }
}

/// LEDBAT aims at 100 ms in the queue of the uplink.
#[test]
fn queues_stay_short_and_headers_cost_little() {
    let plan = Plan { total_len: 16 << 20, ..plan(Scenario::Equal, 1) };
    let figures = run(&plan);
    let packets = figures.packets.unwrap();
    let (median, p95, _) = packets.up_wait;
    println!("{packets:?}, eta {:?}", figures.eta());
    assert!((20_000..100_000).contains(&median), "{median} us");
    assert!(p95 < 150_000, "{p95} us");
    assert_eq!(packets.lost + packets.dropped.0 + packets.dropped.1, 0);
    assert_eq!((packets.resent, packets.timeouts), (0, 0), "nothing was lost");
    assert!((0.04..0.09).contains(&packets.overhead()), "{}", packets.overhead());
    let flows = run(&Plan { transport: Transport::Flows, ..plan });
    let (packets, flows) = (figures.eta().unwrap(), flows.eta().unwrap());
    assert!(packets > 0.8 * flows, "eta {packets:.3}, of flows {flows:.3}");
}

#[test]
fn one_datagram_in_fifty_is_lost_and_little_more_is_sent_again() {
    let figures = run(&plan(Scenario::Lossy, 1));
    let packets = figures.packets.unwrap();
    assert!(packets.lost > packets.sent / 70, "{packets:?}");
    let share = packets.resent_share();
    assert!((0.015..0.04).contains(&share), "{packets:?}");
}

/// Lines as bad as they are found: what must hold holds, and all is done in the end.
#[test]
fn slow_far_and_lossy_lines_with_long_and_short_queues() {
    let ms = Duration::from_millis;
    for (up, delay, loss, buffer, jitter) in [
        (16_000, 20, 0, 2_000, 0),
        (64_000, 250, 20, 250, 40),
        (1_000_000, 300, 10, 1_000, 0),
        (250_000, 5, 0, 20, 3),
        (8_000_000, 60, 100, 100, 10),
    ] {
        let packets = PacketsConfig { buffer: ms(buffer), jitter: ms(jitter), ..<_>::default() };
        let mut world = World::new(WorldConfig {
            delay: (ms(delay / 2), ms(delay)),
            lost_one_in: loss,
            packets: Some(packets),
            ..WorldConfig::with_pieces(12)
        });
        let line = |config| NodeConfig { up, down: 4 * up, ..config };
        world.add(line(NodeConfig::seed()));
        (0..3).for_each(|_| _ = world.add(line(NodeConfig::leech())));
        assert!(world.run_until_complete(), "{up} B/s, {delay} ms: {:?}", world.broken());
        let figures = Figures::of(&world);
        println!("{up} B/s, {delay} ms: eta {:?}, {:?}", figures.eta(), figures.packets);
    }
}

#[test]
fn a_dht_with_liars_is_enough() {
    for transport in [Transport::Flows, Transport::Utp] {
        for scenario in [Scenario::Equal, Scenario::Adversaries, Scenario::Crash] {
            let plan = Plan { discovery: Discovery::Dht, transport, ..plan(scenario, 1) };
            let figures = run(&plan);
            let dht = figures.dht.unwrap();
            assert!(dht.lies > 50 && dht.phantoms > 50, "{}: {dht:?}", plan.command());
            assert!(dht.told > dht.phantoms, "{}: {dht:?}", plan.command());
        }
    }
}
