//! Why a cluster cannot be used.

use std::sync::Arc;

use redis::RedisError;
use redis_manager_core::{DialFailureKind, LastError};

use crate::deployment::cluster::state::report::ReportFault;
use crate::error::{ConnectFailure, FailureKind};
use crate::redis_node::parts::Secrets;

/// Why a cluster cannot be used, or why a node of it gave no usable answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ClusterError {
    #[error("{address} did not report the topology: {error}")]
    NoAnswer { address: String, error: String, kind: FailureKind },
    #[error("{address} is not a node of a cluster: {error}")]
    NotACluster { address: String, error: String },
    #[error("{address} refuses: {error}")]
    Refused { address: String, error: String, kind: FailureKind },
    #[error("every connection to {address} is on loan")]
    Busy { address: String },
    #[error("{address} reports an unusable topology: {fault}")]
    Unusable { address: String, fault: ReportFault },
    #[error("no node of the cluster is known")]
    NoNode,
    #[error("no node of the cluster has answered yet")]
    NotAskedYet,
    #[error("the nodes that answered report no slots")]
    NoSlots,
    #[error("{uncovered} slots of the cluster have no owner")]
    Uncovered { uncovered: usize },
    #[error("{slots} slots of the cluster have no owner that answers: {}", primaries.join(", "))]
    OwnersFail { primaries: Vec<String>, slots: usize },
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

    /// As the last error of the cluster.
    pub(crate) fn to_last_error(&self) -> LastError {
        let failure = ConnectFailure::new(self.to_string(), self.kind(), self.is_permanent());
        let kind = if self.is_permanent() { DialFailureKind::Permanent } else { DialFailureKind::Passing };
        LastError::new(Arc::from(self.to_string()), Some(kind), Some(Arc::new(failure)))
    }

    fn kind(&self) -> FailureKind {
        match self {
            Self::NoAnswer { kind, .. } | Self::Refused { kind, .. } => *kind,
            Self::NotACluster { .. } | Self::Unusable { .. } => FailureKind::Protocol,
            Self::NoNode | Self::NotAskedYet | Self::NoSlots | Self::Uncovered { .. } => FailureKind::NotReady,
            Self::Busy { .. } | Self::OwnersFail { .. } => FailureKind::Unavailable,
        }
    }

    /// Whether every further attempt fails the same way until a setting or the server is changed.
    pub(crate) fn is_permanent(&self) -> bool {
        matches!(self, Self::NotACluster { .. } | Self::Refused { .. })
    }
}
