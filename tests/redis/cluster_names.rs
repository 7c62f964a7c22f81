//! The names of a cluster: added, refused, closed one by one, and what is left of them.

use std::time::{Duration, Instant};

use redis::AsyncCommands;
use redis_manager::runtime::Network;
use redis_manager::{AddNodeError, ClusterArgs, ConfigError, GetClientError, RedisErrorExt, RedisManager, Sent};
use redis_manager_tests::cluster::TestCluster;
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::{spawn, until, wait_until, within};

use crate::cluster::{COMMAND_TIMEOUT, NAME, builder, manager_of, on_tokio_and_smol};
use crate::{MS, SLACK};

const OTHER: &str = "redis://its-other-name";

on_tokio_and_smol! {
    names_are_closed_one_by_one;
    a_handle_closes_its_cluster_when_no_manager_is_left;
    closed_resolves_when_the_last_manager_is_dropped_whatever_clients_are_held;
    e4_what_blocks_on_the_owner_of_a_key_ends_at_once;
    what_cannot_be_added_leaves_nothing;
    all_nodes_of_a_cluster_share_one_limit;
}

fn none_connected(cluster: &TestCluster) -> bool {
    cluster.client_counts().values().all(|count| *count == 0)
}

fn waits(manager: &RedisManager) -> bool {
    manager.fetch_pool_status().values().any(|status| status.waiting > 0)
}

async fn names_are_closed_one_by_one(runtime: impl Network + Clone) {
    let cluster = TestCluster::options().replicas(0).start();
    let settings = builder(&cluster).max_connection_size(3).max_pools_per_node(1);
    let manager = settings.build(runtime.clone()).expect("valid");
    manager.add_node_pool(NAME).await.expect("the cluster is up");
    manager.add_node_pool(OTHER).await.expect("the same cluster");
    let key = cluster.key_in(&cluster.primaries()[0]);
    let mut shared = manager.get_shared_client(OTHER).await.expect("a shared client");
    let mut other = manager.get_client(OTHER).await.expect("a client");
    let () = shared.set(&key, 1).await.expect("SET");
    drop(manager.try_get_client(NAME).expect("one idles"));
    let start = Instant::now();
    manager.close_node_pools_timeout(OTHER, 300 * MS).await;
    assert!(start.elapsed() < 1_000 * MS, "{:?}", start.elapsed());
    for told in [shared.get::<_, i64>(&key).await, other.get::<_, i64>(&key).await] {
        let told = told.expect_err("its name was closed").to_string();
        assert!(told.contains("not sent") && told.contains("closed"), "{told}");
    }
    let gone = manager.get_client(OTHER).await.expect_err("closed");
    assert!(matches!(gone, GetClientError::UnknownNode { .. }), "{gone:?}");
    let mut client = manager.get_client(NAME).await.expect("the other name is open");
    assert_eq!(client.get::<_, i64>(&key).await.expect("GET"), 1);
    drop((client, other));
    let mut kept = manager.get_shared_client(NAME).await.expect("a shared client");
    let start = Instant::now();
    manager.close_node_pools_timeout(NAME, 5_000 * MS).await;
    assert!(start.elapsed() < 1_000 * MS, "a shared client holds nobody up: {:?}", start.elapsed());
    let told = kept.get::<_, i64>(&key).await.expect_err("closed").to_string();
    assert!(told.contains("not sent"), "{told}");
    until(&runtime, "every connection is closed", || none_connected(&cluster)).await;
    assert!(manager.fetch_pool_status().is_empty(), "{:?}", manager.fetch_pool_status());
    manager.add_node_pool(NAME).await.expect("it can be added again");
    let mut client = manager.get_client(NAME).await.expect("a client");
    assert_eq!(client.get::<_, i64>(&key).await.expect("GET"), 1);
    kept.get::<_, i64>(&key).await.expect_err("still closed");
    who_waits_is_told_of_the_close(&manager, &runtime, &key).await;
    until(&runtime, "every connection is closed", || none_connected(&cluster)).await;
    a_manager_may_be_dropped_first(&cluster, &runtime, &key).await;
}

