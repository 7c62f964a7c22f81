//! Primaries that die, freeze, or are cut off: writes go on at the replica that takes their place, and no other shard waits.

use std::sync::atomic::{AtomicUsize, Ordering};

use redis_manager::redis::{self, AsyncCommands, RedisResult};
use redis_manager::{ClusterArgs, GetClientError, Health, RedisErrorExt, Sent};
use redis_manager_tests::cluster::slot_of;

use crate::cluster::cluster_story::{CLUSTER, SEEDS, StoryCluster, StoryWriter, slow_shape};
use crate::story::{MS, SECOND, command};

#[derive(Clone, Copy, Debug)]
enum PrimaryEnd {
    Killed,
    Vanished,
    Frozen,
}

impl PrimaryEnd {
    fn happens_to(self, story: &StoryCluster, number: usize) {
        match self {
            Self::Killed => story.cluster.kill(number),
            Self::Vanished => story.cluster.node(number).vanish(),
            Self::Frozen => story.cluster.freeze(number),
        }
    }
}

/// Guards against: a promotion that is seen with the next question for the topology only.
#[test]
fn k3_the_first_write_succeeds_within_half_a_second_of_the_promotion() {
    for (seed, end) in SEEDS.zip([PrimaryEnd::Killed, PrimaryEnd::Vanished, PrimaryEnd::Frozen].into_iter().cycle()) {
        let story = StoryCluster::begin(seed);
        let key = story.key_of(0);
        let writers: Vec<_> = (0..3).map(|_| story.writer(&key)).collect();
        story.runtime.advance(2 * SECOND);
        end.happens_to(&story, 0);
        let promoted_at = story.until_promoted(slot_of(&key), 0);
        writers.iter().for_each(StoryWriter::look);
        story.runtime.advance(SECOND);
        for writer in &writers {
            let first = writer.first_success().unwrap_or_else(|| panic!("seed {seed}, {end:?}: none: {:?}", writer.errors()));
            let took = first.saturating_duration_since(promoted_at);
            assert!(took <= 500 * MS, "seed {seed}, {end:?}: after {took:?}: {:?}", writer.errors());
        }
        story.runtime.advance(2 * SECOND);
        let status = story.manager.cluster_status(CLUSTER).expect("it was added");
        assert_eq!((status.health, status.living_slots), (Health::Up, 16_384), "seed {seed}, {end:?}: {status:?}");
    }
}

/// Guards against: questions and handshakes of one shard that others wait for.
#[test]
fn k3_a_frozen_shard_holds_up_no_other() {
    for seed in SEEDS {
        let shape = slow_shape().require_full_coverage(false);
        let args = ClusterArgs::default().require_full_coverage(false);
        let story = StoryCluster::begin_with(seed, shape, args, |builder| builder);
        let keys: Vec<String> = (0..3).map(|number| story.key_of(number)).collect();
        let writers: Vec<_> = keys.iter().map(|key| story.writer(key)).collect();
        story.runtime.advance(SECOND);
        // The replica, too: nobody takes its place.
        story.cluster.freeze(0);
        story.cluster.freeze(3);
        story.runtime.advance(10 * SECOND);
        for writer in &writers[1..] {
            assert!(writer.longest() <= 20 * MS, "seed {seed}: one took {:?}", writer.longest());
            assert_eq!(writer.errors(), Vec::<String>::new(), "seed {seed}");
        }
        assert!(!writers[0].errors().is_empty(), "seed {seed}: its own do not succeed");
    }
}

/// The primary that is cut off from the others serves until it notices that, and is then not asked any more.
///
/// Guards against: a topology that is believed of the one node that is cut off.
#[test]
fn k3_writes_go_on_when_a_primary_is_cut_off_from_the_others() {
    for seed in SEEDS {
        let story = StoryCluster::begin(seed);
        let key = story.key_of(0);
        let writer = story.writer(&key);
        story.runtime.advance(2 * SECOND);
        story.cluster.partition(&[&[0]]);
        // It runs, and believes that it is the owner for as long as it has not missed the majority for its timeout.
        story.runtime.advance(8 * SECOND);
        writer.look();
        story.runtime.advance(500 * MS);
        assert!(writer.first_success().is_some(), "seed {seed}: {:?}", writer.errors());
        let at_replica = story.cluster.node(3).count_of("SET");
        assert!(at_replica > 0, "seed {seed}: at the replica that was promoted");
        story.cluster.heal();
        story.runtime.advance(5 * SECOND);
        writer.look();
        story.runtime.advance(50 * MS);
        assert!(writer.first_success().is_some(), "seed {seed}: after the heal: {:?}", writer.errors());
    }
}

