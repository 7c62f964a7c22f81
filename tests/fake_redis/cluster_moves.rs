//! Slots, nodes and clients of a fake cluster that move: ASK, bursts of MOVED, new and removed nodes, and who is told.

use std::time::Duration;

use redis_manager::testing::{ClusterShape, FakeCluster, FakeNetwork, FakeRuntime, SlotMigration};

use crate::fake_client::{FakeClient, plain};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn start(seed: u64) -> (FakeRuntime, FakeNetwork, FakeCluster) {
    let runtime = FakeRuntime::new(seed);
    let network = FakeNetwork::new(&runtime);
    let cluster = FakeCluster::start(&network, ClusterShape::default()).expect("a free name");
    (runtime, network, cluster)
}

/// Seen to bite: with keys that are left where they were.
#[test]
fn a_slot_moves_key_by_key_and_nothing_is_lost() {
    let (runtime, network, cluster) = start(1);
    let mut first = FakeClient::of(&network, &cluster, 0);
    for number in 0..10 {
        assert_eq!(first.ask(&format!("SET {{b}}{number} {number} EX 1000")), "OK");
    }
    cluster.move_slots(3_300..=3_300, 1, SlotMigration::Gradual(10 * MS));
    runtime.advance(55 * MS);
    assert_eq!(cluster.moves_under_way(), 1);
    assert_eq!(first.ask("GET {b}9"), "9");
    assert_eq!(first.ask("GET {b}0"), "-ASK 3300 10.0.0.2:6379");
    assert_eq!(first.ask("MGET {b}0 {b}9"), "-TRYAGAIN Multiple keys request during rehashing of slot");
    let mut second = FakeClient::of(&network, &cluster, 1);
    assert_eq!(second.ask("GET {b}0"), "-MOVED 3300 10.0.0.1:6379");
    assert_eq!(second.ask("ASKING"), "OK");
    assert_eq!(second.ask("GET {b}0"), "0");
    runtime.advance(200 * MS);
    assert_eq!(cluster.moves_under_way(), 0);
    assert_eq!(cluster.primary_of(3_300), Some(1));
    assert_eq!(first.ask("GET {b}0"), "-MOVED 3300 10.0.0.2:6379");
    for number in 0..10 {
        assert_eq!(second.ask(&format!("GET {{b}}{number}")), number.to_string());
        assert_eq!(second.ask(&format!("TTL {{b}}{number}")), "1000");
    }
    let mut third = FakeClient::of(&network, &cluster, 2);
    assert_eq!(third.ask("GET b"), "-MOVED 3300 10.0.0.2:6379");
    let mut replica = FakeClient::of(&network, &cluster, 4);
    assert_eq!(replica.ask("READONLY"), "OK");
    assert_eq!(replica.ask("GET {b}3"), "3");
    assert!(cluster.lost_writes().is_empty());
}

/// Seen to bite: with an ASK on the way.
#[test]
fn slots_move_at_one_instant_with_their_keys() {
    let (runtime, network, cluster) = start(2);
    let (mut first, mut third) = (FakeClient::of(&network, &cluster, 0), FakeClient::of(&network, &cluster, 2));
    assert_eq!(first.ask("SET b 1"), "OK");
    assert_eq!(first.ask("SET {b}x 1"), "OK");
    cluster.move_slots(0..=5_000, 2, SlotMigration::Atomic);
    assert_eq!(first.ask("GET b"), "-MOVED 3300 10.0.0.3:6379");
    assert_eq!(first.ask("GET nothing{b}"), "-MOVED 3300 10.0.0.3:6379");
    assert_eq!(third.ask("MGET b {b}x"), "[1, 1]");
    assert_eq!(first.ask("DBSIZE"), "0");
    runtime.advance(10 * MS);
    assert_eq!(cluster.nodes()[0].slots, [5_001..=5_460]);
    // The rest: a primary without slots follows the one that has taken the last.
    cluster.move_slots(5_001..=5_460, 2, SlotMigration::Atomic);
    runtime.advance(SECOND);
    assert_eq!((cluster.nodes()[0].primary, cluster.nodes()[3].primary), (Some(2), Some(2)));
}

