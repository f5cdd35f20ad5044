//! A plain line every few seconds, for logs and pipes.

use super::{Phase, Snapshot, details};
use crate::output::{clean, say};
use crate::units;
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(5);

/// Seeding is spoken of only once it has lasted: a download that ends here and now merely passes through.
const SETTLE: Duration = Duration::from_secs(1);

/// When each piece of work was last spoken of, and in what phase.
#[derive(Debug, Default)]
pub(super) struct Lines {
    last: Vec<(Instant, Phase)>,
}

impl Lines {
    /// Says a line about whatever is due: at the first sight of a phase, then every few seconds.
    pub(super) fn update(&mut self, now: Instant, snapshots: &[Snapshot]) {
        for (i, s) in snapshots.iter().enumerate() {
            let due = match self.last.get(i) {
                None => {
                    self.last.push((now, s.phase));
                    true
                }
                Some(&(_, phase)) if phase != s.phase && s.phase == Phase::Seeding => {
                    self.last[i] = (now.checked_sub(EVERY - SETTLE).unwrap_or(now), s.phase);
                    false
                }
                Some(&(when, phase)) => phase != s.phase || now - when >= EVERY,
            };
            if due {
                self.last[i] = (now, s.phase);
                say(format_args!("{}", line(s)));
            }
        }
    }
}

fn line(s: &Snapshot) -> String {
    let mut text = format!("{}: {}", clean(&s.name), s.phase.word());
    if s.total > 0 && s.phase != Phase::Seeding {
        text.push_str(&format!(
            " {} % ({} of {})",
            units::percent(s.done, s.total),
            units::size(s.done),
            units::size(s.total)
        ));
    }
    for part in details(s) {
        text.push_str(", ");
        text.push_str(&part);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_like_a_sentence() {
        let s = Snapshot::local("film.mkv", Phase::Checking, 50 << 20, 100 << 20);
        assert_eq!(line(&s), "film.mkv: checking 50 % (50 MiB of 100 MiB)");
    }
}
