//! Clients of a cluster: on the node that owns each key, through failures, promotions and slots that move.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::AsyncCommands;
use redis_manager::runtime::Network;
use redis_manager::{AddNodeError, ClusterRole, GetClientError, PoolArgs, RedisManager, RedisManagerBuilder};
use redis_manager_tests::cluster::{TestCluster, TestClusterNode};
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::{spawn, until};

use crate::{MS, SLACK};

pub(crate) const NAME: &str = "redis://the-cluster";

/// The longest that a command may take here.
pub(crate) const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);

/// The stories block their own thread while a cluster is changed, so whoever writes needs another one to go on.
macro_rules! on_tokio_and_smol {
    ($($story:ident $(needs $ability:ident)?;)*) => {$(
        mod $story {
            #[test]
            fn on_tokio() {
                $(redis_manager_tests::needs!($ability);)?
                let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
                let runtime = runtime.expect("tokio starts");
                runtime.block_on(super::$story(redis_manager::tokio::TokioRuntime::new(runtime.handle().clone())));
            }

            #[test]
            fn on_smol() {
                $(redis_manager_tests::needs!($ability);)?
                redis_manager_tests::runtimes::on_smol(smol::block_on, super::$story);
            }
        }
    )*};
}

pub(crate) use on_tokio_and_smol;

on_tokio_and_smol! {
    commands_find_their_node;
    a_killed_primary_is_replaced_within_a_second_of_the_promotion;
    a_frozen_primary_is_replaced_within_a_second_of_the_promotion;
    slots_move_under_sixteen_writers;
    all_down_and_up_again;
    an_exclusive_client_is_lent_by_the_owner_of_its_key;
    what_is_no_cluster_is_told;
}

pub(crate) fn builder(cluster: &TestCluster) -> RedisManagerBuilder {
    let mut args = PoolArgs::default();
    args.command_timeout = COMMAND_TIMEOUT;
    RedisManager::builder().use_cluster(true).startup_nodes(cluster.urls()).pool_args(args)
}

pub(crate) async fn manager_of(cluster: &TestCluster, runtime: impl Network) -> RedisManager {
    let manager = builder(cluster).build(runtime).expect("valid settings");
    manager.add_node_pool(NAME).await.expect("the cluster is up");
    manager
}

/// Writers that each count up keys of their own in turn, one on each primary, and look whether what is there is what they
/// were told.
struct Writers {
    tasks: Vec<Pin<Box<dyn Future<Output = WriterReport> + Send>>>,
    stop: Arc<AtomicBool>,
    /// Writes that were acknowledged, by the primary that owned the key at the start.
    acknowledged: Vec<Arc<AtomicU64>>,
}

#[derive(Default, Debug)]
struct WriterReport {
    slowest: Duration,
    errors: Vec<String>,
    /// Keys that held less than was acknowledged, or what nobody wrote.
    wrong: Vec<String>,
}

impl Writers {
    fn start(manager: &RedisManager, runtime: &(impl Network + Clone), keys: Vec<String>, count: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged: Vec<_> = keys.iter().map(|_| Arc::new(AtomicU64::new(0))).collect();
        let write = |writer: usize| {
            let (manager, stop, acknowledged) = (manager.clone(), Arc::clone(&stop), acknowledged.clone());
            let keys: Vec<_> = keys.iter().map(|key| format!("{key}:{writer}")).collect();
            spawn(runtime, async move { write(manager, keys, stop, acknowledged).await })
        };
        let tasks =
            (0..count).map(|writer| Box::pin(write(writer)) as Pin<Box<dyn Future<Output = WriterReport> + Send>>).collect();
        Self { tasks, stop, acknowledged }
    }

    fn acknowledged(&self, key: usize) -> u64 {
        self.acknowledged[key].load(Ordering::SeqCst)
    }

    async fn end(self) -> WriterReport {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = WriterReport::default();
        for task in self.tasks {
            let one = task.await;
            all.slowest = all.slowest.max(one.slowest);
            all.errors.extend(one.errors);
            all.wrong.extend(one.wrong);
        }
        all
    }
}

