//! Waiting for several results at once, on any runtime.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// A future of a result in a list of such.
pub(crate) type Joined<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The results of all of them, in their order.
pub(crate) async fn join_all<T: Send>(mut waits: Vec<Joined<'_, T>>) -> Vec<T> {
    let mut results: Vec<Option<T>> = waits.iter().map(|_| None).collect();
    poll_fn(|cx| {
        let mut is_pending = false;
        for (wait, result) in waits.iter_mut().zip(&mut results) {
            if result.is_none() {
                match wait.as_mut().poll(cx) {
                    Poll::Ready(value) => *result = Some(value),
                    Poll::Pending => is_pending = true,
                }
            }
        }
        if is_pending { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    results.into_iter().flatten().collect()
}
