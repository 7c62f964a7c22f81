//! Random schedules of more threads than loom can try: a crowd at the node, and everything that can happen to it.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test --release --target-dir target/shuttle -p redis-manager-core --test shuttle`
//!
//! SHUTTLE_SCHEDULES sets how many schedules each scenario gets. A failure prints its schedule, for `shuttle::replay`.
#![cfg(shuttle)]

mod server;
mod world;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use redis_manager_core::{AcquireError, Lease, Manager, TotalLimit};
use server::{ModelAnswer, ModelServer};
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::Mutex;
use shuttle::sync::atomic::{AtomicUsize, Ordering};
use shuttle::thread::JoinHandle;
use world::{FOREVER, ModelPool, ModelRuntime, block_on, config, get, poll};

const SCHEDULES: usize = 20_000;
const SOON: Duration = Duration::from_millis(10);
const BORROWERS: usize = 3;
const TURNS: usize = 3;

fn check(run: impl Fn() + Send + Sync + 'static) {
    let schedules = std::env::var("SHUTTLE_SCHEDULES").map_or(SCHEDULES, |count| count.parse().expect("a count"));
    shuttle::check_random(run, schedules);
}

/// The other threads of a scenario; its main thread runs the tasks and lets time pass until they have ended.
struct Crowd<'a> {
    world: &'a ModelRuntime,
    ended: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl<'a> Crowd<'a> {
    fn new(world: &'a ModelRuntime) -> Self {
        Self { world, ended: Arc::new(AtomicUsize::new(0)), threads: Vec::new() }
    }

    fn join(&mut self, run: impl FnOnce() + Send + 'static) {
        let (world, ended) = (self.world.clone(), Arc::clone(&self.ended));
        self.threads.push(self.world.thread(move || {
            run();
            ended.fetch_add(1, Ordering::SeqCst);
            world.ring();
        }));
    }

    /// Time that passes here is far less than [`FOREVER`], so a wake-up that is lost stays lost and is a deadlock.
    fn disperse(self) {
        let mut passes = 100;
        let all_ended = poll_fn(|cx| {
            if self.ended.load(Ordering::SeqCst) == self.threads.len() {
                return Poll::Ready(());
            }
            if passes > 0 {
                passes -= 1;
                self.world.advance(SOON * thread_rng().gen_range(0..=10));
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        });
        self.world.block_on(all_ended);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// A lease that was left for another thread to drop.
type Passed = Arc<Mutex<Option<Lease<ModelServer>>>>;

/// What becomes of a lease.
fn used(taken: Result<Lease<ModelServer>, AcquireError>, passed: &Passed, can_close: CanClose) {
    let mut lease = match taken {
        Ok(lease) => lease,
        Err(AcquireError::Closed { .. } | AcquireError::RuntimeEnded { .. }) if can_close == CanClose::Yes => return,
        Err(other) => panic!("{other}"),
    };
    assert!(!lease.is_soiled, "what somebody else has left was undone");
    match thread_rng().gen_range(0..7) {
        0 => lease.is_broken = true,
        6 => lease.is_soiled = true,
        1 => return lease.discard(),
        2 => {
            let previous = passed.lock().unwrap().replace(lease);
            return drop(previous);
        }
        _ => {}
    }
    drop(lease);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum CanClose {
    Yes,
    No,
}

/// One borrower: gets, leaves early, comes too late, breaks, discards, and passes on what it was lent.
fn borrow(pool: &ModelPool, passed: &Passed, can_close: CanClose) {
    for _ in 0..TURNS {
        match thread_rng().gen_range(0..7) {
            0 => match pool.try_get() {
                Err(AcquireError::Timeout { .. } | AcquireError::NoHealthyPools { .. }) => {}
                taken => used(taken, passed, can_close),
            },
            1 => match block_on(pool.get_timeout(SOON)) {
                Err(AcquireError::Timeout { .. } | AcquireError::NoHealthyPools { .. }) => {}
                taken => used(taken, passed, can_close),
            },
            2 => {
                let mut leaving = get(pool, FOREVER);
                if let (Poll::Ready(taken), _) = poll(leaving.as_mut()) {
                    used(taken, passed, can_close);
                }
            }
            3 => {
                // Its second poll has another waker.
                let mut waiting = get(pool, FOREVER);
                match poll(waiting.as_mut()).0 {
                    Poll::Ready(taken) => used(taken, passed, can_close),
                    Poll::Pending => used(block_on(waiting), passed, can_close),
                }
            }
            _ => used(block_on(pool.get_timeout(FOREVER)), passed, can_close),
        }
        // Nobody keeps what others wait for.
        let left = passed.lock().unwrap().take();
        drop(left);
    }
}

/// A pool of two connections and three borrowers who own a handle each.
fn crowded<'a>(world: &'a ModelRuntime, server: &ModelServer, can_close: CanClose) -> (ModelPool, Crowd<'a>) {
    let pool = world.pool(server, 2);
    if thread_rng().gen_range(0..2) == 0 {
        pool.start_cleanup();
    }
    let passed = Passed::default();
    let mut crowd = Crowd::new(world);
    for _ in 0..BORROWERS {
        let (pool, passed) = (pool.clone(), Arc::clone(&passed));
        crowd.join(move || borrow(&pool, &passed, can_close));
    }
    (pool, crowd)
}

#[test]
fn a_crowd_loses_nothing() {
    check(|| {
        let (world, server) = (ModelRuntime::new(), ModelServer::new(ModelAnswer::AtOnce));
        let (pool, crowd) = crowded(&world, &server, CanClose::No);
        crowd.disperse();
        world.finish(pool, &server, 2);
    });
}

#[test]
fn deaths_meet_a_crowd() {
    check(|| {
        let (world, server) = (ModelRuntime::new(), ModelServer::new(ModelAnswer::AtOnce));
        let (pool, mut crowd) = crowded(&world, &server, CanClose::No);
        let (first, second) = (server.take_alarm(), server.take_alarm());
        crowd.join(move || {
            first.closed();
            second.closed();
        });
        crowd.disperse();
        // A connection that died young is replaced after a pause.
        for _ in 0..10 {
            world.settle();
            world.advance(Duration::from_secs(1));
        }
        world.finish(pool, &server, 2);
    });
}

#[test]
fn words_of_the_server_meet_a_crowd() {
    check(|| {
        let (world, server) = (ModelRuntime::new(), ModelServer::new(ModelAnswer::AtOnce));
        let (pool, mut crowd) = crowded(&world, &server, CanClose::No);
        let (first, second) = (server.take_alarm(), server.take_alarm());
        crowd.join(move || {
            first.failed_over("a replica");
            second.suspect("not ready");
        });
        crowd.disperse();
        world.finish(pool, &server, 2);
    });
}

#[test]
fn a_close_meets_a_crowd() {
    check(|| {
        let (world, server) = (ModelRuntime::new(), ModelServer::new(ModelAnswer::AtOnce));
        let (pool, mut crowd) = crowded(&world, &server, CanClose::Yes);
        let closing = pool.clone();
        let timeout = SOON * thread_rng().gen_range(0..10);
        crowd.join(move || block_on(closing.close_timeout(timeout)));
        let again = pool.clone();
        crowd.join(move || block_on(again.close_timeout(FOREVER)));
        crowd.disperse();
        world.settle();
        assert_eq!((world.tasks(), server.open()), (0, 0), "the pool is drained");
        assert_eq!(server.closes().len(), server.opened(), "each connection left by one close");
        assert!(matches!(pool.try_get(), Err(AcquireError::Closed { .. })));
        world.end_of(pool, &server);
    });
}

#[test]
fn the_last_handle_leaves_with_the_crowd() {
    check(|| {
        let (world, server) = (ModelRuntime::new(), ModelServer::new(ModelAnswer::AtOnce));
        let (pool, mut crowd) = crowded(&world, &server, CanClose::No);
        // It outlives the pool, perhaps.
        if let Ok(lease) = pool.try_get() {
            crowd.join(move || drop(lease));
        }
        let monitor = server.take_alarm();
        crowd.join(move || monitor.closed());
        drop(pool);
        crowd.disperse();
        world.settle();
        assert_eq!((world.tasks(), server.open()), (0, 0), "all ends with the last handle");
        assert_eq!(server.closes().len(), server.opened(), "each connection left by one close");
    });
}

#[test]
fn the_end_of_the_runtime_meets_a_crowd() {
    check(|| {
        let (world, server) = (ModelRuntime::new(), ModelServer::new(ModelAnswer::AtOnce));
        let (pool, mut crowd) = crowded(&world, &server, CanClose::Yes);
        let ending = world.clone();
        crowd.join(move || ending.end());
        let closing = pool.clone();
        crowd.join(move || block_on(closing.close_timeout(FOREVER)));
        crowd.disperse();
        assert!(matches!(pool.try_get(), Err(AcquireError::Closed { .. } | AcquireError::RuntimeEnded { .. })));
        assert_eq!(server.open(), 0);
        world.end_of(pool, &server);
    });
}

#[test]
fn nodes_are_added_and_closed_by_many_at_once() {
    check(|| {
        let (world, server) = (ModelRuntime::new(), ModelServer::new(ModelAnswer::AtOnce));
        let manager = Manager::new(config(1).build().unwrap(), Arc::new(world.clone()));
        let mut crowd = Crowd::new(&world);
        for number in 0..BORROWERS {
            let (manager, server) = (manager.clone(), server.clone());
            crowd.join(move || {
                let added = block_on(manager.add("a", FOREVER, || server.clone()));
                assert!(matches!(added, Ok(_) | Err(AcquireError::Closed { .. })), "{added:?}");
                match block_on(manager.get("a", FOREVER)) {
                    Ok(lease) => drop(lease),
                    Err(AcquireError::Closed { .. } | AcquireError::UnknownNode { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
                if number == 0 {
                    manager.start_cleanup();
                    block_on(manager.close_node("a", FOREVER));
                } else {
                    manager.stop_cleanup();
                }
            });
        }
        let closing = manager.clone();
        crowd.join(move || block_on(closing.close(FOREVER)));
        crowd.disperse();
        world.settle();
        assert!(manager.status().is_empty());
        drop(manager);
        world.settle();
        assert_eq!((world.tasks(), server.open()), (0, 0), "all ends with the last handle");
    });
}

/// What one node gives up reaches the other, in whatever order both look: a wake-up that is lost is a deadlock.
///
/// Found: a driver that has a new quota and is not woken.
#[test]
fn nodes_that_share_a_total_meet_a_crowd() {
    check(|| {
        let (world, server) = (ModelRuntime::new(), ModelServer::new(ModelAnswer::AtOnce));
        let (config, total) = (config(2).min_idle(0).build().unwrap(), TotalLimit::new(3));
        let manager = Manager::with_total_limit(config, total, Arc::new(world.clone())).unwrap();
        for name in ["a", "b"] {
            world.block_on(manager.add(name, FOREVER, || server.clone())).unwrap();
        }
        let mut crowd = Crowd::new(&world);
        for _ in 0..BORROWERS {
            let (manager, server) = (manager.clone(), server.clone());
            crowd.join(move || {
                for _ in 0..TURNS {
                    let name = ["a", "b"][thread_rng().gen_range(0..2)];
                    let timeout = if thread_rng().gen_range(0..4) == 0 { SOON } else { FOREVER };
                    match block_on(manager.get(name, timeout)) {
                        Ok(lease) if thread_rng().gen_range(0..4) == 0 => lease.discard(),
                        Ok(lease) => drop(lease),
                        Err(AcquireError::Timeout { .. }) if timeout == SOON => {}
                        Err(other) => panic!("{other}"),
                    }
                    assert!(server.open() <= 3, "C1: {} connections", server.open());
                }
            });
        }
        crowd.disperse();
        world.settle();
        let taken = manager.total_connections().unwrap().taken;
        assert!(taken == server.open() && taken <= 3, "{taken} taken, {} open", server.open());
        // Two at one of them and one at the other is all there is.
        let held = ["a", "a", "b"].map(|name| world.block_on(manager.get(name, FOREVER)).unwrap());
        assert!(manager.try_get("b").is_err());
        drop((held, manager));
        world.settle();
        assert_eq!((world.tasks(), server.open()), (0, 0), "all ends with the last handle");
    });
}
