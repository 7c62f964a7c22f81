//! Why there is no client.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use redis_manager_core::{AcquireError, LastError, Snapshot, WaitPhase};

use crate::error::FailureKind;
use crate::error::connect_failure::is_permanent;

/// Why a caller got no client. Nothing was sent.
///
/// Nodes are named by their URLs, passwords hidden. Its [`source`](Error::source) is the [`ConnectFailure`](crate::ConnectFailure)
/// of the last dial, where there is one. It turns into a [`redis::RedisError`] by `?`, which
/// [`RedisErrorExt`](crate::RedisErrorExt) asks the same questions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GetClientError {
    /// The node was never added, or has been closed.
    UnknownNode {
        /// The node that was asked for.
        node: String,
    },
    /// The node is down.
    NoHealthyPools {
        /// Which node.
        node: String,
        /// How long the caller waited.
        waited: Duration,
        /// What the pools looked like then.
        seen: Snapshot,
        /// The last error of a dial or check.
        last_error: Option<LastError>,
    },
    /// The deadline came before a connection.
    Timeout {
        /// Which node.
        node: String,
        /// What the caller was waiting for at the end.
        phase: WaitPhase,
        /// How long it waited.
        waited: Duration,
        /// What the pools looked like then.
        seen: Snapshot,
        /// The last error of a dial or check.
        last_error: Option<LastError>,
    },
    /// The queue of the node is full.
    Saturated {
        /// Which node.
        node: String,
        /// How many wait.
        waiting: usize,
    },
    /// The owner of a key has no pools: the limit of all nodes together leaves no floor for it.
    NoFloorLeft {
        /// The node that was to be added.
        node: String,
        /// How many nodes there are.
        nodes: usize,
        /// What each of them may always have.
        min_connections_per_node: usize,
        /// What all of them may have together.
        max_total_connections: usize,
    },
    /// No node of the cluster owns the slot of the key.
    NoOwner {
        /// The cluster.
        node: String,
        /// The slot.
        slot: u16,
    },
    /// The pools were closed.
    Closed {
        /// Which node.
        node: String,
    },
    /// The runtime of the manager has ended. Nothing works any more: make a new manager on a runtime that is running.
    RuntimeEnded {
        /// Which node.
        node: String,
    },
}

impl GetClientError {
    /// What went wrong.
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
            Self::NoOwner { .. } => FailureKind::NotReady,
            Self::Closed { .. } => FailureKind::Closed,
            Self::RuntimeEnded { .. } => FailureKind::RuntimeEnded,
        }
    }

    /// Whether the same call may succeed later although nothing is changed here: false for a wrong password, an unknown
    /// node, closed pools.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NoHealthyPools { last_error, .. } | Self::Timeout { last_error, .. } => !is_permanent(last_error.as_ref()),
            Self::Saturated { .. } | Self::NoOwner { .. } => true,
            Self::UnknownNode { .. } | Self::NoFloorLeft { .. } | Self::Closed { .. } | Self::RuntimeEnded { .. } => false,
        }
    }

    /// Whether the server is the reason: it cannot be reached, refuses, or cannot serve now. False if all clients are on loan,
    /// and for whatever the caller could have known.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::NoHealthyPools { .. } | Self::NoOwner { .. } => true,
            Self::Timeout { phase, .. } => *phase == WaitPhase::DialsFailing,
            Self::UnknownNode { .. }
            | Self::Saturated { .. }
            | Self::NoFloorLeft { .. }
            | Self::Closed { .. }
            | Self::RuntimeEnded { .. } => false,
        }
    }

    /// Which node, as it is named in errors and pictures.
    #[must_use]
    pub fn node(&self) -> &str {
        match self {
            Self::UnknownNode { node }
            | Self::NoHealthyPools { node, .. }
            | Self::Timeout { node, .. }
            | Self::Saturated { node, .. }
            | Self::NoFloorLeft { node, .. }
            | Self::NoOwner { node, .. }
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

/// The texts of the core's errors, but for those that only Redis has.
impl fmt::Display for GetClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = match self.clone() {
            Self::UnknownNode { node } => {
                return write!(f, "unknown node {node}: it was never added (add_node_pool), or has been closed");
            }
            Self::NoOwner { node, slot } => return write!(f, "no node of the cluster {node} owns slot {slot}"),
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

/// The one place where the core's errors become those of users.
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
            // Both packages have one version: there are no others.
            other => Self::Closed { node: String::from(other.node()) },
        }
    }
}
