//! What a node has counted and timed is what has happened, to the digit.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use redis_manager_core::testing::{FakeMode, FakeRuntime, FakeServer};
use redis_manager_core::{
    AcquireError, CheckOutcome, CloseReason, ConnectionUse, DialFailureKind, Health, Histogram, Manager, NodeConfig, NodeMetrics,
    Timer, WaitPhase,
};

use crate::support::{CountingWaker, MS, Mood, Moody, PoolFixture, SECOND, one_pool, poll_for, within, world, world_of};

/// The buckets that are not empty: their bounds in microseconds, and how many lengths are in each.
fn buckets(histogram: &Histogram) -> Vec<(u128, u64)> {
    let mut before = 0;
    let counts = histogram.buckets().map(|(bound, up_to)| (bound.as_micros(), up_to - std::mem::replace(&mut before, up_to)));
    counts.filter(|(_, count)| *count > 0).collect()
}

/// The metrics, after a look at whether they add up with the status.
#[track_caller]
fn metrics(world: &PoolFixture) -> NodeMetrics {
    let (status, metrics) = world.pool.status_and_metrics();
    assert_eq!(metrics.open(), (status.active + status.idle + status.checking) as u64, "{status} {metrics:?}");
    let ended = metrics.connects.succeeded + metrics.connects.failed.total() + metrics.connects.abandoned;
    assert_eq!(metrics.connects.started, ended + status.connecting as u64, "{status} {metrics:?}");
    assert_eq!(metrics, world.pool.metrics());
    metrics
}

/// Guards against: the mutants of `core/state/metrics` and `core/state/node_state/metering`.
#[test]
fn t3_a_story_of_waits_connects_uses_and_closes_is_counted_and_timed_to_the_digit() {
    let world = world(1, one_pool(1).max_waiters(1).use_time_sampling(1).health_check_interval(SECOND));
    let PoolFixture { runtime, server, pool, .. } = &world;
    let bell = Arc::new(CountingWaker::default());
    let wait = |length: Duration| runtime.block_on(runtime.sleep(length));
    assert_eq!(metrics(&world).connects.started, 0, "nothing is kept warm");

    // A dial of 3 ms, for which the first one waits; a use of 7 ms.
    server.set_connect_latency(3 * MS);
    let lease = world.get();
    wait(7 * MS);
    drop(lease);
    let seen = metrics(&world);
    assert_eq!((seen.acquires.waited, seen.acquires.at_once, seen.returns.idle), (1, 0, 1));
    assert_eq!((buckets(&seen.wait_time), buckets(&seen.connect_time)), (vec![(3_300, 1)], vec![(3_300, 1)]));
    assert_eq!((buckets(&seen.use_time), seen.use_time.sum()), (vec![(10_000, 1)], 7 * MS));
    assert_eq!(seen.time_down, 3 * MS, "until the first dial has succeeded");

    // One that idles is held for 100 ms: a wait of 20 ms in vain, a try in vain, one that finds the queue full, one that leaves.
    let lease = world.get();
    assert!(matches!(world.get_within(20 * MS), Err(AcquireError::Timeout { phase: WaitPhase::LeasesHeld, .. })));
    assert!(pool.try_get().is_err());
    runtime.block_on(async {
        let mut waits = Box::pin(within(runtime, 10 * MS, pool.get()));
        assert!(poll_for(&bell, &mut waits).is_pending());
        assert!(matches!(pool.get().await, Err(AcquireError::Saturated { waiting: 1, .. })));
        assert_eq!(metrics(&world).acquires.pending, 1);
        assert!(waits.await.is_none());
    });
    wait(70 * MS);
    // One waits for 15 ms, and gets the connection from hand to hand.
    let next = runtime.block_on(async {
        let mut next = Box::pin(pool.get());
        assert!(poll_for(&bell, &mut next).is_pending());
        runtime.sleep(15 * MS).await;
        drop(lease);
        next.await.expect("it is the next")
    });
    let seen = metrics(&world);
    assert_eq!((seen.acquires.timed_out.of(WaitPhase::LeasesHeld), seen.acquires.timed_out.total()), (2, 2));
    assert_eq!((seen.acquires.saturated, seen.acquires.cancelled, seen.acquires.pending, seen.most_waiting), (1, 1, 0, 1));
    assert_eq!((seen.acquires.waited, seen.acquires.at_once, seen.returns.handed_over), (2, 1, 1));
    assert_eq!(buckets(&seen.wait_time), [(3_300, 1), (15_000, 1)]);
    assert_eq!((buckets(&seen.use_time), seen.use_time.sum()), (vec![(10_000, 1), (150_000, 1)], 122 * MS));

    // It is discarded. The next dial takes 200 ms, the one after that is refused.
    next.discard();
    server.set_connect_latency(200 * MS);
    drop(world.get());
    wait(3 * SECOND);
    server.kill();
    runtime.settle();
    assert!(matches!(world.get_within(40 * MS), Err(AcquireError::NoHealthyPools { .. })));
    let seen = metrics(&world);
    assert_eq!((seen.closes.of(CloseReason::Discarded), seen.closes.of(CloseReason::Broken), seen.closed()), (1, 1, 2));
    assert_eq!((seen.deaths.of(ConnectionUse::Idle), seen.deaths.total()), (1, 1));
    assert_eq!((seen.acquires.unavailable, seen.acquires.found_broken), (1, 0));
    assert_eq!(buckets(&seen.connect_time), [(3_300, 1), (220_000, 1)]);
    assert_eq!(seen.connects.failed.of(DialFailureKind::Passing), seen.connects.failed.total());
    assert_eq!(seen.connects.started, server.dials().len() as u64);
    assert_eq!(seen.connects.probes, seen.connects.failed.total() - 1 + pool.status().connecting as u64, "the first was none");
    assert_eq!(seen.checks.of(CheckOutcome::Passed), server.checks() as u64);
    assert_eq!((seen.use_time.count(), seen.use_time.sum()), (4, 122 * MS), "two of no length");

    // Down since then, until 500 ms later, at most, a probe finds it.
    let before = seen.time_down;
    wait(300 * MS);
    assert_eq!(metrics(&world).time_down, before + 300 * MS);
    server.set_connect_latency(Duration::ZERO);
    server.set_mode(FakeMode::Up);
    let lease = world.get();
    let seen = metrics(&world);
    assert_eq!([Health::Up, Health::Suspect, Health::Down].map(|health| seen.health_changes.of(health)), [2, 0, 1]);

    // The lease is ended at the deadline of a close, 30 ms later.
    runtime.block_on(pool.close_timeout(30 * MS));
    assert!(matches!(world.get_within(SECOND), Err(AcquireError::Closed { .. })));
    let seen = metrics(&world);
    assert_eq!((seen.closes.of(CloseReason::PoolClosed), seen.open(), seen.acquires.closed), (1, 0, 1));
    assert_eq!((seen.use_time.count(), seen.use_time.sum()), (5, 152 * MS));
    drop(lease);
    assert_eq!(metrics(&world), seen, "it is closed already");
}

