//! Runs as the rows of a table for docs/swarm.md.

use super::text::seconds;
use crate::scenario::Plan;
use crate::swarm::Figures;

/// One run.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was run.
    pub plan: Plan,
    /// What it came to.
    pub figures: Figures,
    /// The time of the last without adversaries, where there are any, in microseconds.
    pub clean: Option<u64>,
}

/// The head of the table.
#[must_use]
pub const fn heading() -> &'static str {
    "| scenario | leeches | last | median | bound | eta | uplink use | seed economy | waste | Jain | |\n\
     | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --- |"
}

/// A row of it.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
pub fn row(row: &Row) -> String {
    let Row { plan, figures, clean } = row;
    let or_none = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.3}"));
    let mut notes = Vec::new();
    if figures.adversaries > 0 {
        let kind = plan.adversary.map_or("adversaries", |kind| kind.name());
        notes.push(format!("{} {kind}", figures.adversaries));
    }
    if let Some(clean) = clean.filter(|clean| *clean > 0) {
        notes.push(format!("{:.2} x the clean time", figures.last as f64 / clean as f64));
    }
    if let Some(riders) = figures.riders {
        notes.push(format!("free-riders {:.1} x", riders.slowdown()));
    }
    format!(
        "| {} | {} | {} | {} | {} | {} | {} | {} | {:.2} % | {:.3} | {} |",
        plan.scenario.name(),
        figures.leeches,
        seconds(figures.last),
        seconds(figures.times.median),
        figures.bound.map_or("-".to_owned(), |bound| seconds(bound.micros())),
        or_none(figures.eta()),
        or_none(figures.uplink_use),
        or_none(figures.seed_economy),
        figures.waste * 100.0,
        figures.jain,
        notes.join(", "),
    )
}
