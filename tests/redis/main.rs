//! The manager against real Redis servers, on every runtime.

mod bad_input;
mod cancels;
mod closing;
mod cluster;
mod cluster_counts;
mod cluster_faults;
mod cluster_fixture;
mod cluster_names;
mod cluster_redirections;
mod cluster_routing;
mod cluster_tls;
mod command_metrics;
mod commands;
mod dialling;
mod ending;
mod events;
mod faults;
mod fleet;
mod handshakes;
mod hooks;
mod last_words;
mod leases;
mod metrics;
mod pools;
mod quarantine;
mod replicas;
mod replies;
mod secrets;
mod sentinel;
mod sentinel_subscriber;
mod sentinel_tls;
mod servers;
mod shards;
mod sharing;
mod starting;
mod subscriber;
mod subscriber_faults;
mod subscriptions;
mod tls;
mod tls_refusals;
mod transactions;
mod unasked;
mod urls;
mod words;

use std::time::Duration;

use redis_manager::runtime::{Network, Timer};
use redis_manager::{Client, NodeStatus, RedisManager, RedisManagerBuilder};
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::{until, wait_until};

const MS: Duration = Duration::from_millis(1);

/// What may go by beyond a deadline on a machine that is busy with other things.
const SLACK: Duration = Duration::from_millis(1_000);

/// A manager of one node with one pool of at most `limit` connections.
async fn manager_of(server: &RedisServer, limit: usize, runtime: impl Network) -> RedisManager {
    let manager = one_pool(limit).build(runtime).expect("valid settings");
    manager.add_node_pool(&server.url()).await.expect("the server is up");
    manager
}

fn one_pool(limit: usize) -> RedisManagerBuilder {
    RedisManager::builder().max_pools_per_node(1).max_connection_size(limit)
}

fn status(manager: &RedisManager) -> NodeStatus {
    let mut all = manager.fetch_pool_status();
    assert_eq!(all.len(), 1, "{all:?}");
    all.pop_first().expect("one node").1
}

/// Until no connection is on its way, and the pool has as many as the server sees: none that it does not know to be dead.
async fn until_settled(manager: &RedisManager, server: &RedisServer, runtime: &impl Timer) {
    until(runtime, "the pool has what the server sees", || {
        let (seen, status) = (server.client_count(), status(manager));
        status.connecting + status.checking + status.closing == 0 && status.idle + status.active == seen
    })
    .await;
}

async fn echo(client: &mut Client, token: &str) -> redis::RedisResult<String> {
    redis::cmd("ECHO").arg(token).query_async(client).await
}

/// The strongest test there is, after any history: exactly the limit of clients can be held at once, each answers with
/// its own token, one more is refused, and the server sees as many.
async fn assert_full_capacity(manager: &RedisManager, server: &RedisServer, limit: usize) {
    let mut clients = Vec::new();
    for _ in 0..limit {
        let client = manager.get_client_timeout(&server.url(), 5_000 * MS).await;
        clients.push(client.unwrap_or_else(|error| panic!("client {} of {limit}: {error}", clients.len() + 1)));
    }
    for (n, client) in clients.iter_mut().enumerate() {
        let token = format!("token-{n}");
        assert_eq!(echo(client, &token).await.expect("a sound client"), token);
    }
    let more = manager.get_client_timeout(&server.url(), 30 * MS).await;
    assert!(matches!(more, Err(redis_manager::GetClientError::Timeout { .. })), "one more than the limit: {more:?}");
    wait_until("the server sees these and no others", || server.client_count() == limit);
    let status = status(manager);
    assert_eq!((status.active, status.idle, status.connecting), (limit, 0, 0), "{status:?}");
}
