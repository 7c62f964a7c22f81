//! Clients that many tasks share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Instant;

use redis::{AsyncCommands, ErrorKind, Value};
use redis_manager::runtime::Network;
use redis_manager::{GetClientError, PoolArgs, RedisManager, SharedClient};
use redis_manager_tests::on_every_runtime;
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::{spawn, until, within};

use crate::{MS, SLACK, assert_full_capacity, manager_of, one_pool, status, until_settled};

on_every_runtime! {
    a_handle_of_a_closed_node_leaves_the_shared_connections_of_its_successor;
    many_tasks_share_one_connection;
    they_are_leased_from_the_same_budget;
    c5_a_connection_that_dies_unused_frees_its_place;
    l8_what_cannot_be_shared_is_refused_and_not_sent;
    l7_no_command_is_sent_twice_however_often_its_connection_dies;
    f1_killed_and_back_within_a_second;
    f2_a_silent_server_is_told_at_the_deadline_and_left;
    f2_a_silent_server_is_told_to_the_pool_however_soon_callers_give_up;
    e1_closing_does_not_wait_for_shared_clients_that_are_kept;
    e1_closing_does_not_wait_for_shared_clients_that_are_made_meanwhile;
    several_connections_are_opened_as_they_are_needed;
    a_node_that_is_not_there_is_told;
    h7_shared_clients_leave_a_replica_that_others_have_met;
}

async fn echo(client: &mut SharedClient, token: &str) -> redis::RedisResult<String> {
    redis::cmd("ECHO").arg(token).query_async(client).await
}

