//! The page for people: what is tracked and what can be had.

use super::Shared;
use samara_wire::time::Instant;
use std::fmt::Write;

/// The page, as HTML. Nothing in it comes from peers but counts and info-hashes.
pub(super) fn render(shared: &Shared, now: Instant) -> String {
    let (torrents, (torrent_count, peer_count)) = {
        let mut store = shared.store();
        (store.scrape(now, &[]), store.size())
    };
    let mut page = String::from(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>samara tracker</title>\n\
         <h1>samara tracker</h1>\n",
    );
    let mut line = |text: std::fmt::Arguments<'_>| {
        let result = page.write_fmt(text);
        debug_assert!(result.is_ok(), "writing to a string cannot fail");
    };
    for (name, content) in &shared.files {
        let link = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
        line(format_args!(
            "<p><a href=\"/{link}\">{}</a>, {} bytes</p>\n",
            escape(name),
            content.len()
        ));
    }
    line(format_args!("<p>{torrent_count} torrents, {peer_count} peers</p>\n"));
    if !torrents.is_empty() {
        line(format_args!("<table><tr><th>info-hash<th>seeds<th>leeches<th>downloads</tr>\n"));
        for (hash, stats) in &torrents {
            line(format_args!(
                "<tr><td><code>{hash}</code><td>{}<td>{}<td>{}</tr>\n",
                stats.complete, stats.incomplete, stats.downloaded
            ));
        }
        line(format_args!("</table>\n"));
    }
    page
}

fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}
