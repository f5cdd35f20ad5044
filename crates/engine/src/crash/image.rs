//! What may be on the disk after the power went at some point of the log.
//!
//! All that was synced, and of the rest whatever chance leaves:
//!
//! - each write whole, not at all, or torn: a part of its sectors (512 bytes) or pages (4 KiB), or all before or behind some point;
//!   later ones without earlier ones;
//! - the length as it was at any time since the last sync, with zeros or the leavings of other files where the data is not;
//! - the time of change as it was *ever*: a sync of data need not write it, and it may be newer or older than the data. Most often
//!   the identity is the one that somebody has seen and may have written down;
//! - of names that were created, changed or removed since the directory was synced, any;
//! - what a failed sync gave up on, there or not, whatever is synced afterwards.

use super::disk::Event;
use super::view::{Change, Inode, View, put};
use samara_swarm::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};

const SECTOR: usize = 512;
const PAGE: usize = 4096;

/// How sure it is that a change is on disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Pending,
    Durable,
    GivenUp,
}

/// A power failure after everything in a log, and nothing more, has happened. The log begins with an empty disk.
pub(super) struct PowerLoss<'a> {
    log: &'a [Event],
    certain: Certain,
}

/// What is certain at the end of a log.
struct Certain {
    /// Of each event of the log, if it is a change.
    fates: Vec<Fate>,
    /// Up to where the length of a file is durable, by inode.
    lengths: BTreeMap<u64, usize>,
}

impl<'a> PowerLoss<'a> {
    pub(super) fn after(log: &'a [Event]) -> Self {
        Self { log, certain: Certain::of(log) }
    }

    /// An image of the disk.
    pub(super) fn image(&self, rng: &mut Rng) -> View {
        let mut view = View::default();
        let mood = Mood::pick(rng);
        for (event, fate) in self.log.iter().zip(&self.certain.fates) {
            let Event::Change(change) = event else { continue };
            if *fate == Fate::Durable || mood.keeps(rng) {
                view.apply_name(change);
            }
        }
        let inodes: BTreeSet<u64> = view.names.values().copied().collect();
        let seen = rng.below(2) == 0;
        for inode in inodes {
            view.inodes.insert(inode, self.file(inode, seen, rng));
        }
        view
    }

    /// One file.
    ///
    /// If `seen`, it looks as somebody has seen it last, most likely to write that down in a record.
    fn file(&self, inode: u64, seen: bool, rng: &mut Rng) -> Inode {
        let Self { log, certain } = self;
        let floor = certain.lengths.get(&inode).copied().unwrap_or(0);
        // What is true of the file after each change of it: the number of the event, length, time of change.
        let mut history = vec![(0, 0, 0)];
        for (at, event) in log.iter().enumerate() {
            let &(_, len, _) = history.last().expect("never empty");
            match event {
                Event::Change(Change::Create { inode: i, mtime, .. }) if *i == inode => {
                    history.push((at, len, *mtime));
                }
                Event::Change(Change::Resize { inode: i, len, mtime }) if *i == inode => {
                    history.push((at, *len, *mtime));
                }
                Event::Change(Change::Write { inode: i, offset, bytes, mtime }) if *i == inode => {
                    history.push((at, len.max(offset + bytes.len()), *mtime));
                }
                _ => {}
            }
        }
        let durable = history.iter().rposition(|&(at, ..)| at < floor).unwrap_or(0);
        let (mut len, mut mtime) = (history[pick(durable, history.len(), rng)].1, 0);
        match if seen { 3 } else { rng.below(4) } {
            0 => mtime = history[history.len() - 1].2,
            1 => mtime = history[pick(0, history.len(), rng)].2,
            _ => {
                let look = |(at, event): (usize, &'a Event)| match event {
                    Event::Looked { inode: i, identity } if *i == inode => Some((at, identity)),
                    _ => None,
                };
                let looks: Vec<_> = log.iter().enumerate().filter_map(look).collect();
                let recent = looks.len().saturating_sub(if seen { 1 } else { 3 });
                if let Some((at, seen)) = looks.get(pick(recent, looks.len().max(1), rng)) {
                    mtime = seen.mtime_ns;
                    if *at >= floor {
                        len = usize::try_from(seen.len).expect("small");
                    }
                }
            }
        }
        let mut bytes = self.content(inode, rng);
        bytes.resize(len, 0);
        Inode { bytes, mtime }
    }

