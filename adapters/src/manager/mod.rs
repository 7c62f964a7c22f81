//! The manager of many Redis nodes: what it consists of, and how it looks from outside. Its other methods are in the files of
//! this folder, by subject.

mod adding;
mod clients;
mod closing;
mod upkeep;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use redis_manager_core::{Manager, NodeStatus, TotalConnections};

use crate::cluster::{ClusterStatus, Clusters};
#[cfg(feature = "cluster")]
use crate::error::GetClientError;
use crate::network::Network;
use crate::redis_node::{NodeHandle, PoolArgs, RedisConnector, SharedConnections, Tls, redact};

/// By the URL of the node.
type SharedConnectionsOfNodes = HashMap<String, Weak<SharedConnections>>;

/// Pools of connections to many Redis nodes, by URL. Cheap to clone; clones are the same manager. When the last one is
/// dropped, all pools close, but for those of nodes that a [`NodeHandle`] or a [`SharedClient`](crate::SharedClient) still uses.
///
/// A node is known by its URL as it was given: `redis://localhost` and `redis://localhost:6379` are two nodes, each with
/// its own pools. Errors and pictures show URLs with the password replaced.
///
/// Health checks run from the start; cleanup runs when it is [started](RedisManager::start_cleanup).
#[derive(Clone)]
pub struct RedisManager {
    nodes: Manager<RedisConnector>,
    network: Arc<dyn Network>,
    args: PoolArgs,
    tls: Arc<Tls>,
    shared_connections_per_node: usize,
    /// In cluster mode: what the nodes belong to.
    #[cfg(feature = "cluster")]
    clusters: Option<Clusters>,
    /// What the shared clients of each node have in common, for as long as there is one.
    shared_connections: Arc<Mutex<SharedConnectionsOfNodes>>,
}

impl RedisManager {
    /// Of parts that have been checked: a node alone for each URL.
    pub(crate) fn new(
        nodes: Manager<RedisConnector>,
        network: Arc<dyn Network>,
        args: PoolArgs,
        tls: Tls,
        shared_connections_per_node: usize,
    ) -> Self {
        Self {
            nodes,
            network,
            args,
            tls: Arc::new(tls),
            shared_connections_per_node,
            #[cfg(feature = "cluster")]
            clusters: None,
            shared_connections: Arc::default(),
        }
    }

    /// The same for clusters, where there are some.
    #[cfg(feature = "cluster")]
    pub(crate) fn with_clusters(mut self, clusters: Option<Clusters>) -> Self {
        self.clusters = clusters;
        self
    }

    /// A picture of a cluster: its nodes, their roles, slots and pools.
    ///
    /// # Errors
    ///
    /// [`UnknownNode`](GetClientError::UnknownNode) if it was never added, or if the manager is not in cluster mode.
    #[cfg(feature = "cluster")]
    pub fn cluster_status(&self, url: &str) -> Result<ClusterStatus, GetClientError> {
        let unknown = || GetClientError::UnknownNode { node: String::from(url) };
        self.clusters.as_ref().ok_or_else(unknown).and_then(|clusters| clusters.cluster_status(url)).map_err(hide_password)
    }

    /// The handle of a node, which saves the look-up.
    ///
    /// # Errors
    ///
    /// [`UnknownNode`](GetClientError::UnknownNode) if it was never added, [`Closed`](GetClientError::Closed) after
    /// [`close_all_pools`](RedisManager::close_all_pools).
    pub fn node(&self, url: &str) -> Result<NodeHandle, GetClientError> {
        #[cfg(feature = "cluster")]
        if let Some(clusters) = &self.clusters {
            return clusters.node(url).map_err(hide_password);
        }
        self.nodes.node(url).map(NodeHandle::new).map_err(hide_password)
    }

    /// A picture of every node by URL, password hidden; each is consistent in itself. Nodes that are being added are there,
    /// as down until they have answered; closed nodes are left out. A cluster is there by its URL, and each of its nodes as
    /// `host:port`.
    #[must_use]
    pub fn fetch_pool_status(&self) -> BTreeMap<String, NodeStatus> {
        let pictures = self.nodes.status();
        #[cfg(feature = "cluster")]
        let pictures = pictures.into_iter().chain(self.clusters.iter().flat_map(Clusters::status)).collect();
        pictures
    }

    /// How much of `max_total_connections` is taken now; none if that is not set.
    #[must_use]
    pub fn total_connections(&self) -> Option<TotalConnections> {
        self.nodes.total_connections()
    }

    fn shared_connections(&self) -> MutexGuard<'_, SharedConnectionsOfNodes> {
        self.shared_connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RedisManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisManager").field("nodes", &self.fetch_pool_status().keys()).finish_non_exhaustive()
    }
}

/// The core names a node that is not there, or not any more, as it was asked for; all others by their connector, which hides
/// the password itself.
fn hide_password(error: impl Into<GetClientError>) -> GetClientError {
    let mut error = error.into();
    if let GetClientError::UnknownNode { node } | GetClientError::Closed { node } | GetClientError::RuntimeEnded { node } =
        &mut error
    {
        *node = redact(node);
    }
    error
}
