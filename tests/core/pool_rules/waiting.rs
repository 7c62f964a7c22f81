//! W1 to W10: the queue, its deadlines, and what becomes of those who leave it.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use redis_manager_core::testing::{FakeConnector, FakeMode, FakeRuntime, FakeServer};
use redis_manager_core::{Acquire, AcquireError, Manager, NodeConfig, NodePool, Spawn, Timer, WaitPhase};

use crate::support::{CountingWaker, SECOND, TestRng, one_pool, poll_for, world};

/// Bites when `put_back` idle stacks a connection although somebody waits.
#[test]
fn w1_one_greedy_caller_does_not_starve_three_waiters() {
    for seed in 0..20 {
        let world = world(seed, one_pool(1));
        let served = Arc::new(Mutex::new(Vec::new()));
        let first = world.get();
        let (pool, log) = (world.pool.clone(), Arc::clone(&served));
        let mut waiters = Vec::new();
        for n in 1..=3 {
            let mut acquire = Box::pin({
                let (pool, log) = (pool.clone(), Arc::clone(&log));
                async move {
                    let lease = pool.get().await.expect("served in turn");
                    log.lock().expect("not poisoned").push(n);
                    drop(lease);
                }
            });
            assert!(poll_for(&Arc::new(CountingWaker::default()), &mut acquire).is_pending());
            waiters.push(acquire);
        }
        for waiter in waiters {
            world.runtime.spawn(waiter);
        }
        world.runtime.settle();
        world.runtime.spawn(Box::pin(async move {
            let mut lease = first;
            for _ in 0..5 {
                drop(lease);
                lease = pool.get().await.expect("served in turn");
                log.lock().expect("not poisoned").push(0);
            }
        }));
        world.runtime.settle();
        assert_eq!(*served.lock().expect("not poisoned"), [1, 2, 3, 0, 0, 0, 0, 0], "seed {seed}");
    }
}

/// Bites when `put_back` idle stacks whoever waits.
#[test]
fn w2_a_release_that_races_with_enqueueing_leaves_nobody_beside_an_idle_connection() {
    for seed in 0..50 {
        let world = world(seed, one_pool(2));
        let dice = Arc::new(TestRng::new(seed));
        for _ in 0..8 {
            let (pool, runtime, dice) = (world.pool.clone(), world.runtime.clone(), Arc::clone(&dice));
            world.runtime.spawn(Box::pin(async move {
                for _ in 0..30 {
                    let lease = pool.get().await.expect("the server is up");
                    runtime.sleep(dice.millis(1)).await;
                    drop(lease);
                }
            }));
        }
        world.runtime.advance(SECOND);
        assert_eq!(world.runtime.tasks(), 1, "seed {seed}: callers hang: {:?}", world.pool.status());
        world.assert_capacity(2);
    }
}

#[test]
fn w2_releases_and_acquires_on_real_threads_lose_no_wake_up() {
    let world = world(1, one_pool(1));
    drop(world.get());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let parker = Arc::new(Parker(thread::current()));
                let waker = Waker::from(parker);
                for _ in 0..500 {
                    let mut acquire = world.pool.get();
                    let lease = loop {
                        let mut cx = Context::from_waker(&waker);
                        match Pin::new(&mut acquire).poll(&mut cx) {
                            Poll::Ready(lease) => break lease.expect("the server is up"),
                            Poll::Pending => thread::park_timeout(20 * SECOND),
                        }
                    };
                    drop(lease);
                }
            });
        }
    });
    world.assert_capacity(1);
}

struct Parker(thread::Thread);

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Bites when `Acquire` has no `Drop`.
#[test]
fn w3_a_waiter_that_leaves_after_its_grant_passes_it_on() {
    let world = world(1, one_pool(1));
    let lease = world.get();
    let (leaves, stays) = (Arc::new(CountingWaker::default()), Arc::new(CountingWaker::default()));
    let (mut leaver, mut stayer) = (world.pool.get(), world.pool.get());
    assert!(poll_for(&leaves, &mut leaver).is_pending() && poll_for(&stays, &mut stayer).is_pending());
    drop(lease);
    assert_eq!((leaves.rings(), stays.rings()), (1, 0));
    drop(leaver);
    assert_eq!(stays.rings(), 1);
    assert!(poll_for(&stays, &mut stayer).is_ready());
}

/// A waker that asks the pool something when it is woken or dropped: a deadlock if that is under the lock.
struct Nosy(NodePool<FakeConnector>);

impl Wake for Nosy {
    fn wake(self: Arc<Self>) {
        let _ = self.0.status();
    }
}

impl Drop for Nosy {
    fn drop(&mut self) {
        let _ = self.0.status();
    }
}

