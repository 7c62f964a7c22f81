//! H2, H9, H11, H12, I10: what time does to connections that work.

use redis_manager_core::CloseReason;
use redis_manager_core::testing::FakeMode;

use crate::support::{MS, SECOND, one_pool, world};

#[test]
fn h2_an_idle_connection_is_checked_at_most_once_per_interval_and_a_leased_one_never() {
    for seed in 0..10 {
        let world = world(seed, one_pool(4).min_idle(4).health_check_interval(10 * SECOND));
        let _held: Vec<_> = (0..3).map(|_| world.get()).collect();
        world.runtime.advance(100 * SECOND);
        let checks = world.server.checks();
        assert!((7..=10).contains(&checks), "seed {seed}: {checks} checks of one idle connection in 100 s");
        world.pool.stop_health_checks();
        world.runtime.advance(100 * SECOND);
        assert_eq!(world.server.checks(), checks, "seed {seed}");
    }
}

/// Bites when a sound check goes through `record_idle`.
#[test]
fn h9_probing_is_not_use() {
    for seed in 0..10 {
        let settings = one_pool(4).health_check_interval(SECOND).max_idle_time(20 * SECOND).cleanup_interval(SECOND);
        let world = world(seed, settings);
        world.pool.start_cleanup();
        let held: Vec<_> = (0..4).map(|_| world.get()).collect();
        drop(held);
        world.runtime.advance(19 * SECOND);
        assert_eq!(world.server.connections(), 4, "seed {seed}");
        assert!(world.server.checks() > 40, "seed {seed}");
        world.runtime.advance(4 * SECOND);
        assert_eq!(world.server.closes(), [CloseReason::IdleTooLong; 4], "seed {seed}");
        world.pool.stop_cleanup();
        world.assert_capacity(4);
    }
}

/// Bites when `forgive_jump` does nothing.
#[test]
fn h11_a_clock_that_jumps_an_hour_ahead_expires_nothing_in_bulk_and_dials_no_storm() {
    for seed in 0..10 {
        let world = world(seed, one_pool(50).min_idle(50));
        world.pool.start_cleanup();
        world.runtime.advance(SECOND);
        for hour in 0..3 {
            let (dials, checks) = (world.server.dials().len(), world.server.checks());
            world.runtime.jump(3_600 * SECOND);
            world.runtime.advance(100 * MS);
            let (dials, checks) = (world.server.dials().len() - dials, world.server.checks() - checks);
            assert!(dials <= 2 && checks <= 3, "seed {seed}, hour {hour}: {dials} dials, {checks} checks");
            world.runtime.advance(5 * SECOND);
        }
        world.pool.stop_health_checks();
        world.runtime.advance(2 * SECOND);
        world.assert_capacity(50);
    }
}

/// Bites when `lifetime` has no jitter.
#[test]
fn h12_of_a_hundred_connections_made_together_no_second_sees_more_than_three_go() {
    for seed in 0..10 {
        let world = world(seed, one_pool(100).min_idle(100));
        world.pool.stop_health_checks();
        let mut before = 0;
        for second in 0..1_800 {
            world.runtime.advance(SECOND);
            let now = world.server.closes().len();
            assert!(now - before <= 3, "seed {seed}: {} expired in second {second}", now - before);
            before = now;
        }
        assert!(before >= 100, "seed {seed}: {before} have expired");
        world.assert_capacity(100);
    }
}

/// Bites when `clean_up` takes the minimum for zero.
#[test]
fn i10_cleanup_keeps_the_minimum_and_never_touches_a_lease() {
    for seed in 0..10 {
        let settings = one_pool(6).min_idle(2).max_idle_time(5 * SECOND).cleanup_interval(SECOND);
        let world = world(seed, settings);
        world.pool.start_cleanup();
        let mut held: Vec<_> = (0..6).map(|_| world.get()).collect();
        drop(held.split_off(1));
        world.runtime.advance(20 * SECOND);
        let status = world.pool.status();
        assert_eq!((status.active, status.idle), (1, 2), "seed {seed}: {status:?}");
        assert_eq!(world.runtime.block_on(held[0].echo(5)), Ok(5), "seed {seed}");
        drop(held);
        world.runtime.advance(20 * SECOND);
        assert_eq!(world.pool.status().idle, 2, "seed {seed}");
        assert_eq!(world.server.closes(), [CloseReason::IdleTooLong; 4], "seed {seed}");
        world.assert_capacity(6);
    }
}

#[test]
fn c6_a_check_that_hangs_costs_only_its_own_timeout() {
    let settings = one_pool(2).min_idle(2).health_check_interval(SECOND).health_check_timeout(300 * MS);
    let world = world(1, settings);
    world.server.set_mode(FakeMode::Silent);
    world.runtime.advance(2 * SECOND);
    world.server.set_mode(FakeMode::Up);
    world.runtime.advance(400 * MS);
    assert_eq!(world.pool.status().idle, 2, "{:?}", world.pool.status());
    world.assert_capacity(2);
}
