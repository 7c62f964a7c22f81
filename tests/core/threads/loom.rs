//! Every schedule of two or three threads at the node, with at most three preemptions: one race in each model.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release --target-dir target/loom -p redis-manager-core --test loom`
//!
//! A wake-up that is lost is a deadlock, which loom reports. Which mistakes in the node a model was seen to find is
//! said above it. (A waker that `put_back` looks up after its lock is no mistake: whoever sits there by then is woken for
//! nothing and leaves another one.)
#![cfg(loom)]

mod loom_ends;
mod server;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use redis_manager_core::{AcquireError, CloseReason};
use server::{ModelAnswer, ModelServer};
use world::{FOREVER, ModelPool, ModelRuntime, block_on, config, get, poll};

/// How many times a schedule may take the processor from a thread that could go on.
const PREEMPTIONS: usize = 3;
/// Sooner than anything the pool itself does, so that the driver has to be told.
const SOON: Duration = Duration::from_millis(10);

fn model(run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(PREEMPTIONS);
    let schedules = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&schedules);
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        run();
    });
    let schedules = schedules.load(Ordering::Relaxed);
    println!("{schedules} schedules");
    assert!(schedules > 1, "loom saw no race at all");
}

/// The same race with a pool whose returns need no clock, and with one whose returns do; a single connection.
fn both_returns(run: impl Fn(&ModelRuntime, &ModelServer, ModelPool) + Send + Sync + Copy + 'static) {
    both_returns_of(1, run);
}

fn both_returns_of(limit: usize, run: impl Fn(&ModelRuntime, &ModelServer, ModelPool) + Send + Sync + Copy + 'static) {
    for runs_cleanup in [false, true] {
        model(move || {
            let (world, server) = (ModelRuntime::new(), ModelServer::new(ModelAnswer::AtOnce));
            let pool = world.pool(&server, limit);
            if runs_cleanup {
                pool.start_cleanup();
            }
            world.settle();
            run(&world, &server, pool);
        });
    }
}

/// Found: a waiter that is granted and not woken.
#[test]
fn a_release_that_meets_an_enqueue_reaches_it() {
    both_returns(|world, server, pool| {
        let lease = pool.try_get().unwrap();
        let releasing = world.thread(move || drop(lease));
        let second = block_on(pool.get_timeout(FOREVER)).unwrap();
        assert_eq!(server.opened(), 1);
        releasing.join().unwrap();
        drop(second);
        world.finish(pool, server, 1);
    });
}

/// The lease is timed: its return takes the lock, looks at the clock and takes the lock again.
///
/// Found: a timed lease that is given up between the two.
#[test]
fn a_timed_release_that_meets_an_enqueue_reaches_it() {
    model(|| {
        let (world, server) = (ModelRuntime::new(), ModelServer::new(ModelAnswer::AtOnce));
        let pool = world.pool_of(&server, config(1).use_time_sampling(1));
        let lease = pool.try_get().unwrap();
        let releasing = world.thread(move || drop(lease));
        let second = block_on(pool.get_timeout(FOREVER)).unwrap();
        releasing.join().unwrap();
        drop(second);
        let metrics = pool.metrics();
        assert_eq!((metrics.acquires.total(), metrics.use_time.count(), metrics.open()), (2, 2, 1));
        world.finish(pool, &server, 1);
    });
}

#[test]
fn one_release_reaches_two_that_enqueue_one_after_the_other() {
    both_returns(|world, server, pool| {
        let lease = pool.try_get().unwrap();
        let other = pool.clone();
        let borrowing = world.thread(move || drop(block_on(other.get_timeout(FOREVER)).unwrap()));
        let releasing = world.thread(move || drop(lease));
        drop(block_on(pool.get_timeout(FOREVER)).unwrap());
        releasing.join().unwrap();
        borrowing.join().unwrap();
        assert_eq!(server.opened(), 1);
        world.finish(pool, server, 1);
    });
}

/// Found: a driver that is not woken for actions.
#[test]
fn a_broken_release_that_meets_an_enqueue_is_replaced() {
    both_returns(|world, server, pool| {
        let mut lease = pool.try_get().unwrap();
        lease.is_broken = true;
        let releasing = world.thread(move || drop(lease));
        drop(world.block_on(pool.get_timeout(FOREVER)).unwrap());
        releasing.join().unwrap();
        world.settle();
        assert_eq!((server.opened(), server.closes()), (2, vec![CloseReason::Broken]));
        world.finish(pool, server, 1);
    });
}

