//! `samara decode`: bencode as JSON.
//!
//! Byte strings have no encoding, JSON strings do. Readable UTF-8 becomes a string; anything else becomes
//! `{"$hex": "…"}`, so that nothing is lost and nothing strange reaches a terminal. The document is bounded by the
//! parser (depth, number of values) and written as it is walked.

use crate::args::DecodeArgs;
use crate::exit::{Exit, Failure};
use crate::output::{Output, is_unsafe};
use crate::source;
use crate::units::hex;
use samara_engine::wire::bencode::{self, BencodeError, Limits, Strictness, Value};
use std::io::{self, BufWriter, Write};

/// Binary strings longer than this are cut, unless all is asked for.
const CUT_BEYOND: usize = 64;
/// What is shown of a binary string that is cut.
const CUT_TO: usize = 32;

/// Prints FILE as JSON.
pub(crate) fn run(args: &DecodeArgs, out: Output) -> Result<Exit, Failure> {
    let bytes = source::read_local(&args.file)?;
    let strictness = if args.lenient { Strictness::Lenient } else { Strictness::Strict };
    let doc = bencode::parse(&bytes, Limits::FILE.with_strictness(strictness))
        .map_err(|e| refused(args, &bytes, e))?;
    let mut writer = Writer {
        to: BufWriter::new(io::stdout().lock()),
        pretty: !out.json,
        full: args.full || out.json,
        depth: 0,
    };
    if out.json {
        writer.to.write_all(br#"{"v":1,"type":"decode","value":"#)?;
    }
    writer.value(doc.root())?;
    writer.to.write_all(if out.json { b"}\n" } else { b"\n" })?;
    writer.to.flush()?;
    Ok(Exit::Done)
}

/// A bencoded value as JSON in one line; `None` if it is no bencode.
pub(super) fn compact(bytes: &[u8]) -> Option<String> {
    let doc = bencode::parse(bytes, Limits::WIRE).ok()?;
    let mut writer = Writer { to: Vec::new(), pretty: false, full: true, depth: 0 };
    writer.value(doc.root()).ok()?;
    String::from_utf8(writer.to).ok()
}

fn refused(args: &DecodeArgs, bytes: &[u8], error: BencodeError) -> Failure {
    let name = source::shown(&args.file);
    let failure = Failure::new(Exit::BadTorrent, format!("{name}: {error}"));
    if let Some(what) = source::looks_like(bytes) {
        return failure.hint(format!("this looks like {what}"));
    }
    let lenient = Limits::FILE.with_strictness(Strictness::Lenient);
    if !args.lenient && bencode::parse(bytes, lenient).is_ok() {
        return failure.hint("--lenient takes it nevertheless");
    }
    failure
}

struct Writer<W> {
    to: W,
    pretty: bool,
    full: bool,
    depth: usize,
}

impl<W: Write> Writer<W> {
    /// Recursion is bounded by the parser's limit on depth.
    fn value(&mut self, value: Value<'_, '_>) -> io::Result<()> {
        if let Some(n) = value.as_int() {
            write!(self.to, "{n}")
        } else if let Some(bytes) = value.as_bytes() {
            self.string(bytes)
        } else if let Some(list) = value.as_list() {
            self.open(b"[")?;
            let mut first = true;
            for item in list {
                self.item(&mut first)?;
                self.value(item)?;
            }
            self.close(first, b"]")
        } else if let Some(dict) = value.as_dict() {
            self.open(b"{")?;
            let mut first = true;
            for (key, item) in dict {
                self.item(&mut first)?;
                match readable(key) {
                    Some(text) => serde_json::to_writer(&mut self.to, text)?,
                    None => write!(self.to, "\"$hex:{}\"", hex(key))?,
                }
                self.to.write_all(if self.pretty { b": " } else { b":" })?;
                self.value(item)?;
            }
            self.close(first, b"}")
        } else {
            self.to.write_all(b"null")
        }
    }

    fn string(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(text) = readable(bytes) {
            return Ok(serde_json::to_writer(&mut self.to, text)?);
        }
        if self.full || bytes.len() <= CUT_BEYOND {
            self.to.write_all(b"{\"$hex\":\"")?;
            for part in bytes.chunks(4096) {
                self.to.write_all(hex(part).as_bytes())?;
            }
            return self.to.write_all(b"\"}");
        }
        let head = hex(&bytes[..CUT_TO]);
        write!(self.to, "{{\"$hex\":\"{head}…\",\"$len\":{}}}", bytes.len())
    }

    fn open(&mut self, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.to.write_all(bracket)
    }

    fn item(&mut self, first: &mut bool) -> io::Result<()> {
        if !std::mem::take(first) {
            self.to.write_all(b",")?;
        }
        self.new_line()
    }

    fn close(&mut self, empty: bool, bracket: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        if !empty {
            self.new_line()?;
        }
        self.to.write_all(bracket)
    }

    fn new_line(&mut self) -> io::Result<()> {
        if self.pretty {
            write!(self.to, "\n{:1$}", "", 2 * self.depth)?;
        }
        Ok(())
    }
}

/// The text, if it is UTF-8 that a terminal can be shown (JSON escapes line ends and tabs).
pub(super) fn readable(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    text.chars().all(|c| !is_unsafe(c) || matches!(c, '\n' | '\r' | '\t')).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8], pretty: bool, full: bool) -> String {
        let doc = bencode::parse(bytes, Limits::FILE).unwrap();
        let mut writer = Writer { to: Vec::new(), pretty, full, depth: 0 };
        writer.value(doc.root()).unwrap();
        String::from_utf8(writer.to).unwrap()
    }

    #[test]
    fn every_kind_of_value_becomes_json() {
        let text = decode(b"d1:ai-3e1:bl1:x2:\xff\x001:\x1be1:cde2:\xfe\xfei1ee", false, false);
        assert_eq!(
            text,
            r#"{"a":-3,"b":["x",{"$hex":"ff00"},{"$hex":"1b"}],"c":{},"$hex:fefe":1}"#
        );
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        assert_eq!(decode(b"ld1:ai1eelee", true, false), "[\n  {\n    \"a\": 1\n  },\n  []\n]");
    }

    #[test]
    fn long_binary_strings_are_cut_unless_all_is_asked_for() {
        let input = [b"100:".as_slice(), &[0xff; 100]].concat();
        assert_eq!(decode(&input, true, true).len(), "{\"$hex\":\"\"}".len() + 200);
        assert!(decode(&input, true, false).ends_with("…\",\"$len\":100}"));
    }
}
