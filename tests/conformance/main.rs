//! The same stories on the fake runtime, tokio (two workers and one thread), smol and async-std, against a fake server
//! that keeps the runtime's time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis_manager::pool::{AcquireError, CloseReason, Manager, NodeConfig, NodeConfigBuilder, NodePool};
use redis_manager::runtime::Runtime;
use redis_manager::testing::{FakeConnector, FakeMode, FakeServer};
use redis_manager::{Health, OnNodeDown};
use redis_manager_tests::tasks::{spawn, until, within};

const MS: Duration = Duration::from_millis(1);

/// Each story as a test on every runtime; on the fake one with several seeds, and no time passes there.
macro_rules! stories {
    ($($story:ident;)*) => {$(
        redis_manager_tests::on_every_runtime! {
            $story {
                #[test]
                fn on_the_fake_runtime() {
                    for seed in 0..20 {
                        let runtime = redis_manager::testing::FakeRuntime::new(seed);
                        runtime.block_on(super::$story(runtime.clone()));
                    }
                }
            };
        }
    )*};
}

fn pool_of(server: &FakeServer, runtime: &(impl Runtime + Clone), settings: NodeConfigBuilder) -> NodePool<FakeConnector> {
    NodePool::new(server.connector(), settings.build().expect("valid settings"), Arc::new(runtime.clone()))
}

fn one_pool(limit: usize) -> NodeConfigBuilder {
    NodeConfig::builder().max_pools_per_node(1).max_connection_size(limit)
}

stories! {
    a_lease_goes_back_on_drop_and_the_limit_is_kept;
    callers_are_served_in_order_of_arrival;
    a_cancelled_waiter_passes_on_what_it_was_granted;
    an_uncollected_grant_goes_to_the_next_at_its_deadline;
    a_caller_is_told_at_its_deadline_and_why;
    a_full_line_is_told_at_once;
    connects_belong_to_the_node_not_to_the_caller;
    a_killed_server_is_noticed_probed_and_healed;
    a_silent_server_is_distrusted_and_healed;
    a_hung_check_costs_no_caller_a_connection;
    fail_fast_tells_at_once_while_the_node_is_down;
    a_refusal_for_good_is_told_at_once;
    cleanup_closes_what_idles_and_keeps_the_minimum;
    closing_waits_for_leases_and_forces_at_the_deadline;
    the_last_handle_closes_everything;
    a_manager_adds_lends_and_closes_by_name;
    an_add_that_is_dropped_leaves_nothing;
}

async fn a_lease_goes_back_on_drop_and_the_limit_is_kept(runtime: impl Runtime + Clone) {
    let server = FakeServer::on(Arc::new(runtime.clone()));
    let pool = pool_of(&server, &runtime, one_pool(3));
    assert_full_capacity(&pool, &server, 3).await;
    assert_full_capacity(&pool, &server, 3).await;
    assert_eq!(server.peak_connections(), 3);
    assert_eq!((pool.status().idle, pool.status().active), (3, 0));
    pool.get().await.expect("the server is up").discard();
    until(&runtime, "a discarded connection is closed", || server.connections() == 2).await;
    assert_eq!(server.closes(), [CloseReason::Discarded]);
}

/// Exactly the limit can be held, each with its own answer, and one more is refused.
async fn assert_full_capacity(pool: &NodePool<FakeConnector>, server: &FakeServer, limit: usize) {
    let mut leases = Vec::new();
    for n in 0..limit as u64 {
        leases.push(pool.get().await.unwrap_or_else(|error| panic!("lease {n} of {limit}: {error}")));
    }
    for (n, lease) in leases.iter_mut().enumerate() {
        assert_eq!(lease.echo(n as u64).await, Ok(n as u64));
    }
    assert!(matches!(pool.try_get(), Err(AcquireError::Timeout { .. })));
    assert_eq!(server.connections(), limit);
}

