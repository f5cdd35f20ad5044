//! When alternative limits hold: from one time of the day to another, on some days of the week.

/// Minutes of a day.
pub const MINUTES_A_DAY: u16 = 24 * 60;

/// Days of the week, from Monday.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Days(u8);

/// Hours in which alternative limits hold, by the clock on the wall.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Schedule {
    days: Days,
    from: u16,
    until: u16,
}

/// Why there is no such [`Schedule`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ScheduleError {
    /// A time that no day has.
    #[error("a day has 1440 minutes, so it has no minute {0}")]
    Minute(u16),
}

impl Days {
    /// Every day.
    pub const ALL: Self = Self(0b111_1111);

    /// Days by number: 0 is Monday, 6 Sunday; others are no days.
    #[must_use]
    pub fn new(days: &[u8]) -> Self {
        Self(days.iter().filter(|day| **day < 7).fold(0, |set, day| set | 1 << day))
    }

    /// Whether `day` is one of them.
    #[must_use]
    pub const fn contains(self, day: u8) -> bool {
        day < 7 && self.0 >> day & 1 == 1
    }
}

impl Schedule {
    /// From minute `from` of each of `days` up to minute `until`. If that is not later, it is one of the next day: from 22:00
    /// until 6:00 on Fridays ends on Saturday morning, and the same time twice is a whole day.
    ///
    /// # Errors
    /// If a day does not have such a minute.
    pub fn new(days: Days, from: u16, until: u16) -> Result<Self, ScheduleError> {
        match [from, until].into_iter().find(|minute| *minute >= MINUTES_A_DAY) {
            Some(minute) => Err(ScheduleError::Minute(minute)),
            None => Ok(Self { days, from, until }),
        }
    }

    /// Whether the alternative limits hold at this minute of this day (0 is Monday).
    #[must_use]
    pub const fn holds(&self, day: u8, minute: u16) -> bool {
        let yesterday = (day + 6) % 7;
        if self.from < self.until {
            return self.days.contains(day) && self.from <= minute && minute < self.until;
        }
        (self.days.contains(day) && self.from <= minute)
            || (self.days.contains(yesterday) && minute < self.until)
    }
}
