//! The public handle of one node and its pools.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::acquire::{Acquire, WaitFor};
use crate::config::NodeConfig;
use crate::connector::Connector;
use crate::driver::Driver;
use crate::error::AcquireError;
use crate::last_error::LastError;
use crate::lease::Lease;
use crate::node::{Effects, Node};
use crate::runtime::Runtime;
use crate::state::{Input, NodeMetrics, NodeStatus, WaitKind};

/// How much longer than its deadline a close may take: the time for closes that hang to be cut off.
const CLOSE_MARGIN: Duration = Duration::from_millis(1_500);

/// The pools of one node. Cheap to clone; when the last clone is dropped, the pools close: idle connections at once,
/// those on loan when they come back.
///
/// ```
/// use redis_manager_core::testing::{FakeRuntime, FakeServer};
/// use redis_manager_core::{NodeConfig, NodePool};
/// use std::sync::Arc;
///
/// let runtime = FakeRuntime::new(1);
/// let server = FakeServer::new(&runtime);
/// let pool = NodePool::new(server.connector(), NodeConfig::default(), Arc::new(runtime.clone()));
/// runtime.block_on(async {
///     let mut lease = pool.get().await.expect("the server is up");
///     assert_eq!(lease.echo(7).await, Ok(7));
/// });
/// ```
pub struct NodePool<K: Connector> {
    handle: Arc<PoolHandle<K>>,
}

struct PoolHandle<K: Connector> {
    node: Arc<Node<K>>,
}

impl<K: Connector> Drop for PoolHandle<K> {
    fn drop(&mut self) {
        self.node.abandon();
    }
}

impl<K: Connector> NodePool<K> {
    /// Makes the pools of a node and starts to fill them to `min_idle` in the background.
    ///
    /// It spawns one task for the node. Health checks run; cleanup does not until it is
    /// [started](NodePool::start_cleanup).
    #[must_use]
    pub fn new(connector: K, config: NodeConfig, runtime: Arc<dyn Runtime>) -> Self {
        let pool = Self::at_rest(connector, config, runtime);
        pool.start();
        pool
    }

    /// The same, before it has begun to do anything.
    pub(crate) fn at_rest(connector: K, config: NodeConfig, runtime: Arc<dyn Runtime>) -> Self {
        Self { handle: Arc::new(PoolHandle { node: Arc::new(Node::new(connector, config, runtime)) }) }
    }

    pub(crate) fn start(&self) {
        let node = self.node();
        node.put(Input::Tick);
        node.runtime().spawn(Box::pin(Driver::new(node)));
    }

