//! Users who may ask in one of the words for the topology only, databases other than 0, and shards that refuse a part.

use redis_manager::redis::{self, AsyncCommands, RedisResult};
use redis_manager::testing::{FakeCluster, FakeNetwork, FakeRuntime, FakeUser};
use redis_manager::{ClusterArgs, Health, RedisManager};

use crate::cluster::cluster_story::{CLUSTER, SEEDS, StoryCluster, StoryWriter, slow_shape};
use crate::story::SECOND;

/// Guards against: one of the three words taken for necessary.
#[test]
fn k1_a_user_may_be_allowed_to_ask_in_one_of_three_words_only() {
    for (seed, allowed) in SEEDS.zip(["SLOTS", "SHARDS", "NODES"].into_iter().cycle()) {
        let runtime = FakeRuntime::new(seed);
        let network = FakeNetwork::new(&runtime);
        let cluster = FakeCluster::start(&network, slow_shape()).expect("a free name");
        let refused = ["SLOTS", "SHARDS", "NODES"].iter().filter(|word| **word != allowed);
        let refused = refused.map(|word| format!("CLUSTER|{word}")).collect();
        let user = FakeUser { passwords: vec![String::from("planted")], refused, ..FakeUser::default() };
        for number in 0..6 {
            cluster.node(number).set(|behaviour| drop(behaviour.users.insert(String::from("app"), user.clone())));
        }
        let manager = RedisManager::builder().build(network.clone()).expect("valid settings");
        let urls = cluster.urls().into_iter().map(|url| url.replace("redis://", "redis://app:planted@"));
        let args = ClusterArgs::default().topology_refresh_interval(SECOND);
        let node = runtime.block_on(manager.add_cluster(CLUSTER, urls, args)).expect("one word is enough");
        let story = StoryCluster { runtime, network, cluster, manager, node };
        let keys: Vec<_> = (0..3).map(|number| story.key_of(number)).collect();
        let writers: Vec<_> = keys.iter().map(|key| story.writer(key)).collect();
        // A replica that has not got any write yet is in no reply to SLOTS.
        story.runtime.advance(3 * SECOND);
        let status = story.manager.cluster_status(CLUSTER).expect("it was added");
        assert_eq!((status.health, status.nodes.len()), (Health::Up, 6), "seed {seed}, {allowed}: {status:?}");
        story.cluster.kill(0);
        story.runtime.advance(8 * SECOND);
        let errors: Vec<_> = writers.iter().flat_map(StoryWriter::errors).collect();
        writers.iter().for_each(StoryWriter::look);
        story.runtime.advance(SECOND);
        assert!(writers.iter().all(|writer| writer.first_success().is_some()), "seed {seed}, {allowed}: {errors:?}");
        let status = story.manager.cluster_status(CLUSTER).expect("it was added");
        assert_eq!((status.health, status.living_slots), (Health::Up, 16_384), "seed {seed}, {allowed}: {status:?}");
    }
}

/// Guards against: commands of a database other than the one of the URL, on any connection.
#[test]
fn k1_a_database_other_than_0_is_selected_on_every_connection_of_every_node() {
    for seed in SEEDS {
        let runtime = FakeRuntime::new(seed);
        let network = FakeNetwork::new(&runtime);
        let cluster = FakeCluster::start(&network, slow_shape().databases(4).version("9.0.0")).expect("a free name");
        let manager = RedisManager::builder().build(network.clone()).expect("valid settings");
        let urls: Vec<_> = cluster.urls().into_iter().map(|url| format!("{url}/2")).collect();
        let node = runtime.block_on(manager.add_cluster(CLUSTER, urls, ClusterArgs::default())).expect("the server allows it");
        let story = StoryCluster { runtime, network, cluster, manager, node };
        let mut client = story.client();
        for number in 0..3 {
            let key = story.key_of(number);
            let () = story.runtime.block_on(client.set(&key, number)).expect("it answers");
            let mut leased = story.runtime.block_on(story.manager.get_client_for_key(CLUSTER, &key)).expect("it is up");
            let found: usize = story.runtime.block_on(leased.get(&key)).expect("it answers");
            assert_eq!(found, number, "seed {seed}");
            let () = story.runtime.block_on(redis::cmd("SELECT").arg(0).exec_async(&mut leased)).expect("it answers");
            let absent: Option<usize> = story.runtime.block_on(leased.get(&key)).expect("it answers");
            assert_eq!(absent, None, "seed {seed}: it is in the database 2 only");
            drop(leased);
            let mut again = story.runtime.block_on(story.manager.get_client_for_key(CLUSTER, &key)).expect("it is up");
            let found: usize = story.runtime.block_on(again.get(&key)).expect("it answers");
            assert_eq!(found, number, "seed {seed}: it is selected again");
        }
        let count: u64 = story.runtime.block_on(redis::cmd("DBSIZE").query_async(&mut client)).expect("it answers");
        assert_eq!(count, 3, "seed {seed}");
    }
}

/// Guards against: a part that is refused as the end of the client.
#[test]
fn k6_a_client_goes_on_after_a_shard_has_refused_its_part() {
    let words = [
        "-NOPERM no",
        "-CLUSTERDOWN Hash slot not served",
        "-OOM no",
        "-ERR odd",
        "-LOADING Redis is loading the dataset in memory",
    ];
    for (seed, words) in SEEDS.zip(words.into_iter().cycle()) {
        let story = StoryCluster::begin(seed);
        let keys: Vec<_> = (0..3).map(|number| story.key_of(number)).collect();
        let mut client = story.client();
        let pairs: Vec<_> = keys.iter().map(|key| (key, 1)).collect();
        let () = story.runtime.block_on(client.mset(&pairs)).expect("all of them");
        story.cluster.node(1).set(|behaviour| {
            behaviour.script =
                Some(Box::new(move |command| (command[0] == b"MGET").then(|| format!("{words}\r\n").into_bytes())));
        });
        for _ in 0..3 {
            let (told, took) = story.timed(async { client.mget::<_, Vec<Option<u64>>>(&keys).await });
            let error = told.expect_err("a shard refuses");
            let code = words.trim_start_matches('-').split(' ').next().expect("a word");
            assert_eq!(error.code(), Some(code), "seed {seed}: {error}");
            assert!(took <= 5 * SECOND, "seed {seed}: {took:?}");
            let (told, took) = story.timed(async { client.get::<_, u64>(&keys[1]).await });
            assert!(told == Ok(1) && took < SECOND, "seed {seed}: {told:?} after {took:?}");
        }
        story.cluster.node(1).set(|behaviour| behaviour.script = None);
        let told: RedisResult<Vec<u64>> = story.runtime.block_on(client.mget(&keys));
        assert_eq!(told, Ok(vec![1, 1, 1]), "seed {seed}");
        assert_eq!(story.node.status().health, Health::Up, "seed {seed}");
    }
}