async fn callers_are_served_in_order_of_arrival(runtime: impl Runtime + Clone) {
    let server = FakeServer::on(Arc::new(runtime.clone()));
    let pool = pool_of(&server, &runtime, one_pool(1));
    let held = pool.get().await.expect("the server is up");
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut callers = Vec::new();
    for n in 0..6 {
        let (pool_of_caller, order) = (pool.clone(), Arc::clone(&order));
        callers.push(spawn(&runtime, async move {
            let lease = pool_of_caller.get().await.expect("served");
            order.lock().expect("not poisoned").push(n);
            drop(lease);
        }));
        until(&runtime, "in line", || pool.status().waiting == n + 1).await;
    }
    drop(held);
    for caller in callers {
        caller.await;
    }
    assert_eq!(*order.lock().expect("not poisoned"), [0, 1, 2, 3, 4, 5]);
}

async fn a_cancelled_waiter_passes_on_what_it_was_granted(runtime: impl Runtime + Clone) {
    let server = FakeServer::on(Arc::new(runtime.clone()));
    let pool = pool_of(&server, &runtime, one_pool(1));
    let held = pool.get().await.expect("the server is up");
    let mut first = Box::pin(pool.get());
    assert!(within(&runtime, 5 * MS, &mut first).await.is_none());
    let mut second = Box::pin(pool.get());
    assert!(within(&runtime, 5 * MS, &mut second).await.is_none());
    drop(held);
    assert_eq!((pool.status().active, pool.status().waiting), (1, 1), "granted to the first, which does not know yet");
    drop(first);
    assert!(within(&runtime, 50 * MS, second).await.expect("in time").is_ok());
}

async fn an_uncollected_grant_goes_to_the_next_at_its_deadline(runtime: impl Runtime + Clone) {
    let server = FakeServer::on(Arc::new(runtime.clone()));
    let pool = pool_of(&server, &runtime, one_pool(1));
    let held = pool.get().await.expect("the server is up");
    let mut forgotten = Box::pin(pool.get_timeout(40 * MS));
    assert!(within(&runtime, 5 * MS, &mut forgotten).await.is_none());
    let mut next = Box::pin(pool.get_timeout(5_000 * MS));
    assert!(within(&runtime, 5 * MS, &mut next).await.is_none());
    drop(held);
    assert!(within(&runtime, 1_000 * MS, next).await.expect("long before its own deadline").is_ok());
    assert!(matches!(forgotten.await, Err(AcquireError::Timeout { .. })));
}

async fn a_caller_is_told_at_its_deadline_and_why(runtime: impl Runtime + Clone) {
    let server = FakeServer::on(Arc::new(runtime.clone()));
    let pool = pool_of(&server, &runtime, one_pool(1));
    let held = pool.get().await.expect("the server is up");
    let started_at = runtime.now();
    let error = pool.get_timeout(60 * MS).await.expect_err("nobody gives it back");
    let waited = runtime.now().saturating_duration_since(started_at);
    assert!(waited >= 60 * MS && waited < 500 * MS, "{waited:?}");
    assert!(error.to_string().contains("all connections are on loan"), "{error}");
    drop(held);
}

async fn a_full_line_is_told_at_once(runtime: impl Runtime + Clone) {
    let server = FakeServer::on(Arc::new(runtime.clone()));
    let pool = pool_of(&server, &runtime, one_pool(1).max_waiters(1));
    let held = pool.get().await.expect("the server is up");
    let mut first = Box::pin(pool.get());
    assert!(within(&runtime, 5 * MS, &mut first).await.is_none());
    assert!(matches!(pool.get().await, Err(AcquireError::Saturated { waiting: 1, .. })));
    drop(held);
    drop(first.await.expect("served"));
}

async fn connects_belong_to_the_node_not_to_the_caller(runtime: impl Runtime + Clone) {
    let server = FakeServer::on(Arc::new(runtime.clone()));
    server.set_connect_latency(120 * MS);
    let pool = pool_of(&server, &runtime, one_pool(4).min_idle(0));
    for _ in 0..2 {
        assert!(pool.get_timeout(40 * MS).await.is_err());
    }
    drop(pool.get_timeout(400 * MS).await.expect("the first dial serves the third call"));
    assert_eq!(server.dials().len(), 1);
}

