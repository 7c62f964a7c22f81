//! The public handle of many nodes by name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::closed::Closed;
use crate::config::NodeConfig;
use crate::config_error::ConfigError;
use crate::connection_limiter::TotalConnections;
use crate::connector::Connector;
use crate::error::AcquireError;
use crate::lease::Lease;
use crate::node_pool::NodePool;
use crate::node_registry::NodeRegistry;
use crate::pending_close::PendingClose;
use crate::runtime::Runtime;
use crate::state::{NodeMetrics, NodeStatus};
use crate::total_limit::TotalLimit;

/// Pools of many nodes, by name. Cheap to clone; when the last clone is dropped, all pools close.
#[must_use = "all pools close when the last handle of their manager is dropped"]
pub struct Manager<K: Connector> {
    registry: Arc<NodeRegistry<K>>,
}

impl<K: Connector> Manager<K> {
    /// A manager without nodes; all of its nodes will have the same settings.
    pub fn new(config: NodeConfig, runtime: Arc<dyn Runtime>) -> Self {
        Self::of(config, None, runtime)
    }

    /// The same with a limit for all nodes together: at no moment do they have more connections than
    /// `max_total_connections`, in whatever phase.
    ///
    /// Each node may always have `min_connections_per_node`, and has more as long as there is some left. When there is
    /// not, nodes that have more give up what idles (it is closed as [`Yielded`](crate::CloseReason::Yielded)) to nodes
    /// whose callers wait, first of all to the caller that has waited longest; a node that is below its floor, because it
    /// has just been added, comes before all callers, and gets also what comes back from a borrower.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] as by [`TotalLimit::check`].
    pub fn with_total_limit(config: NodeConfig, limit: TotalLimit, runtime: Arc<dyn Runtime>) -> Result<Self, ConfigError> {
        limit.check(&config)?;
        Ok(Self::of(config, Some(limit), runtime))
    }

    fn of(config: NodeConfig, limit: Option<TotalLimit>, runtime: Arc<dyn Runtime>) -> Self {
        Self { registry: Arc::new(NodeRegistry::new(config, limit, runtime)) }
    }

    /// A manager of other nodes with the same settings, within the same limit of all nodes together. It lives and closes by
    /// itself.
    #[doc(hidden)]
    pub fn beside(&self) -> Self {
        Self { registry: Arc::new(self.registry.beside()) }
    }

    /// The settings of every node.
    #[must_use]
    pub fn config(&self) -> &NodeConfig {
        self.registry.config()
    }

    /// How much of the limit of all nodes together is taken now; none without such a limit.
    ///
    /// Nodes that are being added or closed are counted, too, as long as they have connections.
    #[must_use]
    pub fn total_connections(&self) -> Option<TotalConnections> {
        self.registry.total_connections()
    }

    /// Adds a node and waits until its pools are warm; returns their handle (with a limit of all nodes together: as warm as that lets them be,
    /// which is its floor at least). A node that is there already is left as it is; calls that come
    /// while it is being added wait with the first, and so do those that [`get`](Manager::get) a connection of it.
    ///
    /// # Errors
    ///
    /// As [`NodePool::warm`]; [`NoFloorLeft`](AcquireError::NoFloorLeft) at once if the limit of all nodes together leaves
    /// no floor for it. The node is then forgotten, with all its tasks and sockets, when the last call that waits for a
    /// connection of it has ended: adding it again simply works.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; a node that no call waits for any more is forgotten.
    pub async fn add(&self, name: &str, timeout: Duration, connector: impl FnOnce() -> K) -> Result<NodePool<K>, AcquireError> {
        let Some(mut adding) = self.registry.begin_adding(name, connector)? else { return self.node(name) };
        adding.pool().warm(timeout).await?;
        adding.succeed();
        Ok(adding.pool().clone())
    }

    /// Adds a node without waiting for it: it is known at once, and its callers wait in its queue. One that is there
    /// already is left as it is.
    ///
    /// # Errors
    ///
    /// [`Closed`](AcquireError::Closed) after [`close`](Manager::close), [`RuntimeEnded`](AcquireError::RuntimeEnded) after
    /// the end of the runtime; [`NoFloorLeft`](AcquireError::NoFloorLeft) if the limit of all nodes together leaves no floor
    /// for it.
    pub fn open(&self, name: &str, connector: impl FnOnce() -> K) -> Result<NodePool<K>, AcquireError> {
        match self.registry.begin_adding(name, connector)? {
            Some(adding) if adding.pool().node().has_lost_runtime() => {
                Err(AcquireError::RuntimeEnded { node: String::from(adding.pool().name()) })
            }
            Some(mut adding) => {
                adding.succeed();
                Ok(adding.pool().clone())
            }
            None => self.node(name),
        }
    }

