//! E4: what ends at once when the pools close, what is waited for, and who is told; no element that was sent is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use redis::AsyncCommands;
use redis_manager::runtime::Network;
use redis_manager::{Client, PubSubEnd};
use redis_manager_tests::on_every_runtime;
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::{either, spawn, until};

use crate::{MS, echo, manager_of};

/// Far less than the deadline of a close, and far more than it takes on a machine with nothing beside it: some milliseconds.
const AT_ONCE: Duration = Duration::from_secs(3);

on_every_runtime! {
    e4_a_subscription_ends_at_once_and_says_why;
    e4_a_command_that_blocks_ends_at_once_and_takes_nothing;
    e4_what_waits_at_a_silent_server_holds_the_close_up_by_a_moment_only;
    e4_what_begins_to_wait_after_the_close_has_begun_ends_too;
    e4_one_node_closes_as_all_do;
    e4_no_element_that_was_sent_is_lost_when_workers_are_closed;
    e4_a_service_that_is_told_to_end_ends_in_a_moment;
}

fn is_blocked(server: &RedisServer) -> bool {
    server.client_list().iter().any(|line| line.contains("cmd=blpop"))
}

/// Seen to bite: with a `pool_closing` that does nothing, and with an `end` that is always a lost connection.
async fn e4_a_subscription_ends_at_once_and_says_why(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 4, runtime.clone()).await;
    let url = server.url();
    let listens = async || {
        let mut news = manager.get_client(&url).await.expect("a client").into_pub_sub().expect("RESP3");
        news.subscribe("news").await.expect("SUBSCRIBE");
        news
    };
    let mut lost = listens().await;
    assert_eq!(lost.end(), None);
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    assert!(lost.next_message().await.is_none());
    assert_eq!(lost.end(), Some(PubSubEnd::ConnectionLost));
    drop(lost);

    // One is kept in a variable, and has a message that nobody has taken.
    let (mut kept, mut listening) = (listens().await, listens().await);
    server.command(&["PUBLISH", "news", "one"]);
    assert!(listening.next_message().await.is_some());
    kept.subscribe("other news").await.expect("SUBSCRIBE, after whose answer the message has come");
    let listening = spawn(&runtime, async move { (listening.next_message().await.is_none(), listening.end()) });
    let start = Instant::now();
    manager.close_all_pools().await;
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    assert_eq!(listening.await, (true, Some(PubSubEnd::Closed)));
    assert!(kept.next_message().await.is_some(), "it had come before");
    assert!(kept.next_message().await.is_none());
    assert_eq!(kept.end(), Some(PubSubEnd::Closed));
    let told = kept.subscribe("more").await.expect_err("closed").to_string();
    assert!(told.contains("not sent") && told.contains("closed"), "{told}");
    until(&runtime, "the server sees nobody", || server.client_count() == 0).await;
}

/// Seen to bite: with a `pool_closing` that does nothing.
async fn e4_a_command_that_blocks_ends_at_once_and_takes_nothing(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 2, runtime.clone()).await;
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    let popping = spawn(&runtime, async move { client.blpop::<_, Option<(String, i64)>>("queue", 0.0).await });
    until(&runtime, "it blocks", || is_blocked(&server)).await;
    let start = Instant::now();
    manager.close_all_pools().await;
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    let told = popping.await.expect_err("closed").to_string();
    assert!(told.contains("pools were closed"), "{told}");
    until(&runtime, "the server sees nobody", || server.client_count() == 0).await;
    server.command(&["RPUSH", "queue", "1"]);
    assert_eq!(server.command(&["LLEN", "queue"]), "1");
}

/// Seen to bite: with a `close` of the registry that spawns no task.
async fn e4_what_waits_at_a_silent_server_holds_the_close_up_by_a_moment_only(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 2, runtime.clone()).await;
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    let popping = spawn(&runtime, async move { client.blpop::<_, Option<(String, i64)>>("queue", 0.0).await });
    until(&runtime, "it blocks", || is_blocked(&server)).await;
    server.stop_process();
    let start = Instant::now();
    manager.close_all_pools().await;
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    let told = popping.await.expect_err("closed").to_string();
    assert!(told.contains("pools were closed"), "{told}");
    server.continue_process();
}

