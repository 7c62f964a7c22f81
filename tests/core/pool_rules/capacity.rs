//! C1 to C5, T1: whatever callers, servers and hooks do, the limit can be held in full afterwards, and never more.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis_manager_core::testing::FakeMode;
use redis_manager_core::{CloseReason, NodeConfig, PoolStatus, Spawn, Timer};

use crate::support::{CountingWaker, MS, Mood, Moody, SECOND, TestRng, one_pool, poll_for, polled, within, world, world_of};

/// Bites when `Cancel` drops the grant of a waiter that has left.
/// Bites when connections on loan count for the minimum, and when a get that finds an idle connection orders no dial.
#[test]
fn as_many_as_the_minimum_are_kept_idle_while_others_are_on_loan() {
    for seed in 0..10 {
        let world = world(seed, one_pool(8).min_idle(2));
        let mut held = Vec::new();
        for lent in 1..=6 {
            held.push(world.get());
            world.runtime.settle();
            let status = world.pool.status();
            assert_eq!((status.active, status.idle), (lent, 2), "seed {seed}: {status:?}");
        }
        held.extend([world.get(), world.get()]);
        world.runtime.settle();
        assert_eq!((world.pool.status().idle, world.server.dials().len()), (0, 8), "seed {seed}: no more than the pool may have");
        drop(held);
        world.assert_capacity(8);
    }
}

#[test]
fn c2_ten_thousand_acquires_dropped_at_any_await_point_cost_nothing() {
    const LIMIT: usize = 5;
    for seed in 0..4 {
        let world = world(seed, one_pool(LIMIT));
        world.server.set_connect_latency(MS);
        world.server.set_latency(MS);
        let dice = Arc::new(TestRng::new(seed));
        for _ in 0..50 {
            let (pool, runtime, dice) = (world.pool.clone(), world.runtime.clone(), Arc::clone(&dice));
            world.runtime.spawn(Box::pin(async move {
                for _ in 0..200 {
                    let acquire = pool.get_timeout(dice.millis(30).max(MS));
                    let lease = match dice.below(2) {
                        0 => polled(1 + dice.below(3), acquire).await,
                        _ => within(&runtime, dice.millis(5), acquire).await,
                    };
                    if let Some(Ok(mut lease)) = lease {
                        match dice.below(10) {
                            0 => lease.discard(),
                            // Cancelled in flight: the connection is cleaned after its return.
                            1 => drop(polled(1, lease.echo(1)).await),
                            _ => runtime.sleep(dice.millis(2)).await,
                        }
                    }
                }
            }));
        }
        world.runtime.advance(60 * SECOND);
        assert_eq!(world.pool.status().waiting, 0, "seed {seed}");
        assert!(world.server.peak_connections() <= LIMIT, "seed {seed}: C1: {}", world.server.peak_connections());
        world.assert_capacity(LIMIT);
    }
}

/// Bites when a connect that panics does not give its ticket back, and when a connection that could not be asked what was
/// left on it goes back to the idle stack.
#[test]
fn c3_hooks_that_panic_fail_and_hang_leave_the_capacity_at_the_limit() {
    const LIMIT: usize = 4;
    for seed in 0..20 {
        let moody = RefCell::new(None);
        let settings = one_pool(LIMIT).min_idle(2).connect_timeout(200 * MS).health_check_timeout(50 * MS);
        let world = world_of(seed, settings.health_check_interval(100 * MS), |server| {
            let connector = Moody::new(server.connector(), seed, Mood::Wild);
            moody.replace(Some(connector.clone()));
            connector
        });
        let moody = moody.take().expect("the connector was made");
        world.server.set_latency(2 * MS);
        let dice = Arc::new(TestRng::new(seed));
        for _ in 0..20 {
            let (pool, runtime, dice) = (world.pool.clone(), world.runtime.clone(), Arc::clone(&dice));
            world.runtime.spawn(Box::pin(async move {
                for _ in 0..20 {
                    if let Ok(mut lease) = pool.get_timeout(300 * MS).await {
                        // Cancelled in flight, every other time: something is left to be cleaned.
                        let patience = [MS, 5 * MS][dice.below(2)];
                        within(&runtime, patience, lease.echo(1)).await;
                        drop(lease);
                    }
                }
            }));
        }
        world.runtime.advance(20 * SECOND);
        assert!(moody.cleanings.load(Ordering::SeqCst) > 0, "seed {seed}: nothing was cleaned");
        assert!(moody.has_panicked.load(Ordering::SeqCst), "seed {seed}: the test tests nothing");
        moody.set_mood(Mood::Calm);
        world.runtime.advance(10 * SECOND);
        assert!(world.pool.is_open(), "seed {seed}");
        assert!(world.server.peak_connections() <= LIMIT, "seed {seed}: C1: {}", world.server.peak_connections());
        world.assert_capacity(LIMIT);
    }
}

/// Bites when `inspect` or `is_sound` takes a panic for a good sign.
#[test]
fn c3_a_connection_that_cannot_be_asked_how_it_is_is_neither_taken_back_nor_lent() {
    let moody = RefCell::new(None);
    let world = world_of(1, one_pool(1).min_idle(1), |server| {
        let connector = Moody::new(server.connector(), 1, Mood::Calm);
        moody.replace(Some(connector.clone()));
        connector
    });
    let moody = moody.take().expect("the connector was made");
    let lease = world.get();
    let first = lease.id();
    moody.set_mood(Mood::Speechless);
    drop(lease);
    world.runtime.settle();
    assert_eq!(world.server.closes(), [CloseReason::Broken], "on its return");
    world.runtime.advance(SECOND);
    assert_eq!(world.pool.status().idle, 1, "it was replaced");
    let mut acquire = world.pool.get();
    assert!(poll_for(&Arc::new(CountingWaker::default()), &mut acquire).is_pending(), "the only one is not lent");
    moody.set_mood(Mood::Calm);
    let lease = world.runtime.block_on(acquire).expect("another one is dialled");
    assert_eq!((lease.id(), world.server.closes()), (first + 2, vec![CloseReason::Broken; 2]));
    drop(lease);
    world.assert_capacity(1);
}

