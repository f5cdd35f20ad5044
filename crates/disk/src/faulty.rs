//! A storage that fails as told: for tests, here and above.
//!
//! Faults are bound to the count of calls of one kind, and delays are gates that the test opens, so a test with
//! faults is as deterministic as one without.

use crate::storage::{Allocation, FileIdentity, Look, Storage};
use samara_wire::bitfield::Bitfield;
use samara_wire::id::FileIndex;
use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Kinds of calls, counted apart, each from 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// [`Storage::read_at`].
    Read,
    /// [`Storage::write_at`].
    Write,
    /// [`Storage::sync`].
    Sync,
    /// [`Storage::identity`].
    Identity,
    /// [`Storage::prepare`].
    Prepare,
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The call fails and does nothing.
    Error(io::ErrorKind),
    /// A read or write moves at most so many bytes.
    Short(usize),
    /// The call waits until the gate is opened.
    Wait(Gate),
}

/// Holds calls up until it is opened. Clones are the same gate.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Debug, Default)]
struct GateState {
    open: bool,
    arrived: usize,
}

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets everyone through, from now on.
    pub fn open(&self) {
        self.lock().open = true;
        self.0.1.notify_all();
    }

    /// Blocks until `count` calls have come to the gate in all.
    pub fn wait_for_arrivals(&self, count: usize) {
        let mut state = self.lock();
        while state.arrived < count {
            state = self.0.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Calls that have come to the gate so far.
    #[must_use]
    pub fn arrivals(&self) -> usize {
        self.lock().arrived
    }

    fn pass(&self) {
        let mut state = self.lock();
        state.arrived += 1;
        self.0.1.notify_all();
        while !state.open {
            state = self.0.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, GateState> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes calls on to another storage, with the faults it was given.
pub struct FaultyStorage {
    inner: Arc<dyn Storage>,
    state: Mutex<State>,
    volume: Option<u64>,
}

#[derive(Default)]
struct State {
    counts: [u64; 5],
    faults: Vec<(Operation, Range<u64>, Fault)>,
    announced: Vec<(FileIndex, u64, u64)>,
}

impl FaultyStorage {
    /// No faults yet.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        Self { inner, state: Mutex::default(), volume: None }
    }

    /// Claims to lie on the device `volume`.
    #[must_use]
    pub fn on_volume(mut self, volume: u64) -> Self {
        self.volume = Some(volume);
        self
    }

    /// Has the calls of kind `operation` whose numbers, counted from 0, are in `calls` suffer `fault`.
    pub fn inject(&self, operation: Operation, calls: Range<u64>, fault: Fault) {
        self.lock().faults.push((operation, calls, fault));
    }

    /// Forgets all faults.
    pub fn heal(&self) {
        self.lock().faults.clear();
    }

    /// Calls of kind `operation` so far.
    #[must_use]
    pub fn calls(&self, operation: Operation) -> u64 {
        self.lock().counts[operation as usize]
    }

    /// What was announced to be read soon since the last call: file, offset and length.
    #[must_use]
    pub fn take_announced(&self) -> Vec<(FileIndex, u64, u64)> {
        std::mem::take(&mut self.lock().announced)
    }

    /// Counts a call and suffers its faults; gives how many bytes it may move.
    fn enter(&self, operation: Operation) -> io::Result<usize> {
        let mut state = self.lock();
        let count = &mut state.counts[operation as usize];
        let number = *count;
        *count += 1;
        let hit =
            |(op, calls, _): &&(_, Range<u64>, _)| *op == operation && calls.contains(&number);
        let faults: Vec<Fault> = state.faults.iter().filter(hit).map(|f| f.2.clone()).collect();
        drop(state);
        let mut most = usize::MAX;
        for fault in faults {
            match fault {
                Fault::Error(kind) => return Err(kind.into()),
                Fault::Short(n) => most = most.min(n),
                Fault::Wait(gate) => gate.pass(),
            }
        }
        Ok(most)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for FaultyStorage {
    fn read_at(&self, file: FileIndex, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let most = self.enter(Operation::Read)?.min(buf.len());
        self.inner.read_at(file, offset, &mut buf[..most])
    }

    fn write_at(&self, file: FileIndex, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut left = self.enter(Operation::Write)?;
        let mut cut = Vec::with_capacity(bufs.len());
        for buf in bufs {
            let now = left.min(buf.len());
            cut.push(IoSlice::new(&buf[..now]));
            left -= now;
        }
        self.inner.write_at(file, offset, &cut)
    }

    fn sync(&self, file: FileIndex) -> io::Result<()> {
        self.enter(Operation::Sync)?;
        self.inner.sync(file)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.inner.sync_names()
    }

    fn identity(&self, file: FileIndex) -> io::Result<Option<FileIdentity>> {
        self.enter(Operation::Identity)?;
        self.inner.identity(file)
    }

    fn has_data(&self, file: FileIndex, offset: u64, len: u64) -> io::Result<bool> {
        self.inner.has_data(file, offset, len)
    }

    fn note(&self, file: FileIndex) -> io::Result<Option<FileIdentity>> {
        self.enter(Operation::Identity)?;
        self.inner.note(file)
    }

    fn look(&self, file: FileIndex) -> io::Result<Look> {
        self.enter(Operation::Identity)?;
        self.inner.look(file)
    }

    fn set_wanted(&self, wanted: Option<&Bitfield>) -> io::Result<()> {
        self.inner.set_wanted(wanted)
    }

    fn prepare(&self, file: FileIndex, allocation: Allocation) -> io::Result<()> {
        self.enter(Operation::Prepare)?;
        self.inner.prepare(file, allocation)
    }

    fn delete(&self, file: FileIndex) -> io::Result<()> {
        self.inner.delete(file)
    }

    fn delete_leftovers(&self) -> io::Result<()> {
        self.inner.delete_leftovers()
    }

    fn try_read_at(&self, file: FileIndex, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> usize {
        // While reads go wrong nothing is at hand, so that they are made and suffer.
        let faults = self.lock().faults.iter().any(|(op, _, _)| *op == Operation::Read);
        if faults { 0 } else { self.inner.try_read_at(file, offset, bufs) }
    }

    fn will_read(&self, file: FileIndex, offset: u64, len: u64) {
        self.lock().announced.push((file, offset, len));
        self.inner.will_read(file, offset, len);
    }

    fn volume(&self) -> Option<u64> {
        self.volume
    }

    fn describe(&self, file: FileIndex) -> String {
        self.inner.describe(file)
    }
}
