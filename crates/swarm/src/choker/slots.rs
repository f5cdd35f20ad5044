//! How many peers to upload to at once.
//!
//! Few slots give each a useful rate, which is what makes tit-for-tat work; too few leave a fast link idle. So
//! the number follows the measured upload, between the configured bounds, in two ways:
//!
//! - There is a slot for every 256 KiB/s of measured upload: a piece is soon whole and can be passed on, and a fast link serves a crowd
//!   within a second or two.
//! - If all slots are taken, more peers wait and the upload does not rise by itself, a quarter more are tried. They stay if the
//!   upload rises by half of what they could bring, and the next quarter is tried when it has settled; otherwise the link (or the
//!   disk) was full already, and they are taken back. That finds the room where each peer is slow. (A rate that still rises, as
//!   it does when a transfer begins, would prove anything: so a full link was cut ever thinner.)
//!
//! When the upload has fallen to less than half, a quarter of the slots goes each round until the rate bears them.

use super::ChokerConfig;
use samara_wire::time::{Duration, Instant};

/// Bytes per second that justify a slot.
const RATE_PER_SLOT: u64 = 256 * 1024;
/// As long as the rate is smoothed: by then it shows what the new slots brought.
const TRIAL: Duration = Duration::from_secs(6);
/// An upload that rises by less than an eighth in this time has settled.
const SETTLED: Duration = Duration::from_secs(3);
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// The number of upload slots.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    config: ChokerConfig,
    count: usize,
    trial: Option<Trial>,
    next_trial: Instant,
    /// The upload when it was last looked at, to tell whether it rises by itself.
    seen: (Instant, u64),
    /// The best upload since it last fell to less than half.
    best: u64,
    /// The upload has fallen, and with it the slots until the rate bears them.
    shrinking: bool,
}

#[derive(Clone, Copy, Debug)]
struct Trial {
    added: usize,
    /// Upload that proves the added slots useful, in bytes per second.
    wanted: u64,
    /// Upload if they are as useful as the others, which the next trial starts from: the measured one lags behind.
    expected: u64,
    until: Instant,
}

impl Slots {
    pub(super) fn new(config: ChokerConfig) -> Self {
        let min_slots = config.min_slots.max(2);
        let config = ChokerConfig { min_slots, max_slots: config.max_slots.max(min_slots) };
        Self {
            config,
            count: min_slots,
            trial: None,
            next_trial: Instant::ZERO,
            seen: (Instant::ZERO, 0),
            best: 0,
            shrinking: false,
        }
    }

    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// Adapts the number to `up_rate` (bytes per second), `unchoked` peers being served and `waiting` not.
    pub(super) fn update(
        &mut self,
        now: Instant,
        ranking: bool,
        up_rate: u64,
        unchoked: usize,
        waiting: usize,
    ) {
        let by_rate = usize::try_from(up_rate / RATE_PER_SLOT).unwrap_or(usize::MAX);
        if ranking && up_rate < self.best / 2 {
            (self.trial, self.best, self.shrinking) = (None, up_rate, true);
        }
        self.best = self.best.max(up_rate);
        let settled = self.settles(now, up_rate);
        let enough = by_rate.max(self.config.min_slots);
        if self.shrinking && ranking && self.count > enough {
            self.count = (self.count - self.count.div_ceil(4)).max(enough);
        }
        self.shrinking &= self.count > enough;
        if self.shrinking || waiting == 0 || unchoked < self.count {
            return;
        }
        let room = self.config.max_slots.saturating_sub(self.count).min(waiting);
        if by_rate > self.count {
            self.count += room.min(by_rate - self.count);
            self.trial = None;
            return;
        }
        match self.trial {
            Some(trial) if up_rate >= trial.wanted => {
                self.start_trial(now, trial.expected.max(up_rate), room);
            }
            Some(trial) if now >= trial.until => {
                self.count = (self.count - trial.added).max(self.config.min_slots);
                self.trial = None;
                self.next_trial = now + AFTER_FAILURE;
            }
            Some(_) => {}
            None if settled && up_rate > 0 && now >= self.next_trial => {
                self.start_trial(now, up_rate, room);
            }
            None => {}
        }
    }

    /// Whether the upload has hardly risen for a while. True once each such time at most.
    fn settles(&mut self, now: Instant, up_rate: u64) -> bool {
        let (since, before) = self.seen;
        if now - since < SETTLED {
            return false;
        }
        self.seen = (now, up_rate);
        since > Instant::ZERO && up_rate <= before + before / 8
    }

    fn start_trial(&mut self, now: Instant, up_rate: u64, room: usize) {
        let added = (self.count / 4).max(1).min(room);
        self.trial = (added > 0).then(|| {
            let share = up_rate / (self.count as u64);
            let gain = share * (added as u64);
            let (wanted, expected) = (up_rate + gain / 2 + 1, up_rate + gain);
            Trial { added, wanted, expected, until: now + TRIAL }
        });
        self.count += added;
    }
}
