//! H1 to H6, H8: what is known without asking, how a node that is down is probed, and how it comes back.

use std::sync::{Arc, Mutex};

use redis_manager_core::testing::{FakeConnector, FakeError, FakeMode, FakeRuntime, FakeServer, FormerServer};
use redis_manager_core::{AcquireError, Health, Manager, NodeConfig, OnNodeDown, Spawn};

use crate::support::{MS, Mood, Moody, SECOND, TestRng, callers, one_pool, world, world_of};

#[test]
fn h1_nothing_is_asked_on_the_hot_path_and_a_dead_idle_connection_is_never_lent() {
    for seed in 0..10 {
        let world = world(seed, one_pool(3).min_idle(3));
        for token in 0..100 {
            let mut lease = world.get();
            assert_eq!(world.runtime.block_on(lease.echo(token)), Ok(token));
        }
        assert_eq!(world.server.checks(), 0);
        world.runtime.advance(SECOND);
        world.server.drop_connections();
        assert!(world.get().is_alive(), "seed {seed}");
        world.assert_capacity(3);
    }
}

/// Bites when the connector is asked on return only.
#[test]
fn h1_a_connection_that_dies_unnoticed_is_found_out_before_it_is_lent() {
    let world = world(1, one_pool(3).min_idle(3));
    // No monitor is raised: only the flag of the connection says so.
    world.server.forget_connections();
    for _ in 0..3 {
        assert!(world.get().is_alive());
    }
    world.assert_capacity(3);
}

/// Bites when `on_died` leaves idle connections on the idle stack.
#[test]
fn h3_every_failed_connect_leads_to_another_and_its_reason_is_told() {
    for seed in 0..10 {
        for (mode, text) in [
            (FakeMode::Refusing, "connection refused"),
            (FakeMode::Rejecting, "wrong password"),
            (FakeMode::Void, "answered"),
            (FakeMode::Up, "max number of clients"),
        ] {
            let world = world(seed, one_pool(3).min_idle(1));
            world.server.kill();
            world.server.set_most_clients(0);
            world.server.set_mode(mode);
            let mut dials = world.server.dials().len();
            for minute in 0..5 {
                world.runtime.advance(60 * SECOND);
                let status = world.pool.status();
                assert_eq!(status.health, Health::Down, "seed {seed}, {mode:?}");
                assert!(status.last_error.as_ref().is_some_and(|error| error.contains(text)), "seed {seed}: {status:?}");
                let now = world.server.dials().len();
                assert!(now >= dials + 6, "seed {seed}, {mode:?}: {} dials in minute {minute}", now - dials);
                dials = now;
            }
            world.server.set_most_clients(usize::MAX);
            world.server.set_mode(FakeMode::Up);
            world.runtime.advance(11 * SECOND);
            assert_eq!((world.pool.status().health, world.pool.status().last_error), (Health::Up, None), "seed {seed}");
            world.assert_capacity(3);
        }
    }
}

#[test]
fn h4_a_dead_node_sees_at_most_eighty_dials_in_fifteen_seconds_and_one_at_a_time() {
    for seed in 0..20 {
        for mode in [FakeMode::Refusing, FakeMode::Void] {
            let world = world(seed, one_pool(20));
            world.server.set_mode(mode);
            drop(world.get_within(10 * MS));
            world.runtime.advance(6 * SECOND);
            let served = callers(&world, 30, MS);
            let before = world.server.dials().len();
            for _ in 0..150 {
                world.runtime.advance(100 * MS);
                // In a void a patient dial may lie beside the probe.
                let most = if mode == FakeMode::Void { 3 } else { 1 };
                assert!(world.pool.status().connecting <= most, "seed {seed}, {mode:?}: {:?}", world.pool.status());
            }
            let dials = world.server.dials().len() - before;
            let least = if mode == FakeMode::Refusing { 30 } else { 5 };
            assert!((least..=80).contains(&dials), "seed {seed}, {mode:?}: {dials} dials in 15 s");
            world.server.set_mode(FakeMode::Up);
            world.runtime.advance(10 * SECOND);
            assert_eq!(served.lock().expect("not poisoned").len(), 30, "seed {seed}, {mode:?}");
            world.assert_capacity(20);
        }
    }
}

