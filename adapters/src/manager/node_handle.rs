//! The handle of one node: all operations on it, without the look-up by URL.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use redis_manager_core::{Manager, NodeMetrics, NodePool, NodeStatus, WeakManager};

use crate::deployment::{Deployment, Deployments};
use crate::error::GetClientError;
use crate::manager::node_context::NodeContext;
use crate::redis_node::{Client, CommandMetrics, RedisConnector, SharedClient};

/// A node of a manager, or a cluster. Cheap to clone; returned by
/// [`RedisManager::add_node_pool`](crate::RedisManager::add_node_pool) and [`RedisManager::node`](crate::RedisManager::node).
///
/// While the handle exists, the node's pools stay open, unless they are closed explicitly.
#[derive(Clone)]
pub struct NodeHandle {
    of: HandleKind,
    /// The key of the node in the manager.
    key: Arc<str>,
}

#[derive(Clone)]
enum HandleKind {
    Node { pool: NodePool<RedisConnector>, context: Arc<NodeContext>, manager: WeakManager<RedisConnector> },
    Deployment { deployment: Arc<dyn Deployment>, deployments: Weak<Deployments> },
}

impl NodeHandle {
    pub(super) fn new(
        manager: &Manager<RedisConnector>,
        context: &Arc<NodeContext>,
        key: &str,
        pool: NodePool<RedisConnector>,
    ) -> Self {
        let of = HandleKind::Node { pool, context: Arc::clone(context), manager: manager.downgrade() };
        Self { of, key: key.into() }
    }

    pub(super) fn of_deployment(deployments: &Arc<Deployments>, name: &str, deployment: Arc<dyn Deployment>) -> Self {
        Self { of: HandleKind::Deployment { deployment, deployments: Arc::downgrade(deployments) }, key: name.into() }
    }

    /// The URL with which the node was first added, password hidden; the name of a cluster.
    #[must_use]
    pub fn url(&self) -> &str {
        match &self.of {
            HandleKind::Node { pool, .. } => pool.name(),
            HandleKind::Deployment { deployment, .. } => deployment.name(),
        }
    }

    /// Lends a client within `default_timeout`; see
    /// [`RedisManager::get_client_timeout`](crate::RedisManager::get_client_timeout).
    ///
    /// # Errors
    ///
    /// At the deadline or earlier: [`NoHealthyPools`](GetClientError::NoHealthyPools), [`Timeout`](GetClientError::Timeout). At
    /// once: [`Saturated`](GetClientError::Saturated), [`Closed`](GetClientError::Closed) when the node is closed,
    /// [`RuntimeEnded`](GetClientError::RuntimeEnded).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: the caller leaves the queue, and a client that was granted to it goes to the next caller.
    pub async fn get_client(&self) -> Result<Client, GetClientError> {
        match &self.of {
            HandleKind::Node { pool, .. } => Ok(Client::new(pool.get().await?)),
            HandleKind::Deployment { deployment, .. } => deployment.get_client(self.default_timeout()).await,
        }
    }

    /// Lends a client within `timeout`; see [`RedisManager::get_client_timeout`](crate::RedisManager::get_client_timeout).
    ///
    /// # Errors
    ///
    /// At the deadline or earlier: [`NoHealthyPools`](GetClientError::NoHealthyPools), [`Timeout`](GetClientError::Timeout). At
    /// once: [`Saturated`](GetClientError::Saturated), [`Closed`](GetClientError::Closed) when the node is closed,
    /// [`RuntimeEnded`](GetClientError::RuntimeEnded).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: the caller leaves the queue, and a client that was granted to it goes to the next caller.
    pub async fn get_client_timeout(&self, timeout: Duration) -> Result<Client, GetClientError> {
        match &self.of {
            HandleKind::Node { pool, .. } => Ok(Client::new(pool.get_timeout(timeout).await?)),
            HandleKind::Deployment { deployment, .. } => deployment.get_client(timeout).await,
        }
    }

    /// Lends a client that is idle now; never waits. See [`RedisManager::try_get_client`](crate::RedisManager::try_get_client).
    ///
    /// # Errors
    ///
    /// At once: [`NoHealthyPools`](GetClientError::NoHealthyPools) if the node is down, [`Timeout`](GetClientError::Timeout) if
    /// no client is idle, [`Closed`](GetClientError::Closed) when the node is closed,
    /// [`RuntimeEnded`](GetClientError::RuntimeEnded).
    pub fn try_get_client(&self) -> Result<Client, GetClientError> {
        match &self.of {
            HandleKind::Node { pool, .. } => Ok(Client::new(pool.try_get()?)),
            HandleKind::Deployment { deployment, .. } => deployment.try_get_client(),
        }
    }

