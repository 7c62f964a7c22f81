//! Allocations of a cycle, with and without a wait.

use std::time::Duration;

use redis_manager_tests::tasks::within;

use super::contenders::BenchPool;
use super::cycles::yield_now;
use crate::heap::HeapCount;
use crate::runner::{Done, Handle};

/// Allocations of one cycle, and the size of the future of a get.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AllocationSample {
    /// Of a get that finds a connection, and its drop.
    pub(super) uncontended: f64,
    /// Of a get that waits, among 64 tasks on 8 that hold across one yield; not a number if they hang.
    pub(super) waiting: f64,
    pub(super) future_bytes: f64,
}

const CYCLES: u64 = 10_000;

/// Wants an executor of one thread: the count is of the whole process.
pub(super) fn count<P: BenchPool>(pool: &P, handle: &Handle) -> Done<AllocationSample> {
    let (pool, handle) = (pool.clone(), handle.clone());
    Box::pin(async move {
        for _ in 0..100 {
            drop(pool.get().await);
        }
        let heap = HeapCount::start();
        for _ in 0..CYCLES {
            drop(pool.get().await);
        }
        let uncontended = heap.allocations() as f64 / CYCLES as f64;
        drop(heap);
        // The first crowd makes the line as long as it gets.
        let waits = async {
            crowd(&pool, &handle, 10).await;
            let short = crowd(&pool, &handle, 10).await;
            let long = crowd(&pool, &handle, 110).await;
            // What the tasks themselves take falls out.
            long.saturating_sub(short) as f64 / (100.0 * 64.0)
        };
        let waiting = within(&handle, Duration::from_secs(2), waits).await.unwrap_or(f64::NAN);
        AllocationSample { uncontended, waiting, future_bytes: pool.future_size() as f64 }
    })
}

/// The allocations of 64 tasks that have as many cycles each.
async fn crowd<P: BenchPool>(pool: &P, handle: &Handle, cycles: u64) -> u64 {
    let heap = HeapCount::start();
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let pool = pool.clone();
            handle.start(async move {
                for _ in 0..cycles {
                    let lease = pool.get().await;
                    yield_now().await;
                    drop(lease);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
    heap.allocations()
}
