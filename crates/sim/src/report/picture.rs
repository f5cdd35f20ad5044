//! A run as a picture: who has everything, and how many copies there are of the rarest and the commonest piece, over time.
//!
//! No script and no font of its own; the colours follow the reader's light or dark mode.

use super::text::seconds;
use crate::scenario::Plan;
use crate::swarm::{Figures, Sample};
use std::fmt::Write;

const WIDTH: f64 = 820.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 48.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 40.0;

const STYLE: &str = "\
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-size: 17px; font-weight: 600 }
.note { font-size: 10.5px; fill: #57606a }
.axis { stroke: #a8b1bb; stroke-width: 1 }
.bound { stroke: #57606a; stroke-width: 1; stroke-dasharray: 4 3 }
path { fill: none; stroke-width: 2 }
.complete { stroke: #cf4a1e }
.rarest { stroke: #1f6feb }
.mean { stroke: #8250df }
.commonest { stroke: #a8b1bb }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .note { fill: #9198a1 }
  .axis, .commonest { stroke: #59636e }
  .bound { stroke: #9198a1 }
  .complete { stroke: #f0764a }
  .rarest { stroke: #58a6ff }
  .mean { stroke: #bc8cff }
}";

/// How high a line is at a sample.
type Height<'a> = Box<dyn Fn(&Sample) -> f64 + 'a>;

/// The picture, as SVG.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "places on a picture")]
pub fn picture(plan: &Plan, figures: &Figures) -> String {
    let leeches = figures.leeches.max(1) as f64;
    let end = figures.last.max(1) as f64;
    let pieces = plan.total_len.div_ceil(u64::from(plan.piece_len)) as f64;
    let place = |at: u64, share: f64| {
        let x = LEFT + at as f64 / end * (WIDTH - LEFT - RIGHT);
        (x, HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM))
    };
    let mut body = String::new();
    let lines: [(&str, &str, Height<'_>); 4] = [
        ("commonest", "commonest piece", Box::new(|s| f64::from(s.commonest))),
        ("mean", "mean piece", Box::new(|s| s.copies as f64 / pieces)),
        ("rarest", "rarest piece", Box::new(|s| f64::from(s.rarest))),
        ("complete", "have everything", Box::new(|s| f64::from(s.complete))),
    ];
    for (number, (class, name, value)) in (0u8..).zip(&lines) {
        let mut path = String::new();
        for sample in figures.samples.iter().filter(|s| s.at <= figures.last) {
            let (x, y) = place(sample.at, value(sample) / leeches);
            let _ = write!(path, "{}{x:.1} {y:.1}", if path.is_empty() { "M" } else { "L" });
        }
        // The samples end before the last one is done.
        let (x, y) = place(figures.last, figures.finished as f64 / leeches);
        let _ = write!(path, "L{x:.1} {y:.1}");
        let _ = writeln!(body, "<path class=\"{class}\" d=\"{path}\"/>");
        let y = TOP + 14.0 + 20.0 * f64::from(number);
        let x = WIDTH - RIGHT + 16.0;
        let _ = writeln!(body, "<path class=\"{class}\" d=\"M{x} {y}h18\"/>");
        let _ = writeln!(body, "<text x=\"{}\" y=\"{}\">{name}</text>", x + 24.0, y + 4.0);
    }
    axes(&mut body, figures, place(0, 0.0), place(figures.last, 1.0));
    if let Some(bound) = figures.bound {
        let (x, y) = place(bound.micros(), 0.0);
        let top = place(0, 1.0).1;
        let _ = writeln!(body, "<path class=\"bound\" d=\"M{x:.1} {y:.1}V{top:.1}\"/>");
        let words = format!("least possible, {}", seconds(bound.micros()));
        let _ = writeln!(
            body,
            "<text class=\"note\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"end\">{words}</text>",
            top - 4.0
        );
    }
    let title = format!(
        "{}: {} leeches, {} MiB",
        plan.scenario.name(),
        figures.leeches,
        plan.total_len >> 20
    );
    let note = format!("how many have it, over time; {}", plan.command());
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\" \
         aria-label=\"{title}\">\n<style>\n{STYLE}\n</style>\n<text x=\"16\" y=\"26\" class=\"title\">{title}</text>\n\
         <text x=\"16\" y=\"42\" class=\"note\">{note}</text>\n{body}</svg>\n"
    )
}

fn axes(body: &mut String, figures: &Figures, origin: (f64, f64), corner: (f64, f64)) {
    let ((x0, y0), (x1, y1)) = (origin, corner);
    let _ = writeln!(body, "<path class=\"axis\" d=\"M{x0:.1} {y1:.1}V{y0:.1}H{x1:.1}\"/>");
    let mut label = |x: f64, y: f64, anchor: &str, words: &str| {
        let _ = writeln!(
            body,
            "<text class=\"note\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"
        );
    };
    label(x0 - 6.0, y1 + 4.0, "end", &figures.leeches.to_string());
    label(x0 - 6.0, y0 + 4.0, "end", "0");
    label(x0, y0 + 18.0, "start", "0 s");
    label(x1, y0 + 18.0, "end", &seconds(figures.last));
}
