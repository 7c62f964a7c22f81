//! Pools of a node: how they fill, grow, shrink, are chosen, checked and looked at.

use std::sync::{Arc, Mutex};

use redis_manager::runtime::Network;
use redis_manager::{GetClientError, Health, RedisManager, WaitPhase};
use redis_manager_tests::on_every_runtime;
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::{spawn, until, within};

use crate::{MS, assert_full_capacity, echo, manager_of, one_pool, status};

on_every_runtime! {
    pools_start_warm_and_the_least_active_one_lends;
    pools_are_added_when_all_are_full_and_removed_when_they_are_empty;
    as_many_as_min_idle_are_kept_ready_while_others_are_on_loan;
    cleanup_keeps_the_minimum_and_stays_stopped;
    health_checks_ping_idle_connections_and_can_be_stopped;
    waiting_callers_are_served_in_order;
    a_full_line_is_told_at_once_and_a_timeout_says_why;
    adding_a_node_twice_is_a_no_op;
    ten_thousand_dropped_futures_leave_the_capacity_whole;
    a_connection_grows_no_older_than_its_lifetime;
}

async fn pools_start_warm_and_the_least_active_one_lends(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let builder = RedisManager::builder().connection_pools_per_node_at_start(3).min_idle(2).max_connection_size(4);
    let manager = builder.build(runtime).expect("valid settings");
    manager.add_node_pool(&server.url()).await.expect("the server is up");
    let warm = status(&manager);
    assert_eq!((warm.health, warm.total_pools, warm.healthy_pools, warm.idle, warm.active), (Health::Up, 3, 3, 6, 0), "{warm:?}");
    assert_eq!(server.client_count(), 6);

    let mut held = Vec::new();
    for most in [1, 1, 1, 2, 2, 2] {
        held.push(manager.get_client(&server.url()).await.expect("a client"));
        let active: Vec<_> = status(&manager).pools.iter().map(|pool| pool.active_calls).collect();
        assert_eq!(active.iter().max(), Some(&most), "{active:?}");
        assert_eq!(active.iter().sum::<usize>(), held.len());
    }
    drop(held.remove(1));
    let before: Vec<_> = status(&manager).pools.iter().map(|pool| pool.active_calls).collect();
    held.push(manager.get_client(&server.url()).await.expect("a client"));
    let after: Vec<_> = status(&manager).pools.iter().map(|pool| pool.active_calls).collect();
    assert_eq!(before.iter().min(), Some(&1));
    assert_eq!(after, [2, 2, 2], "the client came from the pool with the fewest");
}

async fn as_many_as_min_idle_are_kept_ready_while_others_are_on_loan(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = one_pool(8).min_idle(2).build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(&server.url()).await.expect("the server is up");
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(manager.get_client(&server.url()).await.expect("a client"));
    }
    until(&runtime, "two idle beside the three on loan", || {
        let status = status(&manager);
        (status.active, status.idle, status.connecting) == (3, 2, 0)
    })
    .await;
    assert_eq!(server.client_count(), 5);
}

async fn pools_are_added_when_all_are_full_and_removed_when_they_are_empty(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let builder = RedisManager::builder().max_connection_size(2).max_pools_per_node(3).max_idle_time(60 * MS);
    let manager = builder.cleanup_interval(30 * MS).build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(&server.url()).await.expect("the server is up");
    let mut held = Vec::new();
    for (clients, pools) in [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (6, 3)] {
        held.push(manager.get_client(&server.url()).await.expect("a client"));
        assert_eq!((held.len(), status(&manager).total_pools), (clients, pools));
    }
    let more = manager.get_client_timeout(&server.url(), 30 * MS).await;
    assert!(matches!(more, Err(GetClientError::Timeout { phase: WaitPhase::LeasesHeld, .. })), "{more:?}");
    assert_eq!(server.client_count(), 6);

    held.truncate(1);
    manager.start_cleanup();
    until(&runtime, "only the pool at start and the borrowed client's are left", || {
        let status = status(&manager);
        status.idle + status.active + status.closing <= 2 && status.total_pools == 1
    })
    .await;
    drop(held);
    until(&runtime, "one connection at the server", || server.client_count() == 1).await;
    assert_eq!(status(&manager).total_pools, 1);
}

async fn cleanup_keeps_the_minimum_and_stays_stopped(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let builder = one_pool(5).min_idle(2).max_idle_time(40 * MS).cleanup_interval(20 * MS);
    let manager = builder.build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(&server.url()).await.expect("the server is up");
    let grow = async || {
        let mut held = Vec::new();
        for _ in 0..5 {
            held.push(manager.get_client(&server.url()).await.expect("a client"));
        }
    };
    assert!(!manager.is_cleanup_running());
    grow().await;
    runtime.sleep(150 * MS).await;
    assert_eq!(status(&manager).idle, 5, "cleanup does not run before it is started");

    manager.start_cleanup();
    manager.start_cleanup();
    assert!(manager.is_cleanup_running());
    until(&runtime, "the minimum is left", || status(&manager).idle == 2).await;
    runtime.sleep(100 * MS).await;
    assert_eq!(status(&manager).idle, 2);

    manager.stop_cleanup();
    assert!(!manager.is_cleanup_running());
    grow().await;
    runtime.sleep(150 * MS).await;
    assert_eq!(status(&manager).idle, 5, "one stop ends what two starts began");
}