/// Seen to bite: with a close of the name alone.
async fn a_handle_closes_its_cluster_when_no_manager_is_left(runtime: impl Network + Clone) {
    let cluster = TestCluster::options().replicas(0).start();
    let manager = manager_of(&cluster, runtime.clone()).await;
    let node = manager.node(NAME).expect("it was added");
    let key = cluster.key_in(&cluster.primaries()[0]);
    let mut shared = node.get_shared_client().await.expect("a shared client");
    let () = shared.set(&key, 1).await.expect("SET");
    drop(manager);
    let () = shared.set(&key, 2).await.expect("the handle keeps it open");
    node.close().await;
    until(&runtime, "every connection is closed", || none_connected(&cluster)).await;
    let error = shared.set::<_, _, ()>(&key, 3).await.expect_err("closed");
    assert_eq!((error.was_sent(), error.is_closed()), (Sent::NotSent, true), "{error}");
}

/// Seen to bite: with `closed` of the nodes, which clients keep.
async fn closed_resolves_when_the_last_manager_is_dropped_whatever_clients_are_held(runtime: impl Network + Clone) {
    let cluster = TestCluster::options().primaries(1).replicas(0).start();
    let manager = manager_of(&cluster, runtime.clone()).await;
    let (held, node) = (manager.get_client(NAME).await.expect("a client"), manager.node(NAME).expect("it was added"));
    let closed = manager.closed();
    drop(manager);
    within(&runtime, SLACK, closed).await.expect("the manager is gone");
    drop((held, node));
}

/// Seen to bite: with a `pool_closing` that does nothing.
async fn e4_what_blocks_on_the_owner_of_a_key_ends_at_once(runtime: impl Network + Clone) {
    let cluster = TestCluster::options().primaries(1).replicas(0).start();
    for closes_all in [false, true] {
        let manager = manager_of(&cluster, runtime.clone()).await;
        let mut owner = manager.get_client_for_key(NAME, "queue").await.expect("a client");
        let popping = spawn(&runtime, async move { owner.blpop::<_, Option<(String, i64)>>("queue", 0.0).await });
        let blocks = || cluster.nodes()[0].client_list().iter().any(|line| line.contains("cmd=blpop"));
        until(&runtime, "it blocks", blocks).await;
        let start = Instant::now();
        match closes_all {
            true => manager.close_all_pools().await,
            false => manager.close_node_pools(NAME).await,
        }
        assert!(start.elapsed() < 3_000 * MS, "{:?}", start.elapsed());
        let told = popping.await.expect_err("closed").to_string();
        assert!(told.contains("pools were closed"), "{told}");
        until(&runtime, "every connection is closed", || none_connected(&cluster)).await;
    }
}

async fn who_waits_is_told_of_the_close(manager: &RedisManager, runtime: &(impl Network + Clone), key: &str) {
    let mut held = Vec::new();
    while let Ok(client) = manager.get_client_for_key_timeout(NAME, key, 500 * MS).await {
        held.push(client);
    }
    let waiting = {
        let (manager, key) = (manager.clone(), key.to_owned());
        spawn(runtime, async move { manager.get_client_for_key(NAME, &key).await.map(drop) })
    };
    until(runtime, "it is in line", || waits(manager)).await;
    let start = Instant::now();
    let closing = {
        let manager = manager.clone();
        spawn(runtime, async move { manager.close_all_pools_timeout(3_000 * MS).await })
    };
    let told = waiting.await.expect_err("closed");
    assert!(matches!(told, GetClientError::Closed { .. }), "{told:?}");
    assert!(start.elapsed() < 1_500 * MS, "{:?}", start.elapsed());
    drop(held);
    closing.await;
    let late = manager.get_client_for_key(NAME, key).await.expect_err("closed");
    assert!(matches!(late, GetClientError::Closed { .. }), "{late:?}");
    let late = manager.add_node_pool(NAME).await.expect_err("closed");
    assert!(matches!(late, AddNodeError::Closed { .. }), "{late:?}");
}

async fn a_manager_may_be_dropped_first(cluster: &TestCluster, runtime: &(impl Network + Clone), key: &str) {
    let manager = manager_of(cluster, runtime.clone()).await;
    let mut client = manager.get_client(NAME).await.expect("a client");
    let mut shared = manager.get_shared_client(NAME).await.expect("a shared client");
    let mut alone = manager.get_client_for_key(NAME, key).await.expect("a client");
    drop(manager);
    // They work or say that they do not, but they do not hang.
    let start = Instant::now();
    let _ = (client.get::<_, i64>(key).await, shared.get::<_, i64>(key).await, alone.get::<_, i64>(key).await);
    assert!(start.elapsed() < COMMAND_TIMEOUT / 2, "{:?}", start.elapsed());
    drop((client, shared, alone));
    until(runtime, "every connection is closed", || none_connected(cluster)).await;
}

