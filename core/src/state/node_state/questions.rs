//! What is asked of a node's state: whether there is something to do, and what is true of a connection or of the pool.

use super::NodeState;
use crate::state::closing::Lifecycle;
use crate::state::ids::ConnId;
use crate::state::wait_queue::WaitKind;
use crate::time::Instant;

impl<C> NodeState<C> {
    /// Whether there is something to do.
    #[must_use]
    pub fn has_actions(&self) -> bool {
        self.outbox.has_actions()
    }

    /// Whether there is something to observe.
    #[must_use]
    #[inline]
    pub fn has_events(&self) -> bool {
        self.outbox.has_events()
    }

    /// After [`take_idle`](Self::take_idle): whether a dial is wanted, so that `min_idle` connections idle again. A `Tick`
    /// orders it. Mostly no: enough idle.
    #[must_use]
    #[inline]
    pub fn lacks_idle(&self) -> bool {
        self.connections.idle() < self.idle_wanted && self.is_idle_wanted()
    }

    #[cold]
    fn is_idle_wanted(&self) -> bool {
        let at_start = self.config.connection_pools_per_node_at_start();
        self.connections.shortfall(at_start, self.config.min_idle()) > 0
    }

    /// Whether a caller waits for a connection.
    #[must_use]
    pub fn has_waiters(&self) -> bool {
        !self.queue.is_empty(WaitKind::Loan)
    }

    /// After [`take_idle`](Self::take_idle): whether its lease is to be timed; if so, [`begin_use`](Self::begin_use) follows.
    #[must_use]
    #[inline]
    pub fn wants_use_timed(&self) -> bool {
        self.outbox.metrics().is_use_timed()
    }

    /// Whether the lease of a connection is timed; before it comes back by [`put_back`](Self::put_back) it then ends by
    /// [`end_use`](Self::end_use).
    #[must_use]
    pub fn is_use_timed(&self, id: ConnId) -> bool {
        self.connections.get(id).is_some_and(|meta| meta.lent_at().is_some())
    }

    /// Whether a connection will be closed when it comes back.
    #[must_use]
    pub fn is_retired(&self, id: ConnId) -> bool {
        !self.closes.is_open() || self.connections.get(id).is_none_or(|meta| meta.retire().is_some())
    }

    /// When the dial of a connection has succeeded; None if the connection is gone.
    #[must_use]
    pub fn born_at(&self, id: ConnId) -> Option<Instant> {
        self.connections.get(id).map(|meta| meta.born_at())
    }

    /// Whether the pool still lends.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.closes.is_open()
    }

    /// Whether the pool is closed and nothing of it is left.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.closes.lifecycle() == Lifecycle::Closed && !self.outbox.has_actions()
    }

    /// The rare turns that were taken so far.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn coverage(&self) -> crate::state::coverage::Coverage {
        self.outbox.coverage()
    }
}
