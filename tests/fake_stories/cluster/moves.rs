//! Slots that move under writers, and nodes that come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use redis_manager::redis::{self, AsyncCommands, RedisResult};
use redis_manager::runtime::{Instant, Spawn, Timer};
use redis_manager::testing::SlotMigration;
use redis_manager::{ClusterArgs, Health};
use redis_manager_tests::cluster::slot_of;

use crate::cluster::cluster_story::{CLUSTER, SEEDS, StoryCluster, slow_shape};
use crate::story::{MS, SECOND};

/// Counters that are raised in a loop.
struct RaisedKeys {
    keys: Vec<String>,
    /// How often each was raised, as was acknowledged.
    acknowledged: Vec<Arc<AtomicU64>>,
    /// How many of the tasks have gone on to their ends: one that panics does not.
    ended: Arc<AtomicUsize>,
}

/// Raises each counter in a task until then, one by one and several in one request.
fn raise(story: &StoryCluster, keys: &[String], until: Instant) -> RaisedKeys {
    let ended: Arc<AtomicUsize> = Arc::default();
    let mut all = Vec::new();
    for key in keys {
        let acknowledged: Arc<AtomicU64> = Arc::default();
        all.push(Arc::clone(&acknowledged));
        let ended = Arc::clone(&ended);
        let (mut client, network, key) = (story.client(), story.network.clone(), key.clone());
        story.network.spawn(Box::pin(async move {
            while network.now() < until {
                let () = client.incr::<_, _, u64>(&key, 1).await.map(drop).expect("it is somewhere");
                acknowledged.fetch_add(1, Ordering::Relaxed);
                let mut both = redis::pipe();
                both.incr(&key, 1).incr(format!("{{{key}}}:other"), 1);
                let replies: Vec<u64> = both.query_async(&mut client).await.expect("it is somewhere");
                assert_eq!(replies.len(), 2);
                acknowledged.fetch_add(1, Ordering::Relaxed);
                let two: RedisResult<Vec<Option<u64>>> = client.mget(&[key.clone(), format!("{{{key}}}:other")]).await;
                assert!(two.is_ok(), "{two:?}");
                let mut atomic = redis::pipe();
                atomic.atomic().incr(&key, 1).ignore().incr(format!("{{{key}}}:other"), 1);
                let told: RedisResult<Vec<u64>> = atomic.query_async(&mut client).await;
                assert!(told.is_ok(), "{told:?}");
                acknowledged.fetch_add(1, Ordering::Relaxed);
                network.sleep(20 * MS).await;
            }
            ended.fetch_add(1, Ordering::Relaxed);
        }));
    }
    RaisedKeys { keys: keys.to_vec(), acknowledged: all, ended }
}

impl RaisedKeys {
    /// No request has failed, and each counter was raised as often as that was acknowledged.
    #[track_caller]
    fn assert_counted(&self, story: &StoryCluster, seed: u64) {
        assert_eq!(self.ended.load(Ordering::Relaxed), self.keys.len(), "seed {seed}: a request has failed");
        let mut client = story.client();
        for (key, acknowledged) in self.keys.iter().zip(&self.acknowledged) {
            let counted: u64 = story.runtime.block_on(client.get(key)).expect("it is there");
            assert_eq!(counted, acknowledged.load(Ordering::Relaxed), "seed {seed}: {key}");
        }
    }
}

/// Guards against: ASK without ASKING, TRYAGAIN as an answer, and a command that is carried out at both nodes.
#[test]
fn k2_under_writers_a_gradual_move_of_slots_fails_no_command_and_carries_none_out_twice() {
    for seed in SEEDS.take(2) {
        let story = StoryCluster::begin(seed);
        let keys = story.keys_of(0, 8);
        let raised = raise(&story, &keys, story.runtime.now() + 1_500 * MS);
        for (number, key) in keys.iter().enumerate() {
            let slot = slot_of(key);
            story.cluster.move_slots(slot..=slot, 1 + number % 2, SlotMigration::Gradual(40 * MS));
        }
        story.runtime.advance(800 * MS);
        for key in &keys[..4] {
            let slot = slot_of(key);
            story.cluster.move_slots(slot..=slot, 0, SlotMigration::Gradual(7 * MS));
        }
        story.runtime.advance(SECOND);
        raised.assert_counted(&story, seed);
        assert!(story.count_of("ASKING") > 0, "seed {seed}: some were on their way");
        assert_eq!(story.cluster.moves_under_way(), 0, "seed {seed}");
    }
}