async fn a_killed_server_is_noticed_probed_and_healed(runtime: impl Runtime + Clone) {
    let server = FakeServer::on(Arc::new(runtime.clone()));
    let pool = pool_of(&server, &runtime, one_pool(3).min_idle(3));
    pool.warm(1_000 * MS).await.expect("the server is up");
    server.kill();
    until(&runtime, "it is noticed", || pool.status().health == Health::Down && pool.status().idle == 0).await;
    assert!(matches!(pool.get_timeout(80 * MS).await, Err(AcquireError::NoHealthyPools { .. })));
    let waiting = {
        let pool = pool.clone();
        spawn(&runtime, async move { pool.get_timeout(5_000 * MS).await.map(drop) })
    };
    runtime.sleep(50 * MS).await;
    server.set_mode(FakeMode::Up);
    let back_at = runtime.now();
    waiting.await.expect("served when the server was back");
    assert!(runtime.now().saturating_duration_since(back_at) < 700 * MS);
    until(&runtime, "all are back", || pool.status().idle == 3 && pool.status().health == Health::Up).await;
    assert_full_capacity(&pool, &server, 3).await;
}

async fn a_silent_server_is_distrusted_and_healed(runtime: impl Runtime + Clone) {
    let server = FakeServer::on(Arc::new(runtime.clone()));
    let settings = one_pool(2).min_idle(2).health_check_interval(30 * MS).health_check_timeout(40 * MS);
    let pool = pool_of(&server, &runtime, settings);
    pool.warm(1_000 * MS).await.expect("the server is up");
    server.set_mode(FakeMode::Void);
    until(&runtime, "checks time out", || server.closes().contains(&CloseReason::CheckFailed)).await;
    server.set_mode(FakeMode::Up);
    let mut lease = pool.get_timeout(2_000 * MS).await.expect("healed");
    assert_eq!(lease.echo(5).await, Ok(5));
    drop(lease);
    until(&runtime, "all are back", || pool.status().idle + pool.status().checking == 2).await;
    assert_full_capacity(&pool, &server, 2).await;
}

async fn a_hung_check_costs_no_caller_a_connection(runtime: impl Runtime + Clone) {
    let server = FakeServer::on(Arc::new(runtime.clone()));
    let settings = one_pool(2).health_check_interval(20 * MS).health_check_timeout(300 * MS);
    let pool = pool_of(&server, &runtime, settings);
    pool.warm(1_000 * MS).await.expect("the server is up");
    server.set_latency(10_000 * MS);
    until(&runtime, "a check hangs", || pool.status().checking == 1).await;
    let lease = within(&runtime, 200 * MS, pool.get()).await.expect("long before the check is over");
    drop(lease.expect("a new connection"));
}

async fn fail_fast_tells_at_once_while_the_node_is_down(runtime: impl Runtime + Clone) {
    let server = FakeServer::on(Arc::new(runtime.clone()));
    server.set_mode(FakeMode::Refusing);
    let pool = pool_of(&server, &runtime, one_pool(2).on_node_down(OnNodeDown::FailFast));
    until(&runtime, "the node is down", || pool.status().health == Health::Down).await;
    let told = within(&runtime, 500 * MS, pool.get()).await.expect("at once");
    assert!(matches!(told, Err(AcquireError::NoHealthyPools { .. })));
}

async fn a_refusal_for_good_is_told_at_once(runtime: impl Runtime + Clone) {
    let server = FakeServer::on(Arc::new(runtime.clone()));
    server.set_mode(FakeMode::Rejecting);
    let pool = pool_of(&server, &runtime, one_pool(2));
    let told = within(&runtime, 500 * MS, pool.warm(10_000 * MS)).await.expect("at once");
    assert!(told.expect_err("refused").to_string().contains("wrong password"));
}

async fn cleanup_closes_what_idles_and_keeps_the_minimum(runtime: impl Runtime + Clone) {
    let server = FakeServer::on(Arc::new(runtime.clone()));
    let settings = one_pool(4).max_idle_time(50 * MS).cleanup_interval(20 * MS);
    let pool = pool_of(&server, &runtime, settings);
    assert_full_capacity(&pool, &server, 4).await;
    runtime.sleep(120 * MS).await;
    assert_eq!(pool.status().idle, 4, "cleanup runs when it is asked to");
    pool.start_cleanup();
    until(&runtime, "one is left", || server.connections() == 1).await;
    assert_eq!(server.closes(), [CloseReason::IdleTooLong; 3]);
    runtime.sleep(100 * MS).await;
    assert_eq!(pool.status().idle, 1);
}