    /// The status of the node, as one consistent snapshot.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        match &self.of {
            HandleKind::Node { pool, .. } => pool.status(),
            HandleKind::Deployment { deployment, .. } => deployment.status(),
        }
    }

    /// What was counted and timed of the requests to the node since it was added, of its connects and its subscriptions. Also
    /// after its close.
    #[must_use]
    pub fn command_metrics(&self) -> CommandMetrics {
        match &self.of {
            HandleKind::Node { pool, .. } => pool.connector().command_metrics(),
            HandleKind::Deployment { deployment, .. } => deployment.command_metrics(),
        }
    }

    /// What was counted and timed of the node since it was added. Nothing for a cluster, which has no connections of its own: see
    /// [`RedisManager::metrics`](crate::RedisManager::metrics) for its nodes.
    #[must_use]
    pub fn metrics(&self) -> NodeMetrics {
        self.status_and_metrics().1
    }

    /// [`status`](NodeHandle::status) and [`metrics`](NodeHandle::metrics) of the same moment.
    #[must_use]
    pub fn status_and_metrics(&self) -> (NodeStatus, NodeMetrics) {
        match &self.of {
            HandleKind::Node { pool, .. } => pool.status_and_metrics(),
            HandleKind::Deployment { deployment, .. } => (deployment.status(), NodeMetrics::default()),
        }
    }

    /// Makes a client that many tasks share, within `default_timeout`; see
    /// [`RedisManager::get_shared_client_timeout`](crate::RedisManager::get_shared_client_timeout).
    ///
    /// # Errors
    ///
    /// At the deadline or earlier: [`NoHealthyPools`](GetClientError::NoHealthyPools), [`Timeout`](GetClientError::Timeout). At
    /// once: [`Saturated`](GetClientError::Saturated), [`Closed`](GetClientError::Closed) when the node is closed,
    /// [`RuntimeEnded`](GetClientError::RuntimeEnded).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub async fn get_shared_client(&self) -> Result<SharedClient, GetClientError> {
        self.get_shared_client_timeout(self.default_timeout()).await
    }

    /// Makes a client that many tasks share, within `timeout`; see
    /// [`RedisManager::get_shared_client_timeout`](crate::RedisManager::get_shared_client_timeout).
    ///
    /// # Errors
    ///
    /// At the deadline or earlier: [`NoHealthyPools`](GetClientError::NoHealthyPools), [`Timeout`](GetClientError::Timeout). At
    /// once: [`Saturated`](GetClientError::Saturated), [`Closed`](GetClientError::Closed) when the node is closed,
    /// [`RuntimeEnded`](GetClientError::RuntimeEnded).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub async fn get_shared_client_timeout(&self, timeout: Duration) -> Result<SharedClient, GetClientError> {
        match &self.of {
            HandleKind::Node { pool, context, .. } => {
                let connections = context.connections(&self.key, pool);
                let unknown = |_| GetClientError::UnknownNode { node: String::from(pool.name()) };
                SharedClient::of_node(connections.map_err(unknown)?, timeout).await
            }
            HandleKind::Deployment { deployment, .. } => deployment.get_shared_client(timeout).await,
        }
    }

    /// Closes the node's pools within `default_timeout`; see [`close_timeout`](NodeHandle::close_timeout).
    ///
    /// # Cancel safety
    ///
    /// Closing continues when the future is dropped.
    pub async fn close(&self) {
        self.close_timeout(self.default_timeout()).await;
    }

    /// Closes the node's pools, as [`RedisManager::close_node_pools_timeout`](crate::RedisManager::close_node_pools_timeout)
    /// does. If the node has been closed and added again since, the new node stays open.
    ///
    /// # Cancel safety
    ///
    /// Closing continues when the future is dropped.
    pub async fn close_timeout(&self, timeout: Duration) {
        match &self.of {
            HandleKind::Node { pool, context, manager } => {
                // First callers are refused, then the leases of shared clients are returned.
                if let Some(manager) = manager.upgrade() {
                    let closing = manager.begin_close_pool(&self.key, pool, timeout);
                    context.close_shared_of(&self.key, pool);
                    closing.drained().await;
                } else {
                    let closing = pool.close_timeout(timeout);
                    context.close_shared_of(&self.key, pool);
                    closing.await;
                }
            }
            HandleKind::Deployment { deployment, deployments } => {
                let closing = deployment.begin_close(timeout);
                if let Some(deployments) = deployments.upgrade() {
                    deployments.remove(&self.key, deployment);
                }
                closing.await;
            }
        }
    }

    fn default_timeout(&self) -> Duration {
        match &self.of {
            HandleKind::Node { pool, .. } => pool.config().default_timeout(),
            HandleKind::Deployment { deployment, .. } => deployment.nodes().config().default_timeout(),
        }
    }
}

impl fmt::Debug for NodeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeHandle").field("url", &self.url()).finish_non_exhaustive()
    }
}