/// A resharding as an operator does it: some slots one by one, others at once, and all of them back.
///
/// Guards against: a command that is sent to the former owner until the topology is asked for, and a redirection that is counted for all
/// commands of a connection.
#[test]
fn k2_sixteen_writers_lose_nothing_over_a_resharding() {
    for seed in SEEDS.take(1) {
        let story = StoryCluster::begin(seed);
        let keys: Vec<_> = (0..).map(|number| format!("key:{number}")).filter(|key| slot_of(key) < 100).take(16).collect();
        let raised = raise(&story, &keys, story.runtime.now() + 3 * SECOND);
        story.cluster.move_slots(0..=49, 1, SlotMigration::Gradual(10 * MS));
        story.runtime.advance(300 * MS);
        story.cluster.move_slots(50..=2_000, 2, SlotMigration::Atomic);
        story.runtime.advance(1_200 * MS);
        assert_eq!((story.cluster.primary_of(0), story.cluster.primary_of(99)), (Some(1), Some(2)), "seed {seed}");
        story.cluster.move_slots(50..=99, 0, SlotMigration::Gradual(10 * MS));
        story.cluster.move_slots(0..=49, 0, SlotMigration::Atomic);
        story.runtime.advance(2 * SECOND);
        assert_eq!((story.cluster.primary_of(0), story.cluster.moves_under_way()), (Some(0), 0), "seed {seed}");
        raised.assert_counted(&story, seed);
    }
}

/// Guards against: a question for the topology for each MOVED.
#[test]
fn k2_under_writers_an_atomic_move_of_slots_is_a_burst_of_moved_and_few_questions() {
    for seed in SEEDS.take(2) {
        let story = StoryCluster::begin(seed);
        let keys = story.keys_of(0, 12);
        let raised = raise(&story, &keys, story.runtime.now() + 3 * SECOND);
        story.runtime.advance(SECOND);
        let questions = story.count_of("CLUSTER");
        story.cluster.move_slots(0..=5_000, 1, SlotMigration::Atomic);
        story.runtime.advance(900 * MS);
        let asked = story.count_of("CLUSTER") - questions;
        assert!(asked <= 12, "seed {seed}: {asked} questions for one move");
        story.runtime.advance(2 * SECOND);
        raised.assert_counted(&story, seed);
        assert_eq!(story.count_of("ASKING"), 0, "seed {seed}");
    }
}

/// Guards against: pools of nodes that have left, and nodes that are not found until the next question by the clock.
#[test]
fn k1_nodes_that_come_are_used_and_of_nodes_that_have_left_nothing_stays() {
    for seed in SEEDS.take(1) {
        let args = ClusterArgs::default().topology_refresh_interval(2 * SECOND);
        let story = StoryCluster::begin_with(seed, slow_shape(), args, |builder| builder);
        let keys = story.keys_of(0, 3);
        let raised = raise(&story, &keys, story.runtime.now() + 21 * SECOND);
        for _ in 0..2 {
            let come = story.cluster.add_node().expect("a free name");
            story.runtime.advance(2 * SECOND);
            story.cluster.move_slots(1..=5_460, come, SlotMigration::Atomic);
            story.runtime.advance(3 * SECOND);
            assert_eq!(story.cluster.primary_of(1), Some(come), "seed {seed}");
            assert!(story.cluster.node(come).count_of("INCRBY") > 0, "seed {seed}: it is used");
            story.cluster.move_slots(1..=5_460, 0, SlotMigration::Atomic);
            // Until then a node that has not heard of it may report that it owns them still.
            story.runtime.advance(2 * SECOND);
            story.cluster.remove_node(come);
            story.runtime.advance(4 * SECOND);
            let status = story.manager.cluster_status(CLUSTER).expect("it was added");
            assert_eq!((status.health, status.nodes.len()), (Health::Up, 6), "seed {seed}: {status:?}");
            let dials = story.cluster.node(come).host().connections_made();
            story.runtime.advance(4 * SECOND);
            assert_eq!(story.cluster.node(come).host().connections_made(), dials, "seed {seed}: it is dialled no more");
        }
        raised.assert_counted(&story, seed);
        story.end();
    }
}
