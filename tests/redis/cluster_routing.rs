//! Where requests go in a cluster whose keys are of many slots: split, sent side by side, put together in order; and scans.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redis::{AsyncCommands, ErrorKind, RedisResult, Value};
use redis_manager::runtime::Network;
use redis_manager::{AddNodeError, ClusterArgs, GetClientError, PoolArgs, ReadFrom, RedisManager, ScanOptions};
use redis_manager_tests::cluster::{TestCluster, key_for_slot, slot_of};
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::{spawn, until};

use crate::cluster::{COMMAND_TIMEOUT, on_tokio_and_smol};
use crate::{MS, SLACK};

const ORDERS: &str = "orders";

on_tokio_and_smol! {
    k5_what_has_keys_of_many_slots_is_split_and_put_together;
    k5_one_shard_that_refuses_hides_no_other;
    k5_a_scan_sees_every_key_while_slots_move;
    k1_a_manager_has_clusters_and_nodes_side_by_side;
    k6_a_scan_goes_on_after_a_failover;
    k1_reads_go_where_they_are_to_go;
}

async fn with_orders(cluster: &TestCluster, runtime: impl Network, args: ClusterArgs) -> RedisManager {
    let mut pool_args = PoolArgs::default();
    pool_args.command_timeout = COMMAND_TIMEOUT;
    let manager = RedisManager::builder().pool_args(pool_args).build(runtime).expect("valid settings");
    manager.add_cluster(ORDERS, cluster.urls(), args).await.expect("the cluster is up");
    manager
}

/// Seen to bite: with the parts of a pipeline put together in the order of nodes, and with a split that keeps one key of each slot.
async fn k5_what_has_keys_of_many_slots_is_split_and_put_together(runtime: impl Network + Clone) {
    let cluster = TestCluster::options().replicas(0).start();
    let manager = with_orders(&cluster, runtime, ClusterArgs::default()).await;
    let mut shared = manager.get_shared_client(ORDERS).await.expect("a client");
    let keys: Vec<String> = (0..200).map(|n| format!("key-{n}")).collect();
    let pairs: Vec<(&String, usize)> = keys.iter().zip(0..).collect();
    let () = shared.mset(&pairs).await.expect("MSET");
    let values: Vec<usize> = shared.mget(&keys).await.expect("MGET");
    assert_eq!(values, (0..200).collect::<Vec<_>>());
    assert_eq!(shared.exists::<_, usize>(&keys).await.expect("EXISTS"), 200);
    let size: usize = redis::cmd("DBSIZE").query_async(&mut shared).await.expect("DBSIZE");
    let mut all: Vec<String> = redis::cmd("KEYS").arg("key-*").query_async(&mut shared).await.expect("KEYS");
    all.sort();
    assert_eq!((size, all.len(), all.first().map(String::as_str)), (200, 200, Some("key-0")));

    let mut pipeline = redis::pipe();
    keys.iter().for_each(|key| {
        pipeline.incr(key, 1_000);
    });
    pipeline.mget(&keys[..3]).cmd("DBSIZE").cmd("ECHO").arg("all").ignore();
    let replies: Vec<Value> = pipeline.query_async(&mut shared).await.expect("a pipeline of many slots");
    let counted: Vec<usize> = replies[..200].iter().map(|value| redis::from_redis_value_ref(value).expect("a number")).collect();
    assert_eq!(counted, (1_000..1_200).collect::<Vec<_>>());
    let last: (Vec<usize>, usize) =
        redis::from_redis_value(Value::Array(replies[200..].to_vec())).expect("the last two of the three, one is ignored");
    assert_eq!(last, (vec![1_000, 1_001, 1_002], 200));
    assert_eq!(shared.del::<_, usize>(&keys).await.expect("DEL"), 200);

    let script = redis::Script::new("return redis.call('SET', KEYS[1], ARGV[1])");
    let () = script.key("scripted").arg(5).invoke_async(&mut shared).await.expect("NOSCRIPT is followed by a load");
    assert_eq!(shared.get::<_, i64>("scripted").await.expect("GET"), 5);
    let across = redis::cmd("RENAME").arg("a").arg("b").query_async::<()>(&mut shared).await.expect_err("two slots");
    assert_eq!(across.kind(), ErrorKind::Client);
    let words = across.to_string();
    let named = [("\"a\"", slot_of("a")), ("\"b\"", slot_of("b"))].map(|(key, slot)| format!("{key} of slot {slot}"));
    assert!(named.iter().all(|named| words.contains(named)), "{words}");
    let mut crossing = redis::pipe();
    crossing.atomic().set("a", 1).set("b", 1);
    let refused = crossing.query_async::<()>(&mut shared).await.expect_err("a transaction of two slots");
    assert_eq!((refused.kind(), shared.exists::<_, usize>("a").await.expect("EXISTS")), (ErrorKind::Client, 0));
    let refused = redis::cmd("SCAN").arg(0).query_async::<Value>(&mut shared).await.expect_err("which node");
    assert!(refused.to_string().contains("RedisManager::scan"), "{refused}");
    let address = cluster.primaries()[1].address();
    let mut one = manager.get_client_of_node(ORDERS, &address).await.expect("a client of that node");
    let id: String = redis::cmd("CLUSTER").arg("MYID").query_async(&mut one).await.expect("MYID");
    assert_eq!(id, cluster.primaries()[1].id());
    let unknown = manager.get_client_of_node(ORDERS, "127.0.0.1:1").await.expect_err("no such node");
    assert!(matches!(unknown, GetClientError::UnknownNode { .. }), "{unknown:?}");
}

