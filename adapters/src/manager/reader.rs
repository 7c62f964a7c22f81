//! Reads what a manager's nodes count, for exporters: it does not keep the manager alive.

use std::collections::BTreeMap;

use redis_manager_core::{NodeConfig, NodeMetrics, NodePool, NodeStatus, WeakManager};

#[cfg(feature = "cluster")]
use crate::cluster::{ClusterConnector, ClusterMetrics};
use crate::manager::RedisManager;
use crate::redis_node::{CommandMetrics, RedisConnector};

/// Reads all nodes of a manager as long as a handle of it is left.
#[derive(Clone)]
pub(crate) struct ManagerReader {
    nodes: WeakManager<RedisConnector>,
    /// Set in cluster mode. The cluster itself keeps the manager of its nodes, so these tell whether a handle is left.
    #[cfg(feature = "cluster")]
    clusters: Option<WeakManager<ClusterConnector>>,
}

/// A node, or the name of a cluster, at one moment.
pub(crate) struct NodePicture {
    pub(crate) status: NodeStatus,
    pub(crate) metrics: NodeMetrics,
    pub(crate) commands: CommandMetrics,
    /// Of the name of a cluster.
    #[cfg(feature = "cluster")]
    pub(crate) cluster: Option<ClusterMetrics>,
}

/// By the name of the node. They are large, and are moved often while they are sorted.
pub(crate) type PicturesOfNodes = BTreeMap<String, Box<NodePicture>>;

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
    /// The settings of all nodes, and the nodes of [`RedisManager::status_and_metrics`]; none if the manager is gone.
    pub(crate) fn read(&self) -> Option<(NodeConfig, PicturesOfNodes)> {
        #[cfg(feature = "cluster")]
        let clusters = match &self.clusters {
            Some(clusters) => Some(clusters.upgrade()?),
            None => None,
        };
        let nodes = self.nodes.upgrade()?;
        let pictures = nodes.read_nodes(picture_of_node);
        #[cfg(feature = "cluster")]
        let pictures = match clusters {
            Some(clusters) => pictures.into_iter().chain(clusters.read_nodes(picture_of_cluster)).collect(),
            None => pictures,
        };
        Some((nodes.config().clone(), pictures))
    }
}

fn picture_of_node(pool: &NodePool<RedisConnector>) -> Box<NodePicture> {
    let (status, metrics) = pool.status_and_metrics();
    Box::new(NodePicture {
        status,
        metrics,
        commands: pool.connector().command_metrics(),
        #[cfg(feature = "cluster")]
        cluster: None,
    })
}

#[cfg(feature = "cluster")]
fn picture_of_cluster(pool: &NodePool<ClusterConnector>) -> Box<NodePicture> {
    let (status, metrics) = pool.status_and_metrics();
    let connector = pool.connector();
    Box::new(NodePicture { status, metrics, commands: connector.command_metrics(), cluster: Some(connector.cluster_metrics()) })
}
