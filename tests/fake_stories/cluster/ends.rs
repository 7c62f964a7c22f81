//! Closing a cluster during everything, and the end of its runtime.

use redis_manager::redis::{self, AsyncCommands, RedisResult, Value};
use redis_manager::testing::SlotMigration;
use redis_manager::{ClusterArgs, GetClientError, ReadFrom, ScanOptions};

use crate::cluster::cluster_story::{CLUSTER, SEEDS, StoryCluster, StoryWriter, slow_shape};
use crate::story::{MS, SECOND, command};

/// What is under way when the cluster is closed.
const WORDS: [&str; 6] = ["SET key 1", "MGET a b c d e f", "PING", "DBSIZE", "GET key", "MSET a 1 b 2 c 3 d 4"];

/// Guards against: requests that look for a node of a closed cluster until their deadlines.
#[test]
fn k6_a_close_ends_what_waits_for_a_node_at_once() {
    for (seed, read_from) in SEEDS.zip([ReadFrom::Primary, ReadFrom::PreferReplica].into_iter().cycle()) {
        let args = ClusterArgs::default().read_from(read_from.clone());
        let story = StoryCluster::begin_with(seed, slow_shape(), args, |builder| builder);
        let client = story.client();
        (0..6).for_each(|number| story.cluster.kill(number));
        story.runtime.advance(500 * MS);
        let waiting: Vec<_> = WORDS
            .iter()
            .map(|words| {
                let (words, mut client) = (*words, client.clone());
                story.spawn(async move { command(words).query_async::<Value>(&mut client).await })
            })
            .collect();
        let leases: Vec<_> = (0..3)
            .map(|number| {
                let (manager, key) = (story.manager.clone(), format!("key:{number}"));
                story.spawn(async move { manager.get_client_for_key(CLUSTER, key).await.map(drop) })
            })
            .collect();
        story.runtime.advance(500 * MS);
        let closed_at = story.runtime.now();
        let manager = story.manager.clone();
        let _closing = story.spawn(async move { manager.close_all_pools().await });
        story.runtime.advance(10 * MS);
        for (words, told) in WORDS.iter().zip(&waiting) {
            let (told, at) = told.take().unwrap_or_else(|| panic!("seed {seed}, {read_from:?}: {words} waits on"));
            assert!(told.is_err() && at.saturating_duration_since(closed_at) <= MS, "seed {seed}: {words}: {told:?}");
        }
        for told in &leases {
            let (told, _) = told.take().unwrap_or_else(|| panic!("seed {seed}: a lease is waited for"));
            assert!(matches!(told, Err(GetClientError::Closed { .. })), "seed {seed}: {told:?}");
        }
        drop(client);
        story.end();
    }
}

/// Guards against: tasks and connections that a close does not see because they come to be during it.
#[test]
fn k6_a_close_during_everything_leaves_nothing() {
    for seed in SEEDS {
        let args = ClusterArgs::default().read_from(ReadFrom::Any);
        let story = StoryCluster::begin_with(seed, slow_shape(), args, |builder| builder);
        let keys: Vec<_> = (0..3).map(|number| story.key_of(number)).collect();
        let writers: Vec<_> = keys.iter().map(|key| story.writer(key)).collect();
        let manager = story.manager.clone();
        let _scan = story.spawn(async move {
            let mut scan = manager.scan(CLUSTER, ScanOptions::default()).await?;
            while let Some(key) = scan.next().await {
                key?;
            }
            RedisResult::Ok(())
        });
        story.cluster.move_slots(0..=60, 2, SlotMigration::Gradual(5 * MS));
        match seed % 4 {
            0 => story.cluster.kill(1),
            1 => story.cluster.freeze(1),
            2 => drop(story.cluster.add_node()),
            _ => {}
        }
        story.runtime.advance(MS * u32::try_from(seed * 37).expect("small"));
        let manager = story.manager.clone();
        let (_, took) = story.timed(async { manager.close_all_pools_timeout(2 * SECOND).await });
        assert!(took <= 4 * SECOND, "seed {seed}: {took:?}");
        writers.iter().for_each(StoryWriter::stop);
        drop((writers, manager));
        story.runtime.advance(10 * SECOND);
        story.end();
    }
}

/// Guards against: waits on a clock that stands still.
#[test]
fn k6_after_the_end_of_the_runtime_every_call_ends() {
    for seed in SEEDS {
        let story = StoryCluster::begin(seed);
        let mut client = story.client();
        let () = story.runtime.block_on(client.set("key", 1)).expect("it is up");
        let mut scan = story.runtime.block_on(story.manager.scan(CLUSTER, ScanOptions::default())).expect("it is up");
        let mut late = story.client();
        story.runtime.shut_down();
        for words in WORDS {
            let told = now_or_never(command(words).query_async::<Value>(&mut client));
            assert!(told.as_ref().is_some_and(Result::is_err), "seed {seed}: {words}: {told:?}");
        }
        let told = now_or_never(redis::pipe().set("a", 1).set("b", 2).exec_async(&mut late));
        assert!(told.as_ref().is_some_and(Result::is_err), "seed {seed}: a pipeline: {told:?}");
        let told = now_or_never(scan.next());
        assert!(matches!(told, Some(Some(Err(_)))), "seed {seed}: a scan: {told:?}");
        let told = now_or_never(story.node.get_client()).expect("at once");
        assert!(matches!(told, Err(GetClientError::RuntimeEnded { .. })), "seed {seed}: {told:?}");
        let told = now_or_never(story.manager.get_client_for_key(CLUSTER, "key")).expect("at once");
        assert!(matches!(told, Err(GetClientError::RuntimeEnded { .. })), "seed {seed}: {told:?}");
        let told =
            now_or_never(story.manager.get_client_of_node(CLUSTER, &story.cluster.addresses()[0].to_string())).expect("at once");
        assert!(matches!(told, Err(GetClientError::RuntimeEnded { .. })), "seed {seed}: {told:?}");
    }
}

/// What a future says without any runtime: it must not need one.
fn now_or_never<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    for _ in 0..100 {
        if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return Some(value);
        }
    }
    None
}
