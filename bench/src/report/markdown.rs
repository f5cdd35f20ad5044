//! Tables of medians.

use super::json::{Group, Measured, PairSample, Report, Sample, Side};
use crate::clients::Client;
use crate::units::{self, KIB, MIB};
use std::fmt::Write;

/// What the figures do not tell, whatever was installed.
const NOT_MEASURED: &str = "Not measured: web seeds, finding peers, other networks than loopback. \
A program's start is in no figure of a transfer; in check and create it is, but for Python's. \
What two clients spend on each other is measured in the tables that say so, and neither uTP nor encryption in the others.";

/// The whole page.
pub(crate) fn page(report: &Report) -> String {
    let mut page = String::from("# Measured\n\n");
    line(&mut page, &format!("{} Every transfer was verified.", context(report)));
    page.push('\n');
    for (group, what) in [
        (Group::Main, "CPU seconds a GiB · MiB/s · peak anonymous MiB"),
        (
            Group::Variants,
            "The same work on other shapes of data: CPU seconds a GiB · MiB/s · peak anonymous MiB",
        ),
    ] {
        let rows: Vec<&Measured> = report.group(group).collect();
        if !rows.is_empty() {
            line(&mut page, &format!("{what}; medians, the least CPU in bold.\n"));
            page.push_str(&table(report, &rows, cell));
            page.push('\n');
        }
    }
    for many in report.group(Group::Many) {
        page.push_str(&many_table(many));
        page.push('\n');
    }
    for measured in report.group(Group::Pairs) {
        page.push_str(&pair_table(measured));
        page.push('\n');
    }
    let payloads = report.scenarios.iter().filter(|s| !s.is_empty());
    line(&mut page, "| scenario | what moves | samples |\n| --- | --- | --: |");
    for measured in payloads {
        let alone = measured.samples.values().map(Vec::len);
        let together = measured.pairs.iter().map(|paired| paired.samples.len());
        let samples = alone.chain(together).max().unwrap_or(0);
        line(&mut page, &format!("| {} | {} | {samples} |", measured.title, measured.payload));
    }
    page.push('\n');
    for why in &report.left_out {
        line(&mut page, &format!("Left out: {why}.\n"));
    }
    line(&mut page, NOT_MEASURED);
    page
}

/// Where, when and with what, in a sentence or two.
pub(crate) fn context(report: &Report) -> String {
    let machine = &report.machine;
    let programs: Vec<String> = report
        .programs
        .iter()
        .map(|(client, version)| format!("{} {version}", client.name()))
        .collect();
    format!(
        "{}, {} × {} ({}), {} GiB, {}, {}: {}.",
        report.date.split('T').next().unwrap_or_default(),
        machine.cpus,
        machine.cpu,
        machine.features.join(", "),
        machine.memory_gib,
        machine.system,
        report.network,
        programs.join(", ")
    )
}

/// One row a scenario, one column a client that has anything in any of them, and samara beside libtorrent.
pub(crate) fn table(
    report: &Report,
    rows: &[&Measured],
    cell: impl Fn(&Measured, Client) -> Option<String>,
) -> String {
    let clients: Vec<Client> = report
        .programs
        .keys()
        .copied()
        .filter(|client| rows.iter().any(|row| row.samples.contains_key(client)))
        .collect();
    let compared = clients.contains(&Client::Libtorrent) && clients.contains(&Client::Samara);
    let mut table = String::from("| |");
    for client in &clients {
        let _ = write!(table, " {} |", client.name());
    }
    if compared {
        table.push_str(" CPU: samara / libtorrent | rate: samara / libtorrent |");
    }
    table.push_str("\n| --- |");
    table.push_str(&" --- |".repeat(clients.len()));
    table.push_str(if compared { " --: | --: |\n" } else { "\n" });
    for row in rows {
        let _ = write!(table, "| {} |", row.title);
        for client in &clients {
            let text = cell(row, *client).unwrap_or_else(|| "–".to_owned());
            let bold = *client == thriftiest(row);
            let _ = if bold { write!(table, " **{text}** |") } else { write!(table, " {text} |") };
        }
        if compared {
            for figure in [Sample::cpu_per_gib, Sample::mib_per_s] {
                let ratio =
                    ratio(row, figure).map_or_else(|| "–".to_owned(), |r| format!("{r:.2}"));
                let _ = write!(table, " {ratio} |");
            }
        }
        table.push('\n');
    }
    table
}