/// Guards against: a status that counts slots with an owner, whether it lives or not.
#[test]
fn k4_with_a_dead_primary_that_has_no_replica_the_cluster_is_not_up_and_gives_no_client() {
    for (seed, required) in SEEDS.zip([true, false].into_iter().cycle()) {
        let shape = slow_shape().replicas_per_primary(0).require_full_coverage(false);
        let args = ClusterArgs::default().require_full_coverage(required);
        let story = StoryCluster::begin_with(seed, shape, args, |builder| builder.default_timeout(SECOND));
        let (dead, living) = (story.key_of(0), story.key_of(1));
        let mut client = story.client();
        story.cluster.kill(0);
        story.runtime.advance(2 * SECOND);
        let health = if required { Health::Down } else { Health::Suspect };
        let status = story.manager.cluster_status(CLUSTER).expect("it was added");
        assert_eq!((status.health, status.living_slots), (health, 16_384 - 5_461), "seed {seed}");
        let node = story.node.status();
        assert_eq!(node.health, health, "seed {seed}: {node:?}");
        assert!(node.last_error.is_some_and(|why| why.contains("5461 slots")), "seed {seed}");
        let (got, took) = story.timed(story.node.get_client());
        if required {
            assert!(matches!(got, Err(GetClientError::NoHealthyPools { .. })), "seed {seed}: {got:?}");
            assert_eq!(took, SECOND, "seed {seed}: it waits for the node to come back");
        } else {
            assert!(got.is_ok() && took < 10 * MS, "seed {seed}: {took:?}");
        }
        let (told, took) = story.timed(async { client.set::<_, _, ()>(&living, 1).await });
        assert!(told.is_ok() && took < 10 * MS, "seed {seed}: clients that were made serve the other slots: {told:?}");
        let (told, took) = story.timed(async { client.set::<_, _, ()>(&dead, 1).await });
        assert!(told.is_err() && took <= 5 * SECOND, "seed {seed}: {took:?}");
        story.cluster.restart(0).expect("its address is free");
        story.runtime.advance(5 * SECOND);
        let status = story.manager.cluster_status(CLUSTER).expect("it was added");
        assert_eq!((status.health, status.living_slots), (Health::Up, 16_384), "seed {seed}");
        assert!(story.runtime.block_on(story.node.get_client()).is_ok(), "seed {seed}");
    }
}

/// Everything dies, and comes back: requests that have no key, reads from replicas and the scan end by their deadlines meanwhile.
///
/// Guards against: requests that look for a node in a loop without a pause, and so stop the thread that would find one.
#[test]
fn k2_with_every_node_dead_requests_end_by_their_deadlines_without_a_busy_loop() {
    use redis_manager::ReadFrom::{Any, PreferReplica, Primary, Replica};
    for (seed, read_from) in SEEDS.zip([Primary, PreferReplica, Replica, Any].into_iter().cycle()) {
        let args = ClusterArgs::default().read_from(read_from.clone());
        let story = StoryCluster::begin_with(seed, slow_shape(), args, |builder| builder);
        let mut client = story.client();
        let key = story.key_of(0);
        let _: Option<String> = story.runtime.block_on(client.get(&key)).expect("it is up");
        (0..6).for_each(|number| story.cluster.kill(number));
        story.runtime.advance(3 * SECOND);
        let steps = story.runtime.steps();
        for words in ["PING", "GET key", "SET key 1", "MGET a b c d", "DBSIZE", "PUBLISH a b", "EXISTS a b c"] {
            let (told, took) = story.timed(async { command(words).query_async::<redis::Value>(&mut client).await });
            assert!(told.is_err() && took <= 5 * SECOND, "seed {seed}, {read_from:?}, {words}: {took:?}, {told:?}");
        }
        let steps = story.runtime.steps() - steps;
        assert!(steps < 100_000, "seed {seed}, {read_from:?}: {steps} steps");
        (0..6).for_each(|number| story.cluster.restart(number).expect("its address is free"));
        story.runtime.advance(8 * SECOND);
        let told: RedisResult<()> = story.runtime.block_on(client.set(&key, 1));
        assert!(told.is_ok(), "seed {seed}, {read_from:?}: {told:?}");
        drop(client);
        story.end();
    }
}

/// A part of a pipeline is refused for the moment, sent again, and lost with its connection.
///
/// Guards against: the earlier refusal taken for the last word, so that a part with an unknown outcome is sent once more.
#[test]
fn k2_a_part_that_was_refused_and_then_lost_is_not_sent_again() {
    for seed in SEEDS {
        let story = StoryCluster::begin(seed);
        let (key, other) = (story.key_of(0), story.key_of(1));
        let mut client = story.client();
        let () = story.runtime.block_on(client.mset(&[(&key, 0), (&other, 0)])).expect("it is up");
        story.runtime.advance(100 * MS);
        let refusals = AtomicUsize::new(0);
        story.cluster.node(0).set(|behaviour| {
            behaviour.script = Some(Box::new(move |words| {
                let is_first = words[0] == b"INCRBY" && refusals.fetch_add(1, Ordering::Relaxed) == 0;
                is_first.then(|| b"-CLUSTERDOWN The cluster is down\r\n".to_vec())
            }));
        });
        let mut pipeline = redis::pipe();
        pipeline.incr(&key, 1).incr(&other, 1);
        let told = story.spawn(async move { pipeline.query_async::<Vec<u64>>(&mut client).await });
        // It is sent again after 5 ms, to a node that is frozen by then.
        story.runtime.advance(3 * MS);
        story.cluster.freeze(0);
        story.runtime.advance(6 * SECOND);
        let (told, _) = told.take().expect("its time is up");
        let error = told.expect_err("a part of it has no reply");
        assert_eq!(error.was_sent(), Sent::Unknown, "seed {seed}: {error}");
        assert_eq!(story.cluster.primary_of(slot_of(&key)), Some(3), "seed {seed}: it could be sent there");
        story.cluster.thaw(0);
        story.runtime.advance(3 * SECOND);
        let found: RedisResult<u64> = story.runtime.block_on(story.client().get(&key));
        assert_eq!(found, Ok(0), "seed {seed}: it was sent to the node that was frozen, and to no other");
    }
}
