//! A run as a table for people.

use crate::scenario::Plan;
use crate::swarm::Figures;
use std::fmt::Write;

/// `71.2 s`, from microseconds.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a tenth of a second is shown")]
pub fn seconds(micros: u64) -> String {
    format!("{:.1} s", micros as f64 / 1e6)
}

/// A run, line by line. `clean`: when the last finished in the same swarm without adversaries, in microseconds.
#[must_use]
pub fn text(plan: &Plan, figures: &Figures, clean: Option<u64>) -> String {
    let mut out = head(plan, figures);
    let mut line = |name: &str, value: String, note: String| {
        let note = if note.is_empty() { String::new() } else { format!("  {note}") };
        let _ = writeln!(out, "{:<22}{value:>10}{note}", name);
    };
    let times = figures.times;
    line("last has everything", seconds(figures.last), String::new());
    let spread = format!("95 % {}, most {}", seconds(times.p95), seconds(times.most));
    line("median", seconds(times.median), spread);
    if let Some(bound) = figures.bound {
        line("least possible", seconds(bound.micros()), bound.reason().to_owned());
    }
    if let Some(eta) = figures.eta() {
        line("eta", format!("{eta:.3}"), String::new());
    }
    let whole = format!("{:.3} over the whole run", figures.uplink_use_whole);
    let trading = figures.uplink_use.map_or("-".to_owned(), |share| format!("{share:.3}"));
    line("uplink use", trading, format!("while all trade; {whole}"));
    if let Some(economy) = figures.seed_economy {
        let note = "copies sent by seeds until each piece has one elsewhere".to_owned();
        line("seed economy", format!("{economy:.3}"), note);
    }
    let corrupt = format!("corrupt {:.2} %", figures.corrupt * 100.0);
    line("waste", format!("{:.2} %", figures.waste * 100.0), corrupt);
    let (least, median, most) = figures.ratios;
    line("share ratio", format!("{median:.2}"), format!("median; {least:.2} to {most:.2}"));
    line("Jain's index", format!("{:.3}", figures.jain), String::new());
    if let Some(riders) = figures.riders {
        let share = format!("had {:.0} % when half were done", riders.share * 100.0);
        line("free-riders", format!("{:.1} x", riders.slowdown()), share);
    }
    if let Some(clean) = clean.filter(|clean| *clean > 0) {
        let note = format!("the time without adversaries, {}", seconds(clean));
        #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
        let ratio = figures.last as f64 / clean as f64;
        line("beside clean", format!("{ratio:.2} x"), note);
    }
    if figures.bans > 0 {
        line("bans", figures.bans.to_string(), "none of an honest peer".to_owned());
    }
    line("events", figures.events.to_string(), String::new());
    let _ = writeln!(out, "{:<22}{}", "digest", figures.digest);
    out
}

fn head(plan: &Plan, figures: &Figures) -> String {
    let Plan { scenario, seed, total_len, piece_len, .. } = plan;
    let adversaries = match figures.adversaries {
        0 => String::new(),
        n => format!(", {n} adversaries"),
    };
    let seeds =
        if figures.seeds == 1 { "1 seed".to_owned() } else { format!("{} seeds", figures.seeds) };
    format!(
        "{}: {} leeches, {seeds}{adversaries}; {} MiB in pieces of {} KiB; seed {seed}\n",
        scenario.name(),
        figures.leeches,
        total_len >> 20,
        piece_len >> 10,
    )
}
