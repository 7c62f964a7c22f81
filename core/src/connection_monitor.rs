//! The monitor of a connection: how a connector reports to the pool what happens between two calls.

use std::fmt;
use std::sync::Weak;

use crate::state::ConnId;

/// Reports to the pool what a connector learns by the way: that a connection is dead, that the node is not ready, that another
/// server has taken its place. Given to [`Connector::watch`](crate::Connector::watch).
///
/// It may be used from any thread, at any time, also long after the connection or the pool is gone.
#[derive(Clone)]
pub struct ConnectionMonitor {
    target: Weak<dyn MonitorTarget>,
    id: ConnId,
}

impl ConnectionMonitor {
    pub(crate) fn new(target: Weak<dyn MonitorTarget>, id: ConnId) -> Self {
        Self { target, id }
    }

    /// The connection is dead: an idle one is closed and replaced at once, one on loan is closed on its return.
    pub fn closed(self) {
        if let Some(target) = self.target.upgrade() {
            target.died(self.id, None);
        }
    }

    /// The same, for a reason in words, which must hold no secret: they become the node's last error.
    pub fn closed_because(self, why: &str) {
        if let Some(target) = self.target.upgrade() {
            target.died(self.id, Some(why));
        }
    }

    /// The node has said that it is not ready, in the words of `why`, which must hold no secret: its connections are
    /// checked before they are lent again, and a dial finds out how it is.
    pub fn suspect(&self, why: &str) {
        if let Some(target) = self.target.upgrade() {
            target.distrusted(self.id, why);
        }
    }

    /// The server at the other end is no longer the one that is wanted: all connections that were made before now are
    /// replaced, idle ones at once, those on loan when they come back. Words of connections that are being replaced
    /// already, and more than one a second, change nothing.
    pub fn failed_over(&self, why: &str) {
        if let Some(target) = self.target.upgrade() {
            target.outdated(self.id, why);
        }
    }
}

impl fmt::Debug for ConnectionMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionMonitor").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a monitor reports to: the node of the connection.
pub(crate) trait MonitorTarget: Send + Sync {
    fn died(&self, id: ConnId, why: Option<&str>);
    fn distrusted(&self, id: ConnId, why: &str);
    fn outdated(&self, id: ConnId, why: &str);
}
