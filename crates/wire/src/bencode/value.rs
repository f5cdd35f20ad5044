//! The view: cursors into a table of tokens and the input they were read from.

use alloc::vec::Vec;
use core::fmt;

/// What a value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A number.
    Int,
    /// A string of bytes.
    Bytes,
    /// A list.
    List,
    /// A dictionary.
    Dict,
}

/// One value in the table. A list or dictionary is followed by the tokens of what it holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    start: u32,
    end: u32,
    /// Index of the token behind this value and all that it holds.
    next: u32,
    kind: Kind,
    /// Bytes before the content: `i`, `l`, `d`, or a string's length and colon.
    ///
    /// Leading zeros could make that long, so beyond 255 bytes it is found again when asked for.
    head: u8,
}

const HEAD_TOO_LONG: u8 = 0;

impl Token {
    pub(super) fn new(kind: Kind, start: usize, content: usize, end: usize, next: usize) -> Self {
        let head = u8::try_from(content - start).unwrap_or(HEAD_TOO_LONG);
        Self { start: narrow(start), end: narrow(end), next: narrow(next), kind, head }
    }

    pub(super) fn complete(&mut self, end: usize, next: usize) {
        self.end = narrow(end);
        self.next = narrow(next);
    }

    /// Where the content of a list or dictionary begins.
    pub(super) const fn content_start(&self) -> usize {
        self.start as usize + self.head as usize
    }
}

/// Offsets and indices are below the length of the input, which the parser checked.
fn narrow(n: usize) -> u32 {
    u32::try_from(n).expect("input below 4 GiB")
}

/// A parsed document: the input and the table of what stands where in it.
#[derive(Clone)]
pub struct Doc<'a> {
    bytes: &'a [u8],
    tokens: Vec<Token>,
}

impl<'a> Doc<'a> {
    /// `tokens` holds at least the root.
    pub(super) const fn new(bytes: &'a [u8], tokens: Vec<Token>) -> Self {
        Self { bytes, tokens }
    }

    /// The outermost value.
    #[must_use]
    pub const fn root(&self) -> Value<'a, '_> {
        Value { doc: self, index: 0 }
    }

    /// The outermost value, if it is a dictionary.
    #[must_use]
    pub fn as_dict(&self) -> Option<Dict<'a, '_>> {
        self.root().as_dict()
    }

    /// Number of values and keys in the document.
    #[must_use]
    pub const fn token_count(&self) -> usize {
        self.tokens.len()
    }
}

impl fmt::Debug for Doc<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root().fmt(f)
    }
}

/// A value in a [`Doc`]. `'a` is the life of the input, `'d` of the document.
#[derive(Clone, Copy)]
pub struct Value<'a, 'd> {
    doc: &'d Doc<'a>,
    index: usize,
}

impl<'a, 'd> Value<'a, 'd> {
    fn token(&self) -> Token {
        self.doc.tokens[self.index]
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.token().kind
    }

    /// The exact bytes it is written in, from its first to its last.
    #[must_use]
    pub fn raw(&self) -> &'a [u8] {
        let token = self.token();
        &self.doc.bytes[token.start as usize..token.end as usize]
    }

    /// Offset in the input of its first byte.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.token().start as usize
    }

    /// Offset of the byte behind it in `outer`, the raw bytes of a value that holds it.
    pub(crate) fn end_in(&self, outer: &Dict<'_, '_>) -> usize {
        self.token().end as usize - outer.0.offset()
    }

    /// The number, if it is one.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        if self.kind() != Kind::Int {
            return None;
        }
        let raw = self.raw();
        let text = core::str::from_utf8(&raw[1..raw.len() - 1]).ok()?;
        text.parse().ok()
    }

    /// The number, if it is one and not negative.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        self.as_int().and_then(|n| u64::try_from(n).ok())
    }

    /// The bytes, if it is a string.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        let token = self.token();
        if token.kind != Kind::Bytes {
            return None;
        }
        let raw = self.raw();
        let head = match token.head {
            HEAD_TOO_LONG => raw.iter().position(|&b| b == b':')? + 1,
            head => usize::from(head),
        };
        Some(&raw[head..])
    }

    /// The text, if it is a string of valid UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&'a str> {
        self.as_bytes().and_then(|bytes| core::str::from_utf8(bytes).ok())
    }

    /// The list, if it is one.
    #[must_use]
    pub fn as_list(&self) -> Option<List<'a, 'd>> {
        (self.kind() == Kind::List).then(|| self.children())
    }

    /// The dictionary, if it is one.
    #[must_use]
    pub fn as_dict(&self) -> Option<Dict<'a, 'd>> {
        (self.kind() == Kind::Dict).then_some(Dict(*self))
    }

    fn children(&self) -> List<'a, 'd> {
        List { doc: self.doc, at: self.index + 1, end: self.token().next as usize }
    }
}

