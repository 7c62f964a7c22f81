//! Why a node was not added.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use redis_manager_core::{AcquireError, LastError, Snapshot, WaitPhase};

use crate::error::connect_failure::is_permanent;
use crate::error::{FailureKind, GetClientError};

/// Why a node was not added. Nothing of it is left behind; adding it again simply works.
///
/// Its [`source`](Error::source) is the [`ConnectFailure`](crate::ConnectFailure) of the last dial, where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddNodeError {
    /// The URL is not one of a Redis node, or asks for TLS that cannot be: the feature is off, `#insecure` is not allowed,
    /// this machine has no roots.
    InvalidUrl {
        /// The URL, password hidden.
        node: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The pools were not warm by the deadline, or the server refused for good.
    NoHealthyPools {
        /// Which node.
        node: String,
        /// How long the call waited.
        waited: Duration,
        /// What the pools looked like then.
        seen: Snapshot,
        /// The last error of a dial or check.
        last_error: Option<LastError>,
    },
    /// `max_total_connections` leaves no floor for one more node.
    NoFloorLeft {
        /// Which node.
        node: String,
        /// How many nodes there are.
        nodes: usize,
        /// What each of them may always have.
        min_connections_per_node: usize,
        /// What all of them may have together.
        max_total_connections: usize,
    },
    /// Other nodes had all of `max_total_connections`, and none of it came free by the deadline.
    NothingLeft {
        /// Which node.
        node: String,
        /// What the call was waiting for at the end.
        phase: WaitPhase,
        /// How long the call waited.
        waited: Duration,
        /// What the pools looked like then.
        seen: Snapshot,
    },
    /// The manager was closed, or this node while it was being added.
    Closed {
        /// Which node.
        node: String,
    },
    /// The runtime that the manager was built on has ended. Nothing works any more: make a new manager on a runtime that is
    /// running.
    RuntimeEnded {
        /// Which node.
        node: String,
    },
}

impl AddNodeError {
    /// What ended the wait for warm pools, as the caller of an add gets it.
    pub(crate) fn from_wait(error: AcquireError, node: String) -> Self {
        match GetClientError::from(error) {
            GetClientError::Timeout { node, waited, seen, phase: phase @ WaitPhase::TotalLimit, .. } => {
                Self::NothingLeft { node, phase, waited, seen }
            }
            GetClientError::NoFloorLeft { node, nodes, min_connections_per_node, max_total_connections } => {
                Self::NoFloorLeft { node, nodes, min_connections_per_node, max_total_connections }
            }
            GetClientError::NoHealthyPools { node, waited, seen, last_error }
            | GetClientError::Timeout { node, waited, seen, last_error, phase: _ } => {
                Self::NoHealthyPools { node, waited, seen, last_error }
            }
            GetClientError::RuntimeEnded { .. } => Self::RuntimeEnded { node },
            GetClientError::UnknownNode { .. }
            | GetClientError::Saturated { .. }
            | GetClientError::NoOwner { .. }
            | GetClientError::Closed { .. } => Self::Closed { node },
        }
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::InvalidUrl { .. } | Self::NoFloorLeft { .. } => FailureKind::Configuration,
            Self::NoHealthyPools { last_error, .. } => FailureKind::of_last_error(last_error.as_ref()),
            Self::NothingLeft { .. } => FailureKind::Timeout,
            Self::Closed { .. } => FailureKind::Closed,
            Self::RuntimeEnded { .. } => FailureKind::RuntimeEnded,
        }
    }

    /// Whether the same call may succeed later although nothing is changed here.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NoHealthyPools { last_error, .. } => !is_permanent(last_error.as_ref()),
            Self::NothingLeft { .. } => true,
            Self::InvalidUrl { .. } | Self::NoFloorLeft { .. } | Self::Closed { .. } | Self::RuntimeEnded { .. } => false,
        }
    }

    /// Whether the server is the reason: it cannot be reached, refuses, or cannot serve now.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::NoHealthyPools { .. } => true,
            Self::InvalidUrl { .. }
            | Self::NoFloorLeft { .. }
            | Self::NothingLeft { .. }
            | Self::Closed { .. }
            | Self::RuntimeEnded { .. } => false,
        }
    }

    /// Which node, password hidden.
    #[must_use]
    pub fn node(&self) -> &str {
        match self {
            Self::InvalidUrl { node, .. }
            | Self::NoHealthyPools { node, .. }
            | Self::NoFloorLeft { node, .. }
            | Self::NothingLeft { node, .. }
            | Self::Closed { node }
            | Self::RuntimeEnded { node } => node,
        }
    }
}

impl Error for AddNodeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NoHealthyPools { last_error, .. } => last_error.as_ref().and_then(LastError::source),
            Self::InvalidUrl { .. }
            | Self::NoFloorLeft { .. }
            | Self::NothingLeft { .. }
            | Self::Closed { .. }
            | Self::RuntimeEnded { .. } => None,
        }
    }
}

/// The cause first, then the node, then the numbers.
impl fmt::Display for AddNodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidUrl { node, reason } => write!(f, "invalid node URL {node}: {reason}"),
            Self::NoHealthyPools { node, waited, seen, last_error } => {
                last_error.iter().try_for_each(|error| write!(f, "{error}; "))?;
                write!(f, "no healthy pools for {node}: waited {} ms; {seen}", waited.as_millis())
            }
            Self::NoFloorLeft { node, nodes, min_connections_per_node, max_total_connections } => write!(
                f,
                "{node} was not added: {nodes} nodes have a claim to min_connections_per_node, which is \
                 {min_connections_per_node}, and max_total_connections is {max_total_connections}"
            ),
            Self::NothingLeft { node, phase, waited, seen } => {
                write!(f, "{phase}; {node} was not added: waited {} ms; {seen}", waited.as_millis())
            }
            Self::Closed { node } => write!(f, "{node} was not added: its pools were closed"),
            Self::RuntimeEnded { node } => write!(f, "{node} was not added: the runtime of its manager has ended"),
        }
    }
}
