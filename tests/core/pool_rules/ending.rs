//! E1 to E3: how a pool ends, whoever ends first.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use redis_manager_core::testing::{FakeConnector, FakeMode, FakeRuntime, FakeServer};
use redis_manager_core::{AcquireError, CloseReason, Instant, Manager, NodeConfig, NodePool, Runtime, Spawn, Task, Timer};

use crate::support::{CountingWaker, MS, PoolFixture, SECOND, one_pool, poll_for, world};

#[track_caller]
fn assert_nothing_left((runtime, server): (&FakeRuntime, &FakeServer), seed: u64) {
    runtime.settle();
    assert_eq!((runtime.tasks(), runtime.timers()), (0, 0), "seed {seed}: tasks and timers");
    assert_eq!(server.connections(), 0, "seed {seed}: connections");
}

/// Bites when `on_close` tells nobody.
#[test]
fn e1_a_close_tells_waiters_at_once_and_ends_when_the_last_lease_is_back() {
    for seed in 0..20 {
        let world = world(seed, one_pool(3).min_idle(3));
        let held: Vec<_> = (0..3).map(|_| world.get()).collect();
        let bell = Arc::new(CountingWaker::default());
        let mut waiter = world.pool.get();
        assert!(poll_for(&bell, &mut waiter).is_pending());
        let mut closing = Box::pin(world.pool.close_timeout(10 * SECOND));
        assert_eq!(bell.rings(), 1, "seed {seed}: it begins with the call");
        assert!(matches!(poll_for(&bell, &mut waiter), Poll::Ready(Err(AcquireError::Closed { .. }))));
        assert!(matches!(world.pool.try_get(), Err(AcquireError::Closed { .. })));
        assert!(matches!(world.get_within(SECOND), Err(AcquireError::Closed { .. })));
        assert!(poll_for(&bell, &mut closing).is_pending());
        let runtime = world.runtime.clone();
        world.runtime.spawn(Box::pin(async move {
            runtime.sleep(SECOND).await;
            drop(held);
        }));
        world.runtime.block_on(closing);
        assert_eq!(world.runtime.now().as_nanos(), 1_000_000_000, "seed {seed}");
        assert_eq!(world.server.connections(), 0, "seed {seed}");
        assert_nothing_left((&world.runtime, &world.server), seed);
    }
}

/// A runtime that keeps back what is spawned while it is told to, as a worker thread that hangs does.
struct Hesitant {
    inner: FakeRuntime,
    hesitates: AtomicBool,
    kept: Mutex<Vec<Task>>,
}

impl Timer for Hesitant {
    fn now(&self) -> Instant {
        self.inner.now()
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        self.inner.sleep_until(deadline)
    }
}

impl Spawn for Hesitant {
    fn spawn(&self, task: Task) {
        match self.hesitates.load(Ordering::Relaxed) {
            true => self.kept.lock().expect("not poisoned").push(task),
            false => self.inner.spawn(task),
        }
    }
}

impl Runtime for Hesitant {}

/// Bites when a abort handle is taken by its slot alone.
#[test]
fn e1_a_close_that_hung_takes_no_kill_switch_from_the_next_connection() {
    let inner = FakeRuntime::new(3);
    let server = FakeServer::new(&inner);
    let runtime = Arc::new(Hesitant { inner: inner.clone(), hesitates: AtomicBool::new(false), kept: Mutex::default() });
    let config = one_pool(1).build().expect("the test's settings are valid");
    let pool = NodePool::new(server.connector(), config, runtime.clone());
    let first = inner.block_on(pool.get()).expect("the server is up");
    runtime.hesitates.store(true, Ordering::Relaxed);
    first.discard();
    inner.settle();
    runtime.hesitates.store(false, Ordering::Relaxed);
    inner.advance(2 * SECOND);
    let second = inner.block_on(pool.get()).expect("the close that hangs was cut off");
    let kept = std::mem::take(&mut *runtime.kept.lock().expect("not poisoned"));
    assert_eq!(kept.len(), 1);
    kept.into_iter().for_each(|task| inner.spawn(task));
    inner.settle();
    inner.block_on(pool.close_timeout(10 * MS));
    assert!(!second.is_alive(), "the one on loan is ended at the deadline");
    assert_eq!(server.connections(), 0);
}

