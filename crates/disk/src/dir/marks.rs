//! What each file was like when we last looked at it or wrote to it, so that a change by somebody else is noticed.
//!
//! A file is *noted* before its data is checked. Whoever writes to it looks before and after: a difference before is somebody
//! else's, and then nothing is written; what is seen after is ours. Whoever reads to give bytes away looks after the read, since
//! file systems set the time of a change before they change anything. So what is served was in the file while it was as noted.
//!
//! What cannot be seen: a change that keeps size and time of modification (a program may set the time back; clocks of file
//! systems before Linux 6.13 stand still for up to 10 ms), most writes through a mapping of the file, and on network file systems and where
//! time is not exact, what happens between a write of ours and the next sync, for there times of change come when they come.

use crate::error::ChangedByOther;
use crate::storage::FileIdentity;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The marks of the files of one torrent, by the numbers of the files.
#[derive(Debug, Default)]
pub(super) struct Marks(Mutex<Vec<Mark>>);

/// What one file was like. A file that was not there is marked, too. There is one for each file of ten thousand torrents, so it is
/// packed.
#[derive(Clone, Copy, Debug)]
struct Mark {
    number: u32,
    /// Writes of ours so far.
    writes: u32,
    len: u64,
    /// See [`FileIdentity::mtime_ns`]; enough for some centuries.
    mtime_ns: i64,
    inode: u64,
    exists: bool,
    /// Writes of ours whose time the file system may not have set yet: that it changes says nothing.
    unsettled: bool,
}

impl Mark {
    fn new(number: u32, seen: FileIdentity, unsettled: bool) -> Self {
        let FileIdentity { len, mtime_ns, inode, exists } = seen;
        Self { number, writes: 0, len, mtime_ns: packed(mtime_ns), inode, exists, unsettled }
    }

    fn is(&self, seen: &FileIdentity) -> bool {
        let same = self.exists == seen.exists && self.inode == seen.inode;
        same && if self.unsettled {
            seen.len >= self.len
        } else {
            self.len == seen.len && self.mtime_ns == packed(seen.mtime_ns)
        }
    }
}

fn packed(mtime_ns: i128) -> i64 {
    let least = if mtime_ns < 0 { i64::MIN } else { i64::MAX };
    i64::try_from(mtime_ns).unwrap_or(least)
}

impl Marks {
    /// The file is taken for what it is now; `None`: there is none.
    pub(super) fn note(&self, number: u32, seen: Option<FileIdentity>) {
        self.set(number, seen.unwrap_or_default(), false);
    }

    /// The file is as we left it. `exact`: its time is that of our last write already.
    pub(super) fn wrote(&self, number: u32, seen: FileIdentity, exact: bool) {
        self.set(number, seen, !exact);
    }

    /// Everything written before the writes were `writes` has its time now.
    pub(super) fn settle(&self, number: u32, writes: u32, seen: FileIdentity) {
        let mut marks = self.lock();
        if let Ok(at) = place(&marks, number)
            && marks[at].writes == writes
            && marks[at].is(&seen)
        {
            marks[at] = Mark { writes, ..Mark::new(number, seen, false) };
        }
    }

    /// The number of our writes, if the file's time is not settled.
    pub(super) fn unsettled(&self, number: u32) -> Option<u32> {
        let marks = self.lock();
        let mark = marks[place(&marks, number).ok()?];
        mark.unsettled.then_some(mark.writes)
    }

    /// Whether the file is as it should be. One that nobody noted is.
    pub(super) fn is_same(&self, number: u32, seen: &FileIdentity) -> bool {
        let marks = self.lock();
        place(&marks, number).map_or(true, |at| marks[at].is(seen))
    }

    /// As [`Marks::is_same`], as an error.
    pub(super) fn check(&self, number: u32, seen: &FileIdentity) -> io::Result<()> {
        if self.is_same(number, seen) { Ok(()) } else { Err(io::Error::other(ChangedByOther)) }
    }

    /// Nothing is known of the file any more.
    pub(super) fn forget(&self, number: u32) {
        let mut marks = self.lock();
        if let Ok(at) = place(&marks, number) {
            marks.remove(at);
        }
    }

    fn set(&self, number: u32, seen: FileIdentity, unsettled: bool) {
        let mut marks = self.lock();
        let fresh = Mark::new(number, seen, unsettled);
        match place(&marks, number) {
            Ok(at) => marks[at] = Mark { writes: marks[at].writes.wrapping_add(1), ..fresh },
            Err(at) => {
                if marks.len() == marks.capacity() {
                    // A torrent of one file has room for one, others by halves.
                    let more = (marks.len() / 2).max(1);
                    marks.reserve_exact(more);
                }
                marks.insert(at, fresh);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Mark>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the mark of `number` is, or belongs.
fn place(marks: &[Mark], number: u32) -> Result<usize, usize> {
    marks.binary_search_by_key(&number, |mark| mark.number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(len: u64, mtime_ns: i128) -> FileIdentity {
        FileIdentity { len, mtime_ns, inode: 7, exists: true }
    }

    #[test]
    fn what_we_left_is_ours_and_all_else_is_not() {
        let marks = Marks::default();
        assert!(marks.is_same(3, &seen(1, 1)), "nobody noted it");
        marks.note(3, None);
        assert!(marks.check(3, &seen(0, 0)).is_err(), "somebody else made it");
        marks.wrote(3, seen(10, 5), true);
        assert!(marks.check(3, &seen(10, 5)).is_ok());
        let other = FileIdentity { inode: 8, ..seen(10, 5) };
        for changed in [seen(9, 5), seen(11, 5), seen(10, 6), other, FileIdentity::default()] {
            assert!(!marks.is_same(3, &changed), "{changed:?}");
        }
        marks.forget(3);
        assert!(marks.is_same(3, &other));
    }

    #[test]
    fn times_that_come_late_are_ours_until_they_are_settled() {
        let marks = Marks::default();
        marks.wrote(1, seen(10, 5), false);
        assert!(marks.is_same(1, &seen(12, 9)) && !marks.is_same(1, &seen(9, 5)));
        let writes = marks.unsettled(1).unwrap();
        marks.wrote(1, seen(20, 5), false);
        marks.settle(1, writes, seen(20, 9));
        assert!(marks.is_same(1, &seen(20, 11)), "there was another write");
        let writes = marks.unsettled(1).unwrap();
        marks.settle(1, writes, seen(20, 12));
        assert!(marks.is_same(1, &seen(20, 12)) && !marks.is_same(1, &seen(20, 13)));
        assert_eq!(marks.unsettled(1), None);
    }
}
