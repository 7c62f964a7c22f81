//! L2, L3: what a borrower leaves on a connection never reaches the next one, and costs the callers nothing.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use redis_manager_core::testing::{FakeConnection, FakeConnector, FakeError, FakeMode};
use redis_manager_core::{
    AbortHandle, AcquireError, CloseReason, Condition, ConnectionMonitor, Connector, Health, Lease, NodeConfigBuilder, Spawn,
};

use crate::support::{MS, PoolFixture, SECOND, TestRng, one_pool, within, world, world_of};

/// What a borrower has left on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stain {
    /// It can be undone.
    Removable,
    /// It should be possible to undo it, but the server refuses.
    Stubborn,
    /// It should be possible to undo it, but the server does not answer.
    Unanswered,
    /// It stays.
    Lasting,
    /// Nobody can say what it is.
    Baffling,
}

/// A connector that knows of stains, by the server's number of a connection. A check leaves them as they are.
#[derive(Clone)]
struct Careful {
    inner: FakeConnector,
    stains: Arc<Mutex<BTreeMap<u64, Stain>>>,
    cleanings: Arc<AtomicUsize>,
}

impl Careful {
    fn stain(&self, lease: &Lease<Self>, stain: Stain) {
        self.stains.lock().expect("not poisoned").insert(lease.id(), stain);
    }

    fn stain_of(&self, conn: &FakeConnection) -> Option<Stain> {
        self.stains.lock().expect("not poisoned").get(&conn.id()).copied()
    }

    fn cleanings(&self) -> usize {
        self.cleanings.load(Ordering::SeqCst)
    }
}

impl Connector for Careful {
    type Connection = FakeConnection;
    type Error = FakeError;

    async fn connect(&self) -> Result<FakeConnection, FakeError> {
        self.inner.connect().await
    }

    async fn check(&self, conn: &mut FakeConnection) -> Result<(), FakeError> {
        self.inner.check(conn).await
    }

    fn inspect(&self, conn: &mut FakeConnection) -> Condition {
        match (self.inner.inspect(conn), self.stain_of(conn)) {
            (seen @ (Condition::Broken | Condition::Unresponsive), _) => seen,
            (seen, None) => seen,
            (_, Some(Stain::Removable | Stain::Stubborn | Stain::Unanswered)) => Condition::Resettable,
            (_, Some(Stain::Lasting)) => Condition::Tainted,
            (_, Some(Stain::Baffling)) => std::panic::resume_unwind(Box::new("a hook")),
        }
    }

    async fn clean(&self, conn: &mut FakeConnection) -> Result<(), FakeError> {
        self.cleanings.fetch_add(1, Ordering::SeqCst);
        match self.stain_of(conn) {
            Some(Stain::Stubborn) => return Err(FakeError::Lost),
            Some(Stain::Unanswered) => return pending().await,
            Some(Stain::Removable | Stain::Lasting | Stain::Baffling) | None => {}
        }
        self.inner.clean(conn).await?;
        self.stains.lock().expect("not poisoned").remove(&conn.id());
        Ok(())
    }

    fn close(&self, conn: FakeConnection, reason: CloseReason) {
        self.inner.close(conn, reason);
    }

    fn watch(&self, conn: &mut FakeConnection, monitor: ConnectionMonitor) {
        self.inner.watch(conn, monitor);
    }

    fn abort_handle(&self, conn: &mut FakeConnection) -> Option<AbortHandle> {
        self.inner.abort_handle(conn)
    }
}

fn careful_world(seed: u64, settings: NodeConfigBuilder) -> (PoolFixture<Careful>, Careful) {
    let (stains, cleanings) = (Arc::default(), Arc::default());
    let make = |inner| Careful { inner, stains: Arc::clone(&stains), cleanings: Arc::clone(&cleanings) };
    let world = world_of(seed, settings, |server| make(server.connector()));
    let careful = make(world.server.connector());
    (world, careful)
}

