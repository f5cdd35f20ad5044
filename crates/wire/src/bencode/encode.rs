//! The encoder: writes the one canonical form, whatever order dictionary entries are given in.

use alloc::vec::Vec;
use core::ops::Range;

/// Writes bencode into a buffer.
///
/// ```
/// use samara_wire::bencode::Encoder;
/// let bytes = Encoder::dict_bytes(|d| {
///     d.bytes(b"spam", b"eggs");
///     d.int(b"cow", 3);
/// });
/// assert_eq!(bytes, b"d3:cowi3e4:spam4:eggse");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    out: Vec<u8>,
}

impl Encoder {
    /// An encoder with nothing written.
    #[must_use]
    pub const fn new() -> Self {
        Self { out: Vec::new() }
    }

    /// An encoder that appends to `out`.
    #[must_use]
    pub const fn append_to(out: Vec<u8>) -> Self {
        Self { out }
    }

    /// One dictionary, filled by `fill`: what a message or a file usually is.
    #[must_use]
    pub fn dict_bytes(fill: impl FnOnce(&mut DictEncoder<'_>)) -> Vec<u8> {
        let mut encoder = Self::new();
        encoder.dict(fill);
        encoder.finish()
    }

    /// What was written.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    /// Writes a number.
    pub fn int(&mut self, n: i64) {
        self.out.push(b'i');
        if n < 0 {
            self.out.push(b'-');
        }
        self.decimal(n.unsigned_abs());
        self.out.push(b'e');
    }

    /// Writes a string.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.decimal(bytes.len() as u64);
        self.out.push(b':');
        self.out.extend_from_slice(bytes);
    }

    /// Writes `encoded`, one value that is bencode already.
    pub fn raw(&mut self, encoded: &[u8]) {
        self.out.extend_from_slice(encoded);
    }

    /// Writes a list of what `fill` writes.
    pub fn list(&mut self, fill: impl FnOnce(&mut Self)) {
        self.out.push(b'l');
        fill(self);
        self.out.push(b'e');
    }

    /// Writes a dictionary of what `fill` puts in.
    ///
    /// # Panics
    /// If `fill` puts the same key in twice.
    pub fn dict(&mut self, fill: impl FnOnce(&mut DictEncoder<'_>)) {
        self.out.push(b'd');
        let mut dict = DictEncoder { start: self.out.len(), encoder: self, entries: Vec::new() };
        fill(&mut dict);
        dict.sort();
        self.out.push(b'e');
    }

    fn decimal(&mut self, mut n: u64) {
        let mut digits = [b'0'; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] += (n % 10) as u8;
            n /= 10;
            if n == 0 {
                break;
            }
        }
        self.out.extend_from_slice(&digits[at..]);
    }
}

/// Writes the entries of a dictionary, in any order.
#[derive(Debug)]
pub struct DictEncoder<'e> {
    encoder: &'e mut Encoder,
    /// Where the first entry begins in the encoder's buffer.
    start: usize,
    entries: Vec<Entry>,
}

/// Where an entry stands in the encoder's buffer. It ends where the next begins.
#[derive(Debug)]
struct Entry {
    start: usize,
    /// The key without its length.
    key: Range<usize>,
}

impl DictEncoder<'_> {
    /// Puts in a number.
    pub fn int(&mut self, key: &[u8], n: i64) {
        self.key(key).int(n);
    }

    /// Puts in a string.
    pub fn bytes(&mut self, key: &[u8], bytes: &[u8]) {
        self.key(key).bytes(bytes);
    }

    /// Puts in `encoded`, one value that is bencode already.
    pub fn raw(&mut self, key: &[u8], encoded: &[u8]) {
        self.key(key).raw(encoded);
    }

    /// Puts in a list of what `fill` writes.
    pub fn list(&mut self, key: &[u8], fill: impl FnOnce(&mut Encoder)) {
        self.key(key).list(fill);
    }

    /// Puts in a dictionary of what `fill` puts in.
    ///
    /// # Panics
    /// If `fill` puts the same key in twice.
    pub fn dict(&mut self, key: &[u8], fill: impl FnOnce(&mut DictEncoder<'_>)) {
        self.key(key).dict(fill);
    }

    /// Writes a key. The caller writes one value to what is returned.
    fn key(&mut self, key: &[u8]) -> &mut Encoder {
        let start = self.encoder.out.len();
        self.encoder.bytes(key);
        let end = self.encoder.out.len();
        self.entries.push(Entry { start, key: end - key.len()..end });
        self.encoder
    }

    /// Brings the entries into the order of their keys, which costs nothing when they came in it.
    fn sort(self) {
        let out = &mut self.encoder.out;
        let key = |e: &Entry| &out[e.key.clone()];
        if self.entries.is_sorted_by(|a, b| key(a) < key(b)) {
            return;
        }
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        order.sort_by_key(|&i| key(&self.entries[i]));
        assert!(
            order.is_sorted_by(|&a, &b| key(&self.entries[a]) < key(&self.entries[b])),
            "duplicate dictionary key"
        );
        let mut sorted = Vec::with_capacity(out.len() - self.start);
        for i in order {
            let end = self.entries.get(i + 1).map_or(out.len(), |next| next.start);
            sorted.extend_from_slice(&out[self.entries[i].start..end]);
        }
        out.truncate(self.start);
        out.append(&mut sorted);
    }
}