#[test]
fn h4_after_a_probe_has_succeeded_dials_go_by_one_two_four() {
    let world = world(1, one_pool(50));
    world.server.set_mode(FakeMode::Refusing);
    let served = callers(&world, 40, 60 * SECOND);
    world.runtime.advance(5 * SECOND);
    world.server.set_connect_latency(100 * MS);
    world.server.set_mode(FakeMode::Up);
    while world.pool.status().health == Health::Down {
        world.runtime.advance(MS);
    }
    let mut widths = Vec::new();
    for _ in 0..3 {
        widths.push(world.pool.status().connecting);
        world.runtime.advance(100 * MS);
    }
    assert_eq!(widths, [1, 2, 4]);
    world.runtime.advance(SECOND);
    assert_eq!(served.lock().expect("not poisoned").len(), 40);
}

/// Bites when `refuse` releases the connection as `Broken` instead of `Stale`: 15 000 dials.
#[test]
fn h4_a_server_that_hangs_up_at_once_is_not_dialled_in_a_loop() {
    for seed in 0..10 {
        let world = world_of(seed, one_pool(3), |server| Moody::new(server.connector(), seed, Mood::Stillborn));
        world.server.set_connect_latency(MS);
        assert!(world.get_within(15 * SECOND).is_err(), "seed {seed}");
        assert!(world.server.dials().len() <= 80, "seed {seed}: {} dials", world.server.dials().len());
    }
}

/// Bites when a dial that hangs keeps the next one from starting: seen 3.5 s late.
#[test]
fn h5_a_dial_that_began_before_the_black_hole_does_not_delay_the_healing() {
    for seed in 0..20 {
        let world = world(seed, one_pool(5).min_idle(1));
        let held = world.get();
        world.server.set_mode(FakeMode::Void);
        let served = callers(&world, 2, MS);
        world.runtime.advance(1_500 * MS);
        world.server.set_mode(FakeMode::Up);
        let back_at = world.runtime.now();
        world.runtime.advance(2 * SECOND);
        let served = served.lock().expect("not poisoned");
        assert_eq!(served.len(), 2, "seed {seed}: not within 2 s of {back_at}; dials at {:?}", world.server.dials());
        drop((served, held));
        world.runtime.advance(10 * SECOND);
        world.assert_capacity(5);
    }
}

/// Bites when a patient probe keeps the next one from starting: seen up to 4.7 s late.
#[test]
fn h5_a_black_hole_that_opens_is_noticed_within_two_seconds() {
    for seed in 0..20 {
        let world = world(seed, one_pool(3).min_idle(1).health_check_interval(SECOND));
        world.runtime.advance(SECOND);
        world.server.set_mode(FakeMode::Void);
        world.runtime.advance(20 * SECOND + 500 * MS * u32::try_from(seed).expect("small"));
        let served = callers(&world, 3, MS);
        world.runtime.advance(2 * SECOND);
        world.server.set_mode(FakeMode::Up);
        world.runtime.advance(2 * SECOND);
        assert_eq!(served.lock().expect("not poisoned").len(), 3, "seed {seed}: dials at {:?}", world.server.dials());
        world.runtime.advance(10 * SECOND);
        world.pool.stop_health_checks();
        world.assert_capacity(3);
    }
}