async fn what_cannot_be_added_leaves_nothing(runtime: impl Network + Clone) {
    let plain = RedisServer::start();
    let start = Instant::now();
    let manager = RedisManager::builder().use_cluster(true).startup_nodes([plain.url()]).build(runtime.clone()).expect("valid");
    manager.add_node_pool(NAME).await.expect_err("no cluster");
    assert!(start.elapsed() < 1_000 * MS, "told at once");
    until(&runtime, "nothing is left", || manager.fetch_pool_status().is_empty() && plain.client_count() == 0).await;
    let cluster = TestCluster::options().primaries(1).replicas(0).password("secret").start();
    let wrong = cluster.nodes()[0].url().replace("secret", "wrong-one");
    let manager = RedisManager::builder().use_cluster(true).startup_nodes([wrong]).build(runtime.clone()).expect("valid");
    let start = Instant::now();
    let told = manager.add_node_pool(NAME).await.expect_err("a wrong password");
    assert!(start.elapsed() < 1_000 * MS, "told at once, not after {:?}: {told}", start.elapsed());
    assert!(matches!(told, AddNodeError::NoHealthyPools { .. }), "{told:?}");
    assert!(!format!("{told} {told:?}").contains("wrong-one"), "{told}");
    until(&runtime, "nothing is left", || manager.fetch_pool_status().is_empty()).await;
    let manager = builder(&cluster).build(runtime.clone()).expect("valid");
    let adding = redis_manager_tests::tasks::within(&runtime, Duration::from_micros(1), manager.add_node_pool(NAME)).await;
    assert!(adding.is_none(), "it was dropped");
    until(&runtime, "no node is left", || manager.fetch_pool_status().is_empty()).await;
    until(&runtime, "every connection is closed", || none_connected(&cluster)).await;
    silent_startup_nodes_hold_nobody_up(&cluster, &runtime).await;
    a_node_that_is_busy_is_not_taken_for_dead(&cluster, &runtime).await;
}

/// Its only connection is on loan, so nobody can be asked for a sign of life.
async fn a_node_that_is_busy_is_not_taken_for_dead(cluster: &TestCluster, runtime: &(impl Network + Clone)) {
    let mut args = ClusterArgs::default();
    args.node_check_interval = 20 * MS;
    let settings = builder(cluster).cluster_args(args).max_connection_size(1).max_pools_per_node(1);
    let manager = settings.health_check_timeout(500 * MS).build(runtime.clone()).expect("valid");
    manager.add_node_pool(NAME).await.expect("it is up");
    let waiting = {
        let manager = manager.clone();
        spawn(runtime, async move { manager.get_client_for_key(NAME, "key").await })
    };
    until(runtime, "it is in line", || waits(&manager)).await;
    // The shared connection was the only one until now.
    cluster.nodes()[0].command(&["CLIENT", "KILL", "TYPE", "normal"]);
    let held = waiting.await.expect("it was first in line");
    let start = Instant::now();
    while start.elapsed() < 1_000 * MS {
        assert!(!manager.cluster_status(NAME).expect("it is there").is_down, "after {:?}", start.elapsed());
        runtime.sleep(10 * MS).await;
    }
    drop(held);
    manager.close_all_pools().await;
}

/// The one that answers comes last.
async fn silent_startup_nodes_hold_nobody_up(cluster: &TestCluster, runtime: &(impl Network + Clone)) {
    let frozen: Vec<_> = (0..4).map(|_| RedisServer::start()).collect();
    frozen.iter().for_each(|server| server.stop_process());
    let urls: Vec<_> = frozen.iter().map(|server| server.url().replace("://", "://:secret@")).collect();
    let urls = urls.into_iter().chain([cluster.nodes()[0].url()]);
    let manager = RedisManager::builder().use_cluster(true).startup_nodes(urls).build(runtime.clone()).expect("valid");
    let start = Instant::now();
    manager.add_node_pool_timeout(NAME, 3_000 * MS).await.expect("one of them answers");
    assert!(start.elapsed() < 1_000 * MS + SLACK, "{:?}", start.elapsed());
    manager.close_all_pools().await;
}

