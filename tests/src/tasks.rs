//! Tasks whose results can be waited for, on any runtime.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use redis_manager::runtime::{Runtime, Timer};

struct TaskState<T> {
    state: Mutex<(TaskOutcome<T>, Option<Waker>)>,
}

enum TaskOutcome<T> {
    Running,
    Value(T),
    /// It has panicked, or its runtime has ended.
    None,
}

impl<T> TaskState<T> {
    fn lock(&self) -> MutexGuard<'_, (TaskOutcome<T>, Option<Waker>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Told when the task ends, however it ends.
struct End<T>(Arc<TaskState<T>>);

impl<T> End<T> {
    fn tell(&self, outcome: TaskOutcome<T>) {
        let waker = {
            let mut state = self.0.lock();
            if let TaskOutcome::Running = state.0 {
                state.0 = outcome;
            }
            state.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Drop for End<T> {
    fn drop(&mut self) {
        self.tell(TaskOutcome::None);
    }
}

/// Runs `future` on `runtime` and waits for its result.
///
/// # Panics
///
/// What waits panics if the task did.
pub fn spawn<R, T, F>(runtime: &R, future: F) -> impl Future<Output = T> + Send + use<R, T, F>
where
    R: Runtime,
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let shared = Arc::new(TaskState { state: Mutex::new((TaskOutcome::Running, None)) });
    let end = End(Arc::clone(&shared));
    runtime.spawn(Box::pin(async move {
        let end = end;
        let value = future.await;
        end.tell(TaskOutcome::Value(value));
    }));
    poll_fn(move |cx| {
        let mut state = shared.lock();
        match std::mem::replace(&mut state.0, TaskOutcome::Running) {
            TaskOutcome::Value(value) => Poll::Ready(value),
            TaskOutcome::None => {
                drop(state);
                panic!("the task has panicked, or its runtime has ended");
            }
            TaskOutcome::Running => {
                state.1 = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    })
}

/// Runs `future` for no longer than `limit`; it is dropped then.
pub async fn within<T>(runtime: &impl Timer, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut sleep = runtime.sleep(limit);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => sleep.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// Waits for the first of two futures to end.
pub async fn either(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|cx| if one.as_mut().poll(cx).is_ready() { Poll::Ready(()) } else { other.as_mut().poll(cx) }).await;
}

/// Looks every 2 ms until `holds` does.
///
/// # Panics
///
/// After 10 s, with `what` was waited for.
pub async fn until(runtime: &impl Timer, what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..5_000 {
        if holds() {
            return;
        }
        runtime.sleep(Duration::from_millis(2)).await;
    }
    panic!("still not after 10 s: {what}");
}

/// As [`until`], on a plain thread that may be blocked.
///
/// # Panics
///
/// After 10 s, with `what` was waited for.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "still not after 10 s: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
