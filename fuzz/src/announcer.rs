//! The announcer under any trackers: whom it asks, how often, and what it says in which order (BEP 3, 12, 27, 31).

use crate::Script;
use samara_swarm::announcer::{Announcer, AnnouncerConfig, Counters, MAX_TRACKERS};
use samara_swarm::outbox::{Announce, AnnounceId};
use samara_wire::id::{PeerId, WireHash};
use samara_wire::time::{Duration, Instant};
use samara_wire::tracker::http::Retry;
use samara_wire::tracker::{AnnounceEvent, AnnounceResponse};
use std::collections::{BTreeMap, BTreeSet};

/// Between two regular announces to a tracker that answered, at least.
const SHORTEST: Duration = Duration::from_secs(15);

struct World {
    announcer: Announcer,
    now: Instant,
    private: bool,
    counters: Counters,
    pending: Vec<Announce>,
    running: bool,
    /// Since the last start: who took `started`, and when who answered last.
    started: BTreeSet<String>,
    answered: BTreeMap<String, Instant>,
}

/// Reads `input` as answers, failures, changes of trackers and time.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let private = script.byte() & 3 == 0;
    let config = AnnouncerConfig {
        info_hash: WireHash([9; 20]),
        peer_id: PeerId([1; 20]),
        port: 6881,
        key: 5,
        private,
    };
    let tiers = tiers(&mut script);
    let mut world = World {
        announcer: Announcer::new(config, &tiers, 3),
        now: Instant::from_secs(1000),
        private,
        counters: Counters { left: 1000, peers_wanted: 50, ..Counters::default() },
        pending: Vec::new(),
        running: false,
        started: BTreeSet::new(),
        answered: BTreeMap::new(),
    };
    for _ in 0..400 {
        if script.is_done() {
            break;
        }
        world.step(&mut script);
        world.pull();
    }
    world.stop();
}

fn tiers(script: &mut Script<'_>) -> Vec<Vec<String>> {
    let tier = |script: &mut Script<'_>| {
        (0..script.below(4)).map(|_| format!("http://{}/announce", script.byte() & 7)).collect()
    };
    (0..script.below(4)).map(|_| tier(script)).collect()
}

impl World {
    fn step(&mut self, script: &mut Script<'_>) {
        match script.below(16) {
            0 => {
                self.announcer.start(self.now);
                if !std::mem::replace(&mut self.running, true) {
                    self.started.clear();
                    self.answered.clear();
                }
            }
            1 => {
                self.announcer.stop();
                self.running = false;
            }
            2 => {
                self.counters.left = 0;
                self.announcer.completed();
            }
            3 => self.announcer.set_hungry(script.flag()),
            4 => {
                let tiers = tiers(script);
                self.announcer.set_tiers(self.now, &tiers);
                let known: usize = tiers.iter().map(Vec::len).sum();
                assert!(self.announcer.trackers().count() <= known.min(MAX_TRACKERS));
            }
            5 => {
                self.announcer.announce_now(self.now);
                // Out of turn, as far as the tracker allows.
                self.answered.clear();
            }
            6 if script.flag() => {
                self.announcer.moved(self.now);
                self.answered.clear();
            }
            6 => {
                self.counters.downloaded += u64::from(script.byte());
                self.counters.uploaded += u64::from(script.byte());
            }
            7 => self.now += Duration::from_secs(script.short().into()),
            8 | 9 => {
                if let Some(at) = self.announcer.next_timeout() {
                    self.now = self.now.max(at);
                }
            }
            10 | 11 => self.fail(script),
            _ => self.answer(script),
        }
    }

    fn some_pending(&mut self, script: &mut Script<'_>) -> Option<Announce> {
        (!self.pending.is_empty()).then(|| {
            let at = script.below(self.pending.len());
            self.pending.swap_remove(at)
        })
    }

