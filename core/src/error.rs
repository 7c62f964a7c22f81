//! The error of a call for a connection, with the numbers.

use std::time::Duration;

use crate::state::{Snapshot, WaitFailure, WaitPhase};
use crate::total_limit::TotalLimit;

/// Why a caller got no connection.
///
/// Nodes are named by [`Connector::name`](crate::Connector::name), which hides passwords; one that is unknown, or was asked for
/// after the manager was closed, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GetClientError {
    /// The node was never added, or has been closed.
    #[error("unknown node {node}: add it with add_node_pool first")]
    UnknownNode {
        /// The node that was asked for.
        node: String,
    },
    /// The node is down.
    #[error("no healthy pools for {node}: waited {waited:?}; {seen}; last error: {}", last_error.as_deref().unwrap_or("none"))]
    NoHealthyPools {
        /// Which node.
        node: String,
        /// How long the caller waited.
        waited: Duration,
        /// What the pools looked like then.
        seen: Snapshot,
        /// The last error of a dial or check.
        last_error: Option<Box<str>>,
    },
    /// The deadline came before a connection.
    #[error("no connection to {node} in time: waited {waited:?}; {phase}; {seen}; last error: {}", last_error.as_deref().unwrap_or("none"))]
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
        last_error: Option<Box<str>>,
    },
    /// The queue of the node is full.
    #[error("the queue of {node} is full: {waiting} callers wait already (max_waiters)")]
    Saturated {
        /// Which node.
        node: String,
        /// How many wait.
        waiting: usize,
    },
    /// The node was not added: the limit of all nodes together leaves no floor for it.
    #[error(
        "no room for {node}: {nodes} nodes have a claim to min_connections_per_node, which is {min_connections_per_node}, \
         and max_total_connections is {max_total_connections}"
    )]
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
    #[error("the pools of {node} are closed")]
    Closed {
        /// Which node.
        node: String,
    },
    /// The runtime that the pool lived on has ended before the pool was closed. Nothing works any more: make a new manager
    /// on a runtime that is running.
    #[error("the runtime that the pools of {node} lived on has ended")]
    RuntimeEnded {
        /// Which node.
        node: String,
    },
}

impl GetClientError {
    pub(crate) fn no_floor_left(node: String, nodes: usize, limit: TotalLimit) -> Self {
        let TotalLimit { max_total_connections, min_connections_per_node } = limit;
        Self::NoFloorLeft { node, nodes, min_connections_per_node, max_total_connections }
    }

    pub(crate) fn timeout(node: String, failure: WaitFailure) -> Self {
        let WaitFailure { waited, phase, seen, last_error } = failure;
        Self::Timeout { node, phase, waited, seen, last_error: last_error.map(|text| Box::from(&*text)) }
    }

    pub(crate) fn down(node: String, failure: WaitFailure) -> Self {
        let WaitFailure { waited, phase: _, seen, last_error } = failure;
        Self::NoHealthyPools { node, waited, seen, last_error: last_error.map(|text| Box::from(&*text)) }
    }
}
