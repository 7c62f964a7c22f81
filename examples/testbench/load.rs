//! Waves of load: tasks that lease a client, and tasks that share one; they go on whatever happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::{AsyncCommands, RedisResult};
use redis_manager::{GetClientError, RedisManager};

const EXCLUSIVE_TASKS: u32 = 4;
const SHARED_TASKS: u32 = 4;
/// From one top of a wave to the next.
const WAVE: Duration = Duration::from_secs(20);
const SHORTEST_PAUSE: f64 = 0.004;
const AFTER_FAILURE: Duration = Duration::from_millis(50);

/// How calls have ended.
#[derive(Default)]
pub(crate) struct LoadCounts {
    pub(crate) succeeded: AtomicU64,
    pub(crate) failed: AtomicU64,
}

impl LoadCounts {
    pub(crate) fn note(&self, succeeded: bool) {
        let counter = if succeeded { &self.succeeded } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> (u64, u64) {
        (self.succeeded.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }
}

/// Starts all tasks; each ends when the manager closes.
pub(crate) fn start(manager: &RedisManager, url: &str, counts: &Arc<LoadCounts>) {
    for task in 0..EXCLUSIVE_TASKS + SHARED_TASKS {
        let (manager, url, counts) = (manager.clone(), url.to_owned(), Arc::clone(counts));
        tokio::spawn(async move {
            let since = Instant::now();
            while !manager.is_closing() {
                let key = format!("testbench:{task}");
                let succeeded = if task < EXCLUSIVE_TASKS {
                    exclusive(&manager, &url, &key).await
                } else {
                    shared(&manager, &url, &key).await
                };
                counts.note(succeeded);
                let pause = if succeeded { pause(since.elapsed(), task) } else { AFTER_FAILURE };
                tokio::time::sleep(pause).await;
            }
        });
    }
}

/// Shortest at the top of a wave, ten times as long between two waves.
fn pause(since: Duration, task: u32) -> Duration {
    let phase = since.as_secs_f64() / WAVE.as_secs_f64() + f64::from(task % 4) * 0.03;
    let height = 0.5 - 0.5 * (phase * std::f64::consts::TAU).cos();
    Duration::from_secs_f64(SHORTEST_PAUSE * (1.0 + 9.0 * (1.0 - height)))
}

async fn exclusive(manager: &RedisManager, url: &str, key: &str) -> bool {
    let called: Result<RedisResult<()>, GetClientError> = async {
        let mut client = manager.get_client(url).await?;
        let set: RedisResult<()> = client.set(key, 1).await;
        let got: RedisResult<Option<i64>> = client.get(key).await;
        Ok(set.and(got.map(drop)))
    }
    .await;
    matches!(called, Ok(Ok(())))
}

async fn shared(manager: &RedisManager, url: &str, key: &str) -> bool {
    let Ok(mut client) = manager.get_shared_client(url).await else { return false };
    let got: RedisResult<Option<i64>> = client.get(key).await;
    got.is_ok()
}
