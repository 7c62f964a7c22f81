//! How nodes are named: addresses, host names, nothing at all, IPv6, and everything at new addresses at once.

use std::net::SocketAddr;

use redis_manager::redis::{AsyncCommands, RedisResult};
use redis_manager::testing::{ClusterShape, FakeCluster, FakeNetwork, FakeRuntime, PreferredEndpoint, SlotMigration};
use redis_manager::{ClusterArgs, Health, RedisManager};
use redis_manager_tests::cluster::slot_of;

use crate::cluster::cluster_story::{CLUSTER, SEEDS, StoryCluster, slow_shape};
use crate::story::{MS, SECOND};

/// A cluster whose nodes were moved to these addresses before anything was added.
fn moved_story(seed: u64, shape: ClusterShape, address: impl Fn(usize) -> SocketAddr) -> StoryCluster {
    let runtime = FakeRuntime::new(seed);
    let network = FakeNetwork::new(&runtime);
    let cluster = FakeCluster::start(&network, shape).expect("a free name");
    for number in 0..6 {
        cluster.change_address(number, address(number)).expect("a free address");
    }
    runtime.advance(5 * SECOND);
    let manager = RedisManager::builder().build(network.clone()).expect("valid settings");
    let urls = cluster.urls().split_off(2);
    let node = runtime.block_on(manager.add_cluster(CLUSTER, urls, ClusterArgs::default()));
    let node = node.unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error).map(ToString::to_string)));
    StoryCluster { runtime, network, cluster, manager, node }
}

/// Writes to every shard, also to slots that have just moved, gradually and at once; the nodes are called so.
fn assert_serves(story: &StoryCluster, seed: u64, names: impl Fn(usize) -> String) {
    let mut client = story.client();
    let status = story.manager.cluster_status(CLUSTER).expect("it was added");
    let mut called: Vec<_> = status.nodes.iter().map(|node| node.address.clone()).collect();
    let mut expected: Vec<_> = (0..6).map(names).collect();
    called.sort_unstable();
    expected.sort_unstable();
    assert_eq!((called, status.health), (expected, Health::Up), "seed {seed}");
    for number in 0..3 {
        let key = story.key_of(number);
        let to = (number + 1) % 3;
        for how in [SlotMigration::Gradual(20 * MS), SlotMigration::Atomic] {
            let (other, tagged) = (format!("{{{key}}}:1"), format!("{{{key}}}:2"));
            let told: RedisResult<()> = story.runtime.block_on(client.mset(&[(&key, 1), (&other, 1)]));
            assert!(told.is_ok(), "seed {seed}: {told:?}");
            let to = if matches!(how, SlotMigration::Atomic) { number } else { to };
            story.cluster.move_slots(slot_of(&key)..=slot_of(&key), to, how);
            story.runtime.advance(25 * MS);
            // It is on its way, or has moved.
            let told: RedisResult<()> = story.runtime.block_on(client.set(&tagged, 2));
            assert!(told.is_ok(), "seed {seed}, {how:?}: {told:?}");
            let told: RedisResult<Vec<Option<u64>>> = story.runtime.block_on(client.mget(&[&key, &other]));
            assert_eq!(told.ok(), Some(vec![Some(1), Some(1)]), "seed {seed}, {how:?}");
            story.runtime.advance(200 * MS);
            assert_eq!(story.cluster.primary_of(slot_of(&key)), Some(to), "seed {seed}");
        }
    }
    let status = story.manager.cluster_status(CLUSTER).expect("it was added");
    assert_eq!(status.nodes.len(), 6, "seed {seed}: nobody is known by two names: {status:?}");
}

/// Guards against: endpoints that are empty, null or names taken for what they are not.
#[test]
fn k1_every_preferred_endpoint_is_understood() {
    for seed in SEEDS {
        let story = StoryCluster::begin(seed);
        let addresses = story.cluster.addresses();
        assert_serves(&story, seed, |number| addresses[number].to_string());
        let shape = slow_shape().preferred_endpoint(PreferredEndpoint::Hostname).announce_hostnames(true);
        let story = StoryCluster::begin_with(seed, shape, ClusterArgs::default(), |builder| builder);
        assert_serves(&story, seed, |number| format!("node-{number}.cluster.test:6379"));
        // The same host as the one that was asked, with another port: behind one balancer or tunnel.
        let shape = slow_shape().preferred_endpoint(PreferredEndpoint::UnknownEndpoint);
        let place = |number: usize| SocketAddr::from(([10, 7, 0, 1], 7_000 + u16::try_from(number).expect("six")));
        let story = moved_story(seed, shape, place);
        assert_serves(&story, seed, |number| place(number).to_string());
    }
}

/// Guards against: the last colon of an address taken for the first one, and brackets.
#[test]
fn k1_ipv6_addresses_are_understood() {
    for seed in SEEDS {
        let place =
            |number: usize| SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, 1 + u16::try_from(number).expect("six")], 7_000));
        let story = moved_story(seed, slow_shape(), place);
        assert_serves(&story, seed, |number| format!("fd00::{}:7000", number + 1));
    }
}

/// Everything is at new addresses at once, and one startup name still leads somewhere.
///
/// Guards against: addresses that are gone asked one after the other before the names, and names resolved once.
#[test]
fn k1_a_cluster_at_new_addresses_is_found_by_any_startup_name_within_seconds() {
    for (seed, led) in SEEDS.zip([0, 4].into_iter().cycle()) {
        let shape = slow_shape();
        let runtime = FakeRuntime::new(seed);
        let network = FakeNetwork::new(&runtime);
        let cluster = FakeCluster::start(&network, shape).expect("a free name");
        let manager = RedisManager::builder().build(network.clone()).expect("valid settings");
        let urls = (0..6).map(|number| format!("redis://node-{number}.cluster.test:6379"));
        let node = runtime.block_on(manager.add_cluster(CLUSTER, urls, ClusterArgs::default())).expect("it answers");
        let story = StoryCluster { runtime, network, cluster, manager, node };
        let key = story.key_of(1);
        let mut client = story.client();
        let writer = story.writer(&key);
        story.runtime.advance(3 * SECOND);
        for number in 0..6 {
            let address = SocketAddr::from(([10, 8, 0, 1 + u8::try_from(number).expect("six")], 6_379));
            story.cluster.change_address(number, address).expect("a free address");
        }
        (0..6)
            .filter(|number| *number != led)
            .for_each(|number| story.network.remove_name(&format!("node-{number}.cluster.test")));
        // A primary that starts takes no commands for two seconds.
        story.runtime.advance(2_500 * MS);
        writer.look();
        story.runtime.advance(3 * SECOND);
        assert!(writer.first_success().is_some(), "seed {seed}: {:?}", writer.errors().last());
        let told: RedisResult<()> = story.runtime.block_on(client.set(story.key_of(2), 1));
        assert!(told.is_ok(), "seed {seed}: {told:?}");
        let status = story.manager.cluster_status(CLUSTER).expect("it was added");
        let is_new = status.nodes.iter().all(|node| node.address.starts_with("10.8.0."));
        assert!(is_new && status.health == Health::Up, "seed {seed}: {status:?}");
        drop((client, writer));
        story.runtime.advance(10 * SECOND);
        story.end();
    }
}
