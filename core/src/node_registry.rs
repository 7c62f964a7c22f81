//! The nodes of a manager by name: looks a node up, adds it, forgets it; what a node does is not its concern.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::closed::{Closed, ClosedSignal};
use crate::config::NodeConfig;
use crate::connection_limiter::{ConnectionLimiter, TotalConnections};
use crate::connector::Connector;
use crate::error::AcquireError;
use crate::node::Node;
use crate::node_pool::NodePool;
use crate::runtime::Runtime;
use crate::sync::{AtomicBool, Ordering, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use crate::total_limit::TotalLimit;

/// The nodes of a manager, by name, with what they share.
pub(crate) struct NodeRegistry<K: Connector> {
    config: NodeConfig,
    runtime: Arc<dyn Runtime>,
    /// What all nodes may have together, if that is limited.
    limiter: Option<Arc<ConnectionLimiter>>,
    nodes: RwLock<HashMap<String, ManagedNode<K>>>,
    checks: AtomicBool,
    cleanup: AtomicBool,
    closed: AtomicBool,
    /// For tasks that wait for the close.
    closed_signal: Arc<ClosedSignal>,
}

impl<K: Connector> Drop for NodeRegistry<K> {
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
    Warming {
        callers: usize,
    },
    Ready,
}

impl<K: Connector> NodeRegistry<K> {
    pub(crate) fn new(config: NodeConfig, limit: Option<TotalLimit>, runtime: Arc<dyn Runtime>) -> Self {
        Self {
            config,
            runtime,
            limiter: limit.map(|limit| Arc::new(ConnectionLimiter::new(limit))),
            nodes: RwLock::new(HashMap::new()),
            checks: AtomicBool::new(true),
            cleanup: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            closed_signal: ClosedSignal::new(),
        }
    }

    /// An empty one with the same settings, runtime and limit, and the same loops.
    pub(crate) fn beside(&self) -> Self {
        Self {
            config: self.config.clone(),
            runtime: Arc::clone(&self.runtime),
            limiter: self.limiter.clone(),
            nodes: RwLock::new(HashMap::new()),
            checks: AtomicBool::new(self.runs_health_checks()),
            cleanup: AtomicBool::new(self.runs_cleanup()),
            closed: AtomicBool::new(false),
            closed_signal: ClosedSignal::new(),
        }
    }

    /// The settings of every node.
    pub(crate) fn config(&self) -> &NodeConfig {
        &self.config
    }

    pub(crate) fn total_connections(&self) -> Option<TotalConnections> {
        self.limiter.as_ref().map(|limiter| limiter.status())
    }

    /// What is `read` of every node that is open, by the name that it shows.
    pub(crate) fn read_all<T>(&self, read: impl Fn(&NodePool<K>) -> T) -> BTreeMap<String, T> {
        let nodes = self.nodes();
        let mut open: Vec<_> = nodes.iter().filter(|(_, node)| node.pool.is_open()).collect();
        open.sort_unstable_by_key(|(name, _)| *name);
        let mut pictures = BTreeMap::new();
        for (_, node) in open {
            // Nodes that differ only in what is hidden are numbered.
            let mut shown = String::from(node.pool.name());
            let mut number = 1;
            while pictures.contains_key(&shown) {
                number += 1;
                shown = format!("{} #{number}", node.pool.name());
            }
            pictures.insert(shown, read(&node.pool));
        }
        pictures
    }

    /// How many connections the nodes have that are known by name, and the rare turns that they have taken.
    #[cfg(feature = "testing")]
    pub(crate) fn seen(&self) -> (usize, crate::state::Coverage) {
        self.nodes().values().fold((0, crate::state::Coverage::default()), |(total, coverage), node| {
            (total + node.pool.node().counts().total(), coverage.and(node.pool.coverage()))
        })
    }

    /// The shared node of a name: one clone, for the lease that most calls end with.
    #[inline]
    pub(crate) fn shared_node(&self, name: &str) -> Option<Arc<Node<K>>> {
        let nodes = self.nodes();
        let node = nodes.get(name)?;
        Some(Arc::clone(node.pool.node()))
    }

    pub(crate) fn pool(&self, name: &str) -> Option<NodePool<K>> {
        let nodes = self.nodes();
        let node = nodes.get(name)?;
        Some(node.pool.clone())
    }

    /// The pools of some nodes, in this order, with their names; those that are not there are left out.
    pub(crate) fn pools_of<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Vec<(String, NodePool<K>)> {
        let nodes = self.nodes();
        let known = |name: &'a str| nodes.get(name).map(|node| (String::from(name), node.pool.clone()));
        names.into_iter().filter_map(known).collect()
    }

    /// From now on no node can be added. Says which there are, in the order of their names.
    pub(crate) fn close(&self) -> Vec<(String, NodePool<K>)> {
        // Under the lock, so that nothing is added afterwards.
        let nodes = self.nodes_mut();
        self.closed.store(true, Ordering::SeqCst);
        in_order(&nodes)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// To be given when all nodes are closed.
    pub(crate) fn closed_signal(&self) -> Arc<ClosedSignal> {
        Arc::clone(&self.closed_signal)
    }

    /// Resolves when the signal is given.
    pub(crate) fn closed(&self) -> Closed {
        Closed::of(&self.closed_signal)
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
    #[cold]
    pub(crate) fn no_such_node(&self, name: &str) -> AcquireError {
        let node = String::from(name);
        if self.is_closed() {
            AcquireError::Closed { node }
        } else if self.runtime.has_ended() {
            AcquireError::RuntimeEnded { node }
        } else {
            AcquireError::UnknownNode { node }
        }
    }

    /// None if the node is there already.
    pub(crate) fn begin_adding(
        self: &Arc<Self>,
        name: &str,
        connector: impl FnOnce() -> K,
    ) -> Result<Option<AddGuard<K>>, AcquireError> {
        if let Some(known) = self.join_adding(&mut self.nodes_mut(), name) {
            return Ok(known);
        }
        // Made outside the lock, and at rest: another call may have been quicker.
        let config = self.config.clone();
        let pool = NodePool::at_rest(connector(), config, Arc::clone(&self.runtime));
        let (replaced, adding) = {
            let mut nodes = self.nodes_mut();
            if self.is_closed() {
                return Err(AcquireError::Closed { node: String::from(pool.name()) });
            }
            if let Some(known) = self.join_adding(&mut nodes, name) {
                return Ok(known);
            }
            if let Some(limiter) = &self.limiter {
                let joined = limiter.join();
                let full = |nodes| AcquireError::no_floor_left(String::from(pool.name()), nodes, limiter.limit());
                pool.node().join_limiter(joined.map_err(full)?);
            }
            let node = ManagedNode { pool: pool.clone(), stage: Readiness::Warming { callers: 0 } };
            (nodes.insert(String::from(name), node), self.join_adding(&mut nodes, name))
        };
        drop(replaced);
        self.apply_loops(&pool);
        pool.start();
        Ok(adding.flatten())
    }

    /// None if there is no such node, or a closed one; inside it none if it is ready.
    fn join_adding(self: &Arc<Self>, nodes: &mut HashMap<String, ManagedNode<K>>, name: &str) -> Option<Option<AddGuard<K>>> {
        let node = nodes.get_mut(name).filter(|node| node.pool.is_open())?;
        match &mut node.stage {
            Readiness::Ready => Some(None),
            Readiness::Warming { callers } => {
                *callers += 1;
                let pool = node.pool.clone();
                Some(Some(AddGuard { registry: Arc::clone(self), name: String::from(name), pool, succeeded: false }))
            }
        }
    }

    /// Starts or stops the health checks of all nodes, those to come included.
    pub(crate) fn set_health_checks(&self, run: bool) {
        self.checks.store(run, Ordering::SeqCst);
        self.pools().iter().for_each(|(_, pool)| self.apply_loops(pool));
    }

    pub(crate) fn runs_health_checks(&self) -> bool {
        self.checks.load(Ordering::SeqCst)
    }

    /// Starts or stops the cleanup of all nodes, those to come included.
    pub(crate) fn set_cleanup(&self, run: bool) {
        self.cleanup.store(run, Ordering::SeqCst);
        self.pools().iter().for_each(|(_, pool)| self.apply_loops(pool));
    }

    pub(crate) fn runs_cleanup(&self) -> bool {
        self.cleanup.load(Ordering::SeqCst)
    }

    /// Passes on which loops run. Several calls at once all end with the latest state, in whatever order they apply it.
    fn apply_loops(&self, pool: &NodePool<K>) {
        let wanted = || (self.checks.load(Ordering::SeqCst), self.cleanup.load(Ordering::SeqCst));
        loop {
            let (checks, cleanup) = wanted();
            if checks {
                pool.start_health_checks()
            } else {
                pool.stop_health_checks()
            }
            if cleanup {
                pool.start_cleanup()
            } else {
                pool.stop_cleanup()
            }
            if wanted() == (checks, cleanup) {
                return;
            }
        }
    }

    /// In the order of their names, so that a run in virtual time repeats.
    fn pools(&self) -> Vec<(String, NodePool<K>)> {
        in_order(&self.nodes())
    }

    fn nodes(&self) -> RwLockReadGuard<'_, HashMap<String, ManagedNode<K>>> {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn nodes_mut(&self) -> RwLockWriteGuard<'_, HashMap<String, ManagedNode<K>>> {
        self.nodes.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call that waits for a node to become warm, until it is dropped.
pub(crate) struct AddGuard<K: Connector> {
    registry: Arc<NodeRegistry<K>>,
    name: String,
    pool: NodePool<K>,
    succeeded: bool,
}

impl<K: Connector> AddGuard<K> {
    pub(crate) fn pool(&self) -> &NodePool<K> {
        &self.pool
    }

    /// The node stays, whatever becomes of the calls that wait for it.
    pub(crate) fn succeed(&mut self) {
        self.succeeded = true;
    }
}

impl<K: Connector> Drop for AddGuard<K> {
    fn drop(&mut self) {
        let mut nodes = self.registry.nodes_mut();
        let Some(node) = nodes.get_mut(&self.name).filter(|node| node.pool.is_same(&self.pool)) else { return };
        let forgotten = match &mut node.stage {
            Readiness::Ready => None,
            Readiness::Warming { .. } if self.succeeded => {
                node.stage = Readiness::Ready;
                None
            }
            Readiness::Warming { callers } if *callers > 1 => {
                *callers -= 1;
                None
            }
            Readiness::Warming { .. } => nodes.remove(&self.name),
        };
        // The pool of a forgotten node closes with its last handle, which must not happen under the lock.
        drop(nodes);
        drop(forgotten);
    }
}

/// The pools with their names, in the order of these.
fn in_order<K: Connector>(nodes: &HashMap<String, ManagedNode<K>>) -> Vec<(String, NodePool<K>)> {
    let mut pools: Vec<_> = nodes.iter().map(|(name, node)| (name.clone(), node.pool.clone())).collect();
    pools.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    pools
}