    /// Lends a connection within `default_timeout`; see [`get_timeout`](NodePool::get_timeout).
    pub fn get(&self) -> Acquire<'_, K> {
        self.get_timeout(self.node().config().default_timeout())
    }

    /// Lends a connection: the one used last of the pool with the fewest on loan; if none idles, the first to come free
    /// or to be dialled, in order of arrival.
    ///
    /// # Errors
    ///
    /// By the end of `timeout` at the latest: [`Timeout`](AcquireError::Timeout) or, if the node is down,
    /// [`NoHealthyPools`](AcquireError::NoHealthyPools), which comes at once with
    /// [`OnNodeDown::FailFast`](crate::OnNodeDown::FailFast) or when the server refuses for good (a wrong password).
    /// [`Saturated`](AcquireError::Saturated) at once if `max_waiters` callers wait already.
    /// [`Closed`](AcquireError::Closed) once the pool is closed, [`RuntimeEnded`](AcquireError::RuntimeEnded) once its
    /// runtime has ended.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any time; see [`Acquire`].
    pub fn get_timeout(&self, timeout: Duration) -> Acquire<'_, K> {
        Acquire::new(self.node(), timeout)
    }

    /// Lends a connection that idles now, and never waits. If there is none, one is dialled in the background where the
    /// limits allow it, so that a later try may succeed.
    ///
    /// # Errors
    ///
    /// As [`get_timeout`](NodePool::get_timeout) after a wait of no length.
    pub fn try_get(&self) -> Result<Lease<K>, AcquireError> {
        let loan = self.node().try_acquire().map_err(|outcome| self.node().error_of(outcome))?;
        Ok(Lease::new(Arc::clone(self.node()), loan))
    }

    /// Waits until each pool at start has `min_idle` connections, and the server has answered at least once.
    ///
    /// # Errors
    ///
    /// As [`get_timeout`](NodePool::get_timeout); a timeout while dials fail is
    /// [`NoHealthyPools`](AcquireError::NoHealthyPools). The pools stay as they are and go on trying.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub async fn warm(&self, timeout: Duration) -> Result<(), AcquireError> {
        WaitFor::new(self.node(), WaitKind::Warm, timeout).await
    }

    /// One consistent picture of the node.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        self.node().status()
    }

    /// What was counted and timed of the node since its pools were made.
    #[must_use]
    pub fn metrics(&self) -> NodeMetrics {
        self.node().metrics()
    }

    /// Both of the same moment, so that they add up: for example, `metrics.open()` is `status.active` with `status.idle` and
    /// `status.checking`.
    #[must_use]
    pub fn status_and_metrics(&self) -> (NodeStatus, NodeMetrics) {
        self.node().status_and_metrics()
    }

    /// The last error of a dial or a check, until a dial succeeds again; with the connector's error, which
    /// [`NodeStatus::last_error`] has as text only.
    #[must_use]
    pub fn last_error(&self) -> Option<LastError> {
        self.node().last_error()
    }

    /// The checked settings.
    #[must_use]
    pub fn config(&self) -> &NodeConfig {
        self.node().config()
    }

    /// Whether the pool still lends.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.node().is_open()
    }

    /// The node's name, as its connector gives it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.node().name()
    }

    /// Starts the periodic health checks. They run from the start.
    pub fn start_health_checks(&self) {
        self.node().put(Input::SetChecks(true));
    }

    /// Stops the periodic health checks. Connections that are suspected for a reason are checked all the same.
    pub fn stop_health_checks(&self) {
        self.node().put(Input::SetChecks(false));
    }

    /// Starts the periodic cleanup of idle connections and empty surplus pools.
    pub fn start_cleanup(&self) {
        self.node().put(Input::SetCleanup(true));
    }

    /// Stops the periodic cleanup. It does not run from the start.
    pub fn stop_cleanup(&self) {
        self.node().put(Input::SetCleanup(false));
    }

    /// Another server has taken the place of the one that the connector dialled until now: connections to the old one are
    /// closed, idle ones at once, those on loan when they come back, and what a dial that is under way leads to is not used. The new one is dialled at
    /// once, for the callers in the queue, who keep their places.
    #[doc(hidden)]
    pub fn replace_server(&self, why: &str) {
        self.node().put(Input::Replaced(String::from(why)));
    }

    /// Closes within `default_timeout`; see [`close_timeout`](NodePool::close_timeout).
    pub fn close(&self) -> impl Future<Output = ()> + Send + '_ {
        self.close_timeout(self.node().config().default_timeout())
    }

    /// Closes the pools: new gets fail and waiters get their errors at once, idle connections are closed, those on loan when
    /// they come back or die. What waits at the server for its own sake is ended at once, as far as the connector can
    /// ([`pool_closing`](Connector::pool_closing)), and at the end of `timeout` whatever is still on loan
    /// ([`abort_handle`](Connector::abort_handle)). Returns when no connection is left.
    ///
    /// # Cancel safety
    ///
    /// Closing goes on when the future is dropped. It begins with the call, not with the first poll.
    pub fn close_timeout(&self, timeout: Duration) -> impl Future<Output = ()> + Send + '_ {
        self.node().tell_close(self.begin_close(timeout));
        self.drained(timeout)
    }

    /// The first step of a close: the pool lends nothing any more.
    pub(crate) fn begin_close(&self, timeout: Duration) -> Effects<K::Connection> {
        let node = self.node();
        node.begin_close(node.runtime().now() + timeout)
    }

    /// Waits until no connection is left after a close with this timeout.
    pub(crate) async fn drained(&self, timeout: Duration) {
        // All ends by its deadline or is cut off; a pool that was closed before is drained already.
        let _drained = WaitFor::new(self.node(), WaitKind::Drained, timeout.saturating_add(CLOSE_MARGIN)).await;
    }

    /// What connects the pools.
    #[must_use]
    pub fn connector(&self) -> &K {
        self.node().connector()
    }

    /// Whether both are handles of the same pools.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.handle, &other.handle)
    }

    /// The rare turns that were taken so far.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn coverage(&self) -> crate::state::Coverage {
        self.node().coverage()
    }

    pub(crate) fn node(&self) -> &Arc<Node<K>> {
        &self.handle.node
    }
}

impl<K: Connector> Clone for NodePool<K> {
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle) }
    }
}

impl<K: Connector> fmt::Debug for NodePool<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodePool").field("node", &self.name()).finish_non_exhaustive()
    }
}
