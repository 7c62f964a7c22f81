//! A sleep until an instant of the virtual clock.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use crate::testing::fake_runtime::executor::{Executor, TimerKey};
use crate::time::Instant;

pub(super) struct Sleep {
    executor: Arc<Mutex<Executor>>,
    deadline: Instant,
    key: Option<TimerKey>,
}

impl Sleep {
    pub(super) fn new(executor: Arc<Mutex<Executor>>, deadline: Instant) -> Self {
        Self { executor, deadline, key: None }
    }

    fn lock(&self) -> MutexGuard<'_, Executor> {
        self.executor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut executor = self.lock();
        if self.deadline <= executor.now() {
            return Poll::Ready(());
        }
        let (key, old) = executor.set_timer(self.deadline, self.key, waker);
        drop(executor);
        drop(old);
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let waker = self.lock().remove_timer(key);
            drop(waker);
        }
    }
}
