//! Bars in a terminal.
//!
//! Up to three pieces of work have three lines each: name, bar, details; a handful of files get a line each below.
//! More pieces of work have one line each. Numbers change twice a second, so that they can be read.

use super::{Phase, Snapshot, details};
use crate::output::{Palette, clean, shorten};
use crate::units;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::{Duration, Instant};

/// Texts are renewed this often, bars as often as `update` is called.
const TEXT_EVERY: Duration = Duration::from_millis(500);
/// Pieces of work shown at length.
const LONG_FORM: usize = 3;
/// Files shown one by one.
const FILES_SHOWN: usize = 8;
const BAR_CHARS: &str = "━╸─";

/// The bars of all pieces of work.
pub(super) struct Bars {
    multi: MultiProgress,
    style: Palette,
    width: usize,
    items: Vec<Item>,
    text_at: Option<Instant>,
}

struct Item {
    phase: Phase,
    head: Option<ProgressBar>,
    bar: ProgressBar,
    details: Option<ProgressBar>,
    files: Vec<ProgressBar>,
}

impl Bars {
    /// No bars yet.
    pub(super) fn new(style: Palette) -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(12);
        let width = usize::from(console::Term::stderr().size().1);
        let multi = MultiProgress::with_draw_target(target);
        Self { multi, style, width, items: Vec::new(), text_at: None }
    }

    /// To write above the bars.
    pub(super) const fn multi(&self) -> &MultiProgress {
        &self.multi
    }

    /// Shows the present state.
    pub(super) fn update(&mut self, now: Instant, snapshots: &[Snapshot]) {
        let long = snapshots.len() <= LONG_FORM;
        while self.items.len() < snapshots.len() {
            let s = &snapshots[self.items.len()];
            let mut item = self.add(s, long);
            if s.phase == Phase::Seeding {
                item.strip(&self.multi);
            }
            self.items.push(item);
        }
        let text_due = self.text_at.is_none_or(|t| now - t >= TEXT_EVERY);
        if text_due {
            self.text_at = Some(now);
        }
        for (item, s) in self.items.iter_mut().zip(snapshots) {
            let turned = item.phase != s.phase;
            item.phase = s.phase;
            if turned && s.phase == Phase::Seeding {
                item.strip(&self.multi);
            }
            item.bar.set_length(s.total.max(1));
            item.bar.set_position(if s.total == 0 { 1 } else { s.done });
            if text_due || turned {
                item.describe(s, self.style, self.width);
            }
        }
    }

    /// Takes all bars off the screen.
    pub(super) fn clear(&self) {
        // The terminal may be gone, and with it what was to be cleared.
        let _ = self.multi.clear();
    }

    fn add(&self, s: &Snapshot, long: bool) -> Item {
        let text = |template: &str| {
            let bar = ProgressBar::new(1).with_style(style(template));
            self.multi.add(bar)
        };
        let colors = if self.style.is_on() { ".cyan/black.bright" } else { "" };
        let bar_width = if long { self.width.saturating_sub(40).clamp(10, 48) } else { 20 };
        let line = if long {
            format!("  {{prefix}} {{bar:{bar_width}{colors}}}  {{msg}}")
        } else {
            format!("{{prefix}} {{bar:{bar_width}{colors}}}  {{wide_msg}}")
        };
        let head = long.then(|| text("{wide_msg}"));
        let bar = self.multi.add(ProgressBar::new(s.total.max(1)).with_style(style(&line)));
        let details = long.then(|| text("  {wide_msg}"));
        let shown =
            if long && (2..=FILES_SHOWN).contains(&s.files.len()) { s.files.len() } else { 0 };
        let files = (0..shown).map(|_| text("  {wide_msg}")).collect();
        Item { phase: s.phase, head, bar, details, files }
    }
}

impl Item {
    /// Leaves name and details: a bar that is full for ever tells nothing.
    fn strip(&mut self, multi: &MultiProgress) {
        if self.head.is_none() {
            return;
        }
        self.bar.set_style(style("  {wide_msg}"));
        for line in self.details.take().into_iter().chain(self.files.drain(..)) {
            multi.remove(&line);
        }
    }

    fn describe(&self, s: &Snapshot, style: Palette, width: usize) {
        let percent = format!("{:>3} %", units::percent(s.done, s.total));
        let bytes = format!("{} of {}", units::size(s.done), units::size(s.total));
        let name = clean(&s.name);
        let parts = details(s);
        let Some(head) = &self.head else {
            let name_width = width.saturating_sub(60).clamp(12, 32);
            self.bar.set_prefix(format!("{:name_width$} {percent}", shorten(&name, name_width)));
            let word = (s.phase != Phase::Downloading).then(|| s.phase.word().to_owned());
            let message: Vec<String> = word.into_iter().chain(parts).collect();
            self.bar.set_message(message.join(" · "));
            return;
        };
        let word = s.phase.word();
        head.set_message(format!(
            "{}  {}",
            style.bold(shorten(&name, width.saturating_sub(16))),
            match s.phase {
                Phase::Failed => style.red(word).to_string(),
                Phase::Seeding => style.green(word).to_string(),
                _ => style.dim(word).to_string(),
            }
        ));
        let parts = parts.join(" · ");
        match &self.details {
            Some(details) => {
                self.bar.set_prefix(percent);
                self.bar.set_message(bytes);
                details.set_message(parts);
            }
            None => self.bar.set_message(parts),
        }
        for (line, (name, done, len)) in self.files.iter().zip(&s.files) {
            line.set_message(file_line(name, *done, *len, style, width));
        }
    }
}

fn file_line(name: &str, done: u64, len: u64, style: Palette, width: usize) -> String {
    let name = clean(name);
    let name_width = width.saturating_sub(24).clamp(16, 56);
    let mark = if done >= len { style.green("✓") } else { style.green(" ") };
    format!(
        "{mark} {:>3} %  {:name_width$}  {}",
        units::percent(done, len),
        shorten(&name, name_width),
        style.dim(units::size(len)),
    )
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the templates above are well formed")
        .progress_chars(BAR_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_and_layout_can_be_drawn() {
        for count in [1, LONG_FORM + 1] {
            let mut bars = Bars::new(Palette::new(true));
            bars.multi.set_draw_target(ProgressDrawTarget::hidden());
            for phase in [Phase::Checking, Phase::Downloading, Phase::Seeding, Phase::Failed] {
                let mut s = Snapshot::local("name\n", phase, 1, 2);
                s.files = vec![("a".into(), 1, 1), ("b\r".into(), 0, 0)];
                bars.update(Instant::now(), &vec![s; count]);
            }
            assert_eq!(bars.items.len(), count);
            assert!(bars.items.iter().all(|i| i.head.is_some() == (count <= LONG_FORM)));
            assert!(bars.items.iter().all(|i| i.details.is_none() && i.files.is_empty()));
        }
    }
}
