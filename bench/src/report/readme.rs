//! README's performance table: a marked region that is written from a report, never by hand.

use super::json::{Group, Measured, Report};
use super::markdown::{context, cpu_and_rate, table};
use anyhow::{Context, Result};

const BEGIN: &str = "<!-- bench: begin -->\n";
const END: &str = "<!-- bench: end -->\n";

/// `readme` with the region between the marks written anew.
pub(crate) fn replace(readme: &str, report: &Report) -> Result<String> {
    let (before, rest) =
        readme.split_once(BEGIN).with_context(|| format!("no line `{}`", BEGIN.trim_end()))?;
    let (_, after) =
        rest.split_once(END).with_context(|| format!("no line `{}`", END.trim_end()))?;
    Ok(format!("{before}{BEGIN}{}{END}{after}", region(report)))
}

fn region(report: &Report) -> String {
    let rows: Vec<&Measured> = report.group(Group::Main).collect();
    format!("{}\n{}\n", table(report, &rows, cpu_and_rate), context(report))
}

#[cfg(test)]
mod tests {
    use super::super::json::tests::example;
    use super::*;
    use std::path::Path;

    #[test]
    fn only_the_region_changes() {
        let readme = format!("# a\n\n{BEGIN}old\n{END}\nend\n");
        let once = replace(&readme, &example()).unwrap();
        assert!(once.starts_with("# a\n\n<!-- bench: begin") && once.ends_with("\nend\n"));
        assert!(once.contains("| download, 1 | **0.50 · 2048** |") && !once.contains("old"));
        assert_eq!(replace(&once, &example()).unwrap(), once);
        assert!(replace("# a\n", &example()).is_err());
    }

    #[test]
    fn the_table_in_readme_is_that_of_the_committed_report() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let readme = std::fs::read_to_string(root.join("../README.md")).unwrap();
        let report = Report::read(&root.join("results/report.json")).unwrap();
        assert!(
            replace(&readme, &report).unwrap() == readme,
            "README's table is another: `samara-bench readme bench/results/report.json`"
        );
    }
}
