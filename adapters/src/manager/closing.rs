//! How the pools of one node, or all, are closed.

use std::time::Duration;

use redis_manager_core::Closed;

use crate::manager::RedisManager;
use crate::manager::node_key::node_key;

impl RedisManager {
    /// Closes the pools of a node within `default_timeout`; see
    /// [`close_node_pools_timeout`](RedisManager::close_node_pools_timeout).
    pub async fn close_node_pools(&self, url: &str) {
        self.close_node_pools_timeout(url, self.nodes.config().default_timeout()).await;
    }

    /// Closes the pools of a node: new gets and new commands of shared clients fail at once, and so do the calls in the queue.
    /// Subscriptions end at once, and commands that block on the server. Other clients on loan are closed when they come back,
    /// or where they are at the end of `timeout`. Returns when no connection is left. The node can be added again; one that
    /// was never added is closed already.
    ///
    /// # Cancel safety
    ///
    /// Closing goes on when the future is dropped.
    pub async fn close_node_pools_timeout(&self, url: &str, timeout: Duration) {
        #[cfg(feature = "cluster")]
        if let Some(clusters) = &self.clusters {
            return clusters.close(url, timeout).await;
        }
        // First no caller is served any more, then what shared clients have comes back.
        let key = node_key(url);
        let closing = self.nodes.begin_close_nodes([&*key], timeout);
        self.context.close_shared(&key);
        closing.drained().await;
    }

    /// Closes all pools within `default_timeout`; see [`close_all_pools_timeout`](RedisManager::close_all_pools_timeout).
    pub async fn close_all_pools(&self) {
        self.close_all_pools_timeout(self.nodes.config().default_timeout()).await;
    }

    /// Closes all nodes as [`close_node_pools_timeout`](RedisManager::close_node_pools_timeout) does one, for good:
    /// none can be added any more.
    ///
    /// # Cancel safety
    ///
    /// Closing goes on when the future is dropped.
    pub async fn close_all_pools_timeout(&self, timeout: Duration) {
        let closing = self.nodes.begin_close(timeout);
        #[cfg(feature = "cluster")]
        if let Some(clusters) = &self.clusters {
            return clusters.close_all(closing, timeout).await;
        }
        self.context.close_all_shared();
        closing.drained().await;
    }

    /// Resolves as soon as [`close_all_pools`](RedisManager::close_all_pools) has begun, at once if it has, and when the last
    /// handle of the manager is dropped. For tasks that hold a client and are to give it back then; any number of tasks may
    /// wait. The future does not keep the manager alive.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub fn closed(&self) -> Closed {
        self.nodes.closed()
    }

    /// Whether [`close_all_pools`](RedisManager::close_all_pools) has begun. What fails from then on may have failed for it.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.nodes.is_closed()
    }
}
