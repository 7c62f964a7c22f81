//! Reads what a manager's nodes count, for exporters: it does not keep the manager alive.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use redis_manager_core::{NodeConfig, NodeMetrics, NodePool, NodeStatus, WeakManager};

use crate::deployment::{ClusterMetrics, Deployments, PrimaryMetrics, insert_numbered};
use crate::manager::RedisManager;
use crate::redis_node::{CommandMetrics, RedisConnector};

/// Reads all nodes of a manager as long as a handle of it is left.
#[derive(Clone)]
pub(crate) struct ManagerReader {
    nodes: WeakManager<RedisConnector>,
    deployments: Weak<Deployments>,
}

/// A node, or the name of a cluster, at one moment.
pub(crate) struct NodePicture {
    pub(crate) status: NodeStatus,
    /// Nothing for the name of a cluster.
    pub(crate) metrics: NodeMetrics,
    pub(crate) commands: CommandMetrics,
    /// Of the name of a cluster.
    pub(crate) cluster: Option<ClusterMetrics>,
    /// Of the name of a primary behind sentinels, or of one with replicas.
    pub(crate) primary: Option<PrimaryMetrics>,
}

/// By the name of the node. They are large, and are moved often while they are sorted.
pub(crate) type PicturesOfNodes = BTreeMap<String, Box<NodePicture>>;

impl RedisManager {
    pub(crate) fn reader(&self) -> ManagerReader {
        ManagerReader { nodes: self.nodes.downgrade(), deployments: Arc::downgrade(&self.deployments) }
    }
}

impl ManagerReader {
    /// The settings of all nodes, and the nodes of [`RedisManager::status_and_metrics`] with the names of clusters; none if the
    /// manager is gone.
    pub(crate) fn read(&self) -> Option<(NodeConfig, PicturesOfNodes)> {
        let (nodes, deployments) = (self.nodes.upgrade()?, self.deployments.upgrade()?);
        let mut pictures = nodes.read_nodes(picture_of_node);
        for deployment in deployments.all() {
            let (status, metrics) = (deployment.status(), NodeMetrics::default());
            let (commands, cluster) = (deployment.command_metrics(), deployment.cluster_metrics());
            let primary = deployment.primary_metrics();
            let picture = Box::new(NodePicture { status, metrics, commands, cluster, primary });
            insert_numbered(&mut pictures, String::from(deployment.name()), picture);
        }
        deployments.read_nodes(&mut pictures, picture_of_node);
        Some((nodes.config().clone(), pictures))
    }
}

fn picture_of_node(pool: &NodePool<RedisConnector>) -> Box<NodePicture> {
    let (status, metrics) = pool.status_and_metrics();
    Box::new(NodePicture { status, metrics, commands: pool.connector().command_metrics(), cluster: None, primary: None })
}
