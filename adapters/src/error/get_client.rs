//! Why there is no client.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use redis_manager_core::{AcquireError, LastError, Snapshot, WaitPhase};

use crate::error::FailureKind;
use crate::error::connect_failure::is_permanent;

/// Why a caller got no client. Nothing was sent.
///
/// Nodes are named by their URLs, passwords hidden. [`source`](Error::source) is the [`ConnectFailure`](crate::ConnectFailure)
/// of the last failed dial, if there was one. `?` converts the error into a [`redis::RedisError`];
/// [`RedisErrorExt`](crate::RedisErrorExt) gives the same answers for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GetClientError {
    /// The node was never added, or has been closed.
    UnknownNode {
        /// The requested node, password hidden.
        node: String,
    },
    /// The node is down.
    NoHealthyPools {
        /// The node, password hidden.
        node: String,
        /// How long the caller waited.
        waited: Duration,
        /// The state of the pools at that time.
        seen: Snapshot,
        /// The last error of a dial or check, if there was one.
        last_error: Option<LastError>,
    },
    /// The deadline passed before there was a connection.
    Timeout {
        /// The node, password hidden.
        node: String,
        /// What the caller was waiting for at the deadline.
        phase: WaitPhase,
        /// How long the caller waited.
        waited: Duration,
        /// The state of the pools at that time.
        seen: Snapshot,
        /// The last error of a dial or check, if there was one.
        last_error: Option<LastError>,
    },
    /// The queue of the node is full (`max_waiters`).
    Saturated {
        /// The node, password hidden.
        node: String,
        /// Callers in the queue.
        waiting: usize,
    },
    /// The owner of a key has no pools: `max_total_connections` is too small to reserve connections for it.
    NoFloorLeft {
        /// The node that was to be added.
        node: String,
        /// Number of nodes.
        nodes: usize,
        /// The setting: connections reserved for each node.
        min_connections_per_node: usize,
        /// The setting: connections of all nodes together at most.
        max_total_connections: usize,
    },
    /// No node of the cluster owns the slot of the key.
    NoOwner {
        /// The name of the cluster.
        node: String,
        /// The slot, 0 to 16 383.
        slot: u16,
    },
    /// No replica of the primary is fit to be read from.
    NoReplica {
        /// The name of the primary.
        node: String,
        /// How long the caller waited.
        waited: Duration,
        /// Each replica with the reason why it is not read from.
        why: String,
    },
    /// The pools were closed.
    Closed {
        /// The node, password hidden.
        node: String,
    },
    /// The runtime of the manager has ended. The manager cannot be used any more: make a new one on a running runtime.
    RuntimeEnded {
        /// The node, password hidden.
        node: String,
    },
}

