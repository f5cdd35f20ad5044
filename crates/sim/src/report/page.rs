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

/// The head of the table of runs over uTP.
#[must_use]
pub const fn packet_heading() -> &'static str {
    "| scenario | last | with flows | median | eta | overhead | lost | sent again | wait for the uplink | |\n\
     | --- | --: | --: | --: | --: | --: | --: | --: | --: | --- |"
}

/// A row of it. `flows`: the time of the last in the same swarm with flows, in microseconds.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
pub fn packet_row(row: &Row, flows: u64) -> String {
    let Row { plan, figures, .. } = row;
    let Some(packets) = figures.packets else { return String::new() };
    let lost = packets.lost + packets.dropped.0 + packets.dropped.1;
    let share = |part: u64| part as f64 * 100.0 / packets.sent.max(1) as f64;
    let (median, p95, _) = packets.up_wait;
    let mut notes = Vec::new();
    if figures.adversaries > 0 {
        notes.push(format!("{} adversaries", figures.adversaries));
    }
    if let Some(dht) = figures.dht {
        notes.push(format!("by the DHT: {} of {} addresses are nobody's", dht.phantoms, dht.told));
    }
    format!(
        "| {} | {} | {} | {} | {} | {:.1} % | {:.2} % | {:.2} % | {} ms, 95 % {} ms | {} |",
        plan.scenario.name(),
        seconds(figures.last),
        seconds(flows),
        seconds(figures.times.median),
        figures.eta().map_or("-".to_owned(), |eta| format!("{eta:.3}")),
        packets.overhead() * 100.0,
        share(lost),
        packets.resent_share() * 100.0,
        median / 1_000,
        p95 / 1_000,
        notes.join(", "),
    )
}
