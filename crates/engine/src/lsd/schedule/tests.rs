use super::*;
use proptest::prelude::*;

fn t(millis: u64) -> Instant {
    Instant::from_secs(1_000) + Duration::from_millis(millis)
}

fn nth(n: u32) -> WireHash {
    let mut bytes = [0; 20];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    WireHash(bytes)
}

/// Every datagram that is sent up to `end`, with its time.
fn run(schedule: &mut Schedule, end: Instant) -> Vec<(Instant, Vec<WireHash>)> {
    let mut sent = Vec::new();
    while let Some(at) = schedule.next_timeout().filter(|at| *at <= end) {
        let mut hashes = schedule.poll(at).expect("the time that was asked for");
        hashes.sort();
        sent.push((at, hashes));
    }
    sent
}

#[test]
fn torrents_that_come_together_share_a_datagram_and_are_repeated_once() {
    let mut s = Schedule::new(1);
    assert!(s.next_timeout().is_none() && s.poll(t(0)).is_none());
    assert!(s.seek(t(0), nth(1)) && s.seek(t(200), nth(2)) && !s.seek(t(210), nth(2)));
    assert_eq!(s.poll(t(299)), None);
    assert_eq!(s.poll(t(300)), Some(vec![nth(1)]));
    // The other is due, but two datagrams keep a distance.
    assert_eq!(s.next_timeout(), Some(t(800)));
    assert_eq!(s.poll(t(800)), Some(vec![nth(2)]));
    assert_eq!(run(&mut s, t(6_000)), [(t(5_300), vec![nth(1)]), (t(5_800), vec![nth(2)])]);
    // From then on they go together.
    let later = run(&mut s, t(700_000));
    assert_eq!(later.len(), 2, "{later:?}");
    for (at, hashes) in later {
        assert_eq!(hashes.len(), 2, "{at:?}");
    }
}

#[test]
fn each_is_the_first_of_a_datagram_at_times_and_a_new_one_before_old_ones() {
    let mut firsts = BTreeSet::new();
    for seed in 0..20 {
        let mut s = Schedule::new(seed);
        (0..3).for_each(|n| assert!(s.seek(t(0), nth(n))));
        firsts.extend(s.poll(t(300)).unwrap().first().copied());
        run(&mut s, t(10_000));
        s.seek(t(275_000), nth(9));
        let together = s.poll(t(275_300)).unwrap();
        assert_eq!((together.len(), together[0]), (4, nth(9)));
    }
    assert_eq!(firsts.len(), 3);
}

#[test]
fn stopping_and_starting_is_no_way_to_be_loud() {
    let mut s = Schedule::new(1);
    s.seek(t(0), nth(1));
    assert!(s.poll(t(300)).is_some());
    s.withdraw(t(400), &nth(1));
    assert!(s.is_empty() && s.next_timeout().is_none());
    s.seek(t(500), nth(1));
    assert_eq!(run(&mut s, t(65_000)), [(t(60_300), vec![nth(1)])]);
    s.withdraw(t(65_000), &nth(1));
    s.seek(t(130_000), nth(1));
    assert_eq!(s.next_timeout(), Some(t(130_300)), "after a minute it is new again");
}

#[test]
fn a_new_network_hears_of_all_soon() {
    let mut s = Schedule::new(1);
    s.seek(t(0), nth(1));
    run(&mut s, t(100_000));
    s.seek(t(100_000), nth(2));
    s.renew(t(100_100));
    assert_eq!(run(&mut s, t(101_000)), [(t(100_400), vec![nth(1), nth(2)])]);
    s.renew(t(102_000));
    let again = run(&mut s, t(170_000));
    assert_eq!(again, [(t(160_400), vec![nth(1), nth(2)])], "not within a minute");
}

