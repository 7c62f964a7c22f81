//! The locks and atomics of a socket: std's own, or those of a checker that tries the schedules of threads.
//!
//! `--cfg shuttle` is for the tests in `redis/socket/schedules.rs` only; users always get std's types.

#[cfg(shuttle)]
pub(crate) use shuttle::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
#[cfg(not(shuttle))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
