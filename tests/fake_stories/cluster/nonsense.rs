//! Nodes that redirect in circles and reports that cannot be true: each ends with an error, soon, and without a storm.

use redis_manager::redis::{AsyncCommands, RedisResult};
use redis_manager::{AddNodeError, ClusterArgs, Health};

use crate::cluster::cluster_story::{CLUSTER, StoryCluster, slow_shape};
use crate::cluster::hand_made::{HandMadeCluster, bulk, refused, slots};
use crate::story::{MS, SECOND, SEEDS, command, spawn, timed};

/// CLUSTER SLOTS as given, NODES and SHARDS refused, and what else the script says.
fn reports(map: String, more: impl Fn(&str) -> Option<String>) -> impl Fn(&str) -> Option<String> {
    move |words| match words {
        "CLUSTER SLOTS" => Some(map.clone()),
        "CLUSTER NODES" | "CLUSTER SHARDS" => Some(refused()),
        _ => more(words),
    }
}

fn moved_to(place: &'static str) -> impl Fn(&str) -> Option<String> {
    move |words| words.starts_with("GET").then(|| format!("-MOVED 12182 {place}\r\n"))
}

/// Guards against: redirections that are followed for ever, or each on a connection of its own.
#[test]
fn k2_two_nodes_that_send_each_other_the_same_slot_end_by_retries_with_two_dials_or_so() {
    for seed in SEEDS {
        let made = HandMadeCluster::new(seed, 2);
        let map = || slots(&[(0, 16_383, "a.test", 7000)]);
        made.answer(0, reports(map(), moved_to("b.test:7000")));
        made.answer(1, reports(map(), moved_to("a.test:7000")));
        let node = made.add(ClusterArgs::default().retries(16)).expect("it is a cluster");
        let mut client = made.runtime.block_on(node.get_shared_client()).expect("it is up");
        let (told, took) = timed(&made.runtime, client.get::<_, Option<String>>("foo"));
        let error = told.expect_err("it is nowhere");
        assert_eq!(error.code(), Some("MOVED"), "seed {seed}: {error}");
        assert!(took < SECOND, "seed {seed}: {took:?}");
        let asked = made.count_of(0, "GET foo") + made.count_of(1, "GET foo");
        assert_eq!(asked, 17, "seed {seed}: once, and 16 times more");
        let dials = made.dials();
        for _ in 0..50 {
            let told: RedisResult<Option<String>> = made.runtime.block_on(client.get("foo"));
            assert!(told.is_err(), "seed {seed}");
        }
        assert!(made.dials() <= dials + 2, "seed {seed}: {} dials", made.dials() - dials);
        let reports = made.count_of(0, "CLUSTER SLOTS") + made.count_of(1, "CLUSTER SLOTS");
        assert!(reports <= 12, "seed {seed}: {reports} questions");
        drop((client, node));
        made.end();
    }
}

/// Guards against: one dial for each request that is sent to where nobody is.
#[test]
fn k2_a_redirection_to_an_address_that_answers_nobody_ends_by_the_deadline_without_a_storm() {
    // One that refuses, one that does not exist, one that takes the dial and is silent.
    for (seed, place) in SEEDS.zip(["b.test:7001", "nowhere.test:7000", "b.test:7000"].into_iter().cycle()) {
        let made = HandMadeCluster::new(seed, 2);
        made.nodes[1].freeze();
        made.answer(0, reports(slots(&[(0, 16_383, "a.test", 7000)]), moved_to(place)));
        let node = made.add(ClusterArgs::default()).expect("it is a cluster");
        let mut client = made.runtime.block_on(node.get_shared_client()).expect("it is up");
        let (told, took) = timed(&made.runtime, client.get::<_, Option<String>>("foo"));
        assert!(told.is_err() && took <= 5 * SECOND, "seed {seed}, {place}: {took:?}");
        for number in 0..100 {
            let mut client = client.clone();
            made.network.runtime().settle();
            drop(spawn(&made.network, async move {
                let told: RedisResult<Option<String>> = client.get("foo").await;
                told.map(|_| number)
            }));
        }
        let dials = made.dials();
        made.runtime.advance(15 * SECOND);
        let (all, there) = (made.dials() - dials, made.nodes[1].host().connections_made());
        // To a node that is silent, and was never seen to fail, a pool dials as often as it has callers, up to its limit of 50.
        assert!(all <= 80 + 50, "seed {seed}, {place}: {all} dials, {there} there");
        let (told, took) = timed(&made.runtime, async { command("SET other 1").query_async::<String>(&mut client).await });
        assert!(told.is_ok() && took < 2 * SECOND, "seed {seed}, {place}: other slots are served: {took:?} {told:?}");
        drop((client, node));
        made.end();
    }
}

