//! Waits that are given up: alone, among others, and racing with hand-overs.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use redis_manager_tests::tasks::within;

use super::contenders::BenchPool;
use super::cycles::yield_now;
use crate::runner::{Done, Handle};

/// What a series of cancels showed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CancelSample {
    /// Nanoseconds for a get that is polled once, finds nothing, and is dropped.
    pub(super) alone: f64,
    /// The same beside a thousand that wait.
    pub(super) among: f64,
    /// Waits given up and waits served in a second, by 16 tasks on two connections that give up after one yield.
    pub(super) racing: f64,
    /// Of those, the part that was given up.
    pub(super) given_up: f64,
    /// Connections of the two that cannot be had afterwards.
    pub(super) lost: f64,
}

pub(super) const CROWD: usize = 1_000;

/// `alone` and `among` are pools of one, `racing` a pool of two.
pub(super) fn cancel<P: BenchPool>(alone: &P, racing: &P, handle: &Handle, times: u32) -> Done<CancelSample> {
    let (pool, racing, handle) = (alone.clone(), racing.clone(), handle.clone());
    // Without a budget, which would make every get after the 128th look like a wait.
    Box::pin(tokio::task::unconstrained(async move {
        let lease = pool.get().await;
        let alone = time_cancels(&pool, times);
        let mut crowd: Vec<Pin<Box<dyn Future<Output = P::Lease> + Send>>> = Vec::new();
        for _ in 0..CROWD {
            let pool = pool.clone();
            let mut wait: Pin<Box<dyn Future<Output = P::Lease> + Send>> = Box::pin(async move { pool.get().await });
            assert!(poll_once(wait.as_mut()).is_pending(), "a pool whose connection is on loan makes everybody wait");
            crowd.push(wait);
        }
        let among = time_cancels(&pool, times);
        drop(crowd);
        drop(lease);

        let counts = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let start = Instant::now();
        let attempts = u64::from(times) / 16;
        let tasks: Vec<_> =
            (0..16).map(|_| handle.start(give_up_quickly(racing.clone(), attempts, Arc::clone(&counts)))).collect();
        for task in tasks {
            // Nobody waits without giving up here.
            task.await;
        }
        let elapsed = start.elapsed().as_secs_f64();
        let [served, given_up] = [&counts[0], &counts[1]].map(|count| count.load(Ordering::Relaxed) as f64);
        let mut had = Vec::new();
        for _ in 0..2 {
            had.extend(within(&handle, Duration::from_secs(1), racing.get()).await);
        }
        let sum = served + given_up;
        CancelSample { alone, among, racing: sum / elapsed, given_up: given_up / sum, lost: 2.0 - had.len() as f64 }
    }))
}

fn time_cancels<P: BenchPool>(pool: &P, times: u32) -> f64 {
    let start = Instant::now();
    for _ in 0..times {
        let wait = pin!(pool.get());
        assert!(poll_once(wait).is_pending(), "a pool whose connection is on loan makes everybody wait");
    }
    start.elapsed().as_nanos() as f64 / f64::from(times)
}

fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

async fn give_up_quickly<P: BenchPool>(pool: P, attempts: u64, counts: Arc<[AtomicU64; 2]>) {
    let (mut served, mut given_up) = (0, 0);
    for _ in 0..attempts {
        let mut polls = 0;
        let lease = {
            let mut wait = pin!(pool.get());
            poll_fn(|cx| match wait.as_mut().poll(cx) {
                Poll::Ready(lease) => Poll::Ready(Some(lease)),
                Poll::Pending if polls == 1 => Poll::Ready(None),
                Poll::Pending => {
                    polls += 1;
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            })
            .await
        };
        match lease {
            Some(lease) => {
                yield_now().await;
                drop(lease);
                served += 1;
            }
            None => given_up += 1,
        }
    }
    counts[0].fetch_add(served, Ordering::Relaxed);
    counts[1].fetch_add(given_up, Ordering::Relaxed);
}
