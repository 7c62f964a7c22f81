//! What is there while nobody asks for anything: heap, tasks and wake-ups of an idle node and of an idle connection.
//!
//! An hour is an hour of virtual time. A wake-up is one return of the executor from its sleep, less those of an executor
//! that only waits for the hour to end; timers that are due in the same millisecond are one. The time of the one thread is
//! what all that goes on in this hour really takes. Connections cost nothing here: a real one adds its socket and the
//! buffers of the redis crate, which the part `redis` shows.

use std::future::Future;
use std::time::{Duration, Instant};

use redis_manager::pool::{Manager, NodeConfig};

use crate::heap::HeapCount;
use crate::options::Options;
use crate::pools::contenders::{self, BenchPool, NothingConnector};
use crate::runner::{BenchExecutor, Handle, Runner};
use crate::table;

const CONNECTIONS: usize = 1_000;
const HOUR: Duration = Duration::from_secs(3_600);

/// What an idle pool takes without a connection, with one, and with a thousand.
struct MemorySample {
    /// Heap without a connection.
    node: f64,
    /// Heap of each of a thousand idle connections.
    connection: f64,
    tasks: [usize; 3],
    hours: [Hour; 3],
}

/// What happened in an hour in which nobody asked for anything.
#[derive(Clone, Copy, Debug)]
struct Hour {
    wakeups: u64,
    busy: Duration,
}

/// Measures and prints what is idle.
pub(crate) fn run(options: &Options) {
    let tokio = BenchExecutor::TokioOneThread;
    let rows = vec![
        row("redis-manager", idle(async |handle| contenders::ours(&handle, CONNECTIONS))),
        row("deadpool", idle(async |_| contenders::deadpool(CONNECTIONS))),
        row("deadpool, with a wait timeout", idle(async move |_| contenders::deadpool_with_timeout(tokio, CONNECTIONS))),
        row("bb8", idle(async |_| contenders::bb8(CONNECTIONS).await)),
        row("mobc", idle(async |_| contenders::mobc(CONNECTIONS))),
        row("qp", idle(async |_| contenders::qp(CONNECTIONS))),
    ];
    let head = [
        "pool",
        "bytes, no connection",
        "bytes of each of 1 000 idle",
        "tasks with 0 / 1 / 1 000",
        "wake-ups in an hour with 0 / 1 / 1 000",
        "ms of a thread in an hour",
    ];
    table::print("An idle pool, tokio, one thread", &head, &rows);
    let (nodes, connections) = if options.quick { (10, 50) } else { (1_000, 50) };
    many_nodes(nodes, connections);
}

fn row(name: &str, sample: MemorySample) -> Vec<String> {
    let MemorySample { node, connection, tasks, hours } = sample;
    let three = |cells: [String; 3]| cells.join(" / ");
    vec![
        String::from(name),
        format!("{node:.0}"),
        format!("{connection:.0}"),
        three(tasks.map(|tasks| tasks.to_string())),
        three(hours.map(|hour| hour.wakeups.to_string())),
        three(hours.map(|hour| format!("{:.1}", hour.busy.as_secs_f64() * 1e3))),
    ]
}

fn idle<P, F>(make: impl FnOnce(Handle) -> F + Send + 'static) -> MemorySample
where
    P: BenchPool,
    F: Future<Output = P> + Send,
{
    let runner = Runner::with_virtual_time();
    let handle = runner.handle.clone();
    runner.run(async move {
        let quiet = quiet_hour().await;
        let own_tasks = tasks();
        let heap = HeapCount::start_here();
        let pool = make(handle.clone()).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        let node = heap.growth() as f64;
        drop(heap);
        let (mut tasks_with, mut hours) = ([0; 3], [Hour { wakeups: 0, busy: Duration::ZERO }; 3]);
        let mut connection = 0.0;
        for (column, connections) in [0, 1, CONNECTIONS].into_iter().enumerate() {
            let heap = HeapCount::start_here();
            let mut all = Vec::with_capacity(connections);
            let before = heap.growth();
            for _ in 0..connections {
                all.push(pool.get().await);
            }
            all.clear();
            tokio::time::sleep(Duration::from_millis(10)).await;
            // Of those that are new: the first is there already.
            connection = (heap.growth() - before) as f64 / connections.saturating_sub(1).max(1) as f64;
            drop(heap);
            tasks_with[column] = tasks() - own_tasks;
            hours[column] = hour(quiet).await;
        }
        MemorySample { node, connection, tasks: tasks_with, hours }
    })
}

/// Nodes of redis-manager by name, each with as many idle connections.
fn many_nodes(nodes: usize, connections: usize) {
    let runner = Runner::with_virtual_time();
    let handle = runner.handle.clone();
    let (bytes, tasks, hour) = runner.run(async move {
        let quiet = quiet_hour().await;
        let own_tasks = tasks();
        let heap = HeapCount::start_here();
        let settings = NodeConfig::builder().max_connection_size(connections).min_idle(connections).max_pools_per_node(1);
        let config = settings.build().expect("the settings of the benchmark are within their ranges");
        let manager = Manager::new(config, handle.runtime());
        for node in 0..nodes {
            let name = format!("redis://10.0.{}.{}:6379", node / 256, node % 256);
            manager
                .add(&name, Duration::from_secs(10), || NothingConnector)
                .await
                .expect("a node that costs nothing can be added");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        let bytes = heap.growth();
        drop(heap);
        let tasks = tasks() - own_tasks;
        let hour = hour(quiet).await;
        drop(manager);
        (bytes, tasks, hour)
    });
    let each = bytes as f64 / (nodes * connections) as f64;
    let row = [
        format!("{:.1} MB", bytes as f64 / 1e6),
        format!("{each:.0}"),
        tasks.to_string(),
        format!("{:.2}", hour.wakeups as f64 / HOUR.as_secs_f64()),
        format!("{:.3} %", 100.0 * hour.busy.as_secs_f64() / HOUR.as_secs_f64()),
    ];
    let title = format!("redis-manager, {nodes} nodes with {connections} idle connections each, health checks on");
    let head = ["heap", "bytes for each connection", "tasks", "wake-ups in a second", "of one thread's time"];
    table::print(&title, &head, &[row.to_vec()]);
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

/// Wake-ups of an executor that only waits for an hour to end; one more or less, by where the hour begins.
async fn quiet_hour() -> u64 {
    let mut most = 0;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        most = most.max(hour(0).await.wakeups);
    }
    most
}

/// An hour in which nobody asks for anything; so many wake-ups come of waiting for its end.
async fn hour(quiet: u64) -> Hour {
    let parks = || tokio::runtime::Handle::current().metrics().worker_park_count(0);
    let (before, start) = (parks(), Instant::now());
    tokio::time::sleep(HOUR).await;
    Hour { wakeups: (parks() - before).saturating_sub(quiet), busy: start.elapsed() }
}
