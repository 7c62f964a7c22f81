//! The paths of those who ask for a connection, through the public handles.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use redis_manager_core::{Acquire, Lease, Manager, NodeConfig, NodePool, Runtime};

use crate::hand::{FreeConnector, Hand, poll_once};

fn pool(runtime: &Arc<Hand>, pools: usize, size: usize) -> NodePool<FreeConnector> {
    let settings = NodeConfig::builder().connection_pools_per_node_at_start(pools).max_pools_per_node(pools);
    let settings = settings.max_connection_size(size).min_idle(size).max_waiters(1_000_000);
    let config = settings.build().expect("these settings are within their ranges");
    let pool = NodePool::new(FreeConnector, config, Arc::clone(runtime) as Arc<dyn Runtime>);
    runtime.run();
    pool
}

fn lend(pool: &NodePool<FreeConnector>) -> Lease<FreeConnector> {
    pool.try_get().expect("a connection idles")
}

/// Gets that find nothing, polled once.
fn crowd(pool: &NodePool<FreeConnector>, size: usize) -> VecDeque<Pin<Box<Acquire<'_, FreeConnector>>>> {
    let mut crowd: VecDeque<_> = (0..size).map(|_| Box::pin(pool.get())).collect();
    crowd.iter_mut().for_each(|wait| assert!(poll_once(wait.as_mut()).is_pending(), "nothing idles"));
    crowd
}

/// A get that finds a connection, and its return, with so many connections in one pool.
pub(crate) fn uncontended(connections: usize, times: u64) {
    let runtime = Arc::new(Hand::default());
    get_and_return(&pool(&runtime, 1, connections), times);
}

/// The same with so many pools of one connection.
pub(crate) fn among_pools(pools: usize, times: u64) {
    let runtime = Arc::new(Hand::default());
    get_and_return(&pool(&runtime, pools, 1), times);
}

fn get_and_return(pool: &NodePool<FreeConnector>, times: u64) {
    for _ in 0..times {
        assert!(poll_once(pin!(pool.get())).is_ready(), "a connection idles");
    }
}

/// The same by name, among so many nodes, each asked in turn.
pub(crate) fn by_name(nodes: usize, times: u64) {
    let runtime = Arc::new(Hand::default());
    let config = NodeConfig::builder().max_connection_size(8).build().expect("these settings are within their ranges");
    let manager = Manager::new(config, Arc::clone(&runtime) as Arc<dyn Runtime>);
    // Of one length, since a longer one takes longer to hash.
    let names: Vec<_> = (0..nodes).map(|node| format!("redis://node-{node:06}:6379")).collect();
    let mut adding: Vec<_> =
        names.iter().map(|name| Box::pin(manager.add(name, Duration::from_secs(1), || FreeConnector))).collect();
    while !adding.is_empty() {
        adding.retain_mut(|add| poll_once(add.as_mut()).is_pending());
        runtime.run();
    }
    for name in names.iter().cycle().take(usize::try_from(times).expect("it is walked a few thousand times")) {
        assert!(poll_once(pin!(manager.get(name, Duration::from_secs(1)))).is_ready(), "a connection idles");
    }
}

/// A get that waits, behind so many others, and is served by a return.
pub(crate) fn waited(others: usize, times: u64) {
    let runtime = Arc::new(Hand::default());
    let pool = pool(&runtime, 1, 1);
    let mut lease = lend(&pool);
    let mut line = crowd(&pool, others + 1);
    for _ in 0..times {
        drop(lease);
        let mut head = line.pop_front().expect("the line is never empty");
        let Poll::Ready(Ok(served)) = poll_once(head.as_mut()) else { unreachable!("the head of the line is served") };
        lease = served;
        // In the same box, so that no allocation is counted.
        head.set(pool.get());
        assert!(poll_once(head.as_mut()).is_pending(), "nothing idles");
        line.push_back(head);
    }
}

/// A get that waits, behind so many others, and is dropped.
pub(crate) fn cancelled(others: usize, times: u64) {
    let runtime = Arc::new(Hand::default());
    let pool = pool(&runtime, 1, 1);
    let _lease = lend(&pool);
    let _crowd = crowd(&pool, others);
    for _ in 0..times {
        assert!(poll_once(pin!(pool.get())).is_pending(), "nothing idles");
    }
}
