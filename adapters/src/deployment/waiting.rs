//! Waits for one of two things.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use redis_manager_core::Runtime;

/// Ends with the first of the two; looks at `one` first.
pub(crate) async fn either<T>(one: impl Future<Output = T>, other: impl Future<Output = ()>) -> Option<T> {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|cx| match one.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => other.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// Waits for something, no longer than `limit`.
pub(crate) async fn within<T>(runtime: &dyn Runtime, limit: Duration, awaited: impl Future<Output = T>) -> Option<T> {
    either(awaited, runtime.sleep(limit)).await
}
