//! Reads from the replicas of a primary under the fake clock: those that lag, load, freeze or die are left out within the deadline.

use std::time::Duration;

use redis_manager::redis::{AsyncCommands, RedisResult};
use redis_manager::testing::{FakeNetwork, FakeRedis, FakeRuntime};
use redis_manager::{
    GetClientError, PoolArgs, PrimaryArgs, ReadFrom, RedisErrorExt, RedisManager, RedisManagerBuilder, Sent, SharedClient,
};

use crate::story::{MS, SECOND, SEEDS, quiet_builder};

const NAME: &str = "orders";
const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);

/// A primary and two replicas, which are given in the wrong order.
struct ReplicaScene {
    runtime: FakeRuntime,
    servers: Vec<FakeRedis>,
    manager: RedisManager,
    shared: SharedClient,
}

fn builder() -> RedisManagerBuilder {
    quiet_builder(4).default_timeout(5 * SECOND).pool_args(PoolArgs::default().command_timeout(COMMAND_TIMEOUT))
}

impl ReplicaScene {
    fn begin(seed: u64, change: impl FnOnce(PrimaryArgs) -> PrimaryArgs) -> Self {
        let runtime = FakeRuntime::new(seed);
        let network = FakeNetwork::new(&runtime);
        let start = |number| FakeRedis::start(&network, &format!("server{number}.test")).expect("a free address");
        let servers: Vec<_> = (0..3).map(start).collect();
        servers[1..].iter().for_each(|server| server.replicate(Some(&servers[0])));
        let manager = builder().build(network).expect("valid settings");
        let args = PrimaryArgs::new((0..3).rev().map(|number| format!("redis://server{number}.test")));
        let args = change(args.read_from(ReadFrom::PreferReplica));
        runtime.block_on(manager.add_primary(NAME, args)).expect("one is the primary");
        let shared = runtime.block_on(manager.get_shared_client(NAME)).expect("a client");
        let scene = Self { runtime, servers, manager, shared };
        scene.set("1").expect("the primary is up");
        scene.runtime.advance(3 * SECOND);
        assert_eq!(scene.fit(), 2, "seed {seed}: {:?}", scene.manager.replica_status(NAME));
        scene
    }

    fn set(&self, value: &str) -> RedisResult<()> {
        self.runtime.block_on(self.shared.clone().set("key", value))
    }

    /// A read, and how long it took.
    fn get(&self) -> (RedisResult<Option<String>>, Duration) {
        let begun_at = self.runtime.now();
        let got = self.runtime.block_on(self.shared.clone().get("key"));
        (got, self.runtime.now().saturating_duration_since(begun_at))
    }

    fn fit(&self) -> usize {
        let status = self.manager.replica_status(NAME).expect("it is there");
        status.replicas.iter().filter(|replica| replica.error.is_none()).count()
    }

    fn six_go_to_the_other_one(&self, seed: u64) {
        let before = self.gets();
        for _ in 0..6 {
            let (got, took) = self.get();
            assert!(got.is_ok() && took < 10 * MS, "seed {seed}: {got:?} {took:?}");
        }
        assert_eq!(self.gets(), [before[0], before[1], before[2] + 6], "seed {seed}");
    }

    fn gets(&self) -> Vec<u64> {
        self.servers.iter().map(|server| server.count_of("GET")).collect()
    }
}

/// Guards against: a read that waits for a connection to a dead replica until its own deadline.
#[test]
fn s6_a_read_from_a_replica_that_dies_is_answered_by_another_one() {
    for seed in SEEDS {
        let scene = ReplicaScene::begin(seed, |args| args);
        for _ in 0..4 {
            assert!(scene.get().0.is_ok(), "both have connections");
        }
        scene.servers[1].kill();
        for _ in 0..6 {
            let (got, took) = scene.get();
            assert_eq!(got.as_ref().ok().and_then(Option::as_deref), Some("1"), "seed {seed}: {got:?}");
            assert!(took < COMMAND_TIMEOUT, "seed {seed}: {took:?}");
        }
        scene.runtime.advance(2 * SECOND);
        assert_eq!(scene.fit(), 1, "seed {seed}");
        scene.six_go_to_the_other_one(seed);
    }
}

/// Guards against: a replica that stays fit as long as its connections are open, and a read that is sent twice.
#[test]
fn s6_a_replica_that_freezes_or_vanishes_is_left_out_after_one_check() {
    for seed in SEEDS {
        for hurt in [FakeRedis::freeze, FakeRedis::vanish] {
            let scene = ReplicaScene::begin(seed, |args| args);
            for _ in 0..4 {
                assert!(scene.get().0.is_ok(), "both have connections");
            }
            let before = scene.gets();
            hurt(&scene.servers[1]);
            let begun_at = scene.runtime.now();
            let mut unknown = 0;
            while scene.fit() > 1 {
                let (got, took) = scene.get();
                assert!(took <= COMMAND_TIMEOUT, "seed {seed}: {took:?}");
                if let Err(error) = got {
                    assert_eq!(error.was_sent(), Sent::Unknown, "seed {seed}: {error}");
                    unknown += 1;
                }
                scene.runtime.advance(10 * MS);
            }
            let took = scene.runtime.now().saturating_duration_since(begun_at);
            assert!(took < COMMAND_TIMEOUT + 2 * SECOND && unknown <= 1, "seed {seed}: {unknown} after {took:?}");
            assert_eq!(scene.gets()[..2], before[..2], "seed {seed}");
            scene.six_go_to_the_other_one(seed);
        }
    }
}