async fn write(
    manager: RedisManager,
    keys: Vec<String>,
    stop: Arc<AtomicBool>,
    acknowledged: Vec<Arc<AtomicU64>>,
) -> WriterReport {
    let mut tally = WriterReport::default();
    let mut last: Vec<i64> = vec![0; keys.len()];
    let mut turn = 0;
    while !stop.load(Ordering::SeqCst) {
        let index = turn % keys.len();
        turn += 1;
        let start = Instant::now();
        let mut client = match manager.get_client(NAME).await {
            Ok(client) => client,
            Err(error) => {
                tally.errors.push(error.to_string());
                continue;
            }
        };
        let counted: redis::RedisResult<i64> = client.incr(&keys[index], 1).await;
        tally.slowest = tally.slowest.max(start.elapsed());
        match counted {
            Ok(value) => {
                // More than one higher if a write was carried out whose outcome was not known.
                if value <= last[index] {
                    tally.wrong.push(format!("{}: {value} after {}", keys[index], last[index]));
                }
                last[index] = value;
                acknowledged[index].fetch_add(1, Ordering::SeqCst);
            }
            Err(error) => tally.errors.push(error.to_string()),
        }
    }
    tally
}

fn key_on_each(primaries: &[TestClusterNode], cluster: &TestCluster) -> Vec<String> {
    primaries.iter().map(|primary| cluster.key_in(primary)).collect()
}

async fn commands_find_their_node(runtime: impl Network + Clone) {
    let cluster = TestCluster::start();
    let manager = manager_of(&cluster, runtime.clone()).await;
    let mut client = manager.get_client(NAME).await.expect("a client");
    for n in 0..50 {
        let key = format!("key-{n}");
        let () = client.set(&key, n).await.expect("SET");
        assert_eq!(client.get::<_, i32>(&key).await.expect("GET"), n);
    }
    let keys: Vec<_> = (0..50).map(|n| format!("key-{n}")).collect();
    assert_eq!(client.mget::<_, Vec<i32>>(&keys).await.expect("MGET over all nodes"), (0..50).collect::<Vec<_>>());
    let pong: String = redis::cmd("PING").query_async(&mut client).await.expect("PING");
    assert_eq!(pong, "PONG");
    let refused = redis::cmd("WATCH").arg("key-1").query_async::<()>(&mut client).await.expect_err("it is shared");
    assert_eq!((refused.kind(), refused.detail()), (redis::ErrorKind::Client, Some("WATCH")));
    let status = manager.cluster_status(NAME).expect("it is there");
    assert_eq!((status.nodes.len(), status.covered_slots, status.is_down), (6, 16_384, false));
    let primaries = status.nodes.iter().filter(|node| node.role == ClusterRole::Primary);
    assert!(primaries.clone().all(|node| !node.slots.is_empty() && node.pools.is_some()), "{status:?}");
    assert_eq!(primaries.count(), 3);
    let mut shared = manager.get_shared_client(NAME).await.expect("a shared client");
    assert_eq!(shared.clone().get::<_, i32>("key-7").await.expect("GET"), 7);
    let (one, two): (i32, i32) =
        redis::pipe().atomic().incr("{a}1", 1).incr("{a}2", 2).query_async(&mut shared).await.expect("atomic");
    assert_eq!((one, two), (1, 2));
    drop((client, shared));
    manager.close_all_pools().await;
    until(&runtime, "every connection is closed", || cluster.client_counts().values().all(|count| *count == 0)).await;
}

async fn a_killed_primary_is_replaced_within_a_second_of_the_promotion(runtime: impl Network + Clone) {
    // With coverage required the servers themselves stop the other shards from the failure to the promotion.
    let cluster = TestCluster::options().require_full_coverage(false).start();
    let slowest = fail_over(&cluster, runtime, |primary| primary.kill()).await;
    assert!(slowest < COMMAND_TIMEOUT / 2, "the other shards are not slower: {slowest:?}");
}