/// samara's median over libtorrent's.
fn ratio(row: &Measured, figure: fn(&Sample) -> f64) -> Option<f64> {
    Some(row.median(Client::Samara, figure)? / row.median(Client::Libtorrent, figure)?)
}

/// Who spent the least CPU.
fn thriftiest(row: &Measured) -> Client {
    let spent = |client: &Client| row.median(*client, Sample::cpu_per_gib).unwrap_or(f64::INFINITY);
    let least = row.samples.keys().min_by(|a, b| spent(a).total_cmp(&spent(b)));
    least.copied().unwrap_or(Client::Samara)
}

fn cell(row: &Measured, client: Client) -> Option<String> {
    let memory = row.median(client, |s| units::in_units_of(MIB, s.peak_anon_bytes))?;
    Some(format!("{} · {memory:.0}", cpu_and_rate(row, client)?))
}

/// `0.39 · 2616`.
pub(crate) fn cpu_and_rate(row: &Measured, client: Client) -> Option<String> {
    let cpu = row.median(client, Sample::cpu_per_gib)?;
    let rate = row.median(client, Sample::mib_per_s)?;
    Some(format!("{cpu:.2} · {rate:.0}"))
}

fn many_table(many: &Measured) -> String {
    let mut table = format!(
        "| {} | s until all seed | CPU s until then | anonymous KiB each | idle CPU |\n\
         | --- | --: | --: | --: | --: |\n",
        many.title
    );
    for client in many.samples.keys() {
        let median = |figure: fn(&Sample) -> f64| many.median(*client, figure).unwrap_or(f64::NAN);
        let _ = writeln!(
            table,
            "| {} | {:.2} | {:.2} | {:.1} | {:.2} % |",
            client.name(),
            median(|s| s.seconds),
            median(|s| s.cpu_user_s + s.cpu_system_s),
            median(|s| {
                let torrents = s.many.as_ref().map_or(1, |many| many.torrents);
                units::in_units_of(KIB, s.peak_anon_bytes) / f64::from(torrents)
            }),
            median(|s| s.many.as_ref().map_or(0.0, |many| many.idle_cpu) * 100.0)
        );
    }
    table
}

/// One row a pair. `→` points to who downloads.
fn pair_table(measured: &Measured) -> String {
    let mut table = format!(
        "| {} | MiB/s | CPU s/GiB, seed | CPU s/GiB, leech | anonymous MiB, seed | leech |\n\
         | --- | --: | --: | --: | --: | --: |\n",
        measured.title
    );
    for paired in &measured.pairs {
        let cpu = |side: fn(&PairSample) -> Side| paired.median(|s| s.cpu_per_gib(side));
        let anon = |side: fn(&PairSample) -> Side| {
            paired.median(|s| units::in_units_of(MIB, side(s).peak_anon_bytes))
        };
        let _ = writeln!(
            table,
            "| {} | {:.0} | {:.2} | {:.2} | {:.0} | {:.0} |",
            paired.pair.name(),
            paired.median(PairSample::mib_per_s),
            cpu(|s| s.seed),
            cpu(|s| s.leech),
            anon(|s| s.seed),
            anon(|s| s.leech),
        );
    }
    table
}

fn line(page: &mut String, text: &str) {
    page.push_str(text);
    page.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::json::tests::example;
    use super::*;

    #[test]
    fn the_page_says_what_was_measured_and_what_not() {
        let page = page(&example());
        let row = "| download, 1 | **0.50 · 2048 · 8** | 2.00 · 512 · 8 | 0.25 | 4.00 |";
        assert!(page.contains(row), "{page}");
        assert!(page.contains("| samara | 0.50 | 0.25 | 4.0 | 0.10 % |"), "{page}");
        assert!(page.contains("| libtorrent → samara | 256 | 8.00 | 4.00 | 4 | 4 |"), "{page}");
        assert!(page.contains("| create, v2 | **0.20 · 5120 · 8** | – | – | – |"), "{page}");
        assert!(page.contains("Left out: rqbit: not there.") && page.contains(NOT_MEASURED));
        assert!(page.contains("2026-01-02, 2 × Test & Sons <CPU> (avx2), 4 GiB, Linux 6.1"));
    }
}
