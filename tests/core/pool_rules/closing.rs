//! E1, E4, E5: closing many nodes at once, what is told of a close, and what is said after a runtime's end.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use redis_manager_core::testing::{FakeConnection, FakeConnector, FakeError, FakeRuntime, FakeServer};
use redis_manager_core::{
    AcquireError, CloseReason, Condition, ConnectionMonitor, Connector, Instant, Lease, Manager, Spawn, Timer,
};

use crate::support::{CountingWaker, MS, PoolFixture, SECOND, one_pool, poll_for, world, world_of};

type PendingGet = Pin<Box<dyn Future<Output = Result<Lease<FakeConnector>, AcquireError>> + Send>>;

/// A manager of nodes with one connection each, all of the same server.
fn manager_of(names: &[&str], seed: u64) -> (FakeRuntime, FakeServer, Manager<FakeConnector>) {
    let runtime = FakeRuntime::new(seed);
    let server = FakeServer::new(&runtime);
    let config = one_pool(1).build().expect("the test's settings are valid");
    let manager = Manager::new(config, Arc::new(runtime.clone()));
    for name in names {
        runtime.block_on(manager.add(name, SECOND, || server.connector())).expect("the server is up");
    }
    (runtime, server, manager)
}

fn getting(manager: &Manager<FakeConnector>, name: &'static str) -> PendingGet {
    let manager = manager.clone();
    Box::pin(async move { manager.get(name, 10 * SECOND).await })
}

/// A task that is told of the close of one node gives back what it has of another, and the caller in the queue there is quick.
struct GivesBack {
    held: Mutex<Option<Lease<FakeConnector>>>,
    in_line: Mutex<PendingGet>,
    outcome: Mutex<Option<Poll<Result<(), AcquireError>>>>,
}

impl Wake for GivesBack {
    fn wake(self: Arc<Self>) {
        let held = self.held.lock().expect("not poisoned").take();
        drop(held);
        let polled = poll_for(&Arc::default(), &mut *self.in_line.lock().expect("not poisoned"));
        *self.outcome.lock().expect("not poisoned") = Some(polled.map(|got| got.map(drop)));
    }
}