/// Bites when a close is in nobody's hands until its task is first polled.
#[test]
fn i8_a_close_whose_task_is_dropped_before_it_ran_is_done_all_the_same() {
    let inner = FakeRuntime::new(4);
    let server = FakeServer::new(&inner);
    let runtime = Arc::new(Hesitant { inner: inner.clone(), hesitates: AtomicBool::new(false), kept: Mutex::default() });
    let config = one_pool(1).build().expect("the test's settings are valid");
    let pool = NodePool::new(server.connector(), config, runtime.clone());
    let lease = inner.block_on(pool.get()).expect("the server is up");
    runtime.hesitates.store(true, Ordering::Relaxed);
    lease.discard();
    inner.settle();
    let kept = std::mem::take(&mut *runtime.kept.lock().expect("not poisoned"));
    assert_eq!((kept.len(), server.closes().len()), (1, 0));
    drop(kept);
    assert_eq!(server.closes(), [CloseReason::Discarded]);
    assert_eq!(pool.status().closing, 0);
}

/// Bites when `force` leaves out the leased ones.
#[test]
fn e1_after_the_deadline_of_a_close_everything_is_forced() {
    for seed in 0..20 {
        for mode in [FakeMode::Up, FakeMode::Silent, FakeMode::Refusing] {
            let world = world(seed, one_pool(5).min_idle(2).health_check_interval(500 * MS));
            let mut held = world.get();
            world.server.set_mode(mode);
            world.runtime.advance(550 * MS);
            let asked_at = world.runtime.now();
            world.runtime.block_on(world.pool.close_timeout(2 * SECOND));
            let took = world.runtime.now().saturating_duration_since(asked_at);
            assert!(took <= 2 * SECOND, "seed {seed}, {mode:?}: {took:?}");
            assert_eq!(world.server.connections(), 0, "seed {seed}, {mode:?}");
            assert!(world.runtime.block_on(held.echo(1)).is_err(), "seed {seed}");
            drop(held);
            assert_nothing_left((&world.runtime, &world.server), seed);
        }
    }
}

/// Bites when the last handle takes the driver with it: then nothing was forced.
#[test]
fn e1_a_close_goes_on_to_its_deadline_after_the_last_handle_is_dropped() {
    for seed in 0..10 {
        let world = world(seed, one_pool(2).min_idle(2));
        let held = world.get();
        let PoolFixture { runtime, server, pool, .. } = world;
        drop(pool.close_timeout(SECOND));
        drop(pool);
        runtime.advance(SECOND - MS);
        assert_eq!(server.connections(), 1, "seed {seed}");
        runtime.advance(MS);
        assert_eq!(server.connections(), 0, "seed {seed}: it was not forced");
        drop(held);
        assert_nothing_left((&runtime, &server), seed);
    }
}

#[test]
fn e1_closing_twice_or_after_the_end_returns() {
    let world = world(1, one_pool(2).min_idle(2));
    world.runtime.block_on(async {
        world.pool.close().await;
        world.pool.close().await;
    });
    assert_eq!(world.server.connections(), 0);
    assert!(world.runtime.now().as_nanos() == 0, "nothing had to be waited for");
}

/// Bites when the handle has no `Drop`, or a job is not woken when the pool closes.
#[test]
fn e2_the_last_handle_dropped_ends_every_task_and_closes_every_socket() {
    for seed in 0..20 {
        for mode in [FakeMode::Up, FakeMode::Silent, FakeMode::Void, FakeMode::Refusing, FakeMode::Rejecting] {
            let world = world(seed, one_pool(5).min_idle(2).health_check_interval(500 * MS));
            world.runtime.advance(SECOND);
            let bell = Arc::new(CountingWaker::default());
            let mut asked = world.pool.get();
            let _ = poll_for(&bell, &mut asked);
            world.server.set_mode(mode);
            world.runtime.advance(700 * MS);
            drop(asked);
            let clone = world.pool.clone();
            let PoolFixture { runtime, server, pool, .. } = world;
            drop(pool);
            assert!(clone.is_open());
            drop(clone);
            assert_nothing_left((&runtime, &server), seed);
        }
    }
}

#[test]
fn e2_a_lease_outlives_its_pool_and_closes_on_its_return() {
    for seed in 0..10 {
        let world = world(seed, one_pool(2).min_idle(2));
        let mut lease = world.get();
        let PoolFixture { runtime, server, pool, .. } = world;
        drop(pool);
        runtime.settle();
        assert_eq!((server.connections(), runtime.tasks()), (1, 0), "seed {seed}");
        assert_eq!(runtime.block_on(lease.echo(4)), Ok(4), "seed {seed}");
        drop(lease);
        assert_nothing_left((&runtime, &server), seed);
    }
}

