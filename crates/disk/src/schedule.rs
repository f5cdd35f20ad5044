//! The disk threads and what they do next.
//!
//! Each store has a queue for each [`Class`] of work. The stores of a volume that have work of a class stand in a ring,
//! so that every store gets its turn, and so does every volume. Writes and reads alternate; a check, which is cut into steps of a few pieces, takes what
//! they leave and one turn in eight for certain, so that uploads do not starve behind it nor it behind them.
//!
//! Of `threads + 2` threads at most `threads` work for one volume at a time, and one more waits for a sync of it: a device that
//! stalls keeps the last thread free for the others (N7), and what is written and hashed does not wait for a sync. A store's volume is asked for on a disk thread, before its first job; until then
//! it counts to one volume with all others that are not known yet.
//!
//! Jobs are bounded by the credits of those who submit them; [`MAX_QUEUED`] is the net below.

#[cfg(all(test, shuttle))]
mod orders;

use crate::error::StorageError;
use crate::hash::lanes;
use crate::scratch::Scratch;
use crate::storage::Storage;
use crate::sync::{Condvar, Mutex, MutexGuard, thread};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Jobs queued at most; beyond that they are refused.
const MAX_QUEUED: usize = 1 << 16;

/// One turn in so many is offered to checks first.
const CHECK_TURN: usize = 8;

/// Bytes of a piece that are read in one go while several are hashed side by side.
const READ_SHARE: usize = 64 * 1024;

/// What a disk thread brings to a job.
#[derive(Default)]
pub(crate) struct Worker {
    scratch: Option<Scratch>,
}

impl Worker {
    /// A buffer of [`scratch_len`] bytes of unspecified content.
    pub(crate) fn scratch(&mut self) -> &mut [u8] {
        self.scratch.get_or_insert_with(|| Scratch::new(scratch_len())).as_mut_slice()
    }
}

/// Room for the bytes of as many pieces as are hashed at once.
pub(crate) fn scratch_len() -> usize {
    lanes() * READ_SHARE
}

/// A job: called on a disk thread, or with an error on the submitter's if it was refused.
pub(crate) type Job = Box<dyn FnOnce(Result<&mut Worker, StorageError>) + Send>;

/// Work that several threads take on at once, one step a turn.
pub(crate) trait Steps: Send + Sync {
    /// Does one step; called from several threads.
    fn step(&self, worker: &mut Worker);
    /// Whether no step is left to begin.
    fn is_exhausted(&self) -> bool;
    /// No further step will be made.
    fn refuse(&self, error: StorageError);
}

/// Kinds of work, each with its own queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    Write,
    Read,
    Check,
    /// Syncs: they compute nothing, but wait. One at a time for each volume.
    Sync,
}

pub(crate) enum Work {
    Once(Job),
    Steps(Arc<dyn Steps>),
}

/// For whom work is done.
pub(crate) struct Owner {
    pub(crate) id: u64,
    pub(crate) storage: Arc<dyn Storage>,
    volume: OnceLock<Volume>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Volume {
    Unknown,
    Own(u64),
    Device(u64),
}

impl Owner {
    pub(crate) fn new(id: u64, storage: Arc<dyn Storage>) -> Self {
        Self { id, storage, volume: OnceLock::new() }
    }

    fn volume(&self) -> Volume {
        self.volume.get().copied().unwrap_or(Volume::Unknown)
    }

    fn learn_volume(&self) {
        self.volume
            .get_or_init(|| self.storage.volume().map_or(Volume::Own(self.id), Volume::Device));
    }
}

/// The queues, shared by submitters and threads.
pub(crate) struct Scheduler {
    state: Mutex<State>,
    work: Condvar,
    drained: Condvar,
    per_volume: usize,
}

#[derive(Default)]
struct State {
    queues: HashMap<u64, Queue>,
    /// Volumes with something queued or running.
    volumes: BTreeMap<Volume, VolumeState>,
    /// The volume served last; the next one is next.
    served: Option<Volume>,
    /// Work found to be over, kept to be dropped outside of the lock: with it a store may go and close its files.
    over: Vec<(Arc<Owner>, Work)>,
    turn: usize,
    queued: usize,
    active: usize,
    idle: usize,
    closing: bool,
}

/// The work queued for one owner, which stands in the rings of `volume`.
struct Queue {
    owner: Arc<Owner>,
    volume: Volume,
    work: [VecDeque<Work>; 4],
}

#[derive(Default)]
struct VolumeState {
    /// For each class the owners with work of it, each once.
    rings: [VecDeque<u64>; 4],
    /// Threads at work, but for the one that syncs.
    running: usize,
    syncing: bool,
}

struct Picked {
    owner: Arc<Owner>,
    volume: Volume,
    class: Class,
    work: Work,
}

impl Scheduler {
    /// Starts `threads` threads and two more.
    pub(crate) fn start(threads: usize) -> io::Result<Arc<Self>> {
        let scheduler = Arc::new(Self {
            state: Mutex::default(),
            work: Condvar::new(),
            drained: Condvar::new(),
            per_volume: threads.max(1),
        });
        for i in 0..threads.max(1) + 2 {
            let shared = Arc::clone(&scheduler);
            let spawned =
                thread::Builder::new().name(format!("samara-disk-{i}")).spawn(move || shared.run());
            if let Err(e) = spawned {
                scheduler.close();
                return Err(e);
            }
        }
        Ok(scheduler)
    }

