use super::*;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

/// A peer under some of the limits, by their index.
struct Peer {
    under: Vec<usize>,
    turn: Option<(Instant, u64)>,
    moved: u64,
}

/// Greedy peers for `secs` in steps of `tick` microseconds, which is how late their timers are. Each turn moves what `size`
/// makes of the portion.
fn run(
    limits: &mut [Limit],
    peers: &[&[usize]],
    secs: u64,
    tick: u64,
    mut size: impl FnMut(u64) -> u64,
) -> Vec<u64> {
    let peer = |under: &&[usize]| Peer { under: under.to_vec(), turn: None, moved: 0 };
    let mut peers: Vec<Peer> = peers.iter().map(peer).collect();
    for step in 0..secs * 1_000_000 / tick {
        let now = Instant::from_micros(1_000_000_000 + step * tick);
        for peer in &mut peers {
            // As often as a turn is there at once.
            for _ in 0..1000 {
                let (at, bytes) = *peer.turn.get_or_insert_with(|| {
                    let bytes = peer.under.iter().map(|at| limits[*at].portion()).min().unwrap();
                    let at = peer.under.iter().map(|at| limits[*at].reserve(now, bytes)).max();
                    (at.unwrap(), bytes)
                });
                if at > now {
                    break;
                }
                let moved = size(bytes);
                peer.under.iter().for_each(|at| limits[*at].settle(bytes, moved));
                peer.moved += moved;
                peer.turn = None;
            }
        }
    }
    peers.iter().map(|peer| peer.moved).collect()
}

fn near(got: u64, want: u64, percent: u64) -> bool {
    got.abs_diff(want) * 100 <= want * percent
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_rate_is_kept_within_three_percent_and_peers_share_it(
        rate in prop_oneof![50_000..500_000_u64, 500_000..50_000_000_u64],
        count in 1..30_usize,
        tick in 500..5_000_u64,
        short in 0..3_u64,
    ) {
        let mut limits = [Limit::new(Some(rate))];
        let mut turns = 0;
        let moved = run(&mut limits, &vec![&[0][..]; count], 10, tick, |bytes| {
            turns += 1;
            // Sockets have less than the turn, or a message too many.
            match turns % 4 { 0 => bytes + short * 10, 1 => bytes - short * bytes / 4, _ => bytes }
        });
        let total: u64 = moved.iter().sum();
        prop_assert!(near(total, 10 * rate, 3), "{total} of {}", 10 * rate);
        // Who comes first has what idleness saved up. Beyond that all have the same, if they always use their turns.
        let apart = moved.iter().max().unwrap() - moved.iter().min().unwrap();
        prop_assert!(short > 0 || apart <= rate / 10 + 2 * limits[0].portion() + 60, "{moved:?}");
    }

    #[test]
    fn a_reservation_that_is_given_back_costs_nothing(rate in 1..1_000_000_000_u64, bytes in 0..1_000_000_u64) {
        let now = Instant::from_secs(1000);
        let mut limit = Limit::new(Some(rate));
        let _ = limit.reserve(now, 1000);
        let before = limit;
        let _ = limit.reserve(now, bytes);
        limit.settle(bytes, 0);
        prop_assert_eq!(limit, before);
    }
}

#[test]
fn what_a_torrent_may_not_take_others_do() {
    // The session, a slow torrent, one without a limit; the last peer is local and free of all.
    let mut limits = [
        Limit::new(Some(1_000_000)),
        Limit::new(Some(100_000)),
        Limit::new(None),
        Limit::new(None),
    ];
    let (slow, free): (&[usize], &[usize]) = (&[0, 1], &[0, 2]);
    let peers = [slow, slow, slow, free, free, &[3]];
    let moved = run(&mut limits, &peers, 10, 1000, |bytes| bytes);
    assert!(near(moved[..3].iter().sum(), 1_000_000, 3), "{moved:?}");
    assert!(near(moved[..5].iter().sum(), 10_000_000, 3), "{moved:?}");
    assert!(near(moved[3], moved[4], 5) && near(moved[0], moved[2], 10), "{moved:?}");
    assert!(moved[5] > 100_000_000, "the local network is free");
}

#[test]
fn idleness_saves_little() {
    let mut limit = Limit::new(Some(1000));
    let now = Instant::from_secs(3600);
    assert_eq!(limit.reserve(now, 300), now);
    assert_eq!(limit.reserve(now, 1), Instant::from_millis(3600 * 1000 + 200));
}

#[test]
fn a_new_rate_holds_at_once() {
    let now = Instant::from_secs(100);
    let mut limit = Limit::new(Some(1000));
    let _ = limit.reserve(now, 100_000);
    limit.set_rate(now, Some(1_000_000));
    let turn = limit.reserve(now, 1);
    assert!(turn <= now + Duration::from_millis(100), "{turn:?}");
    limit.set_rate(now, None);
    let _ = limit.reserve(now, u64::MAX);
    assert_eq!(limit.reserve(now, 1), now);
    limit.set_rate(now, Some(1000));
    assert_eq!(limit.reserve(now, 1), now);
    // The slowest of all does not overflow.
    let mut slow = Limit::new(Some(1));
    (0..10).for_each(|_| slow.settle(0, u64::MAX));
    assert!(slow.reserve(now, 1) > now);
}

#[test]
fn schedules_by_day_and_across_midnight() {
    let weekdays = Days::new(&[0, 1, 2, 3, 4, 9]);
    let office = Schedule::new(weekdays, 9 * 60, 17 * 60).unwrap();
    for (day, minute, holds) in
        [(0, 540, true), (0, 539, false), (4, 1019, true), (4, 1020, false), (5, 600, false)]
    {
        assert_eq!(office.holds(day, minute), holds, "{day} {minute}");
    }
    let friday_night = Schedule::new(Days::new(&[4]), 22 * 60, 6 * 60).unwrap();
    for (day, minute, holds) in
        [(4, 1320, true), (5, 359, true), (5, 360, false), (4, 100, false), (5, 1320, false)]
    {
        assert_eq!(friday_night.holds(day, minute), holds, "{day} {minute}");
    }
    let sunday = Schedule::new(Days::new(&[6]), 60, 60).unwrap();
    assert!(
        sunday.holds(6, 60) && sunday.holds(0, 59) && !sunday.holds(6, 59) && !sunday.holds(0, 60)
    );
    assert_eq!(Schedule::new(Days::ALL, 0, 1440), Err(ScheduleError::Minute(1440)));
}

#[test]
fn headers_are_counted() {
    assert_eq!(
        [on_wire(0, false), on_wire(1, false), on_wire(1448, false), on_wire(1449, true)],
        [0, 53, 1500, 1593]
    );
}
