//! `samara info`: what is in a torrent.

use super::Context;
use crate::args::InfoArgs;
use crate::exit::{Exit, Failure};
use crate::output::tree::{self, Leaf};
use crate::output::{Output, clean};
use crate::source;
use crate::units;
use samara_engine::wire::id::InfoHashes;
use samara_engine::wire::metainfo::{FileEntry, Metainfo};
use serde_json::{Value, json};

/// Files listed unless all are asked for.
const FILES_SHOWN: usize = 20;
/// Trackers and the like listed unless all are asked for.
const URLS_SHOWN: usize = 8;

/// Shows the torrent.
pub(crate) fn run(args: &InfoArgs, context: &Context) -> Result<Exit, Failure> {
    let out = context.out;
    let metainfo = source::load(&args.source, &context.loaded.settings.egress(&[]))?;
    if out.json {
        out.object("info", as_json(&metainfo))?;
    } else {
        out.line(text(&metainfo, args.all, out))?;
    }
    Ok(Exit::Done)
}

/// `v1`, `v2` or `hybrid (v1 and v2)`.
pub(crate) fn version(hashes: &InfoHashes) -> &'static str {
    match (hashes.v1(), hashes.v2()) {
        (Some(_), Some(_)) => "hybrid",
        (None, Some(_)) => "v2",
        _ => "v1",
    }
}

fn text(metainfo: &Metainfo, all: bool, out: Output) -> String {
    let info = &metainfo.info;
    let style = out.style;
    let mut lines = vec![style.bold(clean(info.name())).to_string(), String::new()];
    let mut row = |label: &str, values: &[String]| {
        for (i, value) in values.iter().enumerate() {
            let label = if i == 0 { label } else { "" };
            lines.push(format!("  {}  {value}", style.dim(format!("{label:<10}"))));
        }
    };
    let total = info.total_len();
    row("size", &[format!("{} ({} bytes)", units::size(total), units::grouped(total))]);
    let layout = info.layout();
    let piece_len = units::size(u64::from(layout.piece_len()));
    row("pieces", &[format!("{} of {piece_len}", units::grouped(u64::from(layout.count())))]);
    let hashes = info.hashes();
    row("version", &[version(&hashes).to_owned()]);
    let hex: Vec<String> = [hashes.v1().map(|h| h.to_string()), hashes.v2().map(|h| h.to_string())]
        .into_iter()
        .flatten()
        .map(|hash| style.cyan(hash).to_string())
        .collect();
    row("info-hash", &hex);
    if info.is_private() {
        row("private", &["yes: peers come from its trackers alone".to_owned()]);
    }
    let said =
        |text: Option<&str>| text.map(|t| clean(t).into_owned()).into_iter().collect::<Vec<_>>();
    row("source", &said(info.source()));
    row("created", &created(metainfo));
    row("comment", &said(metainfo.comment.as_deref()));
    row("trackers", &trackers(metainfo, all));
    row("web seeds", &urls(metainfo.web_seeds.iter().chain(&metainfo.http_seeds), all));
    row("nodes", &urls(metainfo.nodes.iter().map(|(h, p)| format!("{h}:{p}")), all));

    let stored = metainfo.info.files().iter().filter(|f| !f.attributes.padding).count();
    row("files", &[units::grouped(stored as u64)]);
    lines.push(String::new());
    let shown = if all { usize::MAX } else { FILES_SHOWN };
    lines
        .extend(tree::lines(&leaves(metainfo, shown), style).into_iter().map(|l| format!("  {l}")));
    if let Some(more) = stored.checked_sub(shown).filter(|&n| n > 0) {
        let more = units::count(more as u64, "file", "files");
        lines.push(format!("  {}", style.dim(format!("and {more} more; --all shows them"))));
    }
    lines.join("\n")
}

fn leaves(metainfo: &Metainfo, at_most: usize) -> Vec<Leaf<'_>> {
    let files = metainfo.info.files().iter().enumerate();
    files
        .filter(|(_, f)| !f.attributes.padding)
        .take(at_most)
        .map(|(index, f)| Leaf { index, path: f.path.iter().collect(), len: f.len, mark: mark(f) })
        .collect()
}

fn mark(file: &FileEntry) -> Option<&'static str> {
    if file.symlink.is_some() {
        Some("symbolic link")
    } else if file.attributes.executable {
        Some("executable")
    } else {
        None
    }
}

fn created(metainfo: &Metainfo) -> Vec<String> {
    let by = metainfo.created_by.as_deref().map(|by| clean(by).into_owned());
    match (metainfo.creation_date.map(units::date), by) {
        (Some(date), Some(by)) => vec![format!("{date} by {by}")],
        (Some(date), None) => vec![date],
        (None, Some(by)) => vec![format!("by {by}")],
        (None, None) => Vec::new(),
    }
}

/// Tiers are told apart only where one has several trackers.
fn trackers(metainfo: &Metainfo, all: bool) -> Vec<String> {
    let tiers = &metainfo.trackers;
    let show_tiers = tiers.len() > 1 && tiers.iter().any(|tier| tier.len() > 1);
    let named = (1..).zip(tiers).flat_map(|(n, tier)| {
        tier.iter()
            .map(move |url| if show_tiers { format!("{url} (tier {n})") } else { url.clone() })
    });
    urls(named, all)
}

fn urls(urls: impl Iterator<Item = impl AsRef<str>>, all: bool) -> Vec<String> {
    let mut lines: Vec<String> = urls.map(|url| clean(url.as_ref()).into_owned()).collect();
    if !all && lines.len() > URLS_SHOWN {
        let more = lines.len() - URLS_SHOWN + 1;
        lines.truncate(URLS_SHOWN - 1);
        lines.push(format!("and {more} more; --all shows them"));
    }
    lines
}

fn as_json(metainfo: &Metainfo) -> Value {
    let info = &metainfo.info;
    let hashes = info.hashes();
    let files: Vec<Value> = info
        .files()
        .iter()
        .enumerate()
        .filter(|(_, f)| !f.attributes.padding)
        .map(|(index, f)| {
            json!({
                "index": index,
                "path": f.path.as_str(),
                "length": f.len,
                "executable": f.attributes.executable,
                "symlink": f.symlink.as_ref().map(|target| target.as_str().to_owned()),
            })
        })
        .collect();
    json!({
        "name": info.name(),
        "version": version(&hashes),
        "info_hash_v1": hashes.v1().map(|h| h.to_string()),
        "info_hash_v2": hashes.v2().map(|h| h.to_string()),
        "length": info.total_len(),
        "piece_length": info.layout().piece_len(),
        "pieces": info.layout().count(),
        "single_file": info.is_single_file(),
        "private": info.is_private(),
        "source": info.source(),
        "comment": metainfo.comment,
        "created_by": metainfo.created_by,
        "creation_date": metainfo.creation_date,
        "trackers": metainfo.trackers,
        "web_seeds": metainfo.web_seeds,
        "http_seeds": metainfo.http_seeds,
        "nodes": metainfo.nodes.iter().map(|(h, p)| format!("{h}:{p}")).collect::<Vec<_>>(),
        "files": files,
    })
}
