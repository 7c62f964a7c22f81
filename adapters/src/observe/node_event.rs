//! What a reader of events gets: an event with its node, or how many it has missed.

use std::fmt;
use std::sync::Arc;

use redis_manager_core::Event;

/// One thing that has happened in a node. [`EventReader`](crate::EventReader) returns it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct NodeEvent {
    /// The URL of the node, password hidden; the name of a cluster; `host:port` for a node of a cluster. The same names as in
    /// [`fetch_pool_status`](crate::RedisManager::fetch_pool_status).
    pub node: Arc<str>,
    /// What has happened. Errors in it contain no password.
    pub event: Event,
}

/// `redis://localhost: health: up -> suspect: connection refused`
impl fmt::Display for NodeEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.node, self.event)
    }
}

/// A reader of events was too slow: so many events were overwritten before it read them. The next read returns the oldest event
/// that is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[error("{count} events were overwritten before they were read")]
#[non_exhaustive]
pub struct MissedEvents {
    /// How many, at least 1. The number is exact.
    pub count: u64,
}

impl MissedEvents {
    pub(super) fn new(count: u64) -> Self {
        Self { count }
    }
}

impl NodeEvent {
    pub(super) fn new(node: Arc<str>, event: Event) -> Self {
        Self { node, event }
    }
}
