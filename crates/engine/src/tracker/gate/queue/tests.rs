//! Traces of the queue, and a naive model beside it.

use super::*;
use Urgency::{Event, Fresh, Regular, Stopped};
use proptest::prelude::*;

const PACE: Duration = Duration::from_millis(500);

fn limits(total: usize, per_host: usize) -> QueueLimits {
    QueueLimits { total, per_host, per_failing_host: 1, pace: PACE }
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn drain(queue: &mut Queue, now: Instant) -> Vec<Ticket> {
    std::iter::from_fn(|| queue.poll(now)).collect()
}

#[test]
fn the_urgent_go_first_and_the_newest_of_the_fresh() {
    let mut queue = Queue::new(limits(1, 1));
    let busy = queue.enter("a", Regular);
    assert_eq!(queue.poll(at(0)), Some(busy));
    let regular = queue.enter("a", Regular);
    let event = queue.enter("a", Event);
    let stopped = [queue.enter("a", Stopped), queue.enter("b", Stopped)];
    let mut order = Vec::new();
    let mut last = busy;
    for _ in 0..4 {
        queue.leave(last, Outcome::Answered);
        last = queue.poll(at(0)).unwrap();
        order.push(last);
        assert_eq!(queue.poll(at(0)), None, "one at a time");
    }
    assert_eq!(order, [stopped[0], stopped[1], event, regular]);
    // All places are taken; one goes beyond them, and it is the newest.
    let fresh = [queue.enter("a", Fresh), queue.enter("c", Fresh), queue.enter("a", Fresh)];
    assert_eq!(drain(&mut queue, at(0)), [fresh[2]]);
    queue.leave(last, Outcome::Answered);
    assert_eq!(drain(&mut queue, at(1)), [], "that one still counts");
    queue.leave(fresh[2], Outcome::Answered);
    assert_eq!(drain(&mut queue, at(1)), [fresh[1]]);
}

#[test]
fn a_host_that_is_full_or_down_holds_up_nobody_else() {
    let mut queue = Queue::new(limits(5, 3));
    let dead: Vec<_> = (0..10).map(|_| queue.enter("dead", Event)).collect();
    let good: Vec<_> = (0..10).map(|_| queue.enter("good", Regular)).collect();
    assert_eq!(
        drain(&mut queue, at(0)),
        [&dead[..3], &good[..2]].concat(),
        "so many in all, so many at a host"
    );
    queue.leave(dead[0], Outcome::Silent);
    assert_eq!(drain(&mut queue, at(0)), [good[2]], "fewer where nobody answers");
    queue.leave(dead[1], Outcome::Silent);
    queue.leave(dead[2], Outcome::Silent);
    assert_eq!(drain(&mut queue, at(0)), [dead[3]]);
    queue.leave(dead[3], Outcome::Answered);
    queue.leave(good[0], Outcome::Answered);
    queue.leave(good[1], Outcome::Answered);
    assert_eq!(drain(&mut queue, at(0)), [&dead[4..7], &good[3..4]].concat(), "it is back");
}

#[test]
fn ten_thousand_wait_for_a_slow_tracker_and_a_new_torrent_does_not() {
    let mut queue = Queue::new(QueueLimits::default());
    // All of them were just added, as when a program starts.
    for _ in 0..10_000 {
        queue.enter("slow", Fresh);
    }
    // Each takes 30 s to fail.
    let mut under_way: Vec<(u64, Ticket)> = Vec::new();
    for millis in (0..120_000).step_by(50) {
        let (ended, rest) = under_way.into_iter().partition::<Vec<_>, _>(|(end, _)| *end <= millis);
        under_way = rest;
        ended.into_iter().for_each(|(_, ticket)| queue.leave(ticket, Outcome::Silent));
        under_way.extend(drain(&mut queue, at(millis)).into_iter().map(|t| (millis + 30_000, t)));
        assert!(under_way.len() <= 8 + 61, "{} under way", under_way.len());
        if millis % 1_300 == 0 {
            let new = queue.enter("slow", Fresh);
            let begun = (millis..=millis + 500).step_by(50).find(|&later| {
                let begun = drain(&mut queue, at(later));
                under_way.extend(begun.iter().map(|&t| (later + 30_000, t)));
                begun.contains(&new)
            });
            assert!(
                begun.is_some(),
                "the one that came at {millis} ms has not begun half a second later"
            );
        }
    }
    assert!(queue.places.len() > 9_000, "the backlog is still there");
}

#[test]
fn who_leaves_before_the_turn_leaves_nothing_behind() {
    let mut queue = Queue::new(limits(1, 1));
    let all: Vec<_> = [Fresh, Stopped, Event, Regular].map(|u| queue.enter("a", u)).into();
    assert_eq!(drain(&mut queue, at(0)), all[..1]);
    all.iter().for_each(|&ticket| queue.leave(ticket, Outcome::Unknown));
    queue.leave(all[0], Outcome::Unknown);
    assert_eq!((queue.poll(at(9_999)), queue.next_timeout()), (None, None));
    assert!(queue.places.is_empty() && queue.hosts.is_empty() && queue.ready.is_empty());
    assert_eq!(queue.under_way, 0);
}

/// What the head of the module says, said with a list.
struct Naive {
    limits: QueueLimits,
    all: Vec<(Ticket, &'static str, Urgency, bool)>,
    failing: BTreeSet<&'static str>,
    extra_at: Instant,
}

impl Naive {
    fn next(&mut self, now: Instant) -> Option<Ticket> {
        let at = |host| self.all.iter().filter(|a| a.3 && a.1 == host).count();
        let room = |host| {
            let failing = self.failing.contains(host);
            at(host) < if failing { self.limits.per_failing_host } else { self.limits.per_host }
        };
        let key = |a: &(Ticket, &str, Urgency, bool)| {
            (a.2, if a.2 == Fresh { u64::MAX - a.0.0 } else { a.0.0 })
        };
        let total = self.all.iter().filter(|a| a.3).count();
        let waiting = || self.all.iter().filter(|a| !a.3);
        let within = waiting()
            .filter(|a| total < self.limits.total && room(a.1))
            .min_by_key(|a| key(a))
            .map(|a| a.0);
        let chosen = within.or_else(|| {
            let newest = waiting().filter(|a| a.2 == Fresh && now >= self.extra_at);
            let newest = newest.min_by_key(|a| key(a)).map(|a| a.0)?;
            self.extra_at = now + self.limits.pace;
            Some(newest)
        })?;
        self.all.iter_mut().find(|a| a.0 == chosen).unwrap().3 = true;
        Some(chosen)
    }
}

proptest! {
    #[test]
    fn the_queue_chooses_as_a_list_would(
        steps in prop::collection::vec((0u8..3, 0usize..3, 0usize..4, 0u64..300, 0usize..40), 0..150),
    ) {
        let limits = limits(4, 2);
        let mut queue = Queue::new(limits);
        let mut naive = Naive { limits, all: vec![], failing: BTreeSet::new(), extra_at: Instant::ZERO };
        let mut now = Instant::ZERO;
        for (what, host, urgency, wait, which) in steps {
            now += Duration::from_millis(wait);
            let host = ["a", "b", "c"][host];
            if what < 2 {
                let urgency = [Fresh, Stopped, Event, Regular][urgency];
                let ticket = queue.enter(host, urgency);
                naive.all.push((ticket, host, urgency, false));
            } else if !naive.all.is_empty() {
                let (ticket, host, ..) = naive.all.remove(which % naive.all.len());
                let outcome = [Outcome::Answered, Outcome::Silent, Outcome::Unknown][urgency % 3];
                queue.leave(ticket, outcome);
                match outcome {
                    Outcome::Answered => { naive.failing.remove(host); }
                    Outcome::Silent => { naive.failing.insert(host); }
                    Outcome::Unknown => {}
                }
                // A host at which nothing is to be done is forgotten.
                if naive.all.iter().all(|a| a.1 != host) {
                    naive.failing.remove(host);
                }
            }
            loop {
                let chosen = queue.poll(now);
                prop_assert_eq!(chosen, naive.next(now));
                if chosen.is_none() {
                    break;
                }
            }
            let fresh_waits = naive.all.iter().any(|a| !a.3 && a.2 == Fresh);
            prop_assert_eq!(queue.next_timeout(), fresh_waits.then_some(naive.extra_at));
        }
    }
}