/// Seen to bite: with the first error in place of the whole reply.
async fn k5_one_shard_that_refuses_hides_no_other(runtime: impl Network + Clone) {
    let cluster = TestCluster::options().replicas(0).require_full_coverage(false).start();
    let manager = with_orders(&cluster, runtime, ClusterArgs::default()).await;
    let mut shared = manager.get_shared_client(ORDERS).await.expect("a client");
    let primaries = cluster.primaries();
    let keys: Vec<String> = primaries.iter().map(|primary| cluster.key_in(primary)).collect();
    let () = shared.mset(&keys.iter().map(|key| (key, 1)).collect::<Vec<_>>()).await.expect("MSET");
    primaries[1].command(&["ACL", "SETUSER", "default", "-mget", "-del"]);
    let mut cmd = redis::cmd("MGET");
    cmd.arg(&keys);
    let reply =
        redis::aio::ConnectionLike::req_packed_command(&mut shared, &cmd).await.expect("a reply with a place for each key");
    let Value::Array(places) = &reply else { panic!("{reply:?}") };
    assert_eq!((&places[0], &places[2]), (&Value::BulkString(b"1".to_vec()), &Value::BulkString(b"1".to_vec())));
    let Value::ServerError(error) = &places[1] else { panic!("{reply:?}") };
    assert_eq!(error.code(), "NOPERM");
    assert!(error.details().is_some_and(|words| words.contains(&keys[1])), "{error:?}");
    let refused: RedisResult<usize> = shared.del(&keys).await;
    let words = refused.expect_err("a part was refused").to_string();
    assert!(words.contains("NOPERM") || words.contains("permissions"), "{words}");
    assert!(words.contains(&keys[1]) && words.contains("2 of the other 2 parts were carried out"), "{words}");
    for _ in 0..100 {
        let () = shared.set(&keys[1], 1).await.expect("the client goes on");
    }
}

