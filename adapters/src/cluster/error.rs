//! Why a cluster cannot be used.

use redis::RedisError;

use crate::error::{ConnectFailure, FailureKind};
use crate::redis_node::Secrets;

/// Why a cluster cannot be used, or why a node of it gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterError {
    #[error("{address} did not report the topology: {error}")]
    NoAnswer { address: String, error: String, kind: FailureKind },
    #[error("{address} is not a node of a cluster: {error}")]
    NotACluster { address: String, error: String },
    #[error("{address} refuses: {error}")]
    Refused { address: String, error: String, kind: FailureKind },
    #[error("every connection to {address} is on loan")]
    Busy { address: String },
    #[error("{address} sent an unreadable reply to CLUSTER NODES")]
    Unreadable { address: String },
    #[error("no node of the cluster is known")]
    NoNode,
    #[error("the nodes that answered report no slots")]
    NoSlots,
    #[error("{uncovered} slots of the cluster have no owner, and require_full_coverage is set")]
    Uncovered { uncovered: usize },
    #[error("no primary of the cluster can be reached")]
    AllDown,
    #[error("cannot make a cluster connection: {0}")]
    Redis(#[source] RedisError),
}

impl ClusterError {
    pub(crate) fn of_reply(address: &str, error: &RedisError, secrets: &Secrets) -> Self {
        let (address, text) = (String::from(address), error.to_string());
        let error = secrets.clean(&text);
        match text.contains("cluster support disabled") || text.contains("unknown command") {
            true => Self::NotACluster { address, error },
            false => Self::NoAnswer { address, error, kind: FailureKind::NotReady },
        }
    }

    /// Of a node that could not be connected to.
    pub(crate) fn of_connecting(address: &str, error: String, kind: FailureKind) -> Self {
        let address = String::from(address);
        match kind == FailureKind::Authentication {
            true => Self::Refused { address, error, kind },
            false => Self::NoAnswer { address, error, kind },
        }
    }

    /// The error for the pools of the cluster.
    pub(crate) fn to_connect_failure(&self) -> ConnectFailure {
        ConnectFailure::new(self.to_string(), self.kind(), self.is_permanent())
    }

    fn kind(&self) -> FailureKind {
        match self {
            Self::NoAnswer { kind, .. } | Self::Refused { kind, .. } => *kind,
            Self::NotACluster { .. } | Self::Unreadable { .. } => FailureKind::Protocol,
            Self::NoNode | Self::NoSlots | Self::Uncovered { .. } => FailureKind::NotReady,
            Self::Busy { .. } | Self::AllDown | Self::Redis(_) => FailureKind::Unavailable,
        }
    }

    /// Whether every further attempt fails the same way until a setting or the server is changed.
    pub(crate) fn is_permanent(&self) -> bool {
        matches!(self, Self::NotACluster { .. } | Self::Refused { .. })
    }
}
