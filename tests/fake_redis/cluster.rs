//! The fake cluster on the virtual clock: redirections, failovers, partitions, and what is lost by them.

use std::time::Duration;

use redis_manager::testing::{ClusterShape, Failover, FakeCluster, FakeNetwork, FakeRuntime, FakeUser, SlotMigration};

use crate::fake_client::FakeClient;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Slots of these keys in a cluster of three primaries: `b` 3300 (node 0), `{b}` likewise, `c` 7365 (node 1), `a` 15495 (node 2).
fn start(seed: u64, shape: ClusterShape) -> (FakeRuntime, FakeNetwork, FakeCluster) {
    let runtime = FakeRuntime::new(seed);
    let network = FakeNetwork::new(&runtime);
    let cluster = FakeCluster::start(&network, shape).expect("a free name");
    (runtime, network, cluster)
}

/// Seen to bite: with an answer to a key of another node.
#[test]
fn a_node_answers_for_its_slots_and_names_the_owner_of_others() {
    let (_, network, cluster) = start(1, ClusterShape::default());
    let mut first = FakeClient::of(&network, &cluster, 0);
    assert_eq!(first.ask("SET b 1"), "OK");
    assert_eq!(first.ask("SET a 1"), "-MOVED 15495 10.0.0.3:6379");
    assert_eq!(first.ask("MSET b 1 a 2"), "-CROSSSLOT Keys in request don't hash to the same slot");
    assert_eq!(first.ask("MULTI"), "OK");
    assert_eq!(first.ask("GET c"), "-MOVED 7365 10.0.0.2:6379");
    assert_eq!(first.ask("EXEC"), "-EXECABORT Transaction discarded because of previous errors.");
    assert_eq!(first.ask("SELECT 1"), "-ERR SELECT is not allowed in cluster mode");
    let mut replica = FakeClient::of(&network, &cluster, 3);
    assert_eq!(replica.ask("GET b"), "-MOVED 3300 10.0.0.1:6379");
    assert_eq!(replica.ask("READONLY"), "OK");
    assert_eq!(replica.ask("GET b"), "1");
    assert_eq!(replica.ask("SET b 2"), "-MOVED 3300 10.0.0.1:6379");
    assert_eq!(replica.ask("GET a"), "-MOVED 15495 10.0.0.3:6379");
    assert_eq!(replica.ask("READWRITE"), "OK");
    assert_eq!(replica.ask("GET b"), "-MOVED 3300 10.0.0.1:6379");
}

/// Seen to bite: with replicas that never call an election.
#[test]
fn a_primary_that_dies_or_stops_is_replaced_and_comes_back_as_a_replica() {
    for seed in 0..20 {
        for stops in [false, true] {
            let (runtime, network, cluster) = start(seed, ClusterShape::default());
            let begun_at = runtime.now();
            if stops {
                cluster.freeze(0)
            } else {
                cluster.kill(0)
            }
            while cluster.primary_of(0).is_none() && runtime.now() < begun_at + 10 * SECOND {
                runtime.advance(10 * MS);
            }
            assert_eq!(cluster.primary_of(0), Some(3));
            let took = runtime.now().saturating_duration_since(begun_at);
            assert!((1_500 * MS..2_500 * MS).contains(&took), "a timeout, and a delay of 0.5 to 1 s: {took:?}");
            runtime.advance(SECOND);
            let mut second = FakeClient::of(&network, &cluster, 1);
            assert_eq!(second.ask("GET b"), "-MOVED 3300 10.0.0.4:6379");
            if stops {
                cluster.thaw(0)
            } else {
                cluster.restart(0).expect("its address is free")
            }
            runtime.advance(SECOND);
            assert_eq!(cluster.nodes()[0].primary, Some(3));
            let mut old = FakeClient::of(&network, &cluster, 0);
            assert_eq!(old.ask("SET b 1"), "-MOVED 3300 10.0.0.4:6379");
            let mut new = FakeClient::of(&network, &cluster, 3);
            assert_eq!(new.ask("SET b 1"), "OK");
            assert!(cluster.lost_writes().is_empty());
        }
    }
}

