//! A server that dies while a client is on loan, and a service that starts before its server.

use redis_manager::testing::{FakeNetwork, FakeRedis, FakeRuntime};
use redis_manager::{GetClientError, Health, OnNodeDown, RedisErrorExt, RedisManager};

use crate::story::{MS, NAME, SECOND, SEEDS, Story, quiet_builder};

/// Guards against: a dead loan that counts as a healthy connection: `up` and nobody probes for as long as the client is held,
/// FailFast waits 10 s, a shared command 5 s.
#[test]
fn h13_a_server_that_dies_with_a_client_on_loan_is_down_within_one_refused_dial() {
    for seed in SEEDS {
        let story = Story::begin_with(seed, "", |builder| builder.on_node_down(OnNodeDown::FailFast));
        let mut held = story.client();
        let mut shared = story.shared_client();
        let _: String = story.ask(&mut shared, "PING").expect("it answers");
        let dials = story.node.metrics().connects.started;
        story.redis.kill();
        // The end of the connection takes 100 µs, and a dial that is refused 200 µs.
        story.runtime.advance(MS);
        let status = story.status();
        assert_eq!((status.health, status.healthy_pools), (Health::Down, 0), "seed {seed}: {status:?}");
        assert!(status.lost >= 1 && status.active >= status.lost, "seed {seed}: {status:?}");
        assert_eq!(story.node.metrics().connects.started, dials + 1, "seed {seed}: one dial was enough");

        let (told, took) = story.timed(story.node.get_client());
        assert!(matches!(told, Err(GetClientError::NoHealthyPools { .. })), "seed {seed}: {told:?}");
        assert!(took.is_zero(), "seed {seed}: it fails fast: {took:?}");
        let (told, took) = story.timed(redis_manager::redis::cmd("PING").query_async::<String>(&mut shared));
        assert!(told.expect_err("down").is_unavailable(), "seed {seed}");
        assert!(took.is_zero(), "seed {seed}: it fails fast: {took:?}");
        story.ask::<String>(&mut held, "PING").expect_err("its connection is dead, and it is not replaced under it");

        story.redis.start_again().expect("a free port");
        let back_at = story.runtime.now();
        while story.runtime.block_on(story.node.get_client()).is_err() {
            story.runtime.advance(MS);
        }
        let took = story.runtime.now().saturating_duration_since(back_at);
        assert!(took <= 600 * MS, "seed {seed}: healed while the dead client is held, after {took:?}");
        assert_eq!(story.status().health, Health::Up, "seed {seed}");
        story.ask::<String>(&mut shared, "PING").expect("healed");
        drop((held, shared));
        story.runtime.advance(SECOND);
        story.assert_full_capacity(2);
    }
}

/// Guards against: a probe that begins only when the dead client comes back, where callers wait.
#[test]
fn h13_callers_that_wait_are_served_within_the_back_off_while_a_dead_client_is_held() {
    for seed in SEEDS {
        let story = Story::begin(seed);
        let held = story.client();
        story.redis.kill();
        story.runtime.advance(3 * SECOND);
        let node = story.node.clone();
        let waiting = story.spawn(async move { node.get_client().await.map(drop) });
        story.runtime.advance(2 * SECOND);
        story.redis.start_again().expect("a free port");
        let back_at = story.runtime.now();
        story.runtime.advance(600 * MS);
        let (served, at) = waiting.take().unwrap_or_else(|| panic!("seed {seed}: it still waits: {:?}", story.status()));
        served.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert!(at.saturating_duration_since(back_at) <= 600 * MS, "seed {seed}");
        drop(held);
        story.assert_full_capacity(2);
    }
}

/// Guards against: a node without a connection that is green, one that can only be added when its server is up, and one that is
/// never dialled again.
#[test]
fn h3_a_node_that_is_added_before_its_server_starts_is_down_until_then() {
    for seed in SEEDS {
        let runtime = FakeRuntime::new(seed);
        let network = FakeNetwork::new(&runtime);
        let manager: RedisManager = quiet_builder(2).build(network.clone()).expect("valid settings");
        let node = manager.add_node_pool_lazy(&format!("redis://{NAME}")).expect("a URL");
        assert_eq!((node.status().health, manager.health().is_ready()), (Health::Down, false), "seed {seed}");
        runtime.advance(SECOND);
        let why = node.status().last_error.expect("it was dialled");
        assert!(why.contains(NAME), "seed {seed}: {why}");
        let begun_at = runtime.now();
        let told = runtime.block_on(node.get_client_timeout(300 * MS)).expect_err("nothing is there");
        assert!(matches!(told, GetClientError::NoHealthyPools { .. }), "seed {seed}: {told}");
        assert_eq!(runtime.now().saturating_duration_since(begun_at), 300 * MS, "seed {seed}");

        let redis = FakeRedis::start(&network, NAME).expect("a free address");
        let begun_at = runtime.now();
        drop(runtime.block_on(node.get_client()).expect("it has waited for the server"));
        let took = runtime.now().saturating_duration_since(begun_at);
        assert!(took <= 600 * MS, "seed {seed}: {took:?}");
        assert_eq!((node.status().health, manager.health().is_ready()), (Health::Up, true), "seed {seed}");
        assert_eq!(redis.connections().len(), 1, "seed {seed}");
    }
}
