//! Every schedule of what ends a connection, a handle or a runtime, beside what goes on; and of two nodes under one limit.

use std::sync::Arc;
use std::time::Duration;

use redis_manager_core::{AcquireError, CloseReason, Manager, TotalLimit};

use crate::server::{ModelAnswer, ModelServer};
use crate::world::{FOREVER, ModelPool, ModelRuntime, block_on, config, get, poll};
use crate::{SOON, both_returns, model};

/// Found: a driver that is not woken when the pool is finished, or for actions.
#[test]
fn a_close_meets_a_get_and_a_release() {
    both_returns(|world, server, pool| {
        let lease = pool.try_get().unwrap();
        let borrower = pool.clone();
        let releasing = world.thread(move || drop(lease));
        let borrowing = world.thread(move || match block_on(borrower.get_timeout(FOREVER)) {
            Ok(lease) => drop(lease),
            Err(AcquireError::Closed { .. }) => {}
            Err(other) => panic!("{other}"),
        });
        let closing = pool.close_timeout(FOREVER);
        world.block_on(closing);
        assert_eq!((server.open(), server.closes()), (0, vec![CloseReason::PoolClosed]));
        releasing.join().unwrap();
        borrowing.join().unwrap();
        assert!(matches!(pool.try_get(), Err(AcquireError::Closed { .. })));
        world.end_of(pool, server);
    });
}

/// Found: a dial that asks whether the pool is open under one lock and leaves its waker under the next; dials that a close
/// does not wake.
#[test]
fn a_close_ends_a_dial_that_would_never_be_answered() {
    model(|| {
        let (world, server) = (ModelRuntime::new(), ModelServer::new(ModelAnswer::Never));
        let settings = config(1).build().unwrap();
        let pool = ModelPool::new(server.clone(), settings, Arc::new(world.clone()));
        let driver = world.clone();
        let running = world.thread(move || driver.settle());
        let closing = pool.close_timeout(FOREVER);
        running.join().unwrap();
        world.settle();
        assert_eq!(world.tasks(), 0, "the dial and the driver have ended");
        block_on(closing);
        world.end_of(pool, &server);
    });
}

#[test]
fn a_forced_close_meets_a_release() {
    both_returns(|world, server, pool| {
        let lease = pool.try_get().unwrap();
        let closing = pool.close_timeout(Duration::ZERO);
        let releasing = world.thread(move || drop(lease));
        world.block_on(closing);
        assert_eq!(pool.status().active, 0);
        releasing.join().unwrap();
        world.settle();
        assert_eq!(server.closes(), [CloseReason::PoolClosed], "it leaves by one close, killed before or not");
        assert!(server.killed() <= 1);
        world.end_of(pool, server);
    });
}

#[test]
fn a_death_meets_a_loan() {
    both_returns(|world, server, pool| {
        let monitor = server.take_alarm();
        let raising = world.thread(move || monitor.closed());
        if let Ok(lease) = pool.try_get() {
            drop(lease);
        }
        raising.join().unwrap();
        world.settle();
        assert_eq!(server.closes(), [CloseReason::Broken]);
        // It died young, so the next dial waits a while.
        world.advance(Duration::from_secs(1));
        world.settle();
        assert_eq!((server.opened(), server.open()), (2, 1), "it was replaced");
        world.finish(pool, server, 1);
    });
}

#[test]
fn a_death_meets_the_last_handle() {
    both_returns(|world, server, pool| {
        let monitor = server.take_alarm();
        let raising = world.thread(move || monitor.closed());
        world.step();
        drop(pool);
        raising.join().unwrap();
        world.settle();
        assert_eq!((world.tasks(), server.open(), server.closes().len()), (0, 0, 1));
    });
}

/// Found: a driver that is retired and not woken; a last handle that does nothing.
#[test]
fn the_last_handle_meets_a_release_and_the_driver() {
    both_returns(|world, server, pool| {
        let lease = pool.try_get().unwrap();
        // So that the driver has a reason to come through the node.
        let mut waiting = get(&pool, SOON);
        assert!(poll(waiting.as_mut()).0.is_pending());
        drop(waiting);
        let releasing = world.thread(move || drop(lease));
        let driver = world.clone();
        let driving = world.thread(move || driver.settle());
        world.step();
        drop(pool);
        releasing.join().unwrap();
        driving.join().unwrap();
        assert_eq!(server.closes(), [CloseReason::PoolClosed], "closed by whoever came last");
        world.settle();
        assert_eq!((world.tasks(), server.open()), (0, 0));
    });
}

#[test]
fn two_handles_dropped_at_once_are_one_end() {
    both_returns(|world, server, pool| {
        let other = pool.clone();
        let dropping = world.thread(move || drop(other));
        world.step();
        drop(pool);
        dropping.join().unwrap();
        assert_eq!(server.closes(), [CloseReason::PoolClosed]);
        world.settle();
        assert_eq!((world.tasks(), server.open()), (0, 0));
    });
}

/// Found: a driver that closes the pool under one lock and is gone under the next; a node that leaves the actions to a
/// driver that is gone.
#[test]
fn the_end_of_the_runtime_meets_a_get() {
    both_returns(|world, server, pool| {
        let lease = pool.try_get().unwrap();
        let ending = world.clone();
        let ended = world.thread(move || ending.end());
        match block_on(pool.get_timeout(FOREVER)) {
            Err(AcquireError::RuntimeEnded { .. }) => {}
            other => panic!("{other:?}"),
        }
        drop(lease);
        ended.join().unwrap();
        assert_eq!(server.closes(), [CloseReason::PoolClosed]);
        world.end_of(pool, server);
    });
}

/// Found: a node that lets callers wait for what only the driver would tell them.
#[test]
fn the_end_of_the_runtime_meets_a_close() {
    both_returns(|world, server, pool| {
        let lease = pool.try_get().unwrap();
        let ending = world.clone();
        let ended = world.thread(move || ending.end());
        // It waits for nothing that only a task could tell, though a connection is still out.
        block_on(pool.close_timeout(FOREVER));
        drop(lease);
        ended.join().unwrap();
        assert_eq!(server.closes(), [CloseReason::PoolClosed]);
        world.end_of(pool, server);
    });
}

/// Found: a driver that has a new quota and is not woken.
#[test]
fn what_a_node_gives_up_reaches_the_other_one() {
    model(|| {
        let (world, server) = (ModelRuntime::new(), ModelServer::new(ModelAnswer::AtOnce));
        let settings = config(2).min_idle(0).build().unwrap();
        let manager = Manager::with_total_limit(settings, TotalLimit::new(3), Arc::new(world.clone())).unwrap();
        for name in ["a", "b"] {
            world.block_on(manager.add(name, FOREVER, || server.clone())).unwrap();
        }
        let held = ["a", "a", "b"].map(|name| world.block_on(manager.get(name, FOREVER)).unwrap());
        world.settle();
        let [first, second, third] = held;
        let releasing = world.thread(move || drop(first));
        let lent = world.block_on(manager.get("b", FOREVER)).unwrap();
        releasing.join().unwrap();
        world.settle();
        assert_eq!(server.open(), 3);
        drop((lent, second, third, manager));
        world.settle();
        assert_eq!((world.tasks(), server.open()), (0, 0), "all ends with the last handle");
    });
}