async fn health_checks_ping_idle_connections_and_can_be_stopped(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = one_pool(4).min_idle(4).health_check_interval(30 * MS).build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(&server.url()).await.expect("the server is up");
    assert!(manager.is_health_check_running());
    let pings = || -> u64 {
        let stats = server.command(&["INFO", "commandstats"]);
        let calls = stats.split("cmdstat_ping:calls=").nth(1).and_then(|rest| rest.split(',').next()).map(str::parse);
        calls.and_then(Result::ok).unwrap_or(0)
    };
    let before = pings();
    until(&runtime, "each connection was checked three times", || pings() >= before + 12).await;

    manager.stop_health_checks();
    assert!(!manager.is_health_check_running());
    until(&runtime, "the last checks are over", || status(&manager).checking == 0).await;
    let before = pings();
    runtime.sleep(150 * MS).await;
    assert_eq!(pings(), before);

    manager.start_health_checks();
    until(&runtime, "checks go on", || pings() > before).await;
    assert_eq!(status(&manager).health, Health::Up);
}

async fn waiting_callers_are_served_in_order(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 1, runtime.clone()).await;
    let held = manager.get_client(&server.url()).await.expect("a client");
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut callers = Vec::new();
    for n in 0..5 {
        let (manager_of_caller, url, order) = (manager.clone(), server.url(), Arc::clone(&order));
        callers.push(spawn(&runtime, async move {
            let mut client = manager_of_caller.get_client(&url).await.expect("served");
            order.lock().expect("not poisoned").push(n);
            echo(&mut client, "token").await.expect("a sound client");
        }));
        until(&runtime, "the caller is in line", || status(&manager).waiting == n + 1).await;
    }
    drop(held);
    for caller in callers {
        caller.await;
    }
    assert_eq!(*order.lock().expect("not poisoned"), [0, 1, 2, 3, 4]);
}

async fn a_full_line_is_told_at_once_and_a_timeout_says_why(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = one_pool(1).max_waiters(1).build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(&server.url()).await.expect("the server is up");
    let held = manager.get_client(&server.url()).await.expect("a client");
    let (manager_of_caller, url) = (manager.clone(), server.url());
    let waiting = spawn(&runtime, async move { manager_of_caller.get_client_timeout(&url, 2_000 * MS).await.map(drop) });
    until(&runtime, "one caller is in line", || status(&manager).waiting == 1).await;

    let started_at = runtime.now();
    let saturated = manager.get_client(&server.url()).await.expect_err("the line is full");
    assert!(matches!(saturated, GetClientError::Saturated { waiting: 1, .. }), "{saturated:?}");
    assert!(matches!(manager.try_get_client(&server.url()), Err(GetClientError::Timeout { .. })));
    assert!(runtime.now().saturating_duration_since(started_at) < 1_500 * MS, "told at once");

    let error = waiting.await.expect_err("nobody gave a client back");
    let text = error.to_string();
    assert!(text.contains("all connections are on loan") && text.contains("active 1"), "{text}");
    drop(held);
}

async fn adding_a_node_twice_is_a_no_op(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 3, runtime.clone()).await;
    let adds: Vec<_> = (0..4)
        .map(|_| {
            let (manager, url) = (manager.clone(), server.url());
            spawn(&runtime, async move { manager.add_node_pool(&url).await })
        })
        .collect();
    for add in adds {
        add.await.expect("there already");
    }
    assert_eq!((status(&manager).idle, server.client_count()), (1, 1));
}

/// W3 and C2 on a real server. Seen to bite: with a cancelled waiter that keeps what it was granted.
async fn ten_thousand_dropped_futures_leave_the_capacity_whole(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 4, runtime.clone()).await;
    let tasks: Vec<_> = (0..8_u64)
        .map(|task| {
            let (manager, url, runtime) = (manager.clone(), server.url(), runtime.clone());
            let sleeper = runtime.clone();
            spawn(&runtime, async move {
                let mut chance = task.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
                for _ in 0..1_250 {
                    chance ^= chance << 13;
                    chance ^= chance >> 7;
                    chance ^= chance << 17;
                    let patience = std::time::Duration::from_micros(chance % 300);
                    // Dropped before, in and after the wait, and sometimes with a command in flight.
                    within(&sleeper, patience, async {
                        let Ok(mut client) = manager.get_client(&url).await else { return };
                        if chance % 64 == 0 {
                            let _ = echo(&mut client, "token").await;
                        } else {
                            sleeper.sleep(patience / 2).await;
                        }
                    })
                    .await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
    assert_full_capacity(&manager, &server, 4).await;
}

async fn a_connection_grows_no_older_than_its_lifetime(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = one_pool(2).max_lifetime(100 * MS).build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(&server.url()).await.expect("the server is up");
    let id = async || {
        let mut client = manager.get_client(&server.url()).await.expect("a client");
        redis::cmd("CLIENT").arg("ID").query_async::<i64>(&mut client).await.expect("CLIENT ID")
    };
    let first = id().await;
    let held = manager.get_client(&server.url()).await.expect("a client");
    runtime.sleep(150 * MS).await;
    assert_eq!(status(&manager).active, 1, "a borrowed connection is left alone");
    drop(held);
    assert_ne!(id().await, first);
    until(&runtime, "the minimum is kept", || server.client_count() == 1).await;
}