/// A list; iterating gives its items in order.
#[derive(Clone, Copy)]
pub struct List<'a, 'd> {
    doc: &'d Doc<'a>,
    at: usize,
    end: usize,
}

impl List<'_, '_> {
    /// Whether it holds nothing (more).
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.at >= self.end
    }
}

impl<'a, 'd> IntoIterator for List<'a, 'd> {
    type Item = Value<'a, 'd>;
    type IntoIter = ListIter<'a, 'd>;
    fn into_iter(self) -> ListIter<'a, 'd> {
        ListIter(self)
    }
}

/// Iterates over the items of a list.
#[derive(Clone)]
pub struct ListIter<'a, 'd>(List<'a, 'd>);

impl<'a, 'd> Iterator for ListIter<'a, 'd> {
    type Item = Value<'a, 'd>;
    fn next(&mut self) -> Option<Value<'a, 'd>> {
        if self.0.is_empty() {
            return None;
        }
        let value = Value { doc: self.0.doc, index: self.0.at };
        self.0.at = value.token().next as usize;
        Some(value)
    }
}

/// A dictionary; iterating gives keys and values in the order of the input.
#[derive(Clone, Copy)]
pub struct Dict<'a, 'd>(Value<'a, 'd>);

impl<'a, 'd> Dict<'a, 'd> {
    /// The value of `key`: the first, should the input be lenient and have several.
    ///
    /// Looks at the keys one by one. For many look-ups in a dictionary of any size, iterate and index.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Value<'a, 'd>> {
        self.into_iter().find(|(k, _)| *k == key).map(|(_, value)| value)
    }

    /// The number at `key`, if there is one.
    #[must_use]
    pub fn get_int(&self, key: &[u8]) -> Option<i64> {
        self.get(key)?.as_int()
    }

    /// The string at `key`, if there is one.
    #[must_use]
    pub fn get_bytes(&self, key: &[u8]) -> Option<&'a [u8]> {
        self.get(key)?.as_bytes()
    }

    /// The string of valid UTF-8 at `key`, if there is one.
    #[must_use]
    pub fn get_str(&self, key: &[u8]) -> Option<&'a str> {
        self.get(key)?.as_str()
    }

    /// The list at `key`, if there is one.
    #[must_use]
    pub fn get_list(&self, key: &[u8]) -> Option<List<'a, 'd>> {
        self.get(key)?.as_list()
    }

    /// The dictionary at `key`, if there is one.
    #[must_use]
    pub fn get_dict(&self, key: &[u8]) -> Option<Dict<'a, 'd>> {
        self.get(key)?.as_dict()
    }

    /// The exact bytes it is written in.
    #[must_use]
    pub fn raw(&self) -> &'a [u8] {
        self.0.raw()
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.children().is_empty()
    }
}

impl<'a, 'd> IntoIterator for Dict<'a, 'd> {
    type Item = (&'a [u8], Value<'a, 'd>);
    type IntoIter = DictIter<'a, 'd>;
    fn into_iter(self) -> DictIter<'a, 'd> {
        DictIter(self.0.children().into_iter())
    }
}

/// Iterates over the keys and values of a dictionary.
#[derive(Clone)]
pub struct DictIter<'a, 'd>(ListIter<'a, 'd>);

impl<'a, 'd> Iterator for DictIter<'a, 'd> {
    type Item = (&'a [u8], Value<'a, 'd>);
    fn next(&mut self) -> Option<Self::Item> {
        // The parser saw to it that keys are strings and have values.
        let key = self.0.next()?.as_bytes()?;
        Some((key, self.0.next()?))
    }
}

/// The bytes as text with escapes, cut after 200 bytes: for logs and tests.
impl fmt::Debug for Value<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let raw = self.raw();
        let shown = &raw[..raw.len().min(200)];
        let more = if shown.len() < raw.len() { "..." } else { "" };
        write!(f, "{}{more}", shown.escape_ascii())
    }
}

impl fmt::Debug for Dict<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for List<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}