/// Guards against: a sample that is one too many, or the first one left out; leases of callers that waited left out.
#[test]
fn t3_one_lease_of_each_so_many_is_timed_and_those_whose_caller_waited_are_counted_apart() {
    for (sampling, at_once, waited) in [(0, 0, 0), (1, 9, 3), (4, 3, 1), (64, 1, 1)] {
        let world = world(2, one_pool(1).use_time_sampling(sampling));
        let get = |hold: Duration| {
            let lease = world.get();
            world.runtime.block_on(world.runtime.sleep(hold));
            lease
        };
        // Each waits for a dial.
        (0..3).for_each(|_| get(10 * MS).discard());
        let seen = world.pool.metrics();
        assert_eq!((seen.acquires.waited, buckets(&seen.use_time).first().copied()), (3, some(10_000, waited)), "{sampling}");
        drop(get(20 * MS));
        (0..9).for_each(|_| drop(get(40 * MS)));
        let seen = world.pool.metrics();
        assert_eq!((seen.acquires.at_once, seen.returns.idle, seen.use_time_sampling), (9, 10, sampling));
        let long = buckets(&seen.use_time).into_iter().find(|(bound, _)| *bound == 47_000);
        assert_eq!(long, some(47_000, at_once), "{sampling}");
        assert_eq!(seen.acquires.total(), 13);
    }
}

fn some(bound: u128, count: u64) -> Option<(u128, u64)> {
    (count > 0).then_some((bound, count))
}

/// Guards against: a retry that is not told apart from a get, a use that nothing has used.
#[test]
fn t6_a_connection_that_is_found_broken_before_its_use_is_counted_and_not_timed() {
    let moody = OnceLock::new();
    let world = world_of(3, one_pool(1).min_idle(1).use_time_sampling(1), |server| {
        moody.get_or_init(|| Moody::new(server.connector(), 3, Mood::Calm)).clone()
    });
    let set_mood = |mood| moody.get().expect("it is made").set_mood(mood);
    set_mood(Mood::Stillborn);
    let bell = Arc::new(CountingWaker::default());
    let mut get = Box::pin(world.pool.get());
    // The one that idles is found broken.
    assert!(poll_for(&bell, &mut get).is_pending());
    let seen = world.pool.metrics();
    assert_eq!((seen.acquires.at_once, seen.acquires.found_broken, seen.acquires.pending), (1, 1, 1), "{seen:?}");
    // So is the first that it is granted.
    while bell.rings() == 0 {
        world.runtime.advance(10 * MS);
    }
    assert!(poll_for(&bell, &mut get).is_pending());
    set_mood(Mood::Calm);
    drop(world.runtime.block_on(get).expect("the server is up"));
    let seen = world.pool.metrics();
    assert_eq!((seen.acquires.total(), seen.acquires.found_broken, seen.acquires.pending), (3, 2, 0), "{seen:?}");
    assert_eq!((seen.acquires.at_once, seen.acquires.waited), (1, 2), "{seen:?}");
    assert_eq!((seen.wait_time.count(), seen.use_time.count()), (2, 1), "{seen:?}");
}

#[test]
fn a_manager_has_the_metrics_of_each_node_by_its_name() {
    let runtime = FakeRuntime::new(4);
    let manager = Manager::new(NodeConfig::default(), Arc::new(runtime.clone()));
    let server = FakeServer::new(&runtime);
    let pool = runtime.block_on(manager.add("one", SECOND, || server.connector())).expect("it is up");
    drop(runtime.block_on(manager.get("one", SECOND)).expect("one idles"));
    let all = manager.metrics();
    assert_eq!(all.keys().collect::<Vec<_>>(), ["fake"]);
    assert_eq!((all["fake"].acquires.at_once, &all["fake"]), (1, &pool.metrics()));
    let (status, metrics) = manager.status_and_metrics().remove("fake").expect("it is there");
    assert_eq!((status, metrics), pool.status_and_metrics());
    assert_eq!(manager.node("one").expect("it is there").metrics().open(), 1);
    runtime.block_on(manager.close(SECOND));
    assert_eq!((manager.metrics().len(), pool.metrics().open()), (0, 0));
}
