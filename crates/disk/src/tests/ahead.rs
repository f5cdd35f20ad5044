//! In what order a check asks the disk to read.

use super::{Sample, disk, wait};
use crate::{Allocation, FileIdentity, MemoryStorage, PieceOutcome, Storage};
use samara_wire::id::{FileIndex, PieceIndex};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// A range of a file.
type Place = (FileIndex, Range<u64>);

/// Files in memory, and what was announced of them. Nothing may be read that was not.
#[derive(Default)]
struct Announced {
    files: MemoryStorage,
    announced: Mutex<Vec<Place>>,
    unannounced: Mutex<Vec<Place>>,
}

impl Storage for Announced {
    fn read_at(&self, file: FileIndex, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let wanted = offset..offset + buf.len() as u64;
        let holds = |(at, range): &Place| {
            *at == file && range.start <= wanted.start && wanted.end <= range.end
        };
        if !self.announced.lock().unwrap().iter().any(holds) {
            self.unannounced.lock().unwrap().push((file, wanted));
        }
        self.files.read_at(file, offset, buf)
    }

    fn will_read(&self, file: FileIndex, offset: u64, len: u64) {
        self.announced.lock().unwrap().push((file, offset..offset + len));
    }

    fn write_at(&self, file: FileIndex, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.files.write_at(file, offset, bufs)
    }

    fn sync(&self, file: FileIndex) -> io::Result<()> {
        self.files.sync(file)
    }

    fn identity(&self, file: FileIndex) -> io::Result<Option<FileIdentity>> {
        self.files.identity(file)
    }

    fn prepare(&self, file: FileIndex, allocation: Allocation) -> io::Result<()> {
        self.files.prepare(file, allocation)
    }

    fn delete(&self, file: FileIndex) -> io::Result<()> {
        self.files.delete(file)
    }

    fn describe(&self, file: FileIndex) -> String {
        self.files.describe(file)
    }
}

#[test]
fn a_check_reads_ahead_in_one_sweep() {
    let lens = [16_384 * 5, 100_000, 300_000, 7];
    for sample in [Sample::new(&lens, 65_536, None), Sample::new_v2(&lens, 65_536)] {
        let disk = disk(1);
        let storage = Arc::new(Announced::default());
        let store = sample.open_with(&disk, Arc::clone(&storage) as _);
        for p in 0..sample.piece_count() {
            let blocks = sample.blocks(&disk, PieceIndex(p));
            let outcome = wait(|reply| store.write_piece(PieceIndex(p), blocks, false, reply));
            assert!(matches!(outcome, PieceOutcome::Verified { .. }));
        }
        let outcome = wait(|reply| store.check(None, Arc::default(), reply)).unwrap();
        assert!(outcome.good.is_full());
        // One after another, each file from its beginning to its end.
        let (mut file, mut at) = (0, 0);
        for (next, range) in storage.announced.lock().unwrap().iter() {
            if next.as_usize() != file {
                assert_eq!(at, lens[file], "the whole of the file before");
                (file, at) = (file + 1, 0);
            }
            assert_eq!((next.as_usize(), range.start), (file, at));
            at = range.end;
        }
        assert_eq!((file, at), (3, 7));
        assert_eq!(*storage.unannounced.lock().unwrap(), []);
    }
}
