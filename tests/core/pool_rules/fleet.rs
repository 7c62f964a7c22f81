//! Limits across nodes: whatever callers, servers and nodes that come and go do, all nodes together stay within the total,
//! each has its floor, and what comes free reaches whoever has waited longest.

mod histories;
mod world;

use std::sync::Arc;

use redis_manager_core::testing::{FakeRuntime, FakeServer};
use redis_manager_core::{AcquireError, Instant, Lease, Manager, NodeConfig, Spawn, Timer, TotalLimit, WaitPhase};

use crate::support::{MS, SECOND, within};
use world::{Served, cold, fleet, is_at_the_limit, nodes_of};

/// Bites when nothing is kept for a node (`Member::floor`).
#[test]
fn a_node_takes_what_is_left_but_the_floors_of_the_others_are_kept_for_them() {
    let fleet = fleet(1, 3, 6, cold()).with(3);
    // They have no connection at all, and still it is kept for them.
    (1..3).flat_map(|node| fleet.lend(node, 1)).for_each(Lease::discard);
    fleet.runtime.settle();
    assert_eq!(fleet.taken(), 1);
    let first = fleet.lend(0, 4);
    let more = fleet.get(0, SECOND);
    assert!(is_at_the_limit(&more), "{more:?}");
    let words = more.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(words.contains("max_total_connections"), "{words}");
    let before = fleet.runtime.now();
    let others = [fleet.lend(1, 1), fleet.lend(2, 1)];
    assert_eq!(fleet.runtime.now(), before, "their floors were at hand");
    assert_eq!((fleet.taken(), first.len() + others.len()), (6, 6));
    assert!(is_at_the_limit(&fleet.get(1, SECOND)));
}

/// Bites when every node that is asked gives up one (`collect` without what is coming), when a queue is not told to others
/// (`demand` without callers), and when somebody closes for a `try_get`.
#[test]
fn what_idles_is_given_up_to_callers_one_for_each_and_nothing_for_nobody() {
    for seed in 0..20 {
        let fleet = fleet(seed, 3, 7, cold()).with(3);
        drop((fleet.lend(1, 3), fleet.lend(2, 3)));
        fleet.runtime.settle();
        let first = fleet.lend(0, 1);
        assert_eq!(fleet.taken(), 7, "seed {seed}");
        assert!(fleet.manager.try_get("node-0").is_err(), "seed {seed}");
        fleet.runtime.settle();
        assert_eq!((fleet.yielded(1), fleet.yielded(2)), (0, 0), "seed {seed}: nobody waits");
        let before = fleet.runtime.now();
        let second = fleet.lend(0, 1);
        assert_eq!(fleet.runtime.now(), before, "seed {seed}: at once");
        assert_eq!(fleet.yielded(1) + fleet.yielded(2), 1, "seed {seed}: one for one");
        let others = fleet.lend(0, 3);
        assert_eq!((fleet.yielded(1), fleet.yielded(2), fleet.yielded(0)), (2, 2, 0), "seed {seed}");
        assert!(is_at_the_limit(&fleet.get(0, SECOND)), "seed {seed}: the last ones are floors");
        assert_eq!((first.len(), second.len(), others.len()), (1, 1, 3));
        assert_eq!((fleet.yielded(1), fleet.yielded(2)), (2, 2), "seed {seed}");
    }
}

/// Bites when a wait that was given up stays in the books (`leave_line` at any pace), and when returns do not pass by the
/// long way while somebody is short (`put_back` at any pace).
#[test]
fn what_comes_back_goes_to_who_waits_elsewhere_unless_it_has_left() {
    for seed in 0..20 {
        let fleet = fleet(seed, 2, 4, cold()).with(2);
        let (mut held, other) = (fleet.lend(0, 3), fleet.lend(1, 1));
        let served = Served::default();
        fleet.wait(1, SECOND, &served);
        drop(held.pop());
        let before = fleet.runtime.now();
        fleet.runtime.settle();
        assert_eq!((nodes_of(&served), fleet.runtime.now()), (vec![1], before), "seed {seed}: it reaches it at once");
        assert_eq!(fleet.yielded(0), 1, "seed {seed}");
        let cancelled = fleet.runtime.block_on(within(&fleet.runtime, 5 * MS, fleet.manager.get("node-1", SECOND)));
        assert!(cancelled.is_none(), "seed {seed}");
        drop(held);
        fleet.runtime.settle();
        assert_eq!((fleet.yielded(0), other.len()), (1, 1), "seed {seed}: closed for nobody");
    }
}

