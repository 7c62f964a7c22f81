//! The cluster that other tests stand on: it forms, fails over, moves slots and goes away as it says; no pool is here.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use redis_manager_tests::cluster::{SLOTS, TestCluster, TestClusterNode, key_for_slot, slot_of};

use crate::MS;

/// From the death of a primary to the promotion: the node timeout, up to half of it until it is next pinged, and about a
/// second for the votes; doubled, for a loaded machine.
const PROMOTION: Duration = Duration::from_secs(10);

#[test]
fn a_cluster_forms_within_six_seconds_and_leaves_nothing() {
    let begun_at = Instant::now();
    let cluster = TestCluster::start();
    let took = begun_at.elapsed();
    println!("3 + 3 nodes formed a cluster in {took:?}");
    assert!(took < Duration::from_secs(6), "formed in {took:?}");
    assert_eq!((cluster.nodes().len(), cluster.primaries().len(), cluster.replicas().len()), (6, 3, 3));
    for primary in cluster.primaries() {
        let key = format!("mine:{}", cluster.key_in(&primary));
        assert_eq!(primary.command(&["SET", &key, "v"]), "OK");
        assert_eq!(primary.command(&["CLUSTER", "KEYSLOT", &key]), slot_of(&key).to_string());
        assert_eq!(cluster.primary_of(&key), primary);
        assert_eq!(cluster.replicas_of(&primary), [cluster.replica_of(&primary)]);
        let slots = primary.command(&["CLUSTER", "SLOTS"]);
        assert!(cluster.nodes().iter().all(|node| slots.contains(node.id())), "a client finds all nodes: {slots}");
        assert_eq!(primary.client_count(), 0, "{:?}", primary.client_list());
    }
    assert_eq!(cluster.client_counts().len(), 6);
    assert_nothing_is_left_of(cluster);
}

#[test]
fn a_cluster_goes_away_in_a_panic_with_its_dead_and_frozen_nodes() {
    let cluster = TestCluster::options().primaries(1).replicas(2).start();
    let nodes = cluster.nodes();
    let traces: Vec<_> = nodes.iter().map(trace_of).collect();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        nodes[0].kill();
        nodes[1].stop_process();
        let _cluster = cluster;
        panic!("as a failing test does");
    }));
    assert!(panicked.is_err());
    traces.iter().for_each(assert_is_gone);
}

#[test]
fn after_kill_9_a_replica_is_promoted_and_the_old_primary_comes_back_as_its_replica() {
    promotion_after(TestClusterNode::kill, TestClusterNode::restart);
}

#[test]
fn after_sigstop_a_replica_is_promoted_and_the_old_primary_comes_back_as_its_replica() {
    promotion_after(TestClusterNode::stop_process, TestClusterNode::continue_process);
}

fn promotion_after(hurt: fn(&TestClusterNode), heal: fn(&TestClusterNode)) {
    let cluster = TestCluster::start();
    let old = cluster.owner_of_slot(0);
    let replica = cluster.replica_of(&old);
    let hurt_at = Instant::now();
    hurt(&old);
    assert_eq!(cluster.owner_of_slot(0), old, "nobody has taken over yet");
    let took = cluster.wait_for_promotion(&old).duration_since(hurt_at);
    println!("a replica was promoted {took:?} after its primary was hurt");
    assert!(took > Duration::from_secs(2) && took < PROMOTION, "promoted after {took:?}");
    assert_eq!(cluster.owner_of_slot(0), replica);
    cluster.wait_until_whole();
    heal(&old);
    let healed_at = Instant::now();
    while cluster.replicas_of(&replica) != [old.clone()] {
        assert!(healed_at.elapsed() < PROMOTION, "{old:?} did not become a replica of {replica:?}");
        thread::sleep(10 * MS);
    }
    cluster.wait_until_whole();
    println!("whole again {:?} after the old primary came back", healed_at.elapsed());
    assert_eq!(cluster.primaries().len(), 3);
}

#[test]
fn a_client_sees_ask_and_then_moved_while_slots_move_under_it() {
    let cluster = TestCluster::options().replicas(0).start();
    let (from, to) = (cluster.owner_of_slot(0), cluster.owner_of_slot(SLOTS - 1));
    let done = AtomicBool::new(false);
    let (warm, is_warm) = mpsc::channel();
    let answers = thread::scope(|scope| {
        let client = scope.spawn(|| answers_until(&done, &from, warm));
        is_warm.recv().expect("the client writes each key once");
        let begun_at = Instant::now();
        cluster.move_slots(0..=999, &to);
        println!("1000 slots moved in {:?}", begun_at.elapsed());
        thread::sleep(10 * MS);
        done.store(true, Ordering::SeqCst);
        client.join().expect("the client does not panic")
    });
    let count = |kind| answers.iter().filter(|(other, _)| other == kind).map(|(_, count)| count).sum::<u32>();
    let counts = ["OK", "ASK", "MOVED"].map(|kind| (kind, count(kind)));
    println!("a client under load was answered {counts:?}");
    assert!(counts.iter().all(|(_, count)| *count > 0), "{answers:?}");
    let position = |kind| answers.iter().position(|(other, _)| other == kind);
    assert!(position("OK") < position("ASK") && position("ASK") < position("MOVED"), "{answers:?}");
    assert_eq!(answers.last().map(|(kind, _)| kind.as_str()), Some("MOVED"), "{answers:?}");
    assert_eq!(
        counts.iter().map(|(_, count)| count).sum::<u32>(),
        answers.iter().map(|(_, count)| count).sum::<u32>(),
        "{answers:?}"
    );
    assert_eq!((cluster.owner_of_slot(500), cluster.owner_of_slot(1_000)), (to.clone(), from));
    let key = format!("3:{}", key_for_slot(3));
    assert_eq!((to.command(&["EXISTS", &key]), slot_of(&key)), ("1".to_owned(), 3));
}

