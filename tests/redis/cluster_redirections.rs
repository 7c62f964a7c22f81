//! What becomes of commands, pipelines and transactions whose keys are elsewhere: carried out once, where the keys are.

use std::time::{Duration, Instant};

use redis::AsyncCommands;
use redis_manager::runtime::Network;
use redis_manager::{ClusterArgs, RedisManager};
use redis_manager_tests::cluster::{TestCluster, key_for_slot};
use redis_manager_tests::tasks::{spawn, until};

use crate::cluster::{COMMAND_TIMEOUT, NAME, builder, manager_of, on_tokio_and_smol};
use crate::{MS, SLACK};

on_tokio_and_smol! {
    pipelines_follow_their_slot;
    commands_for_every_node_reach_every_node;
    a_slot_without_an_owner_is_told;
}

async fn pipelines_follow_their_slot(runtime: impl Network + Clone) {
    let cluster = TestCluster::options().replicas(0).start();
    let manager = manager_of(&cluster, runtime.clone()).await;
    let primaries = cluster.primaries();
    a_transaction_follows(&cluster, &manager).await;
    a_pipeline_of_a_half_moved_slot_is_carried_out_once(&cluster, &manager, &runtime).await;
    what_a_script_answers_is_no_redirection(&manager).await;
    drop(primaries);
    manager.close_all_pools().await;
    until(&runtime, "every connection is closed", || cluster.client_counts().values().all(|count| *count == 0)).await;
}

async fn a_transaction_follows(cluster: &TestCluster, manager: &RedisManager) {
    let primaries = cluster.primaries();
    let key = key_for_slot(7);
    let mut client = manager.get_client(NAME).await.expect("a client");
    let () = client.set(&key, 1).await.expect("SET");
    cluster.move_slots(7, &primaries[1]);
    // The first that this client hears of it.
    let told: redis::RedisResult<(i64, i64)> =
        redis::pipe().atomic().incr(&key, 1).incr(format!("2:{key}"), 1).query_async(&mut client).await;
    assert_eq!(told.expect("a transaction follows"), (2, 1));
    let refused = redis::pipe().atomic().cmd("INCR").query_async::<()>(&mut client).await.expect_err("no key");
    assert_eq!(refused.kind(), redis::ErrorKind::Server(redis::ServerErrorKind::ExecAbort), "{refused}");
}

/// The keys exist: an even number of them, half of which have moved.
async fn a_pipeline_of_a_half_moved_slot_is_carried_out_once(
    cluster: &TestCluster,
    manager: &RedisManager,
    runtime: &(impl Network + Clone),
) {
    let keys: Vec<String> = (0..20).map(|n| format!("{n}:{}", key_for_slot(9))).collect();
    let mut client = manager.get_client(NAME).await.expect("a client");
    for key in &keys {
        let () = client.set(key, 0).await.expect("SET");
    }
    let (manager, runtime) = (manager.clone(), runtime.clone());
    let all = keys.clone();
    let waiting = cluster.move_slots_while(9, &cluster.primaries()[2], || {
        let (sender, receiver) = std::sync::mpsc::channel();
        let half = spawn(&runtime, async move {
            let mut client = manager.get_client(NAME).await.expect("a client");
            let mut counting = redis::pipe();
            all.iter().for_each(|key| {
                counting.incr(key, 1);
            });
            let counted: redis::RedisResult<Vec<i64>> = counting.query_async(&mut client).await;
            let mut fresh = redis::pipe();
            (0..4).for_each(|n| {
                fresh.incr(format!("fresh-{n}:{}", all[0]), 1);
            });
            let made: redis::RedisResult<Vec<i64>> = fresh.query_async(&mut client).await;
            sender.send(()).expect("it is waited for");
            let both: redis::RedisResult<Vec<i64>> = client.mget(&all).await;
            (counted, made, both)
        });
        receiver.recv_timeout(Duration::from_secs(5)).expect("pipelines do not wait for the whole slot");
        half
    });
    let (counted, made, both) = waiting.await;
    assert_eq!(counted.expect("half of it is elsewhere"), vec![1; 20]);
    assert_eq!(made.expect("all of it is elsewhere"), vec![1; 4]);
    assert_eq!(both.expect("MGET waits until the keys are together"), vec![1; 20]);
}

async fn what_a_script_answers_is_no_redirection(manager: &RedisManager) {
    let mut client = manager.get_client(NAME).await.expect("a client");
    for answer in ["TRYAGAIN later", "CLUSTERDOWN today", "READONLY says the script", "MOVED 1 127.0.0.1:1", "LOADING it says"] {
        let key = format!("count:{answer}");
        let script = format!("redis.call('INCR', KEYS[1]) return redis.error_reply('{answer}')");
        let start = Instant::now();
        let told: redis::RedisResult<()> = redis::cmd("EVAL").arg(&script).arg(1).arg(&key).query_async(&mut client).await;
        let code = answer.split(' ').next();
        assert_eq!(told.expect_err("the script's own").code(), code, "{answer}");
        assert!(start.elapsed() < 1_000 * MS);
        assert_eq!(client.get::<_, i64>(&key).await.expect("GET"), 1, "{answer}: it was carried out once");
        let mut pipeline = redis::pipe();
        pipeline.incr(&key, 1).ignore().cmd("EVAL").arg(&script).arg(1).arg(&key);
        let _ = pipeline.query_async::<()>(&mut client).await.expect_err("the script's own");
        assert_eq!(client.get::<_, i64>(&key).await.expect("GET"), 3, "{answer}: each was carried out once");
    }
}

