//! What all nodes of a manager may have together, behind a lock of its own; which node may have how much of it is worked out
//! by [`Arbiter`], and what a node does with it is up to its state.
//!
//! The lock is the innermost: it is taken under the lock of a node, and under that of the manager's nodes, and under it no
//! other one is taken and nothing of a user's runs. Wakers come in as clones and go out to be woken, or dropped, by a
//! caller that holds no lock. For a new quota of a node its driver is woken, which comes through its own node.

mod arbiter;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::task::Waker;

use crate::guard::{discard, wake};
use crate::state::{Demand, Quota};
use crate::sync::{Mutex, MutexGuard, PoisonError};
use crate::total_limit::TotalLimit;

use arbiter::{Arbiter, MemberId};

/// How much of `max_total_connections` is taken at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TotalConnections {
    /// Connections of all nodes together, in whatever phase: idle, on loan, being dialled, checked, cleaned or closed.
    pub taken: usize,
    /// The most that there may be, `max_total_connections`.
    pub limit: usize,
    /// Nodes that are there or being added; each has a claim to `min_connections_per_node`.
    pub nodes: usize,
}

/// The total, and which node has how much of it.
pub(crate) struct ConnectionLimiter {
    limit: TotalLimit,
    inner: Mutex<LimiterInner>,
}

struct LimiterInner {
    arbiter: Arbiter,
    /// The drivers to be woken when there is a new quota; each until it has been woken.
    drivers: BTreeMap<MemberId, Waker>,
}

/// The place of one node in the limiter; dropped, the node is no more.
pub(crate) struct Membership {
    limiter: Arc<ConnectionLimiter>,
    id: MemberId,
}

impl ConnectionLimiter {
    pub(crate) fn new(limit: TotalLimit) -> Self {
        let arbiter = Arbiter::new(limit.max_total_connections, limit.min_connections_per_node);
        Self { limit, inner: Mutex::new(LimiterInner { arbiter, drivers: BTreeMap::new() }) }
    }

    pub(crate) fn limit(&self) -> TotalLimit {
        self.limit
    }

    /// A place for one more node; none if the floors of the others leave none for it, and then how many others there are.
    pub(crate) fn join(self: &Arc<Self>) -> Result<Membership, usize> {
        let mut inner = self.lock();
        match inner.arbiter.join() {
            Some(id) => Ok(Membership { limiter: Arc::clone(self), id }),
            None => Err(inner.arbiter.open()),
        }
    }

    pub(crate) fn status(&self) -> TotalConnections {
        let inner = self.lock();
        TotalConnections { taken: inner.arbiter.taken(), limit: self.limit.max_total_connections, nodes: inner.arbiter.open() }
    }

    fn lock(&self) -> MutexGuard<'_, LimiterInner> {
        // Only a broken invariant panics under the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Membership {
    /// Takes what the node has and would have, and returns what it may have. `wake` takes the drivers that have a new quota, to
    /// be woken once all locks are open.
    pub(crate) fn report(&self, demand: Demand, mut wake: impl FnMut(Waker)) -> Quota {
        let mut inner = self.limiter.lock();
        let answer = inner.arbiter.report(self.id, demand);
        for id in answer.nudged {
            // One that is not there has been woken already, or looks before it sleeps.
            if let Some(driver) = inner.drivers.remove(&id) {
                wake(driver);
            }
        }
        answer.quota
    }

    /// The driver is about to look for news and is to be woken when there is more; the waker that was noted before is to be
    /// dropped once all locks are open.
    pub(crate) fn listen(&self, driver: Waker) -> Option<Waker> {
        self.limiter.lock().drivers.insert(self.id, driver)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut inner = self.limiter.lock();
        let own = inner.drivers.remove(&self.id);
        let nudged = inner.arbiter.leave(self.id);
        let woken: Vec<_> = nudged.iter().filter_map(|id| inner.drivers.remove(id)).collect();
        drop(inner);
        discard(own);
        woken.into_iter().for_each(wake);
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership").field("id", &self.id).finish_non_exhaustive()
    }
}
