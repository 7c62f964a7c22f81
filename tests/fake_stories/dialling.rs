//! Names with several addresses, and servers that hang up with a word.

use std::net::IpAddr;

use redis_manager::redis;
use redis_manager::testing::{FakeNetwork, FakeRedis, FakeRuntime};
use redis_manager::{AddNodeError, PoolArgs};

use crate::story::{MS, NAME, SECOND, SEEDS, Story, quiet_builder};

fn ip(last: u8) -> IpAddr {
    [10, 0, 9, last].into()
}

/// Guards against: one address after the other, from the top at each dial (a second each), and what did not answer dialled first again.
#[test]
fn h16_a_silent_address_of_several_costs_a_moment_once_and_is_dialled_last_afterwards() {
    for seed in SEEDS {
        let runtime = FakeRuntime::new(seed);
        let network = FakeNetwork::new(&runtime);
        let silent = network.host((ip(1), 6379).into());
        silent.silence();
        let redis = FakeRedis::start(&network, &ip(2).to_string()).expect("a free address");
        network.set_name("several.test", [ip(1), ip(2)]);
        let args = PoolArgs::default().dial_timeout(4 * SECOND);
        let manager = quiet_builder(8).pool_args(args).build(network.clone()).expect("valid settings");
        let begun_at = runtime.now();
        let node = runtime.block_on(manager.add_node_pool("redis://several.test")).expect("one of them answers");
        let took = runtime.now().saturating_duration_since(begun_at);
        assert!(took >= 250 * MS && took <= 260 * MS, "seed {seed}: {took:?}");

        // What worked comes first: from now on a dial takes no longer than with one address.
        let begun_at = runtime.now();
        let clients: Vec<_> = (0..4).map(|_| runtime.block_on(node.get_client()).expect("it answers")).collect();
        let took = runtime.now().saturating_duration_since(begun_at);
        assert!(took <= 10 * MS, "seed {seed}: {took:?}");
        assert_eq!(redis.connections().len(), 4, "seed {seed}");
        drop(clients);

        // Now it is the other one that answers.
        silent.heal();
        let other = FakeRedis::start(&network, &ip(1).to_string()).expect("a free address");
        redis.vanish();
        let begun_at = runtime.now();
        let served = runtime.block_on(async {
            loop {
                let Ok(mut client) = node.get_client().await else { continue };
                if redis::cmd("PING").exec_async(&mut client).await.is_ok() {
                    return client;
                }
            }
        });
        let took = runtime.now().saturating_duration_since(begun_at);
        assert!(took <= 7 * SECOND, "seed {seed}: a command that is not answered, and a dial: {took:?}");
        let begun_at = runtime.now();
        let more: Vec<_> = (0..3).map(|_| runtime.block_on(node.get_client()).expect("it answers")).collect();
        let took = runtime.now().saturating_duration_since(begun_at);
        assert!(took <= 10 * MS, "seed {seed}: the silent one is last now: {took:?}");
        assert_eq!(other.connections().len(), 4, "seed {seed}");
        drop((served, more));
    }
}

/// Guards against: an address that was silent forgotten because another one accepted: it is then dialled before those that were never
/// tried.
#[test]
fn h16_an_address_that_was_silent_is_dialled_after_those_that_were_never_tried() {
    for seed in SEEDS {
        let runtime = FakeRuntime::new(seed);
        let network = FakeNetwork::new(&runtime);
        network.host((ip(1), 6379).into()).silence();
        let redis = FakeRedis::start(&network, &ip(2).to_string()).expect("a free address");
        let other = FakeRedis::start(&network, &ip(3).to_string()).expect("a free address");
        network.set_name("several.test", [ip(1), ip(2), ip(3)]);
        let manager = quiet_builder(2).build(network).expect("valid settings");
        let node = runtime.block_on(manager.add_node_pool("redis://several.test")).expect("one of them answers");
        assert_eq!((redis.connections().len(), other.connections().len()), (1, 0), "seed {seed}");
        // A connection that dies soon after its birth would be followed by a pause.
        runtime.advance(10 * SECOND);
        redis.kill();
        let begun_at = runtime.now();
        // The end of the connection arrives, and it is not lent any more.
        runtime.advance(MS);
        let served = runtime.block_on(node.get_client()).expect("the third one answers");
        assert_eq!(other.connections().len(), 1, "seed {seed}");
        let took = runtime.now().saturating_duration_since(begun_at);
        assert!(took <= 10 * MS, "seed {seed}: {took:?}");
        drop(served);
    }
}

