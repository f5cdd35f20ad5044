//! A picture of the main table: for each scenario a bar for each client, as long as the CPU time it takes for a GiB. Of two clients with
//! each other the bar has two parts: who seeds, and who downloads.
//!
//! No script and no font of its own; the colours follow the reader's light or dark mode.

use super::json::{Group, Measured, PairSample, Paired, Report, Sample};
use super::markdown::context;
use crate::clients::Client;
use std::fmt::Write;

const WIDTH: f64 = 820.0;
/// Where bars begin, and how long the longest is; behind it is room for its figures.
const LEFT: f64 = 90.0;
const LONGEST: f64 = 560.0;
const BAR: f64 = 13.0;
const STEP: f64 = 18.0;
/// The same for two clients with each other, whose names are longer.
const PAIR_LEFT: f64 = 165.0;
const PAIR_LONGEST: f64 = 420.0;

const STYLE: &str = "\
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-size: 17px; font-weight: 600 }
.head { font-size: 13px; font-weight: 600 }
.note { font-size: 10.5px; fill: #57606a }
.samara { fill: #cf4a1e }
.other { fill: #a8b1bb }
.seed { opacity: 0.6 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .note { fill: #9198a1 }
  .samara { fill: #f0764a }
  .other { fill: #59636e }
}";

/// The picture.
pub(crate) fn picture(report: &Report) -> String {
    let rows: Vec<&Measured> = report.group(Group::Main).collect();
    let most = rows
        .iter()
        .flat_map(|row| row.samples.keys().filter_map(|c| row.median(*c, Sample::cpu_per_gib)))
        .fold(0.01, f64::max);
    let mut body = String::new();
    let mut y = 64.0;
    for row in rows {
        text(&mut body, 16.0, y, "head", "start", &row.title);
        y += 8.0;
        for &client in row.samples.keys() {
            bar(&mut body, y, row, client, most);
            y += STEP;
        }
        y += 22.0;
    }
    for pairs in report.group(Group::Pairs) {
        let title = format!("{}, seed and leech", pairs.title);
        text(&mut body, 16.0, y, "head", "start", &title);
        y += 8.0;
        let most = pairs.pairs.iter().map(|pair| sum(spent(pair))).fold(0.01, f64::max);
        for paired in &pairs.pairs {
            pair_bar(&mut body, y, paired, most);
            y += STEP;
        }
        y += 22.0;
    }
    let height = y + 4.0;
    text(&mut body, 16.0, height - 12.0, "note", "start", &context(report));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\" \
         aria-label=\"CPU seconds a GiB\">\n<style>\n{STYLE}\n</style>\n\
         <text x=\"16\" y=\"28\" class=\"title\">CPU seconds for a GiB</text>\n\
         <text x=\"16\" y=\"44\" class=\"note\">shorter is better; behind each bar the rate</text>\n{body}</svg>\n"
    )
}

fn bar(body: &mut String, y: f64, row: &Measured, client: Client, most: f64) {
    let (Some(cpu), Some(rate)) =
        (row.median(client, Sample::cpu_per_gib), row.median(client, Sample::mib_per_s))
    else {
        return;
    };
    let class = if client == Client::Samara { "samara" } else { "other" };
    let length = (cpu / most * LONGEST).max(1.0);
    text(body, LEFT - 8.0, y + BAR - 2.0, "", "end", client.name());
    let _ = writeln!(
        body,
        "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\" rx=\"2\" class=\"{class}\"/>"
    );
    let figures = format!("{cpu:.2} s · {rate:.0} MiB/s");
    text(body, LEFT + length + 8.0, y + BAR - 2.0, "", "start", &figures);
}

/// CPU seconds a GiB of who seeds and of who downloads.
fn spent(paired: &Paired) -> [f64; 2] {
    [paired.median(|s| s.cpu_per_gib(|s| s.seed)), paired.median(|s| s.cpu_per_gib(|s| s.leech))]
}

const fn sum([seed, leech]: [f64; 2]) -> f64 {
    seed + leech
}

fn pair_bar(body: &mut String, y: f64, paired: &Paired, most: f64) {
    let pair = paired.pair;
    text(body, PAIR_LEFT - 8.0, y + BAR - 2.0, "", "end", &pair.name());
    let cpu = spent(paired);
    let mut x = PAIR_LEFT;
    for ((client, end), cpu) in [(pair.seed, " seed"), (pair.leech, "")].into_iter().zip(cpu) {
        let class = if client == Client::Samara { "samara" } else { "other" };
        let length = (cpu / most * PAIR_LONGEST).max(1.0);
        let _ = writeln!(
            body,
            "<rect x=\"{x:.1}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\" class=\"{class}{end}\"/>"
        );
        x += length;
    }
    let rate = paired.median(PairSample::mib_per_s);
    let figures = format!("{:.2} + {:.2} s · {rate:.0} MiB/s", cpu[0], cpu[1]);
    text(body, x + 8.0, y + BAR - 2.0, "", "start", &figures);
}

fn text(body: &mut String, x: f64, y: f64, class: &str, anchor: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(
        body,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{words}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::super::json::tests::example;
    use super::*;

    #[test]
    fn every_client_of_the_main_table_has_its_bar_and_text_is_escaped() {
        let picture = picture(&example());
        assert_eq!(picture.matches("class=\"samara\"").count(), 3);
        assert_eq!(picture.matches("class=\"other\"").count(), 1);
        assert_eq!(picture.matches("class=\"other seed\"").count(), 1);
        assert!(picture.contains("width=\"560.0\""), "the longest bar");
        assert!(picture.contains("Test &amp; Sons &lt;CPU&gt;") && !picture.contains("<CPU>"));
        assert!(!picture.contains("check, files"), "variants have no bar");
    }
}
