//! What a connection to a real server takes while it idles: heap and tasks.

use std::time::Duration;

use redis_manager::runtime::Timer;

use super::contenders::{self, BB8, DEADPOOL, OURS};
use crate::heap::HeapCount;
use crate::peers::{Bb8, Check, Deadpool, Ours, RedisPool, Refusal};
use crate::runner::{BenchExecutor, Handle, Runner};
use crate::table;

const CONNECTIONS: usize = 100;
const KIND: BenchExecutor = BenchExecutor::TokioOneThread;

/// What idle connections take.
struct IdleSample {
    /// Heap of each.
    bytes: f64,
    /// Tasks of all.
    tasks: f64,
}

/// Measures and prints the pools of exclusive clients.
pub(super) fn run(port: u16) {
    let [ours, deadpool, bb8] = [OURS, DEADPOOL, BB8].map(|name| contenders::url(port, name));
    let rows = [
        row(OURS, idle(async move |handle| Ours::connect(&handle, ours, CONNECTIONS).await)),
        row(DEADPOOL, idle(async move |_| Deadpool::new(&deadpool, CONNECTIONS, KIND))),
        row(BB8, idle(async move |_| Bb8::connect(&bb8, CONNECTIONS, Check::AtCheckout).await)),
    ];
    let title = format!("{CONNECTIONS} idle connections, {KIND}");
    table::print(&title, &["pool", "heap bytes of each", "tasks of each"], &rows);
}

fn row(name: &str, sample: Result<IdleSample, Refusal>) -> Vec<String> {
    let IdleSample { bytes, tasks } = sample.expect("a sound server on this machine accepts connections");
    vec![String::from(name), format!("{bytes:.0}"), format!("{tasks:.2}")]
}

fn idle<P, F>(make: impl FnOnce(Handle) -> F + Send + 'static) -> Result<IdleSample, Refusal>
where
    P: RedisPool,
    F: Future<Output = Result<P, Refusal>> + Send,
{
    let runner = Runner::start(KIND);
    let handle = runner.handle.clone();
    runner.run(async move {
        let pool = make(handle.clone()).await?;
        // The first one brings what is there only once.
        drop(pool.get().await?);
        let mut all = Vec::with_capacity(CONNECTIONS);
        let own_tasks = tasks();
        let heap = HeapCount::start_here();
        for _ in 0..CONNECTIONS {
            all.push(pool.get().await?);
        }
        all.clear();
        handle.sleep(Duration::from_millis(100)).await;
        let more = (CONNECTIONS - 1) as f64;
        let bytes = heap.growth() as f64 / more;
        Ok(IdleSample { bytes, tasks: (tasks() - own_tasks) as f64 / more })
    })
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}