    /// The bytes of a file, as long as it ever was.
    fn content(&self, inode: u64, rng: &mut Rng) -> Vec<u8> {
        let Self { log, certain } = self;
        let longest = log.iter().map(|event| match event {
            Event::Change(Change::Resize { inode: i, len, .. }) if *i == inode => *len,
            Event::Change(Change::Write { inode: i, offset, bytes, .. }) if *i == inode => {
                offset + bytes.len()
            }
            _ => 0,
        });
        let longest = longest.max().unwrap_or(0);
        let leavings = if rng.below(4) == 0 { 0xa5 } else { 0 };
        let mut file = vec![leavings; longest];
        let mood = Mood::pick(rng);
        for (event, fate) in log.iter().zip(&certain.fates) {
            let Event::Change(Change::Write { inode: i, offset, bytes, .. }) = event else {
                continue;
            };
            if *i != inode {
                continue;
            }
            if *fate == Fate::Durable {
                put(&mut file, *offset, bytes);
            } else if mood.keeps(rng) {
                tear(&mut file, *offset, bytes, rng);
            }
        }
        file
    }
}

/// What a session finds that is started after a kill: everything.
pub(super) fn after_kill(log: &[Event]) -> View {
    let mut view = View::default();
    for event in log {
        if let Event::Change(change) = event {
            view.apply(change);
        }
    }
    view
}

impl Certain {
    fn of(log: &[Event]) -> Self {
        let mut fates = vec![Fate::Pending; log.len()];
        let mut lengths = BTreeMap::new();
        for (at, event) in log.iter().enumerate() {
            match event {
                Event::SyncFile { inode, begun } => {
                    lengths.insert(*inode, *begun);
                    settle(log, &mut fates, *begun, Fate::Durable, |c| c.inode() == Some(*inode));
                }
                Event::SyncFailed { inode } => {
                    settle(log, &mut fates, at, Fate::GivenUp, |c| c.inode() == Some(*inode));
                }
                Event::SyncDir { dir, begun } => {
                    let is_in = |change: &Change| match change {
                        Change::Create { path, .. } | Change::Remove { path } => {
                            path.starts_with(dir)
                        }
                        Change::Rename { to, .. } => to.starts_with(dir),
                        Change::Resize { .. } | Change::Write { .. } => false,
                    };
                    settle(log, &mut fates, *begun, Fate::Durable, is_in);
                }
                _ => {}
            }
        }
        Self { fates, lengths }
    }
}

/// The pending changes before `end` that are `concerned` have this fate.
fn settle(
    log: &[Event],
    fates: &mut [Fate],
    end: usize,
    fate: Fate,
    concerned: impl Fn(&Change) -> bool,
) {
    for (event, old) in log[..end].iter().zip(fates) {
        if let Event::Change(change) = event
            && *old == Fate::Pending
            && concerned(change)
        {
            *old = fate;
        }
    }
}

/// How much of what is not certain there is: images with nothing or all of it are as telling as those with a part.
#[derive(Clone, Copy)]
enum Mood {
    Nothing,
    All,
    Some,
}

impl Mood {
    fn pick(rng: &mut Rng) -> Self {
        match rng.below(5) {
            0 => Self::Nothing,
            1 => Self::All,
            _ => Self::Some,
        }
    }

    fn keeps(self, rng: &mut Rng) -> bool {
        match self {
            Self::Nothing => false,
            Self::All => true,
            Self::Some => rng.below(2) == 0,
        }
    }
}

/// Writes some of `bytes`.
fn tear(file: &mut Vec<u8>, offset: usize, bytes: &[u8], rng: &mut Rng) {
    let unit = if rng.below(2) == 0 { SECTOR } else { PAGE };
    let whole = rng.below(3) == 0;
    let from = offset / unit;
    let units = (offset + bytes.len()).div_ceil(unit) - from;
    let cut = pick(0, units + 1, rng);
    let way = rng.below(3);
    for n in 0..units {
        let there = match way {
            0 => n < cut,
            1 => n >= cut,
            _ => rng.below(2) == 0,
        };
        if there || whole {
            let begin = ((from + n) * unit).max(offset);
            let end = ((from + n + 1) * unit).min(offset + bytes.len());
            put(file, begin, &bytes[begin - offset..end - offset]);
        }
    }
}

/// A number from `from` up to, not including, `end`.
pub(super) fn pick(from: usize, end: usize, rng: &mut Rng) -> usize {
    from + rng.below(end.saturating_sub(from).max(1))
}
