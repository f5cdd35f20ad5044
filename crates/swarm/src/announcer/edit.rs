//! Changing the trackers of a torrent that runs, and asking them out of turn.
//!
//! A tracker that stays keeps what is known of it. One that goes is told `stopped` if it had accepted `started`, like
//! all others at the end; until that is through it stands behind those in use, and is counted nowhere.

use super::tracker::Tracker;
use super::{Announcer, MAX_TRACKERS, Phase};
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use samara_wire::time::Instant;

/// Trackers that may be on their way out; of more, the first are let go without a word.
const MAX_LEAVING: usize = MAX_TRACKERS;

impl Announcer {
    /// From now on these are the trackers. Empty tiers and what appears twice do not count, nor does what is beyond
    /// [`MAX_TRACKERS`].
    pub fn set_tiers(&mut self, now: Instant, tiers: &[Vec<String>]) {
        let mut old = core::mem::take(&mut self.trackers);
        let mut seen = BTreeSet::new();
        for (number, tier) in tiers.iter().filter(|tier| !tier.is_empty()).enumerate() {
            let mut urls: Vec<_> = tier.iter().filter(|url| seen.insert(*url)).collect();
            self.rng.shuffle(&mut urls);
            urls.truncate(MAX_TRACKERS - self.trackers.len());
            let start = self.trackers.len();
            for url in urls {
                let known = old.iter().position(|tracker| tracker.url == *url);
                let mut tracker = match known {
                    Some(index) => old.remove(index),
                    None => Tracker::new(url.clone(), number),
                };
                match known {
                    Some(_) => tracker.stay(now, number),
                    None => tracker.reset(now),
                }
                self.trackers.push(tracker);
            }
            self.trackers[start..].sort_by_key(|tracker| !tracker.works());
        }
        for tracker in &mut old {
            tracker.leave();
        }
        old.retain(|tracker| !tracker.is_through());
        let excess = old.len().saturating_sub(MAX_LEAVING);
        self.trackers.extend(old.into_iter().skip(excess));
        self.next = self.plan();
    }

    /// Asks the trackers now for more peers, or as soon after their last answer as they allow. Those that told us
    /// never to come again are left alone.
    pub fn announce_now(&mut self, now: Instant) {
        if self.phase == Phase::Running {
            for tracker in &mut self.trackers {
                tracker.hurry(now);
            }
            self.next = self.plan();
        }
    }

    /// We are at another address than before: trackers know us by one where nobody is. Those in use are asked now, whatever they
    /// said of when to come again; what is under way is awaited no more, for its answer would go to the old address.
    pub fn moved(&mut self, now: Instant) {
        if self.phase == Phase::Running {
            for tracker in self.trackers.iter_mut().filter(|tracker| !tracker.leaving) {
                tracker.on_moved(now);
            }
            self.next = self.plan();
        }
    }

    /// Those in use, without those on their way out.
    pub(super) fn used(&self) -> &[Tracker] {
        &self.trackers[..self.trackers.partition_point(|tracker| !tracker.leaving)]
    }
}