async fn many_tasks_share_one_connection(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = one_pool(4).min_idle(0).build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(&server.url()).await.expect("the server is up");
    let shared = manager.get_shared_client(&server.url()).await.expect("a shared client");
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let (mut client, clock) = (shared.clone(), runtime.clone());
            spawn(&runtime, async move {
                for round in 0..50 {
                    let token = format!("{task}-{round}");
                    match round % 5 {
                        // Cancelled: the others do not notice.
                        0 => drop(within(&clock, MS / 20, echo(&mut client, &token)).await),
                        1 => {
                            let (n, _): (i64, i64) = redis::pipe()
                                .atomic()
                                .incr("n", 1)
                                .incr("n", 1)
                                .query_async(&mut client)
                                .await
                                .expect("an atomic pipeline");
                            assert!(n > 0);
                        }
                        _ => assert_eq!(echo(&mut client, &token).await.expect("ECHO"), token),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
    assert_eq!(server.command(&["GET", "n"]), (64 * 10 * 2).to_string());
    assert_eq!(server.client_count(), 1, "{:?}", server.client_list());
    drop(shared);
    assert_full_capacity(&manager, &server, 4).await;
}

async fn they_are_leased_from_the_same_budget(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 2, runtime).await;
    let one = manager.get_shared_client(&server.url()).await.expect("a shared client");
    let other = manager.get_shared_client(&server.url()).await.expect("another");
    assert_eq!(status(&manager).active, 1, "both share one connection");
    let exclusive = manager.get_client(&server.url()).await.expect("one is left");
    let more = manager.get_client_timeout(&server.url(), 30 * MS).await;
    assert!(matches!(more, Err(GetClientError::Timeout { .. })), "{more:?}");
    drop((one, exclusive));
    assert_eq!(status(&manager).active, 1, "it is kept while there is a shared client");
    drop(other);
    assert_eq!(status(&manager).active, 0);
    assert_full_capacity(&manager, &server, 2).await;
}

/// Seen to bite: when only the next command of a shared client finds its connection dead, nobody else gets the place.
async fn c5_a_connection_that_dies_unused_frees_its_place(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 1, runtime).await;
    let mut shared = manager.get_shared_client(&server.url()).await.expect("a shared client");
    assert_eq!(echo(&mut shared, "token").await.expect("ECHO"), "token");
    server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    let exclusive = manager.get_client_timeout(&server.url(), 2_000 * MS).await.expect("its place is free");
    drop(exclusive);
    assert_eq!(echo(&mut shared, "token").await.expect("ECHO"), "token");
    drop(shared);
    assert_full_capacity(&manager, &server, 1).await;
}

/// Seen to bite: without the refusal, WATCH is the first that gets through.
async fn l8_what_cannot_be_shared_is_refused_and_not_sent(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 1, runtime).await;
    let mut client = manager.get_shared_client(&server.url()).await.expect("a shared client");
    let refused = [
        "WATCH key",
        "UNWATCH",
        "MULTI",
        "EXEC",
        "DISCARD",
        "BLPOP queue 0",
        "XREAD BLOCK 100 STREAMS stream $",
        "WAIT 1 100",
        "SELECT 0",
        "SELECT 5",
        "AUTH pass",
        "HELLO 3",
        "RESET",
        "QUIT",
        "SUBSCRIBE channel",
        "PSUBSCRIBE ch*",
        "UNSUBSCRIBE",
        "MONITOR",
        "CLIENT REPLY OFF",
        "CLIENT SETNAME mine",
        "client tracking on",
        "READONLY",
        "SCRIPT DEBUG YES",
    ];
    for words in refused {
        let mut parts = words.split(' ');
        let name = parts.next().expect("a name");
        let mut cmd = redis::cmd(name);
        cmd.arg(parts.collect::<Vec<_>>());
        let error = cmd.query_async::<Value>(&mut client).await.expect_err(words);
        assert_eq!(error.kind(), ErrorKind::Client, "{words}: {error}");
        assert_eq!(error.detail(), Some(name.to_uppercase().as_str()), "{error}");
        let mut pipeline = redis::pipe();
        pipeline.set("sent", words).add_command(cmd);
        let error = pipeline.query_async::<Value>(&mut client).await.expect_err(words);
        assert_eq!(error.kind(), ErrorKind::Client, "{words} in a pipeline: {error}");
    }
    assert_eq!(server.command(&["EXISTS", "sent"]), "0", "nothing of a pipeline that is refused is sent");
    let mut unanswered = redis::cmd("SET");
    unanswered.arg("sent").arg(1).set_no_response(true);
    assert_eq!(unanswered.exec_async(&mut client).await.map_err(|error| error.kind()), Err(ErrorKind::Client));

    let id: i64 = redis::cmd("CLIENT").arg("ID").query_async(&mut client).await.expect("CLIENT ID only looks");
    assert!(id > 0);
    let (popped,): (Option<Value>,) =
        redis::pipe().atomic().cmd("BLPOP").arg("queue").arg(0).query_async(&mut client).await.expect("queued, not blocking");
    assert_eq!(popped, None);
    assert_eq!(echo(&mut client, "token").await.expect("ECHO"), "token");
}

async fn l7_no_command_is_sent_twice_however_often_its_connection_dies(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 2, runtime.clone()).await;
    let shared = manager.get_shared_client(&server.url()).await.expect("a shared client");
    let (sure, unknown) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicI64::new(0)));
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (mut client, sure, unknown) = (shared.clone(), Arc::clone(&sure), Arc::clone(&unknown));
            spawn(&runtime, async move {
                for _ in 0..200 {
                    match client.incr::<_, _, i64>("n", 1).await {
                        Ok(_) => sure.fetch_add(1, Ordering::SeqCst),
                        Err(error) => {
                            assert!(error.to_string().contains("outcome unknown"), "{error}");
                            unknown.fetch_add(1, Ordering::SeqCst)
                        }
                    };
                }
            })
        })
        .collect();
    for _ in 0..20 {
        runtime.sleep(5 * MS).await;
        server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    }
    for task in tasks {
        task.await;
    }
    let counted: i64 = server.command(&["GET", "n"]).parse().expect("a number");
    let (sure, unknown) = (sure.load(Ordering::SeqCst), unknown.load(Ordering::SeqCst));
    assert_eq!(sure + unknown, 16 * 200);
    assert!(sure <= counted && counted <= sure + unknown, "{sure} sure, {unknown} unknown, {counted} counted");
    drop(shared);
    // The last of those that were killed may be known to be dead a moment later.
    until_settled(&manager, &server, &runtime).await;
    assert_full_capacity(&manager, &server, 2).await;
}