/// Guards against: text behind MOVED and ASK taken as it is.
#[test]
fn k2_a_malformed_redirection_ends_by_the_deadline() {
    let malformed = [
        "MOVED",
        "MOVED 12182",
        "MOVED 12182 :0",
        "ASK 12182 b.test",
        "MOVED x a.test:7000",
        "ASK",
        "MOVED 99999 a.test:7000",
        "ASK 1 a b:c",
    ];
    for (seed, words) in SEEDS.zip(malformed) {
        let made = HandMadeCluster::new(seed, 1);
        let answer = move |asked: &str| asked.starts_with("GET").then(|| format!("-{words}\r\n"));
        made.answer(0, reports(slots(&[(0, 16_383, "a.test", 7000)]), answer));
        let node = made.add(ClusterArgs::default()).expect("it is a cluster");
        let mut client = made.runtime.block_on(node.get_shared_client()).expect("it is up");
        let dials = made.dials();
        let (told, took) = timed(&made.runtime, client.get::<_, Option<String>>("foo"));
        assert!(told.is_err() && took <= 5 * SECOND, "seed {seed}, {words}: {took:?}, {told:?}");
        let asked = made.count_of(0, "GET foo");
        assert!(asked <= 100, "seed {seed}, {words}: asked {asked} times");
        assert!(made.dials() <= dials + 2, "seed {seed}, {words}");
        let told: RedisResult<String> = made.runtime.block_on(command("SET foo 1").query_async(&mut client));
        assert!(told.is_ok(), "seed {seed}, {words}: {told:?}");
    }
}

/// Guards against: maps that cannot be true believed in part.
#[test]
fn k1_a_report_that_cannot_be_true_is_refused_and_says_why() {
    let a = "a.test";
    let twice = |first: &str, other: &str| {
        let entry =
            |from: i64, to: i64, id: &str| format!("*3\r\n:{from}\r\n:{to}\r\n*3\r\n{}:7000\r\n{}", bulk("a.test"), bulk(id));
        format!("*2\r\n{}{}", entry(0, 99, first), entry(100, 16_383, other))
    };
    let cases = [
        (slots(&[(0, 9_000, a, 7000), (8_000, 16_383, "b.test", 7000)]), "it reports slot 8000 twice"),
        (slots(&[(0, 16_384, a, 7000)]), "it reports the slots 0 to 16384, and there are 0 to 16383"),
        (slots(&[(-1, 5, a, 7000)]), "it reports the slots -1 to 5"),
        (slots(&[(5, 1, a, 7000)]), "it reports the slots 5 to 1"),
        (slots(&[(0, 16_383, a, 0)]), "it reports the port 0 of a.test"),
        (slots(&[(0, 16_383, a, 70_000)]), "it reports the port 70000 of a.test"),
        (twice("one", "other"), "it reports a.test:7000 twice, as one and as other"),
        (String::from("*0\r\n"), "it reports no nodes"),
        (String::from("+OK\r\n"), "its reply to CLUSTER SLOTS has an unexpected form"),
        (String::from("*1\r\n*2\r\n:0\r\n:16383\r\n"), "it reports no nodes"),
        (String::from("*1\r\n:7\r\n"), "its reply to CLUSTER SLOTS has an unexpected form"),
        (slots(&[(0, 16_382, a, 7000)]), "1 slots of the cluster have no owner"),
    ];
    for (seed, (map, why)) in (0_u64..).zip(cases) {
        let made = HandMadeCluster::new(seed, 1);
        made.answer(0, reports(map, |_| None));
        let (told, took) = timed(&made.runtime, async {
            made.manager.add_cluster(CLUSTER, ["redis://a.test:7000"], ClusterArgs::default()).await
        });
        let error = told.expect_err(why);
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(error.to_string().contains(why) || cause.contains(why), "{why}: {error}: {cause}");
        assert!(matches!(error, AddNodeError::NoHealthyPools { .. }) && took <= 2 * SECOND, "{why}: {took:?}");
        assert!(made.dials() <= 20, "{why}: {} dials", made.dials());
        made.end();
    }
}

/// Guards against: a bad report of one node that undoes what is known.
#[test]
fn k1_a_report_that_cannot_be_true_leaves_what_is_known() {
    for seed in SEEDS {
        let args = ClusterArgs::default().topology_refresh_interval(500 * MS);
        let story = StoryCluster::begin_with(seed, slow_shape(), args, |builder| builder);
        let mut client = story.client();
        story.cluster.node(0).set(|behaviour| {
            behaviour.script = Some(Box::new(|words| {
                (words.len() == 2 && words[0] == b"CLUSTER")
                    .then(|| slots(&[(0, 9, "x.test", 1), (5, 16_383, "y.test", 0)]).into_bytes())
            }));
        });
        for _ in 0..20 {
            story.runtime.advance(300 * MS);
            let told: RedisResult<()> = story.runtime.block_on(client.set(story.key_of(1), 1));
            assert!(told.is_ok(), "seed {seed}: {told:?}");
        }
        let status = story.manager.cluster_status(CLUSTER).expect("it was added");
        assert_eq!((status.health, status.nodes.len()), (Health::Up, 6), "seed {seed}");
    }
}

/// Guards against: a refused user told as a silent node.
#[test]
fn k1_a_user_who_may_ask_for_nothing_is_told_so() {
    let made = HandMadeCluster::new(1, 1);
    made.answer(0, |words| words.starts_with("CLUSTER").then(refused));
    let error = made.add(ClusterArgs::default()).expect_err("it may not ask");
    let told = format!("{error}: {:?}", std::error::Error::source(&error).map(ToString::to_string));
    assert!(told.contains("no permissions"), "{told}");
}
