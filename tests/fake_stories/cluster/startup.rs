//! The nodes that a cluster is found by: some are dead, some are the same, some are of another cluster.

use redis_manager::redis::{AsyncCommands, RedisResult};
use redis_manager::testing::FakeCluster;
use redis_manager::{ClusterArgs, Health, RedisManager};

use crate::cluster::cluster_story::{SEEDS, StoryCluster, slow_shape};
use crate::story::{MS, SECOND, timed};

/// Startup nodes of two clusters are one mistake: the answer is one of the two, not a mixture that changes with each question.
#[test]
fn k1_startup_nodes_of_two_clusters_make_one_of_them() {
    for seed in SEEDS {
        let story = StoryCluster::begin(seed);
        let other = FakeCluster::start(&story.network, slow_shape().name("other.test")).expect("a free name");
        let manager = RedisManager::builder().build(story.network.clone()).expect("valid settings");
        let urls = [story.cluster.urls().remove(0), other.urls().remove(0)];
        let args = ClusterArgs::default().topology_refresh_interval(500 * MS);
        let node = story.runtime.block_on(manager.add_cluster("both", urls, args)).expect("each is one");
        let mut client = story.runtime.block_on(node.get_shared_client()).expect("it is up");
        let mut seen = std::collections::BTreeSet::new();
        for number in 0..20 {
            story.runtime.advance(300 * MS);
            let told: RedisResult<()> = story.runtime.block_on(client.set(format!("key:{number}"), 1));
            assert!(told.is_ok(), "seed {seed}: {told:?}");
            let status = manager.cluster_status("both").expect("it was added");
            assert_eq!((status.health, status.nodes.len()), (Health::Up, 6), "seed {seed}: {status:?}");
            seen.insert(status.nodes[0].address.clone());
        }
        assert_eq!(seen.len(), 1, "seed {seed}: {seen:?}");
    }
}

/// Guards against: dead startup nodes that are waited for one after the other.
#[test]
fn k1_one_startup_node_that_lives_is_enough() {
    for seed in SEEDS {
        let story = StoryCluster::begin(seed);
        let manager = RedisManager::builder().build(story.network.clone()).expect("valid settings");
        let mut urls: Vec<String> = (0..20).map(|number| format!("redis://gone-{number}.test:7000")).collect();
        for number in 0..10 {
            // Some do not resolve, some are silent.
            let address = story.network.runtime().now().as_nanos() as u8 ^ number;
            let ip = std::net::IpAddr::from([10, 9, address, number]);
            story.network.set_name(&format!("gone-{number}.test"), [ip]);
            story.network.host((ip, 7000).into()).silence();
        }
        urls.push(story.cluster.urls().remove(2));
        let (told, took) = timed(&story.runtime, manager.add_cluster("one", urls, ClusterArgs::default()));
        assert!(told.is_ok() && took <= 3 * SECOND, "seed {seed}: {took:?}");
    }
}

/// Guards against: a node for each name that it was called by, with pools of its own.
#[test]
fn k1_several_startup_names_behind_one_address_are_one_node() {
    for seed in SEEDS {
        let story = StoryCluster::begin(seed);
        let manager = RedisManager::builder().build(story.network.clone()).expect("valid settings");
        let first = story.cluster.addresses()[0];
        let names: Vec<_> = (0..5).map(|number| format!("alias-{number}.test")).collect();
        names.iter().for_each(|name| story.network.set_name(name, [first.ip()]));
        let urls = names.iter().map(|name| format!("redis://{name}:{}", first.port()));
        let node = story.runtime.block_on(manager.add_cluster("aliases", urls, ClusterArgs::default())).expect("it answers");
        let mut client = story.runtime.block_on(node.get_shared_client()).expect("it is up");
        for number in 0..3 {
            let told: RedisResult<()> = story.runtime.block_on(client.set(story.key_of(number), 1));
            assert!(told.is_ok(), "seed {seed}: {told:?}");
        }
        story.runtime.advance(5 * SECOND);
        let status = manager.cluster_status("aliases").expect("it was added");
        let mut called: Vec<_> = status.nodes.iter().map(|node| node.address.clone()).collect();
        let mut addresses: Vec<_> = story.cluster.addresses().iter().map(ToString::to_string).collect();
        called.sort_unstable();
        addresses.sort_unstable();
        assert_eq!((status.health, called), (Health::Up, addresses), "seed {seed}");
        story.cluster.kill(0);
        story.runtime.advance(8 * SECOND);
        let told: RedisResult<()> = story.runtime.block_on(client.set(story.key_of(3), 1));
        assert!(told.is_ok(), "seed {seed}: {told:?}");
    }
}
