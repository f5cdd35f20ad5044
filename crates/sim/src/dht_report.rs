//! What came of a virtual DHT, as numbers and as a table.

use samara_wire::time::{Duration, Instant};
use std::fmt;

/// One lookup that has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LookupRecord {
    /// Time until the one who announced was found, if he was.
    pub found_after: Option<Duration>,
    /// Steps to the first node that named any peer; lies count.
    pub hops: u8,
    /// Nodes asked.
    pub asked: u32,
    /// From start to end.
    pub took: Duration,
}

/// What came of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DhtReport {
    /// Nodes at any time.
    pub nodes: usize,
    /// Lookups begun.
    pub begun: usize,
    /// Lookups that ended.
    pub lookups: Vec<LookupRecord>,
    /// For each announce, nodes that said they stored it; lies count.
    pub stored: Vec<u32>,
    /// Nodes that left.
    pub left: usize,
    /// Datagrams sent, by all.
    pub datagrams: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Virtual time of the whole run.
    pub time: Duration,
}

impl DhtReport {
    pub(crate) const fn new(nodes: usize) -> Self {
        Self {
            nodes,
            begun: 0,
            lookups: Vec::new(),
            stored: Vec::new(),
            left: 0,
            datagrams: 0,
            bytes: 0,
            time: Duration::ZERO,
        }
    }

    pub(crate) fn finish(&mut self, now: Instant) {
        self.time = now - Instant::ZERO;
    }

    /// Lookups that found the one who announced, of a hundred begun.
    #[must_use]
    pub fn success_percent(&self) -> f64 {
        let found = self.lookups.iter().filter(|lookup| lookup.found_after.is_some()).count();
        ratio(found * 100, self.begun)
    }

    /// The value below which `percent` of a hundred lookups lie.
    fn percentile<T: Ord + Copy + Default>(
        &self,
        percent: usize,
        value: impl Fn(&LookupRecord) -> T,
    ) -> T {
        let mut values: Vec<T> = self.lookups.iter().map(value).collect();
        values.sort_unstable();
        let at = values.len() * percent / 100;
        values.get(at).or(values.last()).copied().unwrap_or_default()
    }

    /// Heads of the columns of [`DhtReport::row`].
    #[must_use]
    pub const fn header() -> &'static str {
        "| nodes | left | lookups | found | hops, median / 95 % | asked, median / 95 % | found after, median / 95 % | ended after, median / 95 % | stored at | datagrams a node and minute |\n\
         | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |"
    }

    /// The numbers as one row of a table.
    #[must_use]
    pub fn row(&self) -> String {
        let hops = |percent| self.percentile(percent, |lookup| lookup.hops);
        let asked = |percent| self.percentile(percent, |lookup| lookup.asked);
        let took = |percent| self.percentile(percent, |lookup| lookup.took).as_secs_f64();
        let found = |percent| {
            self.percentile(percent, |lookup| lookup.found_after.unwrap_or(lookup.took))
                .as_secs_f64()
        };
        let stored: u32 = self.stored.iter().sum();
        let minutes = usize::try_from(self.time.as_secs() / 60).unwrap_or(usize::MAX);
        let datagrams = usize::try_from(self.datagrams).unwrap_or(usize::MAX);
        format!(
            "| {} | {} | {} | {:.1} % | {} / {} | {} / {} | {:.1} s / {:.1} s | {:.1} s / {:.1} s | {:.1} | {:.0} |",
            self.nodes,
            self.left,
            self.begun,
            self.success_percent(),
            hops(50),
            hops(95),
            asked(50),
            asked(95),
            found(50),
            found(95),
            took(50),
            took(95),
            ratio(stored as usize, self.stored.len()),
            ratio(datagrams, self.nodes * minutes),
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "for the eye")]
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

impl fmt::Display for DhtReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", Self::header(), self.row())
    }
}
