//! The handle of one node, for those who ask it often: it saves the look-up by URL.

use std::time::Duration;

use redis_manager_core::{NodePool, NodeStatus};

use crate::cluster::ClusterConnector;
#[cfg(feature = "cluster")]
use crate::error::GetClientError;
use crate::redis_node::{Client, RedisConnector};

/// A node of a manager. Cheap to clone; made by [`RedisManager::node`](crate::RedisManager::node).
///
/// It keeps the node's pools alive for as long as it lives, unless they are closed.
#[derive(Clone, Debug)]
pub struct NodeHandle {
    of: HandleKind,
}

#[derive(Clone, Debug)]
enum HandleKind {
    Node(NodePool<RedisConnector>),
    #[cfg(feature = "cluster")]
    Cluster(NodePool<ClusterConnector>),
}

impl NodeHandle {
    pub(crate) fn new(pool: NodePool<RedisConnector>) -> Self {
        Self { of: HandleKind::Node(pool) }
    }

    #[cfg(feature = "cluster")]
    pub(crate) fn of_cluster(pool: NodePool<ClusterConnector>) -> Self {
        Self { of: HandleKind::Cluster(pool) }
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
            HandleKind::Node(pool) => Ok(Client::new(pool.get().await?)),
            #[cfg(feature = "cluster")]
            HandleKind::Cluster(pool) => Ok(Client::of_cluster(pool.get().await?)),
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
            HandleKind::Node(pool) => Ok(Client::new(pool.get_timeout(timeout).await?)),
            #[cfg(feature = "cluster")]
            HandleKind::Cluster(pool) => Ok(Client::of_cluster(pool.get_timeout(timeout).await?)),
        }
    }

    /// Lends a client that idles now; see [`RedisManager::try_get_client`](crate::RedisManager::try_get_client).
    ///
    /// # Errors
    ///
    /// As there, but the node is known.
    pub fn try_get_client(&self) -> Result<Client, GetClientError> {
        match &self.of {
            HandleKind::Node(pool) => Ok(Client::new(pool.try_get()?)),
            #[cfg(feature = "cluster")]
            HandleKind::Cluster(pool) => Ok(Client::of_cluster(pool.try_get()?)),
        }
    }

    /// One consistent picture of the node.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        match &self.of {
            HandleKind::Node(pool) => pool.status(),
            #[cfg(feature = "cluster")]
            HandleKind::Cluster(pool) => pool.status(),
        }
    }
}
