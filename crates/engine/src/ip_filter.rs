//! Addresses that the user wants nothing to do with: lists of them in files, and the filter of a session.
//!
//! No connection is opened to a peer that is blocked, none is accepted from there, and those that there are when the filter
//! changes end, those by which links are resolved too. Trackers and nodes of the DHT are not peers and not filtered: lists are made against peers, and whoever does
//! not want a tracker does not add it.

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzed;

use flate2::bufread::MultiGzDecoder;
use samara_wire::ip_filter::{FilterReader, FilterReport, IpFilter};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

/// The most bytes of a list, unpacked: ten times what the largest have.
const MAX_BYTES: u64 = 512 << 20;

/// Read at a time.
const READ: usize = 256 << 10;

/// What a gzip file begins with (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Why a list of addresses cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum IpFilterError {
    /// The file is not there, cannot be read, or is not what its first bytes say.
    #[error("cannot read the IP filter {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system or the unpacking says.
        source: io::Error,
    },
    /// It is longer than any list there is.
    #[error("the IP filter {} has more than {} MiB unpacked", path.display(), MAX_BYTES >> 20)]
    TooLong {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a list: eMule `.dat`, PeerGuardian `.p2p`, or one range, network or address on each line; gzipped or not, whatever
/// the name. Blocks, for a second at most for the largest lists, so an event loop has it done elsewhere.
///
/// # Errors
/// If the file cannot be read. Lines that make no sense are no error: the report counts and names them.
pub fn read_ip_filter(path: &Path) -> Result<(IpFilter, FilterReport), IpFilterError> {
    let failed = |source| IpFilterError::Read { path: path.to_owned(), source };
    let mut file = BufReader::with_capacity(READ, File::open(path).map_err(failed)?);
    let packed = file.fill_buf().map_err(failed)?.starts_with(&GZIP);
    let list = match packed {
        true => read_list(MultiGzDecoder::new(file), MAX_BYTES),
        false => read_list(file, MAX_BYTES),
    };
    list.map_err(failed)?.ok_or_else(|| IpFilterError::TooLong { path: path.to_owned() })
}

/// `None` if it is longer than `most` bytes.
fn read_list(mut list: impl Read, most: u64) -> io::Result<Option<(IpFilter, FilterReport)>> {
    let mut reader = FilterReader::default();
    let (mut buf, mut total) = (vec![0; READ], 0);
    loop {
        let read = match list.read(&mut buf) {
            Ok(0) => return Ok(Some(reader.finish())),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        total += read as u64;
        if total > most {
            return Ok(None);
        }
        reader.feed(&buf[..read]);
    }
}

/// The filter of a session.
pub(crate) struct SessionFilter {
    /// Spares sessions without one the lock.
    blocks_some: AtomicBool,
    filter: RwLock<IpFilter>,
    changes: AtomicU64,
}

impl SessionFilter {
    pub(crate) fn new(filter: IpFilter) -> Self {
        let blocks_some = AtomicBool::new(!filter.is_empty());
        Self { blocks_some, filter: RwLock::new(filter), changes: AtomicU64::new(0) }
    }

    /// How often it was changed.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Puts another in its place.
    pub(crate) fn set(&self, filter: IpFilter) {
        let some = !filter.is_empty();
        let mut place = self.filter.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *place, filter);
        self.blocks_some.store(some, Ordering::Relaxed);
        drop(place);
        self.changes.fetch_add(1, Ordering::Release);
        // Millions of ranges are given back while nobody waits.
        drop(old);
    }

    /// Whether there is to be no connection with `ip`.
    pub(crate) fn blocks(&self, ip: IpAddr) -> bool {
        let filter = || self.filter.read().unwrap_or_else(PoisonError::into_inner);
        self.blocks_some.load(Ordering::Relaxed) && filter().blocks(ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const LIST: &[u8] = b"# a list\n192.0.2.0/24\nnobody knows\n";

    fn written(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn lists_are_read_packed_or_not_and_in_several_parts() {
        let plain = written(LIST);
        let (filter, report) = read_ip_filter(plain.path()).unwrap();
        assert!(filter.blocks("192.0.2.7".parse().unwrap()));
        assert_eq!((report.blocked, report.bad, report.first_bad[0].number), (1, 1, 3));
        let parts = [packed(LIST), packed(b"198.51.100.1\n")].concat();
        let (filter, report) = read_ip_filter(written(&parts).path()).unwrap();
        assert!(filter.blocks("192.0.2.7".parse().unwrap()));
        assert!(filter.blocks("198.51.100.1".parse().unwrap()) && report.bad == 1);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let damaged = written(&packed(LIST)[..20]);
        for path in [Path::new("/no/such/list"), damaged.path()] {
            let error = read_ip_filter(path).unwrap_err().to_string();
            assert!(error.contains(path.to_str().unwrap()), "{error}");
        }
    }

    #[test]
    fn a_bomb_is_left_when_it_is_too_long() {
        let bomb = packed(&vec![b'#'; 1 << 20]);
        assert!(bomb.len() < 1 << 13);
        assert!(read_list(MultiGzDecoder::new(&bomb[..]), 1 << 20).unwrap().is_some());
        assert!(read_list(MultiGzDecoder::new(&bomb[..]), (1 << 20) - 1).unwrap().is_none());
    }

    #[test]
    fn another_filter_holds_at_once() {
        let ip = "192.0.2.1".parse().unwrap();
        let filter = SessionFilter::new(IpFilter::default());
        assert!(!filter.blocks(ip));
        filter.set(IpFilter::parse(b"192.0.2.0/24").0);
        assert!(filter.blocks(ip));
        filter.set(IpFilter::default());
        assert!(!filter.blocks(ip));
    }
}
