//! Tasks that get a connection and drop it, again and again: how many cycles, how long each wait, how even the shares.

use std::future::poll_fn;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use redis_manager_tests::tasks::within;

use super::contenders::BenchPool;
use crate::measure::{jain, percentile};
use crate::runner::{Done, Handle};

/// Whether a task lets others run while it holds a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// Drops it at once. Tasks yield after every 64th cycle, without a connection.
    Never,
    /// Across one yield, so that with fewer connections than tasks there is always a line.
    OneYield,
}

/// Who competes for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) tasks: usize,
    pub(super) size: usize,
    pub(super) hold: Hold,
}

pub(super) const SCENARIOS: [Scenario; 5] = [
    Scenario { name: "1 task on 8", tasks: 1, size: 8, hold: Hold::Never },
    Scenario { name: "2 tasks on 16", tasks: 2, size: 16, hold: Hold::Never },
    Scenario { name: "16 tasks on 16", tasks: 16, size: 16, hold: Hold::Never },
    Scenario { name: "64 tasks on 8, hold one yield", tasks: 64, size: 8, hold: Hold::OneYield },
    Scenario { name: "1 000 tasks on 16, hold one yield", tasks: 1_000, size: 16, hold: Hold::OneYield },
];

/// What one window showed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CycleSample {
    pub(super) cycles_per_second: f64,
    /// Of an acquire, in nanoseconds, of every 16th cycle.
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    /// Cycles of the task that had the fewest, and the most.
    pub(super) least: f64,
    pub(super) most: f64,
    pub(super) jain: f64,
    /// Tasks that did not end within a second after they were told to.
    pub(super) hung: f64,
}

/// How long a task may go on when its time is over.
const GRACE: Duration = Duration::from_secs(1);

/// Cycles between two looks at the clock: a look costs as much as half a cycle.
const TIMED_EVERY: u64 = 16;

pub(super) fn race<P: BenchPool>(pool: &P, handle: &Handle, scenario: Scenario, window: Duration) -> Done<CycleSample> {
    let (pool, handle) = (pool.clone(), handle.clone());
    Box::pin(async move {
        // Every connection is there before the race begins. A pool that hung in an earlier round may lend none.
        let all_connections = async {
            let mut all = Vec::new();
            for _ in 0..scenario.size {
                all.push(pool.get().await);
            }
        };
        if within(&handle, GRACE, all_connections).await.is_none() {
            return CycleSample { hung: scenario.tasks as f64, ..CycleSample::default() };
        }
        let stop = Arc::new(AtomicBool::new(false));
        let start = Instant::now();
        let tasks: Vec<_> =
            (0..scenario.tasks).map(|_| handle.start(cycle(pool.clone(), scenario.hold, Arc::clone(&stop)))).collect();
        // The clock is a thread of its own: tasks that never wait may keep an executor from its timers.
        let clock = thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                thread::sleep(window);
                stop.store(true, Ordering::Relaxed);
            }
        });
        let (mut latencies, mut shares, mut hung) = (Vec::new(), Vec::new(), 0_u32);
        let mut end = start;
        for task in tasks {
            match within(&handle, (start + window + GRACE).saturating_duration_since(Instant::now()), task).await {
                Some(Share { cycles, latencies: own, ended }) => {
                    shares.push(cycles);
                    latencies.extend(own);
                    end = end.max(ended);
                }
                None => {
                    shares.push(0);
                    hung += 1;
                }
            }
        }
        clock.join().expect("a clock does not panic");
        latencies.sort_unstable();
        let cycles: u64 = shares.iter().sum();
        CycleSample {
            cycles_per_second: cycles as f64 / (end - start).as_secs_f64(),
            p50: percentile(&latencies, 0.5),
            p99: percentile(&latencies, 0.99),
            p999: percentile(&latencies, 0.999),
            least: shares.iter().copied().min().unwrap_or(0) as f64,
            most: shares.iter().copied().max().unwrap_or(0) as f64,
            jain: jain(&shares),
            hung: f64::from(hung),
        }
    })
}

struct Share {
    cycles: u64,
    latencies: Vec<u32>,
    ended: Instant,
}

async fn cycle<P: BenchPool>(pool: P, hold: Hold, stop: Arc<AtomicBool>) -> Share {
    let (mut cycles, mut latencies) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let timed = cycles % TIMED_EVERY == TIMED_EVERY - 1;
        let start = timed.then(Instant::now);
        let lease = black_box(pool.get().await);
        if let Some(start) = start {
            latencies.push(u32::try_from(start.elapsed().as_nanos()).unwrap_or(u32::MAX));
        }
        match hold {
            Hold::OneYield => yield_now().await,
            Hold::Never => {}
        }
        drop(lease);
        cycles += 1;
        if hold == Hold::Never && cycles % 64 == 0 {
            yield_now().await;
        }
    }
    Share { cycles, latencies, ended: Instant::now() }
}

/// Lets the other tasks run; the same on every executor.
pub(super) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
