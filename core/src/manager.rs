//! Many nodes by name: looks a node up, adds it, closes it; knows nothing of what a node is.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::closed::{Closed, ClosedSignal};
use crate::config::NodeConfig;
use crate::connection_limiter::{ConnectionLimiter, TotalConnections};
use crate::connector::Connector;
use crate::error::{ConfigError, GetClientError};
use crate::lease::Lease;
use crate::node_pool::NodePool;
use crate::pending_close::PendingClose;
use crate::runtime::Runtime;
use crate::state::{Loop, NodeStatus};
use crate::sync::{AtomicBool, Ordering, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use crate::total_limit::TotalLimit;

/// Pools of many nodes, by name. Cheap to clone; when the last clone is dropped, all pools close.
pub struct Manager<K: Connector> {
    shared: Arc<ManagerInner<K>>,
}

struct ManagerInner<K: Connector> {
    config: NodeConfig,
    runtime: Arc<dyn Runtime>,
    /// What all nodes may have together, if that is limited.
    limiter: Option<Arc<ConnectionLimiter>>,
    nodes: RwLock<HashMap<String, ManagedNode<K>>>,
    checks: AtomicBool,
    cleanup: AtomicBool,
    closed: AtomicBool,
    /// For those who wait for the close.
    closed_signal: Arc<ClosedSignal>,
}

impl<K: Connector> Drop for ManagerInner<K> {
    /// Closes the nodes in the order of their names, so that a run in virtual time repeats.
    fn drop(&mut self) {
        let nodes = std::mem::take(self.nodes.get_mut().unwrap_or_else(PoisonError::into_inner));
        let mut nodes: Vec<_> = nodes.into_iter().collect();
        nodes.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        nodes.into_iter().for_each(drop);
        self.closed_signal.give();
    }
}

struct ManagedNode<K: Connector> {
    pool: NodePool<K>,
    stage: Readiness,
}

/// A node lends from the start; one that does not become warm in time is forgotten.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Readiness {
    /// So many calls wait for it to become warm.
    AddGuard {
        callers: usize,
    },
    Ready,
}

impl<K: Connector> Manager<K> {
    /// A manager without nodes; all of its nodes will have the same settings.
    #[must_use]
    pub fn new(config: NodeConfig, runtime: Arc<dyn Runtime>) -> Self {
        Self::of(config, None, runtime)
    }