/// Seen to bite: with no write counted as lost.
#[test]
fn what_a_failover_loses_is_listed_and_nothing_else() {
    let (runtime, network, cluster) = start(3, ClusterShape::default().replication_delay(50 * MS));
    let mut first = FakeClient::of(&network, &cluster, 0);
    assert_eq!(first.ask("SET b kept"), "OK");
    runtime.advance(100 * MS);
    assert_eq!(first.ask("SET {b}1 lost"), "OK");
    assert_eq!(first.ask("INCR {b}2"), "1");
    assert_eq!(first.ask("GET b"), "kept");
    cluster.kill(0);
    runtime.advance(3 * SECOND);
    let lost = cluster.lost_writes();
    let words = |write: &redis_manager::testing::LostWrite| {
        write.command.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(lost.iter().map(words).collect::<Vec<_>>(), ["SET {b}1 lost", "INCR {b}2"]);
    let mut new = FakeClient::of(&network, &cluster, 3);
    assert_eq!((new.ask("GET b"), new.ask("GET {b}1"), new.ask("GET {b}2")), ("kept".into(), "nil".into(), "nil".into()));
    cluster.restart(0).expect("its address is free");
    runtime.advance(SECOND);
    assert_eq!(cluster.lost_writes(), lost);
    let mut old = FakeClient::of(&network, &cluster, 0);
    old.ask("READONLY");
    assert_eq!(old.ask("GET {b}1"), "nil");
}

/// Seen to bite: with a primary that serves without the majority.
#[test]
fn a_primary_without_the_majority_takes_writes_for_the_timeout_only() {
    let (runtime, network, cluster) = start(4, ClusterShape::default());
    let mut first = FakeClient::of(&network, &cluster, 0);
    cluster.partition(&[&[0], &[1, 2, 3, 4, 5]]);
    runtime.advance(500 * MS);
    assert_eq!(first.ask("SET b lost"), "OK");
    runtime.advance(SECOND);
    assert_eq!(first.ask("SET b late"), "-CLUSTERDOWN The cluster is down");
    runtime.advance(2 * SECOND);
    assert_eq!(cluster.primary_of(3_300), Some(3));
    assert_eq!(cluster.lost_writes().len(), 1);
    cluster.heal();
    runtime.advance(SECOND);
    assert_eq!(first.ask("SET b again"), "-MOVED 3300 10.0.0.4:6379");
    assert_eq!(cluster.lost_writes().len(), 1);
}

/// Seen to bite: with a graceful failover that does not wait for the last writes.
#[test]
fn a_failover_that_is_asked_for_loses_nothing() {
    let (runtime, network, cluster) = start(5, ClusterShape::default().replication_delay(100 * MS));
    let mut first = FakeClient::of(&network, &cluster, 0);
    assert_eq!(first.ask("SET b 1"), "OK");
    let mut replica = FakeClient::of(&network, &cluster, 3);
    assert_eq!(replica.ask("CLUSTER FAILOVER"), "OK");
    runtime.advance(10 * MS);
    assert_eq!(cluster.primary_of(3_300), Some(3));
    assert_eq!(replica.ask("GET b"), "1");
    assert_eq!(first.ask("GET b"), "-MOVED 3300 10.0.0.4:6379");
    assert!(cluster.lost_writes().is_empty());
    assert!(cluster.failover(0, Failover::TakeOver), "it is a replica now");
    runtime.advance(10 * MS);
    assert_eq!(cluster.primary_of(3_300), Some(0));
    assert!(!cluster.failover(0, Failover::Forced), "it is a primary");
}

/// Seen to bite: with a node that goes on telling its former address.
#[test]
fn a_node_with_a_new_address_is_named_there_by_all() {
    let (runtime, network, cluster) = start(6, ClusterShape::default());
    cluster.change_address(0, "10.1.2.3:7000".parse().expect("an address")).expect("free");
    // Dead for less than the timeout, it is still the primary; as such it waits for 2 s.
    runtime.advance(3 * SECOND);
    let mut second = FakeClient::of(&network, &cluster, 1);
    assert_eq!(second.ask("GET b"), "-MOVED 3300 10.1.2.3:7000");
    let mut first = FakeClient::of(&network, &cluster, 0);
    assert_eq!(first.ask("SET b 1"), "OK");
    runtime.advance(10 * MS);
    let mut replica = FakeClient::of(&network, &cluster, 3);
    assert_eq!(replica.ask("READONLY"), "OK");
    assert_eq!(replica.ask("GET b"), "1");
}

/// Seen to bite: with rights that do not look at the subcommand.
#[test]
fn topology_can_be_refused_word_by_word_and_old_servers_have_no_shards() {
    let (_, network, cluster) = start(7, ClusterShape::default().version("6.2.14"));
    let refused = ["CLUSTER|SLOTS".to_owned(), "CLUSTER|NODES".to_owned()].into();
    cluster.node(0).set(|behaviour| {
        behaviour.users.insert("ann".to_owned(), FakeUser { refused, ..FakeUser::default() });
    });
    let mut client = FakeClient::of(&network, &cluster, 0);
    let unknown = "-ERR Unknown subcommand or wrong number of arguments for 'SHARDS'. Try CLUSTER HELP.";
    assert_eq!(client.ask("CLUSTER SHARDS"), unknown);
    assert_eq!(client.ask("AUTH ann x"), "OK");
    let no_rights = |word: &str| format!("-NOPERM this user has no permissions to run the 'cluster|{word}' command");
    assert_eq!(client.ask("CLUSTER SLOTS"), no_rights("slots"));
    assert_eq!(client.ask("CLUSTER NODES"), no_rights("nodes"));
    assert_eq!(client.ask("CLUSTER MYID").len(), 40);
    assert_eq!(client.ask("SET b 1"), "OK");
}

/// Seen to bite: with moves of database 0 only.
#[test]
fn clusters_with_several_databases_move_all_of_them() {
    let (_, network, cluster) = start(8, ClusterShape::default().databases(16));
    let mut first = FakeClient::of(&network, &cluster, 0);
    assert_eq!(first.ask("SELECT 7"), "OK");
    assert_eq!(first.ask("SET b 7"), "OK");
    assert_eq!(first.ask("SELECT 16"), "-ERR DB index is out of range");
    cluster.move_slots(3_300..=3_300, 1, SlotMigration::Atomic);
    let mut second = FakeClient::of(&network, &cluster, 1);
    assert_eq!(second.ask("GET b"), "nil");
    assert_eq!(second.ask("SELECT 7"), "OK");
    assert_eq!(second.ask("GET b"), "7");
}

/// Seen to bite: with a node that has failed only when all others say so.
#[test]
fn a_cluster_of_60_nodes_fails_over_although_some_cannot_vote() {
    let (runtime, _, cluster) = start(9, ClusterShape::default().primaries(30));
    cluster.freeze(5);
    cluster.kill(20);
    runtime.advance(3 * SECOND);
    assert_eq!((cluster.primary_of(16_384 / 30 * 5 + 100), cluster.primary_of(16_384 / 30 * 20 + 100)), (Some(35), Some(50)));
    assert!(cluster.nodes().iter().filter(|node| node.is_running).all(|node| node.is_ok));
}
