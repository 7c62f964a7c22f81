//! The error of a call for a connection, with the numbers.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::last_error::LastError;
use crate::state::{Snapshot, WaitPhase};
use crate::total_limit::TotalLimit;

/// Why a caller got no connection.
///
/// Nodes are named by [`Connector::name`](crate::Connector::name), which hides passwords; one that is unknown, or was asked for
/// after the manager was closed, as it was asked for.
///
/// Its [`source`](Error::source) is the connector's error of the last failed dial, where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcquireError {
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
    /// The node was not added: the limit of all nodes together leaves no floor for it.
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
    /// The pool was closed.
    Closed {
        /// Which node.
        node: String,
    },
    /// The runtime that the pool lived on has ended before the pool was closed. Nothing works any more: make a new manager
    /// on a runtime that is running.
    RuntimeEnded {
        /// Which node.
        node: String,
    },
}

impl AcquireError {
    pub(crate) fn no_floor_left(node: String, nodes: usize, limit: TotalLimit) -> Self {
        let TotalLimit { max_total_connections, min_connections_per_node } = limit;
        Self::NoFloorLeft { node, nodes, min_connections_per_node, max_total_connections }
    }

    /// Which node.
    #[must_use]
    pub fn node(&self) -> &str {
        match self {
            Self::UnknownNode { node }
            | Self::NoHealthyPools { node, .. }
            | Self::Timeout { node, .. }
            | Self::Saturated { node, .. }
            | Self::NoFloorLeft { node, .. }
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
            | Self::Closed { .. }
            | Self::RuntimeEnded { .. } => None,
        }
    }
}

impl Error for AcquireError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.last_error().and_then(LastError::source)
    }
}

/// The cause first, then what was wanted, then the numbers.
impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownNode { node } => write!(f, "unknown node {node}: it was never added, or has been closed"),
            Self::NoHealthyPools { node, waited, seen, last_error } => {
                if let Some(error) = last_error {
                    write!(f, "{error}; ")?;
                }
                write!(f, "no healthy pools for {node}: waited {} ms; {seen}", waited.as_millis())
            }
            Self::Timeout { node, phase: WaitPhase::DialsFailing, waited, seen, last_error: Some(error) } => {
                let phase = WaitPhase::DialsFailing;
                write!(f, "{error}; {phase}, no connection to {node} in time: waited {} ms; {seen}", waited.as_millis())
            }
            Self::Timeout { node, phase, waited, seen, last_error } => {
                write!(f, "{phase}; no connection to {node} in time: waited {} ms; {seen}", waited.as_millis())?;
                last_error.iter().try_for_each(|error| write!(f, "; last error: {error}"))
            }
            Self::Saturated { node, waiting } => {
                write!(f, "the queue of {node} is full: {waiting} callers wait already (max_waiters)")
            }
            Self::NoFloorLeft { node, nodes, min_connections_per_node, max_total_connections } => write!(
                f,
                "no room for {node}: {nodes} nodes have a claim to min_connections_per_node, which is \
                 {min_connections_per_node}, and max_total_connections is {max_total_connections}"
            ),
            Self::Closed { node } => write!(f, "the pools of {node} are closed"),
            Self::RuntimeEnded { node } => write!(f, "the runtime that the pools of {node} lived on has ended"),
        }
    }
}
