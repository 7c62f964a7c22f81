//! The end: closing, dropping, and runtimes that end first.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use redis_manager::runtime::Network;
use redis_manager::tokio::TokioRuntime;
use redis_manager::{AddNodeError, Client, GetClientError, NodeHandle, PubSub, PubSubEnd, RedisManager, SharedClient};
use redis_manager_tests::on_every_runtime;
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::{spawn, until, wait_until, within};

use crate::{MS, echo, manager_of, one_pool, status};

on_every_runtime! {
    e1_closing_tells_those_who_wait_and_the_server_sees_nobody_afterwards;
    e1_what_is_not_given_back_is_ended_at_the_deadline;
    e1_a_closed_node_can_be_added_again;
    e2_the_last_handle_ends_it_all;
    e3_a_client_outlives_its_manager;
}

async fn e1_closing_tells_those_who_wait_and_the_server_sees_nobody_afterwards(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 2, runtime.clone()).await;
    let url = server.url();
    let mut held = vec![manager.get_client(&url).await.expect("one"), manager.get_client(&url).await.expect("two")];
    let (manager_of_caller, url_of_caller) = (manager.clone(), url.clone());
    let waiting = spawn(&runtime, async move { manager_of_caller.get_client(&url_of_caller).await.map(drop) });
    until(&runtime, "somebody waits", || status(&manager).waiting == 1).await;

    let closer = manager.clone();
    let closed = spawn(&runtime, async move { closer.close_all_pools().await });
    assert!(matches!(waiting.await, Err(GetClientError::Closed { .. })));
    assert!(matches!(manager.get_client(&url).await, Err(GetClientError::Closed { .. })));
    assert_eq!(echo(&mut held[0], "still mine").await.expect("a borrowed client works on"), "still mine");
    drop(held);
    closed.await;
    // Our sockets are closed; the server drops them from its list at the end of a turn of its own.
    until(&runtime, "the server sees nobody", || server.client_count() == 0).await;
    assert!(matches!(manager.get_client(&url).await, Err(GetClientError::Closed { .. })));
    assert!(matches!(manager.try_get_client(&url), Err(GetClientError::Closed { .. })));
    assert!(matches!(manager.add_node_pool(&url).await, Err(AddNodeError::Closed { .. })));
    // T5, seen to bite: with `hide_password` that looks at unknown nodes only.
    let told = manager.get_client("redis://:secret@localhost").await.expect_err("closed");
    assert!(!format!("{told} {told:?}").contains("secret"), "{told:?}");
    assert!(!manager.is_health_check_running() && manager.fetch_pool_status().is_empty());
    manager.close_all_pools().await;
}

async fn e1_what_is_not_given_back_is_ended_at_the_deadline(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 2, runtime.clone()).await;
    let mut held = manager.get_client(&server.url()).await.expect("a client");
    let mut blocked = manager.get_client(&server.url()).await.expect("a client");
    let popping = spawn(&runtime, async move { redis::cmd("BLPOP").arg("queue").arg(0).exec_async(&mut blocked).await });
    until(&runtime, "it blocks", || server.client_list().iter().any(|line| line.contains("cmd=blpop"))).await;
    let started_at = runtime.now();
    manager.close_all_pools_timeout(100 * MS).await;
    let took = runtime.now().saturating_duration_since(started_at);
    assert!(took >= 100 * MS && took < 1_000 * MS, "{took:?}");
    until(&runtime, "the server sees nobody", || server.client_count() == 0).await;
    popping.await.expect_err("its connection was ended");
    echo(&mut held, "token").await.expect_err("its connection was ended");
    drop(held);
}

async fn e1_a_closed_node_can_be_added_again(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 2, runtime.clone()).await;
    manager.close_node_pools(&server.url()).await;
    until(&runtime, "the server sees nobody", || server.client_count() == 0).await;
    assert!(matches!(manager.get_client(&server.url()).await, Err(GetClientError::UnknownNode { .. })));
    manager.add_node_pool(&server.url()).await.expect("the server is up");
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    assert_eq!(echo(&mut client, "token").await.expect("a sound one"), "token");
}