/// Seen to bite: with slots that are done whenever their node was scanned.
async fn k5_a_scan_sees_every_key_while_slots_move(runtime: impl Network + Clone) {
    let cluster = TestCluster::options().replicas(0).start();
    let manager = with_orders(&cluster, runtime.clone(), ClusterArgs::default()).await;
    let mut shared = manager.get_shared_client(ORDERS).await.expect("a client");
    let keys: BTreeSet<String> = (0..3_000).map(|n| format!("scanned-{n}")).collect();
    let pairs: Vec<(&String, usize)> = keys.iter().map(|key| (key, 1)).collect();
    let () = shared.mset(&pairs).await.expect("MSET");
    let () = shared.set("other", 1).await.expect("SET");
    let stop = Arc::new(AtomicBool::new(false));
    let scanning = {
        let (manager, keys, stop) = (manager.clone(), keys.clone(), Arc::clone(&stop));
        spawn(&runtime, async move {
            let mut turns = 0;
            while !stop.load(Ordering::SeqCst) || turns < 3 {
                let options = ScanOptions::default().pattern("scanned-*").count(20).of_type("string");
                let mut scan = manager.scan(ORDERS, options).await.expect("a scan");
                let mut seen = BTreeSet::new();
                while let Some(key) = scan.next().await {
                    seen.insert(String::from_utf8(key.expect("a key")).expect("text"));
                }
                let missing: Vec<_> = keys.difference(&seen).collect();
                assert!(
                    missing.is_empty() && seen.len() == keys.len(),
                    "turn {turns}: {} are missing: {missing:?}",
                    missing.len()
                );
                turns += 1;
            }
            turns
        })
    };
    let primaries = cluster.primaries();
    for round in 0..4 {
        let to = &primaries[round % 3];
        for slot in (round * 40)..(round * 40 + 40) {
            let slot = u16::try_from(slot * 97 % 16_384).expect("a slot");
            if cluster.owner_of_slot(slot).id() != to.id() {
                cluster.move_slots(slot, to);
            }
        }
    }
    stop.store(true, Ordering::SeqCst);
    assert!(scanning.await >= 3);
}

async fn k1_a_manager_has_clusters_and_nodes_side_by_side(runtime: impl Network + Clone) {
    let (one, two) = (TestCluster::options().replicas(0).start(), TestCluster::options().primaries(1).replicas(0).start());
    let node = RedisServer::start();
    let manager = RedisManager::builder().build(runtime.clone()).expect("valid settings");
    let first = manager.add_cluster("one", one.urls(), ClusterArgs::default()).await.expect("a cluster");
    manager.add_cluster("two", two.urls(), ClusterArgs::default()).await.expect("another cluster");
    manager.add_node_pool(&node.url()).await.expect("a node");
    for (name, value) in [("one", 1), ("two", 2), (node.url().as_str(), 3)] {
        let mut client = manager.get_client(name).await.expect("a client");
        let () = client.set("key", value).await.expect("SET");
        let mut exclusive = manager.get_client_for_key(name, "key").await.expect("a client");
        assert_eq!(exclusive.get::<_, i64>("key").await.expect("GET"), value, "{name}");
        let mut scan = manager.scan(name, ScanOptions::default()).await.expect("a scan");
        assert_eq!(scan.next().await.expect("a key").expect("a key"), b"key");
        assert!(scan.next().await.is_none());
    }
    assert!(manager.health().is_ready(), "{}", manager.health());
    let statuses = manager.fetch_pool_status();
    assert_eq!(statuses.len(), 2 + 3 + 1 + 1, "{:?}", statuses.keys());
    assert_eq!((statuses["one"].total_pools, statuses["one"].active), (0, 0), "no pools but those of nodes");
    let bad =
        manager.add_cluster("bad", ["redis://:secret@a", "redis://b"], ClusterArgs::default()).await.expect_err("two logins");
    assert!(matches!(&bad, AddNodeError::InvalidSetting { .. }) && !format!("{bad} {bad:?}").contains("secret"), "{bad}");
    let lone =
        manager.add_cluster_timeout("none", [node.url()], ClusterArgs::default(), 3_000 * MS).await.expect_err("no cluster");
    assert!(!lone.is_retryable() && lone.to_string().contains("not a node of a cluster"), "{lone}");
    first.close().await;
    assert!(matches!(manager.get_client("one").await, Err(GetClientError::UnknownNode { .. })));
    until(&runtime, "its connections are closed", || one.client_counts().values().all(|count| *count == 0)).await;
    let () = manager.get_client("two").await.expect("a client").set("key", 4).await.expect("the other one goes on");
    manager.close_all_pools().await;
    assert!(matches!(manager.get_client("two").await, Err(GetClientError::Closed { .. })));
    until(&runtime, "all connections are closed", || two.client_counts().values().all(|count| *count == 0)).await;
}