async fn a_frozen_primary_is_replaced_within_a_second_of_the_promotion(runtime: impl Network + Clone) {
    let cluster = TestCluster::start();
    let slowest = fail_over(&cluster, runtime, |primary| primary.stop_process()).await;
    assert!(slowest < COMMAND_TIMEOUT, "{slowest:?}");
}

/// The slowest call to the shards that do not fail over.
async fn fail_over(cluster: &TestCluster, runtime: impl Network + Clone, fail: impl FnOnce(&TestClusterNode)) -> Duration {
    let manager = manager_of(cluster, runtime.clone()).await;
    let primaries = cluster.primaries();
    let keys = key_on_each(&primaries, cluster);
    let ailing = Writers::start(&manager, &runtime, vec![keys[0].clone()], 8);
    let others = Writers::start(&manager, &runtime, keys[1..].to_vec(), 8);
    until(&runtime, "all are writing", || ailing.acknowledged(0) > 100 && others.acknowledged(0) > 100).await;
    fail(&primaries[0]);
    let (before, start) = (others.acknowledged(0), Instant::now());
    let promoted_at = cluster.wait_for_promotion(&primaries[0]);
    let meanwhile = others.acknowledged(0) - before;
    let seen = ailing.acknowledged(0);
    until(&runtime, "writes are taken again", || ailing.acknowledged(0) > seen + 8).await;
    let after = promoted_at.elapsed();
    println!("promoted after {:?}, writes {after:?} later; {meanwhile} on another shard meanwhile", promoted_at - start);
    assert!(after <= Duration::from_secs(1) + SLACK, "the first writes came {after:?} after the promotion");
    let (ailing, others) = (ailing.end().await, others.end().await);
    assert_eq!(others.errors, [""; 0], "the other shards do not notice");
    assert!(others.wrong.is_empty() && ailing.wrong.len() <= 8, "{:?} {:?}", others.wrong, ailing.wrong);
    assert!(ailing.slowest < COMMAND_TIMEOUT + SLACK, "{:?}", ailing.slowest);
    others.slowest
}

async fn slots_move_under_sixteen_writers(runtime: impl Network + Clone) {
    let cluster = TestCluster::start();
    let manager = manager_of(&cluster, runtime.clone()).await;
    let primaries = cluster.primaries();
    let keys = key_on_each(&primaries, &cluster);
    let writers = Writers::start(&manager, &runtime, keys.clone(), 16);
    until(&runtime, "all are writing", || writers.acknowledged(0) > 100).await;
    let slot = redis_manager_tests::cluster::slot_of(&keys[0]);
    for to in [&primaries[1], &primaries[2], &primaries[0], &primaries[1]] {
        cluster.move_slots(slot, to);
        let seen = writers.acknowledged(0);
        until(&runtime, "writes go on", || writers.acknowledged(0) > seen + 100).await;
    }
    let acknowledged = writers.acknowledged.clone();
    let tally = writers.end().await;
    let acknowledged: u64 = acknowledged.iter().map(|count| count.load(Ordering::SeqCst)).sum();
    assert_eq!(tally.wrong, [""; 0]);
    assert_eq!(tally.errors, [""; 0], "whoever writes does not notice");
    assert!(tally.slowest < COMMAND_TIMEOUT + SLACK, "{:?}", tally.slowest);
    let mut client = manager.get_client(NAME).await.expect("a client");
    let mut sum = 0;
    for key in &keys {
        for writer in 0..16 {
            sum += client.get::<_, Option<u64>>(format!("{key}:{writer}")).await.expect("GET").unwrap_or(0);
        }
    }
    assert_eq!(sum, acknowledged, "every acknowledged write is there, once");
}

