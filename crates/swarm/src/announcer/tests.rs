//! Announce traces over virtual time.

use super::*;
use AnnounceEvent::{Completed, Periodic, Started, Stopped};
use proptest::prelude::*;
use std::borrow::ToOwned;
use std::vec;

mod edit;

const LEFT: Counters = Counters { uploaded: 0, downloaded: 0, left: 1_000, peers_wanted: 50 };
const DONE: Counters = Counters { uploaded: 30, downloaded: 1_000, left: 0, peers_wanted: 50 };

struct Run {
    now: Instant,
    announcer: Announcer,
    counters: Counters,
}

impl Run {
    fn new(tiers: &[&[&str]]) -> Self {
        Self::with(tiers, false)
    }

    fn with(tiers: &[&[&str]], private: bool) -> Self {
        let config = AnnouncerConfig {
            info_hash: WireHash([1; 20]),
            peer_id: PeerId([2; 20]),
            port: 6881,
            key: 77,
            private,
        };
        let tiers: Vec<Vec<String>> =
            tiers.iter().map(|t| t.iter().map(|&u| u.to_owned()).collect()).collect();
        let now = Instant::from_secs(1_000);
        let mut announcer = Announcer::new(config, &tiers, 3);
        assert!(announcer.is_stopped() && announcer.next_timeout().is_none());
        announcer.start(now);
        Self { now, announcer, counters: LEFT }
    }

    fn pull(&mut self) -> Vec<Announce> {
        let mut all = Vec::new();
        while let Some(announce) = self.announcer.poll(self.now, &self.counters) {
            assert_eq!(announce.request.key, 77);
            all.push(announce);
            assert!(all.len() <= MAX_TRACKERS, "poll has no end");
        }
        if let Some(next) = self.announcer.next_timeout() {
            assert!(next > self.now, "polled dry, yet due");
        }
        all
    }