    /// Lends a connection of a node within `timeout`; see [`NodePool::get_timeout`].
    ///
    /// # Errors
    ///
    /// [`UnknownNode`](AcquireError::UnknownNode) if it was never added or has been closed,
    /// [`Closed`](AcquireError::Closed) after [`close`](Manager::close), else as [`NodePool::get_timeout`].
    ///
    /// # Cancel safety
    ///
    /// As [`NodePool::get_timeout`].
    pub async fn get(&self, name: &str, timeout: Duration) -> Result<Lease<K>, AcquireError> {
        {
            let Some(node) = self.registry.shared_node(name) else { return Err(self.registry.no_such_node(name)) };
            // Most calls end here: one clone, for the lease.
            if let Some(loan) = node.take_idle() {
                return Ok(Lease::new(node, loan));
            }
        }
        // Should the node be forgotten meanwhile, its pools live on until this wait has ended.
        let pool = self.node(name)?;
        pool.get_timeout(timeout).await
    }

    /// Lends a connection that idles now; see [`NodePool::try_get`].
    ///
    /// # Errors
    ///
    /// [`UnknownNode`](AcquireError::UnknownNode) if it was never added, [`Closed`](AcquireError::Closed) after
    /// [`close`](Manager::close), else as [`NodePool::try_get`].
    pub fn try_get(&self, name: &str) -> Result<Lease<K>, AcquireError> {
        self.node(name)?.try_get()
    }

    /// The handle of a node, which saves the look-up.
    ///
    /// # Errors
    ///
    /// [`UnknownNode`](AcquireError::UnknownNode) if it was never added, [`Closed`](AcquireError::Closed) after
    /// [`close`](Manager::close).
    pub fn node(&self, name: &str) -> Result<NodePool<K>, AcquireError> {
        self.registry.pool(name).ok_or_else(|| self.registry.no_such_node(name))
    }

    /// A picture of every node, by [`Connector::name`]; each is consistent in itself. Nodes that are still being added are
    /// there, down until they have answered; those that have been closed are left out.
    #[must_use]
    pub fn status(&self) -> BTreeMap<String, NodeStatus> {
        self.registry.read_all(NodePool::status)
    }

    /// What is `read` of the connector of every node, by [`Connector::name`]. Which nodes there are is as in
    /// [`status`](Manager::status).
    #[must_use]
    pub fn read_connectors<T>(&self, read: impl Fn(&K) -> T) -> BTreeMap<String, T> {
        self.registry.read_all(|pool| read(pool.connector()))
    }

    /// What was counted and timed of every node since it was added, by [`Connector::name`]; see [`NodePool::metrics`]. Which
    /// nodes there are is as in [`status`](Manager::status); that of one is `manager.node(name)?.metrics()`.
    #[must_use]
    pub fn metrics(&self) -> BTreeMap<String, NodeMetrics> {
        self.registry.read_all(NodePool::metrics)
    }

    /// Both of every node, those of one node of the same moment; see [`NodePool::status_and_metrics`].
    #[must_use]
    pub fn status_and_metrics(&self) -> BTreeMap<String, (NodeStatus, NodeMetrics)> {
        self.registry.read_all(NodePool::status_and_metrics)
    }

    /// What this reads of every node, by [`Connector::name`]; which nodes there are is as in [`status`](Manager::status).
    #[doc(hidden)]
    #[must_use]
    pub fn read_nodes<T>(&self, read: impl Fn(&NodePool<K>) -> T) -> BTreeMap<String, T> {
        self.registry.read_all(read)
    }

    /// Starts the periodic health checks of all nodes, those to come included. They run from the start.
    pub fn start_health_checks(&self) {
        self.registry.set_health_checks(true);
    }

    /// Stops the periodic health checks of all nodes, those to come included.
    pub fn stop_health_checks(&self) {
        self.registry.set_health_checks(false);
    }

