//! A close of nodes of a manager that has begun: first no caller is served any more, then connections come back.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::closed::ClosedSignal;
use crate::connector::Connector;
use crate::node::Effects;
use crate::node_pool::NodePool;
use crate::node_registry::NodeRegistry;

/// Pools that lend nothing any more; made by [`Manager::begin_close`](crate::Manager::begin_close) and
/// [`Manager::begin_close_nodes`](crate::Manager::begin_close_nodes).
///
/// A close has two steps. With the first, which is taken when this value is there, all of the pools refuse callers. With
/// the second, [`tell`](PendingClose::tell), those in the queue get their errors and idle connections are closed. So what
/// comes back because of the close, comes back to a pool that serves no caller any more. Between the two, close what else
/// belongs to the same deployment. When this value is dropped, the second step is taken.
#[must_use = "callers in queue get their errors when it is awaited or dropped"]
pub struct PendingClose<K: Connector> {
    /// The names of the pools, to be forgotten at the end.
    registry: Arc<NodeRegistry<K>>,
    pools: Vec<Begun<K>>,
    /// To be given when all is closed.
    signal: Option<Arc<ClosedSignal>>,
    timeout: Duration,
}

struct Begun<K: Connector> {
    name: String,
    pool: NodePool<K>,
    /// None once they are done.
    effects: Option<Effects<K::Connection>>,
}

impl<K: Connector> PendingClose<K> {
    /// Begins to close pools of a manager, in this order.
    pub(crate) fn begin(
        registry: &Arc<NodeRegistry<K>>,
        pools: impl IntoIterator<Item = (String, NodePool<K>)>,
        signal: Option<Arc<ClosedSignal>>,
        timeout: Duration,
    ) -> Self {
        let begin = |(name, pool): (String, NodePool<K>)| Begun { name, effects: Some(pool.begin_close(timeout)), pool };
        Self { registry: Arc::clone(registry), pools: pools.into_iter().map(begin).collect(), signal, timeout }
    }

    /// Callers in the queue get their errors, idle connections are closed, and what waits at the server for its own sake
    /// ([`Connector::pool_closing`]) is ended. A second call does nothing.
    pub fn tell(&mut self) {
        for begun in &mut self.pools {
            if let Some(effects) = begun.effects.take() {
                begun.pool.node().tell_close(effects);
            }
        }
        if let Some(signal) = self.signal.take() {
            signal.give();
        }
    }

    /// The same, and waits until no connection is left; what is on loan is ended at the deadline.
    ///
    /// # Cancel safety
    ///
    /// Closing goes on when the future is dropped.
    pub async fn drained(mut self) {
        self.tell();
        let pools: Vec<_> = std::mem::take(&mut self.pools).into_iter().map(|begun| (begun.name, begun.pool)).collect();
        for (_, pool) in &pools {
            pool.drained(self.timeout).await;
        }
        pools.iter().for_each(|(name, pool)| self.registry.forget(name, pool));
    }
}

impl<K: Connector> Drop for PendingClose<K> {
    fn drop(&mut self) {
        self.tell();
    }
}

impl<K: Connector> fmt::Debug for PendingClose<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pools: Vec<_> = self.pools.iter().map(|begun| begun.pool.name()).collect();
        f.debug_struct("PendingClose").field("pools", &pools).finish_non_exhaustive()
    }
}
