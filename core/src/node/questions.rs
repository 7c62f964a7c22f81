//! What is asked of a node and changes nothing: its status, its metrics, how a connection is.

use std::time::Duration;

use super::Node;
use crate::connector::Connector;
#[cfg(feature = "testing")]
use crate::state::{CheckerCounts, Coverage};
use crate::state::{ConnId, NodeMetrics, NodeStatus};

impl<K: Connector> Node<K> {
    pub(crate) fn status(&self) -> NodeStatus {
        let now = self.runtime.now();
        self.inner.lock().state().status(now)
    }

    pub(crate) fn metrics(&self) -> NodeMetrics {
        let now = self.runtime.now();
        self.inner.lock().state().metrics(now)
    }

    pub(crate) fn status_and_metrics(&self) -> (NodeStatus, NodeMetrics) {
        let now = self.runtime.now();
        let inner = self.inner.lock();
        (inner.state().status(now), inner.state().metrics(now))
    }

    /// The counts of the node, for checkers that look at every step.
    #[cfg(feature = "testing")]
    pub(crate) fn counts(&self) -> CheckerCounts {
        self.inner.lock().state().counts()
    }

    /// The same with its metrics.
    #[cfg(feature = "testing")]
    pub(crate) fn counts_and_metrics(&self) -> (CheckerCounts, NodeMetrics) {
        let now = self.runtime.now();
        let inner = self.inner.lock();
        (inner.state().counts(), inner.state().metrics(now))
    }

    #[cfg(feature = "testing")]
    pub(crate) fn coverage(&self) -> Coverage {
        self.inner.lock().state().coverage()
    }

    /// How old a connection is; nothing if it is gone.
    pub(crate) fn age_of(&self, id: ConnId) -> Duration {
        let born_at = self.inner.lock().state().born_at(id);
        born_at.map_or(Duration::ZERO, |born_at| self.runtime.now().saturating_duration_since(born_at))
    }

    pub(crate) fn is_retired(&self, id: ConnId) -> bool {
        self.inner.lock().state().is_retired(id)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.inner.lock().state().is_open()
    }
}
