//! Clusters of the manager: how they are added, their status and their counts.

use std::time::Duration;

use crate::deployment::cluster::{ClusterArgs, ClusterMode, ClusterPlan};
use crate::deployment::{ClusterMetrics, ClusterStatus};
use crate::error::{AddNodeError, GetClientError};
use crate::manager::{NodeHandle, RedisManager, hide_password};
use crate::redis_node::redact;

impl RedisManager {
    /// Adds a cluster under a name of your choice within `default_timeout` and returns its handle; see
    /// [`add_cluster_timeout`](RedisManager::add_cluster_timeout).
    ///
    /// # Errors
    ///
    /// At once: [`InvalidSetting`](AddNodeError::InvalidSetting), [`Closed`](AddNodeError::Closed),
    /// [`RuntimeEnded`](AddNodeError::RuntimeEnded). At the deadline or earlier:
    /// [`NoHealthyPools`](AddNodeError::NoHealthyPools).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time. The cluster is removed when no other call waits for it.
    pub async fn add_cluster<U: Into<String>>(
        &self,
        name: &str,
        startup_nodes: impl IntoIterator<Item = U>,
        args: ClusterArgs,
    ) -> Result<NodeHandle, AddNodeError> {
        self.add_cluster_timeout(name, startup_nodes, args, self.nodes.config().default_timeout()).await
    }

    /// Adds a cluster under a name of your choice within `timeout` and returns its handle, which may be dropped. The name is
    /// then used like the URL of a node: `get_client(name)`, `get_shared_client(name)`, `get_client_for_key(name, key)`. Any
    /// number of clusters and nodes may be in one manager. A name that was added already is left as it is.
    ///
    /// `startup_nodes` are URLs of nodes of the cluster, at least one, all with the same login: they are asked for the others,
    /// and asked again when no other node answers. Waits until one of them has reported the topology and, with
    /// [`require_full_coverage`](ClusterArgs::require_full_coverage), every slot has an owner.
    ///
    /// # Errors
    ///
    /// - [`InvalidSetting`](AddNodeError::InvalidSetting) at once; it names the setting or the URL.
    /// - [`NoHealthyPools`](AddNodeError::NoHealthyPools) with the cause at the end of `timeout`, or at once if all nodes that
    ///   answer reject the connection permanently, or are no nodes of a cluster.
    /// - [`Closed`](AddNodeError::Closed) after [`close_all_pools`](RedisManager::close_all_pools), or if the name is closed
    ///   meanwhile.
    /// - [`RuntimeEnded`](AddNodeError::RuntimeEnded) after the end of the runtime.
    ///
    /// After an error nothing of the cluster is left behind.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time. The cluster is removed when no other call waits for it.
    pub async fn add_cluster_timeout<U: Into<String>>(
        &self,
        name: &str,
        startup_nodes: impl IntoIterator<Item = U>,
        args: ClusterArgs,
        timeout: Duration,
    ) -> Result<NodeHandle, AddNodeError> {
        let startup_nodes: Vec<String> = startup_nodes.into_iter().map(Into::into).collect();
        let (protocol, tls) = self.context.protocol_and_tls();
        let plan = ClusterPlan::new(&startup_nodes, args, protocol, tls);
        let plan = plan.map_err(|error| AddNodeError::InvalidSetting { node: redact(name), error })?;
        self.add_deployment(name, || self.open_by_name(name, &ClusterMode::new(plan)), timeout).await
    }

    /// The status of a cluster: its nodes, their roles, slots and pools.
    ///
    /// # Errors
    ///
    /// [`UnknownNode`](GetClientError::UnknownNode) if no cluster of this name was added, or if it has been closed.
    /// [`Closed`](GetClientError::Closed) after [`close_all_pools`](RedisManager::close_all_pools).
    pub fn cluster_status(&self, name: &str) -> Result<ClusterStatus, GetClientError> {
        let status = self.deployments.find(name).and_then(|deployment| deployment.cluster_status());
        status.ok_or_else(|| self.no_cluster(name))
    }

    /// What was counted of a cluster: changes of its topology, failovers, and how long primaries were not up.
    ///
    /// # Errors
    ///
    /// As [`cluster_status`](RedisManager::cluster_status).
    pub fn cluster_metrics(&self, name: &str) -> Result<ClusterMetrics, GetClientError> {
        let metrics = self.deployments.find(name).and_then(|deployment| deployment.cluster_metrics());
        metrics.ok_or_else(|| self.no_cluster(name))
    }

    fn no_cluster(&self, name: &str) -> GetClientError {
        let node = String::from(name);
        hide_password(match self.nodes.is_closed() {
            true => GetClientError::Closed { node },
            false => GetClientError::UnknownNode { node },
        })
    }
}
