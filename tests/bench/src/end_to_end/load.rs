//! Tasks that ask a server for one value again and again, and what that takes.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redis_manager::runtime::Timer;
use redis_manager_tests::redis_server::RedisServer;

use super::KEY;
use crate::measure::{jain, percentile};
use crate::peers::Refusal;
use crate::runner::{Done, Handle};

/// One way to get a value from the server; every task has a clone of its own.
pub(crate) trait GetLoad: Clone + Send + Sync + 'static {
    /// The whole of it: get a connection, GET, give it back.
    fn get(&mut self) -> impl Future<Output = Result<Vec<u8>, Refusal>> + Send;
}

/// What a race of one contender took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RaceSample {
    pub(super) ops_per_second: f64,
    /// Microseconds.
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    /// How evenly the operations were spread over the tasks; see [`jain`].
    pub(super) jain: f64,
    /// CPU time of this process, in microseconds for each operation; 0 where it cannot be read.
    pub(super) cpu: f64,
    /// Connections of this contender at the server right after the race, also idle ones.
    pub(super) connections: f64,
    /// Commands that the server has counted, for each operation.
    pub(super) commands: f64,
}

/// A contender that can be raced, whatever its type.
pub(crate) trait Racer: Send + Sync {
    fn race(&self, handle: &Handle, race: &Race) -> Done<RaceSample>;
}

/// The conditions of a race.
#[derive(Clone, Debug)]
pub(crate) struct Race {
    /// Where commands and connections are counted.
    pub(super) server: Option<Arc<RedisServer>>,
    /// Whose connections are counted.
    pub(super) user: String,
    pub(super) tasks: usize,
    pub(super) warm_up: Duration,
    pub(super) window: Duration,
}

impl<L: GetLoad> Racer for L {
    fn race(&self, handle: &Handle, race: &Race) -> Done<RaceSample> {
        let (load, handle, race) = (self.clone(), handle.clone(), race.clone());
        Box::pin(async move {
            run(&load, &handle, race.tasks, race.warm_up).await;
            let commands_before = race.server.as_deref().map_or(0, commands);
            let cpu_before = cpu_time();
            let start = Instant::now();
            let by_task = run(&load, &handle, race.tasks, race.window).await;
            let elapsed = start.elapsed().as_secs_f64();
            let cpu = cpu_time().saturating_sub(cpu_before);
            // One of them is the INFO of the count before.
            let commands = race.server.as_deref().map_or(0, commands).saturating_sub(commands_before).saturating_sub(1);
            let shares: Vec<u64> = by_task.iter().map(|latencies| latencies.len() as u64).collect();
            let mut latencies = by_task.concat();
            latencies.sort_unstable();
            let operations = latencies.len() as f64;
            let micros = |part| percentile(&latencies, part) / 1_000.0;
            RaceSample {
                ops_per_second: operations / elapsed,
                p50: micros(0.5),
                p99: micros(0.99),
                p999: micros(0.999),
                jain: jain(&shares),
                cpu: cpu.as_secs_f64() * 1e6 / operations,
                connections: race.server.as_deref().map_or(0, |server| connections(server, &race.user)) as f64,
                commands: commands as f64 / operations,
            }
        })
    }
}

/// The latencies of every task, in nanoseconds.
async fn run<L: GetLoad>(load: &L, handle: &Handle, tasks: usize, length: Duration) -> Vec<Vec<u32>> {
    let stop = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..tasks)
        .map(|_| {
            let (mut load, stop) = (load.clone(), Arc::clone(&stop));
            handle.start(async move {
                let mut latencies = Vec::with_capacity(4_096);
                while !stop.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    let value = load.get().await.expect("a sound server on this machine answers");
                    assert_eq!(value.len(), 100, "{KEY} holds 100 bytes");
                    latencies.push(u32::try_from(start.elapsed().as_nanos()).unwrap_or(u32::MAX));
                }
                latencies
            })
        })
        .collect();
    handle.sleep(length).await;
    stop.store(true, Ordering::Relaxed);
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await);
    }
    all
}

fn commands(server: &RedisServer) -> u64 {
    let stats = server.command(&["INFO", "stats"]);
    let count = stats.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
    count.and_then(|count| count.trim().parse().ok()).expect("INFO counts commands")
}

fn connections(server: &RedisServer, user: &str) -> usize {
    let user = format!("user={user}");
    server.client_list().iter().filter(|line| line.split(' ').any(|field| field == user)).count()
}

/// The CPU time of this process, user and system, by Linux's count in hundredths of a second.
pub(crate) fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    // The 14th and 15th field of all; the first after the name is the third.
    let ticks: u64 = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}