/// Bites when `collect`, `cancel` or `put_back` drop or wake a waker before the lock is open.
#[test]
fn w4_wakers_are_woken_and_dropped_outside_of_the_lock() {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        let world = world(1, one_pool(1));
        let lease = world.get();
        let nosy = || Waker::from(Arc::new(Nosy(world.pool.clone())));
        let mut acquire = world.pool.get();
        for _ in 0..3 {
            let polled = Pin::new(&mut acquire).poll(&mut Context::from_waker(&nosy()));
            assert!(polled.is_pending());
        }
        let mut leaver = world.pool.get();
        assert!(Pin::new(&mut leaver).poll(&mut Context::from_waker(&nosy())).is_pending());
        drop(leaver);
        drop(lease);
        assert!(Pin::new(&mut acquire).poll(&mut Context::from_waker(&nosy())).is_ready());
        done.send(()).expect("the test waits");
    });
    assert!(is_done.recv_timeout(5 * SECOND).is_ok(), "a deadlock, or the panic above");
}

/// A waker that panics.
struct Bomb;

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        // As a panic, without the message on the screen.
        std::panic::resume_unwind(Box::new("a waker"));
    }
}

/// Bites when `Node::run` lets the panic of a waker through: the others were not woken, and the driver died of it.
#[test]
fn w4_a_waker_that_panics_harms_nobody_else() {
    let world = world(1, one_pool(1));
    let held = world.get();
    let bomb = Waker::from(Arc::new(Bomb));
    let poll_bad = |acquire: &mut Acquire<'_, FakeConnector>| {
        assert!(Pin::new(acquire).poll(&mut Context::from_waker(&bomb)).is_pending());
    };
    let mut bad = world.pool.get_timeout(SECOND);
    poll_bad(&mut bad);
    world.runtime.advance(2 * SECOND);
    assert!(world.pool.is_open(), "the driver died of it");
    let (mut bad, mut good) = (world.pool.get(), world.pool.get());
    let bell = Arc::new(CountingWaker::default());
    poll_bad(&mut bad);
    assert!(poll_for(&bell, &mut good).is_pending());
    drop(world.pool.close_timeout(SECOND));
    assert_eq!(bell.rings(), 1);
    drop(held);
}

/// Bites (hangs) when `begin_adding` makes the connector under the lock.
#[test]
fn w4_a_manager_runs_no_user_code_under_its_lock() {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        let runtime = FakeRuntime::new(1);
        let server = FakeServer::new(&runtime);
        let manager = Manager::<FakeConnector>::new(NodeConfig::default(), Arc::new(runtime.clone()));
        let nosy = || {
            let _ = manager.status();
            server.connector()
        };
        runtime.block_on(manager.add("a", SECOND, nosy)).expect("the server is up");
        done.send(()).expect("the test waits");
    });
    assert!(is_done.recv_timeout(5 * SECOND).is_ok(), "a deadlock");
}

#[test]
fn w5_everything_can_be_dropped_on_a_plain_thread_after_the_runtimes_end() {
    for seed in 0..10 {
        let world = world(seed, one_pool(3).min_idle(1));
        let (one, two) = (world.get(), world.get());
        world.runtime.shut_down();
        let (pool, server) = (world.pool.clone(), world.server.clone());
        thread::spawn(move || {
            drop(one);
            drop(pool);
            two.discard();
        })
        .join()
        .unwrap_or_else(|_| panic!("seed {seed}: a drop panicked"));
        assert_eq!(server.connections(), 0, "seed {seed}");
    }
}

/// Bites when `arm_probe` arms nothing.
#[test]
fn w6_w8_a_get_answers_at_its_deadline_in_every_fault_wherever_it_stands_in_line() {
    for seed in 0..5 {
        for mode in [FakeMode::Refusing, FakeMode::Silent, FakeMode::Void] {
            for loses_connections in [false, true] {
                let world = world(seed, one_pool(2));
                let held = world.get();
                world.server.set_mode(mode);
                if loses_connections {
                    world.server.drop_connections();
                }
                let answers = Arc::new(Mutex::new(Vec::new()));
                for seconds in [9, 3, 6] {
                    let (pool, runtime) = (world.pool.clone(), world.runtime.clone());
                    let answers = Arc::clone(&answers);
                    world.runtime.spawn(Box::pin(async move {
                        let asked_at = runtime.now();
                        let error = pool.get_timeout(seconds * SECOND).await.err();
                        let waited = runtime.now().saturating_duration_since(asked_at);
                        answers.lock().expect("not poisoned").push((seconds, waited, error));
                    }));
                }
                world.runtime.advance(10 * SECOND);
                let answers = answers.lock().expect("not poisoned");
                let at = format!("seed {seed}, {mode:?}, {loses_connections}: {answers:?}");
                assert_eq!(answers.len(), 3, "{at}");
                for (seconds, waited, error) in answers.iter() {
                    assert_eq!(*waited, *seconds * SECOND, "{at}");
                    assert!(matches!(error, Some(AcquireError::Timeout { .. } | AcquireError::NoHealthyPools { .. })), "{at}");
                }
                drop(held);
                world.server.set_mode(FakeMode::Up);
                world.runtime.advance(10 * SECOND);
                world.assert_capacity(2);
            }
        }
    }
}

