//! Walks one hot path of the core as often as it is told to, for `run.sh` to count the instructions. Measures nothing itself.
//!
//! `redis-manager-instructions PATH TIMES`; without arguments, the names of the paths.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use redis_manager_core::{Acquire, Connector, Instant, Lease, Manager, NodeConfig, NodePool, Runtime, Spawn, Task, Timer};

/// A connector that costs nothing.
struct Free;

impl Connector for Free {
    type Connection = Box<u64>;
    type Error = Infallible;

    async fn connect(&self) -> Result<Box<u64>, Infallible> {
        Ok(Box::new(1))
    }

    async fn check(&self, _: &mut Box<u64>) -> Result<(), Infallible> {
        Ok(())
    }

    fn is_broken(&self, _: &mut Box<u64>) -> bool {
        false
    }
}

/// An executor that runs when it is asked to, with a clock that costs next to nothing and whose deadlines never come.
#[derive(Default)]
struct Hand {
    now: AtomicU64,
    tasks: Mutex<Vec<Task>>,
}

impl Hand {
    fn run(&self) {
        for _ in 0..10 {
            let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
            tasks.retain_mut(|task| poll_once(task.as_mut()).is_pending());
            self.tasks.lock().unwrap_or_else(PoisonError::into_inner).extend(tasks);
        }
    }
}

impl Timer for Hand {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.now.fetch_add(1, Ordering::Relaxed))
    }

    fn sleep_until(&self, _: Instant) -> Task {
        Box::pin(std::future::pending())
    }
}

impl Spawn for Hand {
    fn spawn(&self, task: Task) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }
}

impl Runtime for Hand {
    fn seed(&self) -> u64 {
        1
    }
}

fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn pool(runtime: &Arc<Hand>, size: usize) -> NodePool<Free> {
    let knobs = NodeConfig::builder().max_connection_size(size).max_pools_per_node(1).min_idle(size);
    let config = knobs.build().expect("these knobs are within their ranges");
    let pool = NodePool::new(Free, config, Arc::clone(runtime) as Arc<dyn Runtime>);
    runtime.run();
    pool
}

fn lend(pool: &NodePool<Free>) -> Lease<Free> {
    pool.try_get().expect("a connection idles")
}

const CROWD: usize = 1_000;

/// Gets that find nothing, polled once.
fn crowd(pool: &NodePool<Free>, size: usize) -> VecDeque<Pin<Box<Acquire<'_, Free>>>> {
    (0..size).map(|_| wait(pool)).collect()
}

fn wait(pool: &NodePool<Free>) -> Pin<Box<Acquire<'_, Free>>> {
    let mut wait = Box::pin(pool.get());
    assert!(poll_once(wait.as_mut()).is_pending(), "nothing idles");
    wait
}

/// A get that finds a connection, and its return.
fn uncontended(times: u64) {
    let runtime = Arc::new(Hand::default());
    let pool = pool(&runtime, 8);
    for _ in 0..times {
        assert!(poll_once(pin!(pool.get())).is_ready(), "a connection idles");
    }
}

/// The same by name, among a hundred nodes.
fn by_name(times: u64) {
    let runtime = Arc::new(Hand::default());
    let config = NodeConfig::builder().max_connection_size(8).build().expect("these knobs are within their ranges");
    let manager = Manager::new(config, Arc::clone(&runtime) as Arc<dyn Runtime>);
    let names: Vec<_> = (0..100).map(|node| format!("redis://10.0.0.{node}:6379")).collect();
    for name in &names {
        let mut adding = pin!(manager.add(name, Duration::from_secs(1), || Free));
        while poll_once(adding.as_mut()).is_pending() {
            runtime.run();
        }
    }
    for _ in 0..times {
        assert!(poll_once(pin!(manager.get(&names[50], Duration::from_secs(1)))).is_ready(), "a connection idles");
    }
}

/// A get that waits, behind so many others, and is served by a return.
fn waited(others: usize, times: u64) {
    let runtime = Arc::new(Hand::default());
    let pool = pool(&runtime, 1);
    let mut lease = lend(&pool);
    let mut line = crowd(&pool, others + 1);
    for _ in 0..times {
        drop(lease);
        let mut head = line.pop_front().expect("the line is never empty");
        let Poll::Ready(Ok(served)) = poll_once(head.as_mut()) else { unreachable!("the head of the line is served") };
        lease = served;
        // In the same box, so that no allocation is counted.
        head.set(pool.get());
        assert!(poll_once(head.as_mut()).is_pending(), "nothing idles");
        line.push_back(head);
    }
}

/// A get that waits, behind so many others, and is dropped.
fn cancelled(others: usize, times: u64) {
    let runtime = Arc::new(Hand::default());
    let pool = pool(&runtime, 1);
    let _lease = lend(&pool);
    let _crowd = crowd(&pool, others);
    for _ in 0..times {
        assert!(poll_once(pin!(pool.get())).is_pending(), "nothing idles");
    }
}

type Path = (&'static str, fn(u64));

const PATHS: [Path; 6] = [
    ("uncontended", uncontended),
    ("by-name", by_name),
    ("waited", |times| waited(0, times)),
    ("waited-behind-1000", |times| waited(CROWD, times)),
    ("cancelled", |times| cancelled(0, times)),
    ("cancelled-among-1000", |times| cancelled(CROWD, times)),
];

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (path, times) = (words.next(), words.next().and_then(|times| times.parse().ok()));
    match (PATHS.iter().find(|(name, _)| Some(*name) == path.as_deref()), times) {
        (Some((_, walk)), Some(times)) => {
            walk(times);
            ExitCode::SUCCESS
        }
        (_, _) => {
            PATHS.iter().for_each(|(name, _)| println!("{name}"));
            ExitCode::SUCCESS
        }
    }
}