async fn all_down_and_up_again(runtime: impl Network + Clone) {
    let cluster = TestCluster::options().replicas(0).start();
    let manager = manager_of(&cluster, runtime.clone()).await;
    let key = cluster.key_in(&cluster.primaries()[0]);
    cluster.nodes().iter().for_each(TestClusterNode::kill);
    let start = Instant::now();
    let mut told = String::new();
    for _ in 0..3 {
        match manager.get_client_timeout(NAME, 1_000 * MS).await {
            Ok(mut client) => {
                let got: redis::RedisResult<()> = client.set(&key, 1).await;
                told = got.expect_err("nobody is there").to_string();
            }
            Err(error) => told = error.to_string(),
        }
    }
    assert!(start.elapsed() < 3 * (1_000 * MS + COMMAND_TIMEOUT) + SLACK, "{told}");
    cluster.nodes().iter().for_each(TestClusterNode::restart);
    cluster.wait_until_whole();
    let back = Instant::now();
    loop {
        if let Ok(mut client) = manager.get_client(NAME).await
            && client.set::<_, _, ()>(&key, 2).await.is_ok()
        {
            break;
        }
        assert!(back.elapsed() < Duration::from_secs(5), "it does not come back");
    }
    assert!(back.elapsed() < Duration::from_secs(3), "it took {:?}", back.elapsed());
}

async fn an_exclusive_client_is_lent_by_the_owner_of_its_key(runtime: impl Network + Clone) {
    let cluster = TestCluster::start();
    let manager = manager_of(&cluster, runtime.clone()).await;
    let primaries = cluster.primaries();
    let key = cluster.key_in(&primaries[0]);
    let slot = redis_manager_tests::cluster::slot_of(&key);
    let mut holder = manager.get_client_for_key(NAME, &key).await.expect("a client");
    let () = redis::cmd("WATCH").arg(&key).query_async(&mut holder).await.expect("WATCH");
    cluster.move_slots(slot, &primaries[1]);
    let told: redis::RedisResult<Vec<i64>> = redis::pipe().atomic().incr(&key, 1).query_async(&mut holder).await;
    let told = told.expect_err("the slot is elsewhere").to_string();
    assert!(told.contains("MOVED") || told.contains("Moved"), "{told}");
    drop(holder);
    let mut next = manager.get_client_for_key(NAME, &key).await.expect("a client of the new owner");
    let () = redis::cmd("WATCH").arg(&key).query_async(&mut next).await.expect("WATCH");
    let (one,): (i64,) = redis::pipe().atomic().incr(&key, 1).query_async(&mut next).await.expect("EXEC");
    assert_eq!(one, 1);
    drop(next);
    let list = format!("{{{key}}}:list");
    let popped = spawn(&runtime, {
        let (manager, list) = (manager.clone(), list.clone());
        async move {
            loop {
                let mut client = manager.get_client_for_key(NAME, &list).await.expect("a client");
                let popped: redis::RedisResult<Option<(String, String)>> =
                    redis::cmd("BLPOP").arg(&list).arg(5).query_async(&mut client).await;
                if let Ok(Some((_, value))) = popped {
                    return value;
                }
            }
        }
    });
    cluster.move_slots(slot, &primaries[2]);
    let mut client = manager.get_client(NAME).await.expect("a client");
    let () = client.rpush(&list, "found").await.expect("RPUSH");
    assert_eq!(popped.await, "found");
    let unknown = manager.get_client_for_key("redis://other", &key).await.expect_err("never added");
    assert!(matches!(unknown, GetClientError::UnknownNode { .. }), "{unknown:?}");
}

async fn what_is_no_cluster_is_told(runtime: impl Network + Clone) {
    let plain = RedisServer::start();
    let manager =
        RedisManager::builder().use_cluster(true).startup_nodes([plain.url()]).build(runtime.clone()).expect("valid settings");
    let start = Instant::now();
    let error = manager.add_node_pool_timeout(NAME, 3_000 * MS).await.expect_err("no cluster");
    assert!(start.elapsed() < 2_000 * MS, "told at once");
    assert!(
        matches!(&error, AddNodeError::NoHealthyPools { .. }) && error.to_string().contains("not a node of a cluster"),
        "{error}"
    );
    let nobody =
        RedisManager::builder().use_cluster(true).startup_nodes(["redis://127.0.0.1:1"]).build(runtime).expect("valid settings");
    let error = nobody.add_node_pool_timeout(NAME, 2_000 * MS).await.expect_err("nobody there");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}
