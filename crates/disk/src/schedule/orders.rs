//! The disk threads in thousands of orders (shuttle): whoever is interrupted where, every job ends once, and nobody waits for ever.

use super::{Class, Owner, Scheduler, Steps, Work, Worker};
use crate::error::StorageError;
use crate::pool::BlockPool;
use crate::{FaultyStorage, MemoryStorage};
use samara_wire::id::BLOCK_LEN;
use shuttle::sync::atomic::{AtomicUsize, Ordering};
use shuttle::sync::mpsc::{Sender, channel};
use shuttle::thread;
use std::sync::Arc;
use std::time::Duration;

const RUNS: usize = 3000;

/// How jobs ended.
#[derive(Default)]
struct Tally {
    done: AtomicUsize,
    refused: AtomicUsize,
}

impl Tally {
    /// A job that counts itself, and then tells whoever waits.
    fn job(self: &Arc<Self>, told: Option<Sender<()>>) -> Work {
        let tally = Arc::clone(self);
        Work::Once(Box::new(move |worker| {
            let Ok(_worker) = worker else {
                tally.refused.fetch_add(1, Ordering::SeqCst);
                return;
            };
            thread::yield_now();
            tally.done.fetch_add(1, Ordering::SeqCst);
            if let Some(told) = told {
                let _ = told.send(());
            }
        }))
    }

    fn ended(&self) -> usize {
        self.done.load(Ordering::SeqCst) + self.refused.load(Ordering::SeqCst)
    }
}

fn owner(id: u64) -> Arc<Owner> {
    let storage = FaultyStorage::new(Arc::new(MemoryStorage::new())).on_volume(id);
    Arc::new(Owner::new(id, Arc::new(storage)))
}

/// A check of some steps.
struct Counted {
    begun: AtomicUsize,
    done: AtomicUsize,
    told: shuttle::sync::Mutex<Sender<()>>,
}

const STEPS: usize = 3;

impl Steps for Counted {
    fn step(&self, _worker: &mut Worker) {
        if self.begun.fetch_add(1, Ordering::SeqCst) < STEPS {
            thread::yield_now();
            self.done.fetch_add(1, Ordering::SeqCst);
            let _ = self.told.lock().unwrap().send(());
        }
    }

    fn is_exhausted(&self) -> bool {
        self.begun.load(Ordering::SeqCst) >= STEPS
    }

    /// What is left of it at the end is over already.
    fn refuse(&self, _error: StorageError) {
        assert!(self.is_exhausted(), "steps that were not begun are refused");
    }
}

#[test]
fn orders_of_submitters_and_threads() {
    let model = || {
        let scheduler = Scheduler::start(1).unwrap();
        let tally = Arc::new(Tally::default());
        // A wake-up that is lost shows as a wait that never ends, which shuttle calls a deadlock.
        let (told, ended) = channel();
        let submitters: Vec<_> = (0..2)
            .map(|number| {
                let (scheduler, tally) = (Arc::clone(&scheduler), Arc::clone(&tally));
                let told = told.clone();
                thread::spawn(move || {
                    let owner = owner(number);
                    for class in [Class::Write, Class::Read, Class::Sync] {
                        scheduler.submit(&owner, class, tally.job(Some(told.clone())));
                    }
                })
            })
            .collect();
        submitters.into_iter().for_each(|submitter| submitter.join().unwrap());
        (0..6).for_each(|_| ended.recv().unwrap());
        assert_eq!(tally.done.load(Ordering::SeqCst), 6, "nothing is refused");
        scheduler.close();
    };
    shuttle::check_random(model, RUNS);
}

#[test]
fn orders_of_a_shutdown() {
    let model = || {
        let scheduler = Scheduler::start(1).unwrap();
        let tally = Arc::new(Tally::default());
        let submitter = {
            let (scheduler, tally) = (Arc::clone(&scheduler), Arc::clone(&tally));
            thread::spawn(move || {
                let owner = owner(0);
                for class in [Class::Read, Class::Sync, Class::Read] {
                    scheduler.submit(&owner, class, tally.job(None));
                }
            })
        };
        scheduler.close();
        assert!(scheduler.wait_drained(Duration::from_secs(3600)));
        submitter.join().unwrap();
        // Whatever came after the end was refused on the spot.
        assert!(scheduler.wait_drained(Duration::from_secs(3600)));
        assert_eq!(tally.ended(), 3, "each job ends once");
    };
    shuttle::check_random(model, RUNS);
    shuttle::check_pct(model, RUNS, 3);
}

#[test]
fn orders_of_a_check_beside_jobs() {
    let model = || {
        let scheduler = Scheduler::start(2).unwrap();
        let (told, ended) = channel();
        let check = Arc::new(Counted {
            begun: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            told: shuttle::sync::Mutex::new(told.clone()),
        });
        let tally = Arc::new(Tally::default());
        scheduler.submit(&owner(0), Class::Check, Work::Steps(Arc::clone(&check) as _));
        let reader = {
            let (scheduler, tally) = (Arc::clone(&scheduler), Arc::clone(&tally));
            let job = tally.job(Some(told));
            thread::spawn(move || scheduler.submit(&owner(1), Class::Read, job))
        };
        reader.join().unwrap();
        (0..=STEPS).for_each(|_| ended.recv().unwrap());
        scheduler.close();
        assert_eq!((check.done.load(Ordering::SeqCst), tally.ended()), (STEPS, 1));
        assert_eq!(tally.refused.load(Ordering::SeqCst), 0);
    };
    shuttle::check_random(model, RUNS);
}

#[test]
fn orders_of_buffers_that_are_taken_and_given_back() {
    let model = || {
        let pool = BlockPool::new(2 * BLOCK_LEN as usize);
        let takers: Vec<_> = (0..3)
            .map(|_| {
                let pool = pool.clone();
                thread::spawn(move || {
                    let first = pool.take();
                    drop((pool.take(), first));
                })
            })
            .collect();
        pool.trim();
        takers.into_iter().for_each(|taker| taker.join().unwrap());
        assert_eq!((pool.used_bytes(), pool.free_bytes()), (0, 2 * u64::from(BLOCK_LEN)));
    };
    shuttle::check_random(model, RUNS);
    shuttle::check_pct(model, RUNS, 3);
}