    fn answer(&mut self, script: &mut Script<'_>) {
        let Some(announce) = self.some_pending(script) else { return };
        let response = AnnounceResponse {
            interval: Duration::from_secs(script.short().into()),
            min_interval: script.flag().then(|| Duration::from_secs(script.short().into())),
            complete: script.flag().then(|| script.byte().into()),
            tracker_id: script.flag().then(|| "id".to_owned()),
            warning: script.flag().then(|| "x".repeat(2000)),
            ..AnnounceResponse::default()
        };
        let heard = self.announcer.on_response(self.now, announce.id, &response).is_some();
        assert!(self.announcer.awaited_event(announce.id).is_none(), "awaited still");
        if heard {
            if announce.request.event == AnnounceEvent::Started {
                self.started.insert(announce.url.clone());
            }
            self.answered.insert(announce.url, self.now);
        }
        assert!(self.announcer.trackers().all(|t| t.warning.is_none_or(|text| text.len() <= 500)));
    }

    fn fail(&mut self, script: &mut Script<'_>) {
        let Some(announce) = self.some_pending(script) else { return };
        let retry = match script.below(3) {
            0 => Some(Retry::Never),
            1 => Some(Retry::After(Duration::from_secs(script.short().into()))),
            _ => None,
        };
        self.announcer.on_failure(self.now, announce.id, "no answer", retry);
        self.answered.remove(&announce.url);
        // Nobody is awaited twice.
        assert!(self.announcer.on_failure(self.now, announce.id, "", None).is_none());
    }

    /// Takes all that is due. Then nothing is, until later.
    fn pull(&mut self) {
        let mut pulled = 0;
        while let Some(announce) = self.announcer.poll(self.now, &self.counters) {
            pulled += 1;
            assert!(pulled <= 3 * MAX_TRACKERS, "announces without end");
            self.check(&announce);
            self.pending.push(announce);
        }
        let next = self.announcer.next_timeout();
        assert!(next.is_none_or(|at| at > self.now), "due at once again");
    }

    fn check(&self, announce: &Announce) {
        let request = &announce.request;
        let awaited = |id: AnnounceId| self.announcer.awaited_event(id).is_some();
        assert!(self.pending.iter().all(|other| other.id != announce.id));
        assert!(request.uploaded <= self.counters.uploaded);
        assert!(request.downloaded <= self.counters.downloaded);
        let of_same = |other: &&Announce| other.url == announce.url && awaited(other.id);
        assert!(!self.pending.iter().any(|other| of_same(&other)), "asked twice at a time");
        match request.event {
            AnnounceEvent::Stopped => assert_eq!(request.num_want, 0),
            event => {
                // A download that was finished is told even if the stop came first.
                let late = event == AnnounceEvent::Completed;
                assert!(self.running || late, "{event:?} after the stop");
                let others = self.pending.iter().filter(|other| awaited(other.id));
                let regular = |other: &&Announce| other.request.event != AnnounceEvent::Stopped;
                // At the stop, whoever knows us is told what it is still to know and that we go, all at once.
                let alone = !others.clone().any(|other| regular(&other));
                assert!(!self.private || !self.running || alone, "one at a time");
                assert!(request.num_want <= 200);
            }
        }
        if request.event == AnnounceEvent::Periodic {
            let last = self.answered.get(&announce.url);
            let pause = last.map(|at| self.now.since(*at));
            assert!(pause.is_none_or(|pause| pause >= SHORTEST), "again after {pause:?}");
        }
        if request.event == AnnounceEvent::Completed {
            assert!(self.started.contains(&announce.url), "completed before it started");
        }
    }

    /// A stop is through when everybody has answered.
    fn stop(mut self) {
        self.announcer.start(self.now);
        self.running = true;
        self.pull();
        self.announcer.stop();
        self.running = false;
        self.pull();
        while let Some(announce) = self.pending.pop() {
            self.announcer.on_response(self.now, announce.id, &AnnounceResponse::default());
            self.started.insert(announce.url);
            self.pull();
        }
        assert!(self.announcer.is_stopped());
        assert!(self.announcer.next_timeout().is_none(), "a timer after the stop");
    }
}