/// Found: a soiled connection that goes back uncleaned; a driver that is not woken for actions.
#[test]
fn a_soiled_release_that_meets_an_enqueue_reaches_it_clean() {
    both_returns(|world, server, pool| {
        let mut lease = pool.try_get().unwrap();
        lease.is_soiled = true;
        let releasing = world.thread(move || drop(lease));
        let second = world.block_on(pool.get_timeout(FOREVER)).unwrap();
        releasing.join().unwrap();
        assert_eq!((second.is_soiled, server.opened()), (false, 1));
        drop(second);
        world.finish(pool, server, 1);
    });
}

#[test]
fn a_soiled_release_meets_a_close() {
    both_returns(|world, server, pool| {
        let mut lease = pool.try_get().unwrap();
        lease.is_soiled = true;
        let releasing = world.thread(move || drop(lease));
        let closing = pool.close_timeout(FOREVER);
        world.block_on(closing);
        releasing.join().unwrap();
        assert_eq!((server.open(), server.closes()), (0, vec![CloseReason::PoolClosed]));
        world.end_of(pool, server);
    });
}

/// Found: a change of the server that spares what idles, or what is on loan.
#[test]
fn a_change_of_the_server_meets_a_loan() {
    both_returns(|world, server, pool| {
        let monitor = server.take_alarm();
        let telling = world.thread(move || monitor.failed_over("a replica"));
        if let Ok(lease) = pool.try_get() {
            drop(lease);
        }
        telling.join().unwrap();
        world.settle();
        assert_eq!(server.closes(), [CloseReason::Outdated], "on the shelf, on loan, or on its way back");
        assert_eq!((server.opened(), server.open()), (2, 1), "it was replaced");
        world.finish(pool, server, 1);
    });
}

/// Found: a cancel that looks for its grant under one lock and leaves under the next; one that does nothing.
#[test]
fn a_cancel_that_meets_its_grant_passes_it_on() {
    both_returns(|world, server, pool| {
        let lease = pool.try_get().unwrap();
        let mut first = get(&pool, FOREVER);
        let mut second = get(&pool, FOREVER);
        assert!(poll(first.as_mut()).0.is_pending());
        assert!(poll(second.as_mut()).0.is_pending());
        let releasing = world.thread(move || drop(lease));
        let cancelling = world.thread(move || drop(first));
        drop(block_on(second).unwrap());
        releasing.join().unwrap();
        cancelling.join().unwrap();
        assert_eq!(server.opened(), 1);
        world.finish(pool, server, 1);
    });
}

/// Found: the same two.
#[test]
fn a_cancel_that_meets_its_grant_alone_loses_no_connection() {
    both_returns(|world, server, pool| {
        let lease = pool.try_get().unwrap();
        let mut waiting = get(&pool, FOREVER);
        let (_, bell) = poll(waiting.as_mut());
        let releasing = world.thread(move || drop(lease));
        let collected = match poll(waiting.as_mut()).0 {
            Poll::Ready(lease) => Some(lease.unwrap()),
            Poll::Pending => None,
        };
        drop(waiting);
        // Woken before the second poll, or not at all: the second poll left its own waker.
        assert!(collected.is_none() || bell.has_rung() || server.opened() == 1);
        drop(collected);
        releasing.join().unwrap();
        world.finish(pool, server, 1);
    });
}

/// Found: a cancel that looks whether it is in the queue under one lock and leaves under the next; one whose fast path leaves in
/// whatever state it is, or is all there is; a hand-over that chooses its waiter under one lock and grants under the next.
#[test]
fn a_cancel_meets_a_hand_over_and_a_release_by_the_slow_path() {
    both_returns_of(2, |world, server, pool| {
        let (fast, mut slow) = (pool.try_get().unwrap(), pool.try_get().unwrap());
        // The driver has it cleaned before it serves anybody.
        slow.is_soiled = true;
        let [mut first, mut second, mut third] = [(); 3].map(|()| get(&pool, FOREVER));
        for waiting in [&mut first, &mut second, &mut third] {
            assert!(poll(waiting.as_mut()).0.is_pending());
        }
        let cancelling = world.thread(move || drop(first));
        let handing_over = world.thread(move || drop(fast));
        drop(slow);
        let held = [world.block_on(second).unwrap(), world.block_on(third).unwrap()];
        handing_over.join().unwrap();
        cancelling.join().unwrap();
        assert_eq!((held.map(|lease| lease.is_soiled), server.opened()), ([false; 2], 2));
        world.finish(pool, server, 2);
    });
}

