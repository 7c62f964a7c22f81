//! Limits at their ends: a last pool that is smaller than the others, and lengths of time that never end.

use std::time::Duration;

use redis_manager_core::NodeConfig;

use crate::support::{SECOND, one_pool, world};

/// Guards against: the last pool as large as the others, the node's limit left out of the room.
#[test]
fn the_last_pool_of_a_node_gets_what_is_left_of_its_limit() {
    let config = NodeConfig::builder().max_connection_size(4).max_connections_per_node(10).max_pools_per_node(8);
    let world = world(1, config);
    let held: Vec<_> = (0..10).map(|_| world.get()).collect();
    assert!(world.runtime.block_on(world.pool.get_timeout(SECOND)).is_err());
    let status = world.pool.status();
    let sizes: Vec<_> = status.pools.iter().map(|pool| (pool.active_calls, pool.limit)).collect();
    assert_eq!((sizes, status.active), (vec![(4, 4), (4, 4), (2, 2)], 10));
    drop(held);
    world.assert_capacity(10);
}

/// Guards against: a sum of an instant and a length that overflows, a connection that expires by its rounding.
#[test]
fn what_is_set_to_never_does_not_come_in_ten_years() {
    let never = Duration::MAX;
    let config = one_pool(3).max_lifetime(never).max_idle_time(never).health_check_interval(never).cleanup_interval(never);
    let world = world(1, config);
    world.pool.start_cleanup();
    let lease = world.get();
    world.runtime.advance(3_650 * 24 * 3_600 * SECOND);
    assert!(!lease.is_retired());
    assert!(lease.age() >= 3_650 * 24 * 3_600 * SECOND, "{:?} at {}", lease.age(), world.runtime.now());
    drop(lease);
    world.assert_capacity(3);
    let dials = world.server.dials().len();
    world.runtime.advance(3_650 * 24 * 3_600 * SECOND);
    assert_eq!(world.server.dials().len(), dials, "nothing was replaced");
}
