//! The locks and atomics of the core: std's own, or those of a model checker that tries the schedules of threads.
//!
//! `--cfg loom` and `--cfg shuttle` are for `tests/core/threads` only; users always get std's types. `Arc` stays std's: loom
//! has no `Weak` and no `Arc<dyn Trait>`, and all that the core shares it shares behind one of the locks here. `testing` has
//! one thread and is left alone.

#[cfg(loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicBool, Ordering},
};
#[cfg(shuttle)]
pub(crate) use shuttle::sync::{
    Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicBool, Ordering},
};
pub(crate) use std::sync::PoisonError;
#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::sync::{
    Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicBool, Ordering},
};
