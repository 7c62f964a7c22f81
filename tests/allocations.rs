//! What a lease costs the allocator: nothing. A program of its own, since it counts by being the allocator.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use redis_manager::RedisManager;
use redis_manager::tokio::TokioRuntime;
use redis_manager_tests::redis_server::RedisServer;

/// Seen to bite: with a `format!` in `RedisConnection::inspect`.
#[tokio::test]
async fn a_lease_that_changed_nothing_allocates_nothing() {
    let server = RedisServer::start();
    let runtime = TokioRuntime::current().expect("inside tokio");
    let manager = RedisManager::builder().build(runtime).expect("valid settings");
    manager.add_node_pool(&server.url()).await.expect("the server is up");
    manager.start_cleanup();
    let url = server.url();
    let borrow = || {
        let polled = pin!(manager.get_client(&url)).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Ok(client)) = polled else { panic!("one idles: {polled:?}") };
        drop(client);
    };
    // The first one finds out whether the clock has been looked at lately.
    borrow();
    let counted = allocation_counter::measure(|| (0..1_000).for_each(|_| borrow()));
    assert_eq!((counted.count_total, counted.bytes_total), (0, 0), "{counted:?}");
}

/// The fewest allocations of 200 GETs, those of an exclusive and those of a shared client, while one request of each so many is
/// timed.
fn allocations_of_gets(server: &RedisServer, use_time_sampling: usize) -> [u64; 2] {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("tokio starts");
    let (_manager, mut client, mut shared) = tokio.block_on(async {
        let runtime = TokioRuntime::current().expect("inside tokio");
        let manager = RedisManager::builder().use_time_sampling(use_time_sampling).build(runtime).expect("valid settings");
        let node = manager.add_node_pool(&server.url()).await.expect("the server is up");
        let client = node.get_client().await.expect("a client");
        let shared = node.get_shared_client().await.expect("a shared client");
        (manager, client, shared)
    });
    let mut cmd = redis::cmd("GET");
    cmd.arg("key");
    let fewest = |client: &mut dyn FnMut()| {
        // The first one makes the histogram.
        client();
        let rounds = (0..5).map(|_| allocation_counter::measure(|| (0..200).for_each(|_| client())).count_total);
        rounds.min().expect("five")
    };
    let exclusive = fewest(&mut || drop(tokio.block_on(cmd.query_async::<Option<String>>(&mut client)).expect("GET")));
    let shared = fewest(&mut || drop(tokio.block_on(cmd.query_async::<Option<String>>(&mut shared)).expect("GET")));
    [exclusive, shared]
}

/// The command, its arguments, the future that the redis crate boxes, and the value.
///
/// Seen to bite: with a `Vec` for the wakers of each turn of a shared connection's task.
#[test]
fn a_get_of_a_value_allocates_four_times() {
    let server = RedisServer::start();
    server.command(&["SET", "key", "value"]);
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("tokio starts");
    let (_manager, mut client, mut shared) = tokio.block_on(async {
        let runtime = TokioRuntime::current().expect("inside tokio");
        let manager = RedisManager::builder().build(runtime).expect("valid settings");
        let node = manager.add_node_pool(&server.url()).await.expect("the server is up");
        let client = node.get_client().await.expect("a client");
        let shared = node.get_shared_client().await.expect("a shared client");
        (manager, client, shared)
    });
    let fewest = |client: &mut dyn FnMut() -> Vec<u8>| {
        assert_eq!(client(), b"value");
        let rounds = (0..5).map(|_| allocation_counter::measure(|| (0..200).for_each(|_| drop(client()))).count_total);
        rounds.min().expect("five")
    };
    let get = || {
        let mut cmd = redis::cmd("GET");
        cmd.arg("key");
        cmd
    };
    let exclusive = fewest(&mut || tokio.block_on(get().query_async(&mut client)).expect("GET"));
    let shared = fewest(&mut || tokio.block_on(get().query_async(&mut shared)).expect("GET"));
    assert!(exclusive <= 800 && shared <= 800, "200 exclusive ones: {exclusive}, 200 shared ones: {shared}");
}

/// Counts of requests are never off; their times are, and that is the part that could allocate.
///
/// Seen to bite: with a `Box` that is made at each `record`.
#[test]
fn a_request_that_is_counted_and_timed_allocates_no_more_than_one_that_is_not_timed() {
    let server = RedisServer::start();
    let (timed, untimed) = (allocations_of_gets(&server, 1), allocations_of_gets(&server, 0));
    assert!(timed[0] <= untimed[0] && timed[1] <= untimed[1], "{timed:?} and {untimed:?}");
}