/// Bites when `hurry` does nothing.
#[test]
fn h5_a_server_that_is_back_serves_within_600_ms_and_its_callers_in_order() {
    let mut sum = 0;
    for seed in 0..40 {
        let world = world(seed, one_pool(3).min_idle(1));
        let dice = TestRng::new(seed);
        world.server.kill();
        world.runtime.advance(dice.millis(60_000));
        let served = callers(&world, 10, MS);
        world.runtime.advance(dice.millis(20_000));
        world.server.set_mode(FakeMode::Up);
        let back_at = world.runtime.now();
        world.runtime.advance(5 * SECOND);
        let served = served.lock().expect("not poisoned");
        assert_eq!(served.len(), 10, "seed {seed}");
        let first = served[0].saturating_duration_since(back_at);
        assert!(first <= 600 * MS, "seed {seed}: {first:?}");
        sum += first.as_millis();
        drop(served);
        world.assert_capacity(3);
    }
    assert!(sum / 40 <= 300, "{} ms on average", sum / 40);
}

#[test]
fn h6_a_silent_peer_is_replaced_within_a_check_and_a_connect_of_its_return() {
    for seed in 0..20 {
        for mode in [FakeMode::Silent, FakeMode::Void] {
            for outage in [500 * MS, 1_500 * MS, 2_500 * MS] {
                let world = world(seed, one_pool(5).min_idle(5).health_check_interval(200 * MS));
                world.runtime.advance(SECOND);
                world.server.set_mode(mode);
                world.runtime.advance(outage);
                world.server.set_mode(FakeMode::Up);
                let back_at = world.runtime.now();
                let at = format!("seed {seed}, {mode:?}, {outage:?}");
                let mut lease = world.get();
                let mut answer = world.runtime.block_on(lease.echo(9));
                while answer.is_err() {
                    drop(lease);
                    lease = world.get();
                    answer = world.runtime.block_on(lease.echo(9));
                }
                let took = world.runtime.now().saturating_duration_since(back_at);
                assert!(took <= SECOND + 50 * MS, "{at}: {took:?}");
                drop(lease);
                world.runtime.advance(5 * SECOND);
                world.pool.stop_health_checks();
                world.runtime.settle();
                world.assert_capacity(5);
            }
        }
    }
}

#[test]
fn h8_a_dead_node_leaves_the_latency_of_the_other_as_it_was() {
    for seed in 0..10 {
        let runtime = FakeRuntime::new(seed);
        let config = NodeConfig::builder().max_connection_size(3).build().expect("valid");
        let manager = Manager::<FakeConnector>::new(config, Arc::new(runtime.clone()));
        let (sick, sound) = (FakeServer::new(&runtime), FakeServer::new(&runtime));
        sound.set_latency(2 * MS);
        runtime.block_on(manager.add("sick", SECOND, || sick.connector())).expect("up");
        runtime.block_on(manager.add("sound", SECOND, || sound.connector())).expect("up");
        for mode in [FakeMode::Refusing, FakeMode::Void] {
            sick.drop_connections();
            sick.set_mode(mode);
            for _ in 0..50 {
                let manager = manager.clone();
                runtime.spawn(Box::pin(async move { drop(manager.get("sick", 5 * SECOND).await) }));
            }
            for token in 0..100 {
                let asked_at = runtime.now();
                let answer = runtime.block_on(async {
                    manager.get("sound", SECOND).await.unwrap_or_else(|error| panic!("seed {seed}: {error}")).echo(token).await
                });
                assert_eq!((answer, runtime.now()), (Ok(token), asked_at + 2 * MS), "seed {seed}");
                runtime.advance(30 * MS);
            }
        }
    }
}

#[test]
fn with_fail_fast_callers_of_a_node_that_is_down_are_told_at_once() {
    let world = world(1, one_pool(2).min_idle(1).on_node_down(OnNodeDown::FailFast));
    world.runtime.advance(SECOND);
    world.server.kill();
    world.runtime.settle();
    let asked_at = world.runtime.now();
    assert!(matches!(world.get_within(SECOND), Err(AcquireError::NoHealthyPools { .. })));
    assert_eq!(world.runtime.now(), asked_at);
    world.server.set_mode(FakeMode::Up);
    world.runtime.advance(5 * SECOND);
    world.assert_capacity(2);
}

