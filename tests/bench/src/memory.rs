//! What is there while nobody asks for anything: heap, tasks and wake-ups of an idle node and of an idle connection.
//!
//! An hour is an hour of virtual time. A wake-up is one return of the executor from its sleep, less those of an executor
//! that only waits for the hour to end; timers that are due in the same millisecond are one. Connections cost nothing
//! here: a real one adds its socket and the buffers of the redis crate.

use std::future::Future;
use std::time::Duration;

use redis_manager::{Manager, NodeConfig};

use crate::heap::HeapCount;
use crate::options::Options;
use crate::pools::contenders::{self, Free, Pool};
use crate::runner::{Handle, Runner};
use crate::table;

const CONNECTIONS: usize = 1_000;
const HOUR: Duration = Duration::from_secs(3_600);

/// What an idle thing takes.
struct Sample {
    /// Heap of a pool without a connection.
    node: f64,
    /// Heap of each of a thousand idle connections.
    connection: f64,
    tasks: usize,
    wakeups: u64,
}

/// Measures and prints what is idle.
pub(crate) fn run(options: &Options) {
    let rows = vec![
        row("redis-manager", idle(async |handle| contenders::ours(&handle, CONNECTIONS))),
        row("deadpool", idle(async |_| contenders::deadpool(CONNECTIONS))),
        row("bb8", idle(async |_| contenders::bb8(CONNECTIONS).await)),
        row("mobc", idle(async |_| contenders::mobc(CONNECTIONS))),
        row("qp", idle(async |_| contenders::qp(CONNECTIONS))),
    ];
    let head = ["pool", "bytes, no connection", "bytes of each of 1 000 idle", "tasks", "wake-ups in an hour"];
    table::print("An idle pool, tokio, one thread", &head, &rows);
    let (nodes, connections) = if options.quick { (10, 50) } else { (1_000, 50) };
    many_nodes(nodes, connections);
}

fn row(name: &str, sample: Sample) -> Vec<String> {
    let Sample { node, connection, tasks, wakeups } = sample;
    vec![String::from(name), format!("{node:.0}"), format!("{connection:.0}"), tasks.to_string(), wakeups.to_string()]
}

fn idle<P, F>(make: impl FnOnce(Handle) -> F + Send + 'static) -> Sample
where
    P: Pool,
    F: Future<Output = P> + Send,
{
    let runner = Runner::with_virtual_time();
    let handle = runner.handle.clone();
    runner.run(async move {
        let own_tasks = tasks();
        let heap = HeapCount::start();
        let pool = make(handle.clone()).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        let node = heap.growth() as f64;
        let mut all = Vec::with_capacity(CONNECTIONS);
        let before = heap.growth();
        for _ in 0..CONNECTIONS {
            all.push(pool.get().await);
        }
        all.clear();
        tokio::time::sleep(Duration::from_millis(10)).await;
        let connection = (heap.growth() - before) as f64 / CONNECTIONS as f64;
        drop(heap);
        let tasks = tasks() - own_tasks;
        Sample { node, connection, tasks, wakeups: wakeups().await }
    })
}

/// Nodes of redis-manager by name, each with as many idle connections.
fn many_nodes(nodes: usize, connections: usize) {
    let runner = Runner::with_virtual_time();
    let handle = runner.handle.clone();
    let (bytes, tasks, wakeups) = runner.run(async move {
        let own_tasks = tasks();
        let heap = HeapCount::start();
        let knobs = NodeConfig::builder().max_connection_size(connections).min_idle(connections).max_pools_per_node(1);
        let config = knobs.build().expect("the knobs of the benchmark are within their ranges");
        let manager = Manager::new(config, handle.runtime());
        for node in 0..nodes {
            let name = format!("redis://10.0.{}.{}:6379", node / 256, node % 256);
            manager.add(&name, Duration::from_secs(10), || Free).await.expect("a node that costs nothing can be added");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        let bytes = heap.growth();
        drop(heap);
        let tasks = tasks() - own_tasks;
        let wakeups = wakeups().await;
        drop(manager);
        (bytes, tasks, wakeups)
    });
    let each = bytes as f64 / (nodes * connections) as f64;
    let row = [
        format!("{:.1} MB", bytes as f64 / 1e6),
        format!("{each:.0}"),
        tasks.to_string(),
        format!("{:.2}", wakeups as f64 / HOUR.as_secs_f64()),
    ];
    let title = format!("redis-manager, {nodes} nodes with {connections} idle connections each, health checks on");
    table::print(&title, &["heap", "bytes for each connection", "tasks", "wake-ups in a second"], &[row.to_vec()]);
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

/// Wake-ups in an hour in which nobody asks for anything.
async fn wakeups() -> u64 {
    let parks = || tokio::runtime::Handle::current().metrics().worker_park_count(0);
    let before = parks();
    tokio::time::sleep(HOUR).await;
    // The end of this very sleep is one.
    (parks() - before).saturating_sub(1)
}
