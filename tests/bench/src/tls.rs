//! What a connect costs with TLS: with a session that is resumed, and with a fresh configuration each time.
//!
//! Every connect ends with the answer to a PING, as it does in a pool. The server's key is an ECDSA one on P-256; with RSA
//! a full handshake costs more, a resumed one the same.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis_manager::tls::Pem;
use redis_manager::{PoolArgs, RedisManager, RedisManagerBuilder};
use redis_manager_tests::certificates::Authority;
use redis_manager_tests::redis_server::RedisServer;
use rustls::RootCertStore;

use crate::goals::{Goals, Want};
use crate::measure::Spread;
use crate::options::Options;
use crate::runner::{BenchExecutor, Handle, Runner};
use crate::table;

const PLAIN: usize = 0;
const RESUMED: usize = 1;
const FRESH: usize = 2;
const FRESH_WITH_ROOTS: usize = 3;
const NAMES: [&str; 4] = [
    "without TLS",
    "TLS, a session is resumed: connects of one manager",
    "TLS, a fresh configuration each time: a manager each time",
    "TLS, a fresh configuration with the platform's roots each time",
];

/// Measures and prints the time of a connect.
pub(crate) fn run(options: &Options, goals: &mut Goals) {
    let authority = Arc::new(Authority::new());
    let server = RedisServer::start_tls(&authority, &authority.issue(&["127.0.0.1"]), &["--tls-auth-clients", "no"]);
    let plain = server.url();
    let secret = format!("rediss://127.0.0.1:{}", server.tls_port());
    let (rounds, connects) = if options.quick { (2, 5) } else { (15, 40) };
    for kind in [BenchExecutor::TokioTwoWorkers, BenchExecutor::SmolTwoThreads] {
        let runner = Runner::start(kind);
        let mut seen: [Vec<f64>; 4] = Default::default();
        for round in 0..rounds {
            for turn in 0..NAMES.len() {
                let contender = (turn + round) % NAMES.len();
                let (handle, ca) = (runner.handle.clone(), Arc::clone(&authority));
                let url = if contender == PLAIN { plain.clone() } else { secret.clone() };
                let sample = runner.run(async move {
                    if contender < FRESH {
                        of_one_manager(&handle, &ca, &url, connects).await
                    } else {
                        of_many_managers(&handle, &ca, &url, connects, contender == FRESH_WITH_ROOTS).await
                    }
                });
                seen[contender].push(sample.as_secs_f64() * 1e3);
            }
        }
        print(kind, &seen, goals);
    }
}

fn print(kind: BenchExecutor, seen: &[Vec<f64>; 4], goals: &mut Goals) {
    let row = |contender: usize| {
        let ratio = Spread::of_ratios(&seen[contender], &seen[RESUMED]);
        vec![String::from(NAMES[contender]), Spread::of(&seen[contender]).to_string(), ratio.to_string()]
    };
    let rows: Vec<_> = (0..NAMES.len()).map(row).collect();
    table::print(&format!("Connects to a server on this machine, {kind}"), &["connect", "ms", "times a resumed one"], &rows);
    if kind == BenchExecutor::TokioTwoWorkers {
        // 0.64 ms against 4.8 ms were measured with redis 1.8's own TLS, which reads the platform's roots for each connect.
        let ratio = Spread::of_ratios(&seen[RESUMED], &seen[FRESH_WITH_ROOTS]);
        let bound = 1.5 * 0.64 / 4.8;
        goals.judge(
            "TLS connect that resumes a session: time to one with a fresh configuration",
            Want::AtMost(bound),
            Some(ratio),
        );
    }
}

fn trusting(authority: &Authority, min_idle: usize) -> RedisManagerBuilder {
    let mut args = PoolArgs::default();
    args.tls.ca_certificates = Some(Pem::bytes(authority.pem.as_str()));
    RedisManager::builder().max_pools_per_node(1).max_connection_size(4).min_idle(min_idle).pool_args(args)
}

async fn of_one_manager(handle: &Handle, authority: &Authority, url: &str, connects: u32) -> Duration {
    let manager = handle.build(trusting(authority, 0));
    manager.add_node_pool(url).await.expect("the server is up");
    // The first one that is dialled has no session to resume; it may be at rest already.
    let mut total = Duration::ZERO;
    for n in 0..connects + 2 {
        let started_at = Instant::now();
        let client = manager.get_client(url).await.expect("the server is up");
        if n >= 2 {
            total += started_at.elapsed();
        }
        client.discard();
    }
    manager.close_all_pools().await;
    total / connects
}

async fn of_many_managers(handle: &Handle, authority: &Authority, url: &str, connects: u32, with_roots: bool) -> Duration {
    let mut total = Duration::ZERO;
    for _ in 0..connects {
        let started_at = Instant::now();
        if with_roots {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        let manager = handle.build(trusting(authority, 1));
        manager.add_node_pool(url).await.expect("the server is up");
        total += started_at.elapsed();
        manager.close_all_pools().await;
    }
    total / connects
}
