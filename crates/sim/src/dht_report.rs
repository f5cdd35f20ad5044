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

/// One announce that has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AnnounceRecord {
    /// Nodes that said they stored it; lies count.
    pub stored: u32,
    /// Honest nodes behind no NAT that have it.
    pub reachable: usize,
    /// How many of the eight of these that are nearest to the torrent have it.
    pub nearest: usize,
    /// Steps to the nearest node that answered.
    pub depth: u8,
    /// Nodes asked.
    pub asked: u32,
    /// From start to end.
    pub took: Duration,
}

/// An announce has succeeded if so many honest nodes have it that anybody can reach: half of those that should.
pub const ENOUGH_HOLDERS: usize = 4;

/// What came of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DhtReport {
    /// Nodes at any time.
    pub nodes: usize,
    /// Lookups begun.
    pub begun: usize,
    /// Lookups that ended.
    pub lookups: Vec<LookupRecord>,
    /// Announces that ended, first ones and repeated ones.
    pub announces: Vec<AnnounceRecord>,
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
            announces: Vec::new(),
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

    /// Announces that reached [`ENOUGH_HOLDERS`], of a hundred.
    #[must_use]
    pub fn announce_percent(&self) -> f64 {
        let enough = self.announces.iter().filter(|a| a.reachable >= ENOUGH_HOLDERS).count();
        ratio(enough * 100, self.announces.len())
    }

    /// Heads of the columns of [`DhtReport::lookup_row`].
    #[must_use]
    pub const fn lookup_header() -> &'static str {
        "| nodes | left | lookups | found | hops, median / 95 % | asked, median / 95 % | found after, median / 95 % | ended after, median / 95 % | datagrams a node and minute |\n\
         | --: | --: | --: | --: | --: | --: | --: | --: | --: |"
    }

    /// What came of the lookups, as one row of a table.
    #[must_use]
    pub fn lookup_row(&self) -> String {
        let lookups = &self.lookups;
        let minutes = usize::try_from(self.time.as_secs() / 60).unwrap_or(usize::MAX);
        let datagrams = usize::try_from(self.datagrams).unwrap_or(usize::MAX);
        format!(
            "| {} | {} | {} | {:.1} % | {} | {} | {} | {} | {:.0} |",
            self.nodes,
            self.left,
            self.begun,
            self.success_percent(),
            numbers(lookups, |lookup| lookup.hops),
            numbers(lookups, |lookup| lookup.asked),
            seconds(lookups, |lookup| lookup.found_after.unwrap_or(lookup.took)),
            seconds(lookups, |lookup| lookup.took),
            ratio(datagrams, self.nodes * minutes),
        )
    }

    /// Heads of the columns of [`DhtReport::announce_row`].
    #[must_use]
    pub const fn announce_header() -> &'static str {
        "| nodes | announces | stored well | hops, median / 95 % | asked, median / 95 % | ended after, median / 95 % | said to be stored at | reachable and honest of these, mean / 5 % | of the 8 nearest such, mean |\n\
         | --: | --: | --: | --: | --: | --: | --: | --: | --: |"
    }

    /// What came of the announces, as one row of a table.
    #[must_use]
    pub fn announce_row(&self) -> String {
        let announces = &self.announces;
        let mean = |value: fn(&AnnounceRecord) -> usize| {
            ratio(announces.iter().map(value).sum(), announces.len())
        };
        format!(
            "| {} | {} | {:.1} % | {} | {} | {} | {:.1} | {:.1} / {} | {:.1} |",
            self.nodes,
            announces.len(),
            self.announce_percent(),
            numbers(announces, |announce| announce.depth),
            numbers(announces, |announce| announce.asked),
            seconds(announces, |announce| announce.took),
            mean(|announce| announce.stored as usize),
            mean(|announce| announce.reachable),
            percentile(announces, 5, |announce| announce.reachable),
            mean(|announce| announce.nearest),
        )
    }
}

/// The value below which `percent` of a hundred lie.
fn percentile<R, T: Ord + Copy + Default>(
    records: &[R],
    percent: usize,
    value: impl Fn(&R) -> T,
) -> T {
    let mut values: Vec<T> = records.iter().map(value).collect();
    values.sort_unstable();
    let at = values.len() * percent / 100;
    values.get(at).or(values.last()).copied().unwrap_or_default()
}

/// Median and 95th percentile.
fn numbers<R, T: Ord + Copy + Default + fmt::Display>(
    records: &[R],
    value: impl Fn(&R) -> T,
) -> String {
    format!("{} / {}", percentile(records, 50, &value), percentile(records, 95, &value))
}

/// Median and 95th percentile.
fn seconds<R>(records: &[R], value: impl Fn(&R) -> Duration) -> String {
    let at = |percent| percentile(records, percent, &value).as_secs_f64();
    format!("{:.1} s / {:.1} s", at(50), at(95))
}

#[expect(clippy::cast_precision_loss, reason = "for the eye")]
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

impl fmt::Display for DhtReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n", Self::lookup_header(), self.lookup_row())?;
        write!(f, "{}\n{}", Self::announce_header(), self.announce_row())
    }
}
