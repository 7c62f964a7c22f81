//! When a replica takes over: seen on connections that do nothing else.

use std::thread;
use std::time::{Duration, Instant};

use super::{POLL_INTERVAL, TestCluster, TestClusterNode};
use crate::redis_server::connection::HarnessConnection;

impl TestCluster {
    /// Waits until a replica of this primary is a primary itself, and says when: looked at every 10 ms.
    ///
    /// Call it right after the primary was killed or frozen, or before that from another thread. If no replica is left,
    /// those count that it had when the cluster was last asked for roles or slots; if one of them is a primary already, that is
    /// now.
    ///
    /// # Panics
    /// If there is no replica, or none is promoted within twice the node timeout and 15 s.
    pub fn wait_for_promotion(&self, of: &TestClusterNode) -> Instant {
        // If it still has replicas, they are remembered now.
        self.look();
        let ids = of.replicas().clone();
        assert!(!ids.is_empty(), "{of:?} has no replica that could be promoted");
        let mut replicas: Vec<(TestClusterNode, Option<HarnessConnection>)> =
            ids.iter().map(|id| (self.node(id), None)).collect();
        let limit = 2 * self.options.node_timeout + Duration::from_secs(15);
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            for (replica, connection) in &mut replicas {
                if replica.is_running() && is_primary(replica, connection) {
                    return Instant::now();
                }
            }
            thread::sleep(POLL_INTERVAL);
        }
        let known: Vec<_> = replicas.iter().map(|(replica, _)| (replica, replica.try_command(&["CLUSTER", "NODES"]))).collect();
        panic!("no replica of {of:?} was promoted within {limit:?}: {known:?}");
    }
}

fn is_primary(replica: &TestClusterNode, connection: &mut Option<HarnessConnection>) -> bool {
    if connection.is_none() {
        *connection = replica.connect().ok();
    }
    match connection.as_mut().map(|connection| connection.call(&["ROLE"])) {
        Some(Ok(role)) => role.starts_with("master"),
        // Dead or frozen: another may be promoted, or this one come back.
        Some(Err(_)) | None => {
            *connection = None;
            false
        }
    }
}
