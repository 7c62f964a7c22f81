//! Requests to a cluster whose slots move: carried out once, where their keys are.

use std::time::Duration;

use redis_manager::redis::{self, AsyncCommands, ErrorKind, RedisResult, ServerErrorKind};
use redis_manager::runtime::{Spawn, Timer};
use redis_manager::testing::{ClusterShape, FakeCluster, FakeNetwork, FakeRuntime, SlotMigration};
use redis_manager::{ClusterArgs, GetClientError, RedisErrorExt, RedisManager, Sent, SharedClient};

use crate::story::{MS, SECOND, SEEDS, quiet_builder};

const NAME: &str = "orders";
/// The slot of `b`, of the first node.
const SLOT: u16 = 3_300;

struct ClusterStory {
    runtime: FakeRuntime,
    cluster: FakeCluster,
    manager: RedisManager,
    shared: SharedClient,
}

impl ClusterStory {
    /// Ten keys of one slot that are 0, and one of each other node.
    fn begin(seed: u64, args: ClusterArgs) -> Self {
        let runtime = FakeRuntime::new(seed);
        let network = FakeNetwork::new(&runtime);
        let cluster = FakeCluster::start(&network, ClusterShape::default()).expect("free addresses");
        let manager = quiet_builder(8).build(network).expect("valid settings");
        runtime.block_on(manager.add_cluster(NAME, cluster.urls(), args)).expect("the cluster is up");
        let mut shared = runtime.block_on(manager.get_shared_client(NAME)).expect("a client");
        runtime.block_on(async {
            for number in 0..10 {
                let () = shared.set(key(number), 0).await.expect("SET");
            }
        });
        Self { runtime, cluster, manager, shared }
    }

    /// How often the servers have carried out a command.
    fn carried_out(&self, command: &str) -> u64 {
        (0..6).map(|number| self.cluster.node(number).count_of(command)).sum()
    }

    /// The same with how often they have refused it.
    fn tries(&self, command: &str) -> usize {
        let of_node = |number| {
            let is_it = |words: &[Vec<u8>]| words.first().is_some_and(|word| word == command.as_bytes());
            self.cluster.node(number).journal().iter().filter(|seen| is_it(&seen.command)).count()
        };
        (0..6).map(of_node).sum()
    }

    /// From here on half of the keys are at the second node.
    fn move_half(&self) {
        self.cluster.move_slots(SLOT..=SLOT, 1, SlotMigration::Gradual(10 * MS));
        self.runtime.advance(55 * MS);
        assert_eq!(self.cluster.moves_under_way(), 1);
    }
}

fn key(number: usize) -> String {
    format!("{{b}}{number}")
}

/// Guards against: an ASK that is followed without ASKING, or like a MOVED; replies that are off by the reply to ASKING; a piece
/// that goes on behind ASKING where it was refused; keys that are read half.
#[test]
fn k2_requests_for_a_slot_that_moves_key_by_key_are_carried_out_once() {
    for seed in SEEDS {
        let story = ClusterStory::begin(seed, ClusterArgs::default());
        let mut shared = story.shared.clone();
        story.move_half();
        story.runtime.block_on(async {
            for number in [0, 1, 8, 9] {
                let one: i64 = shared.incr(key(number), 1).await.expect("INCR follows its key");
                assert_eq!(one, 1, "seed {seed}: {number}");
            }
            let mut pipeline = redis::pipe();
            [9, 0, 8, 1].into_iter().for_each(|number| {
                pipeline.incr(key(number), 1);
            });
            pipeline.incr("a", 1).incr("c", 1).incr(key(0), 1);
            let all: Vec<i64> = pipeline.query_async(&mut shared).await.expect("each follows its key");
            assert_eq!(all, [2, 2, 2, 2, 1, 1, 3], "seed {seed}");
            let mut atomic = redis::pipe();
            atomic.atomic().incr(key(1), 10).incr(key(1), 10);
            let both: (i64, i64) = atomic.query_async(&mut shared).await.expect("a transaction follows its key");
            assert_eq!(both, (12, 22), "seed {seed}");
        });
        assert_eq!(story.cluster.moves_under_way(), 1, "seed {seed}: the slot is still on its way");
        let halves: Vec<i64> = story.runtime.block_on(shared.mget(&[key(0), key(9)])).expect("MGET waits for its keys");
        assert_eq!((halves, story.cluster.moves_under_way()), (vec![3, 2], 0), "seed {seed}");
        assert_eq!(story.carried_out("INCRBY"), 4 + 7 + 2, "seed {seed}");
    }
}

/// Guards against: a move that is not believed at once: each of the commands goes to the former owner first.
#[test]
fn k1_a_burst_of_moves_costs_each_slot_one_redirection() {
    for seed in SEEDS {
        let story = ClusterStory::begin(seed, ClusterArgs::default());
        let mut shared = story.shared.clone();
        story.cluster.move_slots(0..=5_000, 2, SlotMigration::Atomic);
        let before = story.tries("GET");
        story.runtime.block_on(async {
            for number in 0..10 {
                let zero: i64 = shared.get(key(number)).await.expect("GET follows its slot");
                assert_eq!(zero, 0);
            }
        });
        assert_eq!(story.tries("GET") - before, 11, "seed {seed}: one of ten was redirected");
    }
}