async fn f1_killed_and_back_within_a_second(runtime: impl Network + Clone) {
    let mut server = RedisServer::start();
    let manager = manager_of(&server, 2, runtime.clone()).await;
    let mut shared = manager.get_shared_client(&server.url()).await.expect("a shared client");
    server.kill();
    until(&runtime, "its end is noticed", || status(&manager).active == 0).await;
    let mut kept = shared.clone();
    // One that was never sent waits for the new connection.
    let waiting = spawn(&runtime, async move { echo(&mut kept, "kept").await });
    runtime.sleep(1_000 * MS).await;
    server.restart();
    let back_at = Instant::now();
    let answer = waiting.await.expect("it was never sent, and had time");
    assert_eq!(answer, "kept");
    assert!(back_at.elapsed() < 1_000 * MS, "{:?}", back_at.elapsed());
    assert_eq!(echo(&mut shared, "token").await.expect("ECHO"), "token");
}

async fn f2_a_silent_server_is_told_at_the_deadline_and_left(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let mut args = PoolArgs::default();
    args.command_timeout = 1_000 * MS;
    let builder = one_pool(2).pool_args(args).health_check_timeout(100 * MS);
    let manager = builder.build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(&server.url()).await.expect("the server is up");
    let mut shared = manager.get_shared_client(&server.url()).await.expect("a shared client");
    server.stop_process();
    for attempt in 0..3 {
        let began_at = Instant::now();
        let error = echo(&mut shared, "token").await.expect_err("the server is stopped");
        assert!(error.is_timeout(), "{error}");
        let words = if attempt == 0 { "outcome unknown" } else { "not sent" };
        assert!(error.to_string().contains(words), "{attempt}: {error}");
        assert!(began_at.elapsed() < 1_000 * MS + SLACK, "{:?}", began_at.elapsed());
    }
    server.continue_process();
    let began_at = Instant::now();
    while echo(&mut shared, "token").await.is_err() {
        assert!(began_at.elapsed() < 2_000 * MS, "it is back");
    }
    drop(shared);
    assert_full_capacity(&manager, &server, 2).await;
}

/// Seen to bite: when only a command that waits to its own end tells that a connection is silent, those that are given up
/// sooner are sent over it for ever.
async fn f2_a_silent_server_is_told_to_the_pool_however_soon_callers_give_up(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let mut args = PoolArgs::default();
    args.command_timeout = 500 * MS;
    let manager = one_pool(2).pool_args(args).build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(&server.url()).await.expect("the server is up");
    let mut shared = manager.get_shared_client(&server.url()).await.expect("a shared client");
    server.stop_process();
    let began_at = Instant::now();
    while status(&manager).last_error.is_none() {
        assert!(began_at.elapsed() < 3_000 * MS, "nobody has noticed: {:?}", status(&manager));
        assert!(within(&runtime, 100 * MS, echo(&mut shared, "token")).await.is_none(), "the server is stopped");
    }
    assert!(began_at.elapsed() >= 500 * MS, "{:?}", began_at.elapsed());
    server.continue_process();
    until(&runtime, "it is known to be back", || status(&manager).idle > 0).await;
    assert_eq!(echo(&mut shared, "token").await.expect("ECHO"), "token");
    drop(shared);
    assert_full_capacity(&manager, &server, 2).await;
}

async fn e1_closing_does_not_wait_for_shared_clients_that_are_kept(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 2, runtime.clone()).await;
    let mut shared = manager.get_shared_client(&server.url()).await.expect("a shared client");
    assert_eq!(echo(&mut shared, "token").await.expect("ECHO"), "token");
    let began_at = Instant::now();
    manager.close_node_pools(&server.url()).await;
    assert!(began_at.elapsed() < 1_000 * MS, "{:?}", began_at.elapsed());
    until(&runtime, "the server sees nobody", || server.client_count() == 0).await;
    let error = echo(&mut shared, "token").await.expect_err("it is closed");
    assert!(error.to_string().contains("not sent"), "{error}");
    manager.add_node_pool(&server.url()).await.expect("the server is up");
    let mut again = manager.get_shared_client(&server.url()).await.expect("a shared client of the new pools");
    assert_eq!(echo(&mut again, "token").await.expect("ECHO"), "token");
    assert!(echo(&mut shared, "token").await.is_err(), "one that was closed stays closed");
    manager.close_all_pools().await;
    assert!(echo(&mut again, "token").await.is_err());
}

