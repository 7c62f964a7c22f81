//! Tasks whose results can be waited for, on any runtime.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use redis_manager::{Runtime, Timer};

struct Shared<T> {
    state: Mutex<(Option<T>, Option<Waker>)>,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, (Option<T>, Option<Waker>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs `future` on `runtime` and waits for its result.
pub fn spawn<R, T, F>(runtime: &R, future: F) -> impl Future<Output = T> + Send + use<R, T, F>
where
    R: Runtime,
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let shared = Arc::new(Shared { state: Mutex::new((None, None)) });
    let task = Arc::clone(&shared);
    runtime.spawn(Box::pin(async move {
        let value = future.await;
        let waker = {
            let mut state = task.lock();
            state.0 = Some(value);
            state.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }));
    poll_fn(move |cx| {
        let mut state = shared.lock();
        match state.0.take() {
            Some(value) => Poll::Ready(value),
            None => {
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
