//! A failover of a Redis Cluster, half a second by half a second: three primaries and three replicas are started, a load runs
//! on all three shards, a primary is killed, and its replica takes its place.
//!
//! Needs a `redis-server` on the PATH, and says so if there is none.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::AsyncCommands;
use redis_manager::tokio::TokioRuntime;
use redis_manager::{ClusterRole, PoolArgs, RedisManager};
use redis_manager_tests::cluster::TestCluster;

const NAME: &str = "redis://cluster";
const WRITERS: usize = 4;
const STEP: Duration = Duration::from_millis(500);
const COMMAND_TIMEOUT: Duration = Duration::from_secs(1);

/// What the writers of one shard saw since somebody looked last.
#[derive(Default)]
struct WriteCounts {
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
    // Without it the servers themselves would stop all shards while one has no primary.
    let cluster = Arc::new(TestCluster::options().require_full_coverage(false).start());
    println!("six servers form a cluster after {:.1} s", start.elapsed().as_secs_f64());

    let mut args = PoolArgs::default();
    args.command_timeout = COMMAND_TIMEOUT;
    let builder = RedisManager::builder().use_cluster(true).startup_nodes(cluster.urls()).pool_args(args);
    let manager = builder.build(TokioRuntime::current()?)?;
    manager.add_node_pool(NAME).await?;
    for node in manager.cluster_status(NAME)?.nodes {
        let slots: usize = node.slots.iter().map(|range| range.len()).sum();
        match node.role {
            ClusterRole::Primary => println!("  {} is a primary with {slots} slots", node.address),
            ClusterRole::Replica | _ => println!("  {} copies {}", node.address, node.replica_of.unwrap_or_default()),
        }
    }

    let primaries = cluster.primaries();
    let stop = Arc::new(AtomicBool::new(false));
    let shards: Vec<Arc<WriteCounts>> = primaries.iter().map(|_| Arc::default()).collect();
    let mut writers = Vec::new();
    for (primary, seen) in primaries.iter().zip(&shards) {
        for writer in 0..WRITERS {
            let key = format!("{}:{writer}", cluster.key_in(primary));
            writers.push(tokio::spawn(write(manager.clone(), key, Arc::clone(seen), Arc::clone(&stop))));
        }
    }

    println!("\n{WRITERS} writers on each shard, each call {COMMAND_TIMEOUT:?} at most; the first primary is killed at 1.5 s\n");
    println!("  time   shard 1: written failed  slowest    shard 2 and 3: written failed  slowest");
    let start = Instant::now();
    let mut promoted = None;
    let mut victim = None;
    for step in 1.. {
        tokio::time::sleep_until((start + STEP * step).into()).await;
        let one = report(&shards[..1]);
        let others = report(&shards[1..]);
        println!("{:>5.1} s   {one}                   {others}", start.elapsed().as_secs_f64());
        if step == 3 {
            let (cluster, primary) = (Arc::clone(&cluster), primaries[0].clone());
            println!("          {} is killed", primary.address());
            primary.kill();
            victim = Some(tokio::task::spawn_blocking(move || cluster.wait_for_promotion(&primary)));
        }
        if let Some(waiting) = victim.take_if(|waiting| waiting.is_finished()) {
            let at = waiting.await?;
            println!("          its replica was promoted at {:.1} s", (at - start).as_secs_f64());
            promoted = Some(step);
        }
        if promoted.is_some_and(|at| step >= at + 4) {
            break;
        }
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await?;
    }
    if let Some(error) = shards[0].last_error.lock().unwrap_or_else(PoisonError::into_inner).take() {
        println!("\nwhat the writers of shard 1 were told meanwhile: {error}");
    }
    manager.close_all_pools().await;
    println!("closed; connections that the servers still see: {:?}", cluster.client_counts().values().sum::<usize>());
    Ok(())
}

/// One writer: counts up a key of its own until it is stopped.
async fn write(manager: RedisManager, key: String, seen: Arc<WriteCounts>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        let written: Result<u64, String> = match manager.get_client(NAME).await {
            Ok(mut client) => client.incr(&key, 1).await.map_err(|error| error.to_string()),
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

fn report(shards: &[Arc<WriteCounts>]) -> String {
    let sum =
        |count: fn(&WriteCounts) -> &AtomicU64| shards.iter().map(|seen| count(seen).swap(0, Ordering::Relaxed)).sum::<u64>();
    let slowest = shards.iter().map(|seen| seen.slowest.swap(0, Ordering::Relaxed)).max().unwrap_or(0);
    let (written, failed) = (sum(|seen| &seen.written), sum(|seen| &seen.failed));
    format!("{written:>7} {failed:>6} {:>5.0} ms", slowest as f64 / 1e3)
}