/// Bites when what is soiled goes back uncleaned, when it is only checked, when it is closed, and when nobody is told to
/// clean it.
#[test]
fn l2_what_comes_back_soiled_is_cleaned_off_the_callers_path_and_only_then_lent_again() {
    for seed in 0..10 {
        let (world, careful) = careful_world(seed, one_pool(2).min_idle(2));
        world.server.set_latency(5 * MS);
        let lease = world.get();
        let soiled = lease.id();
        careful.stain(&lease, Stain::Removable);
        let since = world.runtime.now();
        drop(lease);
        let other = world.get();
        assert_eq!(world.runtime.now(), since, "seed {seed}: neither the return nor the next get waits for it");
        assert_ne!(other.id(), soiled, "seed {seed}");
        let status = world.pool.status();
        assert_eq!((status.checking, status.cleaning), (1, 1), "seed {seed}: it counts while it is cleaned");
        let cleaned = world.get();
        assert_eq!(world.runtime.now(), since + 5 * MS, "seed {seed}: whoever waits is served as soon as it is clean");
        assert_eq!((cleaned.id(), careful.stain_of(&cleaned)), (soiled, None), "seed {seed}");
        drop((other, cleaned));
        assert_eq!((careful.cleanings(), world.server.checks()), (1, 0), "seed {seed}");
        world.assert_capacity(2);
        assert_eq!((world.server.closes(), world.server.dials().len()), (vec![], 2), "seed {seed}");
    }
}

/// Bites when it is lent last.
#[test]
fn l2_what_was_cleaned_was_used_last_and_is_lent_first() {
    let (world, careful) = careful_world(1, one_pool(3).min_idle(3));
    for _ in 0..5 {
        let lease = world.get();
        let soiled = lease.id();
        careful.stain(&lease, Stain::Removable);
        drop(lease);
        world.runtime.settle();
        assert_eq!(world.get().id(), soiled);
    }
}

/// Bites when the idle clock of what is cleaned goes on from before its last loan.
#[test]
fn h9_cleaning_follows_a_use_and_counts_as_one() {
    for seed in 0..10 {
        let (world, careful) = careful_world(seed, one_pool(1).max_idle_time(5 * SECOND).cleanup_interval(SECOND));
        world.pool.start_cleanup();
        for _ in 0..5 {
            let lease = world.get();
            careful.stain(&lease, Stain::Removable);
            drop(lease);
            world.runtime.advance(3 * SECOND);
        }
        assert_eq!((world.server.closes(), careful.cleanings()), (vec![], 5), "seed {seed}");
        world.runtime.advance(4 * SECOND);
        assert_eq!(world.server.closes(), [CloseReason::IdleTooLong], "seed {seed}");
        world.pool.stop_cleanup();
        world.assert_capacity(1);
    }
}

/// Bites when a cleaning that failed is forgotten, and when lasting things are, or an inspection that panicked.
#[test]
fn l2_what_cannot_be_cleaned_is_closed_and_its_neighbours_are_left_alone() {
    for seed in 0..10 {
        for (stain, reason) in [
            (Stain::Stubborn, CloseReason::Unclean),
            (Stain::Lasting, CloseReason::Unclean),
            (Stain::Baffling, CloseReason::Broken),
        ] {
            let (world, careful) = careful_world(seed, one_pool(2).min_idle(2));
            let (lease, _held) = (world.get(), world.get());
            let soiled = lease.id();
            careful.stain(&lease, stain);
            drop(lease);
            let next = world.get();
            assert_ne!(next.id(), soiled, "seed {seed}, {stain:?}");
            assert_eq!(world.server.closes(), [reason], "seed {seed}, {stain:?}");
            assert_eq!(careful.cleanings(), usize::from(stain == Stain::Stubborn), "seed {seed}, {stain:?}");
            assert_eq!((world.pool.status().health, world.server.checks()), (Health::Up, 0), "seed {seed}, {stain:?}");
            drop((next, _held));
            world.assert_capacity(2);
        }
    }
}

/// Bites when a borrower's word is asked after what it has left.
#[test]
fn l2_what_is_discarded_is_closed_whatever_is_left_on_it() {
    let (world, careful) = careful_world(1, one_pool(2).min_idle(2));
    for stain in [Stain::Removable, Stain::Lasting, Stain::Baffling] {
        let lease = world.get();
        careful.stain(&lease, stain);
        lease.discard();
        world.runtime.settle();
    }
    assert_eq!((world.server.closes(), careful.cleanings()), (vec![CloseReason::Discarded; 3], 0));
    world.assert_capacity(2);
}

