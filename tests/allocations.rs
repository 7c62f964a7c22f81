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
