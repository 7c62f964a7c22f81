//! Waiting for several things at once, on any runtime.

use std::future::poll_fn;
use std::pin::pin;
#[cfg(feature = "cluster")]
use std::task::Poll;
#[cfg(feature = "cluster")]
use std::time::Duration;

#[cfg(feature = "cluster")]
use redis_manager_core::Runtime;

/// Has the users of pools told as soon as the pools are closed, which is at the first poll: one that comes later gets no
/// connection, while one that came in between would keep its own to the end of the timeout.
pub(crate) async fn close_then(closed: impl Future<Output = ()>, tell_users: impl FnOnce()) {
    let mut closed = pin!(closed);
    let mut tell_users = Some(tell_users);
    poll_fn(|cx| {
        let polled = closed.as_mut().poll(cx);
        if let Some(tell_users) = tell_users.take() {
            tell_users();
        }
        polled
    })
    .await;
}

/// Waits for all of them, at once.
#[cfg(feature = "cluster")]
pub(crate) async fn all(waits: impl IntoIterator<Item = impl Future<Output = ()>>) {
    let mut waits: Vec<_> = waits.into_iter().map(Box::pin).collect();
    poll_fn(|cx| {
        waits.retain_mut(|wait| wait.as_mut().poll(cx).is_pending());
        if waits.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Waits for something, no longer than `limit`.
#[cfg(feature = "cluster")]
pub(crate) async fn within<T>(runtime: &dyn Runtime, limit: Duration, awaited: impl Future<Output = T>) -> Option<T> {
    let (mut awaited, mut sleep) = (pin!(awaited), runtime.sleep(limit));
    poll_fn(|cx| match awaited.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => sleep.as_mut().poll(cx).map(|()| None),
    })
    .await
}