async fn closing_waits_for_leases_and_forces_at_the_deadline(runtime: impl Runtime + Clone) {
    let server = FakeServer::on(Arc::new(runtime.clone()));
    let pool = pool_of(&server, &runtime, one_pool(2));
    let mut kept = pool.get().await.expect("one");
    let returned = pool.get().await.expect("two");
    let closing = pool.close_timeout(500 * MS);
    assert!(matches!(pool.get().await, Err(AcquireError::Closed { .. })));
    assert_eq!(kept.echo(1).await, Ok(1), "a borrowed connection works on");
    drop(returned);
    let started_at = runtime.now();
    closing.await;
    assert!(runtime.now().saturating_duration_since(started_at) < 1_500 * MS);
    assert_eq!(server.connections(), 0);
    assert!(kept.echo(2).await.is_err(), "ended at the deadline");
    drop(kept);
    assert!(!pool.is_open());
}

async fn the_last_handle_closes_everything(runtime: impl Runtime + Clone) {
    let server = FakeServer::on(Arc::new(runtime.clone()));
    let pool = pool_of(&server, &runtime, one_pool(2).min_idle(2));
    pool.warm(1_000 * MS).await.expect("the server is up");
    let lease = pool.get().await.expect("a lease");
    drop(pool);
    assert_eq!(server.connections(), 1, "what idles is closed here and now");
    drop(lease);
    assert_eq!(server.connections(), 0);
}

async fn a_manager_adds_lends_and_closes_by_name(runtime: impl Runtime + Clone) {
    let server = FakeServer::on(Arc::new(runtime.clone()));
    let manager = Manager::new(one_pool(2).build().expect("valid settings"), Arc::new(runtime.clone()));
    assert!(matches!(manager.try_get("a"), Err(AcquireError::UnknownNode { .. })));
    manager.add("a", 1_000 * MS, || server.connector()).await.expect("the server is up");
    manager.add("a", 1_000 * MS, || server.connector()).await.expect("there already");
    manager.add("b", 1_000 * MS, || server.connector()).await.expect("the server is up");
    assert_eq!(server.connections(), 2);
    // Both connectors give the same name.
    assert_eq!(manager.status().keys().collect::<Vec<_>>(), ["fake", "fake #2"]);
    drop(manager.get("a", 1_000 * MS).await.expect("a lease"));
    manager.close_node("a", 1_000 * MS).await;
    assert_eq!(server.connections(), 1);
    assert!(matches!(manager.get("a", 1_000 * MS).await, Err(AcquireError::UnknownNode { .. })));
    manager.add("a", 1_000 * MS, || server.connector()).await.expect("added again");
    manager.close(Duration::MAX).await;
    assert_eq!(server.connections(), 0);
    assert!(matches!(manager.get("a", 1_000 * MS).await, Err(AcquireError::Closed { .. })));
    assert!(matches!(manager.add("c", 1_000 * MS, || server.connector()).await, Err(AcquireError::Closed { .. })));
}

async fn an_add_that_is_dropped_leaves_nothing(runtime: impl Runtime + Clone) {
    let server = FakeServer::on(Arc::new(runtime.clone()));
    server.set_connect_latency(5_000 * MS);
    let manager = Manager::new(one_pool(2).build().expect("valid settings"), Arc::new(runtime.clone()));
    assert!(within(&runtime, 20 * MS, manager.add("a", 10_000 * MS, || server.connector())).await.is_none());
    assert!(matches!(manager.try_get("a"), Err(AcquireError::UnknownNode { .. })));
    server.set_connect_latency(Duration::ZERO);
    manager.add("a", 1_000 * MS, || server.connector()).await.expect("added again");
    assert_eq!(server.connections(), 1);
}
