//! Why a node was not added.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use redis_manager_core::{AcquireError, ConfigError, LastError, Snapshot, WaitPhase};

use crate::error::connect_failure::is_permanent;
use crate::error::{FailureKind, GetClientError};

/// Why a node was not added. Nothing of the node is left behind; it may be added again.
///
/// [`source`](Error::source) is the [`ConnectFailure`](crate::ConnectFailure) of the last failed dial, if there was one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddNodeError {
    /// The URL is not that of a Redis node, or its TLS cannot be set up: the feature `tls-rustls` is off, `#insecure` is not
    /// allowed, or this machine has no root certificates.
    InvalidUrl {
        /// The URL, password hidden.
        node: String,
        /// What is wrong with the URL.
        reason: String,
    },
    /// A setting of a cluster or of a primary behind sentinels cannot be used, or one of the addresses given for it.
    InvalidSetting {
        /// The name under which it was to be added, password hidden.
        node: String,
        /// Names the setting, its value and what it may be.
        error: ConfigError,
    },
    /// The pools were not warm by the deadline, or the server rejected the connection permanently.
    NoHealthyPools {
        /// The node, password hidden.
        node: String,
        /// How long the call waited.
        waited: Duration,
        /// The state of the pools at that time.
        seen: Snapshot,
        /// The last error of a dial or check, if there was one.
        last_error: Option<LastError>,
    },
    /// `max_total_connections` is too small to reserve `min_connections_per_node` for one more node.
    NoFloorLeft {
        /// The node, password hidden.
        node: String,
        /// Number of nodes.
        nodes: usize,
        /// The setting: connections reserved for each node.
        min_connections_per_node: usize,
        /// The setting: connections of all nodes together at most.
        max_total_connections: usize,
    },
    /// Other nodes held all of `max_total_connections`, and no connection became free by the deadline.
    NothingLeft {
        /// The node, password hidden.
        node: String,
        /// What the call was waiting for at the deadline.
        phase: WaitPhase,
        /// How long the call waited.
        waited: Duration,
        /// The state of the pools at that time.
        seen: Snapshot,
    },
    /// The manager was closed, or this node was closed while it was being added.
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

impl AddNodeError {
    /// Converts the error of the wait for warm pools.
    pub(crate) fn from_wait(error: AcquireError, node: String) -> Self {
        Self::from_get(error.into(), node)
    }

    pub(crate) fn from_get(error: GetClientError, node: String) -> Self {
        match error {
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
            | GetClientError::NoReplica { .. }
            | GetClientError::Closed { .. } => Self::Closed { node },
        }
    }

    /// The category of the error.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::InvalidUrl { .. } | Self::InvalidSetting { .. } | Self::NoFloorLeft { .. } => FailureKind::Configuration,
            Self::NoHealthyPools { last_error, .. } => FailureKind::of_last_error(last_error.as_ref()),
            Self::NothingLeft { .. } => FailureKind::Timeout,
            Self::Closed { .. } => FailureKind::Closed,
            Self::RuntimeEnded { .. } => FailureKind::RuntimeEnded,
        }
    }

    /// Whether the same call may succeed later without a change of settings or code.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NoHealthyPools { last_error, .. } => !is_permanent(last_error.as_ref()),
            Self::NothingLeft { .. } => true,
            Self::InvalidUrl { .. }
            | Self::InvalidSetting { .. }
            | Self::NoFloorLeft { .. }
            | Self::Closed { .. }
            | Self::RuntimeEnded { .. } => false,
        }
    }

    /// Whether the server is the cause: it cannot be reached, rejects the connection, or cannot serve now.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::NoHealthyPools { .. } => true,
            Self::InvalidUrl { .. }
            | Self::InvalidSetting { .. }
            | Self::NoFloorLeft { .. }
            | Self::NothingLeft { .. }
            | Self::Closed { .. }
            | Self::RuntimeEnded { .. } => false,
        }
    }

    /// The node, password hidden.
    #[must_use]
    pub fn node(&self) -> &str {
        match self {
            Self::InvalidUrl { node, .. }
            | Self::InvalidSetting { node, .. }
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
            Self::InvalidSetting { error, .. } => Some(error),
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
            Self::InvalidSetting { node, error } => write!(f, "{node} was not added: {error}"),
            Self::InvalidUrl { node, reason } => write!(f, "invalid node URL {node}: {reason}"),
            Self::NoHealthyPools { node, waited, seen, last_error } => {
                last_error.iter().try_for_each(|error| write!(f, "{error}; "))?;
                write!(f, "no healthy pools for {node}: waited {} ms; {seen}", waited.as_millis())
            }
            Self::NoFloorLeft { node, nodes, min_connections_per_node, max_total_connections } => write!(
                f,
                "{node} was not added: max_total_connections is {max_total_connections}, and min_connections_per_node is \
                 {min_connections_per_node} for each of {nodes} nodes"
            ),
            Self::NothingLeft { node, phase, waited, seen } => {
                write!(f, "{phase}; {node} was not added: waited {} ms; {seen}", waited.as_millis())
            }
            Self::Closed { node } => write!(f, "{node} was not added: its pools were closed"),
            Self::RuntimeEnded { node } => write!(f, "{node} was not added: the runtime of its manager has ended"),
        }
    }
}
