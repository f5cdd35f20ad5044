//! Bencode, the serialisation of BEP 3: a bounded parser, a view without copies, a canonical encoder.
//!
//! [`parse`] walks the input once, without recursion, and fills a flat table of tokens; [`Value`], [`Dict`] and
//! [`List`] are cursors into that table and into the input. Nothing is copied and no length found in the input
//! is ever allocated. [`Value::raw`] gives the exact bytes of any value, which is what an info-hash is taken over.
//!
//! What the input may be is bounded by [`Limits`]; how much a careless writer is forgiven by [`Strictness`].
//!
//! ```
//! use samara_wire::bencode::{self, Limits};
//! let doc = bencode::parse(b"d4:spaml1:ai-3eee", Limits::WIRE)?;
//! let list = doc.root().as_dict().and_then(|d| d.get(b"spam")).and_then(|v| v.as_list());
//! let items: Vec<_> = list.into_iter().flatten().collect();
//! assert_eq!((items[0].as_bytes(), items[1].as_int()), (Some(&b"a"[..]), Some(-3)));
//! # Ok::<(), bencode::BencodeError>(())
//! ```

mod encode;
mod parse;
#[cfg(test)]
mod tests;
mod value;

pub use encode::{DictEncoder, Encoder};
pub use parse::{parse, parse_prefix};
pub use value::{Dict, DictIter, Doc, Kind, List, ListIter, Value};

/// Bounds on one parse. The size of the input is the caller's to bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Lists and dictionaries inside one another, the outermost counted.
    pub depth: usize,
    /// Values and keys in total, lists and dictionaries counted. Each costs 16 bytes while the document lives.
    pub tokens: usize,
    /// How closely the input must follow BEP 3.
    pub strictness: Strictness,
}

impl Limits {
    /// For messages of peers, trackers and DHT nodes: strict, at most 16 deep and 20,000 items.
    pub const WIRE: Self = Self { depth: 16, tokens: 20_000, strictness: Strictness::Strict };

    /// For `.torrent` files as they are found in the wild: lenient, at most 72 deep and 3,000,000 items.
    ///
    /// A file 64 directories deep, the most we accept, needs 68 levels in the file tree of BEP 52.
    pub const FILE: Self = Self { depth: 72, tokens: 3_000_000, strictness: Strictness::Lenient };

    /// The same bounds, with another strictness.
    #[must_use]
    pub const fn with_strictness(self, strictness: Strictness) -> Self {
        Self { strictness, ..self }
    }
}

/// How closely the input must follow BEP 3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strictness {
    /// Exactly: every value has one encoding, and only that is accepted.
    Strict,
    /// Lets pass what old tools wrote and every client reads:
    ///
    /// - numbers and string lengths with leading zeros, and `-0`;
    /// - dictionary keys out of order;
    /// - duplicate keys, of which [`Dict::get`] finds the first;
    /// - anything after the end of the outermost value, such as a newline.
    ///
    /// Still refused: numbers without digits, numbers beyond 64 bits, lengths beyond the input, keys that
    /// are not strings, keys without a value, and everything beyond the other limits.
    Lenient,
}

/// Why some input is not bencode, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("invalid bencode at byte {offset}: {fault}")]
pub struct BencodeError {
    /// Offset of the offending byte in the input.
    pub offset: usize,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong with some input.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// The input ends inside a value.
    #[error("the input ends too early")]
    Truncated,
    /// A byte that begins no value.
    #[error("expected a number, string, list or dictionary")]
    NotAValue,
    /// A dictionary key that is not a string.
    #[error("a dictionary key must be a string")]
    KeyNotString,
    /// A dictionary ends after a key.
    #[error("a dictionary key has no value")]
    KeyWithoutValue,
    /// A number without digits, or with a byte that is none.
    #[error("malformed number")]
    BadNumber,
    /// A number with a leading zero, or a negative zero.
    #[error("number with a leading zero")]
    LeadingZero,
    /// A number that does not fit in 64 bits.
    #[error("number beyond 64 bits")]
    NumberTooBig,
    /// A string longer than the rest of the input.
    #[error("a string is longer than what is left of the input")]
    StringTooLong,
    /// A key that should have come before the one that precedes it.
    #[error("dictionary keys out of order")]
    UnsortedKeys,
    /// The same key twice in a dictionary.
    #[error("duplicate dictionary key")]
    DuplicateKey,
    /// Bytes after the end of the outermost value.
    #[error("unexpected bytes after the end")]
    TrailingBytes,
    /// More nested than [`Limits::depth`].
    #[error("nested too deeply")]
    TooDeep,
    /// More items than [`Limits::tokens`].
    #[error("too many items")]
    TooManyItems,
    /// 4 GiB of input or more.
    #[error("input of 4 GiB or more")]
    InputTooBig,
}