    /// Queues `work`; refuses it on the spot after [`Scheduler::close`] or beyond [`MAX_QUEUED`].
    pub(crate) fn submit(&self, owner: &Arc<Owner>, class: Class, work: Work) {
        let mut state = self.lock();
        let refused = if state.closing {
            Some("it is shut down")
        } else if state.queued >= MAX_QUEUED {
            Some("too much is queued")
        } else {
            None
        };
        if let Some(why) = refused {
            drop(state);
            return work.refuse(StorageError::closed(why));
        }
        state.push(owner, class, work);
        if state.idle > 0 {
            self.work.notify_one();
        }
    }

    /// Takes no more work and refuses what is queued but for writes; the threads end once those are done.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closing = true;
        let mut refused = state.drain(Class::Read);
        refused.extend(state.drain(Class::Check));
        drop(state);
        self.work.notify_all();
        for work in refused {
            work.refuse(StorageError::closed("it is shut down"));
        }
    }

    /// Waits until nothing runs and no write is queued. False if that took longer than `limit`.
    pub(crate) fn wait_drained(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = self.lock();
        while state.active > 0 || state.has_work() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state =
                self.drained.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of a disk thread.
    fn run(&self) {
        let mut worker = Worker::default();
        while let Some(picked) = self.next() {
            let (volume, class, id) = (picked.volume, picked.class, picked.owner.id);
            let run = AssertUnwindSafe(|| {
                picked.owner.learn_volume();
                picked.work.run(&mut worker);
            });
            if catch_unwind(run).is_err() {
                tracing::error!("a disk job panicked; its torrent may wait for it in vain");
            }
            let mut state = self.lock();
            state.finished(volume, class, id);
            if state.closing {
                self.drained.notify_all();
                self.work.notify_all();
            }
        }
    }

    /// Waits for work this thread may take; `None` when the thread is to end.
    fn next(&self) -> Option<Picked> {
        let mut state = self.lock();
        loop {
            let picked = state.pick(self.per_volume);
            let over = std::mem::take(&mut state.over);
            if picked.is_some() {
                // What this thread leaves may be for another one that went to sleep over a full volume.
                if state.idle > 0 && state.has_work_for_one_more(self.per_volume) {
                    self.work.notify_one();
                }
                drop(state);
                drop(over);
                return picked;
            }
            if !over.is_empty() {
                drop(state);
                drop(over);
                state = self.lock();
                continue;
            }
            if state.closing && !state.has_work() {
                return None;
            }
            state.idle += 1;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }
}

impl State {
    fn push(&mut self, owner: &Arc<Owner>, class: Class, work: Work) {
        let queue = self.queues.entry(owner.id).or_insert_with(|| Queue {
            owner: Arc::clone(owner),
            volume: owner.volume(),
            work: Default::default(),
        });
        let line = &mut queue.work[class as usize];
        if line.is_empty() {
            let volume = self.volumes.entry(queue.volume).or_default();
            volume.rings[class as usize].push_back(owner.id);
        }
        line.push_back(work);
        self.queued += 1;
    }

    fn has_work(&self) -> bool {
        self.queued > 0
    }

    fn has_work_for_one_more(&self, per_volume: usize) -> bool {
        use Class::{Check, Read, Sync, Write};
        let open =
            |v: &VolumeState| [Write, Read, Check, Sync].iter().any(|&c| v.has(c, per_volume));
        self.volumes.values().any(open)
    }

    /// The next work that no full volume forbids.
    fn pick(&mut self, per_volume: usize) -> Option<Picked> {
        use Class::{Check, Read, Sync, Write};
        let order = match self.turn % CHECK_TURN {
            0 => [Sync, Check, Write, Read],
            odd if odd % 2 == 1 => [Sync, Read, Write, Check],
            _ => [Sync, Write, Read, Check],
        };
        for class in order {
            while let Some(volume) = self.next_volume(class, per_volume) {
                if let Some((owner, work)) = self.take(volume, class) {
                    self.turn += 1;
                    self.active += 1;
                    self.served = Some(volume);
                    let state = self.volumes.entry(volume).or_default();
                    if class == Sync {
                        state.syncing = true;
                    } else {
                        state.running += 1;
                    }
                    return Some(Picked { owner, volume, class, work });
                }
            }
        }
        None
    }

    /// The volume whose turn it is among those with work of `class` and a thread to spare.
    fn next_volume(&self, class: Class, per_volume: usize) -> Option<Volume> {
        let served = self.served.unwrap_or(Volume::Unknown);
        let behind = self.volumes.range((Bound::Excluded(served), Bound::Unbounded));
        behind
            .chain(self.volumes.range(..=served))
            .find(|(_, v)| v.has(class, per_volume))
            .map(|(&volume, _)| volume)
    }

    /// The next work of `class` on `volume`. `None` if what was queued turned out to be done already.
    fn take(&mut self, volume: Volume, class: Class) -> Option<(Arc<Owner>, Work)> {
        let ring = &mut self.volumes.get_mut(&volume)?.rings[class as usize];
        let id = ring.pop_front()?;
        let queue = self.queues.get_mut(&id)?;
        let owner = Arc::clone(&queue.owner);
        let line = &mut queue.work[class as usize];
        let mut taken = None;
        while let Some(work) = line.pop_front() {
            match work {
                Work::Steps(steps) if steps.is_exhausted() => {
                    self.queued -= 1;
                    self.over.push((Arc::clone(&owner), Work::Steps(steps)));
                }
                Work::Steps(steps) => {
                    line.push_front(Work::Steps(Arc::clone(&steps)));
                    taken = Some(Work::Steps(steps));
                    break;
                }
                once => {
                    self.queued -= 1;
                    taken = Some(once);
                    break;
                }
            }
        }
        if !line.is_empty() {
            ring.push_back(id);
        }
        self.forget_if_idle(id, volume);
        taken.map(|work| (owner, work))
    }

    fn forget_if_idle(&mut self, id: u64, volume: Volume) {
        if self.queues.get(&id).is_some_and(|q| q.work.iter().all(VecDeque::is_empty)) {
            self.queues.remove(&id);
        }
        if self.volumes.get(&volume).is_some_and(VolumeState::is_idle) {
            self.volumes.remove(&volume);
        }
    }

    /// A job of the owner `id` is done, which was counted to `volume`.
    fn finished(&mut self, volume: Volume, class: Class, id: u64) {
        self.active -= 1;
        if let Some(state) = self.volumes.get_mut(&volume) {
            if class == Class::Sync {
                state.syncing = false;
            } else {
                state.running -= 1;
            }
        }
        self.regroup(id);
        self.forget_if_idle(id, volume);
    }

    /// Moves an owner whose volume has become known to the rings of that volume.
    fn regroup(&mut self, id: u64) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        let (from, to) = (queue.volume, queue.owner.volume());
        if from == to {
            return;
        }
        queue.volume = to;
        for class in 0..queue.work.len() {
            if let Some(old) = self.volumes.get_mut(&from) {
                old.rings[class].retain(|&other| other != id);
            }
            if !queue.work[class].is_empty() {
                self.volumes.entry(to).or_default().rings[class].push_back(id);
            }
        }
    }

    /// All queued work of `class`.
    fn drain(&mut self, class: Class) -> Vec<Work> {
        let mut drained = Vec::new();
        for volume in self.volumes.values_mut() {
            volume.rings[class as usize].clear();
        }
        for queue in self.queues.values_mut() {
            drained.extend(queue.work[class as usize].drain(..));
        }
        self.queues.retain(|_, queue| !queue.work.iter().all(VecDeque::is_empty));
        self.volumes.retain(|_, volume| !volume.is_idle());
        self.queued -= drained.len();
        drained
    }
}

impl VolumeState {
    /// Whether there is work of `class` and a thread may take it.
    fn has(&self, class: Class, per_volume: usize) -> bool {
        let free = if class == Class::Sync { !self.syncing } else { self.running < per_volume };
        free && !self.rings[class as usize].is_empty()
    }

    fn is_idle(&self) -> bool {
        self.running == 0 && !self.syncing && self.rings.iter().all(VecDeque::is_empty)
    }
}

impl Work {
    fn run(self, worker: &mut Worker) {
        match self {
            Self::Once(job) => job(Ok(worker)),
            Self::Steps(steps) => steps.step(worker),
        }
    }

    fn refuse(self, error: StorageError) {
        match self {
            Self::Once(job) => job(Err(error)),
            Self::Steps(steps) => steps.refuse(error),
        }
    }
}
