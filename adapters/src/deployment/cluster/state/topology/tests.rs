use redis::Value;

use super::*;
use crate::deployment::cluster::state::report::{Asked, read_report};

const ONE: &str = "\
aa 127.0.0.1:7001@17001 myself,master - 0 0 1 connected 0-5460\n\
bb 127.0.0.1:7002@17002 master - 0 1 2 connected 5461-10922\n\
cc 127.0.0.1:7003@17003 master - 0 1 3 connected 10923-16383\n\
dd 127.0.0.1:7004@17004 slave aa 0 1 1 connected\n\
ee 127.0.0.1:7005@17005 slave bb 0 1 2 connected\n";

fn report(text: &str) -> TopologyReport {
    let nodes = Value::BulkString(text.as_bytes().to_vec());
    read_report(None, Some(&nodes), None, Asked { address: "127.0.0.1:7001", tls: false }).expect("it is well formed")
}

fn at(seconds: u64) -> Instant {
    Instant::ZERO + std::time::Duration::from_secs(seconds)
}

fn no_node(_: ClusterNodeId) -> bool {
    false
}

fn one() -> Topology {
    let mut topology = Topology::new();
    topology.merge(report(ONE), at(0), no_node);
    topology
}

fn owner(topology: &Topology, slot: u16) -> String {
    topology.node(topology.owner(slot)).map(|node| node.address.to_string()).unwrap_or_default()
}

#[test]
fn k1_a_report_becomes_owners_replicas_and_counts() {
    let topology = one();
    assert_eq!(
        [0, 5460, 5461, 16383].map(|slot| owner(&topology, slot)),
        ["127.0.0.1:7001", "127.0.0.1:7001", "127.0.0.1:7002", "127.0.0.1:7003"]
    );
    let two = topology.find("127.0.0.1:7002").expect("it was reported");
    let replicas: Vec<_> = topology.replicas_of(two).iter().map(|node| &*topology.node(*node).expect("known").address).collect();
    assert_eq!(replicas, ["127.0.0.1:7005"]);
    assert_eq!((topology.covered(), topology.primaries().len(), topology.ranges_of(two)), (16_384, 3, vec![5461..=10922]));
}

/// Seen to bite: with claims that hold whatever their epoch.
#[test]
fn k1_the_claim_with_the_higher_epoch_holds_in_any_order() {
    let fresh = ONE
        .replace(
            "aa 127.0.0.1:7001@17001 myself,master - 0 0 1 connected 0-5460",
            "aa 127.0.0.1:7001@17001 master,fail - 0 0 1 disconnected",
        )
        .replace("slave aa 0 1 1 connected", "myself,master - 0 1 7 connected 0-5460");
    for order in [[ONE, &fresh], [&fresh, ONE]] {
        let mut topology = one();
        order.iter().for_each(|text| topology.merge(report(text), at(1), no_node));
        assert_eq!(owner(&topology, 100), "127.0.0.1:7004", "one that has slept does not turn it back");
        let role = topology.node(topology.owner(100)).map(|node| node.role);
        assert_eq!(role, Some(ClusterRole::Primary), "nor does it make it a replica");
        assert_eq!(topology.covered(), 16_384);
    }
}

/// Seen to bite: with moves that are forgotten at every report.
#[test]
fn k1_a_move_to_a_node_that_no_report_has_is_believed_until_one_that_was_asked_for_afterwards() {
    let mut topology = one();
    assert!(topology.move_slot(0, "127.0.0.1:7009", at(5)));
    assert!(!topology.move_slot(0, "127.0.0.1:7009", at(5)), "it is known");
    let newer = ONE.replace("0 0 1 connected 0", "0 0 20 connected 0");
    topology.merge(report(&newer), at(4), no_node);
    assert_eq!((owner(&topology, 0), topology.covered()), (String::from("127.0.0.1:7009"), 16_384));
    topology.merge(report(&newer), at(6), no_node);
    assert_eq!(owner(&topology, 0), "127.0.0.1:7001");
    assert!(topology.find("127.0.0.1:7009").is_none() && !topology.has_moves());
}

/// The report after slot 100 has moved to the third node.
fn after_the_move() -> String {
    ONE.replace("connected 0-5460", "connected 0-99 101-5460").replace("0 1 3 connected 10923", "0 1 9 connected 100 10923")
}

/// Seen to bite: with moves that are forgotten at every report, and with claims that hold if they are as new as what was known.
#[test]
fn k1_a_report_of_a_node_that_is_behind_does_not_turn_a_move_back_and_one_that_is_newer_does() {
    let mut topology = one();
    assert!(topology.move_slot(100, "127.0.0.1:7003", at(5)));
    for text in [ONE, ONE, &after_the_move(), ONE] {
        topology.merge(report(text), at(6), no_node);
        assert_eq!([99, 100].map(|slot| owner(&topology, slot)), ["127.0.0.1:7001", "127.0.0.1:7003"]);
        assert_eq!(topology.covered(), 16_384);
    }
    assert!(!topology.has_moves(), "a report has shown it");
    let mut twice = one();
    assert!(twice.move_slot(16_000, "127.0.0.1:7001", at(5)) && twice.move_slot(16_000, "127.0.0.1:7002", at(5)));
    twice.merge(report(ONE), at(6), no_node);
    assert_eq!(owner(&twice, 16_000), "127.0.0.1:7002", "the first of its three owners has no newer claim");
    assert!(topology.move_slot(100, "127.0.0.1:7001", at(7)));
    let newer =
        ONE.replace("0 1 2 connected 5461", "0 1 10 connected 100 5461").replace("connected 0-5460", "connected 0-99 101-5460");
    topology.merge(report(&newer), at(8), no_node);
    assert_eq!((owner(&topology, 100), topology.has_moves()), (String::from("127.0.0.1:7002"), false));
}

