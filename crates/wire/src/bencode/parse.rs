//! The parser: one pass over the input, an explicit stack, a flat table of tokens.

use super::value::{Doc, Kind, Token};
use super::{BencodeError, Fault, Limits, Strictness};
use alloc::vec::Vec;
use core::ops::Range;

/// Parses input that is one value.
///
/// # Errors
/// If the input is not bencode, breaks a limit, or (when strict) has bytes after the value.
pub fn parse(bytes: &[u8], limits: Limits) -> Result<Doc<'_>, BencodeError> {
    let (doc, used) = parse_prefix(bytes, limits)?;
    if used < bytes.len() && limits.strictness == Strictness::Strict {
        return Err(BencodeError { offset: used, fault: Fault::TrailingBytes });
    }
    Ok(doc)
}

/// Parses the value that the input begins with. Also returns how many bytes it takes.
///
/// Extension messages such as `ut_metadata` (BEP 9) carry a payload behind their dictionary.
///
/// # Errors
/// If the input does not begin with bencode, or breaks a limit.
pub fn parse_prefix(bytes: &[u8], limits: Limits) -> Result<(Doc<'_>, usize), BencodeError> {
    if u32::try_from(bytes.len()).is_err() {
        return Err(BencodeError { offset: 0, fault: Fault::InputTooBig });
    }
    let mut parser = Parser { bytes, at: 0, limits, tokens: Vec::new(), open: Vec::new() };
    loop {
        parser.step()?;
        if parser.open.is_empty() {
            return Ok((Doc::new(bytes, parser.tokens), parser.at));
        }
    }
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    limits: Limits,
    tokens: Vec<Token>,
    open: Vec<Open>,
}

/// A list or dictionary whose end has not been seen.
struct Open {
    /// Its token, to be completed at the end.
    token: usize,
    /// For a dictionary, whose turn it is.
    turn: Turn,
}

enum Turn {
    /// A list's items have no turns.
    Item,
    /// A key, which must sort after the one in this range of the input.
    Key(Option<Range<usize>>),
    /// The value of the key in this range of the input.
    Value(Range<usize>),
}

impl Parser<'_> {
    /// Reads one token, or the end of a list or dictionary.
    fn step(&mut self) -> Result<(), BencodeError> {
        let start = self.at;
        let first = self.peek()?;
        let key_turn = matches!(self.open.last(), Some(Open { turn: Turn::Key(_), .. }));
        if key_turn && !matches!(first, b'0'..=b'9' | b'e') {
            return Err(self.fault(start, Fault::KeyNotString));
        }
        match first {
            b'e' => self.close(),
            b'd' => self.open(Kind::Dict, Turn::Key(None)),
            b'l' => self.open(Kind::List, Turn::Item),
            b'i' => {
                self.at += 1;
                let negative = self.peek()? == b'-';
                self.at += usize::from(negative);
                self.number(b'e', negative)?;
                self.push(Kind::Int, start, start + 1)?;
                self.took_turn(start..self.at)
            }
            b'0'..=b'9' => {
                let len = self.number(b':', false)?;
                let left = self.bytes.len() - self.at;
                let len = usize::try_from(len)
                    .ok()
                    .filter(|&len| len <= left)
                    .ok_or(self.fault(start, Fault::StringTooLong))?;
                let content = self.at..self.at + len;
                self.at = content.end;
                self.push(Kind::Bytes, start, content.start)?;
                self.took_turn(content)
            }
            _ => Err(self.fault(start, Fault::NotAValue)),
        }
    }

    /// Reads digits up to and with `end`. The value is checked to fit an `i64` once its sign is applied.
    fn number(&mut self, end: u8, negative: bool) -> Result<u64, BencodeError> {
        let start = self.at;
        let most = i64::MAX.unsigned_abs() + u64::from(negative);
        let mut value = 0u64;
        loop {
            let byte = self.peek()?;
            if byte == end {
                break;
            }
            if !byte.is_ascii_digit() {
                return Err(self.fault(self.at, Fault::BadNumber));
            }
            value = value
                .checked_mul(10)
                .and_then(|v| v.checked_add(u64::from(byte - b'0')))
                .filter(|&v| v <= most)
                .ok_or(self.fault(start, Fault::NumberTooBig))?;
            self.at += 1;
        }
        let digits = self.at - start;
        if digits == 0 {
            return Err(self.fault(self.at, Fault::BadNumber));
        }
        let leading_zero = self.bytes[start] == b'0' && (digits > 1 || negative);
        if leading_zero && self.limits.strictness == Strictness::Strict {
            return Err(self.fault(start, Fault::LeadingZero));
        }
        self.at += 1;
        Ok(value)
    }

    fn open(&mut self, kind: Kind, turn: Turn) -> Result<(), BencodeError> {
        if self.open.len() >= self.limits.depth {
            return Err(self.fault(self.at, Fault::TooDeep));
        }
        let start = self.at;
        self.at += 1;
        self.open.push(Open { token: self.tokens.len(), turn });
        self.push(kind, start, start + 1)
    }

    fn close(&mut self) -> Result<(), BencodeError> {
        let fault = match self.open.pop() {
            None => Fault::NotAValue,
            Some(Open { turn: Turn::Value(_), .. }) => Fault::KeyWithoutValue,
            Some(Open { token, .. }) => {
                let start = self.tokens[token].content_start();
                self.at += 1;
                let next = self.tokens.len();
                self.tokens[token].complete(self.at, next);
                return self.took_turn(start..self.at);
            }
        };
        Err(self.fault(self.at, fault))
    }

    /// Notes that a complete value (or a key, whose bytes are at `content`) has just been read.
    fn took_turn(&mut self, content: Range<usize>) -> Result<(), BencodeError> {
        let Some(open) = self.open.last_mut() else { return Ok(()) };
        match &mut open.turn {
            Turn::Item => {}
            Turn::Value(key) => open.turn = Turn::Key(Some(key.clone())),
            Turn::Key(before) => {
                let before = before.take();
                open.turn = Turn::Value(content.clone());
                if let Some(before) = before {
                    return self.check_order(before, content);
                }
            }
        }
        Ok(())
    }

    fn check_order(&self, before: Range<usize>, key: Range<usize>) -> Result<(), BencodeError> {
        if self.limits.strictness == Strictness::Lenient {
            return Ok(());
        }
        let start = key.start;
        match self.bytes[before].cmp(&self.bytes[key]) {
            core::cmp::Ordering::Less => Ok(()),
            core::cmp::Ordering::Equal => Err(self.fault(start, Fault::DuplicateKey)),
            core::cmp::Ordering::Greater => Err(self.fault(start, Fault::UnsortedKeys)),
        }
    }

    fn push(&mut self, kind: Kind, start: usize, content: usize) -> Result<(), BencodeError> {
        if self.tokens.len() >= self.limits.tokens {
            return Err(self.fault(start, Fault::TooManyItems));
        }
        let next = self.tokens.len() + 1;
        self.tokens.push(Token::new(kind, start, content, self.at, next));
        Ok(())
    }

    fn peek(&self) -> Result<u8, BencodeError> {
        self.bytes.get(self.at).copied().ok_or(self.fault(self.at, Fault::Truncated))
    }

    const fn fault(&self, offset: usize, fault: Fault) -> BencodeError {
        BencodeError { offset, fault }
    }
}
