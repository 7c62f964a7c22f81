//! What the paths are walked on: an executor that runs when it is asked to, and a connector that costs nothing.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use redis_manager_core::{Condition, Connector, Instant, Runtime, Spawn, Task, Timer};

/// A connector that costs nothing.
pub(crate) struct FreeConnector;

impl Connector for FreeConnector {
    type Connection = Box<u64>;
    type Error = Infallible;

    async fn connect(&self) -> Result<Box<u64>, Infallible> {
        Ok(Box::new(1))
    }

    async fn check(&self, _: &mut Box<u64>) -> Result<(), Infallible> {
        Ok(())
    }

    fn inspect(&self, _: &mut Box<u64>) -> Condition {
        Condition::Clean
    }
}

/// An executor that runs when it is asked to, with a clock that costs next to nothing and whose deadlines never come.
#[derive(Default)]
pub(crate) struct Hand {
    now: AtomicU64,
    tasks: Mutex<Vec<Task>>,
}

impl Hand {
    /// Polls every task until none ends and none is added.
    pub(crate) fn run(&self) {
        loop {
            let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
            let before = tasks.len();
            tasks.retain_mut(|task| poll_once(task.as_mut()).is_pending());
            let ended = before - tasks.len();
            let mut added = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            let settled = ended == 0 && added.is_empty();
            tasks.append(&mut added);
            *added = tasks;
            if settled {
                return;
            }
        }
    }
}

impl Timer for Hand {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.now.fetch_add(1, Ordering::Relaxed))
    }

    fn sleep_until(&self, _: Instant) -> Task {
        Box::pin(std::future::pending())
    }
}

impl Spawn for Hand {
    fn spawn(&self, task: Task) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }
}

impl Runtime for Hand {
    fn seed(&self) -> u64 {
        1
    }
}

#[inline(always)]
pub(crate) fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
