//! Locks and threads: those of the standard library, or those of shuttle, which runs a test in many orders (`--cfg shuttle`, see
//! `.ci/sanitize`).

#[cfg(shuttle)]
pub(crate) use shuttle::{
    sync::{Condvar, Mutex, MutexGuard, atomic},
    thread,
};
#[cfg(not(shuttle))]
pub(crate) use std::{
    sync::{Condvar, Mutex, MutexGuard, atomic},
    thread,
};