async fn e2_the_last_handle_ends_it_all(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = one_pool(3).min_idle(3).build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(&server.url()).await.expect("the server is up");
    assert_eq!(server.client_count(), 3);
    drop(manager.clone());
    assert_eq!(server.client_count(), 3);
    drop(manager);
    until(&runtime, "every socket is closed", || server.client_count() == 0).await;
}

async fn e3_a_client_outlives_its_manager(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = manager_of(&server, 2, runtime.clone()).await;
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    drop(manager);
    assert_eq!(echo(&mut client, "still mine").await.expect("it works on"), "still mine");
    // A plain thread, without any runtime.
    std::thread::spawn(move || drop(client)).join().expect("dropping never panics");
    until(&runtime, "its socket is closed", || server.client_count() == 0).await;
}

/// What is left of a manager whose runtime has ended.
struct Left {
    manager: RedisManager,
    client: Client,
    shared: SharedClient,
    news: PubSub,
    handle: NodeHandle,
}

async fn left_by(server: &RedisServer, runtime: impl Network + Clone) -> Left {
    let manager = manager_of(server, 5, runtime).await;
    let url = server.url();
    let client = manager.get_client(&url).await.expect("a client");
    let shared = manager.get_shared_client(&url).await.expect("a shared client");
    let news = manager.get_client(&url).await.expect("a client").into_pub_sub().expect("RESP3");
    let handle = manager.node(&url).expect("it is there");
    Left { manager, client, shared, news, handle }
}

#[track_caller]
fn assert_runtime_ended<T>(got: Result<T, GetClientError>) {
    match got {
        Err(GetClientError::RuntimeEnded { .. }) => {}
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was served"),
    }
}

#[track_caller]
fn assert_says_so<T>(got: redis::RedisResult<T>) {
    let told = got.err().expect("its runtime has ended").to_string();
    assert!(told.contains("runtime") && told.contains("has ended"), "{told}");
}

/// Seen to bite: with a link that is always lost, a driver that is dropped like one that is not needed any more, and a
/// runtime that does not say that it has ended.
async fn every_call_says_that_the_runtime_has_ended(left: Left, url: &str) {
    let Left { manager, mut client, mut shared, mut news, handle } = left;
    let start = std::time::Instant::now();
    assert_says_so(echo(&mut client, "token").await);
    assert_says_so(redis::cmd("PING").query_async::<()>(&mut shared).await);
    assert_says_so(redis::cmd("PING").query_async::<()>(&mut shared).await);
    assert_says_so(news.subscribe("news").await);
    assert!(news.next_message().await.is_none());
    assert_eq!(news.end(), Some(PubSubEnd::RuntimeEnded));
    for url in [url, "redis://127.0.0.1:1", url] {
        assert_runtime_ended(manager.get_client(url).await);
        assert_runtime_ended(manager.try_get_client(url));
        assert_runtime_ended(manager.get_shared_client(url).await);
        let added = manager.add_node_pool(url).await;
        assert!(matches!(added, Err(AddNodeError::RuntimeEnded { .. })), "{added:?}");
        let added = manager.add_node_pool_lazy(url).map(drop);
        assert!(matches!(added, Err(AddNodeError::RuntimeEnded { .. })), "{added:?}");
    }
    assert_runtime_ended(handle.get_client().await);
    assert_runtime_ended(handle.try_get_client());
    assert_runtime_ended(manager.node(url));
    let told = manager.get_client("redis://:secret@localhost").await.expect_err("it has ended");
    assert!(!format!("{told} {told:?}").contains("secret"), "{told:?}");
    manager.close_node_pools(url).await;
    manager.close_all_pools().await;
    manager.close_all_pools().await;
    assert!(matches!(manager.get_client(url).await, Err(GetClientError::Closed { .. })), "that was asked for");
    assert!(start.elapsed() < 3_000 * MS, "{:?}", start.elapsed());
}

