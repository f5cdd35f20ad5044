//! Hours of the week, such as `mon-fri 08:00-18:00`.

use samara_engine::{Days, Schedule};
use std::fmt;

const DAYS: [&str; 7] =
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// From one time of the day to another, on some days; as typed, and what it means.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Hours {
    text: String,
    schedule: Schedule,
}

impl Hours {
    /// The same, and `None` for `never`.
    ///
    /// # Errors
    /// A sentence for the user.
    pub(crate) fn option(text: &str) -> Result<Option<Self>, String> {
        if text.trim().eq_ignore_ascii_case("never") {
            Ok(None)
        } else {
            Self::parse(text).map(Some)
        }
    }

    /// Reads days, as single ones and ranges with commas between them, and times; without days it is every day. If it ends
    /// no later than it begins, it ends on the next day.
    ///
    /// # Errors
    /// A sentence for the user.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no schedule; write for example mon-fri 08:00-18:00");
        let words: Vec<&str> = text.split_whitespace().collect();
        let (days, times) = match words[..] {
            [times] => (Days::ALL, times),
            [days, times] => (parse_days(days).ok_or_else(wrong)?, times),
            _ => return Err(wrong()),
        };
        let (from, until) = times.split_once('-').ok_or_else(wrong)?;
        let (from, until) = parse_time(from).zip(parse_time(until)).ok_or_else(wrong)?;
        let schedule = Schedule::new(days, from, until).map_err(|_| wrong())?;
        Ok(Self { text: words.join(" "), schedule })
    }

    pub(crate) const fn schedule(&self) -> Schedule {
        self.schedule
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `mon-fri,sun`. A range may go over the end of the week.
fn parse_days(text: &str) -> Option<Days> {
    let mut days = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (parse_day(first)?, parse_day(last)?);
        let count = (last + 7 - first) % 7;
        days.extend((0..=count).map(|after| (first + after) % 7));
    }
    Some(Days::new(&days))
}

/// At least three letters of a name.
fn parse_day(text: &str) -> Option<u8> {
    let text = text.to_ascii_lowercase();
    let mut numbered = (0..).zip(DAYS);
    let found = numbered.find(|(_, day)| text.len() >= 3 && day.starts_with(&text));
    found.map(|(number, _)| number)
}

/// Minutes of the day.
fn parse_time(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let two_digits = |part: &str| match part.len() {
        1 | 2 => part.parse::<u8>().ok(),
        _ => None,
    };
    let (hour, minute) = (two_digits(hour)?, two_digits(minute)?);
    (hour < 24 && minute < 60).then(|| u16::from(hour) * 60 + u16::from(minute))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str, day: u8, hour: u16) -> bool {
        Hours::parse(text).unwrap().schedule().holds(day, hour * 60)
    }

    #[test]
    fn schedules_mean_what_they_say() {
        assert!(holds("mon-fri 08:00-18:00", 4, 17) && !holds("mon-fri 08:00-18:00", 5, 17));
        assert!(!holds("mon-fri 08:00-18:00", 0, 18) && !holds("mon-fri 08:00-18:00", 0, 7));
        assert!(holds("8:00-18:00", 6, 12));
        assert!(
            holds("sat-mon,Wednesday 0:00-23:59", 6, 1)
                && holds("sat-mon,Wednesday 0:00-23:59", 2, 1)
        );
        assert!(!holds("sat-mon,Wednesday 0:00-23:59", 1, 1));
        // Over midnight.
        assert!(holds("fri 22:00-06:00", 5, 5) && !holds("fri 22:00-06:00", 4, 5));
        assert_eq!(Hours::parse(" fri  22:00-06:00").unwrap().to_string(), "fri 22:00-06:00");
        assert_eq!(Hours::option("never"), Ok(None));
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for text in [
            "",
            "mon",
            "mon-fri",
            "8-18",
            "24:00-01:00",
            "08:60-09:00",
            "xyz 8:00-9:00",
            "mon 8:00-9:00 x",
            "mon 8:00",
            "-8:00-9:00",
            "mon- 8:00-9:00",
        ] {
            assert!(Hours::parse(text).unwrap_err().contains("is no schedule"), "{text}");
        }
    }
}
