//! Waiting for several things at once, on any runtime.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use redis_manager_core::Runtime;

/// Waits for all of them, at once.
pub(crate) async fn all(waits: impl IntoIterator<Item = impl Future<Output = ()>>) {
    let mut waits: Vec<_> = waits.into_iter().map(Box::pin).collect();
    poll_fn(|cx| {
        waits.retain_mut(|wait| wait.as_mut().poll(cx).is_pending());
        if waits.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Waits for something, no longer than `limit`.
pub(crate) async fn within<T>(runtime: &dyn Runtime, limit: Duration, awaited: impl Future<Output = T>) -> Option<T> {
    let (mut awaited, mut sleep) = (pin!(awaited), runtime.sleep(limit));
    poll_fn(|cx| match awaited.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => sleep.as_mut().poll(cx).map(|()| None),
    })
    .await
}