/// Seen to bite: with a node that the others do not take in.
#[test]
fn nodes_join_and_leave() {
    let (runtime, network, cluster) = start(3);
    let number = cluster.add_node().expect("a free name");
    assert_eq!(number, 6);
    cluster.move_slots(0..=100, number, SlotMigration::Gradual(MS));
    runtime.advance(SECOND);
    assert_eq!(cluster.nodes()[number].slots, [0..=100]);
    let replica = cluster.add_replica(number).expect("a free name");
    runtime.advance(SECOND);
    assert_eq!(cluster.nodes()[replica].primary, Some(number));
    let mut first = FakeClient::of(&network, &cluster, 0);
    assert_eq!(first.ask("CLUSTER NODES").lines().count(), 8);
    cluster.kill(number);
    runtime.advance(3 * SECOND);
    assert_eq!(cluster.primary_of(50), Some(replica));
    cluster.remove_node(number);
    runtime.advance(SECOND);
    assert_eq!(first.ask("CLUSTER NODES").lines().count(), 7);
    assert_eq!(cluster.addresses().len(), 7);
    cluster.remove_node(replica);
    assert_eq!(first.ask("GET b"), "-CLUSTERDOWN The cluster is down", "slots without an owner");
    cluster.set(None, |settings| settings.require_full_coverage = false);
    assert_eq!(first.ask("GET b"), "nil");
}

/// Seen to bite: with clients that are not told.
#[test]
fn who_waits_or_listens_in_a_slot_that_goes_is_told() {
    let (runtime, network, cluster) = start(4);
    let mut waiter = FakeClient::of(&network, &cluster, 0);
    waiter.send("BLPOP b 0");
    let mut listener = FakeClient::of(&network, &cluster, 0);
    assert_eq!(listener.ask("SSUBSCRIBE b"), "[ssubscribe, b, 1]");
    runtime.advance(MS);
    cluster.move_slots(3_300..=3_300, 1, SlotMigration::Atomic);
    let told = |client: &mut FakeClient| plain(&client.read().expect("it is told"));
    assert_eq!(told(&mut waiter), "-MOVED 3300 10.0.0.2:6379");
    assert_eq!(told(&mut listener), "[sunsubscribe, b, 0]");
}

/// Seen to bite: with messages that stay on their node.
#[test]
fn messages_reach_the_subscribers_of_all_nodes_and_sharded_ones_those_of_the_shard() {
    let (_, network, cluster) = start(5);
    let mut publisher = FakeClient::of(&network, &cluster, 0);
    let mut far = FakeClient::of(&network, &cluster, 5);
    assert_eq!(far.ask("SUBSCRIBE news"), "[subscribe, news, 1]");
    let mut near = FakeClient::of(&network, &cluster, 3);
    assert_eq!(near.ask("SSUBSCRIBE b"), "[ssubscribe, b, 1]");
    assert_eq!(publisher.ask("PUBLISH news hello"), "0");
    assert_eq!(publisher.ask("SPUBLISH b there"), "0");
    assert_eq!(plain(&far.read().expect("a message")), "[message, news, hello]");
    assert_eq!(plain(&near.read().expect("a message")), "[smessage, b, there]");
    assert_eq!(cluster.node(5).publish("news", "from outside"), 1);
    assert_eq!(plain(&far.read().expect("a message")), "[message, news, from outside]");
}

/// Seen to bite: with what a broken move has left counted as safe.
#[test]
fn what_a_move_that_was_broken_off_has_left_behind_is_listed() {
    let (runtime, network, cluster) = start(6);
    let mut first = FakeClient::of(&network, &cluster, 0);
    for number in 0..4 {
        assert_eq!(first.ask(&format!("SET {{b}}{number} {number}")), "OK");
    }
    cluster.move_slots(3_300..=3_300, 1, SlotMigration::Gradual(100 * MS));
    runtime.advance(250 * MS);
    let mut second = FakeClient::of(&network, &cluster, 1);
    assert_eq!(second.ask("ASKING"), "OK");
    assert_eq!(second.ask("SET {b}new 1"), "OK");
    assert!(cluster.lost_writes().is_empty());
    cluster.kill(0);
    runtime.advance(3 * SECOND);
    assert_eq!(cluster.moves_under_way(), 0);
    assert_eq!(cluster.primary_of(3_300), Some(3));
    let keys: Vec<_> = cluster.lost_writes().into_iter().map(|write| write.command[1].escape_ascii().to_string()).collect();
    assert_eq!(keys, ["{b}0", "{b}1", "{b}new"]);
}
