//! H7: what a pool does with what a server says of itself: not ready, a replica, no access.

use std::time::Duration;

use redis_manager_core::testing::{FakeError, FakeMode};
use redis_manager_core::{AcquireError, CloseReason, Health};

use crate::support::{MS, SECOND, callers, one_pool, within, world};

#[test]
fn h7_a_wrong_password_is_told_at_once_and_probed_slowly() {
    for seed in 0..10 {
        let world = world(seed, one_pool(3));
        world.server.set_mode(FakeMode::Rejecting);
        let asked_at = world.runtime.now();
        let Err(AcquireError::NoHealthyPools { last_error, .. }) = world.get_within(9 * SECOND) else {
            panic!("seed {seed}: it is down")
        };
        assert_eq!((world.runtime.now(), last_error.as_deref()), (asked_at, Some("wrong password")), "seed {seed}");
        let before = world.server.dials().len();
        let _served = callers(&world, 5, MS);
        world.runtime.advance(60 * SECOND);
        assert!(world.server.dials().len() - before <= 45, "seed {seed}: {} dials", world.server.dials().len() - before);
        world.server.set_mode(FakeMode::Up);
        world.runtime.advance(6 * SECOND);
        world.assert_capacity(3);
    }
}

/// Bites when the word of a borrower is not heard.
#[test]
fn h7_a_node_that_says_that_it_is_not_ready_is_trusted_again_when_it_is() {
    for seed in 0..10 {
        let world = world(seed, one_pool(4).min_idle(4));
        world.runtime.advance(SECOND);
        let (mut first, late) = (world.get(), world.get());
        world.server.set_mode(FakeMode::Loading);
        assert_eq!(world.pool.status().health, Health::Up, "seed {seed}: nobody has said anything");
        assert_eq!(world.runtime.block_on(first.echo(1)), Err(FakeError::Loading));
        world.runtime.settle();
        let status = world.pool.status();
        assert_eq!((status.idle, world.server.checks()), (0, 2), "seed {seed}: those that idled were asked: {status:?}");
        assert!(status.last_error.is_some_and(|error| error.contains("loading")), "seed {seed}");
        drop((first, late));
        assert!(world.pool.try_get().is_err(), "seed {seed}: what was on loan is asked before it is lent again");
        let served = callers(&world, 3, MS);
        let dials = world.server.dials().len();
        world.runtime.advance(15 * SECOND);
        assert!(world.server.dials().len() - dials <= 80, "seed {seed}: {} dials", world.server.dials().len() - dials);
        assert_eq!(served.lock().expect("not poisoned").len(), 0, "seed {seed}");
        world.server.set_mode(FakeMode::Up);
        world.runtime.advance(600 * MS);
        assert_eq!(served.lock().expect("not poisoned").len(), 3, "seed {seed}");
        world.runtime.advance(5 * SECOND);
        world.assert_capacity(4);
    }
}

/// Bites when idle connections are spared, when those on loan are, and when the word of one that is being replaced already
/// starts it all again.
#[test]
fn h7_a_server_that_has_become_a_replica_is_left_by_all_at_once_and_by_the_lent_on_their_return() {
    for seed in 0..10 {
        let world = world(seed, one_pool(5).min_idle(5));
        let (mut first, mut second, third) = (world.get(), world.get(), world.get());
        // Every round is of a new generation, and the word of its connections counts.
        for round in 1..=4 {
            world.server.demote();
            let dials = world.server.dials().len();
            let at = format!("seed {seed}, round {round}");
            let answer = world.runtime.block_on(first.echo(1));
            assert_eq!(answer, Err(FakeError::Demoted), "{at}");
            world.runtime.settle();
            let outdated = world.server.closes().iter().filter(|reason| **reason == CloseReason::Outdated).count();
            assert_eq!(outdated, 2 + (round - 1) * 4, "{at}: those that idled");
            assert_eq!((world.pool.status().idle, world.server.dials().len() - dials), (2, 2), "{at}: they are replaced");
            world.runtime.advance(1_100 * MS);
            assert_eq!(world.runtime.block_on(second.echo(1)), Err(FakeError::Demoted), "{at}");
            world.runtime.settle();
            assert_eq!(world.server.closes().len(), outdated, "{at}: nobody is ended under its borrower, no news is told twice");
            drop((first, second));
            world.runtime.settle();
            assert_eq!(world.server.closes(), vec![CloseReason::Outdated; outdated + 2], "{at}");
            (first, second) = (world.get(), world.get());
            assert_eq!(world.runtime.block_on(first.echo(2)), Ok(2), "{at}");
            assert_eq!(world.runtime.block_on(second.echo(3)), Ok(3), "{at}");
        }
        drop((first, second, third));
        world.runtime.settle();
        world.assert_capacity(5);
    }
}

/// Bites when what is out for a check or to be cleaned is spared.
#[test]
fn h7_what_is_being_checked_or_cleaned_when_another_server_is_wanted_goes_too() {
    for seed in 0..10 {
        let world = world(seed, one_pool(3).min_idle(3).health_check_interval(10 * SECOND).health_check_timeout(2 * SECOND));
        let (mut told, mut soiled) = (world.get(), world.get());
        world.server.set_latency(SECOND);
        while world.pool.status().checking == 0 {
            world.runtime.advance(100 * MS);
        }
        assert_eq!(world.runtime.block_on(within(&world.runtime, MS, soiled.echo(1))), None);
        drop(soiled);
        world.runtime.settle();
        assert_eq!(world.pool.status().checking, 2, "seed {seed}");
        world.server.set_latency(Duration::ZERO);
        world.server.demote();
        assert_eq!(world.runtime.block_on(told.echo(1)), Err(FakeError::Demoted));
        drop(told);
        world.runtime.advance(1_500 * MS);
        assert_eq!(world.server.closes(), [CloseReason::Outdated; 3], "seed {seed}");
        world.pool.stop_health_checks();
        world.assert_capacity(3);
    }
}

/// Bites when there is no pause between two generations.
#[test]
fn h7_a_server_that_stays_a_replica_is_not_dialled_in_a_loop() {
    for seed in 0..10 {
        let world = world(seed, one_pool(3).min_idle(3));
        let dials = world.server.dials().len();
        let until = world.runtime.now() + 10 * SECOND;
        while world.runtime.now() < until {
            let mut lease = world.get();
            world.server.demote();
            assert_eq!(world.runtime.block_on(lease.echo(1)), Err(FakeError::Demoted), "seed {seed}");
            drop(lease);
            world.runtime.advance(10 * MS);
        }
        let dials = world.server.dials().len() - dials;
        assert!((20..=33).contains(&dials), "seed {seed}: {dials} dials of 3 connections in 10 s");
        world.runtime.advance(1_100 * MS);
        assert_eq!(world.runtime.block_on(world.get().echo(1)), Err(FakeError::Demoted), "seed {seed}: the last word counts");
        world.runtime.settle();
        world.assert_capacity(3);
    }
}