/// Guards against: redirections without an end, and refusals that are asked again at once.
#[test]
fn k2_what_is_refused_for_ever_ends_by_its_retries_or_its_deadline_and_with_the_words_of_the_node() {
    for seed in SEEDS {
        let story = ClusterStory::begin(seed, ClusterArgs::default().retries(3));
        let mut shared = story.shared.clone();
        // Its keys never arrive: each of them is asked for at both nodes.
        story.cluster.move_slots(SLOT..=SLOT, 1, SlotMigration::Gradual(1_000 * SECOND));
        story.runtime.advance(SECOND);
        let before = story.tries("GET");
        let none: Option<i64> = story.runtime.block_on(shared.get("{b}none")).expect("it is asked for where it would be made");
        assert_eq!((none, story.tries("GET") - before), (None, 2), "seed {seed}");
        let (before, begun_at) = (story.tries("MGET"), story.runtime.now());
        let refused: RedisResult<Vec<Option<i64>>> = story.runtime.block_on(shared.mget(&[key(0), String::from("{b}none")]));
        let refused = refused.expect_err("half of its keys are there");
        let (tries, took) = (story.tries("MGET") - before, story.runtime.now().saturating_duration_since(begun_at));
        assert_eq!(refused.kind(), ErrorKind::Server(ServerErrorKind::TryAgain), "seed {seed}: {refused}");
        assert!(took > 4 * SECOND && took <= 5 * SECOND + Duration::from_millis(1), "seed {seed}: {took:?}");
        assert!((40..=60).contains(&tries), "seed {seed}: {tries} tries in 5 s");
        let without = ClusterArgs::default().retries(0);
        let added = story.manager.add_cluster("no retries", story.cluster.urls(), without);
        story.runtime.block_on(added).expect("the cluster is up");
        let mut impatient = story.runtime.block_on(story.manager.get_shared_client("no retries")).expect("a client");
        let before = story.tries("GET");
        let refused: RedisResult<Option<i64>> = story.runtime.block_on(impatient.get("{b}none"));
        let refused = refused.expect_err("it is elsewhere");
        assert_eq!((refused.code(), story.tries("GET") - before), (Some("ASK"), 1), "seed {seed}: {refused}");
        let mut pipeline = redis::pipe();
        pipeline.get(key(0)).get("{b}none");
        let refused: RedisResult<Vec<Option<i64>>> = story.runtime.block_on(pipeline.query_async(&mut impatient));
        assert_eq!(refused.expect_err("one is elsewhere").code(), Some("ASK"), "seed {seed}");
    }
}

/// Guards against: pieces that are sent one after the other; a piece whose node is gone that ends those of the others; one that
/// fails and is not told.
#[test]
fn k5_a_request_for_three_nodes_of_which_one_is_silent_tells_that_and_ends_in_its_time() {
    for seed in SEEDS {
        let story = ClusterStory::begin(seed, ClusterArgs::default());
        let mut shared = story.shared.clone();
        story.runtime.advance(SECOND);
        story.cluster.freeze(1);
        let begun_at = story.runtime.now();
        let mut pipeline = redis::pipe();
        pipeline.append("b", 1).append("a", 2).append("c", 3);
        let told: RedisResult<()> = story.runtime.block_on(pipeline.query_async(&mut shared));
        let told = told.expect_err("one of them is silent");
        let took = story.runtime.now().saturating_duration_since(begun_at);
        assert!(took <= 5 * SECOND + MS, "seed {seed}: {took:?}");
        let appended = [0, 1, 2].map(|number| story.cluster.node(number).count_of("APPEND"));
        assert_eq!(appended, [1, 0, 1], "seed {seed}: the others have got theirs");
        assert_eq!(told.was_sent(), Sent::Unknown, "seed {seed}: {told}");
    }
}

/// Guards against: a caller that waits on under a name that was closed, because the cluster is open under another one.
#[test]
fn e1_a_caller_that_waits_under_a_name_that_is_closed_learns_that_at_once() {
    for seed in SEEDS {
        let runtime = FakeRuntime::new(seed);
        let network = FakeNetwork::new(&runtime);
        let cluster = FakeCluster::start(&network, ClusterShape::default()).expect("free addresses");
        let builder = quiet_builder(2).use_cluster(true).startup_nodes(cluster.urls());
        let manager = builder.build(network.clone()).expect("valid settings");
        for name in ["one", "two"] {
            runtime.block_on(manager.add_node_pool(name)).expect("the cluster is up");
        }
        let address = cluster.addresses()[0].to_string();
        for of_node in [false, true] {
            let get = async |name: &str| match of_node {
                true => manager.get_client_of_node_timeout(name, &address, 5 * SECOND).await,
                false => manager.get_client_for_key_timeout(name, "b", 5 * SECOND).await,
            };
            runtime.block_on(manager.add_node_pool("one")).expect("the cluster is up");
            // The other one is that of the shared clients.
            let held = runtime.block_on(get("two")).expect("one is left");
            let (closing, sleep) = (manager.clone(), network.sleep(SECOND));
            runtime.spawn(Box::pin(async move {
                sleep.await;
                closing.close_node_pools("one").await;
            }));
            let begun_at = runtime.now();
            let refused = runtime.block_on(get("one"));
            assert!(matches!(refused, Err(GetClientError::Closed { .. })), "seed {seed}: {refused:?}");
            let waited = runtime.now().saturating_duration_since(begun_at);
            assert!(waited < SECOND + MS, "seed {seed}: {waited:?}");
            drop(held);
            drop(runtime.block_on(get("two")).expect("the cluster is open under this name"));
        }
    }
}
