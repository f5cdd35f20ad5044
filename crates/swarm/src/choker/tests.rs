//! The choker in virtual swarms.

use super::*;
use proptest::prelude::*;
use std::vec;

/// A swarm as the choker sees it: peers ask for as much as `appetite`, our link carries `uplink` bytes per second.
struct Swarm {
    now: Instant,
    choker: Choker,
    peers: Vec<Candidate>,
    appetite: u64,
    uplink: u64,
    seeding: bool,
    meter: crate::rate::RateMeter,
    rounds_served: Vec<u32>,
}

fn key(slot: u32) -> PeerKey {
    PeerKey { slot, generation: 0 }
}

fn peer(now: Instant, slot: u32) -> Candidate {
    Candidate {
        key: key(slot),
        interested: true,
        choked: true,
        snubbed: false,
        upload_only: false,
        down_rate: 0,
        up_rate: 0,
        received: 0,
        sent: 0,
        pieces: 0,
        uploaded_this_unchoke: 0,
        unchoked_at: None,
        connected_at: now,
    }
}

fn run(
    choker: &mut Choker,
    now: Instant,
    seeding: bool,
    up_rate: u64,
    peers: &[Candidate],
) -> Decision {
    let role = if seeding { Role::Seed } else { Role::Leech };
    choker.run(now, role, up_rate, Crowd::of(peers), || peers.to_vec())
}

impl Swarm {
    fn new(count: u32, config: ChokerConfig) -> Self {
        let now = Instant::from_secs(1_000);
        Self {
            now,
            choker: Choker::new(now, config, 7),
            peers: (0..count).map(|slot| peer(now, slot)).collect(),
            appetite: 10_000_000,
            uplink: 1_000_000_000,
            seeding: true,
            meter: crate::rate::RateMeter::new(),
            rounds_served: vec![0; count as usize],
        }
    }

    fn choke_round(&mut self) -> Decision {
        let rate = self.meter.rate(self.now);
        let decision = run(&mut self.choker, self.now, self.seeding, rate, &self.peers);
        for p in &mut self.peers {
            if decision.choke.contains(&p.key) {
                assert!(!p.choked, "choked twice");
                p.choked = true;
            }
            if decision.unchoke.contains(&p.key) {
                assert!(p.choked && p.interested && !p.upload_only, "undue unchoke");
                (p.choked, p.unchoked_at, p.uploaded_this_unchoke) = (false, Some(self.now), 0);
            }
        }
        decision
    }

    /// Runs for `seconds`, moving data in steps of 100 ms.
    fn run(&mut self, seconds: u64) {
        self.choke_round();
        for step in 1..=seconds * 10 {
            self.now += Duration::from_millis(100);
            let served = self.unchoked() as u64;
            for (p, rounds) in self.peers.iter_mut().zip(&mut self.rounds_served) {
                p.up_rate = if p.choked { 0 } else { self.appetite.min(self.uplink / served) };
                p.uploaded_this_unchoke += p.up_rate / 10;
                self.meter.add(self.now, p.up_rate / 10);
                *rounds += u32::from(step % 10 == 0 && !p.choked);
            }
            if self.now >= self.choker.next_round() {
                self.choke_round();
            }
        }
    }

    fn unchoked(&self) -> usize {
        self.peers.iter().filter(|p| !p.choked).count()
    }
}

#[test]
fn a_fast_seed_serves_thirty_leeches_within_three_seconds_and_fifty_too() {
    for leeches in [30, 50] {
        let mut swarm = Swarm::new(leeches, ChokerConfig::default());
        swarm.run(3);
        assert_eq!(swarm.unchoked(), leeches as usize);
        let before = swarm.rounds_served.clone();
        swarm.run(120);
        assert!(swarm.rounds_served.iter().zip(before).all(|(now, then)| now - then == 120));
    }
}

#[test]
fn slow_leeches_leave_room_that_is_found_and_used() {
    let mut swarm = Swarm::new(30, ChokerConfig::default());
    swarm.appetite = 10_000;
    swarm.run(60);
    assert_eq!(swarm.unchoked(), 30);
}

#[test]
fn a_full_uplink_is_not_cut_ever_thinner() {
    let mut swarm = Swarm::new(60, ChokerConfig::default());
    swarm.uplink = 200_000;
    for _ in 0..200 {
        swarm.run(10);
        assert!(swarm.unchoked() <= 6, "{}", swarm.unchoked());
    }
    // Yet everybody had a turn, and nobody much more than others.
    let (least, most) = (swarm.rounds_served.iter().min(), swarm.rounds_served.iter().max());
    assert!(least >= Some(&60) && most <= Some(&240), "{least:?} {most:?}");
}

