//! What words are evidence of: those that a server says of itself, and not those that an application puts into its mouth.

use redis_manager::redis::{self, AsyncCommands, Value};
use redis_manager::testing::{FakeNetwork, FakeRedis, FakeRuntime};
use redis_manager::{Health, RedisErrorExt};

use crate::story::{MS, NAME, SECOND, SEEDS, Story, command, quiet_builder};

/// Whatever a script is asked to say, it says.
fn say_what_scripts_say(redis: &FakeRedis) {
    redis.set(|behaviour| {
        behaviour.script = Some(Box::new(|command| {
            let is_script = command[0].eq_ignore_ascii_case(b"EVAL") || command[0].eq_ignore_ascii_case(b"FCALL");
            is_script.then(|| [b"-", command[3].as_slice(), b" says the script\r\n"].concat())
        }));
    });
}

/// Guards against: each word of a script told to the pool (57 dials in 6 s, and 15 900 PINGs for 6 300 writes).
#[test]
fn h15_a_script_that_answers_in_the_words_of_a_server_costs_what_err_costs() {
    for seed in SEEDS {
        let story = Story::begin(seed);
        let mut shared = story.shared_client();
        let _: String = story.ask(&mut shared, "PING").expect("it answers");
        drop(story.client());
        say_what_scripts_say(&story.redis);
        let before = story.cost();
        for code in ["ERR", "READONLY", "NOAUTH", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "EXECABORT"] {
            for name in ["EVAL", "FCALL"] {
                let script = command(&format!("{name} script 0 {code}"));
                for _ in 0..10 {
                    let mut client = story.client();
                    let told = story.runtime.block_on(script.exec_async(&mut client)).expect_err("what the script says");
                    let shared_told = story.runtime.block_on(script.exec_async(&mut shared)).expect_err("what the script says");
                    assert_eq!((told.code(), shared_told.code()), (Some(code), Some(code)), "seed {seed}: as it was said");
                    let mut pipeline = redis::pipe();
                    pipeline.get("key").add_command(script.clone()).get("key");
                    for result in [
                        story.runtime.block_on(pipeline.query_async::<Vec<Value>>(&mut client)),
                        story.runtime.block_on(pipeline.query_async::<Vec<Value>>(&mut shared)),
                    ] {
                        assert!(result.is_err(), "seed {seed}: one of three");
                    }
                    story.runtime.advance(MS);
                }
                assert_eq!(story.cost(), before, "seed {seed}: {name} {code}");
            }
        }
        assert_eq!((story.status().health, story.node.metrics().suspicions), (Health::Up, 0), "seed {seed}");
    }
}

/// Guards against: every READONLY told to the pool, where a user writes to a read replica by mistake (55 dials in 6 s).
#[test]
fn h15_writes_at_a_read_replica_cost_no_dial_and_no_check() {
    for seed in SEEDS {
        let runtime = FakeRuntime::new(seed);
        let network = FakeNetwork::new(&runtime);
        let redis = FakeRedis::start(&network, NAME).expect("a free address");
        redis.set(|behaviour| behaviour.read_only = true);
        let manager = quiet_builder(2).build(network).expect("valid settings");
        let node = runtime.block_on(manager.add_node_pool(&format!("redis://{NAME}"))).expect("it answers");
        let mut shared = runtime.block_on(node.get_shared_client()).expect("it answers");
        let _: Option<i64> = runtime.block_on(shared.get("key")).expect("reads are served");
        drop(runtime.block_on(node.get_client()).expect("it answers"));
        let before = (redis.host().connections_made(), redis.count_of("PING"));
        for _ in 0..300 {
            let mut client = runtime.block_on(node.get_client()).expect("it answers");
            for told in [
                runtime.block_on(client.set::<_, _, ()>("key", 1)).expect_err("a replica"),
                runtime.block_on(shared.set::<_, _, ()>("key", 1)).expect_err("a replica"),
            ] {
                assert_eq!(told.code(), Some("READONLY"), "seed {seed}");
            }
            let _: Option<i64> = runtime.block_on(client.get("key")).expect("reads are served");
            drop(client);
            runtime.advance(5 * MS);
        }
        assert_eq!((redis.host().connections_made(), redis.count_of("PING")), before, "seed {seed}");
        assert_eq!(node.status().health, Health::Up, "seed {seed}");
    }
}

