//! Where results and messages go: results to stdout, for people or as JSON; everything else to stderr.
//!
//! Text that comes from a torrent, a tracker or a peer passes [`clean`] before it reaches a terminal.

mod palette;
pub(crate) mod tree;

pub(crate) use palette::Palette;

use crate::args::{ColorWhen, GlobalArgs};
use crate::exit::{Exit, Failure};
use serde::Serialize;
use std::borrow::Cow;
use std::fmt;
use std::io::{self, IsTerminal, Write};

/// Version of the JSON output; a field that changes its meaning raises it.
const JSON_VERSION: u32 = 1;

/// Writers of one run of the program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// Results as JSON lines.
    pub(crate) json: bool,
    /// No progress, no notes, no summaries.
    pub(crate) quiet: bool,
    /// Styles for stdout.
    pub(crate) style: Palette,
    /// Styles for stderr.
    pub(crate) err_style: Palette,
}

/// One line of JSON output: the version and the type come first, the fields of the body follow.
#[derive(Serialize)]
struct Envelope<'a, T> {
    v: u32,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(flatten)]
    body: T,
}

impl Output {
    /// What the global options ask for; `color` is the resolved choice.
    pub(crate) fn new(global: &GlobalArgs, color: ColorWhen) -> Self {
        let palette = |terminal: bool| {
            Palette::new(match color {
                ColorWhen::Always => true,
                ColorWhen::Never => false,
                ColorWhen::Auto => terminal && color_is_welcome(),
            })
        };
        Self {
            json: global.json,
            quiet: global.quiet,
            style: palette(io::stdout().is_terminal()),
            err_style: palette(io::stderr().is_terminal()),
        }
    }

    /// A line of results on stdout.
    pub(crate) fn line(&self, line: impl fmt::Display) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        writeln!(out, "{line}")?;
        Ok(out.flush()?)
    }

    /// Raw bytes on stdout.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        Ok(out.flush()?)
    }

    /// A JSON object on stdout, in one line.
    pub(crate) fn object(&self, kind: &str, body: impl Serialize) -> Result<(), Failure> {
        let line = serde_json::to_string(&Envelope { v: JSON_VERSION, kind, body })
            .map_err(|e| Failure::new(Exit::Failed, format!("cannot write JSON: {e}")))?;
        self.line(line)
    }

    /// Something worth knowing, on stderr, for people only.
    pub(crate) fn note(&self, note: impl fmt::Display) {
        if !self.quiet && !self.json {
            say(format_args!("{note}"));
        }
    }

    /// Something that may be wrong, on stderr.
    pub(crate) fn warn(&self, warning: impl fmt::Display) {
        if !self.quiet {
            say(format_args!("{} {warning}", self.err_style.yellow("warning:")));
        }
    }

    /// Why the command failed: on stderr, and as JSON where that was asked for.
    pub(crate) fn failure(&self, failure: &Failure) {
        if failure.what.is_empty() {
            return;
        }
        say(format_args!("{} {}", self.err_style.red("error:"), clean(&failure.what)));
        if let Some(hint) = &failure.hint {
            let mut label = " help:";
            for line in hint.lines() {
                say(format_args!("{} {}", self.err_style.cyan(label), clean(line)));
                label = "      ";
            }
        }
        if self.json {
            // The reader of stdout may be gone; the exit code still tells.
            let _ = self.object(
                "error",
                serde_json::json!({
                    "code": failure.exit.code(),
                    "kind": failure.exit.word(),
                    "message": failure.what,
                    "hint": failure.hint,
                }),
            );
        }
    }
}

/// A line on stderr, above any progress bars.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    crate::progress::above_bars(|| {
        // Nobody is left to tell if stderr is closed.
        let _ = writeln!(io::stderr().lock(), "{line}");
    });
}

fn color_is_welcome() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
        && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}

/// Text that cannot move the cursor, colour the screen or turn the direction of writing: control and
/// bidirectional formatting characters are shown as escapes.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) {
            safe.extend(c.escape_unicode());
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// Whether `c` could change how what follows it is shown.
pub(crate) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        )
}

/// `text` cut to `width` characters, with an ellipsis in the middle: both ends of a file name tell something.
pub(crate) fn shorten(text: &str, width: usize) -> Cow<'_, str> {
    let len = text.chars().count();
    if len <= width {
        return Cow::Borrowed(text);
    }
    let kept = width.saturating_sub(1);
    let tail = kept / 3;
    let head: String = text.chars().take(kept - tail).collect();
    let end: String = text.chars().skip(len - tail).collect();
    Cow::Owned(format!("{head}…{end}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_strangers_cannot_play_with_the_terminal() {
        assert_eq!(clean("naïve файл 音"), "naïve файл 音");
        assert_eq!(clean("a\x1b[31mb\r\n\u{202e}c"), "a\\u{1b}[31mb\\u{d}\\u{a}\\u{202e}c");
        assert!(matches!(clean("plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn long_names_keep_both_ends() {
        assert_eq!(shorten("0123456789", 10), "0123456789");
        assert_eq!(shorten("abcdefghij.mkv", 10), "abcdef…mkv");
        assert_eq!(shorten("abc", 0), "…");
    }
}