/// Found: a cancel that takes its waker from the table under a lock of its own, by the fast path or by the slow one; an
/// `acquire` that stores its waker after its lock; and what the model above has found.
#[test]
fn a_cancel_leaves_the_next_waiter_in_its_seat_its_waker() {
    both_returns(|world, server, pool| {
        let lease = pool.try_get().unwrap();
        let [mut first, mut second] = [(); 2].map(|()| get(&pool, FOREVER));
        assert!(poll(first.as_mut()).0.is_pending());
        assert!(poll(second.as_mut()).0.is_pending());
        let cancelling = world.thread(move || drop(first));
        let borrowing = world.thread(move || drop(block_on(second).unwrap()));
        drop(lease);
        // Its seat is that of the first, if that one has left by now.
        drop(block_on(pool.get_timeout(FOREVER)).unwrap());
        borrowing.join().unwrap();
        cancelling.join().unwrap();
        assert_eq!(server.opened(), 1);
        world.finish(pool, server, 1);
    });
}

/// Found: a poll that looks for the outcome under one lock and leaves its waker under the next; one that keeps the waker
/// of the first poll.
#[test]
fn a_grant_wakes_the_waker_of_the_latest_poll() {
    both_returns(|world, server, pool| {
        let lease = pool.try_get().unwrap();
        let mut waiting = get(&pool, FOREVER);
        assert!(poll(waiting.as_mut()).0.is_pending());
        let releasing = world.thread(move || drop(lease));
        // The second poll comes from another thread, with another waker.
        let moved = world.thread(move || drop(block_on(waiting).unwrap()));
        releasing.join().unwrap();
        moved.join().unwrap();
        world.finish(pool, server, 1);
    });
}

/// Found: the same two.
#[test]
fn a_deadline_that_meets_a_grant_ends_in_one_of_them() {
    both_returns(|world, server, pool| {
        let lease = pool.try_get().unwrap();
        let mut waiting = get(&pool, SOON);
        assert!(poll(waiting.as_mut()).0.is_pending());
        world.settle();
        world.advance(SOON);
        let releasing = world.thread(move || drop(lease));
        let borrowing = world.thread(move || match block_on(waiting) {
            Ok(lease) => drop(lease),
            Err(AcquireError::Timeout { .. }) => {}
            Err(other) => panic!("{other}"),
        });
        world.settle();
        releasing.join().unwrap();
        borrowing.join().unwrap();
        world.finish(pool, server, 1);
    });
}

/// Found: a turn that reads the next deadline under one lock and notes its sleep under the next; a node that does not
/// tell the driver of an earlier deadline.
#[test]
fn a_driver_on_its_way_to_sleep_hears_of_an_earlier_deadline() {
    both_returns(|world, server, pool| {
        let lease = pool.try_get().unwrap();
        // Wakes the driver, which then finds the first deadline gone.
        let mut leaving = get(&pool, SOON);
        assert!(poll(leaving.as_mut()).0.is_pending());
        drop(leaving);
        let mut waiting = get(&pool, SOON);
        let asking = world.thread(move || {
            let (polled, bell) = poll(waiting.as_mut());
            assert!(polled.is_pending());
            (waiting, bell)
        });
        world.settle();
        let (mut waiting, bell) = asking.join().unwrap();
        world.settle();
        world.advance(SOON * 2);
        world.settle();
        assert!(bell.has_rung(), "the waiter is told at its deadline");
        assert!(matches!(poll(waiting.as_mut()).0, Poll::Ready(Err(AcquireError::Timeout { .. }))));
        drop((waiting, lease));
        world.finish(pool, server, 1);
    });
}