/// Seen to bite: with a move that holds for ever, and with one that holds for a node that is known to be down.
#[test]
fn k2_a_redirection_that_no_report_confirms_holds_for_ten_seconds_and_only_to_a_node_that_is_well() {
    let told = || {
        let mut topology = one();
        assert!(topology.move_slot(100, "127.0.0.1:7003", at(5)));
        topology
    };
    let mut topology = told();
    topology.merge(report(ONE), at(14), no_node);
    assert_eq!((owner(&topology, 100), topology.has_moves()), (String::from("127.0.0.1:7003"), true));
    topology.merge(report(ONE), at(15), no_node);
    assert_eq!((owner(&topology, 100), topology.has_moves()), (String::from("127.0.0.1:7001"), false));
    let mut topology = told();
    topology.merge(report(&ONE.replace("7003@17003 master -", "7003@17003 master,fail -")), at(6), no_node);
    assert_eq!(owner(&topology, 100), "127.0.0.1:7001", "the other nodes say that it is down");
    let mut topology = told();
    let three = topology.find("127.0.0.1:7003");
    topology.merge(report(ONE), at(4), |node| Some(node) == three);
    assert_eq!(owner(&topology, 100), "127.0.0.1:7003", "the report was asked for before");
    topology.merge(report(ONE), at(6), |node| Some(node) == three);
    assert_eq!(owner(&topology, 100), "127.0.0.1:7001", "it gives no sign of life");
}

/// Seen to bite: with moves that are forgotten at every report, and with the role that the report says.
#[test]
fn k3_a_promotion_holds_against_a_report_of_a_node_that_is_behind() {
    let mut topology = one();
    let (primary, replica) = (topology.owner(0), topology.find("127.0.0.1:7004").expect("known"));
    assert!(topology.promote(replica, primary, at(5)));
    topology.merge(report(ONE), at(6), no_node);
    assert_eq!((topology.ranges_of(replica), topology.covered()), (vec![0..=5460], 16_384));
    assert_eq!(topology.node(replica).map(|node| node.role), Some(ClusterRole::Primary));
    assert_eq!(topology.replicas_of(primary), []);
}

#[test]
fn k1_a_node_that_the_report_does_not_have_is_forgotten_and_its_slots_with_it() {
    let mut topology = one();
    let without: String = ONE.lines().filter(|line| !line.starts_with("cc")).map(|line| format!("{line}\n")).collect();
    topology.merge(report(&without), at(1), no_node);
    assert!(topology.find("127.0.0.1:7003").is_none());
    assert_eq!((topology.owner(16383), topology.covered()), (ClusterNodeId::NONE, 10_923));
}

/// Seen to bite: with the number kept when the address changes.
#[test]
fn k1_a_node_at_a_new_address_is_a_new_node_with_the_slots_of_the_old_one() {
    let mut topology = one();
    let before = topology.owner(0);
    topology.merge(report(&ONE.replace("127.0.0.1:7001", "10.1.1.1:7001")), at(1), no_node);
    assert_eq!(owner(&topology, 0), "10.1.1.1:7001");
    assert!(topology.node(before).is_none() && topology.owner(0) != before);
    assert_eq!(topology.covered(), 16_384);
}

#[test]
fn k3_a_promoted_replica_owns_what_its_primary_owned() {
    let mut topology = one();
    let (primary, replica) = (topology.owner(0), topology.find("127.0.0.1:7004").expect("known"));
    assert!(topology.promote(replica, primary, at(1)));
    assert_eq!((topology.ranges_of(replica), topology.covered()), (vec![0..=5460], 16_384));
    assert!(!topology.promote(replica, primary, at(1)), "it was believed before");
}

/// Seen to bite: with the last one that is reported.
#[test]
fn k1_of_two_nodes_at_one_address_it_is_the_one_that_has_not_failed() {
    let mut topology = one();
    let reborn = ONE.replace("aa 127.0.0.1:7001@17001 myself,master - 0 0 1", "zz 127.0.0.1:7001@17001 myself,master - 0 0 9");
    let gone = "aa 127.0.0.1:7001@17001 master,fail - 0 1 1 disconnected\n";
    for text in [format!("{gone}{reborn}"), format!("{reborn}{gone}")] {
        topology.merge(report(&text), at(1), no_node);
        let node = topology.node(topology.owner(0)).expect("it is known");
        assert_eq!((node.id.as_deref(), node.failed, node.slots), (Some("zz"), false, 5_461), "{text}");
    }
}
