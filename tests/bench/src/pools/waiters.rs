//! A crowd of parked waiters: what each takes of the heap, and how long it takes to serve them all.

use std::future::{pending, poll_fn};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use redis_manager::runtime::Timer;
use redis_manager_tests::tasks::within;

use super::contenders::BenchPool;
use super::cycles::yield_now;
use crate::heap::HeapCount;
use crate::runner::{Done, Handle};

/// What one crowd showed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WaiterSample {
    /// Heap of a parked task with its wait.
    pub(super) bytes: f64,
    /// From the moment that the one connection came back until everybody had had it, in milliseconds; infinite if that
    /// took longer than ten seconds.
    pub(super) drain: f64,
}

/// Parks as many tasks on a pool of one, then serves them.
pub(super) fn park<P: BenchPool>(pool: &P, handle: &Handle, waiters: usize) -> Done<WaiterSample> {
    let (pool, handle) = (pool.clone(), handle.clone());
    Box::pin(async move {
        let Some(lease) = within(&handle, Duration::from_secs(1), pool.get()).await else {
            // It has hung in an earlier round.
            return WaiterSample { bytes: f64::NAN, drain: f64::INFINITY };
        };
        let counters = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let mut tasks = Vec::with_capacity(waiters);
        let heap = HeapCount::start();
        for _ in 0..waiters {
            let (pool, counters) = (pool.clone(), Arc::clone(&counters));
            tasks.push(handle.start(async move {
                counters[0].fetch_add(1, Ordering::Relaxed);
                drop(pool.get().await);
                counters[1].fetch_add(1, Ordering::Relaxed);
            }));
        }
        until(&handle, &counters[0], waiters).await;
        let bytes = heap.growth() as f64 / waiters as f64;
        drop(heap);
        let start = Instant::now();
        drop(lease);
        let drained = within(&handle, Duration::from_secs(10), until(&handle, &counters[1], waiters)).await;
        if drained.is_some() {
            // Gone before somebody else counts the heap.
            for task in tasks {
                task.await;
            }
        }
        let drain = drained.map_or(f64::INFINITY, |()| start.elapsed().as_secs_f64() * 1e3);
        WaiterSample { bytes, drain }
    })
}

/// The floor: the heap of a parked task that waits for nothing.
pub(super) fn bare_task(handle: &Handle, tasks: usize) -> Done<f64> {
    let handle = handle.clone();
    Box::pin(async move {
        let started = Arc::new(AtomicUsize::new(0));
        let mut kept = Vec::with_capacity(tasks);
        let heap = HeapCount::start();
        for _ in 0..tasks {
            let started = Arc::clone(&started);
            kept.push(handle.start(async move {
                started.fetch_add(1, Ordering::Relaxed);
                pending::<()>().await;
            }));
        }
        until(&handle, &started, tasks).await;
        heap.growth() as f64 / tasks as f64
    })
}

/// Bare tasks that wake one another in turn, and nothing else.
struct Chain {
    turn: AtomicUsize,
    wakers: Vec<Mutex<Option<Waker>>>,
}

impl Chain {
    fn wake(&self, place: usize) {
        self.turn.store(place, Ordering::SeqCst);
        let waker = self.wakers.get(place).and_then(|waker| waker.lock().expect("nobody panics under the lock").take());
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    async fn turn_of(&self, place: usize) {
        poll_fn(|cx| {
            *self.wakers[place].lock().expect("nobody panics under the lock") = Some(cx.waker().clone());
            if self.turn.load(Ordering::SeqCst) == place { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// The floor: milliseconds until as many parked tasks have run, each woken by the one before.
pub(super) fn bare_chain(handle: &Handle, tasks: usize) -> Done<f64> {
    let handle = handle.clone();
    Box::pin(async move {
        let wakers = (0..tasks).map(|_| Mutex::new(None)).collect();
        let chain = Arc::new(Chain { turn: AtomicUsize::new(usize::MAX), wakers });
        let counters = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let mut kept = Vec::with_capacity(tasks);
        for place in 0..tasks {
            let (chain, counters) = (Arc::clone(&chain), Arc::clone(&counters));
            kept.push(handle.start(async move {
                counters[0].fetch_add(1, Ordering::Relaxed);
                chain.turn_of(place).await;
                counters[1].fetch_add(1, Ordering::Relaxed);
                chain.wake(place + 1);
            }));
        }
        until(&handle, &counters[0], tasks).await;
        let start = Instant::now();
        chain.wake(0);
        until(&handle, &counters[1], tasks).await;
        start.elapsed().as_secs_f64() * 1e3
    })
}

async fn until(handle: &Handle, counter: &AtomicUsize, goal: usize) {
    while counter.load(Ordering::Relaxed) < goal {
        yield_now().await;
    }
    // The last one has counted itself, but may not have gone to sleep yet.
    handle.sleep(Duration::from_millis(1)).await;
}