#[test]
fn an_upload_that_rises_by_itself_opens_no_slots() {
    let mut swarm = Swarm::new(60, ChokerConfig::default());
    for step in 1..=20 {
        swarm.uplink = 25_000 * step;
        swarm.run(1);
    }
    assert!(swarm.unchoked() <= 10, "{}", swarm.unchoked());
}

#[test]
fn slots_are_given_back_when_the_upload_falls() {
    let mut swarm = Swarm::new(60, ChokerConfig::default());
    swarm.run(10);
    assert_eq!(swarm.unchoked(), 60);
    swarm.uplink = 200_000;
    swarm.run(120);
    assert!(swarm.unchoked() <= 12, "{}", swarm.unchoked());
}

#[test]
fn a_seed_lets_everyone_have_a_turn_and_none_shorter_than_a_round() {
    let mut swarm = Swarm::new(12, ChokerConfig { min_slots: 3, max_slots: 3 });
    let mut last_choke = swarm.now;
    for _ in 0..1_200 {
        let before: Vec<_> = swarm.peers.clone();
        swarm.run(1);
        for (b, p) in before.iter().zip(&swarm.peers) {
            if !b.choked && p.choked {
                last_choke = swarm.now;
                assert!(swarm.now - b.unchoked_at.unwrap() >= ROUND);
            }
        }
        assert!(swarm.unchoked() <= 3);
    }
    assert!(last_choke > Instant::from_secs(2_000), "turns go on");
    assert!(
        swarm.rounds_served.iter().all(|&s| (250..=350).contains(&s)),
        "{:?}",
        swarm.rounds_served
    );
}

#[test]
fn a_leech_pays_back_its_best_partners() {
    let mut swarm = Swarm::new(20, ChokerConfig { min_slots: 5, max_slots: 5 });
    swarm.seeding = false;
    for (i, p) in (0..).zip(&mut swarm.peers) {
        p.down_rate = i * 1_000;
    }
    swarm.peers[19].snubbed = true;
    swarm.now += ROUND;
    swarm.choke_round();
    let served = |s: &Swarm| -> Vec<u32> {
        s.peers.iter().filter(|p| !p.choked).map(|p| p.key.slot).collect()
    };
    let now = served(&swarm);
    assert_eq!(now.len(), 5);
    assert!((15..19).all(|i| now.contains(&i)), "the four best but the one that snubs us: {now:?}");
    // The optimistic slot moves on every third round; in the long run everybody has it.
    let mut seen = alloc::collections::BTreeSet::new();
    let mut holders = Vec::new();
    for _ in 0..600 {
        swarm.now += ROUND;
        swarm.choke_round();
        let now = served(&swarm);
        assert!((15..19).all(|i| now.contains(&i)));
        seen.extend(now.iter().copied());
        holders.push(*now.iter().find(|i| !(15..19).contains(*i)).unwrap());
    }
    assert_eq!(seen.len(), 20);
    assert!(holders.chunk_by(|a, b| a == b).all(|run| run.len() <= 3));
}

#[test]
fn newcomers_are_three_times_as_likely_to_be_tried() {
    let mut wins = 0;
    for seed in 0..2_000 {
        let start = Instant::from_secs(1_000);
        let now = start + Duration::from_secs(100);
        let mut choker = Choker::new(start, ChokerConfig { min_slots: 2, max_slots: 2 }, seed);
        let mut peers: Vec<_> = (0..6).map(|slot| peer(start, slot)).collect();
        (peers[0].down_rate, peers[5].connected_at) = (9, now);
        let decision = run(&mut choker, now, false, 0, &peers);
        assert!(decision.unchoke.contains(&key(0)) && decision.unchoke.len() == 2);
        wins += u32::from(decision.unchoke.contains(&key(5)));
    }
    // Three lots of seven.
    assert!((780..940).contains(&wins), "{wins}");
}

#[test]
fn an_interested_peer_is_served_at_once_while_there_is_room() {
    let mut swarm = Swarm::new(2, ChokerConfig::default());
    swarm.peers[1].interested = false;
    assert_eq!(swarm.choke_round().unchoke, [key(0)]);
    assert_eq!(swarm.choker.free_slots(1), 3);
    swarm.peers[1].interested = true;
    assert_eq!(swarm.choke_round().unchoke, [key(1)]);
    // One that loses interest keeps its unchoke until the round ends, but holds no slot.
    swarm.peers[0].interested = false;
    assert_eq!(swarm.choke_round(), Decision::default());
    swarm.now += ROUND;
    assert_eq!(swarm.choke_round().choke, [key(0)]);
    swarm.peers[0] = Candidate { interested: true, upload_only: true, ..swarm.peers[0] };
    assert_eq!(swarm.choke_round(), Decision::default());
}

#[test]
fn nobody_waiting_means_no_looking_between_rounds() {
    let mut swarm = Swarm::new(3, ChokerConfig::default());
    swarm.choke_round();
    assert_eq!(swarm.choker.next_round(), swarm.now + ROUND);
    let mut crowd = Swarm::new(30, ChokerConfig::default());
    crowd.choke_round();
    assert_eq!(crowd.choker.next_round(), crowd.now + LOOK);
}