    /// Whether health checks run; they do from the start. False once the manager is closed.
    #[must_use]
    pub fn is_health_check_running(&self) -> bool {
        self.registry.runs_health_checks() && !self.is_closed()
    }

    /// Starts the periodic cleanup of all nodes, those to come included.
    pub fn start_cleanup(&self) {
        self.registry.set_cleanup(true);
    }

    /// Stops the periodic cleanup of all nodes, those to come included. It does not run from the start.
    pub fn stop_cleanup(&self) {
        self.registry.set_cleanup(false);
    }

    /// Whether cleanup runs; it does not from the start. False once the manager is closed.
    #[must_use]
    pub fn is_cleanup_running(&self) -> bool {
        self.registry.runs_cleanup() && !self.is_closed()
    }

    /// Closes the pools of one node; see [`NodePool::close_timeout`]. It is forgotten then and can be added again. A node
    /// that is not there is closed already.
    ///
    /// # Cancel safety
    ///
    /// Closing goes on when the future is dropped.
    pub async fn close_node(&self, name: &str, timeout: Duration) {
        self.begin_close_nodes([name], timeout).drained().await;
    }

    /// The first step of a close of some nodes: none of them lends anything any more. See [`PendingClose`].
    #[doc(hidden)]
    pub fn begin_close_nodes<'a>(&self, names: impl IntoIterator<Item = &'a str>, timeout: Duration) -> PendingClose<K> {
        PendingClose::begin(&self.registry, self.registry.pools_of(names), None, timeout)
    }

    /// The first step of a close of this node, and of no later one of the same name. See [`PendingClose`].
    #[doc(hidden)]
    pub fn begin_close_pool(&self, name: &str, pool: &NodePool<K>, timeout: Duration) -> PendingClose<K> {
        PendingClose::begin(&self.registry, [(String::from(name), pool.clone())], None, timeout)
    }

    /// Refers to the manager without keeping it alive.
    #[doc(hidden)]
    #[must_use]
    pub fn downgrade(&self) -> WeakManager<K> {
        WeakManager { registry: Arc::downgrade(&self.registry) }
    }

    /// Closes all pools, at once and for good: nothing can be added any more. First none of them serves a caller any more,
    /// then connections come back; so no caller is served by one node because another has closed.
    ///
    /// # Cancel safety
    ///
    /// Closing goes on when the future is dropped.
    pub async fn close(&self, timeout: Duration) {
        self.begin_close(timeout).drained().await;
    }

    /// The first step of [`close`](Manager::close): no node lends anything any more, and none can be added. See
    /// [`PendingClose`].
    #[doc(hidden)]
    pub fn begin_close(&self, timeout: Duration) -> PendingClose<K> {
        let (pools, signal) = (self.registry.close(), self.registry.closed_signal());
        PendingClose::begin(&self.registry, pools, Some(signal), timeout)
    }

    /// Resolves when the manager begins to close, for tasks that hold a connection and would give it back then.
    pub fn closed(&self) -> Closed {
        self.registry.closed()
    }

    /// Whether [`close`](Manager::close) was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.registry.is_closed()
    }

    /// How many connections the nodes have that are known by name, and the rare turns that they have taken.
    #[cfg(feature = "testing")]
    pub(crate) fn seen(&self) -> (usize, crate::state::Coverage) {
        self.registry.seen()
    }
}

impl<K: Connector> Clone for Manager<K> {
    fn clone(&self) -> Self {
        Self { registry: Arc::clone(&self.registry) }
    }
}

impl<K: Connector> fmt::Debug for Manager<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager").field("nodes", &self.status().keys()).finish_non_exhaustive()
    }
}

/// Refers to a manager without keeping it alive; made by [`Manager::downgrade`].
#[doc(hidden)]
pub struct WeakManager<K: Connector> {
    registry: Weak<NodeRegistry<K>>,
}

impl<K: Connector> WeakManager<K> {
    /// The manager, if a handle of it is left.
    #[must_use]
    pub fn upgrade(&self) -> Option<Manager<K>> {
        self.registry.upgrade().map(|registry| Manager { registry })
    }
}

impl<K: Connector> Clone for WeakManager<K> {
    fn clone(&self) -> Self {
        Self { registry: Weak::clone(&self.registry) }
    }
}

impl<K: Connector> fmt::Debug for WeakManager<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakManager").finish_non_exhaustive()
    }
}
