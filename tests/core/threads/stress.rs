//! Real threads at the node of a real pool, on all cores: what no model can try, millions of times.
//!
//! `STRESS_OPERATIONS=20000000 cargo test --release -p redis-manager-tests --test stress`
//!
//! That is so many for each of the two tests, and takes one to two minutes; without it, it is a short run. No wait may
//! reach its timeout, and at the end exactly the limit can be held.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use redis_manager::tokio::TokioRuntime;
use redis_manager_core::{AcquireError, CloseReason, Condition, Connector, Lease, NodeConfig, NodePool};
use tokio::runtime::{Builder, Runtime};

/// Ten thousand times longer than any wait here; who waits so long was forgotten.
const LOST: Duration = Duration::from_secs(5);
const LIMIT: usize = 3;
const BORROWERS: usize = 8;

/// Connections that count themselves.
#[derive(Clone, Default)]
struct CountingConnector {
    open: Arc<AtomicUsize>,
    peak: Arc<AtomicUsize>,
}

struct CountedConnection {
    open: Arc<AtomicUsize>,
    uses: u64,
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Connector for CountingConnector {
    type Connection = CountedConnection;
    type Error = Infallible;

    async fn connect(&self) -> Result<CountedConnection, Infallible> {
        let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.peak.fetch_max(open, Ordering::SeqCst);
        Ok(CountedConnection { open: Arc::clone(&self.open), uses: 0 })
    }

    async fn check(&self, _conn: &mut CountedConnection) -> Result<(), Infallible> {
        Ok(())
    }

    fn inspect(&self, _conn: &mut CountedConnection) -> Condition {
        Condition::Clean
    }

    fn close(&self, conn: CountedConnection, _reason: CloseReason) {
        drop(conn);
    }
}

type CountedPool = NodePool<CountingConnector>;

/// How many there are for each borrower of a test.
fn operations() -> usize {
    let all = std::env::var("STRESS_OPERATIONS").map_or(100_000, |count| count.parse().expect("a count"));
    all / BORROWERS
}

fn two_workers() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("tokio starts")
}

fn pool(runtime: &Runtime, counter: &CountingConnector) -> CountedPool {
    let config = NodeConfig::builder().max_connection_size(LIMIT).max_pools_per_node(1).min_idle(LIMIT);
    let runtime = TokioRuntime::new(runtime.handle().clone());
    NodePool::new(counter.clone(), config.build().expect("it is valid"), Arc::new(runtime))
}

fn lent(taken: Result<Lease<CountingConnector>, AcquireError>) -> Lease<CountingConnector> {
    let mut lease = taken.unwrap_or_else(|error| panic!("a wait was lost: {error}"));
    lease.uses += 1;
    lease
}

/// The limit can be held, no more, and all closes.
fn probe(runtime: &Runtime, pool: CountedPool, counter: &CountingConnector) {
    runtime.block_on(async {
        let mut held = Vec::new();
        for _ in 0..LIMIT {
            held.push(lent(pool.get_timeout(LOST).await));
        }
        assert!(pool.try_get().is_err(), "no more than the limit can be held");
        let status = pool.status();
        assert_eq!((status.active, status.idle, status.waiting), (LIMIT, 0, 0), "{status:?}");
        drop(held);
        pool.close_timeout(LOST).await;
    });
    assert_eq!(counter.open.load(Ordering::SeqCst), 0, "every connection is closed");
    assert!(counter.peak.load(Ordering::SeqCst) <= LIMIT, "never more than the limit");
}

#[test]
fn tasks_on_two_workers_lose_no_wait_and_no_connection() {
    let (runtime, counter) = (two_workers(), CountingConnector::default());
    let pool = pool(&runtime, &counter);
    let operations = operations();
    let borrow = |pool: CountedPool, borrower: usize| async move {
        for turn in 0..operations {
            match (turn + borrower) % 8 {
                // Held while others run.
                0 => {
                    let lease = lent(pool.get_timeout(LOST).await);
                    tokio::task::yield_now().await;
                    drop(lease);
                }
                // Leaves when others have run: it may have been granted a connection by then.
                1 => {
                    let mut leaving = pin!(pool.get_timeout(LOST));
                    if let Poll::Ready(taken) = poll_once(leaving.as_mut()).await {
                        drop(lent(taken));
                    } else {
                        tokio::task::yield_now().await;
                    }
                }
                _ => drop(lent(pool.get_timeout(LOST).await)),
            }
        }
    };
    let borrowers: Vec<_> = (0..BORROWERS).map(|borrower| runtime.spawn(borrow(pool.clone(), borrower))).collect();
    for borrower in borrowers {
        runtime.block_on(borrower).expect("no borrower panics");
    }
    probe(&runtime, pool, &counter);
}

#[test]
fn plain_threads_that_release_cancel_and_discard_lose_no_wait_and_no_connection() {
    let (runtime, counter) = (two_workers(), CountingConnector::default());
    let pool = pool(&runtime, &counter);
    let operations = operations();
    thread::scope(|scope| {
        for borrower in 0..BORROWERS {
            let pool = &pool;
            scope.spawn(move || (0..operations).for_each(|turn| borrow_once(pool, turn * BORROWERS + borrower)));
        }
    });
    probe(&runtime, pool, &counter);
}

fn borrow_once(pool: &CountedPool, turn: usize) {
    match turn % 64 {
        // Its replacement is dialled by a task of the runtime.
        0 => lent(block_on(pool.get_timeout(LOST))).discard(),
        // Held while others run.
        1..8 => {
            let lease = lent(block_on(pool.get_timeout(LOST)));
            thread::yield_now();
            drop(lease);
        }
        // Leaves when others have run: it may have been granted a connection by then.
        8..16 => {
            let mut leaving = Box::pin(pool.get_timeout(LOST));
            match leaving.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(taken) => drop(lent(taken)),
                Poll::Pending => thread::yield_now(),
            }
        }
        // Its second poll has another waker.
        16..24 => {
            let mut moving = Box::pin(pool.get_timeout(LOST));
            match moving.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(taken) => drop(lent(taken)),
                Poll::Pending => drop(lent(block_on(moving))),
            }
        }
        24..32 => drop(pool.try_get()),
        _ => drop(lent(block_on(pool.get_timeout(LOST)))),
    }
}

async fn poll_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread, without any executor. Time is not looked at here: the pool has to end each wait.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