proptest! {
    /// Whatever the peers do: slots are bounded, and none is free while somebody waits.
    #[test]
    fn slots_are_bounded_and_not_left_empty(
        seed: u64,
        seeding: bool,
        steps in prop::collection::vec((0u64..12, 0usize..25, 0u64..1_000_000, any::<[bool; 3]>()), 1..80),
    ) {
        let mut swarm = Swarm::new(25, ChokerConfig { min_slots: 4, max_slots: 9 });
        swarm.choker = Choker::new(swarm.now, ChokerConfig { min_slots: 4, max_slots: 9 }, seed);
        swarm.seeding = seeding;
        for (wait, who, rate, [interested, snubbed, upload_only]) in steps {
            swarm.now += Duration::from_secs(wait);
            swarm.meter.add(swarm.now, rate);
            let p = &mut swarm.peers[who];
            (p.interested, p.snubbed, p.upload_only, p.down_rate) = (interested, snubbed, upload_only, rate);
            (p.received, p.sent) = (rate, 1_000_000);
            let ranks = swarm.now >= swarm.choker.next_ranking;
            swarm.choke_round();
            let takers = swarm.peers.iter().filter(|p| p.interested && !p.upload_only).count();
            let served = swarm.peers.iter().filter(|p| p.interested && !p.upload_only && !p.choked).count();
            if served < takers.min(4) {
                // Only for those who give nothing, and until the next ranking.
                let waits = swarm.peers.iter().any(|p| p.takes_slot() && p.choked && p.gives());
                prop_assert!(!seeding && !ranks && takers > 4 && !waits, "{served} of {takers}");
            }
            if ranks {
                prop_assert!(swarm.unchoked() <= 9);
            }
        }
    }
}

/// One slot is free between rounds, and two wait for it.
fn who_gets_a_free_slot(role: Role, a: Candidate, b: Candidate) -> Vec<PeerKey> {
    let now = Instant::from_secs(1_000);
    let mut choker = Choker::new(now, ChokerConfig { min_slots: 2, max_slots: 2 }, 7);
    let peers = [Candidate { choked: false, ..peer(now, 0) }, a, b];
    choker.run(now, role, 0, Crowd::of(&peers), || peers.to_vec()).unchoke
}

#[test]
fn a_slot_that_is_left_for_a_moment_is_for_those_who_give() {
    let now = Instant::from_secs(1_000);
    let rider = Candidate { sent: 1 << 20, received: 1 << 10, ..peer(now, 1) };
    let newcomer = peer(now, 2);
    let slow = Candidate { sent: 16 << 20, received: 2 << 20, ..peer(now, 3) };
    assert_eq!(who_gets_a_free_slot(Role::Leech, rider, newcomer), vec![]);
    assert_eq!(who_gets_a_free_slot(Role::Leech, rider, slow), vec![key(3)]);
    assert_eq!(who_gets_a_free_slot(Role::Seed, rider, slow), vec![key(1)], "a seed gets nothing");
    // Where all who want one can have one, nobody is asked what he gave.
    let mut choker = Choker::new(now, ChokerConfig { min_slots: 4, max_slots: 4 }, 7);
    let peers = [rider, newcomer, slow];
    let decision = choker.run(now, Role::Leech, 0, Crowd::of(&peers), || peers.to_vec());
    assert_eq!(decision.unchoke.len(), 3);
}

#[test]
fn a_finished_peer_serves_who_lacks_most_and_who_waits_longest_in_turn() {
    let now = Instant::from_secs(1_000);
    let waits = |slot, pieces, since| Candidate {
        pieces,
        unchoked_at: Some(Instant::from_secs(since)),
        ..peer(now, slot)
    };
    let (full, poor) = (waits(1, 90, 100), waits(2, 10, 200));
    assert_eq!(who_gets_a_free_slot(Role::Finished, full, poor), vec![key(2)]);
    assert_eq!(who_gets_a_free_slot(Role::Seed, full, poor), vec![key(1)]);
    // Two of a crowd that says it has nothing, and two of those who have waited longer.
    let mut choker = Choker::new(now, ChokerConfig { min_slots: 4, max_slots: 4 }, 7);
    let mut peers: Vec<Candidate> = (0..8).map(|slot| waits(slot, 0, 500)).collect();
    peers.extend((8..16).map(|slot| waits(slot, 50, 400)));
    let decision = choker.run(now, Role::Finished, 0, Crowd::of(&peers), || peers.clone());
    let liars = decision.unchoke.iter().filter(|key| key.slot < 8).count();
    assert_eq!((decision.unchoke.len(), liars), (4, 2), "{decision:?}");
}