/// Bites when a cleaning has no deadline of its own, and when one that hangs says nothing about the others.
#[test]
fn l3_a_cleaning_that_hangs_costs_its_own_timeout_and_has_the_others_checked() {
    for seed in 0..10 {
        let (world, careful) = careful_world(seed, one_pool(4).min_idle(4).health_check_timeout(300 * MS));
        let (lease, late) = (world.get(), world.get());
        careful.stain(&lease, Stain::Unanswered);
        drop(lease);
        world.runtime.advance(299 * MS);
        let (status, dials) = (world.pool.status(), world.server.dials().len());
        assert_eq!((status.health, status.checking, status.idle), (Health::Up, 1, 2), "seed {seed}: {status:?}");
        world.runtime.advance(MS);
        assert_eq!(world.server.closes(), [CloseReason::Unclean], "seed {seed}");
        assert_eq!(world.server.checks(), 2, "seed {seed}: those that idled are asked");
        assert_eq!(world.server.dials().len(), dials + 1, "seed {seed}: and one is dialled at once");
        drop(late);
        world.runtime.settle();
        assert_eq!(world.server.checks(), 3, "seed {seed}: the one on loan is asked when it comes back");
        assert_eq!(world.pool.status().health, Health::Up, "seed {seed}");
        world.assert_capacity(4);
    }
}

/// Bites when a command that was cancelled is of no account: its answer would be the next borrower's.
#[test]
fn l3_a_connection_with_an_answer_outstanding_is_lent_when_the_answer_has_come_and_not_sooner() {
    for seed in 0..10 {
        let world = world(seed, one_pool(1).min_idle(1));
        world.server.set_latency(20 * MS);
        let mut lease = world.get();
        let first = lease.id();
        assert_eq!(world.runtime.block_on(within(&world.runtime, 5 * MS, lease.echo(1))), None);
        let since = world.runtime.now();
        drop(lease);
        assert!(world.pool.try_get().is_err(), "seed {seed}: not at once");
        let lease = world.get();
        assert_eq!(lease.id(), first, "seed {seed}: it is not replaced");
        assert_eq!(world.runtime.now(), since + 20 * MS, "seed {seed}");
        drop(lease);
        world.assert_capacity(1);
        assert_eq!((world.server.closes(), world.server.checks()), (vec![], 0), "seed {seed}");
    }
}

#[test]
fn l3_ten_thousand_commands_cancelled_at_any_moment_give_nobody_a_wrong_answer() {
    const LIMIT: usize = 4;
    for seed in 0..4 {
        let (world, careful) = careful_world(seed, one_pool(LIMIT));
        world.server.set_latency(2 * MS);
        let dice = Arc::new(TestRng::new(seed));
        for number in 0..25 {
            let (pool, runtime, dice) = (world.pool.clone(), world.runtime.clone(), Arc::clone(&dice));
            let careful = careful.clone();
            world.runtime.spawn(Box::pin(async move {
                for token in 0..400 {
                    let Ok(mut lease) = pool.get().await else { continue };
                    assert_eq!(careful.stain_of(&lease), None, "seed {seed}: soiled by somebody else");
                    if dice.below(4) == 0 {
                        careful.stain(&lease, Stain::Removable);
                    }
                    let token = number * 1_000 + token;
                    let answer = within(&runtime, dice.millis(3), lease.echo(token)).await;
                    assert!(answer.is_none_or(|answer| answer == Ok(token)), "seed {seed}: {answer:?} for {token}");
                }
            }));
        }
        world.runtime.advance(100 * SECOND);
        assert!(careful.cleanings() > 2_000, "seed {seed}: {}", careful.cleanings());
        assert_eq!((world.server.closes(), world.server.dials().len()), (vec![], LIMIT), "seed {seed}");
        world.assert_capacity(LIMIT);
    }
}

