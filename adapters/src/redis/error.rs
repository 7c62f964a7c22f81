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
    /// No address of a name accepts. The name, where it has more than one.
    #[error("cannot connect to {}{failures}", name.as_ref().map(|name| format!("{name}: ")).unwrap_or_default())]
    Unreachable { name: Option<String>, failures: String },
    /// To a port that wants TLS the first command is garbage; proxies hang up on what they do not know.
    #[error("{step} failed: the server has closed the connection without an answer, {meaning}")]
    NoAnswer { step: &'static str, meaning: &'static str, source: redis::RedisError },
    #[error("{step} failed: the server has closed the connection with the words {words:?}")]
    LastWords { step: &'static str, words: String },
    #[error("the server does not know HELLO 3, and the URL demands RESP3: without ?protocol=resp3, RESP2 is spoken there")]
    NoResp3,
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
    pub(crate) fn is_permanent(&self) -> bool {
        match self {
            Self::Redis { source, .. } => says::no_for_good(source),
            Self::Tls(error) => error.is_permanent(),
            Self::LastWords { words, .. } => says::not_let_in(words.split(' ').next().unwrap_or_default()),
            Self::WantsTls { .. } | Self::NoResp3 => true,
            Self::Dial { .. }
            | Self::NoAddress { .. }
            | Self::NoAnswer { .. }
            | Self::Resolve { .. }
            | Self::Unclean
            | Self::Unreachable { .. }
            | Self::WrongAnswer { .. } => false,
        }
    }
}

/// What servers and proxies say, each in words of its own.
pub(crate) mod says {
    use redis::{ErrorKind, RedisError};

    /// Refusals that have no code of their own.
    const NO_FOR_GOOD: [&str; 8] = [
        "db index is out of range",
        "invalid db index",
        "invalid password",
        "no password is set",
        "select is not allowed in cluster mode",
        "unknown command",
        "unsupported command",
        "without any password configured",
    ];

    /// That it will say so again, until somebody changes something.
    pub(crate) fn no_for_good(error: &RedisError) -> bool {
        matches!(error.kind(), ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig | ErrorKind::RESP3NotSupported)
            || error.code().is_some_and(|code| not_let_in(code) || code == "NOPROTO")
            || has_any(error, &NO_FOR_GOOD)
    }

    /// That this is no place for us, by the code of an error.
    pub(crate) fn not_let_in(code: &str) -> bool {
        matches!(code, "DENIED" | "NOAUTH" | "NOPERM" | "WRONGPASS")
    }

    /// That there is no HELLO, or none of RESP3.
    pub(crate) fn unknown_hello(error: &RedisError) -> bool {
        error.kind() == ErrorKind::RESP3NotSupported
            || error.code() == Some("NOPROTO")
            || has_any(error, &["unknown command", "unsupported command"])
    }

    /// That there is an argument too many.
    pub(crate) fn wrong_count(error: &RedisError) -> bool {
        has_any(error, &["wrong number of arguments"])
    }

    fn has_any(error: &RedisError, wanted: &[&str]) -> bool {
        let words = format!("{} {}", error.code().unwrap_or_default(), error.detail().unwrap_or_default()).to_lowercase();
        wanted.iter().any(|wanted| words.contains(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> ConnectError {
        let reply = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).expect("an error reply");
        ConnectError::Redis { step: "AUTH", source: reply.extract_error().expect_err("it is one") }
    }

    /// Seen to bite: with today's list of codes, and with every `ERR` for good.
    #[test]
    fn h14_a_refusal_is_for_good_if_waiting_cannot_mend_it() {
        for line in [
            "NOAUTH Authentication required.",
            "WRONGPASS invalid username-password pair or user is disabled.",
            "ERR invalid password",
            "ERR Client sent AUTH, but no password is set",
            "ERR AUTH <password> called without any password configured for the default user. Are you sure?",
            "NOPERM this user has no permissions to run the 'select' command",
            "ERR DB index is out of range",
            "ERR invalid DB index",
            "ERR SELECT is not allowed in cluster mode",
            "ERR unknown command 'SELECT', with args beginning with: '1' ",
            "unsupported command 'select'",
            "NOPROTO unsupported protocol version",
            "DENIED Redis is running in protected mode",
        ] {
            assert!(refused(line).is_permanent(), "{line}");
        }
        for line in [
            "LOADING Redis is loading the dataset in memory",
            "MASTERDOWN Socket with MASTER is down",
            "BUSY Redis is busy running a script.",
            "ERR max number of clients reached",
            "ERR Connection refused",
            "no upstream host",
        ] {
            assert!(!refused(line).is_permanent(), "{line}");
        }
        let words = |words: &str| ConnectError::LastWords { step: "handshake", words: String::from(words) }.is_permanent();
        assert!(words("DENIED Redis is running in protected mode") && words("NOAUTH HELLO must be called"));
        assert!(!words("ERR max number of clients reached") && !words("ERR unknown subcommand 'SETINFO'"));
    }
}