#[test]
fn e5_after_the_end_of_a_tokio_runtime_every_call_says_so() {
    let server = RedisServer::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("tokio starts");
    let left = runtime.block_on(async { left_by(&server, TokioRuntime::current().expect("inside")).await });
    drop(runtime);
    // From another executor, which drives nothing of the first.
    smol::block_on(every_call_says_that_the_runtime_has_ended(left, &server.url()));
    wait_until("the server sees nobody", || server.client_count() == 0);
}

#[test]
fn e5_after_the_end_of_an_executor_of_smol_every_call_says_so() {
    let server = RedisServer::start();
    let executor = Arc::new(smol::Executor::new());
    let runtime = redis_manager::smol::SmolRuntime::with_executor(&executor);
    let left = smol::block_on(executor.run(left_by(&server, runtime.clone())));
    drop(executor);
    smol::block_on(async {
        let told = within(&runtime, 5_000 * MS, every_call_says_that_the_runtime_has_ended(left, &server.url())).await;
        told.expect("it does not hang");
    });
}

/// Counts the panics of threads of one name, whoever catches them.
fn count_panics_of(threads: &'static str) -> Arc<AtomicUsize> {
    let panics = Arc::new(AtomicUsize::new(0));
    let (counted, usual) = (Arc::clone(&panics), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().name() == Some(threads) {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        usual(info);
    }));
    panics
}

/// Seen to bite: with sleeps of tokio as they are, polled without a look at whether their runtime has ended.
#[test]
fn e3_callers_on_another_runtime_get_errors_when_the_managers_runtime_ends() {
    const CALLERS: usize = 200;
    const THREADS: &str = "callers of a runtime that ends";
    let panics = count_panics_of(THREADS);
    for server_dies_first in [false, true] {
        let mut server = RedisServer::start();
        let builder = || tokio::runtime::Builder::new_multi_thread();
        let first = builder().worker_threads(2).enable_all().build().expect("tokio starts");
        let second = builder().worker_threads(2).thread_name(THREADS).enable_all().build().expect("tokio starts");
        let manager = first.block_on(async { manager_of(&server, 4, TokioRuntime::current().expect("inside")).await });
        let shared = first.block_on(manager.get_shared_client(&server.url())).expect("a shared client");
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let mut shared = shared.clone();
                second.spawn(async move {
                    loop {
                        if let Err(told) = redis::cmd("PING").query_async::<()>(&mut shared).await {
                            let told = told.to_string();
                            // The ones under way are lost; then one of them waits for a connection, and the others for that one.
                            if told.contains("not sent") {
                                return told;
                            }
                        }
                    }
                })
            })
            .collect();
        std::thread::sleep(100 * MS);
        if server_dies_first {
            server.kill();
            std::thread::sleep(100 * MS);
        }
        let start = std::time::Instant::now();
        drop(first);
        for caller in callers {
            let told = second.block_on(caller).expect("no panic");
            assert!(told.contains("runtime") && told.contains("has ended"), "{told}");
        }
        assert!(start.elapsed() < 3_000 * MS, "within the deadline of each: {:?}", start.elapsed());
    }
    assert_eq!(panics.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_of_tokio_is_the_managers_clock() {
    let manager = RedisManager::builder().build(TokioRuntime::current().expect("inside")).expect("valid settings");
    let started_at = tokio::time::Instant::now();
    let told = manager.add_node_pool_timeout("redis://127.0.0.1:1", 3_000_000 * MS).await;
    assert!(matches!(told, Err(AddNodeError::NoHealthyPools { .. })), "{told:?}");
    assert_eq!(started_at.elapsed().as_secs(), 3_000, "50 minutes of virtual time");
}

#[test]
fn a_client_dropped_in_a_panic_goes_back() {
    let server = RedisServer::start();
    smol::block_on(async {
        let manager = manager_of(&server, 1, redis_manager::smol::SmolRuntime::new()).await;
        let client = manager.get_client(&server.url()).await.expect("a client");
        let panicked = std::thread::spawn(move || {
            let _client = client;
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        panicked.join().expect_err("it panicked");
        let mut client = manager.get_client(&server.url()).await.expect("it came back");
        assert_eq!(echo(&mut client, "token").await.expect("a sound one"), "token");
    });
}
