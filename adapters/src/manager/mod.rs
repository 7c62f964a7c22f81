//! The manager of many Redis nodes: its parts and its status. The other methods are in the files of this folder, by subject.

mod adding;
mod clients;
mod closing;
#[cfg(feature = "cluster")]
mod clusters;
#[cfg(feature = "tokio")]
mod connecting;
mod node_context;
mod node_handle;
mod node_key;
mod observing;
#[cfg(any(feature = "metrics", feature = "opentelemetry", feature = "prometheus"))]
mod reader;
mod replicas;
mod scanning;
mod sentinels;
mod subscribing;
mod upkeep;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use redis_manager_core::{Manager, NodeMetrics, NodePool, NodeStatus, TotalConnections};

use crate::deployment::{Deployments, OpenByName, insert_numbered};
use crate::error::GetClientError;
use crate::manager::node_context::NodeContext;
pub use crate::manager::node_handle::NodeHandle;
use crate::manager::node_key::node_key;
#[cfg(any(feature = "metrics", feature = "opentelemetry", feature = "prometheus"))]
pub(crate) use crate::manager::reader::{ManagerReader, NodePicture};
pub use crate::manager::scanning::KeyScan;
use crate::network::Network;
use crate::observe::EventSource;
use crate::redis_node::{CommandMetrics, Hooks, PoolArgs, RedisConnector, Tls, redact};

/// Connection pools of many Redis nodes, by URL. Cheap to clone; all clones are the same manager. When the last one is dropped,
/// all pools close, except those of nodes that a [`NodeHandle`], a [`SharedClient`](crate::SharedClient) or a
/// [`Subscriber`](crate::Subscriber) still uses.
///
/// A node is identified by its URL. The default port, the database 0 and a `/` at the end make no difference:
/// `redis://localhost`, `redis://localhost/` and `redis://localhost:6379` are one node. Another user, password, database or
/// protocol is another node with its own pools. Errors and statuses show URLs with the password replaced by `***`.
///
/// Health checks run from the start. Cleanup runs after [`start_cleanup`](RedisManager::start_cleanup).
#[derive(Clone)]
pub struct RedisManager {
    nodes: Manager<RedisConnector>,
    context: Arc<NodeContext>,
    /// Makes readers of events, if there is a buffer for them.
    events: Option<EventSource>,
    /// What was added under a name that is not a URL.
    deployments: Arc<Deployments>,
    /// What `add_node_pool` adds under any name, if that is not the node of a URL.
    by_name: Option<Arc<dyn OpenByName>>,
}

impl RedisManager {
    /// Makes a manager of parts that have been checked.
    pub(crate) fn new(
        nodes: Manager<RedisConnector>,
        network: Arc<dyn Network>,
        args: PoolArgs,
        hooks: Hooks,
        tls: Tls,
        shared_connections_per_node: usize,
    ) -> Self {
        Self {
            nodes,
            context: Arc::new(NodeContext::new(network, args, hooks, tls, shared_connections_per_node)),
            events: None,
            deployments: Arc::default(),
            by_name: None,
        }
    }

    /// The handle of a node. Its methods need no look-up by URL.
    ///
    /// # Errors
    ///
    /// [`UnknownNode`](GetClientError::UnknownNode) if the node was never added or has been closed.
    /// [`Closed`](GetClientError::Closed) after [`close_all_pools`](RedisManager::close_all_pools).
    pub fn node(&self, url: &str) -> Result<NodeHandle, GetClientError> {
        if let Some(deployment) = self.deployments.find(url) {
            return Ok(NodeHandle::of_deployment(&self.deployments, url, deployment));
        }
        let key = node_key(url);
        let pool = self.nodes.node(&key).map_err(hide_password)?;
        Ok(NodeHandle::new(&self.nodes, &self.context, &key, pool))
    }

    /// The status of a node by its URL, or of a cluster by its name, as one consistent snapshot. The same as
    /// [`NodeHandle::status`].
    ///
    /// # Errors
    ///
    /// [`UnknownNode`](GetClientError::UnknownNode) if the node was never added or has been closed.
    /// [`Closed`](GetClientError::Closed) after [`close_all_pools`](RedisManager::close_all_pools).
    pub fn status_of(&self, url: &str) -> Result<NodeStatus, GetClientError> {
        self.node(url).map(|node| node.status())
    }

    /// The status of every node by URL, password hidden. Each status is consistent in itself. Nodes that are being added are
    /// included, as down until they have answered. Closed nodes are not included. A cluster is listed by its name, and each of
    /// its nodes as `host:port`.
    #[must_use]
    pub fn fetch_pool_status(&self) -> BTreeMap<String, NodeStatus> {
        let mut statuses = self.nodes.status();
        for deployment in self.deployments.all() {
            insert_numbered(&mut statuses, String::from(deployment.name()), deployment.status());
        }
        self.deployments.read_nodes(&mut statuses, NodePool::status);
        statuses
    }