#[test]
fn l3_a_connection_that_dies_while_it_is_cleaned_is_closed_and_replaced() {
    for seed in 0..10 {
        let (world, careful) = careful_world(seed, one_pool(2).min_idle(2));
        world.runtime.advance(SECOND);
        world.server.set_latency(50 * MS);
        let lease = world.get();
        careful.stain(&lease, Stain::Removable);
        drop(lease);
        world.runtime.advance(MS);
        assert_eq!(world.pool.status().checking, 1, "seed {seed}");
        world.server.drop_connections();
        world.runtime.advance(SECOND);
        assert_eq!(world.server.closes().len(), 2, "seed {seed}");
        world.assert_capacity(2);
    }
}

/// Bites when the drop of a cleaning's task keeps its token.
#[test]
fn c3_a_cleaning_whose_task_is_killed_leaves_the_capacity_as_it_was() {
    let mut cleanings_killed = 0;
    for seed in 0..20 {
        let (world, careful) = careful_world(seed, one_pool(3).min_idle(3));
        let leases: Vec<_> = (0..3).map(|_| world.get()).collect();
        for lease in &leases {
            careful.stain(lease, Stain::Unanswered);
        }
        drop(leases);
        world.runtime.settle();
        assert_eq!(world.pool.status().checking, 3, "seed {seed}");
        assert!(world.runtime.kill_a_task());
        if let Err(AcquireError::RuntimeEnded { .. }) = world.get_within(10 * SECOND) {
            // It was the driver.
            continue;
        }
        cleanings_killed += 1;
        world.runtime.advance(2 * SECOND);
        assert_eq!(world.server.closes(), [CloseReason::Unclean; 3], "seed {seed}");
        world.assert_capacity(3);
    }
    assert!(cleanings_killed > 0);
}

/// Bites when a close lets what is out to be cleaned come back in its own time, and when what comes back soiled during a
/// close is cleaned for nobody.
#[test]
fn e1_a_close_ends_a_cleaning_at_once_and_orders_none() {
    for seed in 0..10 {
        let (world, careful) = careful_world(seed, one_pool(3).min_idle(3));
        let (lease, late) = (world.get(), world.get());
        careful.stain(&lease, Stain::Unanswered);
        careful.stain(&late, Stain::Removable);
        drop(lease);
        world.runtime.settle();
        assert_eq!((careful.cleanings(), world.pool.status().checking), (1, 1), "seed {seed}");
        let since = world.runtime.now();
        let closing = world.pool.close_timeout(10 * SECOND);
        world.runtime.settle();
        let status = world.pool.status();
        assert_eq!((status.checking, status.idle, status.active), (0, 0, 1), "seed {seed}: {status:?}");
        drop(late);
        world.runtime.block_on(closing);
        assert_eq!(world.runtime.now(), since, "seed {seed}: it waits for no answer");
        assert_eq!((world.server.closes(), careful.cleanings()), (vec![CloseReason::PoolClosed; 3], 1), "seed {seed}");
        world.runtime.settle();
        assert_eq!((world.runtime.tasks(), world.runtime.timers()), (0, 0), "seed {seed}");
    }
}

#[test]
fn e2_e3_a_cleaning_that_is_under_way_when_the_pool_or_its_runtime_goes_leaves_nothing() {
    for seed in 0..10 {
        for ends_first in ["the pool", "the runtime"] {
            let world = world(seed, one_pool(2).min_idle(2));
            world.server.set_mode(FakeMode::Silent);
            let mut lease = world.get();
            assert_eq!(world.runtime.block_on(within(&world.runtime, MS, lease.echo(1))), None);
            drop(lease);
            world.runtime.settle();
            let PoolFixture { runtime, server, pool, .. } = world;
            assert_eq!(pool.status().checking, 1, "seed {seed}");
            if ends_first == "the runtime" {
                runtime.shut_down();
                assert!(matches!(pool.try_get(), Err(AcquireError::RuntimeEnded { .. })), "seed {seed}");
            }
            drop(pool);
            runtime.settle();
            assert_eq!((runtime.tasks(), server.connections()), (0, 0), "seed {seed}: {ends_first} first");
            // A cleaning that ends with its runtime, before the pool hears of that, has failed.
            let reasons = [CloseReason::PoolClosed, CloseReason::Unclean];
            assert!(server.closes().iter().all(|reason| reasons.contains(reason)), "seed {seed}: {:?}", server.closes());
            assert_eq!(server.closes().len(), 2, "seed {seed}: {ends_first} first");
        }
    }
}
