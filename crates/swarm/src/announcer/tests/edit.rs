//! Trackers that come and go while a torrent runs.

use super::*;

impl Run {
    fn set(&mut self, tiers: &[&[&str]]) {
        let tiers: Vec<Vec<String>> =
            tiers.iter().map(|t| t.iter().map(|&u| u.to_owned()).collect()).collect();
        self.announcer.set_tiers(self.now, &tiers);
    }

    fn urls(&self) -> Vec<(usize, String)> {
        self.announcer.trackers().map(|t| (t.tier, t.url.to_owned())).collect()
    }

    fn stopped(&mut self) -> Vec<String> {
        let mut urls = Vec::new();
        for announce in self.pull() {
            assert_eq!(announce.request.event, Stopped);
            self.answer(&announce, 1_800);
            urls.push(announce.url);
        }
        urls
    }
}

#[test]
fn what_comes_is_told_started_what_goes_is_told_stopped_and_what_stays_notices_nothing() {
    let mut run = Run::new(&[&["http://a"], &["http://b"]]);
    for announce in run.pull() {
        run.answer(&announce, 1_800);
    }
    run.set(&[&["http://c"], &[], &["http://a", "http://c"]]);
    assert_eq!(run.urls(), [(0, "http://c".to_owned()), (1, "http://a".to_owned())]);
    let mut sent = run.pull();
    sent.sort_by(|a, b| a.url.cmp(&b.url));
    let events: Vec<_> = sent.iter().map(|a| (&*a.url, a.request.event)).collect();
    assert_eq!(events, [("http://b", Stopped), ("http://c", Started)]);
    for announce in &sent {
        run.answer(announce, 1_800);
    }
    assert!(run.skip_to_next() >= 1_800);
    run.announcer.stop();
    let mut last = run.stopped();
    last.sort();
    assert_eq!(last, ["http://a", "http://c"], "the one that went has been told");
    assert!(run.announcer.is_stopped());
}

#[test]
fn one_that_goes_before_it_has_answered_is_told_stopped_if_it_accepts() {
    let mut run = Run::new(&[&["http://a"]]);
    let started = run.one();
    run.set(&[]);
    assert_eq!((run.urls(), run.sent()), (vec![], vec![]));
    run.answer(&started, 60);
    assert_eq!(run.stopped(), ["http://a"]);
    assert_eq!(run.announcer.next_timeout(), None);

    let mut run = Run::new(&[&["http://a"]]);
    let started = run.one();
    run.set(&[]);
    run.fail(&started);
    assert_eq!((run.sent(), run.announcer.next_timeout()), (vec![], None));
}

#[test]
fn one_that_comes_back_is_not_told_both() {
    let mut run = Run::new(&[&["http://a"]]);
    let started = run.one();
    run.answer(&started, 1_800);
    run.set(&[]);
    run.set(&[&["http://a"]]);
    assert_eq!(run.sent(), [], "it was never told that we went");
    run.set(&[]);
    let stopped = run.one();
    run.set(&[&["http://a"]]);
    assert_eq!(run.sent(), [], "one announce at a time");
    run.answer(&stopped, 1_800);
    let again = run.one();
    assert_eq!((&*again.url, again.request.event), ("http://a", Started));
    run.answer(&again, 1_800);
    run.set(&[]);
    let stopped = run.one();
    run.answer(&stopped, 1_800);
    run.set(&[&["http://a"]]);
    assert_eq!(run.sent(), [("http://a".to_owned(), Started)], "the same when it had gone");
}

#[test]
fn a_private_torrent_keeps_to_one_tracker_at_a_time() {
    let mut run = Run::with(&[&["http://a"]], true);
    let a = run.one();
    run.answer(&a, 1_800);
    run.set(&[&["http://b"], &["http://c"]]);
    // The one that goes first hears of it before the next is told anything.
    let left = run.one();
    assert_eq!((&*left.url, left.request.event), ("http://a", Stopped));
    run.answer(&left, 1_800);
    let b = run.one();
    assert_eq!((&*b.url, b.request.event), ("http://b", Started));
    run.answer(&b, 1_800);
    assert_eq!(run.sent(), []);
}

