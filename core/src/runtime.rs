//! All that the core asks of an executor: the time, a sleep, a task, and a seed for random numbers.

use std::future::Future;
use std::hash::{BuildHasher, Hasher};
use std::pin::Pin;
use std::time::Duration;

use crate::time::Instant;

/// A boxed future without a result: what is spawned and what is slept on.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// A monotonic clock and sleeps that follow it.
pub trait Timer: Send + Sync + 'static {
    /// The time now; never runs backwards.
    fn now(&self) -> Instant;

    /// A future that is ready at `deadline`, never earlier.
    ///
    /// It may be polled on any thread and by any executor, also after the end of this one. It must not panic then; it need
    /// not become ready, so a task that waits elsewhere looks at [`Spawn::has_ended`], too.
    ///
    /// The core calls this rarely (once per node and change of its next deadline, not once per call), so there is no
    /// way to reset a sleep: a new one is made.
    fn sleep_until(&self, deadline: Instant) -> Task;

    /// A future that is ready after `length`, counted from this call.
    fn sleep(&self, length: Duration) -> Task {
        self.sleep_until(self.now() + length)
    }
}

/// A place to run tasks.
pub trait Spawn: Send + Sync + 'static {
    /// Runs `task` to its end, detached; callable from any thread, also from outside the executor.
    ///
    /// An executor that has ended drops the task instead. It must not panic.
    fn spawn(&self, task: Task);

    /// Whether the executor has ended, so that it drops whatever is spawned. Errors then say so. By default it is not known.
    fn has_ended(&self) -> bool {
        false
    }
}

/// An executor as the core sees it; held as `Arc<dyn Runtime>`, so that a pool is one type on all of them.
pub trait Runtime: Timer + Spawn {
    /// The seed of the random numbers (jitter of back-offs and lifetimes); read once for each node.
    ///
    /// By default a fresh random number of std's `RandomState`.
    fn seed(&self) -> u64 {
        std::hash::RandomState::new().build_hasher().finish()
    }
}