/// Bites when callers are served by the order of their nodes (`next_served` without `waits_since`), and when a node that
/// closes a connection keeps the place for its own queue, which is younger.
#[test]
fn whoever_waits_longest_is_served_first() {
    for seed in 0..20 {
        let fleet = fleet(seed, 4, 7, cold()).with(4);
        let mut held = fleet.lend(0, 4);
        let floors = [fleet.lend(1, 1), fleet.lend(2, 1), fleet.lend(3, 1)];
        let served = Served::default();
        for node in [3, 1, 2, 1, 0, 3] {
            fleet.wait(node, 60 * SECOND, &served);
            fleet.runtime.advance(MS);
        }
        for (lease, expected) in held.drain(..).zip([vec![3], vec![3, 1], vec![3, 1, 2]]) {
            // A connection that is given back serves its own queue; one that breaks leaves its place to all.
            lease.discard();
            fleet.runtime.settle();
            assert_eq!(nodes_of(&served), expected, "seed {seed}");
        }
        assert_eq!(floors.len(), 3);
    }
}

/// Bites when a node with a queue keeps what comes back in spite of another one's floor (`grant` without `is_yielding`), and
/// when a floor has to wait behind callers (`next_served`).
#[test]
fn a_node_that_is_added_gets_its_floor_from_what_idles_or_comes_back() {
    for seed in 0..20 {
        let fleet = fleet(seed, 4, 4, cold()).with(1);
        let mut held = fleet.lend(0, 3);
        drop(fleet.lend(0, 1));
        let before = fleet.runtime.now();
        assert_eq!((fleet.taken(), fleet.add(1, SECOND)), (4, Ok(())), "seed {seed}");
        assert_eq!((fleet.runtime.now(), fleet.yielded(0)), (before, 1), "seed {seed}: the idle one made room at once");

        let served = Served::default();
        fleet.wait(0, 60 * SECOND, &served);
        let added = fleet.add(2, SECOND);
        assert!(matches!(added, Err(AcquireError::Timeout { phase: WaitPhase::TotalLimit, .. })), "seed {seed}: {added:?}");
        assert_eq!(fleet.runtime.now(), before + SECOND, "seed {seed}: all is on loan until its deadline");

        let lease = held.pop().expect("three are held");
        let runtime = fleet.runtime.clone();
        fleet.watched.spawn(Box::pin(async move {
            runtime.sleep(300 * MS).await;
            drop(lease);
        }));
        assert_eq!(fleet.add(2, SECOND), Ok(()), "seed {seed}");
        assert_eq!(fleet.runtime.now(), before + SECOND + 300 * MS, "seed {seed}");
        assert_eq!(nodes_of(&served), [0; 0], "seed {seed}: a floor comes before callers");
        drop(held.pop());
        fleet.runtime.settle();
        assert_eq!(nodes_of(&served), [0], "seed {seed}: then it is their turn");
    }
}

/// Bites when `join` does not count floors.
#[test]
fn a_node_without_a_floor_is_refused_at_once_in_words_that_name_the_knobs() {
    let fleet = fleet(1, 4, 3, cold()).with(3);
    let refused = fleet.add(3, SECOND).expect_err("three floors are taken");
    assert!(matches!(refused, AcquireError::NoFloorLeft { nodes: 3, max_total_connections: 3, .. }), "{refused:?}");
    let words = refused.to_string();
    assert!(words.contains("max_total_connections is 3") && words.contains("min_connections_per_node, which is 1"), "{words}");
    assert_eq!(fleet.runtime.now(), Instant::ZERO);
    fleet.runtime.block_on(fleet.manager.close_node("node-1", SECOND));
    assert_eq!(fleet.add(3, SECOND), Ok(()), "its floor is free again");
}

