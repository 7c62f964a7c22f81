//! Reads what a manager's nodes count, for exporters: it does not keep the manager alive.

use std::collections::BTreeMap;

use redis_manager_core::{NodeConfig, NodeMetrics, NodeStatus, WeakManager};

#[cfg(feature = "cluster")]
use crate::cluster::ClusterConnector;
use crate::manager::RedisManager;
use crate::redis_node::RedisConnector;

/// Reads all nodes of a manager as long as a handle of it is left.
#[derive(Clone)]
pub(crate) struct ManagerReader {
    nodes: WeakManager<RedisConnector>,
    /// Set in cluster mode. The cluster itself keeps the manager of its nodes, so these tell whether a handle is left.
    #[cfg(feature = "cluster")]
    clusters: Option<WeakManager<ClusterConnector>>,
}

/// By the name of the node.
pub(crate) type PicturesOfNodes = BTreeMap<String, (NodeStatus, NodeMetrics)>;

impl RedisManager {
    pub(crate) fn reader(&self) -> ManagerReader {
        ManagerReader {
            nodes: self.nodes.downgrade(),
            #[cfg(feature = "cluster")]
            clusters: self.clusters.as_ref().map(crate::cluster::Clusters::downgrade_names),
        }
    }
}

impl ManagerReader {
    /// The settings of all nodes, and what [`RedisManager::status_and_metrics`] returns; none if the manager is gone.
    pub(crate) fn read(&self) -> Option<(NodeConfig, PicturesOfNodes)> {
        #[cfg(feature = "cluster")]
        let clusters = match &self.clusters {
            Some(clusters) => Some(clusters.upgrade()?),
            None => None,
        };
        let nodes = self.nodes.upgrade()?;
        let pictures = nodes.status_and_metrics();
        #[cfg(feature = "cluster")]
        let pictures = pictures.into_iter().chain(clusters.iter().flat_map(|clusters| clusters.status_and_metrics())).collect();
        Some((nodes.config().clone(), pictures))
    }
}