#[test]
fn edits_while_nothing_runs_tell_nobody() {
    let mut run = Run::new(&[&["http://a"]]);
    let started = run.one();
    run.answer(&started, 1_800);
    run.announcer.stop();
    run.set(&[&["http://b"]]);
    assert_eq!(run.stopped(), ["http://a"]);
    assert!(run.announcer.is_stopped());
    run.announcer.start(run.now);
    assert_eq!(run.sent(), [("http://b".to_owned(), Started)]);
}

#[test]
fn trackers_that_come_and_go_are_bounded() {
    let mut run = Run::new(&[]);
    for round in 0..10 {
        let urls: Vec<String> = (0..500).map(|i| std::format!("http://{round}/{i}")).collect();
        run.announcer.set_tiers(run.now, &[urls]);
        assert_eq!(run.announcer.trackers().count(), MAX_TRACKERS);
        // All of them are asked and none answers.
        while let Some(announce) = run.announcer.poll(run.now, &run.counters) {
            assert_eq!(announce.request.event, Started);
            run.now += PATIENCE;
        }
    }
    assert!(run.announcer.trackers.len() <= 2 * MAX_TRACKERS);
}

#[test]
fn an_announce_out_of_turn_keeps_to_what_the_tracker_allows() {
    for (min, expected) in [(Some(120), 120), (None, 60), (Some(2_500), 2_500)] {
        let mut run = Run::new(&[&["http://a"]]);
        let first = run.one();
        let response = AnnounceResponse {
            interval: Duration::from_secs(1_800),
            min_interval: min.map(Duration::from_secs),
            ..Default::default()
        };
        run.announcer.on_response(run.now, first.id, &response);
        run.announcer.announce_now(run.now);
        assert_eq!(run.skip_to_next(), expected);
        let second = run.one();
        assert_eq!(second.request.event, Periodic);
        run.announcer.on_response(run.now, second.id, &response);
        run.wait(expected.min(1_700));
        run.announcer.announce_now(run.now);
        assert_eq!(run.skip_to_next(), expected - expected.min(1_700));
    }
    let mut run = Run::new(&[&["http://a"]]);
    for _ in 0..6 {
        let announce = run.one();
        run.fail(&announce);
        run.skip_to_next();
    }
    let announce = run.one();
    run.fail(&announce);
    run.announcer.announce_now(run.now);
    assert_eq!(run.skip_to_next(), 15, "not at once, but without the long wait");
    let announce = run.one();
    run.announcer.on_failure(run.now, announce.id, "go", Some(Retry::Never));
    run.announcer.announce_now(run.now);
    assert_eq!(run.announcer.next_timeout(), None);
}

#[test]
fn who_has_moved_is_announced_at_once_wherever_it_is_known() {
    let mut run = Run::new(&[&["http://a"], &["http://b"], &["http://c"]]);
    let all = run.pull();
    run.answer(&all[0], 1_800);
    run.fail(&all[1]);
    // The answer of the third goes to where we were.
    let lost = all[2].clone();
    run.wait(1);
    run.announcer.moved(run.now);
    let again = run.pull();
    let event_of = |url: &str| again.iter().find(|a| a.url == url).map(|a| a.request.event);
    let expected = [Some(Periodic), Some(Started), Some(Started)];
    assert_eq!([&all[0], &all[1], &all[2]].map(|a| event_of(&a.url)), expected);
    let late = AnnounceResponse::default();
    assert_eq!(run.announcer.on_response(run.now, lost.id, &late), None);
    for announce in &again {
        run.answer(announce, 1_800);
    }
    assert!(run.skip_to_next() >= 1_800, "once is enough");
    run.announcer.stop();
    let stops = run.pull();
    run.announcer.moved(run.now);
    assert!(run.pull().is_empty(), "who goes does not come back");
    stops.iter().for_each(|stop| run.answer(stop, 0));
    assert!(run.announcer.is_stopped());
}

#[test]
fn one_that_goes_and_comes_back_before_it_was_told_is_not_asked_sooner() {
    // Of a private torrent one is told at a time: the goodbye to the second waits for the first.
    let mut run = Run::with(&[&["http://a"], &["http://b"]], true);
    let first = run.one();
    run.answer(&first, 1_800);
    run.announcer.set_hungry(true);
    let other = if first.url == "http://a" { "http://b" } else { "http://a" };
    run.set(&[&[other]]);
    run.set(&[&[&first.url], &[other]]);
    let soon: Vec<_> = run.sent().into_iter().filter(|(url, _)| *url == first.url).collect();
    assert_eq!(soon, [], "it answered just now");
}
