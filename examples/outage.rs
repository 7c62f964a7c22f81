//! An outage second by second, in virtual time: the pools, those who wait, the dials, and the first success after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use redis_manager::pool::{NodeConfig, NodePool};
use redis_manager::runtime::{Instant, Spawn, Timer};
use redis_manager::testing::{FakeMode, FakeRuntime, FakeServer};

const CALLERS: usize = 8;
const SECOND: Duration = Duration::from_secs(1);

/// What the callers saw.
#[derive(Default)]
struct CallCounts {
    served: AtomicUsize,
    refused: AtomicUsize,
    /// Nanoseconds of virtual time; 0 while nobody was served since the server came back.
    first_success: AtomicU64,
    back_at: AtomicU64,
}

fn main() {
    let runtime = FakeRuntime::new(2026);
    let server = FakeServer::new(&runtime);
    server.set_connect_latency(Duration::from_millis(2));
    server.set_latency(Duration::from_millis(1));
    let config = NodeConfig::builder().max_connection_size(4).max_pools_per_node(1).build().expect("these settings are valid");
    let pool = NodePool::new(server.connector(), config, Arc::new(runtime.clone()));
    let tally = Arc::new(CallCounts::default());
    for caller in 0..CALLERS {
        runtime.spawn(Box::pin(call(caller, pool.clone(), runtime.clone(), Arc::clone(&tally))));
    }

    println!("{CALLERS} callers, 4 connections, each call 1 s at most; the server is killed at 3 s and back at 8 s\n");
    println!(
        "{:>5}  {:<8} {:>6} {:>5} {:>8} {:>7}  {:>6} {:>8}",
        "time", "health", "active", "idle", "waiting", "dials", "served", "refused"
    );
    for second in 0..12_u64 {
        match second {
            3 => server.kill(),
            8 => {
                tally.back_at.store(runtime.now().as_nanos(), Ordering::Relaxed);
                server.set_mode(FakeMode::Up);
            }
            _ => {}
        }
        let (dials, served) = (server.dials().len(), tally.served.load(Ordering::Relaxed));
        let refused = tally.refused.load(Ordering::Relaxed);
        runtime.advance(SECOND);
        let status = pool.status();
        println!(
            "{:>5}  {:<8} {:>6} {:>5} {:>8} {:>7}  {:>6} {:>8}",
            runtime.now().to_string(),
            status.health,
            status.active,
            status.idle,
            status.waiting,
            server.dials().len() - dials,
            tally.served.load(Ordering::Relaxed) - served,
            tally.refused.load(Ordering::Relaxed) - refused,
        );
    }
    let back_at = Instant::from_nanos(tally.back_at.load(Ordering::Relaxed));
    let first = Instant::from_nanos(tally.first_success.load(Ordering::Relaxed));
    println!("\nfirst success {:?} after the server was back", first.saturating_duration_since(back_at));
    println!("at most {} connections at the server at any time", server.peak_connections());
}

/// One caller: borrows a connection, asks something, gives it back, rests, for ever.
async fn call(
    caller: usize,
    pool: NodePool<redis_manager::testing::FakeConnector>,
    runtime: FakeRuntime,
    tally: Arc<CallCounts>,
) {
    loop {
        let answered = match pool.get_timeout(SECOND).await {
            Ok(mut lease) => lease.echo(caller as u64).await.is_ok(),
            Err(_) => false,
        };
        if answered {
            tally.served.fetch_add(1, Ordering::Relaxed);
            if tally.back_at.load(Ordering::Relaxed) > 0 && tally.first_success.load(Ordering::Relaxed) == 0 {
                tally.first_success.store(runtime.now().as_nanos(), Ordering::Relaxed);
            }
        } else {
            tally.refused.fetch_add(1, Ordering::Relaxed);
        }
        runtime.sleep(Duration::from_millis(20)).await;
    }
}
