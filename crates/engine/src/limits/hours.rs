//! Limits that hold at some hours of the week in place of the usual ones.

use super::{RateLimits, SessionLimits, lock};
use jiff::Zoned;
use samara_swarm::limits::Schedule;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Limits of a session at the hours of a schedule, by the clock on the wall.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AlternativeLimits {
    /// What holds then, both ways.
    pub limits: RateLimits,
    /// When.
    pub schedule: Schedule,
}

/// What the user wants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) usual: RateLimits,
    pub(super) alternative: Option<AlternativeLimits>,
}

/// A minute of the week.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Minute {
    /// From Monday, which is 0.
    pub(super) day: u8,
    /// Of the day.
    pub(super) minute: u16,
}

impl Wanted {
    /// What is to hold in that minute.
    pub(super) fn at(&self, Minute { day, minute }: Minute) -> RateLimits {
        let alternative = self.alternative.filter(|other| other.schedule.holds(day, minute));
        alternative.map_or(self.usual, |other| other.limits)
    }
}

impl Minute {
    /// This minute, in the time zone of the system.
    pub(super) fn now() -> Self {
        Self::of(&Zoned::now())
    }

    fn of(time: &Zoned) -> Self {
        let day = time.weekday().to_monday_zero_offset().unsigned_abs();
        let minute =
            u16::from(time.hour().unsigned_abs()) * 60 + u16::from(time.minute().unsigned_abs());
        Self { day, minute }
    }
}

/// Looks at the clock for as long as the session runs, once a minute if there is a schedule.
pub(crate) async fn run(limits: Arc<SessionLimits>) {
    loop {
        let changed = limits.changed.notified();
        if lock(&limits.wanted).alternative.is_none() {
            changed.await;
            continue;
        }
        limits.change(Minute::now(), |_| ());
        let left = 60 - Zoned::now().second().unsigned_abs().min(59);
        tokio::select! {
            () = changed => {}
            () = sleep(Duration::from_secs(left.into())) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use samara_swarm::limits::Days;

    #[test]
    fn a_minute_of_the_week_is_the_one_on_the_wall() {
        let time: Zoned = "2026-11-22T23:59:59+01:00[+01:00]".parse().unwrap();
        assert_eq!(Minute::of(&time), Minute { day: 6, minute: 24 * 60 - 1 });
    }

    #[test]
    fn the_alternative_holds_at_its_hours_and_only_then() {
        let usual = RateLimits { down: None, up: Some(1000) };
        let limits = RateLimits { down: Some(5), up: Some(6) };
        let schedule = Schedule::new(Days::new(&[0]), 8 * 60, 18 * 60).unwrap();
        let alternative = Some(AlternativeLimits { limits, schedule });
        let wanted = Wanted { usual, alternative };
        assert_eq!(wanted.at(Minute { day: 0, minute: 480 }), limits);
        assert_eq!(wanted.at(Minute { day: 0, minute: 479 }), usual);
        assert_eq!(wanted.at(Minute { day: 1, minute: 480 }), usual);
        assert_eq!(
            Wanted { alternative: None, ..wanted }.at(Minute { day: 0, minute: 480 }),
            usual
        );
    }
}
