//! What a wait costs the executor: hand-overs, wake-ups, polls that find nothing, and sleeps of its threads.

use std::fs;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use redis_manager_tests::tasks::within;

use super::contenders::BenchPool;
use super::cycles::{SCENARIOS, Scenario, yield_now};
use super::{KINDS, PoolResults, in_rounds, start};
use crate::options::Options;
use crate::runner::{BenchExecutor, Done, Handle};
use crate::table;

/// What the gets of one crowd took. Not a number if the crowd hung.
#[derive(Clone, Copy, Debug)]
pub(super) struct WakeSample {
    /// The part of the gets that found nothing at first, and so ended with a hand-over.
    waited: f64,
    /// Of each of those: how often the pool woke the task.
    wakes: f64,
    /// Of each of those: how often the task was polled without a connection for it, beyond the first time.
    in_vain: f64,
    /// Sleeps of this process's threads in 1 000 cycles, by the operating system.
    sleeps: f64,
}

const HUNG: WakeSample = WakeSample { waited: f64::NAN, wakes: f64::NAN, in_vain: f64::NAN, sleeps: f64::NAN };

/// A crowd that takes longer will never end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Counts and prints where there is always a line.
pub(super) fn run(options: &Options) {
    let cycles = if options.quick { 50 } else { 1_000 };
    for kind in KINDS {
        for scenario in SCENARIOS.into_iter().filter(|scenario| scenario.tasks > scenario.size) {
            table_of(kind, scenario, if scenario.tasks > 100 { cycles / 5 } else { cycles });
        }
    }
}

fn table_of(kind: BenchExecutor, scenario: Scenario, cycles: u64) {
    let (runner, subjects) = start(kind, scenario);
    let cells = in_rounds(&subjects, 3, |column| runner.run(subjects[column].pool.count_wakes(&runner.handle, scenario, cycles)));
    let row = |cell: &PoolResults<WakeSample>| {
        let median = |value: fn(&WakeSample) -> f64, digits: usize| match cell.spread(value).median {
            hung if hung.is_nan() => String::from("hung"),
            median => format!("{median:.digits$}"),
        };
        vec![
            String::from(cell.name),
            median(|sample| 100.0 * sample.waited, 1),
            median(|sample| sample.wakes, 3),
            median(|sample| sample.in_vain, 3),
            median(|sample| sample.sleeps, 1),
        ]
    };
    let rows: Vec<_> = cells.iter().map(row).collect();
    let head =
        ["pool", "% of gets handed over", "wake-ups for each", "polls in vain for each", "sleeps of threads, 1 000 cycles"];
    table::print(&format!("Wake-ups, {}, {kind}", scenario.name), &head, &rows);
}

/// Lets as many tasks as the scenario has go through so many cycles each.
pub(super) fn count<P: BenchPool>(pool: &P, handle: &Handle, scenario: Scenario, cycles: u64) -> Done<WakeSample> {
    let (pool, handle) = (pool.clone(), handle.clone());
    Box::pin(async move {
        let before = sleeps();
        let tasks: Vec<_> = (0..scenario.tasks).map(|_| handle.start(cycle(pool.clone(), cycles))).collect();
        let mut sum = WakeCount::default();
        let all = async {
            for task in tasks {
                sum.add(task.await);
            }
        };
        if within(&handle, PATIENCE, all).await.is_none() {
            return HUNG;
        }
        let gets = (scenario.tasks as u64 * cycles) as f64;
        let waits = sum.waits as f64;
        WakeSample {
            waited: waits / gets,
            wakes: sum.wakes as f64 / waits,
            in_vain: sum.in_vain as f64 / waits,
            sleeps: sleeps().saturating_sub(before) as f64 * 1e3 / gets,
        }
    })
}

#[derive(Clone, Copy, Debug, Default)]
struct WakeCount {
    waits: u64,
    wakes: u64,
    in_vain: u64,
}

impl WakeCount {
    fn add(&mut self, other: WakeCount) {
        self.waits += other.waits;
        self.wakes += other.wakes;
        self.in_vain += other.in_vain;
    }
}

/// The waker of a task, counted.
struct Tap {
    task: Waker,
    wakes: AtomicU64,
}

impl Wake for Tap {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::Relaxed);
        self.task.wake_by_ref();
    }
}

async fn cycle<P: BenchPool>(pool: P, cycles: u64) -> WakeCount {
    // A task keeps its waker on every executor that is measured here.
    let task = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
    let tap = Arc::new(Tap { task, wakes: AtomicU64::new(0) });
    let waker = Waker::from(Arc::clone(&tap));
    let mut tally = WakeCount::default();
    for _ in 0..cycles {
        let mut polls = 0;
        let lease = {
            let mut get = pin!(pool.get());
            poll_fn(|_| {
                polls += 1;
                get.as_mut().poll(&mut Context::from_waker(&waker))
            })
            .await
        };
        tally.waits += u64::from(polls > 1);
        tally.in_vain += u64::saturating_sub(polls, 2);
        yield_now().await;
        drop(lease);
    }
    tally.wakes = tap.wakes.load(Ordering::Relaxed);
    tally
}

/// How often the threads of this process have gone to sleep so far; 0 where that cannot be read.
fn sleeps() -> u64 {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return 0 };
    let status = threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok());
    status
        .filter_map(|status| {
            let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            count.trim().parse::<u64>().ok()
        })
        .sum()
}