    /// The same with a limit for all nodes together: at no moment do they have more connections than
    /// `max_total_connections`, in whatever phase.
    ///
    /// Each node may always have `min_connections_per_node`, and has more as long as there is some left. When there is
    /// not, nodes that have more give up what idles (it is closed as [`Yielded`](crate::CloseReason::Yielded)) to nodes
    /// whose callers wait, first of all to the caller who has waited longest; a node that is below its floor, because it
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
        Self {
            shared: Arc::new(ManagerInner {
                config,
                runtime,
                limiter: limit.map(|limit| Arc::new(ConnectionLimiter::new(limit))),
                nodes: RwLock::new(HashMap::new()),
                checks: AtomicBool::new(true),
                cleanup: AtomicBool::new(false),
                closed: AtomicBool::new(false),
                closed_signal: ClosedSignal::new(),
            }),
        }
    }

    /// The settings of every node.
    #[must_use]
    pub fn config(&self) -> &NodeConfig {
        &self.shared.config
    }

    /// How much of the limit of all nodes together is taken now; none without such a limit.
    ///
    /// Nodes that are being added or closed are counted, too, as long as they have connections.
    #[must_use]
    pub fn total_connections(&self) -> Option<TotalConnections> {
        self.shared.limiter.as_ref().map(|limiter| limiter.status())
    }

    /// Adds a node and waits until its pools are warm (with a limit of all nodes together: as warm as that lets them be,
    /// which is its floor at least). A node that is there already is left as it is; calls that come
    /// while it is being added wait with the first, and so do those that [`get`](Manager::get) a connection of it.
    ///
    /// # Errors
    ///
    /// As [`NodePool::warm`]; [`NoFloorLeft`](GetClientError::NoFloorLeft) at once if the limit of all nodes together leaves
    /// no floor for it. The node is then forgotten, with all its tasks and sockets, when the last call that waits for a
    /// connection of it has ended: adding it again simply works.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; a node that nobody waits for any more is forgotten.
    pub async fn add(&self, name: &str, timeout: Duration, connector: impl FnOnce() -> K) -> Result<(), GetClientError> {
        let Some(mut adding) = self.begin_adding(name, connector)? else { return Ok(()) };
        let warmed = adding.pool.warm(timeout).await;
        adding.succeeded = warmed.is_ok();
        warmed
    }

    /// Adds a node without waiting for it: it is known at once, and whoever asks it waits in its queue. One that is there
    /// already is left as it is.
    ///
    /// # Errors
    ///
    /// [`Closed`](GetClientError::Closed) after [`close`](Manager::close), [`RuntimeEnded`](GetClientError::RuntimeEnded) after
    /// the end of the runtime; [`NoFloorLeft`](GetClientError::NoFloorLeft) if the limit of all nodes together leaves no floor
    /// for it.
    pub fn open(&self, name: &str, connector: impl FnOnce() -> K) -> Result<NodePool<K>, GetClientError> {
        match self.begin_adding(name, connector)? {
            Some(adding) if adding.pool.node().has_lost_runtime() => {
                Err(GetClientError::RuntimeEnded { node: String::from(adding.pool.name()) })
            }
            Some(mut adding) => {
                adding.succeeded = true;
                Ok(adding.pool.clone())
            }
            None => self.node(name),
        }
    }

    /// Lends a connection of a node within `timeout`; see [`NodePool::get_timeout`].
    ///
    /// # Errors
    ///
    /// [`UnknownNode`](GetClientError::UnknownNode) if it was never added or has been closed,
    /// [`Closed`](GetClientError::Closed) after [`close`](Manager::close), else as [`NodePool::get_timeout`].
    ///
    /// # Cancel safety
    ///
    /// As [`NodePool::get_timeout`].
    pub async fn get(&self, name: &str, timeout: Duration) -> Result<Lease<K>, GetClientError> {
        {
            let nodes = self.nodes();
            let Some(node) = nodes.get(name) else {
                drop(nodes);
                return Err(self.no_such_node(name));
            };
            let node = Arc::clone(node.pool.node());
            drop(nodes);
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
    /// [`UnknownNode`](GetClientError::UnknownNode) if it was never added, [`Closed`](GetClientError::Closed) after
    /// [`close`](Manager::close), else as [`NodePool::try_get`].
    pub fn try_get(&self, name: &str) -> Result<Lease<K>, GetClientError> {
        self.node(name)?.try_get()
    }

    /// The handle of a node, which saves the look-up.
    ///
    /// # Errors
    ///
    /// [`UnknownNode`](GetClientError::UnknownNode) if it was never added, [`Closed`](GetClientError::Closed) after
    /// [`close`](Manager::close).
    pub fn node(&self, name: &str) -> Result<NodePool<K>, GetClientError> {
        let known = self.nodes().get(name).map(|node| node.pool.clone());
        known.ok_or_else(|| self.no_such_node(name))
    }

    /// A picture of every node, by [`Connector::name`]; each is consistent in itself. Nodes that are still being added are
    /// there, down until they have answered; those that have been closed are left out.
    #[must_use]
    pub fn status(&self) -> BTreeMap<String, NodeStatus> {
        let nodes = self.nodes();
        let mut open: Vec<_> = nodes.iter().filter(|(_, node)| node.pool.is_open()).collect();
        open.sort_unstable_by_key(|(name, _)| *name);
        let mut pictures = BTreeMap::new();
        for (_, node) in open {
            // Nodes that differ only in what is hidden are told apart by a number.
            let mut shown = String::from(node.pool.name());
            let mut number = 1;
            while pictures.contains_key(&shown) {
                number += 1;
                shown = format!("{} #{number}", node.pool.name());
            }
            pictures.insert(shown, node.pool.status());
        }
        pictures
    }

    /// Starts or stops the periodic health checks of all nodes, those to come included.
    pub fn set_health_checks(&self, state: Loop) {
        self.shared.checks.store(state == Loop::Running, Ordering::SeqCst);
        self.pools().iter().for_each(|pool| self.apply_loops(pool));
    }

    /// Whether health checks run; they do from the start. False once the manager is closed.
    #[must_use]
    pub fn is_health_check_running(&self) -> bool {
        self.shared.checks.load(Ordering::SeqCst) && !self.is_closed()
    }

    /// Starts or stops the periodic cleanup of all nodes, those to come included.
    pub fn set_cleanup(&self, state: Loop) {
        self.shared.cleanup.store(state == Loop::Running, Ordering::SeqCst);
        self.pools().iter().for_each(|pool| self.apply_loops(pool));
    }

    /// Whether cleanup runs; it does not from the start. False once the manager is closed.
    #[must_use]
    pub fn is_cleanup_running(&self) -> bool {
        self.shared.cleanup.load(Ordering::SeqCst) && !self.is_closed()
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
    pub fn begin_close_nodes<'a>(&self, names: impl IntoIterator<Item = &'a str>, timeout: Duration) -> PendingClose<K> {
        let pools: Vec<_> = {
            let nodes = self.nodes();
            let known = |name: &'a str| nodes.get(name).map(|node| (String::from(name), node.pool.clone()));
            names.into_iter().filter_map(known).collect()
        };
        PendingClose::of_nodes(self, pools, None, timeout)
    }

    /// Closes all pools, at once and for good: nothing can be added any more. First none of them serves a caller any more,
    /// then connections come back; so nobody is served by one node because another has closed.
    ///
    /// # Cancel safety
    ///
    /// Closing goes on when the future is dropped.
    pub async fn close(&self, timeout: Duration) {
        self.begin_close(timeout).drained().await;
    }

    /// The first step of [`close`](Manager::close): no node lends anything any more, and none can be added. See
    /// [`PendingClose`].
    pub fn begin_close(&self, timeout: Duration) -> PendingClose<K> {
        let mut pools: Vec<(String, NodePool<K>)> = {
            // Under the lock, so that nothing is added afterwards.
            let nodes = self.nodes_mut();
            self.shared.closed.store(true, Ordering::SeqCst);
            nodes.iter().map(|(name, node)| (name.clone(), node.pool.clone())).collect()
        };
        pools.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        PendingClose::of_nodes(self, pools, Some(Arc::clone(&self.shared.closed_signal)), timeout)
    }

    /// Resolves when the manager begins to close, for those who hold a connection and would give it back then.
    pub fn closed(&self) -> Closed {
        Closed::of(&self.shared.closed_signal)
    }

    /// Whether [`close`](Manager::close) was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::SeqCst)
    }

    /// How many connections the nodes have that are known by name, and the rare turns that they have taken.
    #[cfg(feature = "testing")]
    pub(crate) fn seen(&self) -> (usize, crate::state::Coverage) {
        self.nodes().values().fold((0, crate::state::Coverage::default()), |(total, coverage), node| {
            (total + node.pool.node().counts().total(), coverage.and(node.pool.coverage()))
        })
    }

    /// The node is closed; its name is free again.
    pub(crate) fn forget(&self, name: &str, pool: &NodePool<K>) {
        let mut nodes = self.nodes_mut();
        let forgotten = match nodes.get(name) {
            Some(node) if node.pool.is_same(pool) => nodes.remove(name),
            Some(_) | None => None,
        };
        // Its connector is dropped with it, which must not happen under the lock.
        drop(nodes);
        drop(forgotten);
    }

    /// Why a node cannot be asked. Not under the lock: the runtime is asked.
    fn no_such_node(&self, name: &str) -> GetClientError {
        let node = String::from(name);
        if self.is_closed() {
            GetClientError::Closed { node }
        } else if self.shared.runtime.has_ended() {
            GetClientError::RuntimeEnded { node }
        } else {
            GetClientError::UnknownNode { node }
        }
    }

    /// None if the node is there already.
    fn begin_adding(&self, name: &str, connector: impl FnOnce() -> K) -> Result<Option<AddGuard<K>>, GetClientError> {
        if let Some(known) = self.join_adding(&mut self.nodes_mut(), name) {
            return Ok(known);
        }
        // Made outside the lock, and at rest: another call may have been quicker.
        let config = self.shared.config.clone();
        let pool = NodePool::at_rest(connector(), config, Arc::clone(&self.shared.runtime));
        let (replaced, adding) = {
            let mut nodes = self.nodes_mut();
            if self.is_closed() {
                return Err(GetClientError::Closed { node: String::from(pool.name()) });
            }
            if let Some(known) = self.join_adding(&mut nodes, name) {
                return Ok(known);
            }
            if let Some(limiter) = &self.shared.limiter {
                let joined = limiter.join();
                let full = |nodes| GetClientError::no_floor_left(String::from(pool.name()), nodes, limiter.limit());
                pool.node().join_limiter(joined.map_err(full)?);
            }
            let node = ManagedNode { pool: pool.clone(), stage: Readiness::AddGuard { callers: 0 } };
            (nodes.insert(String::from(name), node), self.join_adding(&mut nodes, name))
        };
        drop(replaced);
        self.apply_loops(&pool);
        pool.start();
        Ok(adding.flatten())
    }

    /// None if there is no such node, or a closed one; inside it none if it is ready.
    fn join_adding(&self, nodes: &mut HashMap<String, ManagedNode<K>>, name: &str) -> Option<Option<AddGuard<K>>> {
        let node = nodes.get_mut(name).filter(|node| node.pool.is_open())?;
        match &mut node.stage {
            Readiness::Ready => Some(None),
            Readiness::AddGuard { callers } => {
                *callers += 1;
                let pool = node.pool.clone();
                Some(Some(AddGuard { manager: self.clone(), name: String::from(name), pool, succeeded: false }))
            }
        }
    }

    /// Passes on which loops run. Several calls at once all end with the latest state, whoever is the last to apply it.
    fn apply_loops(&self, pool: &NodePool<K>) {
        let state = |flag: &AtomicBool| if flag.load(Ordering::SeqCst) { Loop::Running } else { Loop::Stopped };
        let wanted = || (state(&self.shared.checks), state(&self.shared.cleanup));
        loop {
            let (checks, cleanup) = wanted();
            pool.set_health_checks(checks);
            pool.set_cleanup(cleanup);
            if wanted() == (checks, cleanup) {
                return;
            }
        }
    }

    fn pools(&self) -> Vec<NodePool<K>> {
        let nodes = self.nodes();
        let mut pools: Vec<_> = nodes.iter().map(|(name, node)| (name, node.pool.clone())).collect();
        // In the order of their names, so that a run in virtual time repeats.
        pools.sort_unstable_by_key(|(name, _)| *name);
        pools.into_iter().map(|(_, pool)| pool).collect()
    }

    fn nodes(&self) -> RwLockReadGuard<'_, HashMap<String, ManagedNode<K>>> {
        self.shared.nodes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn nodes_mut(&self) -> RwLockWriteGuard<'_, HashMap<String, ManagedNode<K>>> {
        self.shared.nodes.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call that waits for a node to become warm; dropped, it no longer does.
struct AddGuard<K: Connector> {
    manager: Manager<K>,
    name: String,
    pool: NodePool<K>,
    succeeded: bool,
}

impl<K: Connector> Drop for AddGuard<K> {
    fn drop(&mut self) {
        let mut nodes = self.manager.nodes_mut();
        let Some(node) = nodes.get_mut(&self.name).filter(|node| node.pool.is_same(&self.pool)) else { return };
        let forgotten = match &mut node.stage {
            Readiness::Ready => None,
            Readiness::AddGuard { .. } if self.succeeded => {
                node.stage = Readiness::Ready;
                None
            }
            Readiness::AddGuard { callers } if *callers > 1 => {
                *callers -= 1;
                None
            }
            Readiness::AddGuard { .. } => nodes.remove(&self.name),
        };
        // The pool of a forgotten node closes with its last handle, which must not happen under the lock.
        drop(nodes);
        drop(forgotten);
    }
}

impl<K: Connector> Clone for Manager<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K: Connector> fmt::Debug for Manager<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager").field("nodes", &self.status().keys()).finish_non_exhaustive()
    }
}