/// Seen to bite: with a `begin_close` that runs its errands itself, so that each node is closed and told one by one.
#[test]
fn e1_of_nodes_that_close_together_none_serves_a_caller_after_another_has_told_one() {
    for seed in 0..10 {
        for close_some in [false, true] {
            let (runtime, server, manager) = manager_of(&["a", "b"], seed);
            let held_of_a = runtime.block_on(manager.get("a", SECOND)).expect("one");
            let held = runtime.block_on(manager.get("b", SECOND)).expect("one");
            let mut in_line = getting(&manager, "b");
            assert!(poll_for(&Arc::default(), &mut in_line).is_pending());
            let told =
                Arc::new(GivesBack { held: Mutex::new(Some(held)), in_line: Mutex::new(in_line), outcome: Mutex::default() });
            let mut told_first = getting(&manager, "a");
            let waker = Waker::from(Arc::clone(&told));
            assert!(told_first.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            let mut closing: Pin<Box<dyn Future<Output = ()>>> = match close_some {
                false => Box::pin(manager.close(10 * SECOND)),
                true => Box::pin(manager.begin_close_nodes(["a", "b"], 10 * SECOND).drained()),
            };
            assert!(poll_for(&Arc::default(), &mut closing).is_pending(), "seed {seed}: one is still on loan");
            let outcome = told.outcome.lock().expect("not poisoned").take();
            assert!(matches!(outcome, Some(Poll::Ready(Err(AcquireError::Closed { .. })))), "seed {seed}: {outcome:?}");
            drop(held_of_a);
            runtime.block_on(closing);
            assert_eq!((server.connections(), runtime.now()), (0, Instant::ZERO), "seed {seed}");
            assert_eq!(manager.is_closed(), !close_some);
        }
    }
}

/// Seen to bite: with a `PendingClose` without `Drop`.
#[test]
fn e1_a_close_that_has_begun_is_told_also_when_it_is_dropped() {
    let (runtime, server, manager) = manager_of(&["a", "b"], 1);
    let held = runtime.block_on(manager.get("a", SECOND)).expect("one");
    let bell = Arc::new(CountingWaker::default());
    let mut in_line = getting(&manager, "a");
    assert!(poll_for(&bell, &mut in_line).is_pending());
    let begun = manager.begin_close(SECOND);
    assert_eq!(bell.rings(), 0);
    assert!(matches!(manager.try_get("b"), Err(AcquireError::Closed { .. })), "nobody is served from here on");
    drop(begun);
    assert_eq!(bell.rings(), 1);
    assert!(matches!(poll_for(&bell, &mut in_line), Poll::Ready(Err(AcquireError::Closed { .. }))));
    runtime.settle();
    assert_eq!(server.connections(), 1);
    runtime.advance(SECOND);
    assert_eq!(server.connections(), 0, "the deadline holds");
    drop(held);
}

/// Seen to bite: with an `on_close` that does not let the dead go, and with an `on_died` that does not.
#[test]
fn e4_a_close_waits_for_no_connection_that_is_dead() {
    for seed in 0..10 {
        for dies_after in [0, 1] {
            let world = world(seed, one_pool(2).min_idle(2));
            let held = [world.get(), world.get()];
            if dies_after == 0 {
                world.server.drop_connections();
            } else {
                let (runtime, server) = (world.runtime.clone(), world.server.clone());
                world.runtime.spawn(Box::pin(async move {
                    runtime.sleep(SECOND).await;
                    server.drop_connections();
                }));
            }
            world.runtime.block_on(world.pool.close_timeout(10 * SECOND));
            assert_eq!(world.runtime.now(), Instant::ZERO + dies_after * SECOND, "seed {seed}");
            drop(held);
            world.runtime.settle();
            assert_eq!(world.server.closes(), [CloseReason::PoolClosed; 2], "seed {seed}: each is closed once");
            assert_eq!((world.runtime.tasks(), world.runtime.timers()), (0, 0), "seed {seed}");
        }
    }
}

/// A connector all of whose connections wait at the server for their own sake.
struct Listening(FakeConnector, FakeServer);

impl Connector for Listening {
    type Connection = FakeConnection;
    type Error = FakeError;

    async fn connect(&self) -> Result<FakeConnection, FakeError> {
        self.0.connect().await
    }

    async fn check(&self, conn: &mut FakeConnection) -> Result<(), FakeError> {
        self.0.check(conn).await
    }

    fn inspect(&self, conn: &mut FakeConnection) -> Condition {
        self.0.inspect(conn)
    }

    fn watch(&self, conn: &mut FakeConnection, monitor: ConnectionMonitor) {
        self.0.watch(conn, monitor);
    }

    fn pool_closing(&self) {
        self.1.drop_connections();
        // As a panic, without the message on the screen.
        std::panic::resume_unwind(Box::new("a hook"));
    }
}

/// Seen to bite: with a `tell_close` that does not ask the connector.
#[test]
fn e4_what_waits_at_the_server_for_its_own_sake_is_ended_when_the_pool_closes() {
    let world = world_of(1, one_pool(2).min_idle(2), |server| Listening(server.connector(), server.clone()));
    let held = world.get();
    world.runtime.block_on(world.pool.close_timeout(10 * SECOND));
    assert_eq!((world.runtime.now(), world.server.connections()), (Instant::ZERO, 0));
    drop(held);
}

/// Seen to bite: with a close that does not give the signal, with one that gives it to the first only, and with a membership that
/// is kept when its future is dropped.
#[test]
fn e4_any_number_of_tasks_can_wait_for_the_close_and_leave() {
    let (runtime, _server, manager) = manager_of(&["a"], 1);
    let held = runtime.block_on(manager.get("a", SECOND)).expect("one");
    let bells: Vec<_> = (0..5).map(|_| Arc::new(CountingWaker::default())).collect();
    let mut waiting: Vec<_> = bells.iter().map(|_| manager.closed()).collect();
    for (bell, closed) in bells.iter().zip(&mut waiting) {
        assert!(poll_for(&Arc::default(), closed).is_pending());
        assert!(poll_for(bell, closed).is_pending(), "polled again, it is the latest waker that counts");
    }
    drop(waiting.remove(0));
    let mut late = manager.closed();
    assert!(poll_for(&bells[0], &mut late).is_pending());
    drop(late.clone());
    let mut closing = Box::pin(manager.close(10 * SECOND));
    assert!(poll_for(&Arc::default(), &mut closing).is_pending());
    assert_eq!(bells.iter().map(|bell| bell.rings()).collect::<Vec<_>>(), [1; 5]);
    for closed in waiting.iter_mut().chain([&mut late, &mut manager.closed()]) {
        assert!(poll_for(&Arc::default(), closed).is_ready());
        assert!(poll_for(&Arc::default(), closed).is_ready());
    }
    drop(held);
    runtime.block_on(closing);
    assert_eq!(runtime.now(), Instant::ZERO);
}

/// Seen to bite: with a manager whose drop does not give the signal.
#[test]
fn e4_the_last_handle_dropped_is_a_close_too() {
    let (_runtime, _server, manager) = manager_of(&["a"], 1);
    let mut closed = manager.closed();
    let clone = manager.clone();
    drop(manager);
    let bell = Arc::new(CountingWaker::default());
    assert!(poll_for(&bell, &mut closed).is_pending());
    drop(clone);
    assert_eq!(bell.rings(), 1);
    assert!(poll_for(&bell, &mut closed).is_ready());
}

#[track_caller]
fn assert_ended<T>(got: Result<T, AcquireError>) {
    match got {
        Err(AcquireError::RuntimeEnded { .. }) => {}
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was served"),
    }
}

/// Seen to bite: with a driver that is dropped like one that is not needed any more, and with a `no_such_node` that does
/// not ask the runtime.
#[test]
fn e5_after_the_runtimes_end_every_call_says_so() {
    for seed in 0..10 {
        let (runtime, server, manager) = manager_of(&["a", "b"], seed);
        let handle = manager.node("a").expect("it is there");
        let held = runtime.block_on(manager.get("a", SECOND)).expect("one");
        let mut in_line = getting(&manager, "a");
        assert!(poll_for(&Arc::default(), &mut in_line).is_pending());
        let mut adding = {
            let (manager, void) = (manager.clone(), FakeServer::new(&runtime));
            void.set_mode(redis_manager_core::testing::FakeMode::Void);
            Box::pin(async move { manager.add("c", 10 * SECOND, || void.connector()).await })
        };
        assert!(poll_for(&Arc::default(), &mut adding).is_pending());
        let mut closed = manager.closed();
        assert!(poll_for(&Arc::default(), &mut closed).is_pending());
        runtime.shut_down();

        let now = |getting: PendingGet| {
            let mut getting = getting;
            match poll_for(&Arc::default(), &mut getting) {
                Poll::Ready(got) => got,
                Poll::Pending => panic!("seed {seed}: it waits for a runtime that has ended"),
            }
        };
        assert_ended(now(in_line));
        assert!(matches!(poll_for(&Arc::default(), &mut adding), Poll::Ready(Err(AcquireError::RuntimeEnded { .. }))));
        for name in ["a", "b", "c", "never added"] {
            assert_ended(now(getting(&manager, name)));
            assert_ended(manager.try_get(name));
        }
        assert_ended(manager.node("c"));
        assert_ended(handle.try_get());
        for name in ["a", "d"] {
            let mut adding = Box::pin(manager.add(name, SECOND, || server.connector()));
            assert!(matches!(poll_for(&Arc::default(), &mut adding), Poll::Ready(Err(AcquireError::RuntimeEnded { .. }))));
            assert_ended(now(getting(&manager, name)));
        }
        assert_ended(manager.open("e", || server.connector()));
        assert!(poll_for(&Arc::default(), &mut closed).is_pending(), "seed {seed}: nobody has closed it");

        drop(held);
        for _ in 0..2 {
            assert!(poll_for(&Arc::default(), &mut Box::pin(manager.close_node("b", SECOND))).is_ready());
        }
        assert_ended(now(getting(&manager, "b")));
        for _ in 0..2 {
            assert!(poll_for(&Arc::default(), &mut Box::pin(manager.close(SECOND))).is_ready(), "seed {seed}");
        }
        assert!(matches!(now(getting(&manager, "a")), Err(AcquireError::Closed { .. })), "seed {seed}: that was asked for");
        assert_eq!(server.connections(), 0, "seed {seed}");
    }
}

/// Seen to bite: with a driver that is lost whatever the pool was doing.
#[test]
fn e5_a_pool_that_was_closed_before_its_runtimes_end_says_that_it_was_closed() {
    let PoolFixture { runtime, pool, .. } = world(1, one_pool(1).min_idle(1));
    let held = runtime.block_on(pool.get()).expect("one");
    drop(pool.close_timeout(10 * SECOND));
    runtime.advance(MS);
    runtime.shut_down();
    assert!(matches!(pool.try_get(), Err(AcquireError::Closed { .. })));
    assert!(matches!(poll_for(&Arc::default(), &mut pool.get()), Poll::Ready(Err(AcquireError::Closed { .. }))));
    drop(held);
}