#[test]
fn what_the_builder_cannot_use_is_named() {
    let build = |build: fn(redis_manager::RedisManagerBuilder) -> redis_manager::RedisManagerBuilder| {
        let told = build(RedisManager::builder()).build(redis_manager::smol::SmolRuntime::new()).expect_err("not valid");
        assert!(!format!("{told} {told:?}").contains("secret"), "{told}");
        told
    };
    let setting = |told: ConfigError| match &told {
        ConfigError::OutOfRange { setting, .. } | ConfigError::Unusable { setting, .. } => *setting,
        ConfigError::Contradiction { .. } | ConfigError::Unreadable { .. } | _ => panic!("{told:?}"),
    };
    assert_eq!(setting(build(|b| b.use_cluster(true))), "startup_nodes");
    assert_eq!(setting(build(|b| b.startup_nodes(["redis://:secret@a"]))), "startup_nodes");
    assert_eq!(setting(build(|b| b.cluster_args(ClusterArgs::default()))), "cluster_args");
    for urls in [
        ["redis://:secret@a", "redis://b"],
        ["redis://:secret@a/1", "redis://:secret@b"],
        ["unix:///a?pass=secret", "redis://b"],
        ["rediss://:secret@a", "redis://:secret@b"],
        ["a:secret", "redis://b"],
    ] {
        let told = RedisManager::builder().use_cluster(true).startup_nodes(urls).build(redis_manager::smol::SmolRuntime::new());
        let told = told.expect_err("not valid");
        assert!(!format!("{told} {told:?}").contains("secret"), "{told}");
        assert_eq!(setting(told), "startup_nodes");
    }
    let shown = format!("{:?}", RedisManager::builder().use_cluster(true).startup_nodes(["redis://:secret@a"]));
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn a_runtime_may_end_before_its_clients() {
    let cluster = TestCluster::options().primaries(1).replicas(0).start();
    let tokio = tokio::runtime::Runtime::new().expect("tokio starts");
    let runtime = redis_manager::tokio::TokioRuntime::new(tokio.handle().clone());
    let key = "key";
    let (manager, mut client, mut shared, mut alone) = tokio.block_on(async {
        let manager = manager_of(&cluster, runtime).await;
        let client = manager.get_client(NAME).await.expect("a client");
        let shared = manager.get_shared_client(NAME).await.expect("a shared client");
        let alone = manager.get_client_for_key(NAME, key).await.expect("a client");
        (manager, client, shared, alone)
    });
    drop(tokio);
    let start = Instant::now();
    smol::block_on(async {
        client.get::<_, Option<i64>>(key).await.expect_err("nobody sends it");
        shared.get::<_, Option<i64>>(key).await.expect_err("nobody sends it");
        alone.get::<_, Option<i64>>(key).await.expect_err("nobody sends it");
        manager.get_client(NAME).await.map(drop).unwrap_or_default();
        manager.get_client_for_key(NAME, key).await.map(drop).unwrap_or_default();
    });
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    drop((client, shared, alone, manager));
    wait_until("every connection is closed", || none_connected(&cluster));
}

/// Seen to bite: with members whose pools are made beside the manager's limit.
async fn all_nodes_of_a_cluster_share_one_limit(runtime: impl Network + Clone) {
    const LIMIT: usize = 6;
    let cluster = TestCluster::options().replicas(0).start();
    let builder = builder(&cluster).max_total_connections(LIMIT);
    let manager = builder.build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(NAME).await.expect("the cluster is up");
    let keys: Vec<_> = cluster.primaries().iter().map(|primary| cluster.key_in(primary)).collect();
    let tasks: Vec<_> = (0..12)
        .map(|task| {
            let (manager, keys) = (manager.clone(), keys.clone());
            spawn(&runtime, async move {
                for round in 0..20 {
                    let key = &keys[(task + round) % keys.len()];
                    let mut owner = manager.get_client_for_key(NAME, key).await.expect("a client in its turn");
                    let () = owner.incr(key, 1).await.expect("INCR");
                    let taken = manager.total_connections().expect("there is a limit").taken;
                    assert!(taken <= LIMIT, "{taken} connections of {LIMIT}");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
    until(&runtime, "the servers see no more", || cluster.client_counts().values().sum::<usize>() <= LIMIT).await;
    let mut sum = 0;
    let mut client = manager.get_client(NAME).await.expect("a client");
    for key in &keys {
        sum += client.get::<_, i64>(key).await.expect("GET");
    }
    assert_eq!(sum, 12 * 20);
}