/// Seen to bite on runtimes with several threads: when the shared clients are told before the pools are closed, one that
/// is made in between keeps its connection to the end of the timeout.
async fn e1_closing_does_not_wait_for_shared_clients_that_are_made_meanwhile(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 4, runtime.clone()).await;
    for _ in 0..60 {
        let (makes, url) = (manager.clone(), server.url());
        let making = spawn(&runtime, async move {
            let mut kept = Vec::new();
            for _ in 0..2_000 {
                kept.extend(makes.get_shared_client(&url).await);
            }
            kept
        });
        runtime.sleep(MS / 10).await;
        let began_at = Instant::now();
        manager.close_node_pools_timeout(&server.url(), 5_000 * MS).await;
        assert!(began_at.elapsed() < 4_000 * MS, "{:?}", began_at.elapsed());
        drop(making.await);
        manager.add_node_pool(&server.url()).await.expect("the server is up");
    }
}

async fn several_connections_are_opened_as_they_are_needed(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = one_pool(4).shared_connections_per_node(3).build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(&server.url()).await.expect("the server is up");
    let shared = manager.get_shared_client(&server.url()).await.expect("a shared client");
    assert_eq!(status(&manager).active, 1);
    let stop = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let (mut client, stop) = (shared.clone(), Arc::clone(&stop));
            spawn(&runtime, async move {
                while !stop.load(Ordering::SeqCst) {
                    let token = format!("token-{task}");
                    assert_eq!(echo(&mut client, &token).await.expect("ECHO"), token);
                }
            })
        })
        .collect();
    until(&runtime, "there are three", || status(&manager).active == 3).await;
    runtime.sleep(300 * MS).await;
    stop.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await;
    }
    assert_eq!(status(&manager).active, 3, "{:?}", status(&manager));
    drop(shared);
    assert_full_capacity(&manager, &server, 4).await;
}

async fn a_node_that_is_not_there_is_told(runtime: impl Network + Clone) {
    let mut server = RedisServer::start();
    let manager = RedisManager::builder().build(runtime.clone()).expect("valid settings");
    let url = server.url();
    assert!(matches!(manager.get_shared_client(&url).await, Err(GetClientError::UnknownNode { .. })));
    manager.add_node_pool(&url).await.expect("the server is up");
    server.kill();
    until(&runtime, "it is known to be dead", || status(&manager).idle == 0).await;
    let began_at = Instant::now();
    let told = manager.get_shared_client_timeout(&url, 300 * MS).await;
    assert!(matches!(told, Err(GetClientError::NoHealthyPools { .. })), "{told:?}");
    assert!(began_at.elapsed() < 300 * MS + SLACK, "{:?}", began_at.elapsed());
    manager.close_all_pools().await;
    assert!(matches!(manager.get_shared_client(&url).await, Err(GetClientError::Closed { .. })));
}

/// Seen to bite: without the look at whether the pool wants its connection back.
async fn h7_shared_clients_leave_a_replica_that_others_have_met(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 2, runtime.clone()).await;
    let mut shared = manager.get_shared_client(&server.url()).await.expect("a shared client");
    let mut id = async || redis::cmd("CLIENT").arg("ID").query_async::<i64>(&mut shared).await.expect("CLIENT ID");
    let first = id().await;
    assert_eq!(id().await, first);
    let mut writer = manager.get_client(&server.url()).await.expect("a client");
    server.command(&["REPLICAOF", "127.0.0.1", "1"]);
    let refused = writer.set::<_, _, ()>("key", 1).await.expect_err("a replica");
    assert_eq!(refused.code(), Some("READONLY"));
    server.command(&["REPLICAOF", "NO", "ONE"]);
    let began_at = Instant::now();
    while id().await <= first {
        assert!(began_at.elapsed() < 5_000 * MS, "it goes on asking the old one");
    }
}

/// Seen to bite: with a closed node's connections in the place of the others.
async fn a_handle_of_a_closed_node_leaves_the_shared_connections_of_its_successor(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 4, runtime.clone()).await;
    let old = manager.node(&server.url()).expect("it was added");
    old.close().await;
    let new = manager.add_node_pool(&server.url()).await.expect("it can be added again");
    let first = new.get_shared_client().await.expect("a shared client");
    let closed = old.get_shared_client().await.expect_err("closed");
    assert!(matches!(closed, GetClientError::Closed { .. }), "{closed:?}");
    let second = new.get_shared_client().await.expect("a shared client");
    assert_eq!(new.status().active, 1, "both over one connection");
    let closing = manager.close_all_pools_timeout(5_000 * MS);
    assert!(within(&runtime, 2_000 * MS, closing).await.is_some(), "no shared client holds it up");
    drop((first, second));
}