async fn commands_for_every_node_reach_every_node(runtime: impl Network + Clone) {
    let cluster = TestCluster::options().password("secret").start();
    let manager = manager_of(&cluster, runtime.clone()).await;
    let mut client = manager.get_client(NAME).await.expect("a client");
    let script = redis::Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    for n in 0..10 {
        let told: redis::RedisResult<i64> = script.key(format!("key-{n}")).arg(5).invoke_async(&mut client).await;
        assert_eq!(told.expect("a script"), 5);
    }
    let () = redis::cmd("CONFIG").arg("SET").arg("slowlog-max-len").arg(77).query_async(&mut client).await.expect("CONFIG SET");
    for node in cluster.nodes() {
        assert!(node.command(&["CONFIG", "GET", "slowlog-max-len"]).contains("77"), "{node:?}");
        assert!(node.command(&["INFO", "commandstats"]).contains("cmdstat_script"), "{node:?}");
    }
    // A server that does not tell subcommands apart counts all of CLUSTER.
    let asked = || cluster.nodes().iter().map(|node| calls(node, "cluster|slots") + calls(node, "cluster")).sum::<usize>();
    let before = asked();
    let slots: Vec<redis::Value> = redis::cmd("CLUSTER").arg("SLOTS").query_async(&mut client).await.expect("CLUSTER SLOTS");
    assert_eq!(slots.len(), 3);
    assert_eq!(asked(), before + 1, "a user's own reaches a server");
    let size: i64 = redis::cmd("DBSIZE").query_async(&mut client).await.expect("DBSIZE");
    assert_eq!(size, 10);
    let shown = format!("{manager:?} {:?} {client:?} {:?}", manager.fetch_pool_status(), manager.cluster_status(NAME));
    assert!(!shown.contains("secret"), "{shown}");
    assert!(!format!("{:?}", builder(&cluster)).contains("secret"), "the builder shows it");
    let named: Vec<String> = manager.fetch_pool_status().into_keys().collect();
    let mut expected: Vec<String> = cluster.nodes().iter().map(|node| node.address()).chain([NAME.to_owned()]).collect();
    expected.sort();
    assert_eq!(named, expected);
    a_primary_that_dies_is_told(&cluster, client).await;
}

fn calls(node: &redis_manager_tests::cluster::TestClusterNode, command: &str) -> usize {
    let stats = node.command(&["INFO", "commandstats"]);
    let line = stats.lines().find(|line| line.starts_with(&format!("cmdstat_{command}:")));
    let calls = line.and_then(|line| line.split("calls=").nth(1)?.split(',').next()?.parse().ok());
    calls.unwrap_or(0)
}

async fn a_primary_that_dies_is_told(cluster: &TestCluster, mut client: redis_manager::Client) {
    cluster.primaries()[0].kill();
    for command in ["INFO", "DBSIZE", "PING"] {
        let start = Instant::now();
        let told: redis::RedisResult<redis::Value> = redis::cmd(command).query_async(&mut client).await;
        if let Err(error) = told {
            let text = error.to_string();
            assert!(!text.contains("REDISMANAGER"), "{command}: {text}");
            assert!(error.is_io_error() || error.code() == Some("CLUSTERDOWN"), "{command}: {error:?}");
        }
        assert!(start.elapsed() < COMMAND_TIMEOUT + SLACK, "{command}: {:?}", start.elapsed());
    }
}

async fn a_slot_without_an_owner_is_told(runtime: impl Network + Clone) {
    let cluster = TestCluster::options().replicas(0).require_full_coverage(false).start();
    let mut args = ClusterArgs::default();
    args.require_full_coverage = false;
    args.topology_refresh_interval = 100 * MS;
    let lenient = builder(&cluster).cluster_args(args.clone()).build(runtime.clone()).expect("valid settings");
    lenient.add_node_pool(NAME).await.expect("the cluster is up");
    args.require_full_coverage = true;
    let strict = builder(&cluster).cluster_args(args).build(runtime.clone()).expect("valid settings");
    strict.add_node_pool(NAME).await.expect("the cluster is up");
    for node in cluster.nodes() {
        node.command(&["CLUSTER", "DELSLOTS", "3"]);
    }
    let covered = |manager: &RedisManager| manager.cluster_status(NAME).expect("it is there").covered_slots;
    until(&runtime, "the gap is seen", || covered(&lenient) == 16_383 && covered(&strict) == 16_383).await;
    let mut client = lenient.get_client(NAME).await.expect("a client in spite of it");
    let begun = Instant::now();
    loop {
        let start = Instant::now();
        let told = client.set::<_, _, ()>(key_for_slot(3), 1).await.expect_err("nobody owns it");
        assert!(start.elapsed() < COMMAND_TIMEOUT + SLACK);
        if told.code() == Some("CLUSTERDOWN") {
            break;
        }
        // It has taken too long to ask around.
        assert!(told.is_timeout() && begun.elapsed() < Duration::from_secs(20), "{told}");
    }
    let () = client.set(key_for_slot(4), 1).await.expect("the others go on");
    let unknown = lenient.get_client_for_key(NAME, key_for_slot(3)).await.expect_err("nobody owns it");
    assert!(matches!(unknown, redis_manager::GetClientError::NoOwner { slot: 3, .. }), "{unknown:?}");
    let begun = Instant::now();
    loop {
        let added = strict.add_node_pool_timeout("redis://another-name", 2_000 * MS).await.expect_err("it has a gap");
        if added.to_string().contains("1 slots of the cluster have no owner") {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{added}");
    }
}
