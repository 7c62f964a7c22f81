//! The handle of one node: all that can be done with it, without the look-up by URL.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis_manager_core::{Manager, NodePool, NodeStatus, WeakManager};

#[cfg(feature = "cluster")]
use crate::cluster::{ClusterConnector, Clusters, WeakClusters};
use crate::error::GetClientError;
use crate::manager::node_context::NodeContext;
use crate::redis_node::{Client, RedisConnector, SharedClient};

/// A node of a manager. Cheap to clone; made by [`RedisManager::add_node_pool`](crate::RedisManager::add_node_pool) and
/// [`RedisManager::node`](crate::RedisManager::node).
///
/// It keeps the node's pools alive for as long as it lives, unless they are closed.
#[derive(Clone)]
pub struct NodeHandle {
    of: HandleKind,
    /// By what the manager knows the node.
    key: Arc<str>,
}

#[derive(Clone)]
enum HandleKind {
    Node {
        pool: NodePool<RedisConnector>,
        context: Arc<NodeContext>,
        manager: WeakManager<RedisConnector>,
    },
    #[cfg(feature = "cluster")]
    Cluster {
        pool: NodePool<ClusterConnector>,
        clusters: WeakClusters,
    },
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

    #[cfg(feature = "cluster")]
    pub(super) fn of_cluster(clusters: &Clusters, name: &str, pool: NodePool<ClusterConnector>) -> Self {
        Self { of: HandleKind::Cluster { pool, clusters: clusters.downgrade() }, key: name.into() }
    }

    /// The URL of the node as it was first added, password hidden; the name of a cluster.
    #[must_use]
    pub fn url(&self) -> &str {
        match &self.of {
            HandleKind::Node { pool, .. } => pool.name(),
            #[cfg(feature = "cluster")]
            HandleKind::Cluster { pool, .. } => pool.name(),
        }
    }

    /// Lends a client within `default_timeout`; see [`RedisManager::get_client_timeout`](crate::RedisManager::get_client_timeout).
    ///
    /// # Errors
    ///
    /// As there, but the node is known.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub async fn get_client(&self) -> Result<Client, GetClientError> {
        match &self.of {
            HandleKind::Node { pool, .. } => Ok(Client::new(pool.get().await?)),
            #[cfg(feature = "cluster")]
            HandleKind::Cluster { pool, .. } => Ok(Client::of_cluster(pool.get().await?)),
        }
    }

    /// Lends a client within `timeout`; see [`RedisManager::get_client_timeout`](crate::RedisManager::get_client_timeout).
    ///
    /// # Errors
    ///
    /// As there, but the node is known.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub async fn get_client_timeout(&self, timeout: Duration) -> Result<Client, GetClientError> {
        match &self.of {
            HandleKind::Node { pool, .. } => Ok(Client::new(pool.get_timeout(timeout).await?)),
            #[cfg(feature = "cluster")]
            HandleKind::Cluster { pool, .. } => Ok(Client::of_cluster(pool.get_timeout(timeout).await?)),
        }
    }

    /// Lends a client that idles now; see [`RedisManager::try_get_client`](crate::RedisManager::try_get_client).
    ///
    /// # Errors
    ///
    /// As there, but the node is known.
    pub fn try_get_client(&self) -> Result<Client, GetClientError> {
        match &self.of {
            HandleKind::Node { pool, .. } => Ok(Client::new(pool.try_get()?)),
            #[cfg(feature = "cluster")]
            HandleKind::Cluster { pool, .. } => Ok(Client::of_cluster(pool.try_get()?)),
        }
    }

    /// One consistent picture of the node.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        match &self.of {
            HandleKind::Node { pool, .. } => pool.status(),
            #[cfg(feature = "cluster")]
            HandleKind::Cluster { pool, .. } => pool.status(),
        }
    }

    /// Makes a client that many tasks share, within `default_timeout`; see
    /// [`RedisManager::get_shared_client_timeout`](crate::RedisManager::get_shared_client_timeout).
    ///
    /// # Errors
    ///
    /// As there, but the node is known.
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
    /// As there, but the node is known.
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
            #[cfg(feature = "cluster")]
            HandleKind::Cluster { pool, clusters } => clusters.get_shared(pool, &self.key, timeout).await,
        }
    }

    /// Closes the node's pools within `default_timeout`; see [`close_timeout`](NodeHandle::close_timeout).
    ///
    /// # Cancel safety
    ///
    /// As there.
    pub async fn close(&self) {
        self.close_timeout(self.default_timeout()).await;
    }

    /// Closes the pools of this node, as
    /// [`RedisManager::close_node_pools_timeout`](crate::RedisManager::close_node_pools_timeout) does. If the node has been
    /// closed and added again since, the new one is left as it is, unless it is a cluster.
    ///
    /// # Cancel safety
    ///
    /// Closing goes on when the future is dropped.
    pub async fn close_timeout(&self, timeout: Duration) {
        match &self.of {
            HandleKind::Node { pool, context, manager } => {
                // First no caller is served any more, then what shared clients have comes back.
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
            #[cfg(feature = "cluster")]
            HandleKind::Cluster { pool, clusters } => match clusters.upgrade() {
                Some(clusters) => clusters.close(&self.key, timeout).await,
                None => pool.close_timeout(timeout).await,
            },
        }
    }

    fn default_timeout(&self) -> Duration {
        match &self.of {
            HandleKind::Node { pool, .. } => pool.config().default_timeout(),
            #[cfg(feature = "cluster")]
            HandleKind::Cluster { pool, .. } => pool.config().default_timeout(),
        }
    }
}

impl fmt::Debug for NodeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeHandle").field("url", &self.url()).finish_non_exhaustive()
    }
}
