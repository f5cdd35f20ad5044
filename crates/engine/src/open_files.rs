//! How many files and connections the system lets the process have open.
//!
//! The disk takes at most half of them for files; the rest is for connections, but for a few that everything else needs.

use std::io;

/// Kept for listening sockets, resume data, trackers and look-ups.
const RESERVE: usize = 64;

/// Raises the limit on open files of this process as far as the system lets it, and gives what it is then. For programs to
/// call before [`Session::start`](crate::Session::start), which sees to it that connections find room within the limit.
#[cfg(unix)]
pub fn raise_open_files_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // Some systems call the highest limit infinite and then take no more than this.
        let modest = Some(10_240).filter(|&n| limit.current.is_some_and(|current| current < n));
        let raised = [limit.maximum, modest.or(limit.current)]
            .into_iter()
            .find(|&current| setrlimit(Resource::Nofile, Rlimit { current, ..limit }).is_ok());
        tracing::debug!(?limit, ?raised, "open files");
    }
    granted()
}

/// Such a limit is unknown here.
#[cfg(not(unix))]
pub fn raise_open_files_limit() -> usize {
    granted()
}

#[cfg(unix)]
fn granted() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

#[cfg(not(unix))]
fn granted() -> usize {
    usize::MAX
}

/// Of `wanted` connections as many as the system has room for.
pub(crate) fn connections(wanted: usize) -> usize {
    let granted = granted();
    let possible = possible(wanted, granted);
    if possible < wanted {
        tracing::warn!(
            "{possible} connections at most and not {wanted}: the system grants {granted} open files (ulimit -n)"
        );
    }
    possible
}

/// Of `wanted` newcomers as many as may shake hands at a time: they take no descriptors that files need.
pub(crate) fn newcomers(wanted: usize) -> usize {
    wanted.min((granted() / 8).max(4))
}

fn possible(wanted: usize, granted: usize) -> usize {
    wanted.min((granted / 2).saturating_sub(RESERVE).max(1))
}

/// Whether `error` says that no file or connection can be opened until another is closed.
pub(crate) fn exhausted(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        let code = error.raw_os_error();
        [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE]
            .iter()
            .any(|e| code == Some(e.raw_os_error()))
    }
    #[cfg(not(unix))]
    {
        let _ = error;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_files() {
        assert_eq!(possible(500, 1 << 20), 500);
        assert_eq!(possible(500, 1024), 448);
        assert_eq!(possible(500, 64), 1);
        assert_eq!(possible(usize::MAX, usize::MAX), usize::MAX / 2 - RESERVE);
    }

    #[cfg(unix)]
    #[test]
    fn the_limit_is_raised_and_running_into_it_is_known() {
        let before = granted();
        let raised = raise_open_files_limit();
        assert!(raised >= before && raised == granted(), "{before}, then {raised}");
        let error = |errno: rustix::io::Errno| io::Error::from_raw_os_error(errno.raw_os_error());
        assert!(exhausted(&error(rustix::io::Errno::MFILE)));
        assert!(!exhausted(&error(rustix::io::Errno::CONNABORTED)));
    }
}
