//! What the fuzz targets need of this crate's inside (feature `fuzzing`, not part of the API).
//!
//! A target of something private stands in a file `fuzzed.rs` below the module that it is about, where it sees what it has to
//! see, and is named here. Each takes any bytes and panics if something that must always hold does not. `docs/fuzzing.md` lists
//! them.

pub use crate::dht::fuzzed::table_file;
pub use crate::ip_filter::fuzzed::list_file;
pub use crate::lsd::fuzzed::hearing;
pub use crate::mapping::fuzzed::{gateway_lifetimes, gateway_trust};
pub use crate::resolve::fuzzed::kept_layers;
pub use crate::resume::fuzzed::resume_data;
pub use crate::tracker::fuzzed::{packed_answer, tracker_url};
pub use crate::tracker_server::fuzzed::{tracker_datagrams, tracker_requests, tracker_store};
pub use crate::udp::fuzzed::datagram_kind;

/// Reads an input as a series of decisions. Beyond its end all are zero, so that any bytes are a script.
#[derive(Clone, Debug)]
pub struct Script<'a> {
    rest: &'a [u8],
}

impl<'a> Script<'a> {
    /// The decisions in `input`.
    #[must_use]
    pub const fn new(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    /// Whether nothing is left.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is left.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next bytes, with zeros for those that are not there.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let (taken, rest) = self.rest.split_at(N.min(self.rest.len()));
        array[..taken.len()].copy_from_slice(taken);
        self.rest = rest;
        array
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    /// Two bytes as a number.
    pub fn short(&mut self) -> u16 {
        u16::from_be_bytes(self.array())
    }

    /// Four bytes as a number.
    pub fn word(&mut self) -> u32 {
        u32::from_be_bytes(self.array())
    }

    /// Eight bytes as a number.
    pub fn long(&mut self) -> u64 {
        u64::from_be_bytes(self.array())
    }

    /// Yes or no.
    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let number = if bound <= 256 { self.byte().into() } else { usize::from(self.short()) };
        number % bound
    }

    /// One of `items`, which are some.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// Up to `most` bytes: two bytes say how many.
    pub fn bytes(&mut self, most: usize) -> &'a [u8] {
        let len = usize::from(self.short()) % (most + 1);
        let (taken, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        taken
    }
}
