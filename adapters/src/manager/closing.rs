//! How the pools of one node, or all, are closed.

use std::time::Duration;

use redis_manager_core::Closed;

use crate::manager::RedisManager;
use crate::manager::node_key::node_key;

impl RedisManager {
    /// Closes the pools of a node within `default_timeout`; see
    /// [`close_node_pools_timeout`](RedisManager::close_node_pools_timeout).
    ///
    /// # Cancel safety
    ///
    /// Closing continues when the future is dropped.
    pub async fn close_node_pools(&self, url: &str) {
        self.close_node_pools_timeout(url, self.nodes.config().default_timeout()).await;
    }

    /// Closes the pools of a node and returns when no connection is left, after `timeout` at the latest. The node can be added
    /// again. For a node that was never added, returns at once.
    ///
    /// New gets, new commands of shared clients and calls in the queue fail at once. Subscriptions and commands that block on
    /// the server end at once. Other clients on loan are closed when they are returned, or at the end of `timeout`.
    ///
    /// # Cancel safety
    ///
    /// Closing continues when the future is dropped.
    pub async fn close_node_pools_timeout(&self, url: &str, timeout: Duration) {
        if let Some(deployment) = self.deployments.find(url) {
            let closing = deployment.begin_close(timeout);
            self.deployments.remove(url, &deployment);
            return closing.await;
        }
        // First callers are refused, then the leases of shared clients are returned.
        let key = node_key(url);
        let closing = self.nodes.begin_close_nodes([&*key], timeout);
        self.context.close_shared(&key);
        closing.drained().await;
    }

    /// Closes all pools within `default_timeout`; see [`close_all_pools_timeout`](RedisManager::close_all_pools_timeout).
    ///
    /// # Cancel safety
    ///
    /// Closing continues when the future is dropped.
    pub async fn close_all_pools(&self) {
        self.close_all_pools_timeout(self.nodes.config().default_timeout()).await;
    }

    /// Closes all nodes for good: none can be added afterwards. Each node is closed as by
    /// [`close_node_pools_timeout`](RedisManager::close_node_pools_timeout).
    ///
    /// # Cancel safety
    ///
    /// Closing continues when the future is dropped.
    pub async fn close_all_pools_timeout(&self, timeout: Duration) {
        let closing = self.nodes.begin_close(timeout);
        let deployments = self.deployments.begin_close(timeout);
        self.context.close_all_shared();
        closing.drained().await;
        deployments.await;
    }

    /// Resolves when [`close_all_pools`](RedisManager::close_all_pools) begins, or when the last handle of the manager is
    /// dropped; at once if that has happened. For tasks that hold a client and must return it then. Any number of tasks may
    /// wait. The future does not keep the manager alive.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub fn closed(&self) -> Closed {
        self.nodes.closed()
    }

    /// Whether [`close_all_pools`](RedisManager::close_all_pools) has begun. Later errors may be a result of it.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.nodes.is_closed()
    }
}