#[test]
fn thousands_of_torrents_are_spread_and_a_new_one_does_not_wait_for_them() {
    let mut s = Schedule::new(7);
    for n in 0..5_000 {
        s.seek(t(0), nth(n));
    }
    let first = run(&mut s, t(300_000));
    let all: BTreeSet<_> = first.iter().flat_map(|(_, hashes)| hashes).collect();
    assert_eq!(all.len(), 5_000);
    // In the long run: an even stream of full datagrams.
    run(&mut s, t(1_200_000));
    let minute = run(&mut s, t(1_260_000));
    assert!((45..=60).contains(&minute.len()), "{}", minute.len());
    s.seek(t(1_260_000), nth(9_999));
    let next = run(&mut s, t(1_261_000));
    assert!(next.iter().any(|(_, hashes)| hashes.contains(&nth(9_999))), "{next:?}");
}

#[test]
fn up_to_a_hundred_torrents_make_one_datagram_a_minute() {
    let mut s = Schedule::new(3);
    for n in 0..100 {
        s.seek(t(u64::from(n) * 3_000), nth(n));
    }
    run(&mut s, t(1_000_000));
    let hour = run(&mut s, t(1_000_000 + 3_600_000));
    assert!(hour.len() <= 61, "{}", hour.len());
    let announced: usize = hour.iter().map(|(_, hashes)| hashes.len()).sum();
    assert!(announced >= 100 * 3_600 / 320, "{announced}");
}

#[derive(Clone, Debug)]
enum Step {
    Seek(u32),
    Withdraw(u32),
    Renew,
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0u32..60).prop_map(Step::Seek),
        2 => (0u32..60).prop_map(Step::Withdraw),
        1 => Just(Step::Renew),
        3 => (0u64..2_000).prop_map(Step::Wait),
        2 => (0u64..200_000).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..120)
}

proptest! {
    /// Beside a model that knows only what is sought and what was sent.
    #[test]
    fn whatever_happens_the_bounds_hold(steps in steps(), seed: u64) {
        let mut s = Schedule::new(seed);
        let mut now = t(0);
        // Since when each is sought, and since when nothing spoke against its being announced.
        let mut sought: BTreeMap<WireHash, Instant> = BTreeMap::new();
        let mut sent: BTreeMap<WireHash, Vec<Instant>> = BTreeMap::new();
        let mut datagrams: Vec<Instant> = Vec::new();
        for step in steps.into_iter().chain([Step::Wait(400_000)]) {
            match step {
                Step::Seek(n) => {
                    prop_assert_eq!(s.seek(now, nth(n)), !sought.contains_key(&nth(n)));
                    sought.entry(nth(n)).or_insert(now);
                }
                Step::Withdraw(n) => {
                    s.withdraw(now, &nth(n));
                    sought.remove(&nth(n));
                }
                Step::Renew => s.renew(now),
                Step::Wait(millis) => {
                    let end = now + Duration::from_millis(millis);
                    for (at, hashes) in run(&mut s, end) {
                        prop_assert!(at >= now && !hashes.is_empty() && hashes.len() <= MAX_HASHES);
                        prop_assert!(datagrams.last().is_none_or(|last| at.since(*last) >= PACE));
                        datagrams.push(at);
                        let distinct: BTreeSet<_> = hashes.iter().collect();
                        prop_assert_eq!(distinct.len(), hashes.len());
                        for hash in hashes {
                            prop_assert!(sought.contains_key(&hash), "announced unasked");
                            sent.entry(hash).or_default().push(at);
                        }
                    }
                    now = end;
                }
            }
            for (hash, since) in &sought {
                let last = sent.get(hash).and_then(|times| times.last());
                let from = last.map_or(*since, |last| *since.max(last));
                prop_assert!(now.since(from) <= INTERVAL + JITTER + OLD_PACE.1 * 3, "{hash} forgotten");
            }
        }
        for times in sent.values() {
            let close = times.windows(2).filter(|w| w[1].since(w[0]) < MIN_INTERVAL);
            // A repeat, and each with a minute of silence before the first.
            for pair in close {
                prop_assert!(pair[1].since(pair[0]) >= REPEAT);
                let before = times.iter().rev().find(|at| **at < pair[0]);
                prop_assert!(before.is_none_or(|at| pair[0].since(*at) >= MIN_INTERVAL));
            }
        }
    }
}