/// Guards against: the second address dialled only when the time of the first has passed.
#[test]
fn h16_a_refusal_lets_the_next_address_be_dialled_at_once() {
    let runtime = FakeRuntime::new(3);
    let network = FakeNetwork::new(&runtime);
    let _redis = FakeRedis::start(&network, &ip(3).to_string()).expect("a free address");
    network.set_name("several.test", [ip(1), ip(2), ip(3)]);
    let manager = quiet_builder(2).build(network).expect("valid settings");
    let begun_at = runtime.now();
    let _node = runtime.block_on(manager.add_node_pool("redis://several.test")).expect("one of them answers");
    let took = runtime.now().saturating_duration_since(begun_at);
    assert!(took <= 10 * MS, "{took:?}");
}

/// Guards against: a write that fails before the last words are read, so that the error is `broken pipe`.
#[test]
fn h17_the_last_words_of_a_protected_or_full_server_are_the_error() {
    for seed in SEEDS {
        for protocol in ["resp3", "resp2"] {
            for (words, is_full) in [("running in protected mode", false), ("max number of clients reached", true)] {
                let runtime = FakeRuntime::new(seed);
                let network = FakeNetwork::new(&runtime);
                let redis = FakeRedis::start(&network, NAME).expect("a free address");
                redis.set(|behaviour| (behaviour.protected, behaviour.max_clients) = (!is_full, if is_full { 0 } else { 10 }));
                let manager = quiet_builder(2).build(network).expect("valid settings");
                let url = format!("redis://{NAME}?protocol={protocol}");
                let begun_at = runtime.now();
                let told = runtime.block_on(manager.add_node_pool_timeout(&url, SECOND)).expect_err("it hangs up");
                let took = runtime.now().saturating_duration_since(begun_at);
                let AddNodeError::NoHealthyPools { last_error: Some(cause), .. } = &told else { panic!("seed {seed}: {told:?}") };
                assert!(cause.to_string().contains(words), "seed {seed}, {protocol}: {cause}");
                // Places may come free; protection does not go away by itself.
                assert!(if is_full { took == SECOND } else { took < 100 * MS }, "seed {seed}, {protocol}: {took:?}");
                redis.set(|behaviour| (behaviour.protected, behaviour.max_clients) = (false, 10));
                let node = runtime.block_on(manager.add_node_pool(&url)).expect("it takes us now");
                assert!(runtime.block_on(node.get_client()).is_ok(), "seed {seed}");
            }
        }
    }
}

/// Guards against: a node that is full for others taken for one that is down for good.
#[test]
fn f11_a_full_server_that_has_room_again_serves_those_who_wait() {
    for seed in SEEDS {
        let story = Story::begin(seed);
        story.redis.set(|behaviour| behaviour.max_clients = 1);
        let held = story.client();
        let node = story.node.clone();
        let waiting = story.spawn(async move { node.get_client().await.map(drop) });
        story.runtime.advance(2 * SECOND);
        assert!(waiting.take().is_none(), "seed {seed}: there is no room");
        story.redis.set(|behaviour| behaviour.max_clients = 10);
        story.runtime.advance(SECOND);
        let (served, _) = waiting.take().unwrap_or_else(|| panic!("seed {seed}: it still waits"));
        served.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        drop(held);
        story.assert_full_capacity(2);
    }
}