impl GetClientError {
    /// The category of the error.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::NoHealthyPools { last_error, .. } | Self::Timeout { phase: WaitPhase::DialsFailing, last_error, .. } => {
                FailureKind::of_last_error(last_error.as_ref())
            }
            Self::Timeout { .. } => FailureKind::Timeout,
            Self::UnknownNode { .. } => FailureKind::UnknownNode,
            Self::Saturated { .. } => FailureKind::Saturated,
            Self::NoFloorLeft { .. } => FailureKind::Configuration,
            Self::NoOwner { .. } | Self::NoReplica { .. } => FailureKind::NotReady,
            Self::Closed { .. } => FailureKind::Closed,
            Self::RuntimeEnded { .. } => FailureKind::RuntimeEnded,
        }
    }

    /// Whether the same call may succeed later without a change of settings or code. False for a wrong password, an unknown
    /// node and closed pools.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NoHealthyPools { last_error, .. } | Self::Timeout { last_error, .. } => !is_permanent(last_error.as_ref()),
            Self::Saturated { .. } | Self::NoOwner { .. } | Self::NoReplica { .. } => true,
            Self::UnknownNode { .. } | Self::NoFloorLeft { .. } | Self::Closed { .. } | Self::RuntimeEnded { .. } => false,
        }
    }

    /// Whether the server is the cause: it cannot be reached, rejects the connection, or cannot serve now. False if all clients
    /// are on loan, for an unknown node and for closed pools.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::NoHealthyPools { .. } | Self::NoOwner { .. } | Self::NoReplica { .. } => true,
            Self::Timeout { phase, .. } => *phase == WaitPhase::DialsFailing,
            Self::UnknownNode { .. }
            | Self::Saturated { .. }
            | Self::NoFloorLeft { .. }
            | Self::Closed { .. }
            | Self::RuntimeEnded { .. } => false,
        }
    }

    /// The node, password hidden.
    #[must_use]
    pub fn node(&self) -> &str {
        match self {
            Self::UnknownNode { node }
            | Self::NoHealthyPools { node, .. }
            | Self::Timeout { node, .. }
            | Self::Saturated { node, .. }
            | Self::NoFloorLeft { node, .. }
            | Self::NoOwner { node, .. }
            | Self::NoReplica { node, .. }
            | Self::Closed { node }
            | Self::RuntimeEnded { node } => node,
        }
    }

    fn last_error(&self) -> Option<&LastError> {
        match self {
            Self::NoHealthyPools { last_error, .. } | Self::Timeout { last_error, .. } => last_error.as_ref(),
            Self::UnknownNode { .. }
            | Self::Saturated { .. }
            | Self::NoFloorLeft { .. }
            | Self::NoOwner { .. }
            | Self::NoReplica { .. }
            | Self::Closed { .. }
            | Self::RuntimeEnded { .. } => None,
        }
    }
}

impl Error for GetClientError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.last_error().and_then(LastError::source)
    }
}

/// The text of the core, except for variants that only Redis has.
impl fmt::Display for GetClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = match self.clone() {
            Self::UnknownNode { node } => {
                return write!(f, "unknown node {node}: it was never added (add_node_pool), or has been closed");
            }
            Self::NoOwner { node, slot } => return write!(f, "no node of the cluster {node} owns slot {slot}"),
            Self::NoReplica { node, waited, why } => {
                return write!(f, "no replica of {node} is fit to be read from, after {waited:?}: {why}");
            }
            Self::NoHealthyPools { node, waited, seen, last_error } => {
                AcquireError::NoHealthyPools { node, waited, seen, last_error }
            }
            Self::Timeout { node, phase, waited, seen, last_error } => {
                AcquireError::Timeout { node, phase, waited, seen, last_error }
            }
            Self::Saturated { node, waiting } => AcquireError::Saturated { node, waiting },
            Self::NoFloorLeft { node, nodes, min_connections_per_node, max_total_connections } => {
                AcquireError::NoFloorLeft { node, nodes, min_connections_per_node, max_total_connections }
            }
            Self::Closed { node } => AcquireError::Closed { node },
            Self::RuntimeEnded { node } => AcquireError::RuntimeEnded { node },
        };
        said.fmt(f)
    }
}

/// The only place where errors of the core become errors of users.
impl From<AcquireError> for GetClientError {
    fn from(error: AcquireError) -> Self {
        match error {
            AcquireError::UnknownNode { node } => Self::UnknownNode { node },
            AcquireError::NoHealthyPools { node, waited, seen, last_error } => {
                Self::NoHealthyPools { node, waited, seen, last_error }
            }
            AcquireError::Timeout { node, phase, waited, seen, last_error } => {
                Self::Timeout { node, phase, waited, seen, last_error }
            }
            AcquireError::Saturated { node, waiting } => Self::Saturated { node, waiting },
            AcquireError::NoFloorLeft { node, nodes, min_connections_per_node, max_total_connections } => {
                Self::NoFloorLeft { node, nodes, min_connections_per_node, max_total_connections }
            }
            AcquireError::RuntimeEnded { node } => Self::RuntimeEnded { node },
            AcquireError::Closed { node } => Self::Closed { node },
            // Both packages have one version: there are no other variants.
            other => Self::Closed { node: String::from(other.node()) },
        }
    }
}
