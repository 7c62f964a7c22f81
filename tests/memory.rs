//! What large values leave behind, in a process of its own: tests beside it would be measured, too.

use std::time::Duration;

use redis::AsyncCommands;
use redis_manager::runtime::Network;
use redis_manager::{PoolArgs, RedisManager};
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::spawn;

const MIB: usize = 1 << 20;

/// What the process holds in memory.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    pages.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") * 4_096
}

async fn manager(server: &RedisServer, limit: usize, runtime: impl Network) -> RedisManager {
    let mut args = PoolArgs::default();
    // A gibibyte crosses the loopback, in a debug build and beside whatever else the machine does.
    args.command_timeout = Duration::from_secs(60);
    let builder = RedisManager::builder().max_pools_per_node(1).max_connection_size(limit).pool_args(args);
    let manager = builder.build(runtime).expect("valid settings");
    manager.add_node_pool(&server.url()).await.expect("the server is up");
    manager
}

/// L11: one second after the last of 32 connections that have each written and read 16 MiB came back, the process holds no
/// more than 64 MiB more than before, and a connection that carried little is still the same.
///
/// Guards against: without a bound it is 1 GiB.
async fn l11_buffers_that_large_values_made_do_not_stay(runtime: impl Network + Clone) {
    const CONNECTIONS: usize = 32;
    let server = RedisServer::start();
    let manager = manager(&server, CONNECTIONS, runtime.clone()).await;
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(manager.get_client(&server.url()).await.expect("a client"));
    }
    let before = resident();
    let tasks: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(n, mut client)| {
            spawn(&runtime, async move {
                let () = client.set(n, vec![7_u8; 16 * MIB]).await.expect("SET");
                let value: Vec<u8> = client.get(n).await.expect("GET");
                assert_eq!(value.len(), 16 * MIB);
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
    let grown = || resident().saturating_sub(before);
    for _ in 0..100 {
        if grown() <= 64 * MIB {
            break;
        }
        runtime.sleep(Duration::from_millis(10)).await;
    }
    let grown = grown();
    assert!(grown <= 64 * MIB, "{} MiB more than before", grown / MIB);

    // A shared one keeps nothing either, and serves others meanwhile.
    let mut shared = manager.get_shared_client(&server.url()).await.expect("a shared client");
    let mut other = shared.clone();
    let large = spawn(&runtime, async move {
        let value: Vec<u8> = shared.get(0).await.expect("GET");
        assert_eq!(value.len(), 16 * MIB);
    });
    for n in 0..100 {
        let echoed: i64 = redis::cmd("ECHO").arg(n).query_async(&mut other).await.expect("ECHO");
        assert_eq!(echoed, n);
    }
    large.await;
    drop(other);
    assert!(resident().saturating_sub(before) <= 64 * MIB, "a shared connection keeps what it has carried");

    // Many small replies make no buffer grow.
    manager.close_all_pools().await;
    let manager = self::manager(&server, 1, runtime.clone()).await;
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    let id: i64 = redis::cmd("CLIENT").arg("ID").query_async(&mut client).await.expect("CLIENT ID");
    let mut pipeline = redis::pipe();
    for _ in 0..500 {
        pipeline.cmd("GETRANGE").arg(0).arg(0).arg(9_999);
    }
    let values: Vec<Vec<u8>> = pipeline.query_async(&mut client).await.expect("5 MB of replies");
    assert_eq!(values.iter().map(Vec::len).sum::<usize>(), 5_000_000);
    drop(client);
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    let same: i64 = redis::cmd("CLIENT").arg("ID").query_async(&mut client).await.expect("CLIENT ID");
    assert_eq!(id, same);
}

/// What this environment variable sets, bytes, glibc gives back to the system at once. By default it keeps what was freed,
/// of large pieces more than of small ones, and the process shows no less: 800 to 1 000 MiB here.
const KEPT_BY_GLIBC: (&str, &str) = ("MALLOC_TRIM_THRESHOLD_", "131072");

#[test]
fn l11_buffers_that_large_values_made_do_not_stay_on_any_runtime() {
    let (variable, bytes) = KEPT_BY_GLIBC;
    if std::env::var_os(variable).is_none() {
        // It is read when a process starts.
        let program = std::env::current_exe().expect("this program");
        let status = std::process::Command::new(program).env(variable, bytes).arg("--nocapture").status();
        return assert!(status.expect("it starts").success(), "it has failed with {variable} set");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("tokio starts");
    runtime.block_on(l11_buffers_that_large_values_made_do_not_stay(redis_manager::tokio::TokioRuntime::new(
        runtime.handle().clone(),
    )));
    drop(runtime);
    smol::block_on(l11_buffers_that_large_values_made_do_not_stay(redis_manager::smol::SmolRuntime::new()));
}
