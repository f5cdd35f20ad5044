//! Bencode beside a naive reader: recursive, strict, without any cleverness. Both accept the same, and understand the same of it.

use samara_wire::bencode::{self, Kind, Limits, Strictness, Value};

/// What the naive reader makes of a value.
#[derive(Debug)]
pub(crate) enum Naive<'a> {
    Int(i64),
    Bytes(&'a [u8]),
    List(Vec<Self>),
    /// In the order of the input, with the bytes of each value.
    Dict(Vec<(&'a [u8], &'a [u8], Self)>),
}

/// Reads the value that `input` begins with, as deep and as long as a `.torrent` file may be.
pub(crate) fn read(input: &[u8], strict: bool) -> Option<Naive<'_>> {
    let mut reader = Reader { rest: input, strict, tokens: 0, limits: Limits::FILE };
    let value = reader.value(1)?;
    (!strict || reader.rest.is_empty()).then_some(value)
}

/// Reads `input` both ways, strictly and leniently.
pub fn run(input: &[u8]) {
    for strictness in [Strictness::Strict, Strictness::Lenient] {
        let limits = Limits { depth: 16, tokens: 1000, strictness };
        let strict = strictness == Strictness::Strict;
        let mut reader = Reader { rest: input, strict, tokens: 0, limits };
        let naive = reader.value(1);
        let parsed = bencode::parse_prefix(input, limits);
        match (naive, parsed) {
            (Some(naive), Ok((doc, used))) => {
                assert_eq!(input.len() - reader.rest.len(), used, "another end");
                compare(&naive, doc.root());
                assert_eq!(bencode::parse(input, limits).is_ok(), !strict || used == input.len());
            }
            (None, Err(error)) => assert!(error.offset <= input.len()),
            (Some(_), Err(error)) => panic!("refused: {error}"),
            (None, Ok(_)) => panic!("taken, and is no bencode"),
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    strict: bool,
    tokens: usize,
    limits: Limits,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// A value inside `depth` lists and dictionaries, itself counted if it is one.
    fn value(&mut self, depth: usize) -> Option<Naive<'a>> {
        self.count()?;
        match self.peek()? {
            b'i' => {
                self.next();
                let number = self.until(b'e')?;
                self.number(number).map(Naive::Int)
            }
            b'0'..=b'9' => self.string().map(Naive::Bytes),
            b'l' if depth <= self.limits.depth => {
                self.next();
                let mut items = Vec::new();
                while self.peek()? != b'e' {
                    items.push(self.value(depth + 1)?);
                }
                self.next();
                Some(Naive::List(items))
            }
            b'd' if depth <= self.limits.depth => {
                self.next();
                let mut entries: Vec<(&[u8], &[u8], Naive<'a>)> = Vec::new();
                while self.peek()? != b'e' {
                    self.count()?;
                    let key = self.string()?;
                    if self.strict && entries.last().is_some_and(|(last, ..)| *last >= key) {
                        return None;
                    }
                    let before = self.rest;
                    let value = self.value(depth + 1)?;
                    entries.push((key, &before[..before.len() - self.rest.len()], value));
                }
                self.next();
                Some(Naive::Dict(entries))
            }
            _ => None,
        }
    }

    fn count(&mut self) -> Option<()> {
        self.tokens += 1;
        (self.tokens <= self.limits.tokens).then_some(())
    }

    fn until(&mut self, end: u8) -> Option<&'a [u8]> {
        let at = self.rest.iter().position(|byte| *byte == end)?;
        let (before, rest) = self.rest.split_at(at);
        self.rest = &rest[1..];
        Some(before)
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        if !self.peek()?.is_ascii_digit() {
            return None;
        }
        let len = self.until(b':')?;
        let len = usize::try_from(self.number(len)?).ok()?;
        let (string, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(string)
    }

    fn number(&self, text: &[u8]) -> Option<i64> {
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        let one_way = digits == b"0" && text == b"0" || !digits.starts_with(b"0");
        let text = std::str::from_utf8(text).ok()?;
        (plain && (one_way || !self.strict)).then(|| text.parse().ok())?
    }
}

fn compare(naive: &Naive<'_>, value: Value<'_, '_>) {
    match naive {
        Naive::Int(number) => {
            assert_eq!((value.kind(), value.as_int()), (Kind::Int, Some(*number)));
            assert_eq!(value.as_u64(), u64::try_from(*number).ok());
        }
        Naive::Bytes(bytes) => assert_eq!(value.as_bytes(), Some(*bytes)),
        Naive::List(items) => {
            let list: Vec<_> = value.as_list().expect("a list").into_iter().collect();
            assert_eq!(list.len(), items.len());
            items.iter().zip(list).for_each(|(item, value)| compare(item, value));
        }
        Naive::Dict(entries) => {
            let dict = value.as_dict().expect("a dictionary");
            let mut count = 0;
            for ((key, raw, item), (read, value)) in entries.iter().zip(dict) {
                assert_eq!((*key, *raw), (read, value.raw()));
                compare(item, value);
                count += 1;
                // The first of several with one key is found.
                let first = entries.iter().position(|(other, ..)| other == key);
                let found = dict.get(key).expect("a key that is there");
                let at = dict.into_iter().nth(first.unwrap_or(0)).map(|(_, value)| value.offset());
                assert_eq!(Some(found.offset()), at);
            }
            assert_eq!(count, entries.len());
            assert_eq!(dict.into_iter().count(), count);
        }
    }
}
