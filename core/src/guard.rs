//! Guards calls into code of users: a panic there costs what the call was for, never the pool.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// Calls code of a user; none if it panicked.
#[inline]
pub(crate) fn guarded<R>(call: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(call)).ok()
}

/// Wakes; a waker that panics keeps no other from being woken.
pub(crate) fn wake(waker: Waker) {
    let _ = guarded(|| waker.wake());
}

/// Drops a value of a user.
pub(crate) fn discard<T>(value: T) {
    let _ = guarded(|| drop(value));
}
