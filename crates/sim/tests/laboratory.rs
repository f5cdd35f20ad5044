//! The scenarios of the laboratory, small: all that must hold holds, and their figures are what they should be.

use samara_sim::{Behaviour, Figures, Plan, Scenario};

/// Twenty leeches and 8 MiB: a second or two for each scenario.
fn plan(scenario: Scenario, seed: u64) -> Plan {
    let base = Plan::default();
    Plan { scenario, seed, peers: 20, total_len: 8 << 20, piece_len: 64 << 10, ..base }
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
fn every_scenario_comes_to_a_good_end() {
    for scenario in Scenario::ALL {
        for seed in 1..=2 {
            run(&plan(scenario, seed));
        }
    }
}

#[test]
fn every_kind_of_adversary_alone_is_survived() {
    for kind in Behaviour::ADVERSARIES {
        run(&Plan { adversary: Some(kind), ..plan(Scenario::Adversaries, 3) });
    }
}

#[test]
fn the_same_seed_gives_the_same_digest_and_another_another() {
    for scenario in [Scenario::Equal, Scenario::Adversaries, Scenario::Crash, Scenario::Churn] {
        let digest = |seed| run(&plan(scenario, seed)).digest;
        assert_eq!(digest(5), digest(5), "{}", scenario.name());
        assert_ne!(digest(5), digest(6), "{}", scenario.name());
    }
}

#[test]
fn corrupters_and_only_they_are_banned() {
    let kind = Behaviour::Corrupter { one_in: 1 };
    let figures = run(&Plan { adversary: Some(kind), ..plan(Scenario::Adversaries, 1) });
    assert!(figures.bans >= 9, "{} bans", figures.bans);
    assert_eq!(run(&plan(Scenario::Equal, 1)).bans, 0);
}

#[test]
fn a_power_loss_costs_pieces_and_a_kill_none() {
    use samara_sim::{Crash, NodeConfig, World, WorldConfig};
    use std::time::Duration;
    let downloaded = |how| {
        let mut world = World::new(WorldConfig::with_pieces(320));
        world.add(NodeConfig { up: 1 << 20, ..NodeConfig::seed() });
        let leech = world.add(NodeConfig::leech());
        // Syncs come at whole multiples of five seconds; a second after one.
        world.crash_later(leech, Duration::from_secs(10), how, Duration::from_secs(5));
        assert!(world.run_until_complete(), "{:?}", world.broken());
        world.node(leech).ledger().verified
    };
    let total = 320 * 65_536;
    assert_eq!(downloaded(Crash::Killed), total);
    let twice = downloaded(Crash::PowerLoss) - total;
    assert!((1 << 19..5 << 20).contains(&twice), "{twice} bytes came a second time");
}