#[test]
fn e2_a_manager_dropped_closes_all_of_its_nodes() {
    for seed in 0..10 {
        let runtime = FakeRuntime::new(seed);
        let server = FakeServer::new(&runtime);
        let manager = Manager::<FakeConnector>::new(NodeConfig::default(), Arc::new(runtime.clone()));
        for name in ["a", "b", "c"] {
            runtime.block_on(manager.add(name, SECOND, || server.connector())).expect("up");
        }
        assert_eq!(server.connections(), 3);
        // A node that never gets warm is forgotten, with all that belongs to it.
        let tasks = runtime.tasks();
        let dead = FakeServer::new(&runtime);
        dead.set_mode(FakeMode::Void);
        assert!(runtime.block_on(manager.add("dead", SECOND, || dead.connector())).is_err());
        runtime.settle();
        assert_eq!((runtime.tasks(), manager.status().len()), (tasks, 3), "seed {seed}");
        drop(manager);
        assert_nothing_left((&runtime, &server), seed);
    }
}

/// Bites when the driver has no `Drop`: then the get waits for ever.
#[test]
fn e3_after_the_runtimes_end_a_get_answers_and_nothing_panics() {
    for seed in 0..20 {
        for mode in [FakeMode::Up, FakeMode::Silent, FakeMode::Refusing] {
            let world = world(seed, one_pool(2).min_idle(2).health_check_interval(500 * MS));
            world.runtime.advance(SECOND);
            let held = [world.get(), world.get()];
            world.server.set_mode(mode);
            let bell = Arc::new(CountingWaker::default());
            let mut waiter = world.pool.get();
            let _ = poll_for(&bell, &mut waiter);
            world.runtime.advance(700 * MS);
            world.runtime.shut_down();
            if mode != FakeMode::Up {
                let told = poll_for(&bell, &mut waiter);
                assert!(matches!(told, Poll::Ready(Err(AcquireError::RuntimeEnded { .. }))), "seed {seed}, {mode:?}: {told:?}");
            }
            drop(waiter);
            let after = poll_for(&bell, &mut world.pool.get());
            assert!(matches!(after, Poll::Ready(Err(AcquireError::RuntimeEnded { .. }))), "seed {seed}: {after:?}");
            assert!(matches!(world.pool.try_get(), Err(AcquireError::RuntimeEnded { .. })), "seed {seed}");
            drop(held);
            assert_eq!(world.server.connections(), 0, "seed {seed}, {mode:?}");
            let status = world.pool.status();
            assert_eq!((status.active, status.connecting, status.checking), (0, 0, 0), "seed {seed}: {status:?}");
            let mut closing = Box::pin(world.pool.close());
            assert!(poll_for(&bell, &mut closing).is_ready(), "seed {seed}, {mode:?}: a close hangs");
            drop(closing);
            let PoolFixture { runtime, server, pool, .. } = world;
            drop(pool);
            assert_nothing_left((&runtime, &server), seed);
        }
    }
}

#[test]
fn e3_a_pool_made_after_the_runtimes_end_answers() {
    let runtime = FakeRuntime::new(1);
    let server = FakeServer::new(&runtime);
    runtime.shut_down();
    let world = PoolFixture {
        pool: NodePool::new(server.connector(), NodeConfig::default(), Arc::new(runtime.clone())),
        runtime,
        server,
        seed: 1,
    };
    let told = poll_for(&Arc::new(CountingWaker::default()), &mut world.pool.get());
    assert!(matches!(told, Poll::Ready(Err(AcquireError::RuntimeEnded { .. }))), "{told:?}");
    assert_nothing_left((&world.runtime, &world.server), 1);
}

#[test]
fn e3_a_lease_dropped_in_a_panic_goes_back() {
    let world = world(1, one_pool(1));
    let lease = world.get();
    world.runtime.spawn(Box::pin(async move {
        let _lease = lease;
        // As a panic, without the message on the screen.
        std::panic::resume_unwind(Box::new("a task"));
    }));
    world.runtime.settle();
    world.assert_capacity(1);
}

/// Bites when the actions of a closing pool without handles are left to its driver, which cannot hold the node open.
#[test]
fn i8_a_lease_that_comes_back_last_to_a_closing_pool_without_handles_is_closed_by_its_connector() {
    for seed in 0..10 {
        let runtime = FakeRuntime::new(seed);
        let server = FakeServer::new(&runtime);
        let config = one_pool(1).build().expect("valid");
        let pool = NodePool::new(server.connector(), config, Arc::new(runtime.clone()));
        let lease = runtime.block_on(pool.get()).expect("the server is up");
        drop(pool.close_timeout(10 * SECOND));
        drop(pool);
        runtime.advance(SECOND);
        drop(lease);
        runtime.settle();
        assert_eq!((runtime.tasks(), runtime.timers(), server.connections()), (0, 0, 0), "seed {seed}");
        assert_eq!(server.closes(), [CloseReason::PoolClosed], "seed {seed}");
    }
}
