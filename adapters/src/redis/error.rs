//! Why a connect failed.

use std::io;

use redis::{ErrorKind, RedisError};

use crate::error::{ConnectFailure, FailureKind};
use crate::redis_node::secrets::Secrets;
use crate::redis_node::tls::TlsError;

/// Why a connect or a check failed, in the words of the server or of a library: they may quote secrets that we have sent.
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
    /// No address of a name accepts. `name` is set if it has more than one address.
    #[error("cannot connect to {}{failures}", name.as_ref().map(|name| format!("{name}: ")).unwrap_or_default())]
    Unreachable { name: Option<String>, failures: String, kind: FailureKind },
    /// A TLS port rejects the first command as garbage. Proxies close the connection on unknown commands.
    #[error("{step} failed: the server closed the connection without an answer; {meaning}")]
    NoAnswer { step: &'static str, meaning: &'static str, source: RedisError },
    #[error("{step} failed: the server closed the connection after the error {words:?}")]
    LastWords { step: &'static str, words: String },
    #[error("the server does not support HELLO 3, and the URL requires RESP3: without ?protocol=resp3, RESP2 is used")]
    NoResp3,
    #[error("{step} failed: the server uses TLS: this port needs rediss://")]
    WantsTls { step: &'static str },
    #[error("{step} failed: {source}")]
    Redis { step: &'static str, source: RedisError },
    /// An error of a command of the hook. Not as a source: its text may contain credentials.
    #[error("after_connect failed: {text}")]
    AfterConnect { text: String, error: RedisError },
    #[error("after_connect failed: {problem}")]
    Hook { problem: &'static str },
    #[error("the state left behind by the borrower could not be reset")]
    Unclean,
    /// The login has succeeded, and what came with its last reply is none.
    #[error("the server goes on after the login: {fault}")]
    AfterLogin { fault: String },
    /// It was dialled as the primary.
    #[error("{says}, and a primary is needed")]
    NotPrimary { says: String },
    #[error("the server answers a PING with {answer}")]
    WrongAnswer { answer: String },
}

impl ConnectError {
    /// The error as it may be shown, with its causes, and without the secrets.
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
        ConnectFailure::new(secrets.clean(&words), self.kind(), self.is_permanent())
    }

    /// The category of the error.
    fn kind(&self) -> FailureKind {
        match self {
            Self::Resolve { .. } | Self::NoAddress { .. } => FailureKind::NameResolution,
            Self::Dial { source, .. } => kind_of_dial(source.kind()),
            Self::Unreachable { kind, .. } => *kind,
            Self::Tls(_) | Self::WantsTls { .. } => FailureKind::Tls,
            Self::NoAnswer { .. } => FailureKind::HungUp,
            Self::LastWords { words, .. } => match says::not_let_in(words.split(' ').next().unwrap_or_default()) {
                true => FailureKind::Authentication,
                false => FailureKind::NotReady,
            },
            Self::Redis { source, .. } => kind_of_refusal(source),
            Self::AfterConnect { error, .. } => kind_of_hook(error),
            Self::Hook { .. } => FailureKind::Configuration,
            Self::NotPrimary { .. } => FailureKind::NotPrimary,
            Self::AfterLogin { .. } | Self::NoResp3 | Self::Unclean | Self::WrongAnswer { .. } => FailureKind::Protocol,
        }
    }

    /// Whether every further attempt fails the same way until a setting or the server is changed.
    pub(crate) fn is_permanent(&self) -> bool {
        match self {
            Self::Redis { source, .. } => says::no_for_good(source),
            Self::AfterConnect { error, .. } => says::no_for_good(error),
            Self::Tls(error) => error.is_permanent(),
            Self::LastWords { words, .. } => says::not_let_in(words.split(' ').next().unwrap_or_default()),
            Self::WantsTls { .. } | Self::NoResp3 | Self::Hook { .. } => true,
            Self::AfterLogin { .. }
            | Self::Dial { .. }
            | Self::NoAddress { .. }
            | Self::NoAnswer { .. }
            | Self::NotPrimary { .. }
            | Self::Resolve { .. }
            | Self::Unclean
            | Self::Unreachable { .. }
            | Self::WrongAnswer { .. } => false,
        }
    }
}

/// The category of a dial's error.
pub(crate) fn kind_of_dial(kind: io::ErrorKind) -> FailureKind {
    if kind == io::ErrorKind::ConnectionRefused {
        FailureKind::Refused
    } else if kind == io::ErrorKind::TimedOut {
        FailureKind::Silent
    } else {
        FailureKind::Unreachable
    }
}

/// The category of an error reply to a command of the login, or of a check.
fn kind_of_refusal(error: &RedisError) -> FailureKind {
    if says::not_authenticated(error) {
        FailureKind::Authentication
    } else if says::unknown_hello(error) || error.kind() == ErrorKind::Parse {
        FailureKind::Protocol
    } else if says::no_for_good(error) {
        FailureKind::Configuration
    } else if error.is_timeout() {
        FailureKind::Silent
    } else if error.is_io_error() {
        FailureKind::HungUp
    } else {
        FailureKind::NotReady
    }
}

/// The category of an error of a hook's command: mostly the hook asks for what the server does not have.
fn kind_of_hook(error: &RedisError) -> FailureKind {
    let is_not_ready = matches!(error.code(), Some("LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "BUSY"));
    let kind = kind_of_refusal(error);
    let is_the_hooks = kind == FailureKind::Protocol || (kind == FailureKind::NotReady && !is_not_ready);
    if is_the_hooks { FailureKind::Configuration } else { kind }
}

/// The error texts of servers and proxies; each of them has its own.
pub(crate) mod says {
    use redis::{ErrorKind, RedisError};

    /// Permanent errors without a code of their own.
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

    /// The user or the password is rejected, or lacks the permissions of a login.
    pub(crate) fn not_authenticated(error: &RedisError) -> bool {
        error.kind() == ErrorKind::AuthenticationFailed
            || error.code().is_some_and(not_let_in)
            || has_any(error, &["invalid password", "no password is set", "without any password configured"])
    }

    /// The error is permanent until a setting or the server is changed.
    pub(crate) fn no_for_good(error: &RedisError) -> bool {
        matches!(error.kind(), ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig | ErrorKind::RESP3NotSupported)
            || error.code().is_some_and(|code| not_let_in(code) || code == "NOPROTO")
            || has_any(error, &NO_FOR_GOOD)
    }

    /// The code of an error says that we have no access.
    pub(crate) fn not_let_in(code: &str) -> bool {
        matches!(code, "DENIED" | "NOAUTH" | "NOPERM" | "WRONGPASS")
    }

    /// HELLO, or RESP3, is not supported.
    pub(crate) fn unknown_hello(error: &RedisError) -> bool {
        error.kind() == ErrorKind::RESP3NotSupported
            || error.code() == Some("NOPROTO")
            || has_any(error, &["unknown command", "unsupported command"])
    }

    /// There is one argument too many.
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