/// Guards against: LOADING and MASTERDOWN given to the caller.
#[test]
fn s6_a_replica_that_refuses_reads_is_passed_over() {
    for seed in SEEDS {
        let scene = ReplicaScene::begin(seed, |args| args);
        scene.servers[1].set(|behaviour| behaviour.loading = true);
        scene.servers[2].set(|behaviour| behaviour.master_down = true);
        for _ in 0..6 {
            let (got, took) = scene.get();
            assert_eq!(got.as_ref().ok().and_then(Option::as_deref), Some("1"), "seed {seed}: {got:?}");
            assert!(took < SECOND, "seed {seed}: {took:?}");
        }
        let before = scene.gets();
        assert!(scene.get().0.is_ok());
        assert_eq!(scene.gets()[0], before[0] + 1, "seed {seed}: the primary");
        scene.servers[1].set(|behaviour| behaviour.loading = false);
        scene.servers[2].set(|behaviour| behaviour.master_down = false);
        // Without callers, one that is down is probed each 5 s.
        scene.runtime.advance(12 * SECOND);
        assert_eq!(scene.fit(), 2, "seed {seed}: {:?}", scene.manager.replica_status(NAME));
    }
}

/// Guards against: a lag that is not compared, and one that is compared with what the primary has written since.
#[test]
fn s6_one_that_lags_more_than_the_setting_allows_is_left_out_until_it_has_caught_up() {
    for seed in SEEDS {
        let scene = ReplicaScene::begin(seed, |args| args.max_replica_lag(1_000).read_from(ReadFrom::Replica));
        scene.servers[1].set_replication_delay(30 * SECOND);
        for _ in 0..20 {
            scene.set(&"x".repeat(200)).expect("the primary is up");
        }
        scene.runtime.advance(3 * SECOND);
        let status = scene.manager.replica_status(NAME).expect("it is there");
        let errors: Vec<_> = status.replicas.iter().filter_map(|replica| replica.error.as_deref()).collect();
        assert!(matches!(errors[..], [error] if error.starts_with("it lags by ")), "seed {seed}: {status:?}");
        let before = scene.gets();
        for _ in 0..4 {
            assert!(scene.get().0.is_ok());
        }
        assert_eq!(scene.gets(), [before[0], before[1], before[2] + 4], "seed {seed}");
        scene.servers[1].set_replication_delay(MS);
        scene.runtime.advance(40 * SECOND);
        assert_eq!(scene.fit(), 2, "seed {seed}: {:?}", scene.manager.replica_status(NAME));
    }
}

/// Guards against: callers that stay in the queue of a replica that is unfit, and replicas that are unfit without their primary.
#[test]
fn s6_callers_in_the_queue_of_a_replica_go_to_another_one_and_all_are_read_from_without_a_primary() {
    for seed in SEEDS {
        let scene = ReplicaScene::begin(seed, |args| args.read_from(ReadFrom::Any));
        scene.servers[0].kill();
        scene.runtime.advance(3 * SECOND);
        assert_eq!(scene.fit(), 2, "seed {seed}: {:?}", scene.manager.replica_status(NAME));
        for _ in 0..6 {
            let (got, took) = scene.get();
            assert!(got.is_ok() && took < 10 * MS, "seed {seed}: {got:?} {took:?}");
        }
        scene.servers[1].freeze();
        for _ in 0..3 {
            let begun_at = scene.runtime.now();
            let mut client = scene.runtime.block_on(scene.manager.get_replica_client(NAME)).expect("the other one");
            let took = scene.runtime.now().saturating_duration_since(begun_at);
            assert!(took < 2 * SECOND, "seed {seed}: {took:?}");
            let _: RedisResult<Option<String>> = scene.runtime.block_on(client.get("key"));
        }
        scene.servers[2].kill();
        scene.runtime.advance(5 * SECOND);
        let begun_at = scene.runtime.now();
        let error = scene.runtime.block_on(scene.manager.get_replica_client_timeout(NAME, SECOND)).expect_err("none is left");
        let took = scene.runtime.now().saturating_duration_since(begun_at);
        assert!(matches!(error, GetClientError::NoReplica { .. }) && took <= SECOND + MS, "seed {seed}: {error} {took:?}");
        let (got, took) = scene.get();
        assert!(got.is_err() && took <= COMMAND_TIMEOUT, "seed {seed}: {got:?} {took:?}");
        scene.runtime.block_on(scene.manager.close_all_pools());
        scene.runtime.advance(10 * SECOND);
    }
}

/// Guards against: the age of the client as the time that its caller waited.
#[test]
fn s6_a_read_without_a_replica_says_how_long_it_waited() {
    let scene = ReplicaScene::begin(0, |args| args.read_from(ReadFrom::Replica));
    scene.servers[1..].iter().for_each(FakeRedis::kill);
    scene.runtime.advance(60 * SECOND);
    let (got, took) = scene.get();
    let error = got.expect_err("none is left");
    let Some(GetClientError::NoReplica { waited, .. }) = error.get_client_error() else { panic!("{error:?}") };
    assert!(*waited <= took && took <= COMMAND_TIMEOUT, "{waited:?} of {took:?}");
}