#[test]
fn t2_a_timeout_says_that_the_leases_were_held() {
    let world = world(1, one_pool(1));
    let _held = world.get();
    let Err(AcquireError::Timeout { phase, waited, seen, .. }) = world.get_within(SECOND) else { panic!("a timeout") };
    assert_eq!((phase, waited, seen.active), (WaitPhase::LeasesHeld, SECOND, 1));
}

#[test]
fn w7_beyond_max_waiters_a_get_is_refused_at_once() {
    let world = world(1, one_pool(1).max_waiters(3));
    let held = world.get();
    let bell = Arc::new(CountingWaker::default());
    let mut waiters: Vec<_> = (0..3).map(|_| world.pool.get()).collect();
    assert!(waiters.iter_mut().all(|waiter| poll_for(&bell, waiter).is_pending()));
    let asked_at = world.runtime.now();
    assert!(matches!(world.get_within(SECOND), Err(AcquireError::Saturated { waiting: 3, .. })));
    assert_eq!(world.runtime.now(), asked_at);
    drop(waiters.pop());
    assert!(matches!(world.get_within(SECOND), Err(AcquireError::Timeout { .. })));
    drop(waiters);
    drop(held);
    world.assert_capacity(1);
}

#[test]
fn w9_a_grant_of_a_future_that_is_never_polled_again_goes_to_the_next_at_its_deadline() {
    for seed in 0..10 {
        let world = world(seed, one_pool(1));
        let held = world.get();
        let bell = Arc::new(CountingWaker::default());
        let mut lazy = world.pool.get_timeout(SECOND);
        assert!(poll_for(&bell, &mut lazy).is_pending());
        drop(held);
        assert_eq!(bell.rings(), 1);
        drop(world.get_within(2 * SECOND).unwrap_or_else(|error| panic!("seed {seed}: {error}")));
        assert_eq!(world.runtime.now().as_nanos(), 1_000_000_000, "seed {seed}");
        let Poll::Ready(Err(AcquireError::Timeout { .. })) = poll_for(&bell, &mut lazy) else {
            panic!("seed {seed}: it is told that its time was up")
        };
        // The same at a close.
        let held = world.get();
        let mut lazy = world.pool.get_timeout(SECOND);
        assert!(poll_for(&bell, &mut lazy).is_pending());
        drop(held);
        world.runtime.block_on(world.pool.close());
        assert_eq!(world.server.connections(), 0, "seed {seed}");
    }
}

/// Bites when `cancel` leaves the waker in its table, for the next waiter in the same slot to find.
#[test]
fn w10_a_get_that_is_given_up_lets_its_waker_go_granted_or_not() {
    let world = world(1, one_pool(1));
    let held = world.get();
    let (queued, granted) = (Arc::new(CountingWaker::default()), Arc::new(CountingWaker::default()));
    let (mut leaver, mut other) = (world.pool.get(), world.pool.get());
    assert!(poll_for(&queued, &mut leaver).is_pending());
    assert!(poll_for(&granted, &mut other).is_pending());
    drop(leaver);
    assert_eq!((queued.rings(), Arc::strong_count(&queued)), (0, 1));
    drop(held);
    drop(other);
    assert_eq!((granted.rings(), Arc::strong_count(&granted)), (1, 1));
    world.assert_capacity(1);
}

/// Bites when `Node::collect` keeps the first waker.
#[test]
fn w10_a_future_that_moved_wakes_its_latest_task_only() {
    let world = world(1, one_pool(1));
    let held = world.get();
    let (first, second) = (Arc::new(CountingWaker::default()), Arc::new(CountingWaker::default()));
    let mut acquire = world.pool.get();
    assert!(poll_for(&first, &mut acquire).is_pending());
    assert!(poll_for(&second, &mut acquire).is_pending());
    drop(held);
    assert_eq!((first.rings(), second.rings()), (0, 1));
    assert!(poll_for(&second, &mut acquire).is_ready());
    assert_eq!(Arc::strong_count(&first), 1, "a waker that is not needed any more is let go");
}
