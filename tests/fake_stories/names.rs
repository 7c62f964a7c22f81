//! A name that resolves to something new, as after a failover by DNS: it is asked again at every dial.

use redis_manager::redis::{AsyncCommands, RedisResult};
use redis_manager::testing::{FakeNetwork, FakeRedis, FakeRuntime};
use redis_manager::{RedisManager, SharedClient};

use crate::story::{MS, SECOND, SEEDS, quiet_builder};

const NAME: &str = "primary.test";
const URL: &str = "redis://primary.test";

/// Two servers, of which the name is the first one's.
struct NameScene {
    runtime: FakeRuntime,
    network: FakeNetwork,
    servers: Vec<FakeRedis>,
    manager: RedisManager,
    shared: SharedClient,
}

impl NameScene {
    fn begin(seed: u64) -> Self {
        let runtime = FakeRuntime::new(seed);
        let network = FakeNetwork::new(&runtime);
        let start = |number| FakeRedis::start(&network, &format!("server{number}.test")).expect("a free address");
        let servers: Vec<_> = (0..2).map(start).collect();
        servers[1].replicate(Some(&servers[0]));
        network.set_name(NAME, [servers[0].address().ip()]);
        let manager = quiet_builder(2).default_timeout(5 * SECOND).build(network.clone()).expect("valid settings");
        runtime.block_on(manager.add_node_pool(URL)).expect("it answers");
        let shared = runtime.block_on(manager.get_shared_client(URL)).expect("it answers");
        let scene = Self { runtime, network, servers, manager, shared };
        scene.set().expect("it answers");
        scene
    }

    fn set(&self) -> RedisResult<()> {
        self.runtime.block_on(self.shared.clone().set("key", "value"))
    }

    fn lend_and_set(&self) -> RedisResult<()> {
        self.runtime.block_on(async {
            let mut client = self.manager.get_client(URL).await?;
            client.set("key", "value").await
        })
    }

    /// The second server is the primary, and the name is its name.
    fn fail_over(&self) {
        self.servers[1].replicate(None);
        self.network.set_name(NAME, [self.servers[1].address().ip()]);
    }
}

/// Guards against: an address that is kept for as long as the node lives.
#[test]
fn f14_after_a_refused_dial_the_name_is_resolved_again_at_once() {
    for seed in SEEDS {
        let scene = NameScene::begin(seed);
        scene.servers[0].kill();
        scene.runtime.advance(2 * SECOND);
        scene.fail_over();
        let begun_at = scene.runtime.now();
        scene.lend_and_set().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        scene.set().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let took = scene.runtime.now().saturating_duration_since(begun_at);
        assert!(took < 600 * MS, "seed {seed}: {took:?}");
        assert_eq!(scene.servers[1].count_of("SET"), 2, "seed {seed}");
    }
}

/// Guards against: READONLY that renews no connection, and connections that are renewed at the address that is known.
#[test]
fn f14_after_readonly_the_name_is_resolved_again_at_once() {
    for seed in SEEDS {
        let scene = NameScene::begin(seed);
        scene.fail_over();
        scene.servers[0].replicate(Some(&scene.servers[1]));
        let refused = scene.set().expect_err("it is a replica");
        assert_eq!(refused.code(), Some("READONLY"), "seed {seed}: {refused}");
        let begun_at = scene.runtime.now();
        scene.set().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        scene.lend_and_set().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let took = scene.runtime.now().saturating_duration_since(begun_at);
        assert!(took < 50 * MS, "seed {seed}: {took:?}");
        assert_eq!(scene.servers[1].count_of("SET"), 2, "seed {seed}");
        scene.runtime.advance(SECOND);
        assert_eq!(scene.servers[0].host().connections(), 0, "seed {seed}: nothing leads to the former one");
    }
}

/// Guards against: a name that is not asked for again until a pause of its own has passed.
#[test]
fn f14_a_name_that_changes_late_or_is_gone_for_a_while_is_followed_when_it_is_there() {
    for seed in SEEDS {
        let scene = NameScene::begin(seed);
        scene.servers[0].replicate(Some(&scene.servers[1]));
        scene.servers[1].replicate(None);
        scene.set().expect_err("it is a replica");
        // The zone is written anew.
        scene.network.remove_name(NAME);
        scene.runtime.advance(3 * SECOND);
        scene.fail_over();
        let begun_at = scene.runtime.now();
        let mut set = scene.set();
        while set.is_err() && scene.runtime.now().saturating_duration_since(begun_at) < 10 * SECOND {
            scene.runtime.advance(20 * MS);
            set = scene.set();
        }
        let took = scene.runtime.now().saturating_duration_since(begun_at);
        assert!(set.is_ok() && took < 6 * SECOND, "seed {seed}: {set:?} {took:?}");
    }
}