    /// What was counted and timed of the requests to every node since it was added, of its connects and its subscriptions. By
    /// URL, password hidden; a cluster by its name, and each of its nodes as `host:port`. Which nodes there are is as in
    /// [`fetch_pool_status`](RedisManager::fetch_pool_status). That of one node is
    /// [`NodeHandle::command_metrics`].
    #[must_use]
    pub fn command_metrics(&self) -> BTreeMap<String, CommandMetrics> {
        let mut metrics = self.nodes.read_connectors(RedisConnector::command_metrics);
        for deployment in self.deployments.all() {
            insert_numbered(&mut metrics, String::from(deployment.name()), deployment.command_metrics());
        }
        self.deployments.read_nodes(&mut metrics, |pool| pool.connector().command_metrics());
        metrics
    }

    /// What was counted and timed of every node since it was added, by URL, password hidden. The nodes are those of
    /// [`fetch_pool_status`](RedisManager::fetch_pool_status). Nothing is counted by the name of a cluster: its nodes have the
    /// connections.
    #[must_use]
    pub fn metrics(&self) -> BTreeMap<String, NodeMetrics> {
        let mut metrics = self.nodes.metrics();
        for deployment in self.deployments.all() {
            insert_numbered(&mut metrics, String::from(deployment.name()), NodeMetrics::default());
        }
        self.deployments.read_nodes(&mut metrics, NodePool::metrics);
        metrics
    }

    /// [`fetch_pool_status`](RedisManager::fetch_pool_status) and [`metrics`](RedisManager::metrics) together. Both of one node
    /// are of the same moment, so they add up: `metrics.open()` is `status.active + status.idle + status.checking`.
    #[must_use]
    pub fn status_and_metrics(&self) -> BTreeMap<String, (NodeStatus, NodeMetrics)> {
        let mut pictures = self.nodes.status_and_metrics();
        for deployment in self.deployments.all() {
            let picture = (deployment.status(), NodeMetrics::default());
            insert_numbered(&mut pictures, String::from(deployment.name()), picture);
        }
        self.deployments.read_nodes(&mut pictures, NodePool::status_and_metrics);
        pictures
    }

    /// How much of `max_total_connections` is used now. `None` if that is not set.
    #[must_use]
    pub fn total_connections(&self) -> Option<TotalConnections> {
        self.nodes.total_connections()
    }
}

impl fmt::Debug for RedisManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisManager").field("nodes", &self.fetch_pool_status().keys()).finish_non_exhaustive()
    }
}

/// Nodes that are not there are named by the core as they were requested, with the password. All others are named by their
/// connector, with the password hidden.
fn hide_password(error: impl Into<GetClientError>) -> GetClientError {
    let mut error = error.into();
    if let GetClientError::UnknownNode { node } | GetClientError::Closed { node } | GetClientError::RuntimeEnded { node } =
        &mut error
    {
        *node = redact(node);
    }
    error
}

#[cfg(all(test, feature = "smol"))]
mod tests {
    use crate::smol::SmolRuntime;

    use super::*;

    /// Guards against: another key for adding than for finding; a number where names suffice.
    #[test]
    fn spellings_of_one_url_are_one_node_and_users_of_one_host_are_told_apart_by_name() {
        let manager = RedisManager::builder().build(SmolRuntime::new()).expect("valid");
        let add = |url: &str| manager.add_node_pool_lazy(url).expect("a URL");
        // Port 1 refuses; the default port may have a server, which does no harm.
        for url in ["redis://127.0.0.1", "redis://127.0.0.1/", "redis://127.0.0.1:6379", "redis://127.0.0.1:6379/0"] {
            assert_eq!(add(url).url(), "redis://127.0.0.1");
            assert!(manager.status_of(url).is_ok() && manager.node(url).is_ok(), "{url}");
        }
        assert_eq!(manager.fetch_pool_status().len(), 1);
        assert!(manager.status_of("redis://127.0.0.1:1").is_err());
        for user in ["one", "two"] {
            let url = format!("redis://{user}:secret@127.0.0.1:1");
            assert_eq!(add(&url).url(), format!("redis://{user}:***@127.0.0.1:1"));
            assert!(manager.status_of(&url).is_ok());
        }
        let names: Vec<_> = manager.fetch_pool_status().into_keys().collect();
        assert_eq!(names, ["redis://127.0.0.1", "redis://one:***@127.0.0.1:1", "redis://two:***@127.0.0.1:1"]);
    }

    /// Guards against: a handle that closes nothing, that closes a later node, or that keeps the manager.
    #[test]
    fn a_handle_closes_its_own_node_and_outlives_its_manager() {
        ::smol::block_on(async {
            let manager = RedisManager::builder().build(SmolRuntime::new()).expect("valid");
            let url = "redis://127.0.0.1:1/";
            let first = manager.add_node_pool_lazy(url).expect("a URL");
            first.close().await;
            assert!(matches!(manager.node(url), Err(GetClientError::UnknownNode { .. })));
            let second = manager.add_node_pool_lazy(url).expect("a URL");
            first.close().await;
            assert!(manager.node(url).is_ok(), "the second is another one");
            assert!(matches!(first.try_get_client(), Err(GetClientError::Closed { .. })));
            let closed = manager.closed();
            drop(manager);
            closed.await;
            assert!(matches!(
                second.try_get_client(),
                Err(GetClientError::NoHealthyPools { .. } | GetClientError::Timeout { .. })
            ));
            second.close().await;
            assert!(matches!(second.try_get_client(), Err(GetClientError::Closed { .. })));
        });
    }
}