/// Bites when a driver that has a new quota is not woken (`Seat::report`), and when a node that closes is not counted to its end.
#[test]
fn a_node_that_closes_leaves_all_to_those_who_wait() {
    for seed in 0..10 {
        let fleet = fleet(seed, 3, 8, cold()).with(3);
        drop(fleet.lend(1, 3));
        let (first, third) = (fleet.lend(0, 4), fleet.lend(2, 1));
        let served = Served::default();
        (0..2).for_each(|_| fleet.wait(2, 60 * SECOND, &served));
        assert_eq!(nodes_of(&served), [2, 2], "seed {seed}: from what idled");
        fleet.wait(2, 60 * SECOND, &served);
        assert_eq!(nodes_of(&served), [2, 2], "seed {seed}: nothing is left");
        fleet.runtime.block_on(fleet.manager.close_node("node-1", SECOND));
        fleet.runtime.settle();
        assert_eq!(nodes_of(&served), [2, 2, 2], "seed {seed}: the last one of the second node");
        assert_eq!((fleet.taken(), fleet.servers[1].connections()), (8, 0), "seed {seed}");

        drop((first, third, served));
    }
}

/// Bites when a queue is not told to others (`demand` without callers).
#[test]
fn what_is_left_of_a_dropped_manager_has_the_total_to_itself() {
    let runtime = FakeRuntime::new(1);
    let servers = [FakeServer::new(&runtime), FakeServer::new(&runtime)];
    let config = cold().build().expect("valid");
    let manager = Manager::with_total_limit(config, TotalLimit::new(4), Arc::new(runtime.clone())).expect("valid");
    for (name, server) in ["a", "b"].into_iter().zip(&servers) {
        runtime.block_on(manager.add(name, SECOND, || server.connector())).expect("the server is up");
    }
    let get = |name| runtime.block_on(manager.get(name, SECOND)).expect("something is left");
    let (held, other) = ([get("a"), get("a"), get("a")], get("b"));
    let kept = manager.node("b").expect("it is there");
    drop(manager);
    drop(held);
    let more: Vec<_> = (0..3).map(|_| runtime.block_on(kept.get_timeout(SECOND)).expect("all is left to it")).collect();
    assert!(runtime.block_on(kept.get_timeout(SECOND)).is_err(), "the total still holds");
    assert_eq!((servers[0].connections(), servers[1].connections()), (0, 4));
    drop((other, more, kept));
    runtime.settle();
    assert_eq!((servers[1].connections(), runtime.tasks()), (0, 0));
}

/// Bites when a node is warm with its whole minimum only (`note_agreement`), and when what nobody waits for is taken from
/// somebody (`collect` with wishes).
#[test]
fn a_minimum_is_kept_as_far_as_the_total_allows_and_is_taken_from_nobody() {
    let fleet = fleet(1, 3, 7, NodeConfig::builder().min_idle(3)).with(3);
    assert_eq!(fleet.taken(), 7);
    let idle: Vec<_> = fleet.manager.status().values().map(|node| node.idle).collect();
    assert_eq!(idle, [3, 3, 1], "the last one has its floor and what was left");
    assert_eq!((0..3).map(|node| fleet.yielded(node)).sum::<usize>(), 0);
    fleet.runtime.block_on(fleet.manager.close_node("node-0", SECOND));
    fleet.runtime.settle();
    let idle: Vec<_> = fleet.manager.status().values().map(|node| node.idle).collect();
    assert_eq!(idle, [3, 3], "what is left now is used");
}

/// Bites when a get that finds an idle connection asks for no more at the quota, and when it asks again and again in vain.
#[test]
fn a_minimum_is_kept_idle_beside_loans_while_the_total_has_some_left() {
    let fleet = fleet(1, 2, 4, NodeConfig::builder().min_idle(1)).with(2);
    let mut held = Vec::new();
    for (lent, idle) in [(1, 1), (2, 1), (3, 0)] {
        held.push(fleet.runtime.block_on(fleet.manager.get("node-0", SECOND)).expect("a connection"));
        fleet.runtime.settle();
        let status = fleet.manager.node("node-0").expect("it was added").status();
        assert_eq!((status.active, status.idle, fleet.taken()), (lent, idle, (lent + idle + 1).min(4)), "{status:?}");
    }
    drop(held);
    fleet.runtime.settle();
    assert!(fleet.taken() <= 4);
}
