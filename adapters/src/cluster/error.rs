//! Why a cluster cannot be used.

use redis::RedisError;

use crate::redis_node::Secrets;

/// Why a cluster cannot be used, or a node of it told nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterError {
    #[error("{address} does not say what the cluster is: {error}")]
    NoAnswer { address: String, error: String },
    #[error("{address} is not a node of a cluster: {error}")]
    NotACluster { address: String, error: String },
    #[error("{address} refuses: {error}")]
    Refused { address: String, error: String },
    #[error("every connection to {address} is on loan")]
    Busy { address: String },
    #[error("{address} answers CLUSTER NODES with what cannot be read")]
    Unreadable { address: String },
    #[error("no node of the cluster is known")]
    NoNode,
    #[error("those that answer know of no slots")]
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
            false => Self::NoAnswer { address, error },
        }
    }

    /// Of a node that could not be connected to; its pools tell no more than words.
    pub(crate) fn of_connecting(address: &str, error: String) -> Self {
        let address = String::from(address);
        let refused = ["Password authentication failed", "AuthenticationFailed", "WRONGPASS", "NOAUTH"];
        match refused.iter().any(|words| error.contains(words)) {
            true => Self::Refused { address, error },
            false => Self::NoAnswer { address, error },
        }
    }

    /// Whether another attempt must fail the same way until something is changed.
    pub(crate) fn is_permanent(&self) -> bool {
        matches!(self, Self::NotACluster { .. } | Self::Refused { .. })
    }
}
