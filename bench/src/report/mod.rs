//! What was measured, for machines and for people.
//!
//! | module | does |
//! | --- | --- |
//! | [`json`] | every sample, and where and with what it was taken |
//! | [`markdown`] | tables of medians |
//! | [`svg`] | a picture of the main table |
//! | [`readme`] | the marked region of README.md |

pub(crate) mod json;
pub(crate) mod markdown;
pub(crate) mod readme;
pub(crate) mod svg;

use anyhow::{Context, Result};
use json::Report;
use std::path::Path;

/// Writes report.json, report.md and report.svg.
pub(crate) fn write(report: &Report, directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    let json = serde_json::to_string_pretty(report)? + "\n";
    let markdown = markdown::page(report);
    for (name, text) in
        [("report.json", json), ("report.md", markdown), ("report.svg", svg::picture(report))]
    {
        let path = directory.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
