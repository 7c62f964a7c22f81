//! A failover by sentinels, half a second by half a second: a primary, two replicas and three sentinels are started, a load runs,
//! the primary is killed, and a replica takes its place. Exits with an error if writes do not go on.
//!
//! Needs a `redis-server` on the PATH, and says so if there is none.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::AsyncCommands;
use redis_manager::tokio::TokioRuntime;
use redis_manager::{PoolArgs, RedisManager, SentinelArgs};
use redis_manager_tests::cluster::TestCluster;
use redis_manager_tests::sentinel::{PRIMARY_NAME, TestSentinels};

const NAME: &str = "orders";
const WRITERS: usize = 8;
const STEP: Duration = Duration::from_millis(500);
const COMMAND_TIMEOUT: Duration = Duration::from_secs(1);
/// Steps without a failover after which it gives up.
const LONGEST: u32 = 40;

/// What the writers saw since the last step.
#[derive(Default)]
struct PrimaryWrites {
    written: AtomicU64,
    failed: AtomicU64,
    /// The longest call, in microseconds.
    slowest: AtomicU64,
    last_error: Mutex<Option<String>>,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    if let Err(missing) = TestCluster::check_requirements() {
        eprintln!("{missing}");
        return ExitCode::FAILURE;
    }
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let start = Instant::now();
    let mut all = TestSentinels::start();
    println!("three servers and three sentinels know each other after {:.1} s", start.elapsed().as_secs_f64());

    let args = PoolArgs::default().command_timeout(COMMAND_TIMEOUT);
    let manager = RedisManager::builder().pool_args(args).build(TokioRuntime::current()?)?;
    manager.add_sentinel(NAME, SentinelArgs::new(PRIMARY_NAME, all.addresses())).await?;
    let status = manager.sentinel_status(NAME)?;
    println!("  the primary is {}", status.primary.unwrap_or_default());
    for sentinel in status.sentinels {
        println!("  sentinel {} says so in epoch {}", sentinel.address, sentinel.epoch);
    }

    let (seen, stop) = (Arc::<PrimaryWrites>::default(), Arc::<AtomicBool>::default());
    let write_all = |writer| tokio::spawn(write(manager.clone(), writer, Arc::clone(&seen), Arc::clone(&stop)));
    let writers: Vec<_> = (0..WRITERS).map(write_all).collect();
    println!(
        "\n{WRITERS} writers, each command {COMMAND_TIMEOUT:?} at most after its wait for a client; the primary is killed at 1.5 s\n"
    );
    println!("  time   written failed  slowest");
    let start = Instant::now();
    let old = all.primary().ok_or("no sentinel answers")?;
    let mut last_step = LONGEST;
    let mut written = 0;
    for step in 1.. {
        tokio::time::sleep_until((start + STEP * step).into()).await;
        let line;
        (written, line) = report(&seen);
        println!("{:>5.1} s   {line}", start.elapsed().as_secs_f64());
        if step == 3 {
            println!("          {} is killed", all.servers[old].port());
            all.servers[old].kill();
        }
        let status = manager.sentinel_status(NAME)?;
        if status.failovers > 0 && last_step == LONGEST {
            println!("          the primary is {}", status.primary.unwrap_or_default());
            last_step = step + 3;
        }
        if step >= last_step {
            break;
        }
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await?;
    }
    if let Some(error) = seen.last_error.lock().unwrap_or_else(PoisonError::into_inner).take() {
        println!("\nwhat a writer got meanwhile: {error}");
    }
    manager.close_all_pools().await;
    if last_step == LONGEST || written == 0 {
        return Err("the writes have not gone on".into());
    }
    Ok(())
}

/// One writer: counts up a key of its own until it is stopped.
async fn write(manager: RedisManager, writer: usize, seen: Arc<PrimaryWrites>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        let written: Result<u64, String> = match manager.get_client(NAME).await {
            Ok(mut client) => client.incr(format!("count:{writer}"), 1).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        seen.slowest.fetch_max(micros, Ordering::Relaxed);
        match written {
            Ok(_) => {
                seen.written.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                seen.failed.fetch_add(1, Ordering::Relaxed);
                *seen.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        }
    }
}

/// How much was written since the last report, and a line of the table.
fn report(seen: &PrimaryWrites) -> (u64, String) {
    let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
    let (written, failed, slowest) = (take(&seen.written), take(&seen.failed), take(&seen.slowest));
    (written, format!("{written:>7} {failed:>6} {:>5.0} ms", slowest as f64 / 1e3))
}