/// Bites when a dial is ordered for each caller that comes, whatever is under way.
#[test]
fn c4_h10_a_slow_dial_outlives_its_callers_and_serves_the_fourth_at_the_latest() {
    for seed in 0..20 {
        let world = world(seed, one_pool(5));
        world.server.set_connect_latency(250 * MS);
        let served = (1..=4).find(|_| world.get_within(100 * MS).is_ok());
        assert!(served.is_some(), "seed {seed}: nobody was served");
        assert!(world.server.dials().len() <= 2, "seed {seed}: dials at {:?}", world.server.dials());
    }
}

#[test]
fn c5_returning_everything_to_a_silent_server_frees_all_of_it_at_once() {
    for seed in 0..5 {
        for mode in [FakeMode::Silent, FakeMode::Void] {
            let world = world(seed, one_pool(3).connect_timeout(SECOND));
            let mut leases: Vec<_> = (0..3).map(|_| world.get()).collect();
            world.server.set_mode(mode);
            for lease in &mut leases {
                // A command without an answer, given up.
                assert_eq!(world.runtime.block_on(within(&world.runtime, MS, lease.echo(1))), None);
            }
            let before = world.runtime.now();
            drop(leases);
            world.runtime.settle();
            assert_eq!(world.runtime.now(), before, "seed {seed}");
            let status = world.pool.status();
            assert_eq!((status.active, status.closing), (0, 0), "seed {seed}: {status:?}");
            world.server.set_mode(FakeMode::Up);
            world.assert_capacity(3);
        }
    }
}

/// Bites when `Node::close` leaves the switch in its table until the slot is used again.
#[test]
fn c6_a_closed_connection_leaves_no_kill_switch_behind() {
    let switches = RefCell::new(None);
    let world = world_of(1, one_pool(2).min_idle(2), |server| {
        let connector = Moody::new(server.connector(), 1, Mood::Calm);
        switches.replace(Some(Arc::clone(&connector.switches)));
        connector
    });
    let switches = switches.take().expect("the connector was made");
    let without = Arc::strong_count(&switches) - 2;
    world.runtime.block_on(world.pool.close());
    assert_eq!(Arc::strong_count(&switches), without);
}

#[test]
fn a_node_of_several_pools_can_be_held_in_full_and_never_more() {
    let world = world(1, NodeConfig::builder().max_connection_size(3).max_pools_per_node(4));
    world.assert_capacity(12);
    assert_eq!(world.server.peak_connections(), 12);
}

#[test]
fn t1_the_counts_of_a_status_add_up_at_any_moment() {
    for seed in 0..10 {
        let limit = 3;
        let settings = NodeConfig::builder().max_connection_size(limit).max_pools_per_node(2).health_check_interval(20 * MS);
        let world = world(seed, settings.max_idle_time(30 * MS).cleanup_interval(20 * MS).max_lifetime(200 * MS));
        world.pool.start_cleanup();
        world.server.set_connect_latency(3 * MS);
        world.server.set_latency(2 * MS);
        let dice = Arc::new(TestRng::new(seed));
        for _ in 0..15 {
            let (pool, runtime, dice) = (world.pool.clone(), world.runtime.clone(), Arc::clone(&dice));
            world.runtime.spawn(Box::pin(async move {
                for _ in 0..100 {
                    if let Ok(mut lease) = pool.get_timeout(50 * MS).await {
                        let _ = lease.echo(3).await;
                    }
                    runtime.sleep(dice.millis(8)).await;
                }
            }));
        }
        for round in 0..600 {
            match dice.below(60) {
                0 => world.server.kill(),
                1..=9 => world.server.set_mode(FakeMode::Up),
                _ => {}
            }
            world.runtime.advance(dice.millis(3));
            let status = world.pool.status();
            let at = format!("seed {seed}, round {round}: {status:?}");
            let sum = |count: fn(&PoolStatus) -> usize| status.pools.iter().map(count).sum::<usize>();
            assert_eq!(status.active, sum(|pool| pool.active_calls), "{at}");
            assert_eq!(status.idle, sum(|pool| pool.idle), "{at}");
            assert_eq!(status.connecting, sum(|pool| pool.connecting), "{at}");
            assert_eq!(status.checking, sum(|pool| pool.checking), "{at}");
            assert_eq!(status.closing, sum(|pool| pool.closing), "{at}");
            assert_eq!(status.total_pools, status.pools.len(), "{at}");
            assert_eq!(status.total_pools, status.healthy_pools + status.unhealthy_pools, "{at}");
            let open = status.active + status.idle + status.connecting + status.checking + status.closing;
            assert!(open <= 2 * limit && world.server.connections() <= open, "{at}: {}", world.server.connections());
            assert!(status.waiting <= 15, "{at}");
        }
        world.server.set_mode(FakeMode::Up);
        world.runtime.advance(30 * SECOND);
        world.pool.stop_cleanup();
        world.pool.stop_health_checks();
        world.server.set_latency(Duration::ZERO);
        let leases: Vec<_> = (0..2 * limit).map(|_| world.get()).collect();
        assert!(world.pool.try_get().is_err(), "seed {seed}");
        assert_eq!(leases.len(), world.pool.status().active, "seed {seed}");
    }
}