async fn k6_a_scan_goes_on_after_a_failover(runtime: impl Network + Clone) {
    let cluster = TestCluster::options().require_full_coverage(false).start();
    let mut pool_args = PoolArgs::default();
    pool_args.command_timeout = Duration::from_secs(15);
    let manager = RedisManager::builder().pool_args(pool_args).build(runtime.clone()).expect("valid settings");
    manager.add_cluster(ORDERS, cluster.urls(), ClusterArgs::default()).await.expect("the cluster is up");
    let mut shared = manager.get_shared_client(ORDERS).await.expect("a client");
    let keys: BTreeSet<String> = (0..300).map(|n| format!("key-{n}")).collect();
    let () = shared.mset(&keys.iter().map(|key| (key, 1)).collect::<Vec<_>>()).await.expect("MSET");
    let doomed = &cluster.primaries()[2];
    let replica = cluster.replica_of(doomed);
    until(&runtime, "the replica follows", || replica.command(&["DBSIZE"]) == doomed.command(&["DBSIZE"])).await;
    let mut scan = manager.scan(ORDERS, ScanOptions::default().count(1)).await.expect("a scan");
    let mut seen = BTreeSet::new();
    seen.insert(scan.next().await.expect("a key").expect("a key"));
    doomed.kill();
    while let Some(key) = scan.next().await {
        seen.insert(key.expect("it waits for the promotion"));
    }
    assert_eq!(seen.len(), keys.len());
}

/// Seen to bite: with reads that take turns among the primary alone.
async fn k1_reads_go_where_they_are_to_go(runtime: impl Network + Clone) {
    let cluster = TestCluster::start();
    let key = key_for_slot(7);
    let (primary, replica) = (cluster.primary_of(&key), cluster.replica_of(&cluster.primary_of(&key)));
    let gets = |node: &redis_manager_tests::cluster::TestClusterNode| {
        let stats = node.command(&["INFO", "commandstats"]);
        let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_get:calls=")).map(String::from);
        line.and_then(|line| line.split(',').next().and_then(|count| count.parse::<u64>().ok())).unwrap_or(0)
    };
    let begun = Instant::now();
    for (read_from, at_primary, at_replica) in [
        (ReadFrom::Primary, true, false),
        (ReadFrom::PreferReplica, false, true),
        (ReadFrom::Replica, false, true),
        (ReadFrom::Any, true, true),
        (ReadFrom::Zone(String::from("nowhere")), false, true),
    ] {
        let manager = with_orders(&cluster, runtime.clone(), ClusterArgs::default().read_from(read_from.clone())).await;
        let mut shared = manager.get_shared_client(ORDERS).await.expect("a client");
        let () = shared.set(&key, 1).await.expect("SET goes to the primary");
        let before = (gets(&primary), gets(&replica));
        for _ in 0..20 {
            let _stale: Option<i64> = shared.get(&key).await.expect("GET");
        }
        let seen = (gets(&primary) > before.0, gets(&replica) > before.1);
        assert_eq!(seen, (at_primary, at_replica), "{read_from}");
        manager.close_all_pools().await;
    }
    assert!(begun.elapsed() < Duration::from_secs(20) + SLACK);
}
