//! Services that start before their server, and nodes whose server dies while clients of it are on loan.

use std::time::Duration;

use redis::RedisResult;
use redis_manager::runtime::Network;
use redis_manager::{GetClientError, Health, OnNodeDown, RedisManager};
use redis_manager_tests::on_every_runtime;
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::{spawn, until};

use crate::{MS, assert_full_capacity, echo, one_pool, status};

on_every_runtime! {
    a_node_that_is_added_lazily_is_down_until_its_server_comes_up;
    a_client_is_waited_for_while_its_node_is_being_added;
    h13_a_server_killed_with_a_client_on_loan_is_down_and_heals_while_it_is_held;
}

/// Clients may be had so long after the server is back; the rules say 600 ms, a busy machine takes some.
const HEALED: Duration = Duration::from_millis(800);

async fn a_node_that_is_added_lazily_is_down_until_its_server_comes_up(runtime: impl Network + Clone) {
    let mut server = RedisServer::start();
    server.kill();
    let manager = one_pool(3).build(runtime.clone()).expect("valid settings");
    let node = manager.add_node_pool_lazy(&server.url()).expect("a URL");
    assert_eq!((status(&manager).health, node.status().health), (Health::Down, Health::Down));
    assert!(manager.add_node_pool_lazy(&server.url()).is_ok(), "it is there already");
    assert!(manager.add_node_pool_lazy("redis://localhost:0").is_err());
    until(&runtime, "the reason is known", || status(&manager).last_error.is_some()).await;
    let early = manager.get_client_timeout(&server.url(), 50 * MS).await;
    assert!(matches!(early, Err(GetClientError::NoHealthyPools { .. })), "{early:?}");
    let (waiting, url) = (manager.clone(), server.url());
    let waiter = spawn(&runtime, async move { waiting.get_client_timeout(&url, 5_000 * MS).await.is_ok() });
    server.restart();
    let back_at = runtime.now();
    assert!(waiter.await, "it has waited for the server");
    let took = runtime.now().saturating_duration_since(back_at);
    assert!(took < HEALED, "{took:?}");
    assert_eq!((status(&manager).health, status(&manager).down_for), (Health::Up, None));
    assert_full_capacity(&manager, &server, 3).await;
    manager.close_all_pools().await;
    assert!(manager.add_node_pool_lazy(&server.url()).is_err());
}

async fn a_client_is_waited_for_while_its_node_is_being_added(runtime: impl Network + Clone) {
    let mut server = RedisServer::start();
    server.kill();
    let manager = one_pool(3).build(runtime.clone()).expect("valid settings");
    let (adding, url) = (manager.clone(), server.url());
    let added = spawn(&runtime, async move { adding.add_node_pool_timeout(&url, 5_000 * MS).await });
    until(&runtime, "the node is there", || !manager.fetch_pool_status().is_empty()).await;
    assert_eq!(status(&manager).health, Health::Down);
    let (sharing, url) = (manager.clone(), server.url());
    let shared = spawn(&runtime, async move {
        let mut client = sharing.get_shared_client_timeout(&url, 5_000 * MS).await.map_err(|error| error.to_string())?;
        let answer: RedisResult<String> = redis::cmd("PING").query_async(&mut client).await;
        answer.map_err(|error| error.to_string())
    });
    server.restart();
    let mut client = manager.get_client_timeout(&server.url(), 5_000 * MS).await.expect("it waits with the one that adds it");
    assert_eq!(echo(&mut client, "here").await.expect("a sound client"), "here");
    assert_eq!(shared.await.as_deref(), Ok("PONG"));
    added.await.expect("the server is up");
    drop(client);
    manager.close_all_pools().await;
}

async fn h13_a_server_killed_with_a_client_on_loan_is_down_and_heals_while_it_is_held(runtime: impl Network + Clone) {
    for fails_fast in [true, false] {
        let mut server = RedisServer::start();
        let on_node_down = if fails_fast { OnNodeDown::FailFast } else { OnNodeDown::Wait };
        let manager = one_pool(4).on_node_down(on_node_down).build(runtime.clone()).expect("valid settings");
        manager.add_node_pool(&server.url()).await.expect("the server is up");
        let mut shared = manager.get_shared_client(&server.url()).await.expect("the server is up");
        let held = manager.get_client(&server.url()).await.expect("the server is up");
        server.kill();
        until(&runtime, "the node is down", || status(&manager).health == Health::Down).await;
        let seen = status(&manager);
        assert!(seen.lost >= 1 && seen.active >= seen.lost && seen.healthy_pools == 0, "{seen:?}");
        if fails_fast {
            let asked_at = runtime.now();
            let told = manager.get_client(&server.url()).await;
            let shared: RedisResult<String> = redis::cmd("PING").query_async(&mut shared).await;
            let took = runtime.now().saturating_duration_since(asked_at);
            assert!(matches!(told, Err(GetClientError::NoHealthyPools { .. })), "{told:?}");
            assert!(shared.is_err() && took < 50 * MS, "{shared:?} after {took:?}");
        }
        server.restart();
        let back_at = runtime.now();
        let healed = async {
            while manager.get_client_timeout(&server.url(), 5_000 * MS).await.is_err() {
                runtime.sleep(MS).await;
            }
        };
        healed.await;
        let took = runtime.now().saturating_duration_since(back_at);
        assert!(took < HEALED, "fails fast: {fails_fast}: {took:?}");
        drop((held, shared));
        assert_full_capacity(&manager, &server, 4).await;
        manager.close_all_pools().await;
    }
}

/// What a service does that may start before its server, as a new user would write it.
#[test]
fn adding_lazily_needs_no_executor() {
    let manager = RedisManager::builder().build(redis_manager::smol::SmolRuntime::new()).expect("valid settings");
    let node = manager.add_node_pool_lazy("redis://127.0.0.1:1").expect("a URL");
    assert_eq!(node.status().health, Health::Down);
}