/// What a client that writes keys of the first 1 000 slots to this node is answered: kinds of answers in turn, and how many
/// of each came at a time. Once it has written each key, it says so.
fn answers_until(done: &AtomicBool, node: &TestClusterNode, warm: mpsc::Sender<()>) -> Vec<(String, u32)> {
    let client = redis::Client::open(node.url()).expect("a URL");
    let mut connection = client.get_connection().expect("the node is up");
    let keys: Vec<String> = (0..1_000).map(|slot| format!("{slot}:{}", key_for_slot(slot))).collect();
    let mut answers: Vec<(String, u32)> = Vec::new();
    while !done.load(Ordering::SeqCst) {
        for key in &keys {
            let answer: redis::RedisResult<String> = redis::cmd("SET").arg(key).arg("v").query(&mut connection);
            let kind = answer.unwrap_or_else(|error| error.code().unwrap_or("no code").to_owned());
            match answers.last_mut() {
                Some((last, count)) if *last == kind => *count += 1,
                Some(_) | None => answers.push((kind, 1)),
            }
        }
        // Nobody listens after the first time.
        let _ = warm.send(());
    }
    answers
}

#[test]
fn a_slot_stays_half_moved_while_a_closure_runs() {
    let cluster = TestCluster::options().replicas(0).password("secret").require_full_coverage(false).start();
    let (from, to) = (cluster.owner_of_slot(5), cluster.owner_of_slot(SLOTS - 1));
    let keys: Vec<String> = (0..500).map(|n| format!("{n}:{}", key_for_slot(5))).collect();
    for key in &keys {
        assert_eq!(from.command(&["SET", key, key]), "OK");
    }
    let redirection = |kind: &str, key: &str| {
        let reply = from.command(&["GET", key]);
        reply.starts_with(&format!("-{kind} 5 {}", to.address()))
    };
    cluster.move_slots_while(5, &to, || {
        assert_eq!(keys.iter().filter(|key| redirection("ASK", key)).count(), 250);
        assert_eq!(keys.iter().filter(|key| from.command(&["GET", key]) == **key).count(), 250);
        assert!(redirection("ASK", &format!("new:{}", key_for_slot(5))));
        assert!(to.command(&["GET", &keys[0]]).starts_with("-MOVED 5 "), "without ASKING it is not there yet");
    });
    assert!(keys.iter().all(|key| redirection("MOVED", key) && to.command(&["GET", key]) == **key));
    assert_eq!((to.client_count(), from.client_count()), (0, 0), "{:?}", to.client_list());
}

#[test]
fn nodes_are_added_and_removed() {
    let cluster = TestCluster::start();
    let added = cluster.add_node();
    let replica = cluster.add_replica_of(&added);
    assert_eq!((cluster.primaries().len(), cluster.replicas_of(&added)), (4, vec![replica.clone()]));
    cluster.move_slots(100..=199, &added);
    let begun_at = Instant::now();
    // Not one with thousands of slots: Valkey waits for all replicas at each.
    cluster.remove_node(&added);
    println!("a primary with 100 slots was removed in {:?}", begun_at.elapsed());
    assert!(!cluster.nodes().contains(&added));
    assert_eq!(cluster.primaries().len(), 3);
    let slots: usize = cluster.primaries().iter().flat_map(|node| cluster.slots_of(node)).map(|slots| slots.len()).sum();
    assert_eq!(slots, usize::from(SLOTS), "every slot has one primary");
    cluster.remove_node(&replica);
    assert_eq!((cluster.nodes().len(), cluster.replicas().len()), (6, 3));
    assert_nothing_is_left_of(cluster);
}

fn assert_nothing_is_left_of(cluster: TestCluster) {
    let traces: Vec<_> = cluster.nodes().iter().map(trace_of).collect();
    drop(cluster);
    traces.iter().for_each(assert_is_gone);
}

/// The directory of its process, as far as the system shows one, and its own.
fn trace_of(node: &TestClusterNode) -> (PathBuf, PathBuf) {
    let trace = (PathBuf::from(format!("/proc/{}", node.pid())), node.dir().to_owned());
    assert!(trace.1.join("nodes.conf").exists());
    trace
}

fn assert_is_gone((process, dir): &(PathBuf, PathBuf)) {
    // The number may be somebody else's by now.
    let name = fs::read_to_string(process.join("cmdline")).unwrap_or_default();
    assert!(!name.contains("redis-server"), "{process:?} still runs: {name}");
    assert!(!dir.exists(), "{dir:?} is still there");
}