/// Seen to bite: with a registry that takes entries after its close.
async fn e4_what_begins_to_wait_after_the_close_has_begun_ends_too(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 2, runtime.clone()).await;
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    let listener = manager.get_client(&server.url()).await.expect("a client");
    let closed = manager.closed();
    let closing = {
        let manager = manager.clone();
        spawn(&runtime, async move { manager.close_all_pools().await })
    };
    closed.await;
    assert!(manager.is_closing());
    manager.closed().await;
    let start = Instant::now();
    assert_eq!(echo(&mut client, "still mine").await.expect("a plain command"), "still mine");
    let told = client.blpop::<_, Option<(String, i64)>>("queue", 0.0).await.expect_err("closed").to_string();
    assert!(told.contains("not sent") && told.contains("closed"), "{told}");
    assert_eq!(echo(&mut client, "still mine").await.expect("a plain command"), "still mine");
    let mut news = listener.into_pub_sub().expect("RESP3");
    assert!(news.next_message().await.is_none());
    assert_eq!(news.end(), Some(PubSubEnd::Closed));
    drop(client);
    closing.await;
    assert!(start.elapsed() < AT_ONCE, "what has ended is not waited for: {:?}", start.elapsed());
    drop(news);
}

async fn e4_one_node_closes_as_all_do(runtime: impl Network + Clone) {
    let (server, other) = (RedisServer::start(), RedisServer::start());
    let manager = manager_of(&server, 2, runtime.clone()).await;
    manager.add_node_pool(&other.url()).await.expect("the server is up");
    let pop = |mut client: Client| spawn(&runtime, async move { client.blpop::<_, Option<(String, i64)>>("queue", 0.0).await });
    let popping = pop(manager.get_client(&server.url()).await.expect("a client"));
    let popping_other = pop(manager.get_client(&other.url()).await.expect("a client"));
    until(&runtime, "they block", || is_blocked(&server) && is_blocked(&other)).await;
    let start = Instant::now();
    manager.close_node_pools(&server.url()).await;
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    popping.await.expect_err("closed");
    other.command(&["RPUSH", "queue", "7"]);
    assert_eq!(popping_other.await.expect("another node"), Some((String::from("queue"), 7)));
    assert!(!manager.is_closing());
}

/// The replies that are under way when the pools close: those of workers that pop one element after the other.
///
/// Seen to bite, with pushes beside it: with commands that block ended like subscriptions, by closing their sockets.
async fn e4_no_element_that_was_sent_is_lost_when_workers_are_closed(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    for round in 0..10 {
        let manager = manager_of(&server, 8, runtime.clone()).await;
        let all: Vec<_> = (0..20_000).collect();
        let pushed = all.len();
        let mut filling = manager.get_client(&server.url()).await.expect("a client");
        let () = filling.rpush("queue", all).await.expect("RPUSH");
        drop(filling);
        let popped = Arc::new(AtomicUsize::new(0));
        let mut workers = Vec::new();
        for _ in 0..4 {
            let mut client = manager.get_client(&server.url()).await.expect("a client");
            let popped = Arc::clone(&popped);
            workers.push(spawn(&runtime, async move {
                while let Ok(Some(_)) = client.blpop::<_, Option<(String, i64)>>("queue", 0.0).await {
                    popped.fetch_add(1, Ordering::SeqCst);
                }
            }));
        }
        runtime.sleep((5 + 7 * round) * MS).await;
        let start = Instant::now();
        manager.close_all_pools().await;
        let took = start.elapsed();
        for worker in workers {
            worker.await;
        }
        let left: usize = server.command(&["LLEN", "queue"]).parse().expect("a number");
        assert_eq!(popped.load(Ordering::SeqCst) + left, pushed, "round {round}: elements were popped for nobody");
        assert!(took < AT_ONCE, "round {round}: {took:?}");
        server.command(&["DEL", "queue"]);
    }
}

/// Seen to bite: with a `closed` that resolves when all is closed.
async fn e4_a_service_that_is_told_to_end_ends_in_a_moment(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 8, runtime.clone()).await;
    let url = server.url();
    let mut news = manager.get_client(&url).await.expect("a client").into_pub_sub().expect("RESP3");
    news.subscribe("news").await.expect("SUBSCRIBE");
    let listener = spawn(&runtime, async move { while news.next_message().await.is_some() {} });
    let mut client = manager.get_client(&url).await.expect("a client");
    let worker = spawn(&runtime, async move { while client.blpop::<_, (String, i64)>("queue", 0.0).await.is_ok() {} });
    let client = manager.get_client(&url).await.expect("a client");
    let holder = {
        let (manager, runtime) = (manager.clone(), runtime.clone());
        spawn(&runtime.clone(), async move {
            either(runtime.sleep(60_000 * MS), manager.closed()).await;
            drop(client);
        })
    };
    let mut shared = manager.get_shared_client(&url).await.expect("a client");
    let caller = spawn(&runtime, async move { while shared.incr::<_, _, i64>("count", 1).await.is_ok() {} });
    until(&runtime, "it blocks", || is_blocked(&server)).await;
    let start = Instant::now();
    manager.close_all_pools().await;
    for task in [listener.await, worker.await, holder.await, caller.await] {
        let () = task;
    }
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    until(&runtime, "the server sees nobody", || server.client_count() == 0).await;
}