/// F5: one that was asked in vain is enough for all that are half open; the server's count of them is its own affair, until
/// it takes no more clients for it.
#[test]
fn h6_after_a_black_hole_half_open_connections_are_replaced_and_the_orphans_are_the_servers() {
    for seed in 0..10 {
        let world = world(seed, one_pool(3).min_idle(3));
        world.server.half_open(60 * SECOND);
        let mut lease = world.get();
        assert_eq!(world.runtime.block_on(lease.echo_timeout(1, 100 * MS)), Err(FakeError::TimedOut));
        drop(lease);
        let since = world.runtime.now();
        assert!(world.get().is_alive(), "seed {seed}");
        assert_eq!(world.runtime.now(), since, "seed {seed}: a new one is dialled at once");
        world.assert_capacity(3);
        assert_eq!((world.server.connections(), world.server.strays(), world.server.orphans()), (3, 0, 3));
        // Full with those that nobody holds any more.
        world.server.set_most_clients(5);
        let (first, second) = (world.get(), world.get());
        world.get().discard();
        assert!(world.get_within(SECOND).is_err(), "seed {seed}");
        world.runtime.advance(60 * SECOND);
        assert_eq!(world.server.orphans(), 0, "seed {seed}: the server has given up");
        drop((first, second));
        world.assert_capacity(3);
    }
}

/// F14.
#[test]
fn a_name_that_moves_leaves_connections_to_the_former_server_and_new_ones_go_to_the_new_one() {
    let world = world(1, one_pool(2).min_idle(1));
    let mut old = world.get();
    world.server.move_elsewhere(FormerServer::Answers);
    world.server.set_mode(FakeMode::Refusing);
    assert_eq!(world.runtime.block_on(old.echo(1)), Ok(1), "the former server goes on");
    assert!(world.get_within(SECOND).is_err(), "the new one refuses");
    world.server.set_mode(FakeMode::Up);
    let new = world.get();
    assert_eq!((world.server.connections(), world.server.strays()), (1, 1));
    old.discard();
    drop(new);
    world.server.move_elsewhere(FormerServer::Silent);
    let mut lease = world.get();
    assert_eq!(world.runtime.block_on(lease.echo_timeout(2, 100 * MS)), Err(FakeError::TimedOut), "it went to the former one");
    drop(lease);
    assert!(world.get().is_alive());
    world.assert_capacity(2);
}

/// C6, while others go on. Bites when `cut_off_closes` waits for ever.
#[test]
fn c6_a_close_that_hangs_gives_its_slot_back_after_a_second() {
    let world = world(1, one_pool(1));
    let lease = world.get();
    world.server.set_close_latency(10 * SECOND);
    let (pool, runtime) = (world.pool.clone(), world.runtime.clone());
    let served_at = Arc::new(Mutex::new(None));
    let noted = Arc::clone(&served_at);
    let began_at = world.runtime.now();
    lease.discard();
    world.runtime.spawn(Box::pin(async move {
        let lease = pool.get_timeout(5 * SECOND).await;
        *noted.lock().expect("not poisoned") = lease.is_ok().then(|| runtime.now());
        drop(lease);
    }));
    world.runtime.advance(20 * SECOND);
    assert_eq!(*served_at.lock().expect("not poisoned"), Some(began_at + SECOND));
}

/// Bites when the drop of a check's task keeps its token.
#[test]
fn c3_a_check_whose_task_is_killed_leaves_the_capacity_as_it_was() {
    let mut checks_killed = 0;
    for seed in 0..20 {
        let world = world(seed, one_pool(3).min_idle(3).health_check_interval(SECOND));
        world.server.set_mode(FakeMode::Silent);
        world.runtime.advance(1_260 * MS);
        assert_eq!(world.pool.status().checking, 3, "seed {seed}");
        assert!(world.runtime.kill_a_task());
        world.server.set_mode(FakeMode::Up);
        if let Err(AcquireError::RuntimeEnded { .. }) = world.get_within(SECOND) {
            // It was the driver.
            continue;
        }
        checks_killed += 1;
        world.assert_capacity(3);
    }
    assert!(checks_killed > 0);
}