/// Guards against: READONLY of a server that was a primary taken for the words of a script.
#[test]
fn h7_a_primary_that_becomes_a_replica_is_left_at_its_first_word() {
    for seed in SEEDS {
        let story = Story::begin(seed);
        let first = story.connections();
        story.redis.set(|behaviour| behaviour.read_only = true);
        let mut client = story.client();
        let told = story.runtime.block_on(client.set::<_, _, ()>("key", 1)).expect_err("a replica");
        assert_eq!(told.code(), Some("READONLY"), "seed {seed}");
        drop(client);
        story.redis.set(|behaviour| behaviour.read_only = false);
        story.runtime.advance(SECOND);
        assert!(story.connections().iter().all(|id| !first.contains(id)), "seed {seed}: another server may be there now");
        let () = story.runtime.block_on(story.client().set("key", 1)).expect("a primary");
    }
}

type Change = fn(&mut redis_manager::testing::Behaviour, bool);

/// By the code, and the words that follow it.
const NOT_READY: [(&str, &str, Change); 2] = [
    ("LOADING", "loading the dataset", |behaviour, is_on| behaviour.loading = is_on),
    ("MASTERDOWN", "Link with MASTER is down", |behaviour, is_on| behaviour.master_down = is_on),
];

/// Guards against: a node that lends connections to a server that says that it is not ready, and one that is not asked again.
#[test]
fn h7_a_node_that_says_it_is_not_ready_lends_nothing_until_it_is() {
    for (code, words, change) in NOT_READY {
        for seed in SEEDS {
            let story = Story::begin_with(seed, "", |builder| builder.default_timeout(2 * SECOND));
            let () = story.runtime.block_on(story.client().set("key", "value")).expect("it answers");
            story.redis.set(|behaviour| change(behaviour, true));
            let mut client = story.client();
            let told = story.runtime.block_on(client.get::<_, Option<String>>("key")).expect_err("not ready");
            assert_eq!((told.code(), told.is_unavailable()), (Some(code), true), "seed {seed}");
            drop(client);
            for _ in 0..3 {
                let (told, took) = story.timed(story.node.get_client());
                let told = told.expect_err("it is not ready");
                assert!(told.is_unavailable() && took == 2 * SECOND, "seed {seed}, {code}: {told} after {took:?}");
                assert!(told.to_string().contains(words), "seed {seed}: {told}");
            }
            assert_ne!(story.status().health, Health::Up, "seed {seed}, {code}");
            let node = story.node.clone();
            let waiting = story.spawn(async move {
                let mut client = node.get_client().await?;
                client.get::<_, Option<String>>("key").await
            });
            story.runtime.advance(SECOND);
            story.redis.set(|behaviour| change(behaviour, false));
            let ready_at = story.runtime.now();
            story.runtime.advance(SECOND);
            let (served, at) = waiting.take().unwrap_or_else(|| panic!("seed {seed}, {code}: it still waits"));
            assert_eq!(served.expect("it is ready").as_deref(), Some("value"), "seed {seed}, {code}");
            assert!(at.saturating_duration_since(ready_at) <= 600 * MS, "seed {seed}, {code}");
            assert_eq!(story.status().health, Health::Up, "seed {seed}, {code}");
            story.assert_full_capacity(2);
        }
    }
}

/// Guards against: a node that is added while its server loads, and is taken for healthy.
#[test]
fn f8_f10_a_node_that_is_added_while_it_is_not_ready_is_waited_for() {
    for (code, words, change) in NOT_READY {
        let runtime = FakeRuntime::new(9);
        let network = FakeNetwork::new(&runtime);
        let redis = FakeRedis::start(&network, NAME).expect("a free address");
        redis.set(|behaviour| change(behaviour, true));
        let manager = quiet_builder(2).build(network).expect("valid settings");
        let told = runtime.block_on(manager.add_node_pool_timeout(&format!("redis://{NAME}"), SECOND)).expect_err("not ready");
        assert!(told.to_string().contains(words), "{told}");
        let node = manager.add_node_pool_lazy(&format!("redis://{NAME}")).expect("a URL");
        runtime.advance(SECOND);
        assert_ne!(node.status().health, Health::Up, "{code}");
        redis.set(|behaviour| change(behaviour, false));
        drop(runtime.block_on(node.get_client_timeout(SECOND)).unwrap_or_else(|error| panic!("{code}: {error}")));
    }
}