    /// The single announce that is due.
    fn one(&mut self) -> Announce {
        let mut all = self.pull();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    fn sent(&mut self) -> Vec<(String, AnnounceEvent)> {
        self.pull().into_iter().map(|a| (a.url, a.request.event)).collect()
    }

    fn answer(&mut self, announce: &Announce, interval: u64) {
        let response =
            AnnounceResponse { interval: Duration::from_secs(interval), ..Default::default() };
        let url = self.announcer.on_response(self.now, announce.id, &response);
        assert_eq!(url, Some(&*announce.url));
    }

    fn fail(&mut self, announce: &Announce) {
        let url = self.announcer.on_failure(self.now, announce.id, "no route", None);
        assert_eq!(url, Some(&*announce.url));
    }

    fn wait(&mut self, secs: u64) {
        self.now += Duration::from_secs(secs);
    }

    fn skip_to_next(&mut self) -> u64 {
        let next = self.announcer.next_timeout().expect("something is due some time");
        let waited = next - self.now;
        self.now = self.now.max(next);
        waited.as_secs()
    }
}

#[test]
fn a_whole_life_with_one_tracker() {
    let mut run = Run::new(&[&["http://a"]]);
    let first = run.one();
    assert_eq!(
        (first.request.event, first.request.left, first.request.num_want),
        (Started, 1_000, 50)
    );
    run.answer(&first, 1_800);
    assert_eq!(run.sent(), []);
    let waited = run.skip_to_next();
    assert!((1_800..=1_980).contains(&waited), "{waited}");
    let regular = run.one();
    assert_eq!(regular.request.event, Periodic);
    run.answer(&regular, 1_800);
    run.wait(60);
    run.counters = DONE;
    run.announcer.completed();
    let done = run.one();
    assert_eq!(
        (done.request.event, done.request.downloaded, done.request.left),
        (Completed, 1_000, 0)
    );
    run.answer(&done, 1_800);
    run.announcer.completed();
    assert_eq!(run.sent(), [], "completed is told once");
    run.announcer.stop();
    assert!(!run.announcer.is_stopped());
    let last = run.one();
    assert_eq!(
        (last.request.event, last.request.num_want, last.timeout),
        (Stopped, 0, STOP_TIMEOUT)
    );
    run.answer(&last, 1_800);
    assert!(run.announcer.is_stopped() && run.announcer.next_timeout().is_none());
}

#[test]
fn started_is_repeated_until_accepted_with_growing_waits() {
    let mut run = Run::new(&[&["http://a"]]);
    let mut waits = Vec::new();
    for _ in 0..12 {
        let announce = run.one();
        assert_eq!(announce.request.event, Started);
        run.fail(&announce);
        waits.push(run.skip_to_next());
    }
    assert!((15..20).contains(&waits[0]) && (30..38).contains(&waits[1]), "{waits:?}");
    assert!(waits.iter().all(|w| *w <= 2_250) && waits[11] >= 1_800, "{waits:?}");
    let announce = run.one();
    run.answer(&announce, 60);
    run.skip_to_next();
    assert_eq!(run.one().request.event, Periodic);
}

#[test]
fn stopped_only_follows_an_accepted_started() {
    let mut run = Run::new(&[&["http://a"]]);
    let first = run.one();
    run.fail(&first);
    run.announcer.stop();
    assert_eq!(run.sent(), []);
    assert!(run.announcer.is_stopped());

    let mut run = Run::new(&[&["http://a"]]);
    let first = run.one();
    run.announcer.stop();
    assert_eq!(run.sent(), [], "whether the tracker counts us is not known yet");
    assert!(!run.announcer.is_stopped());
    run.answer(&first, 1_800);
    let last = run.one();
    assert_eq!(last.request.event, Stopped);
    run.fail(&last);
    assert!(run.announcer.is_stopped(), "stopped is tried once");
}

#[test]
fn a_regular_announce_under_way_does_not_hold_up_the_stop() {
    let mut run = Run::new(&[&["http://a"]]);
    let first = run.one();
    run.answer(&first, 60);
    run.skip_to_next();
    let regular = run.one();
    run.announcer.stop();
    assert_eq!(run.one().request.event, Stopped);
    assert_eq!(run.announcer.on_failure(run.now, regular.id, "late", None), None);
    assert!(!run.announcer.is_stopped());
}

#[test]
fn a_download_that_ends_the_program_tells_completed_then_stopped() {
    let mut run = Run::new(&[&["http://a"]]);
    let first = run.one();
    run.answer(&first, 60);
    run.skip_to_next();
    let _regular = run.one();
    run.counters = DONE;
    run.announcer.completed();
    assert_eq!(run.sent(), [], "one announce at a time");
    run.announcer.stop();
    let done = run.one();
    assert_eq!((done.request.event, done.timeout), (Completed, STOP_TIMEOUT));
    run.answer(&done, 60);
    let last = run.one();
    assert_eq!(last.request.event, Stopped);
    run.answer(&last, 60);
    assert!(run.announcer.is_stopped());
}

#[test]
fn a_failed_completed_does_not_hold_up_the_stop() {
    let mut run = Run::new(&[&["http://a"]]);
    let first = run.one();
    run.answer(&first, 60);
    run.counters = DONE;
    run.announcer.completed();
    let done = run.one();
    run.announcer.stop();
    assert_eq!(run.sent(), []);
    run.fail(&done);
    assert_eq!(run.one().request.event, Stopped);
}

#[test]
fn a_seed_never_tells_completed_and_a_restart_begins_anew() {
    let mut run = Run::new(&[&["http://a"]]);
    run.counters = DONE;
    let first = run.one();
    assert_eq!((first.request.uploaded, first.request.downloaded), (0, 0));
    run.answer(&first, 60);
    // A torrent that knew of its completeness by then, such as one whose started failed while it downloaded.
    run.announcer.completed();
    assert_eq!(run.sent(), []);
    run.announcer.stop();
    let last = run.one();
    run.answer(&last, 60);
    run.counters.uploaded += 500;
    run.announcer.start(run.now);
    let again = run.one();
    assert_eq!((again.request.event, again.request.uploaded), (Started, 0));
    run.answer(&again, 60);
    run.counters.uploaded += 11;
    run.skip_to_next();
    assert_eq!(run.one().request.uploaded, 11);
}

#[test]
fn completion_during_started_or_a_failure_is_told_later() {
    let mut run = Run::new(&[&["http://a"]]);
    let first = run.one();
    run.counters = DONE;
    run.announcer.completed();
    run.answer(&first, 1_800);
    let done = run.one();
    assert_eq!(done.request.event, Completed);
    run.fail(&done);
    assert_eq!(run.sent(), []);
    assert!((15..20).contains(&run.skip_to_next()));
    assert_eq!(run.one().request.event, Completed);
}

#[test]
fn one_tracker_of_each_tier_and_a_failure_moves_on_at_once() {
    let mut run =
        Run::new(&[&["http://a"], &["http://b1", "http://b2"], &["http://a", "http://c"]]);
    let first = run.pull();
    assert_eq!(first.len(), 3);
    assert!(first[0].url == "http://a" && first[1].url.starts_with("http://b"));
    assert_eq!(first[2].url, "http://c", "a tracker that was named before is not asked twice");
    run.fail(&first[1]);
    let second = run.one();
    assert!(second.url.starts_with("http://b") && second.url != first[1].url);
    run.answer(&second, 60);
    run.answer(&first[0], 1_000);
    run.answer(&first[2], 1_000);
    // The one that answered is asked again, the one that failed is not.
    for _ in 0..3 {
        assert!((60..67).contains(&run.skip_to_next()));
        let again = run.one();
        assert_eq!((again.url.clone(), again.request.event), (second.url.clone(), Periodic));
        run.answer(&again, 60);
    }
    let order: Vec<_> = run.announcer.trackers().map(|t| (t.tier, t.state)).collect();
    assert_eq!(order[1], (1, TrackerState::Working));
    assert_eq!(order[2], (1, TrackerState::Failed));
}

#[test]
fn a_silent_tracker_holds_up_the_next_for_five_seconds_only() {
    let mut run = Run::new(&[&["udp://x", "udp://y", "udp://z"]]);
    let slow = run.one();
    assert_eq!(run.skip_to_next(), 5);
    let quick = run.one();
    assert_ne!(slow.url, quick.url);
    run.answer(&quick, 60);
    assert_eq!(run.announcer.trackers().next().map(|t| t.url), Some(&*quick.url));
    run.wait(3);
    run.answer(&slow, 60);
    assert_eq!(
        run.announcer.trackers().next().map(|t| t.url),
        Some(&*quick.url),
        "late is not better"
    );
    // Both have counted us, so both are told the end.
    run.announcer.stop();
    let stopped = run.sent();
    assert!(stopped.len() == 2 && stopped.iter().all(|(_, event)| *event == Stopped));
}

#[test]
fn hunger_shortens_the_interval_but_not_the_min_interval() {
    for (min, expected) in [(Some(120), 120), (None, 300), (Some(2_500), 2_500)] {
        let mut run = Run::new(&[&["http://a"]]);
        let first = run.one();
        let response = AnnounceResponse {
            interval: Duration::from_secs(1_800),
            min_interval: min.map(Duration::from_secs),
            ..Default::default()
        };
        run.announcer.on_response(run.now, first.id, &response);
        run.announcer.set_hungry(true);
        assert_eq!(run.skip_to_next(), expected);
        let second = run.one();
        run.announcer.on_response(run.now, second.id, &response);
        run.announcer.set_hungry(false);
        assert!(run.skip_to_next() >= 1_800.max(expected));
    }
}

#[test]
fn intervals_are_bounded() {
    for (interval, shortest, longest) in
        [(0, 1_800, 1_981), (1, 15, 17), (u64::MAX, 86_400, 95_041)]
    {
        let mut run = Run::new(&[&["http://a"]]);
        let first = run.one();
        run.answer(&first, interval);
        let waited = run.skip_to_next();
        assert!((shortest..longest).contains(&waited), "{waited}");
    }
}

#[test]
fn torrents_that_were_announced_together_drift_apart() {
    let tiers = [[String::from("http://a")].to_vec()];
    let config = Run::new(&[]).announcer.config.clone();
    let mut per_second = alloc::collections::BTreeMap::<u64, u32>::new();
    for seed in 0..10_000 {
        let mut announcer = Announcer::new(config.clone(), &tiers, seed);
        announcer.start(Instant::ZERO);
        let announce = announcer.poll(Instant::ZERO, &LEFT).unwrap();
        let response =
            AnnounceResponse { interval: Duration::from_secs(1_800), ..Default::default() };
        announcer.on_response(Instant::ZERO, announce.id, &response);
        let next = announcer.next_timeout().unwrap();
        *per_second.entry(next.as_micros() / 1_000_000).or_default() += 1;
    }
    // Evenly spread over 180 s it would be 56 in each.
    assert!(per_second.values().all(|n| *n < 120), "{:?}", per_second.values().max());
}

#[test]
fn what_the_tracker_says_of_retries_is_obeyed() {
    let mut run = Run::new(&[&["http://a", "http://b"]]);
    let first = run.one();
    run.announcer.on_failure(
        run.now,
        first.id,
        "full",
        Some(Retry::After(Duration::from_secs(600))),
    );
    let second = run.one();
    run.announcer.on_failure(run.now, second.id, "go away", Some(Retry::Never));
    assert_eq!(run.skip_to_next(), 600);
    let again = run.one();
    assert_eq!(again.url, first.url);
    run.announcer.on_failure(run.now, again.id, "go away", Some(Retry::Never));
    assert_eq!(run.announcer.next_timeout(), None);
    let states: Vec<_> = run.announcer.trackers().map(|t| (t.state, t.last_error)).collect();
    assert_eq!(states, [(TrackerState::Refused, Some("go away")); 2]);
}

#[test]
fn the_tracker_id_is_kept_and_texts_are_cut() {
    let mut run = Run::new(&[&["http://a"]]);
    let first = run.one();
    let response = AnnounceResponse {
        tracker_id: Some("abc".into()),
        warning: Some("ü".repeat(2_000)),
        complete: Some(5),
        ..Default::default()
    };
    run.announcer.on_response(run.now, first.id, &response);
    let status = run.announcer.trackers().next().unwrap();
    assert!(status.warning.unwrap().len() <= 500 && status.seeds == Some(5));
    run.skip_to_next();
    let second = run.one();
    assert_eq!(second.request.tracker_id.as_deref(), Some("abc"));
    run.answer(&second, 60);
    run.skip_to_next();
    assert_eq!(
        run.one().request.tracker_id.as_deref(),
        Some("abc"),
        "an answer without one keeps it"
    );
}

#[test]
fn a_private_torrent_has_one_tracker_at_a_time() {
    let mut run = Run::with(&[&["http://a"], &["http://b"]], true);
    let a = run.one();
    assert_eq!(a.url, "http://a");
    run.wait(10);
    assert_eq!(run.sent(), [], "no second tracker while the first may answer");
    run.fail(&a);
    let b = run.one();
    run.answer(&b, 60);
    // Tier 1 comes first again when its back-off is over, and takes over from tier 2.
    run.skip_to_next();
    let a = run.one();
    assert_eq!((&*a.url, a.request.event), ("http://a", Started));
    run.answer(&a, 60);
    let left = run.one();
    assert_eq!((&*left.url, left.request.event), ("http://b", Stopped));
    run.answer(&left, 60);
    run.skip_to_next();
    assert_eq!(run.sent(), [("http://a".to_owned(), Periodic)]);
}

#[test]
fn tiers_are_shuffled_once_and_bounded() {
    let urls: Vec<String> = (0..500).map(|i| std::format!("http://{i}")).collect();
    let config = Run::new(&[]).announcer.config.clone();
    let order = |seed| -> Vec<String> {
        let a = Announcer::new(config.clone(), core::slice::from_ref(&urls), seed);
        a.trackers().map(|t| t.url.to_owned()).collect()
    };
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
    assert_eq!(order(1).len(), MAX_TRACKERS);
}

proptest! {
    /// Any interleaving of answers, failures, completion, stop and restart keeps each tracker's story straight:
    /// nothing before started, one announce at a time, completed and stopped at most once, counters from started.
    #[test]
    fn every_tracker_sees_a_truthful_story(
        private: bool,
        steps in prop::collection::vec((0u8..9, 0usize..8, 0u64..100), 1..120),
    ) {
        #[derive(Default, Clone)]
        struct Seen { open: bool, accepted: bool, completed: bool, base: u64 }
        let mut run = Run::with(&[&["a", "b", "c"], &["d", "e"]], private);
        let mut seen = alloc::collections::BTreeMap::<String, Seen>::new();
        let mut open: Vec<Announce> = vec![];
        let mut running = true;
        for (what, which, secs) in steps {
            run.wait(secs);
            run.counters.uploaded += secs;
            match what {
                0..=2 if !open.is_empty() => {
                    let announce = open.remove(which % open.len());
                    if run.announcer.index_of(announce.id).is_some() {
                        let s = seen.get_mut(&announce.url).unwrap();
                        s.open = false;
                        s.accepted = announce.request.event != Stopped;
                        s.completed |= announce.request.event == Completed;
                        run.answer(&announce, 60);
                    }
                }
                3 | 4 if !open.is_empty() => {
                    let announce = open.remove(which % open.len());
                    if run.announcer.index_of(announce.id).is_some() {
                        let s = seen.get_mut(&announce.url).unwrap();
                        s.open = false;
                        s.accepted &= announce.request.event != Stopped;
                        run.fail(&announce);
                    }
                }
                5 if running && run.counters.left > 0 => {
                    run.counters.left = 0;
                    run.announcer.completed();
                }
                6 if which == 0 => { run.announcer.stop(); running = false; }
                8 => {
                    let all = [&["a", "b", "c"][..], &["d", "e"], &["f"]];
                    let kept: Vec<Vec<String>> = (0..3)
                        .filter(|tier| which & 1 << tier != 0)
                        .map(|tier| all[tier].iter().map(|&url| url.to_owned()).collect())
                        .collect();
                    run.announcer.set_tiers(run.now, &kept);
                }
                7 if !running => { run.announcer.start(run.now); running = true; seen.clear(); open.clear(); }
                _ => {}
            }
            for announce in run.pull() {
                let s = seen.entry(announce.url.clone()).or_default();
                let event = announce.request.event;
                // A stop may overtake a regular announce; all else waits for the answer.
                prop_assert!(!s.open || event == Stopped || event == Completed);
                prop_assert_eq!(s.accepted, event != Started);
                prop_assert!(running || event == Stopped || event == Completed);
                prop_assert!(event != Completed || (run.counters.left == 0 && !s.completed));
                if event == Started { s.base = run.counters.uploaded; s.completed = false; }
                prop_assert_eq!(announce.request.uploaded, run.counters.uploaded - s.base);
                s.open = true;
                open.push(announce);
            }
            let awaited = open.iter().filter(|a| a.request.event != Stopped);
            let awaited = awaited.filter(|a| run.announcer.index_of(a.id).is_some()).count();
            prop_assert!(!private || !running || awaited <= 1);
        }
        // Whatever happened, a stop comes to its end.
        run.announcer.stop();
        open.extend(run.pull());
        for _ in 0..3 {
            for announce in core::mem::take(&mut open) {
                let _ = run.announcer.on_failure(run.now, announce.id, "end", None);
            }
            open.extend(run.pull());
        }
        prop_assert!(run.announcer.is_stopped());
    }
}
