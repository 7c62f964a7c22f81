//! Why a node could not be added, and why a connect failed.

use std::io;

use redis_manager_core::{GetClientError, Snapshot, WaitPhase};

use crate::redis_node::secrets::Secrets;
use crate::redis_node::tls::TlsError;

/// Why a node was not added. Nothing of it is left behind; adding it again simply works.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddNodeError {
    /// The URL is not one of a Redis node, or asks for TLS that cannot be: the feature is off, `#insecure` is not allowed,
    /// this machine has no roots.
    #[error("invalid node URL {node}: {reason}")]
    InvalidUrl {
        /// The URL, password hidden.
        node: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The pools were not warm by the deadline, or the server refused for good.
    #[error("no healthy pools for {node}: waited {waited:?}; {seen}; last error: {}", last_error.as_deref().unwrap_or("none"))]
    NoHealthyPools {
        /// Which node.
        node: String,
        /// How long the call waited.
        waited: std::time::Duration,
        /// What the pools looked like then.
        seen: Snapshot,
        /// The last error of a dial or check.
        last_error: Option<Box<str>>,
    },
    /// `max_total_connections` leaves no floor for one more node.
    #[error(
        "{node} was not added: {nodes} nodes have a claim to min_connections_per_node, which is {min_connections_per_node}, \
         and max_total_connections is {max_total_connections}"
    )]
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
    #[error("{node} was not added: waited {waited:?}; {phase}; {seen}")]
    NothingLeft {
        /// Which node.
        node: String,
        /// What the call was waiting for at the end.
        phase: WaitPhase,
        /// How long the call waited.
        waited: std::time::Duration,
        /// What the pools looked like then.
        seen: Snapshot,
    },
    /// The manager was closed, or this node while it was being added.
    #[error("{node} was not added: its pools were closed")]
    Closed {
        /// Which node.
        node: String,
    },
    /// The runtime that the manager was built on has ended. Nothing works any more: make a new manager on a runtime that is
    /// running.
    #[error("{node} was not added: the runtime of its manager has ended")]
    RuntimeEnded {
        /// Which node.
        node: String,
    },
}

impl AddNodeError {
    /// Whatever ended the wait for warm pools, as the caller of an add sees it.
    pub(crate) fn from_wait(error: GetClientError, node: String) -> Self {
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
            GetClientError::UnknownNode { .. } | GetClientError::Saturated { .. } | GetClientError::Closed { .. } | _ => {
                Self::Closed { node }
            }
        }
    }
}

/// Why a connect or a check failed, as the pool is told and users read it: what a server or a library had to say of it,
/// without our secrets.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
pub(crate) struct ConnectFailure {
    words: String,
    /// Whether another attempt must fail the same way until somebody changes something.
    pub(crate) is_permanent: bool,
}

/// Why a connect or a check failed, in the words of whoever said so: they may quote what we have sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("cannot look up {host}: {source}")]
    Resolve { host: String, source: io::Error },
    #[error("{host} has no address")]
    NoAddress { host: String },
    #[error("cannot connect to {address}: {source}")]
    Dial { address: String, source: io::Error },
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// To a port that wants TLS the first command is garbage.
    #[error("{step} failed: the server has closed the connection without an answer, as a port does that wants TLS (rediss://)")]
    NoAnswer { step: &'static str, source: redis::RedisError },
    #[error("{step} failed: the server speaks TLS: this port wants rediss://")]
    WantsTls { step: &'static str },
    #[error("{step} failed: {source}")]
    Redis { step: &'static str, source: redis::RedisError },
    #[error("what its borrower left could not be undone")]
    Unclean,
    #[error("the server answers a PING with {answer}")]
    WrongAnswer { answer: String },
}

impl ConnectError {
    /// What may be told of it, its causes with it.
    pub(crate) fn told(self, secrets: &Secrets) -> ConnectFailure {
        let mut words = self.to_string();
        let mut cause = std::error::Error::source(&self);
        while let Some(inner) = cause {
            let text = inner.to_string();
            if !words.contains(&text) {
                words = format!("{words}: {text}");
            }
            cause = inner.source();
        }
        ConnectFailure { words: secrets.clean(&words), is_permanent: self.is_permanent() }
    }

    /// Whether another attempt must fail the same way until somebody changes something.
    fn is_permanent(&self) -> bool {
        let source = match self {
            Self::Redis { source, .. } => source,
            Self::Tls(error) => return error.is_permanent(),
            Self::WantsTls { .. } => return true,
            Self::Dial { .. }
            | Self::NoAddress { .. }
            | Self::NoAnswer { .. }
            | Self::Resolve { .. }
            | Self::Unclean
            | Self::WrongAnswer { .. } => return false,
        };
        let refused = matches!(
            source.kind(),
            redis::ErrorKind::AuthenticationFailed | redis::ErrorKind::InvalidClientConfig | redis::ErrorKind::RESP3NotSupported
        );
        // A db that does not exist has no code of its own; redis-rs says it in these words.
        refused
            || matches!(source.code(), Some("NOAUTH" | "WRONGPASS"))
            || source.to_string().contains("refused to switch database")
    }
}
