//! Lists of addresses that one wants nothing to do with.
//!
//! [`FilterReader`] reads the three forms that are around, line by line, each line in whichever form it is:
//!
//! ```text
//! 001.002.003.000 - 001.002.003.255 , 100 , who    eMule .dat: blocked if the level is below 128, let through from there on
//! who:1.2.3.0-1.2.3.255                            PeerGuardian .p2p
//! 1.2.3.0/24, 1.2.3.0-1.2.3.255, 2001:db8::/32     one on each line; or a single address
//! ```
//!
//! Lines that are empty or begin with `#`, `;` or `//` are comments. Those that make no sense are counted, the first few are
//! remembered with their number, and the rest of the file is used. Compressed lists are the caller's to unpack, in parts of
//! any size.
//!
//! [`IpFilter`] keeps what is blocked as ranges that lie apart, so that an address is looked up by bisection.

mod line;
mod ranges;
#[cfg(test)]
mod tests;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use line::Line;
use ranges::Ranges;

/// The most ranges that are taken from one list: eight times what the largest have.
pub const MAX_RANGES: usize = 4_000_000;

/// The longest line, in bytes. Longer ones make no sense.
pub const MAX_LINE: usize = 1024;

/// How many lines that make no sense are remembered.
pub const MAX_NAMED: usize = 5;

/// How much of such a line is remembered, in characters.
const MAX_SHOWN: usize = 60;

/// Addresses that are blocked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IpFilter {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

/// A line that makes no sense.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadLine {
    /// Its number, from 1.
    pub number: u64,
    /// What it begins with.
    pub text: String,
}

/// What was found in a list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FilterReport {
    /// Lines with a range that is blocked.
    pub blocked: u64,
    /// Lines with a range that their level lets through. They change nothing.
    pub let_through: u64,
    /// Lines that make no sense.
    pub bad: u64,
    /// The first [`MAX_NAMED`] of those.
    pub first_bad: Vec<BadLine>,
    /// Ranges beyond [`MAX_RANGES`], which are left out.
    pub too_many: u64,
}

/// Reads a list, in parts of any size.
#[derive(Default)]
pub struct FilterReader {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
    /// The beginning of a line whose end has not come, up to one byte more than [`MAX_LINE`].
    partial: Vec<u8>,
    line: u64,
    report: FilterReport,
}

impl IpFilter {
    /// Reads a whole list.
    #[must_use]
    pub fn parse(list: &[u8]) -> (Self, FilterReport) {
        let mut reader = FilterReader::default();
        reader.feed(list);
        reader.finish()
    }

    /// All that is blocked by one of `filters`.
    #[must_use]
    pub fn union(filters: &[Self]) -> Self {
        Self {
            v4: Ranges::new(filters.iter().flat_map(|filter| filter.v4.iter()).collect()),
            v6: Ranges::new(filters.iter().flat_map(|filter| filter.v6.iter()).collect()),
        }
    }

    /// Whether `ip` is blocked. An IPv4 address in IPv6 clothes is one of IPv4.
    #[must_use]
    pub fn blocks(&self, ip: IpAddr) -> bool {
        match ip.to_canonical() {
            IpAddr::V4(ip) => self.v4.contains(ip.to_bits()),
            IpAddr::V6(ip) => self.v6.contains(ip.to_bits()),
        }
    }

    /// How many ranges there are, with those joined that overlap or touch.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether nothing is blocked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl FilterReader {
    /// Takes the next part of the list.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (head, rest) = (&bytes[..end], &bytes[end + 1..]);
            if self.partial.is_empty() {
                self.on_line(head);
            } else {
                self.keep(head);
                let line = core::mem::take(&mut self.partial);
                self.on_line(&line);
            }
            bytes = rest;
        }
        self.keep(bytes);
    }

    /// The list is at its end.
    #[must_use]
    pub fn finish(mut self) -> (IpFilter, FilterReport) {
        let last = core::mem::take(&mut self.partial);
        self.on_line(&last);
        (IpFilter { v4: Ranges::new(self.v4), v6: Ranges::new(self.v6) }, self.report)
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = MAX_LINE + 1 - self.partial.len();
        self.partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn on_line(&mut self, text: &[u8]) {
        self.line += 1;
        let line = if text.len() > MAX_LINE { Line::Nonsense } else { line::parse(text) };
        match line {
            Line::Comment => {}
            Line::LetThrough => self.report.let_through += 1,
            Line::Nonsense => self.on_bad(text),
            _ if self.v4.len() + self.v6.len() >= MAX_RANGES => self.report.too_many += 1,
            Line::V4(first, last) => {
                self.report.blocked += 1;
                self.v4.push((first.to_bits(), last.to_bits()));
            }
            Line::V6(first, last) => {
                self.report.blocked += 1;
                self.v6.push((first.to_bits(), last.to_bits()));
            }
        }
    }

    fn on_bad(&mut self, text: &[u8]) {
        self.report.bad += 1;
        if self.report.first_bad.len() < MAX_NAMED {
            let text = String::from_utf8_lossy(&text[..text.len().min(4 * MAX_SHOWN)]);
            let shown = text.trim().chars().filter(|c| !c.is_control()).take(MAX_SHOWN).collect();
            self.report.first_bad.push(BadLine { number: self.line, text: shown });
        }
    }
}

impl fmt::Display for FilterReport {
    /// As it is told to the user.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ranges blocked", self.blocked)?;
        if self.too_many > 0 {
            write!(f, ", {} more left out, for {MAX_RANGES} are the most", self.too_many)?;
        }
        if self.bad > 0 {
            write!(f, ", {} lines make no sense", self.bad)?;
            for (at, BadLine { number, text }) in self.first_bad.iter().enumerate() {
                let comma = if at == 0 { ": " } else { ", " };
                write!(f, "{comma}line {number} ({text})")?;
            }
        }
        Ok(())
    }
}
